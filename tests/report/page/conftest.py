"""A headless Chromium, spoken to over a pipe by the DevTools protocol: no driver and no package is needed."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from importlib import metadata
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = ("--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage")
PATIENCE_S = 60


class Chromium:
    """`send` is a command of the protocol; what the browser says by itself is in `heard`."""

    def __init__(self, program: str, profile: Path):
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20) for _ in range(2) for end in os.pipe()]
        its_input, self.input, output, its_output = ends

        def connect():  # the browser reads from 3 and writes to 4
            os.dup2(its_input, 3)
            os.dup2(its_output, 4)

        sandbox = ["--no-sandbox"] if os.getuid() == 0 else []
        command = [program, *OPTIONS, *sandbox, f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            command, preexec_fn=connect, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(its_input)
        os.close(its_output)
        self.output, self.rest, self.count, self.heard = output, b"", 0, []

    def send(self, method: str, session: str | None = None, **parameters) -> dict:
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters} | (
            {"sessionId": session} if session else {}
        )
        os.write(self.input, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.next()
            if answer.get("id") == self.count:
                assert "error" not in answer, answer
                return answer["result"]
            self.heard.append(answer)

    def next(self) -> dict:
        while b"\0" not in self.rest:
            assert select.select([self.output], [], [], PATIENCE_S)[0], "Chromium says nothing any more"
            some = os.read(self.output, 1 << 20)
            assert some, "Chromium has gone"
            self.rest += some
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        try:
            self.send("Browser.close")
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            os.close(self.input)
            os.close(self.output)


class Page:
    """A file, open in a tab of its own."""

    def __init__(self, browser: Chromium, file: Path, width: int = 1280, dark: bool = False):
        self.browser = browser
        target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        colours = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[colours])
        start = time.monotonic()
        self.send("Page.navigate", url=file.as_uri())
        while self.run("document.readyState + location.protocol") != "completefile:":
            assert time.monotonic() - start < PATIENCE_S
            time.sleep(0.02)
        self.run("Promise.all([...document.images].map((one) => one.decode()))")
        self.seconds = time.monotonic() - start

    def send(self, method: str, **parameters) -> dict:
        return self.browser.send(method, self.session, **parameters)

    def run(self, script: str):
        """The value of an expression, awaited where it is a promise."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if key == "Enter" and kind == "keyDown" else {}
            code = {"Enter": 13, "Tab": 9}[key]
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def events(self, *methods: str) -> list[dict]:
        mine = [event for event in self.browser.heard if event.get("sessionId") == self.session]
        return [event["params"] for event in mine if event["method"] in methods]

    def errors(self) -> list:
        """What the console shows as an error or a warning, and exceptions."""
        said = [one for one in self.events("Runtime.consoleAPICalled") if one["type"] in ("error", "warning", "assert")]
        logged = [one for one in self.events("Log.entryAdded") if one["entry"]["level"] in ("error", "warning")]
        return said + logged + self.events("Runtime.exceptionThrown")

    def addresses(self) -> set[str]:
        """What was asked for, but for the file itself, by the address's kind."""
        asked = [one["request"]["url"] for one in self.events("Network.requestWillBeSent")]
        return {url.partition(":")[0] for url in asked if not url.startswith("file:")}

    def picture(self, path: Path) -> None:
        """A screenshot of the whole page."""
        shot = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser ({', '.join(NAMES)}): apt-get install chromium")
    chromium = Chromium(program, tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()


@pytest.fixture
def opened(browser):
    """opened(file, width=1280, dark=False) -> Page."""
    return lambda file, **options: Page(browser, file, **options)


@pytest.fixture(scope="session")
def axe():
    """The script of axe-core, which axe-core-python carries."""
    try:
        files = metadata.files("axe-core-python") or []
    except metadata.PackageNotFoundError:
        pytest.skip("no axe-core: pip install axe-core-python")
    return next(file for file in files if file.name == "axe.min.js").read_text(encoding="utf-8")
