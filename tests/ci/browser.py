"""What a person must see in a real browser, in each of seven states: quiet, cannot see, AWS, Azure, neither, both, stale. Real
coordinators, real agents and the lab's scenarios; pages.py says what must hold on every page, whatever it says. A screenshot of
each state is left for people to look at.

Usage: browser.py FAULTLINE-BINARY LAB-BINARY AXE-CORE OUTPUT-FOLDER
"""

import contextlib
import functools
import gzip
import http.server
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import lab
from chromium import DESKTOP, PHONE, Browser
from lab import OPENER, check, until
from pages import Inspection

AZURE = "2025-10-29-azure-front-door"
# A browser beside it takes most of two cores: at twice the speed, agents time out for want of them.
SPEED = "4"
VERDICT_S = 60
HOLD = ["--exit-on-verdict", "--hold", "150"]
POLICY = "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"
BANNER = "document.querySelector('#verdict').innerText"
# The ink of a plot on this page, and that of its text.
PLOT_INK = """
document.querySelector("main").insertAdjacentHTML("beforeend", "<svg class=plot id=ink><text class=fill-text>0</text></svg>");
return [getComputedStyle(document.querySelector("#ink text")).fill, getComputedStyle(document.body).color];
"""
# Shape of the icon, glyph of the title: the tab alone says the state.
TAB = {
    "quiet": ("<circle", "● nothing attributed"), "cannot-see": ("stroke-dasharray", "░ cannot see"),
    "azure": ("#8c1c13", "✕ Azure Front Door"), "aws": ("#8c1c13", "✕ dynamodb in AWS us-east-1"), "neither": ("#f5c04a", "◆ "),
    "both": ("#8c1c13", "✕ "), "stale": ("stroke-dasharray", "░ no updates"),
}


def main(faultline, lab_binary, axe, output):
    lab.end_when_told()
    with contextlib.ExitStack() as ends:
        browser = Browser(ends)
        ci = Ci(browser, Inspection(browser, axe.read_text()), faultline, lab_binary, output)
        for state in [ci.quiet, ci.cannot_see, ci.azure, ci.aws, ci.neither, ci.both]:
            began = time.monotonic()
            with contextlib.ExitStack() as inner:
                state(inner)
                # Nobody looks any more when the coordinator ends.
                browser.open("about:blank")
            print(f"{state.__name__}: seen in {time.monotonic() - began:.0f} s", flush=True)


