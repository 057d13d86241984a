"""A tab of a headless Chromium or Chrome, over its DevTools protocol."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
VARIABLE = "PUSHCUT_BROWSER"
"""Names a browser that has another name."""
START_S = 60.0


def program() -> str:
    """The browser's; the test is skipped where there is none."""
    given = os.environ.get(VARIABLE)
    found = given or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        pytest.skip(f"needs Chromium or Chrome: none on PATH, and ${VARIABLE} names none")
    return found


class Tab:
    """A page that is looked at."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        """What the console said of errors since the page was opened."""
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to a command; events that come before it are looked at."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := self._next()).get("id") != number:
            pass
        assert "error" not in message, message
        return message["result"]

    def run(self, script: str) -> Any:
        """The value of an expression, waited for where it is a promise."""
        result = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def open(self, url: str, *, width: int, height: int = 844, scheme: str = "light") -> None:
        """Shows a page in a window of that size, in a light or dark scheme."""
        self.errors.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=url)
        while self._next().get("method") != "Page.loadEventFired":
            pass

    def press_tab(self) -> None:
        """Presses the tabulator key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9
            )

    def _next(self) -> dict[str, Any]:
        message = json.loads(self._socket.recv(timeout=START_S))
        told = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"]))
        if message.get("method") == "Runtime.consoleAPICalled" and told["type"] == "error":
            self.errors.append(str(told["args"]))
        if message.get("method") == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(told["entry"]["text"])
        return message


@contextmanager
def a_tab(profile: Path) -> Iterator[Tab]:
    """A tab of a browser of its own, which ends with it."""
    from websockets.sync.client import connect

    command = [
        program(), "--headless", "--remote-debugging-port=0", f"--user-data-dir={profile}",
        "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio",
    ]  # fmt: skip
    if os.geteuid() == 0:
        command.append("--no-sandbox")  # which root cannot have
    quiet = subprocess.DEVNULL
    browser = subprocess.Popen([*command, "about:blank"], stdout=quiet, stderr=quiet)
    try:
        address = _address(browser, profile / "DevToolsActivePort")
        with connect(address, max_size=None, open_timeout=START_S) as socket:
            yield Tab(socket)
    finally:
        browser.terminate()
        browser.wait()


def _address(browser: subprocess.Popen, port_file: Path) -> str:
    """Where the first tab listens, once the browser says its port."""
    deadline = time.monotonic() + START_S
    while not (port_file.is_file() and port_file.read_text()):
        assert browser.poll() is None, f"the browser ended with {browser.returncode}"
        assert time.monotonic() < deadline, "the browser does not start"
        time.sleep(0.1)
    port = port_file.read_text().split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=START_S) as reply:
        targets = json.load(reply)
    return next(one["webSocketDebuggerUrl"] for one in targets if one["type"] == "page")
