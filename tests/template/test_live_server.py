"""The server of the live page."""

from __future__ import annotations

import asyncio
import re
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from tools.live import __main__ as live
from tools.live import figures, server
from tools.live.feed import Feed
from tools.local.commands import CommandError


def asked(path: str, host: str = "127.0.0.1:5566", method: str = "GET") -> tuple[int, str]:
    """What the server answers."""
    application, sent = server.Application(Feed(), server.LOCAL_HOSTS), []

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", host.encode())]
    scope = {"type": "http", "method": method, "path": path, "headers": headers}
    asyncio.run(application(scope, receive, send))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent).decode()


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("evil.example", 400), ("127.0.0.1.evil.example:5566", 400), ("", 400)],
)
def test_a_page_of_elsewhere_cannot_read_it(host: str, status: int) -> None:
    assert asked("/", host)[0] == status
    assert asked("/events", host)[0] == status


def test_all_parts_of_the_page_are_its_own() -> None:
    _, page = asked("/")
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(parts) >= 6
    for part in parts:
        assert part.startswith("data:") or asked(f"/{part}")[0] == 200
    assert not re.search(r"https?://", page)


@pytest.mark.parametrize("path", ["/feed.py", "/../feed.py", "/page/live.html", "//events"])
def test_nothing_else_is_served(path: str) -> None:
    assert asked(path)[0] == 404
    assert asked("/", method="POST")[0] == 405


def test_no_text_becomes_a_part_of_the_page_as_html() -> None:
    for name in ("live.js", "map.js", "charts.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write", figures.part(name)
        )


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port} is in use.*PAGE={port + 1}"):
            live.listen("127.0.0.1", port)


def test_a_stack_on_aws_that_is_not_there_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def outputs() -> None:
        raise CommandError("there is no stack")

    aws = SimpleNamespace(local=False, announce=lambda: None, outputs=outputs)
    monkeypatch.setattr("tools.local.where.place_of", lambda _: aws)
    with pytest.raises(CommandError, match="there is no stack"):
        live.check(SimpleNamespace(env="dev"))
    local = SimpleNamespace(local=True, outputs=outputs)
    monkeypatch.setattr("tools.local.where.place_of", lambda _: local)
    live.check(SimpleNamespace(env="dev"))
