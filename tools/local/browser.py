"""A headless Chromium that opens one page and tells what came of it.

python -m tools.local.browser target/demo/report.html docs/report.png

It is driven by the DevTools protocol over a pipe, so that nothing but the browser itself is needed.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DEADLINE_SECONDS = 60


class BrowserError(RuntimeError):
    """The browser did not do what was asked; the text says what."""


def find() -> str | None:
    """The browser's path: the one that `CHROMIUM` names, or the first that is installed."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """An open page, with all that it said and asked for."""

    def __init__(self, requests: int, answers: int) -> None:
        self._to, self._from = requests, answers
        self._buffer = b""
        self._last = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.asked_for: list[str] = []
        self._loaded = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Calls a method of the protocol and awaits its answer."""
        self._last += 1
        message: dict[str, Any] = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                break
            self._note(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            read = os.read(self._from, 1 << 20)
            if not read:
                raise BrowserError("the browser ended before it answered")
            self._buffer += read
        text, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(text)

    def _note(self, event: dict[str, Any]) -> None:
        parameters = event.get("params", {})
        match event.get("method"):
            case "Page.loadEventFired":
                self._loaded = True
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                told = details.get("exception", {}).get("description") or details["text"]
                self.complaints.append(told)
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                told = " ".join(str(each.get("value", each)) for each in parameters["args"])
                self.complaints.append(told)
            case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                self.complaints.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked_for.append(parameters["request"]["url"])

    def open(self, url: str, width: int, height: int, dark: bool = False) -> None:
        """Opens a page in a window of that size and waits until it is there."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self.dark(dark)
        self.call("Page.navigate", url=url)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not self._loaded:
            if time.monotonic() > deadline:
                raise BrowserError(f"{url} did not load within {DEADLINE_SECONDS} s")
            self._note(self._next())

    def dark(self, dark: bool) -> None:
        """Prefers dark or light colours from here on."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(answer["exceptionDetails"]["text"])
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """A picture of what the window shows, as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


@contextmanager
def chromium(path: str) -> Iterator[Page]:
    """A browser of its own for as long as the block takes."""
    its_input, to_browser = os.pipe()
    from_browser, its_output = os.pipe()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        # The protocol speaks on descriptors 3 and 4.
        command = [
            path,
            "--headless=new",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
            "--no-first-run",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--hide-scrollbars",
        ]
        shell = f'exec 3<&{its_input} 4>&{its_output}; exec "$@"'
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "chromium", *command],
            pass_fds=(its_input, its_output),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_input)
        os.close(its_output)
        try:
            yield Page(to_browser, from_browser)
        finally:
            process.terminate()
            process.wait()
            os.close(to_browser)
            os.close(from_browser)


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: browser.py page.html picture.png", file=sys.stderr)
        return 2
    page, picture = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    path = find()
    if path is None:
        print(
            "error: no Chromium is installed; on Debian `apt install chromium` does",
            file=sys.stderr,
        )
        return 1
    with chromium(path) as browser:
        browser.open(page.as_uri(), 1180, 1240)
        picture.write_bytes(browser.screenshot())
    return 0


if __name__ == "__main__":
    sys.exit(main())
