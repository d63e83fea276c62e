"""Execution environments: the functions' own binaries, each with a Runtime API as in Lambda.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import queue
import random
import subprocess
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 30


class Failed(Exception):
    """An invocation did not end with an answer: the function failed, ended or took too long."""


class Environment:
    """One process of a function, which takes one invocation at a time; a new one takes its place
    when it has ended. Some invocations are killed in the middle."""

    def __init__(
        self,
        name: str,
        binary: Path,
        variables: Mapping[str, str],
        log: Path,
        kill_share: float,
        seed: int,
    ) -> None:
        self.name = name
        self.outcomes: Counter[str] = Counter()
        self._binary = binary
        self._variables = dict(variables)
        self._log = log
        self._kill_share = kill_share
        self._random = random.Random(seed)
        self._process: subprocess.Popen[bytes] | None = None
        self._api: _RuntimeApi | None = None

    def invoke(self, event: Any) -> Any:
        """The function's answer to an event."""
        if self._process is None or self._process.poll() is not None:
            self._start()
        assert self._process is not None
        assert self._api is not None
        api, process = self._api, self._process
        killer = None
        if self._random.random() < self._kill_share:
            # Anywhere between the first byte and some time after most answers.
            killer = threading.Timer(self._random.uniform(0, 0.4), process.kill)
            killer.start()
        try:
            kind, body = api.exchange(json.dumps(event).encode(), process)
        except Failed as failed:
            self.outcomes["killed" if killer else str(failed)] += 1
            process.kill()
            process.wait()
            raise
        if kind == "error":
            self.outcomes["error"] += 1
            raise Failed(f"{self.name} answers with an error: {body.decode()}")
        self.outcomes["answered"] += 1
        return json.loads(body)

    def _start(self) -> None:
        if self._api is not None:
            self._api.close()
        self._api = _RuntimeApi()
        variables = {
            **self._variables,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._binary],
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._api is not None:
            self._api.close()


class _RuntimeApi:
    """The Runtime API of one process."""

    def __init__(self) -> None:
        self._events: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._answers: queue.Queue[tuple[str, str, bytes]] = queue.Queue()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                """Keeps quiet: what matters is in the function's log."""

            def do_GET(self) -> None:
                request, event = api._events.get()
                deadline = int((time.time() + TIMEOUT_SECONDS) * 1000)
                self.send_response(200)
                self.send_header("Lambda-Runtime-Aws-Request-Id", request)
                self.send_header("Lambda-Runtime-Deadline-Ms", str(deadline))
                arn = "arn:aws:lambda:eu-west-1:000000000000:function:under-test"
                self.send_header("Lambda-Runtime-Invoked-Function-Arn", arn)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(event)))
                self.end_headers()
                self.wfile.write(event)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = self.path.strip("/").split("/")
                api._answers.put((parts[-2], parts[-1], body))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def exchange(self, event: bytes, process: subprocess.Popen[bytes]) -> tuple[str, bytes]:
        """Hands an event over and waits for what the process makes of it."""
        request = str(uuid.uuid4())
        self._events.put((request, event))
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            try:
                answered, kind, body = self._answers.get(timeout=0.05)
            except queue.Empty:
                if process.poll() is not None and self._answers.empty():
                    raise Failed("ended") from None
                continue
            if answered == request:
                return kind, body
            if answered == "init":
                raise Failed(f"does not start: {body.decode()}")
        raise Failed("timed out")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
