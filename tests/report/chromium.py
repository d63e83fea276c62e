"""Opens a page in a headless Chromium, in a frame of any width that prefers light or dark colours.

A frame's page follows the colour scheme of the frame, also when it changes. What the page says is
collected by a script that runs before its own.
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from string import Template
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
DEADLINE_SECONDS = 120
FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"

FRAME = Template("""<!doctype html><meta charset="utf-8"><iframe id="frame" src="$page"
width="$width" height="1200" style="border: 0; color-scheme: $scheme"></iframe>
<pre id="found"></pre>
<script>addEventListener("message", ({data}) => {
  if (data.scheme) frame.style.colorScheme = data.scheme;
  else found.textContent = JSON.stringify(data);
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
    page: str, folder: Path, script: str, width: int = 1180, scheme: str = "light"
) -> dict[str, Any]:
    """What a script answers in a page, what the page complained of, and what it asked for."""
    probe = PROBE.substitute(script=script)
    (folder / "page.html").write_text(page.replace("<head>", f"<head>{probe}", 1), "utf-8")
    frame = folder / "frame.html"
    frame.write_text(FRAME.substitute(page="page.html", width=width, scheme=scheme), "utf-8")
    command = [str(find()), *FLAGS.split(), "--virtual-time-budget=60000", "--dump-dom"]
    command += ["--window-size=1280,1300", f"--user-data-dir={folder / 'profile'}", frame.as_uri()]
    dumped = subprocess.run(
        command, capture_output=True, encoding="utf-8", check=True, timeout=DEADLINE_SECONDS
    ).stdout
    found = re.search(r'<pre id="found">(.+?)</pre>', dumped, re.DOTALL)
    assert found is not None, "the page did not answer"
    return json.loads(html.unescape(found[1]))
