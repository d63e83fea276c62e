"""Kinesis as the emulator lacks it: the limits of provisioned shards, and the streams' metrics.

Sources: Kinesis developer guide, "Quotas and limits" and "Monitor the Amazon Kinesis Data Streams
service with Amazon CloudWatch"; API reference, PutRecords.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from ministack.core.responses import error_response_json, get_account_id, json_response
from ministack.services import cloudwatch, kinesis

# What a shard takes in a second.
RECORDS = 1_000
BYTES = 1024 * 1024

REFUSED = "ProvisionedThroughputExceededException"

Request = dict[str, Any]
Response = tuple[int, dict[str, str], Any]
Handler = Callable[[Request], Response]

own_put_record: Handler = kinesis._put_record
own_put_records: Handler = kinesis._put_records


def install() -> None:
    kinesis._put_record = put_record
    kinesis._put_records = put_records


class Shards:
    """What each shard has taken in the current second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._second = 0
        self._taken: dict[tuple[str, str], tuple[int, int]] = {}

    def take(self, stream: str, shard: str, size: int, now: float) -> bool:
        """Whether the shard takes a record of that size, which it then has."""
        with self._lock:
            if int(now) != self._second:
                self._second, self._taken = int(now), {}
            records, taken = self._taken.get((stream, shard), (0, 0))
            if records == RECORDS or taken + size > BYTES:
                return False
            self._taken[stream, shard] = records + 1, taken + size
            return True


shards = Shards()


def put_record(request: Request) -> Response:
    name, stream = kinesis._resolve_stream(request)
    if refused := refused_by(stream, request):
        publish(name, 0, 1)
        return error_response_json(REFUSED, sentence(refused, name), 400)
    response = own_put_record(request)
    if response[0] == 200:
        publish(name, 1, 0)
    return response


def put_records(request: Request) -> Response:
    """Puts the records that their shards take, and answers about all in their order."""
    name, stream = kinesis._resolve_stream(request)
    records = request.get("Records", [])
    refused = [refused_by(stream, record) for record in records]
    taken = [record for record, shard in zip(records, refused) if shard is None]
    status, headers, body = own_put_records({**request, "Records": taken})
    if status != 200:
        return status, headers, body
    answer = json.loads(body)
    answers = iter(answer["Records"])
    answer["Records"] = [
        {"ErrorCode": REFUSED, "ErrorMessage": sentence(shard, name)} if shard else next(answers)
        for shard in refused
    ]
    answer["FailedRecordCount"] = len(records) - len(taken)
    publish(name, len(taken), len(records) - len(taken))
    return json_response(answer)


def refused_by(stream: dict[str, Any] | None, record: dict[str, Any]) -> str | None:
    """The shard of a provisioned stream that has no throughput left for the record, if so."""
    if stream is None or stream["StreamModeDetails"]["StreamMode"] != "PROVISIONED":
        return None
    key = record.get("PartitionKey", "")
    place = record.get("ExplicitHashKey") or kinesis._partition_key_to_hash(key)
    shard = kinesis._route_to_shard(int(place), stream)
    size = len(base64.b64decode(record.get("Data", ""))) + len(key.encode())
    return None if shards.take(stream["StreamARN"], shard, size, time.time()) else shard


def sentence(shard: str, stream: str) -> str:
    return f"Rate exceeded for shard {shard} in stream {stream} under account {get_account_id()}."


def publish(stream: str, records: int, refused: int) -> None:
    for metric, value in (
        ("IncomingRecords", records),
        ("WriteProvisionedThroughputExceeded", refused),
    ):
        cloudwatch.record_metric("AWS/Kinesis", metric, value, "Count", {"StreamName": stream})
