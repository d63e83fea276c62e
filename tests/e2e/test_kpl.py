"""The deployed function splits records of the reference aggregator exactly. Damaged ones are
rejected or read as one record."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from typing import Any

import pytest
from aws_kinesis_agg.aggregator import AggRecord, RecordAggregator

from tests.e2e.conftest import kinesis_record
from tools.local.cloud import Cloud
from tools.local.stack import Stack, wait_for

ARRIVAL_SECONDS = 60
MAGIC = bytes.fromhex("f3899ac2")
DIGEST = 16


def event(number: int, name: str) -> dict[str, Any]:
    place = ["Dayton", "Doña Ana", "東京", ""][number % 4]
    return {"ID": f"{name}-{number}", "Severity": 3, "City": place, "County": place}


def aggregated(records: list[tuple[str, str | None, bytes]]) -> list[bytes]:
    """User records by partition key and explicit hash key, as the aggregator packs them."""
    aggregator = RecordAggregator(max_size=5_000)
    packed: list[AggRecord] = [
        full
        for key, hash_key, data in records
        if (full := aggregator.add_user_record(key, data, hash_key))
    ]
    packed.append(aggregator.clear_and_get())
    return [record.get_contents()[2] for record in packed]


def invoke(local: Cloud, stream: str, records: list[bytes]) -> None:
    """Invokes transform with records as a batch of a stream; none of them may be retried."""
    batch = [kinesis_record(stream, data, number) for number, data in enumerate(records)]
    answer = local.client("lambda").invoke(
        FunctionName=local.outputs["TransformFunctionName"],
        Payload=json.dumps({"Records": batch}),
    )
    assert json.loads(answer["Payload"].read()) == {"batchItemFailures": []}


def rejects(stack: Stack, stream: str, count: int) -> list[tuple[str, str, bytes]]:
    """`count` rejects of a stream: the record's number, the reason and the payload."""
    sql = (
        "select source, reason, payload, payload_base64 from us_accidents_rejects "
        f"where source like '{stream}/%'"
    )

    def arrived() -> list[list[str | None]] | None:
        rows = stack.query(sql).rows
        return rows if len(rows) >= count else None

    rows = wait_for(arrived, ARRIVAL_SECONDS, 0.5, lambda: f"no {count} rejects of {stream}")
    return [
        (
            str(source).rpartition(":")[2],
            str(reason),
            base64.b64decode(coded) if coded else str(text).encode(),
        )
        for source, reason, text, coded in rows
    ]


@pytest.fixture
def name() -> str:
    return f"kpl-{uuid.uuid4().hex[:8]}"


def test_aggregated_events_are_split_exactly(local: Cloud, stack: Stack, name: str) -> None:
    count = 200
    events = [event(number, name) for number in range(count)]
    packed = aggregated(
        [
            (f"key {number % 7}", str(number) if number % 3 else None, json.dumps(each).encode())
            for number, each in enumerate(events)
        ]
    )
    assert len(packed) > 1
    assert all(data.startswith(MAGIC) for data in packed)
    invoke(local, name, packed)
    found = [each for each in stack.severe_stream().poll() if each["ID"].startswith(f"{name}-")]
    for each in found:
        assert each.pop("Txn_Timestamp") is None
    blank = [
        {**each, "City": each["City"] or None, "County": each["County"] or None} for each in events
    ]
    order = {each["ID"]: number for number, each in enumerate(blank)}
    assert sorted(found, key=lambda each: order[each["ID"]]) == blank


def test_user_records_keep_their_bytes(local: Cloud, stack: Stack, name: str) -> None:
    payloads = [b"no event", bytes(range(256)), b"{", "ñ".encode() * 1_000, MAGIC + b"x" * 40]
    invoke(local, name, aggregated([("k", None, payload) for payload in payloads]))
    found = rejects(stack, name, len(payloads))
    assert sorted(payload for _, _, payload in found) == sorted(payloads)
    assert {reason for _, reason, _ in found} == {"not_json"}


def test_damaged_aggregates_are_rejected_or_read_as_they_are(
    local: Cloud, stack: Stack, name: str
) -> None:
    (whole,) = aggregated([("k", None, json.dumps(event(n, name)).encode()) for n in range(3)])
    protobuf = whole[len(MAGIC) : -DIGEST]
    cut = protobuf[:-5]
    records = [
        whole[:-1] + bytes([whole[-1] ^ 1]),  # the digest does not match
        MAGIC + cut + hashlib.md5(cut).digest(),  # it matches, and the protobuf is truncated
        b"\x00" + whole[1:],  # the magic number does not match
        whole[: len(MAGIC) + DIGEST],  # too short
        whole,
    ]
    invoke(local, name, records)
    expected = {
        "0": ("not_json", records[0]),
        "1": ("damaged_aggregate", records[1]),
        "2": ("not_json", records[2]),
        "3": ("not_json", records[3]),
    }
    found = rejects(stack, name, len(expected))
    assert {number: (reason, payload) for number, reason, payload in found} == expected
    severe = [each["ID"] for each in stack.severe_stream().poll()]
    assert sorted(each for each in severe if each.startswith(f"{name}-")) == [
        f"{name}-{n}" for n in range(3)
    ]
