"""Debian's chromium without a window, driven over a pipe by its own protocol, as a person at a keyboard."""

import json
import os
import select
import signal
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

PATIENCE = 60.0  # seconds
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " ")}
HERE = """(() => {
  const at = document.activeElement
  const name = at.getAttribute("href") || at.name || ""
  return [at.tagName.toLowerCase(), name, at.value || at.textContent.trim()]
})()"""


class Browser:
    """One tab of chromium.

    Attributes
    ----------
    complaints : list of str
        What stood in the console: errors of scripts, refusals of the content policy, what did not load.
    """

    def __init__(self, program: str, profile: Path):
        theirs, self.out = os.pipe()
        self.into, told = os.pipe()
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe"]
        command += [f"--user-data-dir={profile}", "--no-first-run", "--disable-dev-shm-usage", "about:blank"]
        log = (os.POSIX_SPAWN_OPEN, 2, str(profile / "log"), os.O_WRONLY | os.O_CREAT, 0o600)
        ends = [(os.POSIX_SPAWN_DUP2, theirs, 3), (os.POSIX_SPAWN_DUP2, told, 4), log]
        self.process = os.posix_spawn(program, command, os.environ, file_actions=ends, setpgroup=0)
        os.close(theirs)
        os.close(told)
        self.rest, self.count, self.events, self.session = b"", 0, [], None
        self.complaints: list[str] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self(f"{domain}.enable")

    def close(self) -> None:
        os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.into)
        os.close(self.out)

    def __call__(self, method: str, **parameters) -> dict:
        """Ask for something, and return the answer."""
        self.count += 1
        asked = {"id": self.count, "method": method, "params": parameters}
        asked |= {"sessionId": self.session} if self.session else {}
        os.write(self.out, json.dumps(asked).encode() + b"\0")
        number = self.count
        answer = self.wait(lambda one: one.get("id") == number)
        assert "error" not in answer, answer
        return answer["result"]

    def wait(self, wanted) -> dict:
        """Return the first message that is wanted; keep what else is said."""
        for one in self.events:
            if wanted(one):
                self.events.remove(one)
                return one
        while True:
            while b"\0" not in self.rest:
                assert select.select([self.into], [], [], PATIENCE)[0], "chromium says nothing"
                said = os.read(self.into, 1 << 20)
                assert said, "chromium has ended"
                self.rest += said
            line, _, self.rest = self.rest.partition(b"\0")
            message = json.loads(line)
            self.hear(message)
            if wanted(message):
                return message
            self.events.append(message)

    def hear(self, message: dict) -> None:
        about = message.get("params", {})
        if message.get("method") == "Log.entryAdded" and about["entry"]["level"] in ("warning", "error"):
            self.complaints.append(about["entry"]["text"])
        elif message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.complaints.append(json.dumps(about))

    def loaded(self, act) -> None:
        """Do something that leads to a page, and wait until that is there."""
        self.events.clear()
        act()
        self.wait(lambda one: one.get("method") == "Page.loadEventFired")

    def go(self, address: str) -> None:
        self.loaded(lambda: self("Page.navigate", url=address))

    def ask(self, script: str):
        """Return the value of an expression on the page."""
        return self("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def press(self, key: str) -> None:
        number, text = KEYS[key]
        about = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": number}
        self("Input.dispatchKeyEvent", type="keyDown", text=text, **about)
        self("Input.dispatchKeyEvent", type="keyUp", **about)

    def type(self, text: str) -> None:
        self("Input.insertText", text=text)

    def tab(self) -> list[str]:
        """Go on by one Tab; return what has the focus: tag, where it leads or its name, what it says."""
        self.press("Tab")
        return self.ask(HERE)

    def tab_to(self, what: str, most: int = 60) -> list[str]:
        """Go on by Tab until what has the focus leads there, is called or says so."""
        passed = []
        for _ in range(most):
            at = self.tab()
            passed.append(at)
            if what in at:
                return at
        raise AssertionError(f"Tab does not reach {what}: {passed}")

    def wide(self, width: int, height: int = 900, scheme: str = "light") -> None:
        """Take a window of so many pixels, and a scheme of colours."""
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self) -> np.ndarray:
        """Return what is seen, RGB."""
        data = b64decode(self("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(BytesIO(data)).convert("RGB"))
