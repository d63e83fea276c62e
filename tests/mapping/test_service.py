"""What the mappings do with the services around them, which are fakes here."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from tests.ports import free_port
from tools.local import cloud
from tools.local.mapping.destination import Destination
from tools.local.mapping.kinesis import Context, KinesisMapping
from tools.local.mapping.rules import FunctionError, InvocationResult, Settings, Succeeded
from tools.local.mapping.sqs import Queue
from tools.local.stack import wait_for

STREAM = "arn:aws:kinesis:eu-west-1:000000000000:stream/events"
FUNCTION = "arn:aws:lambda:eu-west-1:000000000000:function:reader"
MAPPING: dict[str, Any] = {
    "UUID": "6a1f7c8e-0000-4000-8000-000000000000",
    "EventSourceArn": STREAM,
    "FunctionArn": FUNCTION,
    "BatchSize": 2,
    "MaximumRetryAttempts": 0,
    "FunctionResponseTypes": ["ReportBatchItemFailures"],
    "StartingPosition": "TRIM_HORIZON",
    "DestinationConfig": {"OnFailure": {"Destination": "arn:aws:s3:::failures"}},
}
DONE = Succeeded('{"batchItemFailures": []}')


class Stream:
    """Kinesis with one stream: a shard that was split, and its first child."""

    def __init__(self, records: dict[str, list[str]]) -> None:
        self.records = records

    def list_shards(self, **_: Any) -> dict[str, Any]:
        return {"Shards": [{"ShardId": "child", "ParentShardId": "parent"}, {"ShardId": "parent"}]}

    def get_shard_iterator(self, **request: Any) -> dict[str, str]:
        after = request.get("StartingSequenceNumber")
        position = 0 if after is None else self.records[request["ShardId"]].index(after) + 1
        return {"ShardIterator": f"{request['ShardId']} {position}"}

    def get_records(self, **request: Any) -> dict[str, Any]:
        shard, position = request["ShardIterator"].split(" ")
        numbers = self.records[shard][int(position) :]
        answer: dict[str, Any] = {
            "Records": [
                {
                    "SequenceNumber": number,
                    "PartitionKey": "k",
                    "Data": number.encode(),
                    "ApproximateArrivalTimestamp": datetime.now(timezone.utc),
                }
                for number in numbers
            ]
        }
        if shard != "parent":
            answer["NextShardIterator"] = f"{shard} {int(position) + len(numbers)}"
        return answer


class Reader:
    """A function; it keeps the sequence numbers of its batches."""

    name = "reader"

    def __init__(self, answer: Callable[[list[str]], InvocationResult]) -> None:
        self.batches: list[list[str]] = []
        self._answer = answer

    def invoke(self, event: bytes) -> InvocationResult:
        records = json.loads(event)["Records"]
        batch = [
            each["kinesis"]["sequenceNumber"] if "kinesis" in each else each["messageId"]
            for each in records
        ]
        self.batches.append(batch)
        return self._answer(batch)


class Kept:
    """S3 and CloudWatch, which keep what they get."""

    def __init__(self) -> None:
        self.objects: list[dict[str, Any]] = []
        self.counted: list[tuple[str, float]] = []

    def put_object(self, **request: Any) -> None:
        self.objects.append(request)

    def add_sample(self, metric: str, value: float, function: str) -> None:
        self.counted.append((metric, value))

    count = count_mapping = add_sample


def mapped(stream: Stream, reader: Reader, kept: Kept, **settings: Any) -> KinesisMapping:
    mapping = {**MAPPING, **settings}
    destination = Destination(mapping, kept, kept, print)  # type: ignore[arg-type]
    context = Context(
        mapping,
        Settings.read(mapping),
        reader,
        stream,
        destination,
        kept,  # type: ignore[arg-type]
        print,
        print,
    )
    return KinesisMapping(context)


def run_until(mapping: KinesisMapping, done: int) -> None:
    deadline = time.monotonic() + 20
    while mapping.done < done:
        assert time.monotonic() < deadline, f"{mapping.done} of {done} are done"
        mapping.tend()
        time.sleep(0.01)


def test_a_child_shard_is_read_after_its_parent() -> None:
    stream = Stream({"parent": ["1", "2", "3"], "child": ["4"]})
    reader = Reader(lambda _: DONE)
    mapping = mapped(stream, reader, Kept())
    run_until(mapping, 4)
    stream.records["child"].append("5")
    run_until(mapping, 5)
    mapping.stop()
    assert reader.batches == [["1", "2"], ["3"], ["4"], ["5"]]


def test_a_discarded_batch_is_in_the_destination_with_its_event() -> None:
    kept = Kept()
    reader = Reader(lambda batch: FunctionError() if "1" in batch else DONE)
    mapping = mapped(Stream({"parent": ["1", "2", "3"], "child": []}), reader, kept)
    run_until(mapping, 3)
    mapping.stop()
    (put,) = kept.objects
    assert put["Bucket"] == "failures"
    stamp = r"\d{4}-\d{2}-\d{2}T\d{2}\.\d{2}\.\d{2}-[0-9a-f-]{36}"
    folder = rf"aws/lambda/{MAPPING['UUID']}/parent/\d{{4}}/\d{{2}}/\d{{2}}"
    assert re.fullmatch(f"{folder}/{stamp}", put["Key"])
    record = json.loads(put["Body"])
    assert record["requestContext"]["functionArn"] == FUNCTION
    assert record["requestContext"]["condition"] == "RetryAttemptsExhausted"
    information = record["KinesisBatchInfo"]
    assert (information["startSequenceNumber"], information["endSequenceNumber"]) == ("1", "2")
    assert (information["batchSize"], information["streamArn"]) == (2, STREAM)
    payload = json.loads(record["payload"])
    assert [each["kinesis"]["data"] for each in payload["Records"]] == ["MQ==", "Mg=="]
    assert ("OnFailureDestinationDeliveredEventCount", 2) in kept.counted


def test_a_batch_without_a_destination_is_counted_as_dropped() -> None:
    kept = Kept()
    reader = Reader(lambda _: FunctionError())
    stream = Stream({"parent": ["1"], "child": []})
    mapping = mapped(stream, reader, kept, DestinationConfig={})
    run_until(mapping, 1)
    mapping.stop()
    assert ("DroppedEventCount", 1) in kept.counted
    assert kept.objects == []


def test_a_fault_of_a_poller_is_not_silent() -> None:
    class Broken(Stream):
        def get_records(self, **request: Any) -> dict[str, Any]:
            return {}

    mapping = mapped(Broken({"parent": [], "child": []}), Reader(lambda _: DONE), Kept())
    with pytest.raises(KeyError):
        run_until(mapping, 1)


@pytest.fixture
def empty() -> Iterator[int]:
    """The port of a local cloud without a stack."""
    port = free_port()
    cloud.start(port, "eu-west-1")
    yield port
    cloud.down(port)


def test_mappings_that_ended_are_reported_with_their_log(empty: int) -> None:
    file = cloud.state(empty) / "mapping.pid"
    pid = wait_for(
        lambda: cloud.process_of(empty, file, cloud.MAPPINGS), 20, 0.1, lambda: "they do not run"
    )
    assert cloud.without_mappings(empty) is None
    os.kill(pid, signal.SIGKILL)
    says = f"error: the event source mappings ended with -9; see {cloud.mapping_log(empty)}"
    log = cloud.emulator_log(empty)
    wait_for(lambda: says in log.read_text() or None, 20, 0.1, lambda: says)
    with pytest.raises(cloud.CloudError) as refused:
        cloud.connect(empty)
    assert str(refused.value) == (
        f"the event source mappings of the local cloud on port {empty} have ended, so that no "
        f"function gets events from a stream or queue; {cloud.mapping_log(empty)} says why, and "
        f"`make up PORT={empty}` starts the cloud again"
    )


class Messages:
    """SQS, which keeps the messages that are deleted."""

    def __init__(self) -> None:
        self.deleted: list[str] = []

    def delete_message(self, **request: Any) -> None:
        self.deleted.append(request["ReceiptHandle"])


def failed(*ids: Any) -> Succeeded:
    return Succeeded(json.dumps({"batchItemFailures": [{"itemIdentifier": each} for each in ids]}))


@pytest.mark.parametrize(
    ("answer", "deleted"),
    [
        (DONE, ["a", "b"]),
        (failed("a"), ["b"]),
        (failed("a", "b"), []),
        (failed("c"), []),  # an unknown message fails the batch
        (failed(""), []),
        (failed(None), []),
        (Succeeded("not JSON"), []),
        (FunctionError(), []),
    ],
)
def test_only_messages_that_are_done_are_deleted(
    answer: InvocationResult, deleted: list[str]
) -> None:
    messages = Messages()
    mapping = {
        "EventSourceArn": "arn:aws:sqs:eu-west-1:000000000000:rows",
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    }
    queue = Queue(mapping, Reader(lambda _: answer), messages, "http://queue", print, print)
    queue.process(
        [
            {"MessageId": name, "ReceiptHandle": name, "Body": "{}", "MD5OfBody": ""}
            for name in ("a", "b")
        ]
    )
    assert messages.deleted == deleted
