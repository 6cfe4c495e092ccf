"""A headless Chromium, driven by WebDriver through Debian's chromedriver, with nothing but Python's standard library.

Every page that it opens notes what its policy forbids and what it hears of the event stream, before any of its own scripts run.
"""

import base64
import contextlib
import json
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from lab import OPENER, check, fail

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--no-proxy-server",
]
DESKTOP, PHONE = (1280, 900), (320, 700)
KEYS = {"Tab": 9, "Enter": 13}
WITNESS = """
window.__seen = { forbidden: [], events: [] };
document.addEventListener("securitypolicyviolation", (it) => {
  __seen.forbidden.push(`${it.effectiveDirective}: ${it.blockedURI} ${it.sample} (line ${it.lineNumber})`);
});
window.EventSource = class extends EventSource {
  addEventListener(kind, hear) {
    super.addEventListener(kind, (event) => {
      if (kind !== "tick") __seen.events.push([Number(event.lastEventId), kind]);
      hear(event);
    });
  }
};
"""


class Browser:
    """A browser with a fresh profile."""

    def __init__(self, ends):
        profile = ends.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        driver = subprocess.Popen(["chromedriver", f"--port={free_port()}"], stdout=subprocess.PIPE, text=True)
        ends.callback(stop, driver)
        for line in driver.stdout:
            if "started successfully on port" in line:
                self.address = f"http://127.0.0.1:{line.split()[-1].rstrip('.')}"
                break
        else:
            fail("chromedriver does not start")
        options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        session = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        self.address += f"/session/{session}"
        ends.callback(lambda: self.call("DELETE", "", None))
        self.cdp("Page.addScriptToEvaluateOnNewDocument", source=WITNESS)
        self.cdp("Emulation.setFocusEmulationEnabled", enabled=True)

    def call(self, method, path, body):
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, content, {"content-type": "application/json"}, method=method)
        try:
            with OPENER.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as refusal:
            fail(f"the browser refuses {path}: {json.load(refusal)['value']['message'][:800]}")

    def cdp(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def run(self, script, *words):
        return self.call("POST", "/execute/sync", {"script": script, "args": words})

    def run_async(self, script, *words):
        return self.call("POST", "/execute/async", {"script": script, "args": words})

    def until(self, what, seconds, script):
        deadline = time.monotonic() + seconds
        while not (value := self.run(script)):
            if time.monotonic() > deadline:
                fail(f"after {seconds} s not seen: {what}. The page: {self.run('return document.body.innerText')[:1500]}")
            time.sleep(0.1)
        return value

    def size(self, size):
        # The window itself has a least width; an emulated screen has none.
        width, height = size
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefers(self, scheme="light", **features):
        """What the system asks of pages: `prefers(scheme="dark", forced_colors="active")`."""
        wanted = {"prefers-color-scheme": scheme, "forced-colors": "none", "prefers-reduced-motion": "no-preference"}
        wanted |= {name.replace("_", "-"): value for name, value in features.items()}
        self.cdp("Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in wanted.items()])

    def scripts(self, are_on):
        self.cdp("Emulation.setScriptExecutionDisabled", value=not are_on)

    def press(self, key):
        for kind in ["rawKeyDown", "char", "keyUp"]:
            if kind == "char" and key != "Enter":
                continue
            text = {"text": "\r"} if kind == "char" else {}
            self.cdp("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=KEYS[key], **text)

    def shoot(self, path, size, tallest=5000):
        self.size(size)
        tall = min(self.run("return document.documentElement.scrollHeight"), tallest)
        clip = {"x": 0, "y": 0, "width": size[0], "height": tall, "scale": 1}
        image = self.cdp("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)["data"]
        path.write_bytes(base64.b64decode(image))

    def errors(self):
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"}) if entry["level"] == "SEVERE"]

    def is_clean(self, what):
        """Nothing was forbidden by the page's policy, and its console has no error."""
        forbidden = self.run("return __seen.forbidden")
        check(not forbidden, f"{what}: the policy forbids {forbidden}")
        errors = self.errors()
        check(not errors, f"{what}: the console has errors: {errors}")


def free_port():
    """A port that is free on both addresses of this machine: asked for any, chromedriver looks at one, and ends on the other."""
    while True:
        with socket.socket() as four, socket.socket(socket.AF_INET6) as six:
            four.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                six.bind(("::1", four.getsockname()[1]))
                return four.getsockname()[1]


def stop(driver):
    driver.send_signal(signal.SIGTERM)
    try:
        driver.wait(10)
    except subprocess.TimeoutExpired:
        driver.kill()
        driver.wait()
