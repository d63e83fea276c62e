"""Records every request that reaches the emulator, so that tests can check it against AWS's models.

`REQUEST_RECORD` names the folder, in which each process of the emulator writes a file of its own.
Each line is one request as JSON: method, path, query, headers, and the body in base64.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

VARIABLE = "REQUEST_RECORD"

# What decides which operation a request is and how its body is read. Others hold times and secrets.
KEPT_HEADERS = frozenset(
    {
        "authorization",
        "content-encoding",
        "content-type",
        "smithy-protocol",
        "user-agent",
        "x-amz-decoded-content-length",
        "x-amz-target",
    }
)
# Paths of the emulator itself and of the functions' URLs: they are not requests to an AWS API.
NOT_AWS = ("/_ministack", "/_aws/", "/health")
# A longer body is an object, such as the code of a function: of its bytes nothing is checked.
LONGEST_BODY = 16 * 1024 * 1024

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


def recording(application: Application) -> Application:
    """The application, recording its requests if `REQUEST_RECORD` is set."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return application
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / f"{os.environ.get('GATEWAY_PORT', 'port')}-{os.getpid()}.jsonl"
    # Open for the life of the process; a line is whole once it is written.
    file = path.open("a", encoding="utf-8", buffering=1)

    async def record(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(NOT_AWS):
            await application(scope, receive, send)
            return
        body = bytearray()

        async def listen() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                body.extend(message.get("body", b""))
            return message

        try:
            await application(scope, listen, send)
        finally:
            if len(body) <= LONGEST_BODY:
                file.write(json.dumps(line(scope, bytes(body))) + "\n")

    return record


def line(scope: Message, body: bytes) -> dict[str, Any]:
    headers = {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }
    kept = {
        name: value
        for name, value in headers.items()
        if name in KEPT_HEADERS
        or name.startswith("x-amz-")
        or name.startswith("if-")
        or name == "range"
    }
    # The signature and the session's token have no place in a file.
    kept.pop("x-amz-security-token", None)
    if "authorization" in kept:
        kept["authorization"] = kept["authorization"].partition(", SignedHeaders")[0]
    return {
        "method": scope["method"],
        "path": scope.get("raw_path", scope["path"].encode()).decode("latin-1"),
        "query": scope.get("query_string", b"").decode("latin-1"),
        "headers": kept,
        "body": base64.b64encode(body).decode(),
    }
