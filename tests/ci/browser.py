"""What a person must see of a scenario in a real browser: the page names the culprit and clears the other cloud, by
itself, without a reload. Speaks WebDriver to Debian's chromedriver; nothing but Python's standard library.

Usage: browser.py LAB-BINARY OUTPUT-FOLDER
"""

import base64
import contextlib
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SCENARIO = "2025-10-29-azure-front-door"
VERDICT_S = 55
MOST_BYTES = 60_000
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server",
]
# The lab is on loopback: no proxy of the environment has a say.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def main(lab, output):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("browser: told to end"))
    with contextlib.ExitStack() as ends:
        # The browser first, so that the page is open before anything breaks.
        browser = Browser(ends)
        home, play = start_lab(ends, lab, output)
        browser.open(home)
        watch_the_verdict_come(browser)
        look_at_the_matrix(browser)
        browser.shoot(output / "page-desktop.png", 1280, 900)
        browser.shoot(output / "page-dark.png", 1280, 900, dark=True)
        browser.shoot(output / "page-320.png", 320, 800)
        incident = browser.run("return document.querySelector('#verdict a').href")
        look_at_the_timeline_and_the_map(browser)
        read_without_scripts(home)
        target, vantage = look_at_the_evidence(browser, incident, output)
        mine = f"{home}?mine=azure/front-door,aws/us-east-1,azure/nowhere"
        ask_what_is_mine(browser, mine, output)
        choose_a_theme(browser, home)
        fits_everywhere(browser, [home, mine, incident, target, vantage, f"{home}scorecard"])
        grows_stale(browser, home, play)
        errors = browser.errors()
        check(not errors, f"the console has errors: {errors}")


def watch_the_verdict_come(browser):
    banner = "return document.querySelector('#verdict').textContent"
    before = browser.run(banner)
    check("Azure Front Door is failing" not in before, f"the verdict was there before the page: {before}")
    browser.run("window.__marker = 'first load'")
    browser.until("agents are listed", 20, "return !!document.querySelector('#all-vantages')")
    browser.run("document.querySelector('#all-vantages > summary').click()")
    opened = browser.run("return document.querySelector('#all-vantages').open")
    text = browser.until(
        "the banner names Azure Front Door and AWS", VERDICT_S,
        f"const text = (() => {{ {banner} }})(); return text.includes('Azure Front Door is failing') && text.includes('AWS') && text",
    )
    print(f"banner: {' '.join(text.split())}")
    check("AWS is not affected" in text or "checks passed from" in text, "AWS is not cleared in words")
    check("AWS is failing" not in text, "AWS is accused")
    check(browser.run("return window.__marker") == "first load", "the page was loaded again")
    check(browser.run("return document.querySelector('#all-vantages').open") == opened, "the fold changed by itself")
    check(browser.run("return document.querySelector('#verdict').getAttribute('role')") == "status", "no status role")
    title = browser.run("return document.title")
    check(title.startswith("✕") and "Azure Front Door" in title, f"the title does not say it: {title}")


def look_at_the_matrix(browser):
    row = "document.querySelector('[data-row=\"azure/front-door\"]')"
    browser.until("Front Door's row is failing or degraded", 10, f"return !!{row}?.querySelector('.failing, .degraded')")
    check(browser.run(f"return !{row}.closest('details')"), "Front Door's row is folded away")
    aws = browser.run("return [...document.querySelectorAll('[data-row^=\"aws/\"]')].map((row) => row.innerText)")
    check(aws, "no row of AWS")
    failing = browser.run("return [...document.querySelectorAll('[data-row^=\"aws/\"] .failing')].map((cell) => cell.innerText)")
    check(not failing, f"rows of AWS fail: {failing}")
    small = browser.run(
        "return [...document.querySelectorAll('button, summary')].filter((it) => it.getClientRects().length"
        " && it.getBoundingClientRect().height < 24).map((it) => it.innerText)"
    )
    check(not small, f"too small to hit: {small}")


