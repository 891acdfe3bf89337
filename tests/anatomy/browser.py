"""A headless Chromium, driven by WebDriver: plain HTTP to chromedriver, no packages.

    from browser import Browser
    with Browser(width=360, height=740) as browser:
        browser.open(Path("anatomy.html").as_uri())
        browser.run("return document.title")
        browser.click("#grid .cell")
        browser.keys("ArrowRight")
        browser.problems()                              # errors on the console, requests over the network

Needs `chromium` and `chromedriver` in PATH: Debian's packages chromium and chromium-driver.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

# --no-sandbox: the tests may run as root in a container. The pipe: a container need not know the name `localhost`. The
# others keep Chromium off the network.
FLAGS = ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         "--disable-quic",
         "--no-first-run", "--no-default-browser-check", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-extensions",
         "--disable-default-apps", "--metrics-recording-only", "--force-prefers-reduced-motion",
         "--host-resolver-rules=MAP * ~NOTFOUND"]
KEYS = {"ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015", "End": "\ue010",
        "Home": "\ue011", "Tab": "\ue004", "Escape": "\ue00c", "Control": "\ue009", "Enter": "\ue007"}
PATIENCE = 60.0  # seconds for a page
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how WebDriver names an element in JSON


class Browser:
    """One browser window with a fresh profile; ended at the end of the `with`."""

    def __init__(self, width: int = 1280, height: int = 900) -> None:
        self.width, self.height = width, height

    def __enter__(self) -> Browser:
        for program, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
            if shutil.which(program) is None:
                raise FileNotFoundError(f"{program}: not found; install the package {package} (tools/quickstart does)")
        self.profile = tempfile.TemporaryDirectory(prefix="llama512-chromium-", ignore_cleanup_errors=True)
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback: no proxy
        self.driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                       encoding="utf-8")
        self.session = ""
        try:
            self.base = f"http://127.0.0.1:{self._port()}"
            options = {"binary": shutil.which("chromium"), "args": [*FLAGS, f"--user-data-dir={self.profile.name}"],
                       "perfLoggingPrefs": {"enableNetwork": True}}
            answer = self._call("POST", "/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome", "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}}})
            self.session = f"/session/{answer['sessionId']}"
            self.resize(self.width, self.height)
            self._call("POST", f"{self.session}/url", {"url": "about:blank"})
            self.problems()  # those of Chromium's own first page
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self.session:
                self._call("DELETE", self.session)
        except OSError:
            pass  # it is gone already
        self.driver.terminate()
        try:
            self.driver.wait(10)
        except subprocess.TimeoutExpired:
            self.driver.kill()
            self.driver.wait()
        assert self.driver.stdout
        self.driver.stdout.close()
        self.profile.cleanup()

    def _port(self) -> int:
        """The free port that chromedriver chose and tells."""
        assert self.driver.stdout
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").split()[-1])
        raise OSError(f"chromedriver ended with status {self.driver.wait()}")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if method in ("GET", "DELETE") else json.dumps(body or {}).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with self.opener.open(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(json.load(error)["value"]["message"].partition("\n")[0]) from None

    def command(self, name: str, **parameters: Any) -> Any:
        """A command of the DevTools protocol."""
        return self._call("POST", f"{self.session}/goog/cdp/execute", {"cmd": name, "params": parameters})

    def resize(self, width: int, height: int) -> None:
        """The viewport's size, in CSS pixels."""
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                     mobile=width < 600)

    def media(self, **features: str) -> None:
        """Emulates media features: media(prefers_color_scheme="dark")."""
        self.command("Emulation.setEmulatedMedia", features=[
            {"name": name.replace("_", "-"), "value": value} for name, value in features.items()])

    def open(self, url: str) -> None:
        """Loads a page, to the end: on a busy machine the driver may say so before the page's script has run."""
        self._call("POST", f"{self.session}/url", {"url": "about:blank"})  # another fragment alone would not load it
        self._call("POST", f"{self.session}/url", {"url": url})
        page, end = url.partition("#")[0], time.monotonic() + PATIENCE
        while (now := self.run("return [location.href.split('#')[0], document.readyState]")) != [page, "complete"]:
            if time.monotonic() > end:
                raise AssertionError(f"{url}: not loaded after {PATIENCE:.0f} s: {now}")
            time.sleep(0.05)

    def run(self, script: str, *arguments: Any) -> Any:
        """What the script, a function's body, returns."""
        return self._call("POST", f"{self.session}/execute/sync", {"script": script, "args": arguments})

    def click(self, selector: str) -> None:
        element = self._call("POST", f"{self.session}/element", {"using": "css selector", "value": selector})
        self._call("POST", f"{self.session}/element/{element[ELEMENT]}/click")

    def point(self, selector: str) -> None:
        """Moves the mouse onto the element."""
        element = self._call("POST", f"{self.session}/element", {"using": "css selector", "value": selector})
        self._actions("pointer", [{"type": "pointerMove", "duration": 0, "x": 0, "y": 0, "origin": element}])

    def keys(self, *names: str, held: str = "") -> None:
        """Presses keys, one after the other; `held` is held down meanwhile."""
        presses = [{"type": kind, "value": KEYS[name]} for name in names for kind in ("keyDown", "keyUp")]
        if held:
            presses = [{"type": "keyDown", "value": KEYS[held]}, *presses, {"type": "keyUp", "value": KEYS[held]}]
        self._actions("key", presses)

    def _actions(self, kind: str, actions: list[dict[str, Any]]) -> None:
        self._call("POST", f"{self.session}/actions", {"actions": [{"type": kind, "id": kind, "actions": actions}]})

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", f"{self.session}/screenshot")))

    def problems(self, settle: float = 0.3) -> list[str]:
        """Since the last call: everything on the console, and every request but for files and data in the page."""
        time.sleep(settle)
        found = [entry["message"] for entry in self._log("browser")]
        for entry in self._log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] == "Network.requestWillBeSent":
                url = event["params"]["request"]["url"]
                if not url.startswith(("file:", "data:", "about:")):
                    found.append(f"request: {url}")
        return found

    def _log(self, kind: str) -> list[dict[str, Any]]:
        return self._call("POST", f"{self.session}/se/log", {"type": kind})