class Ci:
    """The states, one after the other."""

    def __init__(self, browser, inspection, faultline, lab_binary, output):
        self.browser, self.inspection = browser, inspection
        self.faultline, self.lab, self.output = faultline, lab_binary, output

    def play(self, ends, scenario, *words):
        play = lab.play(ends, self.lab, self.output / f"{scenario}.log", "--scenario", scenario, "--speed", SPEED, *words)
        return play, play.said("page")

    def command(self, *words):
        done = subprocess.run([self.faultline, *words], capture_output=True, text=True, timeout=60)
        check(done.returncode == 0, f"faultline {' '.join(map(str, words))}: exit {done.returncode}: {done.stderr}")

    def is_state(self, state, *words, never=()):
        """The page shows the state in its banner, its title and its icon; pictures of it are kept."""
        browser = self.browser
        text = browser.run(f"return {BANNER}")
        for word in words:
            check(word in text, f"{state}: the banner lacks {word!r}: {text}")
        for word in never:
            check(word not in text, f"{state}: the banner says {word!r}: {text}")
        title, icon = browser.run("return [document.title, decodeURIComponent(document.querySelector('#icon').href)]")
        check(TAB[state][0] in icon, f"{state}: the icon is {icon}")
        check(title.startswith(TAB[state][1]), f"{state}: the title is {title}")
        for scheme in ["light", "dark"]:
            browser.prefers(scheme)
            browser.shoot(self.output / f"{state}-{scheme}-desktop.png", DESKTOP)
            browser.shoot(self.output / f"{state}-{scheme}-320.png", PHONE)
        self.inspection.fits(state)
        browser.size(DESKTOP)
        browser.prefers("light", forced_colors="active")
        self.is_told_by_shape(state)
        browser.shoot(self.output / f"{state}-forced-colours.png", DESKTOP)
        browser.prefers("light")
        print(f"{state}: {title}: {' '.join(text.split())[:240]}")

    def is_told_by_shape(self, state):
        """Without colours of ours, frames and glyphs still say it."""
        active, frame, glyphs = self.browser.run(
            "const frame = getComputedStyle(document.querySelector('.verdict'));"
            "const cells = [...document.querySelectorAll('.matrix td:not(.unprobed)')].filter((it) => it.checkVisibility());"
            "return [matchMedia('(forced-colors: active)').matches, `${frame.borderTopStyle} ${frame.borderTopWidth}`,"
            " cells.map((it) => getComputedStyle(it, '::before').content.trim()[1])]"
        )
        wanted = {"quiet": "solid 2px", "cannot-see": "dashed 2px", "stale": "dashed", "neither": "solid 2px"}.get(state, "solid 4px")
        check(active and frame.startswith(wanted), f"{state}: with forced colours the frame is {frame}, not {wanted}")
        check(set(glyphs) <= set("●▲✕░"), f"{state}: cells without a glyph: {set(glyphs)}")

    def quiet(self, ends):
        _, home = self.play(ends, "quiet")
        self.browser.prefers("light")
        self.browser.open(home)
        self.browser.until("a quiet page", VERDICT_S, f"return {BANNER}.includes('No failure attributed')")
        self.is_state("quiet", "No failure attributed to AWS or Azure", never=["operational", "We cannot see"])
        self.inspection.page("quiet", home)

    def cannot_see(self, ends):
        """A coordinator that no agent ever spoke to."""
        data = pathlib.Path(ends.enter_context(tempfile.TemporaryDirectory())) / "data"
        self.command("init", "--data-dir", data, "--dns", "localhost")
        ports = ["--agents-listen", "127.0.0.1:0", "--feed-listen", "127.0.0.1:0", "--metrics-listen", "none"]
        command = [self.faultline, "serve", "--data-dir", data, *ports, "--no-ranges-refresh", "--no-claims"]
        home = lab.Program(ends, command, self.output / "cannot-see.log").said("page")
        self.browser.open(home)
        self.is_state("cannot-see", "We cannot see", "Do not trust silence", never=["No failure attributed"])
        works = self.browser.run("return document.querySelectorAll('.matrix td.ok').length")
        check(works == 0, f"cannot-see: {works} cells are ok")
        self.inspection.page("cannot-see", home)

    def azure(self, ends):
        play, home = self.play(ends, AZURE, *HOLD)
        self.watch_the_verdict_come(home)
        play.said("hold", VERDICT_S)
        self.is_state("azure", "Azure Front Door is failing", "AWS is not affected", never=["AWS is failing"])
        self.look_at_the_matrix()
        self.look_at_the_timeline_and_the_map()
        self.keeps_the_focus()
        self.resumes(play, home)
        self.choose_a_theme(home)
        self.read_without_scripts(home)
        incident, pages = self.pages(home)
        for what, page in pages.items():
            self.inspection.page(what, page)
        self.inspection.skip("front", home)
        self.told_to_the_boss(incident, home)
        self.copied(ends, home)
        self.grows_stale(home, play)

    def aws(self, ends):
        self.see(ends, "aws", "2025-10-20-aws-use1-dynamodb-dns", "us-east-1", never=["Azure is failing"])

    def neither(self, ends):
        self.see(ends, "neither", "2021-06-08-fastly", "Not the clouds: the CDN fastly is failing", "AWS and Azure are not affected", never=["AWS is failing", "Azure is failing"])

    def both(self, ends):
        self.see(ends, "both", "aws-and-azure-at-once", "eu-west-1", "Entra ID")
        title = self.browser.run("return document.title")
        check("+ 1" in title, f"both: the title names one: {title}")

    def see(self, ends, state, scenario, *words, never=()):
        play, home = self.play(ends, scenario, *HOLD)
        play.said("hold", VERDICT_S)
        self.browser.open(home)
        self.is_state(state, *words, never=never)
        self.inspection.page(state, home)

    def watch_the_verdict_come(self, home):
        browser = self.browser
        browser.open(home)
        before = browser.run(f"return {BANNER}")
        check("Azure Front Door is failing" not in before, f"azure: the verdict was there before the page: {before}")
        browser.run("window.__marker = 'first load'")
        browser.until("agents are listed", 20, "return !!document.querySelector('#all-vantages')")
        browser.run("document.querySelector('#all-vantages > summary').click()")
        opened = browser.run("return document.querySelector('#all-vantages').open")
        browser.until(
            "azure: the banner names Azure Front Door and clears AWS", VERDICT_S,
            f"return {BANNER}.includes('Azure Front Door is failing') && {BANNER}.includes('AWS is not affected')",
        )
        check(browser.run("return window.__marker") == "first load", "azure: the page was loaded again")
        check(browser.run("return document.querySelector('#all-vantages').open") == opened, "azure: a fold changed by itself")
        check(browser.run("return document.querySelector('#verdict').getAttribute('role')") == "status", "azure: no status role")

    def look_at_the_matrix(self):
        browser, row = self.browser, "document.querySelector('[data-row=\"azure/front-door\"]')"
        browser.until("azure: Front Door's row is failing or degraded", 10, f"return !!{row}?.querySelector('.failing, .degraded')")
        check(browser.run(f"return !{row}.closest('details')"), "azure: Front Door's row is folded away")
        aws = browser.run("return document.querySelectorAll('[data-row^=\"aws/\"]').length")
        failing = browser.run("return [...document.querySelectorAll('[data-row^=\"aws/\"] .failing')].map((it) => it.innerText)")
        check(aws and not failing, f"azure: of {aws} rows of AWS fail {failing}")

    def look_at_the_timeline_and_the_map(self):
        browser = self.browser
        bars = browser.run("return document.querySelectorAll('#timeline svg .bar.accused').length")
        rows = browser.run("return [...document.querySelectorAll('#timeline-list tbody tr')].map((it) => it.textContent)")
        check(bars > 0 and any("Azure Front Door" in row for row in rows), f"azure: the timeline draws {bars} bars and lists {rows}")
        marks = browser.run("return document.querySelectorAll('#map svg text:not(.vantage) title').length")
        seats = browser.run("return document.querySelectorAll('#map svg text.vantage title').length")
        check(marks > 0 and seats > 0, f"azure: the map shows {marks} regions and {seats} vantages")

    def keeps_the_focus(self):
        """News replaces what is around the focus, never the focus."""
        browser = self.browser
        browser.run("document.querySelector('#incidents a[href^=\"/incidents/\"]').focus()")
        before = browser.run("return document.querySelector('#updated time').dateTime")
        browser.until("azure: fresh news", 20, f"return document.querySelector('#updated time').dateTime !== '{before}'")
        at = browser.run("return document.activeElement.getAttribute('href') ?? document.activeElement.localName")
        check(at.startswith("/incidents/"), f"azure: news moved the focus to {at}")

    def resumes(self, play, home):
        """The coordinator ends and comes back on the same port: the page goes on by itself, and hears each change once."""
        browser = self.browser
        browser.run("window.__marker = 'before the restart'")
        start, sequence = browser.run("return [__seen.events.length, Number(document.body.dataset.sequence)]")
        play.process.send_signal(signal.SIGHUP)
        play.said("again", 30)
        until(
            "azure: changes after the restart reach the page", 30,
            lambda: browser.run(f"return __seen.events.slice({start}).some((it) => it[0] > {sequence} + 3)"),
        )
        browser.until("azure: the page is live again", 20, "return document.querySelector('#live').innerText.includes('Live')")
        check(browser.run("return window.__marker") == "before the restart", "azure: the page was loaded again after the restart")
        # Agents come back one by one: until enough have, nobody is cleared.
        browser.until("azure: AWS is cleared again after the restart", VERDICT_S, f"return {BANNER}.includes('AWS is not affected')")
        seen = [tuple(event) for event in browser.run("return __seen.events")]
        first, last = seen[0][0], seen[-1][0]
        published = [event for event in told(f"{home}events?after={first - 1}", last) if first <= event[0] <= last]
        check(seen == published, f"azure: of {len(published)} changes the page heard {len(seen)}; "
              f"missed: {sorted(set(published) - set(seen))[:5]}, twice or in disorder: {[s for s in seen if seen.count(s) > 1][:5]}")
        print(f"resume: {len(seen)} changes across a restart, each heard once and in order: {first} to {last}")
        browser.errors()  # that the coordinator was gone for a moment is no error of the page

    def choose_a_theme(self, home):
        browser, seen = self.browser, {}
        scheme = "return [document.documentElement.dataset.theme ?? null, getComputedStyle(document.body).backgroundColor]"
        for system in ["light", "dark"]:
            browser.prefers(system)
            browser.open(f"{home}?theme=auto")
            seen[system] = browser.run(scheme)
        check(seen["light"][1] != seen["dark"][1], f"auto: the page does not follow the system: {seen}")
        for theme, system in [("dark", "light"), ("light", "dark")]:
            browser.prefers(system)
            browser.open(home)
            browser.run(f"document.querySelector('.theme a[href$=\"theme={theme}\"]').click()")
            browser.until(f"the page is {theme}", 5, f"return document.documentElement.dataset.theme === '{theme}'")
            check(browser.run(scheme)[1] == seen[theme][1], f"?theme={theme} on a {system} system looks like another theme")
            check("theme" not in browser.run("return location.href"), "the address keeps the theme")
            ink, text = browser.run(PLOT_INK)
            check(ink == text, f"?theme={theme} on a {system} system: plots are drawn in {ink} beside text in {text}")
        browser.open(f"{home}?theme=auto")
        check(browser.run(scheme)[0] is None, "the theme is not forgotten")
        browser.prefers("light")

    def read_without_scripts(self, home):
        """With scripts off the page has all its content, and loads itself again."""
        browser = self.browser
        content = ("return [...document.querySelectorAll('main > section')].map((it) => [it.id, it.querySelectorAll('tr, li, article, text').length])")
        browser.open(home)
        browser.run("document.querySelector('#live button').click()")
        browser.scripts(False)
        try:
            browser.open(home)
            without = browser.run(content)
            text = browser.run("return document.querySelector('main').innerText")
            check(browser.run("return document.querySelector('#live').innerText === ''"), "scripts off: the page promises to be live")
            check(browser.run("return !!document.querySelector('noscript meta[http-equiv=refresh]')"), "scripts off: nothing loads it again")
            browser.shoot(self.output / "scripts-off-320.png", PHONE)
            for words in ["Azure Front Door is failing", "AWS is not affected", "Can we see?", "What works where", "Vantages"]:
                check(words in text, f"scripts off: the page lacks {words!r}")
            browser.run("document.querySelector('#map-list > summary').click()")
            check(browser.run("return document.querySelector('#map-list').open"), "scripts off: a fold does not open")
        finally:
            browser.scripts(True)
            browser.size(DESKTOP)
        browser.open(home)
        names = browser.run(content)
        check([name for name, _ in names] == [name for name, _ in without], f"scripts off: sections {without}, with them {names}")
        empty = [name for name, rows in without if rows == 0 and name not in ("limits", "mine")]
        check(not empty, f"scripts off: empty sections {empty}")

    def pages(self, home):
        """Every kind of page, by what it is."""
        browser = self.browser
        browser.open(home)
        incident = browser.run("return document.querySelector('#verdict a').href")
        browser.open(incident)
        for scheme in ["light", "dark"]:
            browser.prefers(scheme)
            browser.shoot(self.output / f"incident-{scheme}-desktop.png", DESKTOP)
            browser.shoot(self.output / f"incident-{scheme}-320.png", PHONE)
        browser.prefers("light")
        mine = f"{home}?mine=azure/front-door,aws/us-east-1,azure/nowhere"
        self.ask_what_is_mine(mine)
        target, vantage = self.led_to("target", "What its probes exercise", incident), self.led_to("vantage", "Vantage group", incident)
        pages = {"front": home, "front, 7 d": f"{home}?span=7d", "front, 90 d": f"{home}?span=90d", "mine": mine, "incident": incident}
        pages |= {"target": target, "vantage": vantage, "scorecard": f"{home}scorecard"}
        return incident, pages

    def led_to(self, kind, words, incident):
        """The page of a target or vantage of the incident's evidence, which names the incident."""
        browser = self.browser

        def look():
            # Which rows are kept changes with the incident: its page is asked anew.
            browser.open(incident)
            links = browser.run("return [...document.querySelectorAll('#evidence tbody a')].map((link) => link.href)")
            page = next((link for link in links if f"/{kind}s/" in link), None)
            check(page, f"incident: its evidence leads to no {kind}: {links}")
            browser.open(page)
            text = browser.run("return document.querySelector('main').innerText")
            return page if words in text and "Azure Front Door" in text else None

        page = until(f"a {kind} of the evidence says so", 20, look)
        browser.shoot(self.output / f"{kind}-desktop.png", DESKTOP)
        browser.shoot(self.output / f"{kind}-320.png", PHONE)
        return page

    def ask_what_is_mine(self, mine):
        browser, answer = self.browser, "document.querySelector('#mine .answer')?.textContent"
        browser.size(DESKTOP)
        browser.open(mine)
        text = browser.run(f"return {answer}")
        check(text and "Yes" in text and "azure/front-door" in text, f"mine: the answer is: {text}")
        check("not known here" in browser.run("return document.querySelector('#mine').textContent"), "mine: an unknown name is not said")
        rows = "[...document.querySelectorAll('#matrix tr[data-row]')].filter((row) => !row.closest('details')).map((row) => row.dataset.row)"
        shown = browser.run(f"return {rows}")
        check("azure/front-door" in shown and len(shown) <= 2, f"mine: rows that are not folded: {shown}")
        before = browser.run("return document.querySelector('#updated time').dateTime")
        browser.until("mine: the page is fresh", 15, f"return document.querySelector('#updated time').dateTime !== '{before}'")
        check(browser.run(f"return {answer}") is not None and browser.run(f"return {rows}") == shown, "mine: a refresh forgot the question")
        check(browser.run("return location.search").startswith("?mine="), "mine: the address lost the question")
        browser.shoot(self.output / "mine-320.png", PHONE)

    def told_to_the_boss(self, incident, home):
        """The report is one file, which needs nobody."""
        report = (self.output / "report.html").absolute()
        self.command("report", incident.rsplit("/", 1)[1], "-o", report, "--feed", home)
        self.inspection.page("report.html", report.as_uri())
        for scheme in ["light", "dark"]:
            self.browser.prefers(scheme)
            self.browser.shoot(self.output / f"report-{scheme}-desktop.png", DESKTOP)
            self.browser.shoot(self.output / f"report-{scheme}-320.png", PHONE)
        self.browser.prefers("light")

    def copied(self, ends, home):
        """The copy for a mirror, served as a mirror would."""
        folder = self.output / "copy"
        self.command("page", "export", folder, "--feed", home)
        mirror = serve(ends, folder)
        incident = next((folder / "incidents").iterdir()).name
        for what, path in {"copy": "index.html", "copied incident": f"incidents/{incident}", "copied scorecard": "scorecard.html"}.items():
            self.inspection.page(what, mirror + path)
        self.browser.open(mirror + "index.html")
        text = self.browser.run("return document.querySelector('main').innerText")
        check(text.startswith("▣ This is a copy") and "Azure Front Door is failing" in text, f"copy: it says: {text[:300]}")
        self.browser.shoot(self.output / "copy-320.png", PHONE)

    def grows_stale(self, home, play):
        browser = self.browser
        browser.size(DESKTOP)
        browser.open(home)
        live = "document.querySelector('#live').innerText"
        browser.until("stale: the page is live before", 5, f"return {live}.includes('Live')")
        browser.run("document.querySelector('#live button').click()")
        browser.until("stale: a pause shows", 2, f"return {live}.includes('Paused')")
        browser.run("document.querySelector('#live button').click()")
        browser.is_clean("stale, before")
        play.end()
        # Half a minute later, without waiting for it.
        browser.run("const now = Date.now; Date.now = () => now() + 31000;")
        browser.until("stale: the line shows", 5, f"return document.body.classList.contains('stale') && {live}.includes('reconnecting')")
        self.is_state("stale", "Azure Front Door is failing")
        check(" ago)" not in browser.run("return document.querySelector('header').innerText"), "stale: an age stands still")
        browser.errors()  # that the coordinator is gone is no error of the page


def told(url, last):
    """What the event stream says from there on, up to that place in the sequence."""
    found, number, kind = [], None, None
    with OPENER.open(url, timeout=20) as stream:
        for line in stream:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "id":
                number = int(value)
            elif field == "event":
                kind = value
            elif not field and kind:
                if number >= last and (kind == "tick" or number > last):
                    return found
                if kind != "tick":
                    found.append((number, kind))
                kind = None
    return found


def serve(ends, folder):
    """Serves a copy as a mirror does: compressed, under a policy without any script or inline style."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            path = pathlib.Path(self.translate_path(self.path))
            if not path.is_file():
                return self.send_error(404)
            body = gzip.compress(path.read_bytes(), 1)
            self.send_response(200)
            self.send_header("content-type", self.guess_type(str(path)))
            self.send_header("content-encoding", "gzip")
            self.send_header("content-length", str(len(body)))
            self.send_header("content-security-policy", POLICY)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ends.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_address[1]}/"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(pathlib.Path, sys.argv[3:]))
    print("browser: all seen")
