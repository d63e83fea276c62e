"""A proxy in front of the local cloud that injects faults into the protocols of AWS.

It refuses entries of a batch while it passes on the others, throttles, fails, answers slowly,
breaks connections off, and takes requests whose answers are then lost.
"""

from __future__ import annotations

import http.client
import json
import random
import socket
import struct
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cbor2

SNS = "http://sns.amazonaws.com/doc/2010-03-31/"
SLOW_SECONDS = 1.0

# Faults of a whole request.
WHOLE = ("throttled", "status 500", "status 503", "reset", "slow", "answer lost")

# https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsResultEntry.html
# https://docs.aws.amazon.com/firehose/latest/APIReference/API_PutRecordBatchResponseEntry.html
# https://docs.aws.amazon.com/sns/latest/api/API_BatchResultErrorEntry.html
REFUSED = {
    "PutRecords": ("ProvisionedThroughputExceededException", "InternalFailure"),
    "PutRecordBatch": ("ServiceUnavailableException", "InternalFailure"),
    "PublishBatch": ("InternalError", "Throttled"),
}
THROTTLED = {
    "PutRecords": "ProvisionedThroughputExceededException",
    "PutRecordBatch": "ServiceUnavailableException",
    "PublishBatch": "Throttled",
    "PutMetricData": "ThrottlingException",
    "BatchCreatePartition": "ThrottlingException",
}


