"""Opens a page in a headless Chromium, in a frame of any width that prefers light or dark colours.

A frame's page follows the colour scheme of the frame, also when it changes. What the page says is
collected by a script that runs before its own. The frame sends it to a server of this module, for
which the test waits.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template
from typing import Any

from tools.local.runtime_api import Handler, serve

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DEADLINE_SECONDS = 120
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"

FRAME = Template("""<!doctype html><meta charset="utf-8"><iframe id="frame" src="$page"
width="$width" height="1200" style="border: 0; color-scheme: $scheme"></iframe>
<script>addEventListener("message", ({data}) => {
  if (data.scheme) frame.style.colorScheme = data.scheme;
  else fetch("/", {method: "POST", body: JSON.stringify(data)});
})</script>""")
PROBE = Template("""<script>{
  const complaints = [];
  for (const level of ["error", "warn", "assert"])
    console[level] = (...words) => complaints.push(words.join(" "));
  addEventListener("error", event => complaints.push(
    event.message || `not loaded: $${event.target.src || event.target.href}`), true);
  addEventListener("unhandledrejection", event => complaints.push(String(event.reason)));
  addEventListener("securitypolicyviolation", event => complaints.push(event.blockedURI));
  addEventListener("load", async () => {
    const value = await (async () => {$script})().catch(error => complaints.push(String(error)));
    const requests = performance.getEntriesByType("resource").map(each => each.name);
    parent.postMessage({value, complaints, requests}, "*");
  });
}</script>""")


def find() -> str | None:
    """The browser's path: the one that `CHROMIUM` names, or the first that is installed."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, NAMES)), None)


def opened(
    page: str,
    folder: Path,
    script: str,
    width: int = 1180,
    scheme: str = "light",
    answers_to: Mapping[str, Callable[[], bytes]] | None = None,
    other: str = "",
    seconds: float = DEADLINE_SECONDS,
) -> dict[str, Any]:
    """What a script answers in a page, what the page complained of, and what it asked for.

    A request for one of the paths of `answers_to` gets the answer of its function, which may take
    its time. All others go to the server `other`.
    """
    probe = PROBE.substitute(script=script)
    pages = {
        "/": FRAME.substitute(page="page.html", width=width, scheme=scheme),
        "/page.html": page.replace("<head>", f"<head>{probe}", 1),
    }
    answers: queue.Queue[bytes] = queue.Queue()

    class Pages(Handler):
        def do_GET(self) -> None:  # noqa: N802 - named by http.server
            if self.path in pages:
                self.reply(pages[self.path].encode(), {"Content-Type": "text/html; charset=utf-8"})
            elif answers_to and self.path in answers_to:
                self.reply(answers_to[self.path]())
            elif other:
                self.forward()
            else:
                self.send_error(404)

        def forward(self) -> None:
            """Passes on what another server answers, as it comes."""
            with urllib.request.urlopen(other + self.path, timeout=DEADLINE_SECONDS) as answer:
                self.send_response(answer.status)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Connection", "close")
                self.end_headers()
                while part := answer.read1():
                    self.wfile.write(part)

        def do_POST(self) -> None:  # noqa: N802 - named by http.server
            answers.put(self.body())
            self.reply(b"")

    server = serve(Pages)
    command = [str(find()), *FLAGS.split(), "--window-size=1280,1300"]
    command += [f"--user-data-dir={folder / 'profile'}", f"http://127.0.0.1:{server.server_port}/"]
    with (folder / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            return json.loads(answers.get(timeout=seconds))
        except queue.Empty:
            raise AssertionError(f"the page did not answer; {log.name} may say why") from None
        finally:
            browser.terminate()
            browser.wait()
            server.shutdown()
            server.server_close()
