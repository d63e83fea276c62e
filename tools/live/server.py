"""Serves the live page and its events to browsers.

It runs on Hypercorn, which the local cloud runs on, too.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from plotly.offline import get_plotlyjs

from tools.live.feed import Browser, Feed
from tools.live.figures import part

LOCAL_HOSTS = ("127.0.0.1", "localhost")
TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css"}
PARTS = ("charts.js", "map.js", "live.js", "theme.css", "live.css")

LOOK_SECONDS = 0.2
# A comment after so long a silence, by which both sides notice that the other has gone.
SILENCE_SECONDS = 10

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Application:
    """The page, its parts and its events, as an application of ASGI."""

    def __init__(self, feed: Feed, trusted_hosts: tuple[str, ...] | None) -> None:
        self._feed = feed
        # Otherwise a page of elsewhere could read this one under a name that it lets point here.
        self._trusted = trusted_hosts
        self._parts = {"/": ("text/html", part("live.html"))}
        self._parts["/plotly.js"] = (TYPES["js"], get_plotlyjs())
        for name in PARTS:
            self._parts[f"/{name}"] = (TYPES[name.rpartition(".")[2]], part(name))

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if self._trusted is not None and host_of(scope) not in self._trusted:
            await reply(send, 400, "text/plain", "this page has another name")
        elif scope["method"] != "GET":
            await reply(send, 405, "text/plain", "there is nothing to change here")
        elif path == "/events":
            await stream(self._feed.browser(), receive, send)
        elif path in self._parts:
            await reply(send, 200, *self._parts[path])
        else:
            await reply(send, 404, "text/plain", "there is no such page")


async def live(receive: Receive, send: Send) -> None:
    """Answers the server, which says when it starts and ends."""
    while True:
        said = (await receive())["type"]
        await send({"type": f"{said}.complete"})
        if said == "lifespan.shutdown":
            return


def host_of(scope: Message) -> str:
    """The name by which the browser asks, without the port."""
    headers = dict(scope["headers"])
    return headers.get(b"host", b"").decode(errors="replace").partition(":")[0]


async def start_of(send: Send, status: int, kind: str, cached: bool) -> None:
    headers = {
        "Content-Type": f"{kind}; charset=utf-8",
        "Cache-Control": "max-age=60" if cached else "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": fields})


async def reply(send: Send, status: int, kind: str, text: str) -> None:
    await start_of(send, status, kind, cached=len(text) > 1_000_000)
    await send({"type": "http.response.body", "body": text.encode()})


async def stream(browser: Browser, receive: Receive, send: Send) -> None:
    """Sends what is new until the browser goes; `send` waits for one that reads slowly."""
    await start_of(send, 200, "text/event-stream", cached=False)
    gone = asyncio.ensure_future(left(receive))
    silence = 0.0
    try:
        while not gone.done():
            text = browser.take()
            if not text and silence >= SILENCE_SECONDS:
                text = ": nothing is new\n\n"
            silence = 0 if text else silence + LOOK_SECONDS
            if text:
                await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
            await asyncio.wait([gone], timeout=LOOK_SECONDS)
    finally:
        gone.cancel()


async def left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def listen(host: str, port: int) -> socket.socket:
    """A socket for the server; any free port if the port is 0."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def start(feed: Feed, listener: socket.socket) -> None:
    """Serves in a thread, until the process ends."""
    trusted = LOCAL_HOSTS if listener.getsockname()[0] in LOCAL_HOSTS else None
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None
    application = Application(feed, trusted)

    async def run() -> None:
        # With a trigger of its own it leaves the signals to this process.
        await serve(application, config, shutdown_trigger=asyncio.Event().wait)

    threading.Thread(target=asyncio.run, args=(run(),), name="server", daemon=True).start()
