"""The Lambda Runtime API and the few AWS calls that the functions make, served to one process.

Only what a benchmark of a process needs: it hands out events, notes when each answer came, and
takes every record that is put.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

TIMEOUT_SECONDS = 60


class Server(ThreadingHTTPServer):
    """A server that does not complain of a function that ends while it is connected."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class Api:
    """Hands out the events in turn, and notes when each was answered."""

    def __init__(self, events: Sequence[bytes]) -> None:
        self.events = list(events)
        self.answered: list[float] = []
        self.errors: list[str] = []
        self.aws_calls: dict[str, int] = {}
        self.done = threading.Event()
        self.over = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_arguments: Any) -> None:
                """Says nothing."""

            def do_GET(self) -> None:
                if not api.events:
                    api.done.set()
                    # As Lambda does, until there is something; by then the process has ended.
                    api.over.wait(TIMEOUT_SECONDS)
                    self.close_connection = True
                    return
                deadline = int((time.time() + 900) * 1e3)
                self.reply(
                    api.events.pop(0),
                    {
                        "Lambda-Runtime-Aws-Request-Id": "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                        "Lambda-Runtime-Deadline-Ms": str(deadline),
                        "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:0:f",
                    },
                )

            def do_POST(self) -> None:
                now = time.perf_counter()
                body = self.body()
                if "/runtime/" in self.path:
                    if self.path.endswith("/response"):
                        api.answered.append(now)
                    else:
                        api.errors.append(body.decode("utf-8", "replace"))
                    self.reply(b"{}")
                    if not api.events:
                        api.done.set()
                    return
                self.reply(*api.aws(self.headers.get("X-Amz-Target") or self.path, body))

            def body(self) -> bytes:
                if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                body = b""
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def reply(self, body: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(200)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"

    def aws(self, call: str, body: bytes) -> tuple[bytes, dict[str, str]]:
        """Takes what is put, all of it."""
        call = call.rsplit(".", 1)[-1].rsplit("/", 1)[-1] or "Publish"
        self.aws_calls[call] = self.aws_calls.get(call, 0) + 1
        answer: dict[str, Any] = {}
        if call == "PutRecords":
            taken = [{"SequenceNumber": "1", "ShardId": "1"}] * body.count(b'"PartitionKey"')
            answer = {"FailedRecordCount": 0, "Records": taken}
        elif call == "PutRecordBatch":
            taken = [{"RecordId": "1"}] * body.count(b'"Data"')
            answer = {"FailedPutCount": 0, "RequestResponses": taken}
        elif call == "GetTable":
            answer = {"Table": {"Name": "t", "StorageDescriptor": {"Location": "s3://b/t/"}}}
        elif call == "PutMetricData":
            return b"\xbf\xff", {
                "Content-Type": "application/cbor",
                "smithy-protocol": "rpc-v2-cbor",
            }
        elif call == "Publish":
            response = b"<PublishBatchResponse><PublishBatchResult><Successful/><Failed/>"
            response += b"</PublishBatchResult></PublishBatchResponse>"
            return response, {"Content-Type": "text/xml"}
        return json.dumps(answer).encode(), {"Content-Type": "application/x-amz-json-1.1"}

    def __enter__(self) -> Api:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


class ProcessFailed(RuntimeError):
    """A function did not answer."""


def variables(api: Api) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", ""),
        "AWS_LAMBDA_RUNTIME_API": api.address,
        "AWS_LAMBDA_FUNCTION_NAME": "bench",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_LOG_GROUP_NAME": "bench",
        "AWS_LAMBDA_LOG_STREAM_NAME": "bench",
        "AWS_REGION": "eu-west-1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ENDPOINT_URL": f"http://{api.address}",
        "RAW_STREAM": "raw",
        "SEVERE_STREAM": "severe",
        "ANALYTICAL_DELIVERY_STREAM": "analytical",
        "REJECTS_DELIVERY_STREAM": "rejects",
        "GLUE_DATABASE": "d",
        "GLUE_TABLE": "t",
        "TOPIC_ARN": "arn:aws:sns:eu-west-1:000000000000:alerts",
        "ALERTS_PER_SECOND": "0",  # the pauses between alerts are not its time to start
        "RUST_LOG": "error",
    }


def run(
    command: Sequence[str | Path], events: Sequence[bytes]
) -> tuple[float, int, dict[str, int]]:
    """Starts a function and hands it the events.

    Gives the milliseconds from its start to its first answer, the most memory that it held, in
    bytes, and the AWS calls that it made, by name.
    """
    with Api(events) as api:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            env=variables(api),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            waited = time.monotonic()
            while not api.done.wait(0.05) and process.poll() is None:
                if time.monotonic() - waited > TIMEOUT_SECONDS:
                    raise ProcessFailed(f"{command[0]} did not answer in {TIMEOUT_SECONDS} s")
            peak = peak_memory(process.pid)
        finally:
            process.kill()
            said = process.communicate()[1].decode("utf-8", "replace")
        if api.errors or len(api.answered) != len(events):
            raise ProcessFailed(f"{command[0]} failed: {(api.errors or [said[-500:]])[0]}")
        return (api.answered[0] - begin) * 1e3, peak, api.aws_calls


def peak_memory(pid: int) -> int:
    """The most resident bytes that a process has held; 0 where the system does not say."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else 0
