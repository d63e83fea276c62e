"""Starts a function as Lambda does, with a server for the few AWS calls that it makes.

Only what a benchmark of a process needs: every record that is put is accepted.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.local.runtime_api import Failed, Handler, RuntimeApi, serve

TIMEOUT_SECONDS = 60


class Aws:
    """The AWS services of a function: accept everything and count the calls by name."""

    def __init__(self) -> None:
        self.calls: dict[str, int] = {}
        aws = self

        class Calls(Handler):
            def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
                body = self.body()
                self.reply(*aws.answer(self.headers.get("X-Amz-Target") or self.path, body))

        self.server = serve(Calls)

    def answer(self, call: str, body: bytes) -> tuple[bytes, dict[str, str]]:
        """The response to a call: everything is accepted."""
        call = call.rsplit(".", 1)[-1].rsplit("/", 1)[-1] or "Publish"
        self.calls[call] = self.calls.get(call, 0) + 1
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


class ProcessFailed(RuntimeError):
    """A function did not respond."""


VARIABLES = {
    "AWS_REGION": "eu-west-1",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "RAW_STREAM": "raw",
    "SEVERE_STREAM": "severe",
    "ANALYTICAL_DELIVERY_STREAM": "analytical",
    "REJECTS_DELIVERY_STREAM": "rejects",
    "ALERTS_DELIVERY_STREAM": "alerts",
    "GLUE_DATABASE": "d",
    "GLUE_TABLE": "t",
    "TOPIC_ARN": "arn:aws:sns:eu-west-1:000000000000:alerts",
    "ALERTS_PER_SECOND": "0",  # the pauses between alerts are not its time to start
    "RUST_LOG": "error",
}


def run(
    command: Sequence[str | Path], events: Sequence[bytes]
) -> tuple[float, int, dict[str, int]]:
    """Starts a function and sends it the events.

    Gives the milliseconds from its start to its first answer, the most memory that it held, in
    bytes, and the AWS calls that it made, by name.
    """
    api, aws = RuntimeApi(TIMEOUT_SECONDS), Aws()
    variables = VARIABLES | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{aws.server.server_port}"}
    answered = []
    with tempfile.TemporaryFile() as log:
        begin = time.perf_counter()
        process = api.start(command, "bench", variables, log)
        try:
            for event in events:
                api.invoke(event, process)
                answered.append(time.perf_counter())
            peak = peak_memory(process.pid)
        except Failed as failed:
            log.seek(0)
            said = log.read().decode("utf-8", "replace")[-500:]
            raise ProcessFailed(f"{command[0]} {failed}: {said}") from failed
        finally:
            process.kill()
            process.wait()
            api.close()
            aws.server.shutdown()
            aws.server.server_close()
    return (answered[0] - begin) * 1e3, peak, aws.calls


def peak_memory(pid: int) -> int:
    """The most resident bytes that a process has used; 0 if the system does not report it."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return 0
    peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(peaks[0]) * 1024 if peaks else 0