def look_at_the_timeline_and_the_map(browser):
    bars = browser.run("return document.querySelectorAll('#timeline svg .bar.accused').length")
    check(bars > 0, "the timeline draws no bar of an accused cloud")
    rows = browser.run("return [...document.querySelectorAll('#timeline-list tbody tr')].map((row) => row.textContent)")
    check(any("Azure Front Door" in row for row in rows), f"the timeline's list lacks the incident: {rows}")
    marks = browser.run("return document.querySelectorAll('#map svg text:not(.vantage) title').length")
    seats = browser.run("return document.querySelectorAll('#map svg text.vantage title').length")
    check(marks > 0 and seats > 0, f"the map shows {marks} regions and {seats} vantages")
    print(f"map: {marks} places of regions, {seats} of vantages")


def ask_what_is_mine(browser, mine, output):
    browser.size(1280, 900)
    browser.open(mine)
    answer = "document.querySelector('#mine .answer')?.textContent"
    text = browser.run(f"return {answer}")
    check(text and "Yes" in text and "azure/front-door" in text, f"the answer is: {text}")
    check("not known here" in browser.run("return document.querySelector('#mine').textContent"), "an unknown name is not said")
    rows = "[...document.querySelectorAll('#matrix tr[data-row]')].filter((row) => !row.closest('details')).map((row) => row.dataset.row)"
    shown = browser.run(f"return {rows}")
    check("azure/front-door" in shown and len(shown) <= 2, f"rows that are not folded: {shown}")
    before = browser.run("return document.querySelector('#updated time').dateTime")
    browser.until("the page is fresh", 15, f"return document.querySelector('#updated time').dateTime !== '{before}'")
    check(browser.run(f"return {answer}") is not None and browser.run(f"return {rows}") == shown, "a refresh forgot the question")
    check(browser.run("return location.search").startswith("?mine="), "the address lost the question")
    browser.shoot(output / "page-mine.png", 1280, 900)


def choose_a_theme(browser, home):
    scheme = "return [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]"
    seen = {}
    for theme in ["dark", "light"]:
        browser.open(home)
        browser.run(f"document.querySelector('.theme a[href$=\"theme={theme}\"]').click()")
        browser.until(f"the page is {theme}", 5, f"return document.documentElement.dataset.theme === '{theme}'")
        seen[theme] = browser.run(scheme)[1]
        check("theme" not in browser.run("return location.href"), "the address keeps the theme")
    check(seen["dark"] != seen["light"], f"both themes have one background: {seen}")
    browser.open(f"{home}?theme=auto")
    check(browser.run(scheme)[0] is None, "the theme is not forgotten")


def read_without_scripts(home):
    with OPENER.open(home, timeout=10) as answer:
        headers, html = answer.headers, answer.read().decode()
    for words in ["Azure Front Door is failing", "AWS", "http-equiv=\"refresh\"", "Can we see?", "<th scope=\"row\">front-door"]:
        check(words in html, f"without scripts the page lacks {words!r}")
    policy = headers["content-security-policy"] or ""
    check(policy.startswith("default-src 'none'") and "unsafe" not in policy, f"policy: {policy}")


def look_at_the_evidence(browser, incident, output):
    browser.open(incident)
    rows = browser.run("return document.querySelectorAll('#evidence tbody tr').length")
    check(rows > 0, "the incident has no evidence")
    text = browser.run("return document.querySelector('main').innerText")
    check("azure/front-door" in text and "AWS" in text, "the incident names neither culprit nor cleared")
    browser.shoot(output / "incident-desktop.png", 1280, 900)
    browser.shoot(output / "incident-320.png", 320, 800)
    print(f"incident: {rows} rows of evidence")
    links = "return [...document.querySelectorAll('#evidence tbody a')].map((link) => link.href)"
    links = browser.run(links)
    target = next((link for link in links if "/targets/" in link), None)
    vantage = next((link for link in links if "/vantages/" in link), None)
    check(target and vantage, f"the evidence leads to no target or no vantage: {links}")
    for kind, page, words in [("target", target, "What its probes exercise"), ("vantage", vantage, "Vantage group")]:
        browser.open(page)
        text = browser.run("return document.querySelector('main').innerText")
        check(words in text and "Azure Front Door" in text, f"{page} says: {text[:500]}")
        browser.shoot(output / f"{kind}-desktop.png", 1280, 900)
    return target, vantage


