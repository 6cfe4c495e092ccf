"""What must hold on every page, whatever it says: nothing that axe-core calls serious, every control reachable by keyboard with a
ring that shows where one is, nothing cut off or sideways on a phone, nothing that moves, nothing that the policy forbids, and no
more bytes than a bad connection carries.
"""

from chromium import DESKTOP, PHONE
from lab import check

MOST_BYTES = 60_000
MOST_STOPS = 120
UNFOLD = "document.querySelectorAll('details').forEach((fold) => { fold.open = true; });"
AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, { resultTypes: ["violations"], preload: false, rules: { "target-size": { enabled: true } } }).then(
  ({ violations, passes }) => done({
    bad: violations.filter((it) => ["serious", "critical"].includes(it.impact)).map((it) =>
      `${it.id} (${it.impact}, ${it.nodes.length}): ${it.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.failureSummary}`).join(" | ")}`),
    minor: violations.filter((it) => !["serious", "critical"].includes(it.impact)).map((it) => it.id),
    passed: passes.length,
  }),
  (error) => done({ bad: [String(error)], minor: [], passed: 0 }),
);
"""
# What sticks out of the page, what a drawing cuts off, and what is wider than the box that holds it.
SIDEWAYS = """
const room = document.documentElement.clientWidth, found = [];
const name = (it) => `${it.localName}${it.id && "#" + it.id}.${it.getAttribute("class") ?? ""}`;
const scrolls = (it) => {
  for (let box = it; box && box !== document.body; box = box.parentElement) {
    if (getComputedStyle(box).overflowX !== "visible") return true;
  }
  return false;
};
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const text = texts.currentNode, box = text.parentElement;
  if (!text.data.trim() || !box.checkVisibility() || box.closest("title, script, noscript")) continue;
  const range = document.createRange();
  range.selectNodeContents(text);
  const right = Math.max(0, ...[...range.getClientRects()].map((it) => it.right));
  const svg = box.closest("svg");
  if (svg && right > svg.getBoundingClientRect().right + 1) found.push(`cut off in a drawing: ${text.data}`);
  if (!scrolls(box) && right > room + 0.5) found.push(`${name(box)} sticks out: ${text.data.slice(0, 80)}`);
}
for (const box of document.body.querySelectorAll("*")) {
  if (!box.checkVisibility() || scrolls(box.parentElement)) continue;
  if (box.getBoundingClientRect().right > room + 0.5) found.push(`${name(box)} sticks out`);
  if (box.matches("td, th, summary, button, .badge, .legend span") && getComputedStyle(box).overflowX === "visible"
      && box.scrollWidth > box.clientWidth + 1) found.push(`${name(box)} is too narrow for: ${box.innerText}`);
}
return [...new Set(found)].slice(0, 8);
"""
MOVES = """
return [...document.querySelectorAll("*")].filter((it) => {
  const style = getComputedStyle(it);
  return style.animationName !== "none" || style.transitionDuration !== "0s" || style.scrollBehavior === "smooth";
}).map((it) => it.localName).slice(0, 5);
"""
CONTROLS = """
window.__controls = [...document.querySelectorAll("a[href], button, input, summary, [tabindex]")]
  .filter((it) => it.tabIndex >= 0 && it.checkVisibility({ visibilityProperty: true }));
return __controls.length;
"""
FOCUS = """
const it = document.activeElement, style = getComputedStyle(it), place = it.getBoundingClientRect();
return {
  at: __controls.indexOf(it), name: `${it.localName} "${(it.innerText ?? "").slice(0, 40)}"`,
  ring: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2 && it.matches(":focus-visible"),
  seen: place.width > 0 && place.bottom > 0 && place.top < innerHeight && place.right > 0 && place.left < innerWidth,
  fold: it.localName === "summary" && !it.parentElement.open,
};
"""


class Inspection:
    """Looks at pages; says what it saw of each."""

    def __init__(self, browser, axe):
        self.browser, self.axe = browser, axe

    def page(self, what, url):
        """A page of the coordinator, or of a copy."""
        browser = self.browser
        browser.prefers("light")
        browser.size(DESKTOP)
        browser.open(url)
        total = self.is_light(what, url)
        stops = self.walk(what)
        self.is_still(what)
        passed = self.is_accessible(f"{what}, light")
        browser.prefers("dark")
        browser.size(PHONE)
        self.is_accessible(f"{what}, dark, {PHONE[0]} px")
        self.fits(what)
        browser.is_clean(what)
        browser.prefers("light")
        size = "" if total is None else f"{total} bytes, "
        print(f"{what}: {size}{stops} stops of the Tab key, {passed} rules of axe-core passed in light and dark")

    def is_light(self, what, url):
        if url.startswith("file:"):
            return None
        total = self.browser.run(
            "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".filter((it) => it.initiatorType !== 'fetch').reduce((sum, it) => sum + it.transferSize, 0)"
        )
        check(0 < total <= MOST_BYTES, f"{what} is {total} bytes, {MOST_BYTES} are allowed")
        return total

    def is_accessible(self, what):
        self.browser.run(UNFOLD)
        if not self.browser.run("return !!window.axe"):
            self.browser.run(self.axe)
        found = self.browser.run_async(AXE)
        check(not found["bad"], f"{what}: axe-core: {found['bad']}")
        check(found["passed"] > 10, f"{what}: axe-core looked at {found['passed']} rules")
        if found["minor"]:
            print(f"{what}: axe-core, not serious: {found['minor']}")
        return found["passed"]

    def fits(self, what):
        """Nothing is cut off, with every fold open."""
        self.browser.run(UNFOLD)
        wrong = self.browser.run(SIDEWAYS)
        check(not wrong, f"{what} at {PHONE[0]} px: {wrong}")

    def is_still(self, what):
        for wish in ["no-preference", "reduce"]:
            self.browser.prefers("light", prefers_reduced_motion=wish)
            moves = self.browser.run(MOVES)
            check(not moves, f"{what}: moves, though motion is {wish}: {moves}")
        self.browser.prefers("light")

    def walk(self, what):
        """Tab visits every control once, in the order of the page, and shows where it is."""
        browser = self.browser
        browser.run("if (document.querySelector('#live button')) document.querySelector('#live button').click()")
        controls = browser.run(CONTROLS)
        has_opened = False
        for stop in range(min(controls, MOST_STOPS)):
            browser.press("Tab")
            focus = browser.run(FOCUS)
            check(focus["at"] == stop, f"{what}: stop {stop} of the Tab key is {focus['name']}, control {focus['at']}")
            check(focus["ring"], f"{what}: no ring around {focus['name']}")
            check(focus["seen"], f"{what}: {focus['name']} has the focus and is out of sight")
            if focus["fold"] and not has_opened:
                has_opened = True
                for is_open in [True, False]:
                    browser.press("Enter")
                    now = browser.run("return document.activeElement.parentElement.open")
                    check(now == is_open, f"{what}: Enter does not {'open' if is_open else 'close'} {focus['name']}")
        browser.run("if (document.querySelector('#live button')) document.querySelector('#live button').click()")
        return controls

    def skip(self, what, url):
        """The first stop leads past the header."""
        browser = self.browser
        browser.open(url)
        browser.press("Tab")
        place = browser.run("const it = document.activeElement; return it.matches('.skip') && it.getBoundingClientRect().left >= 0")
        check(place, f"{what}: the first stop of the Tab key is no link that shows and skips")
        browser.press("Enter")
        browser.press("Tab")
        into = browser.run("return document.activeElement.closest('main') ? '' : document.activeElement.outerHTML")
        check(not into, f"{what}: after the skip link the Tab key leads to {into}")
