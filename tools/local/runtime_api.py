"""The Lambda Runtime API for one process of a function, which takes one invocation at a time.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

ARN = "arn:aws:lambda:eu-west-1:000000000000:function:under-test"


class Failed(Exception):
    """An invocation did not end with an answer: the function failed, ended or took too long."""


class Ended(Failed):
    """The process cannot take another invocation: it ended, did not start or took too long."""


class TimedOut(Ended):
    """The process took longer than the function's timeout."""


class Handler(BaseHTTPRequestHandler):
    """Reads and answers requests of HTTP/1.1, and logs nothing."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """What matters is in the function's log."""

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def reply(self, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(200)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve(handler: type[Handler]) -> ThreadingHTTPServer:
    """Serves on a free port, in threads; that a process ends while connected is not an error."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class RuntimeApi:
    """Hands events to a process, and its answers back."""

    def __init__(self, deadline_seconds: float, arn: str = ARN) -> None:
        self._seconds = deadline_seconds
        self._arn = arn
        self._events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._answers: queue.Queue[tuple[str, str, bytes]] = queue.Queue()
        api = self

        class Runtime(Handler):
            def do_GET(self) -> None:
                # As Lambda does: the request waits until there is an event.
                request, event = api._events.get()
                headers = {
                    "Lambda-Runtime-Aws-Request-Id": request,
                    "Lambda-Runtime-Deadline-Ms": str(int((time.time() + api._seconds) * 1e3)),
                    "Lambda-Runtime-Invoked-Function-Arn": api._arn,
                    "Content-Type": "application/json",
                }
                self.reply(event, headers)

            def do_POST(self) -> None:
                body = self.body()
                request, kind = self.path.strip("/").split("/")[-2:]
                api._answers.put((request, kind, body))
                self.reply(b"{}")

        self._server = serve(Runtime)

    def start(
        self,
        command: Sequence[str | Path],
        name: str,
        variables: Mapping[str, str],
        log: IO[bytes] | int,
    ) -> subprocess.Popen[bytes]:
        """Starts a function with the variables that Lambda would give it, and those of its own."""
        given = {
            "PATH": os.environ.get("PATH", ""),
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        }
        return subprocess.Popen(
            [str(part) for part in command],
            env={**given, **variables},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def invoke(
        self, event: bytes, process: subprocess.Popen[bytes], request: str | None = None
    ) -> bytes:
        """Hands an event over and waits for the answer of the process."""
        request = request or str(uuid.uuid4())
        self._events.put((request, event))
        deadline = time.monotonic() + self._seconds
        while time.monotonic() < deadline:
            try:
                answered, kind, body = self._answers.get(timeout=0.05)
            except queue.Empty:
                if process.poll() is not None and self._answers.empty():
                    raise Ended("ended") from None
                continue
            if answered == "init":
                raise Ended(f"does not start: {body.decode()}")
            if answered == request and kind == "error":
                raise Failed(f"answers with an error: {body.decode()}")
            if answered == request:
                return body
        raise TimedOut("timed out")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