def fits_everywhere(browser, pages):
    for page in pages:
        browser.size(320, 800)
        browser.open(page)
        browser.run("document.querySelectorAll('details').forEach((fold) => { fold.open = true; })")
        wide, room = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        check(wide <= room, f"{page} scrolls sideways at 320 px: {wide} of {room}")
        total = browser.run(
            "return [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
            ".filter((it) => it.initiatorType !== 'fetch').reduce((sum, it) => sum + it.transferSize, 0)"
        )
        check(0 < total <= MOST_BYTES, f"{page} is {total} bytes, {MOST_BYTES} are allowed")
        print(f"{page}: {total} bytes")


def grows_stale(browser, home, play):
    browser.open(home)
    browser.until("the page is live", 5, "return document.querySelector('#live').innerText.includes('Live')")
    browser.run("document.querySelector('#live button').click()")
    browser.until("a pause shows", 2, "return document.querySelector('#live').innerText.includes('Paused')")
    browser.run("document.querySelector('#live button').click()")
    errors = browser.errors()
    check(not errors, f"the console has errors: {errors}")
    play.terminate()
    play.wait(10)
    # Half a minute later, without waiting for it.
    browser.run("const now = Date.now; Date.now = () => now() + 31000;")
    browser.until(
        "the stale line shows", 5,
        "return document.body.classList.contains('stale') && document.querySelector('#live').innerText.includes('reconnecting')",
    )
    browser.errors()  # that the coordinator is gone is no error of the page


def start_lab(ends, lab, output):
    """Starts the scenario; returns the page's address and the process."""
    log = ends.enter_context((output / "browser-lab.log").open("w"))
    command = [lab, "up", "--scenario", SCENARIO, "--hold", "60"]
    play = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    ends.callback(end, play)
    found, line = threading.Event(), []

    def read():
        for said in play.stdout:
            log.write(said)
            log.flush()
            if said.split()[:1] == ["page"] and not line:
                line.append(said.split()[1])
                found.set()
        found.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    ends.callback(lambda: (end(play), reader.join(5)))
    check(found.wait(20) and line, f"the lab printed no page: see {log.name}")
    print(f"page: {line[0]}")
    return line[0], play


class Browser:
    """A headless Chromium with a fresh profile."""

    def __init__(self, ends):
        profile = ends.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
        ends.callback(end, driver)
        for line in driver.stdout:
            if "started successfully on port" in line:
                self.address = f"http://127.0.0.1:{line.split()[-1].rstrip('.')}"
                break
        else:
            check(False, "chromedriver does not start")
        options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        self.address += f"/session/{session}"
        ends.callback(lambda: self.call("DELETE", "", None))

    def call(self, method, path, body):
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, content, {"content-type": "application/json"}, method=method)
        with OPENER.open(request, timeout=40) as answer:
            return json.load(answer)["value"]

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script):
        return self.call("POST", "/execute/sync", {"script": script, "args": []})

    def until(self, what, limit_s, script):
        deadline = time.monotonic() + limit_s
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                check(False, f"after {limit_s} s not seen: {what}. The page: {self.run('return document.body.innerText')[:1500]}")
            time.sleep(0.1)
        return value

    def size(self, width, height):
        # The window itself has a least width; an emulated screen has none.
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.cdp("Emulation.setDeviceMetricsOverride", metrics)

    def shoot(self, path, width, height, dark=False):
        self.size(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", {"features": [scheme]})
        tall = min(self.run("return document.documentElement.scrollHeight"), 4000)
        clip = {"x": 0, "y": 0, "width": width, "height": tall, "scale": 1}
        image = self.cdp("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})["data"]
        path.write_bytes(base64.b64decode(image))

    def cdp(self, command, parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def errors(self):
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]


def end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def check(holds, complaint):
    if not holds:
        sys.exit(f"browser: {complaint}")


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
    print("browser: all seen")
