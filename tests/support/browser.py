"""Headless Chromium through its DevTools pipe: what a page asks for, says and looks like."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = (
    "--headless=new",
    "--no-sandbox",  # root may not have one, and the page is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
)
_SECONDS = 20.0
_PIXELS = """(() => {
  const shown = document.querySelector(%s), { width, height } = shown;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(shown, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  let text = "";
  for (let i = 0; i < data.length; i += 8192) text += String.fromCharCode(...data.subarray(i, i + 8192));
  return { width, height, bytes: btoa(text) };
})()"""


def program() -> str | None:
    """The browser of this machine; None where it has none."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


def install() -> str | None:
    """Debian's chromium where there is no browser yet; why that is impossible, or None."""
    if program() is not None:
        return None
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return "no chromium here, and only root can install it with apt-get"
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in ("apt-get update -qq", "apt-get install -y -qq --no-install-recommends chromium"):
        done = subprocess.run(command.split(), env=environment, capture_output=True, timeout=250)
        if done.returncode != 0:
            return "no chromium here, and apt-get cannot install it"
    return None


class Browser:
    """One page. `events` are all that it told since the last page was opened."""

    def __init__(self, to: int, answers: int) -> None:
        self._to, self._answers, self._rest, self._count = to, answers, b"", 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The browser's answer; AssertionError where it refuses."""
        number = self._send(method, **parameters)
        while True:
            told = self._next()
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told['error']}"
                return dict(told["result"])
            self.events.append(told)

    def open(self, address: str, width: int, height: int = 900) -> None:
        """Show a page in a window of this size, and wait until it has loaded."""
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **screen)
        self.events.clear()
        self.call("Page.navigate", url=address)
        end = time.monotonic() + _SECONDS
        while not any(one.get("method") == "Page.loadEventFired" for one in self.events):
            assert time.monotonic() < end, "the page does not load"
            self.events.append(self._next())

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, whose own policy does not bind it."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression is true in the page; AssertionError where it does not become so."""
        end = time.monotonic() + _SECONDS
        while not self.ask(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """A key of the keyboard, by its name for JavaScript."""
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, **(text if kind == "keyDown" else {}))

    def click(self, selector: str, along: float = 0.5) -> None:
        """The mouse on an element, in the middle of its height and so far along its width."""
        self.ask(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        box = self.ask(f"document.querySelector({selector!r}).getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + along * box["width"], "y": box["y"] + box["height"] / 2}
        for kind, buttons in (("mousePressed", 1), ("mouseReleased", 0)):
            self.call(
                "Input.dispatchMouseEvent", type=kind, button="left", buttons=buttons, clickCount=1, **place
            )

    def pixels(self, selector: str) -> npt.NDArray[np.uint8]:
        """What is drawn on a canvas, [height, width, 3]."""
        told = self.ask(_PIXELS % repr(selector))
        flat = np.frombuffer(base64.b64decode(told["bytes"]), np.uint8)
        return flat.reshape(told["height"], told["width"], 4)[..., :3]

    def screenshot(self, path: Path, *, whole: bool = True) -> None:
        """A PNG of the whole page, or of the window."""
        told = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(told["data"]))

    def pdf(self, path: Path) -> None:
        """As it is printed, on the paper that the page asks for."""
        told = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=False)
        path.write_bytes(base64.b64decode(told["data"]))

    def said(self) -> list[str]:
        """Errors and messages of the console, exceptions, and what the page's policy blocked."""
        found = []
        for one in self.events:
            if one.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
                found.append(json.dumps(one["params"])[:500])
            if one.get("method") == "Page.javascriptDialogOpening":
                found.append("a dialog opened")
        return found

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        sent = [one for one in self.events if one.get("method") == "Network.requestWillBeSent"]
        return [one["params"]["request"]["url"] for one in sent]

    def _send(self, method: str, **parameters: Any) -> int:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        return self._count

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._answers], [], [], _SECONDS)[0], "the browser says nothing any more"
            piece = os.read(self._answers, 1 << 20)
            assert piece, "the browser has ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        told = dict(json.loads(message))
        if told.get("method") == "Page.javascriptDialogOpening":  # which holds up everything else
            self._send("Page.handleJavaScriptDialog", accept=True)
        return told


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with an empty profile; all of it is gone afterwards."""
    found = program()
    assert found is not None
    to_it, to, answers, from_it = (*os.pipe(), *os.pipe())

    def as_it_expects() -> None:  # it reads from 3 and writes to 4
        first, second = os.dup(to_it), os.dup(from_it)
        os.dup2(first, 3)
        os.dup2(second, 4)

    with tempfile.TemporaryDirectory(prefix="browser-") as profile:
        process = subprocess.Popen(
            [found, *_QUIET, f"--user-data-dir={profile}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=as_it_expects,
            start_new_session=True,
        )
        os.close(to_it)
        os.close(from_it)
        try:
            yield Browser(to, answers)
        finally:
            os.close(to)
            os.close(answers)
            try:
                process.wait(10)  # it ends with its pipe
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
