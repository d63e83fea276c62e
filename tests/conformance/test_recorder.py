"""The record of the requests has every request to AWS, but not the bytes of large objects."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tools.local.services.recorder import LONGEST_BODY, VARIABLE, Message, Receive, Send, recording


async def reads_all(scope: Message, receive: Receive, send: Send) -> None:
    while (await receive()).get("more_body"):
        pass


def paths_recorded(folder: Path, requests: dict[str, bytes]) -> list[str]:
    application = recording(reads_all)

    async def request(path: str, body: bytes) -> None:
        parts = [body[: len(body) // 2], body[len(body) // 2 :]]

        async def receive() -> Message:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Message) -> None:
            pytest.fail("nothing is sent")

        scope = {"type": "http", "method": "PUT", "path": path, "headers": []}
        await application(scope, receive, send)

    for path, body in requests.items():
        asyncio.run(request(path, body))
    (record,) = folder.iterdir()
    return [json.loads(line)["path"] for line in record.read_text(encoding="utf-8").splitlines()]


def test_all_but_large_objects_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    requests = {
        "/code/functions.zip": bytes(LONGEST_BODY + 1),
        "/bucket/largest": bytes(LONGEST_BODY),
        "/bucket/empty": b"",
        "/_ministack/health": b"",
    }
    assert paths_recorded(tmp_path, requests) == ["/bucket/largest", "/bucket/empty"]