class FaultProxy:
    """Listens on its own port; `injected` counts the faults, by action and fault."""

    def __init__(self, upstream_port: int, share: float, seed: int) -> None:
        self.upstream_port = upstream_port
        self.share = share
        self.injected: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            faults = proxy

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def draw(self, action: str) -> str | None:
        """The fault of a request of this action, if any."""
        with self._lock:
            self.requests[action] += 1
            if action not in THROTTLED or self._random.random() >= self.share:
                return None
            fault = self._random.choice(WHOLE)
            self.injected[f"{action}: {fault}"] += 1
            return fault

    def refusals(self, action: str, count: int) -> dict[int, str]:
        """The positions of the entries that are refused, each with its code."""
        with self._lock:
            refused = {
                index: self._random.choice(REFUSED[action])
                for index in range(count)
                if self._random.random() < self.share
            }
            self.injected[f"{action}: entry refused"] += len(refused)
            return refused


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faults: FaultProxy

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: the test reports what was injected."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        action = self._action(body)
        fault = self.faults.draw(action)
        if fault == "reset":
            self._reset()
        elif fault == "throttled":
            self._fail(action, 400, THROTTLED[action])
        elif fault == "status 500":
            self._fail(action, 500, "InternalFailure")
        elif fault == "status 503":
            self._fail(action, 503, "ServiceUnavailable")
        else:
            if fault == "slow":
                time.sleep(SLOW_SECONDS)  # the fault itself, nothing waits on it
            status, headers, answer = self._pass_on(action, body)
            if fault == "answer lost":
                self._reset()
            else:
                self._answer(status, headers, answer)

    def _action(self, body: bytes) -> str:
        target = self.headers.get("x-amz-target")
        if target:
            return target.rpartition(".")[2]
        if "/operation/" in self.path:
            return self.path.rpartition("/")[2]
        if body.startswith(b"Action=") or b"&Action=" in body[:10_000]:
            return urllib.parse.parse_qs(body.decode())["Action"][0]
        return self.command

    def _pass_on(self, action: str, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Forwards a request without its refused entries, and adds these to the answer."""
        passers: dict[str, Callable[[bytes], tuple[int, dict[str, str], bytes]]] = {
            "PutRecords": lambda body: self._pass_json(
                action, body, "Records", "FailedRecordCount", "Records"
            ),
            "PutRecordBatch": lambda body: self._pass_json(
                action, body, "Records", "FailedPutCount", "RequestResponses"
            ),
            "PublishBatch": self._pass_query,
        }
        return passers.get(action, self._upstream)(body)

    def _pass_json(
        self, action: str, body: bytes, entries: str, failed: str, results: str
    ) -> tuple[int, dict[str, str], bytes]:
        request = json.loads(body)
        refused = self.faults.refusals(action, len(request[entries]))
        kept = [entry for index, entry in enumerate(request[entries]) if index not in refused]
        status, headers, answer = 200, {"content-type": "application/x-amz-json-1.1"}, {}
        taken: list[dict[str, Any]] = []
        if kept:
            status, headers, text = self._upstream(json.dumps({**request, entries: kept}).encode())
            if status != 200:
                return status, headers, text
            answer = json.loads(text)
            taken = answer[results]
        left = iter(taken)
        merged = [
            {"ErrorCode": refused[index], "ErrorMessage": "injected"}
            if index in refused
            else next(left)
            for index in range(len(request[entries]))
        ]
        answer[results] = merged
        answer[failed] = sum("ErrorCode" in result for result in merged)
        return status, headers, json.dumps(answer).encode()

    def _pass_query(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        prefix = "PublishBatchRequestEntries.member."
        fields = urllib.parse.parse_qsl(body.decode(), keep_blank_values=True)
        entries: dict[int, list[tuple[str, str]]] = {}
        kept = []
        for name, value in fields:
            if name.startswith(prefix):
                number, _, rest = name.removeprefix(prefix).partition(".")
                entries.setdefault(int(number), []).append((rest, value))
            else:
                kept.append((name, value))
        refused = self.faults.refusals("PublishBatch", len(entries))
        failed = []
        position = 0
        for index, number in enumerate(sorted(entries)):
            if index in refused:
                failed.append((dict(entries[number])["Id"], refused[index]))
                continue
            position += 1
            kept += [(f"{prefix}{position}.{rest}", value) for rest, value in entries[number]]
        status, headers = 200, {"content-type": "text/xml"}
        text = (
            f'<PublishBatchResponse xmlns="{SNS}"><PublishBatchResult><Successful/><Failed/>'
            "</PublishBatchResult></PublishBatchResponse>"
        ).encode()
        if position:
            status, headers, text = self._upstream(urllib.parse.urlencode(kept).encode())
            if status != 200:
                return status, headers, text
        ElementTree.register_namespace("", SNS)
        root = ElementTree.fromstring(text)
        result = root.find(f"{{{SNS}}}PublishBatchResult")
        assert result is not None, text
        failed = result.find(f"{{{SNS}}}Failed")
        if failed is None:
            failed = ElementTree.SubElement(result, f"{{{SNS}}}Failed")
        for entry, code in failed:
            member = ElementTree.SubElement(failed, f"{{{SNS}}}member")
            # SNS reports throttling as a fault of the sender, too.
            at_fault = "true" if code == "Throttled" else "false"
            for name, value in (("Id", entry), ("Code", code), ("SenderFault", at_fault)):
                ElementTree.SubElement(member, f"{{{SNS}}}{name}").text = value
        return status, headers, ElementTree.tostring(root)

    def _upstream(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.faults.upstream_port, timeout=120)
        try:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("content-length", "connection", "expect")
            }
            connection.request(self.command, self.path, body=body, headers=headers)
            answer = connection.getresponse()
            kept = {
                name: value
                for name, value in answer.getheaders()
                if name.lower() not in ("content-length", "connection", "transfer-encoding")
            }
            return answer.status, kept, answer.read()
        finally:
            connection.close()

    def _fail(self, action: str, status: int, code: str) -> None:
        if action == "PublishBatch":
            side = "Sender" if status == 400 else "Receiver"
            body = (
                f'<ErrorResponse xmlns="{SNS}"><Error><Type>{side}</Type><Code>{code}</Code>'
                "<Message>injected</Message></Error><RequestId>0</RequestId></ErrorResponse>"
            ).encode()
            headers = {"content-type": "text/xml"}
        elif "rpc-v2-cbor" in self.headers.get("smithy-protocol", ""):
            body = cbor2.dumps(
                {"__type": f"com.amazonaws.cloudwatch#{code}", "message": "injected"}
            )
            headers = {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
        else:
            body = json.dumps({"__type": code, "message": "injected"}).encode()
            headers = {"content-type": "application/x-amz-json-1.1", "x-amzn-errortype": code}
        self._answer(status, headers, body)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        """Resets the connection instead of closing it."""
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def handle(self) -> None:
        # A function that is killed leaves its connections in any state.
        try:
            super().handle()
        except (ConnectionError, ValueError):
            self.close_connection = True

    def finish(self) -> None:
        try:
            super().finish()
        except (OSError, ValueError):
            self.close_connection = True
