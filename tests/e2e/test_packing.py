"""A stack that packs its events into fewer KPL records, with the same events for every reader."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

from tests.ports import free_port
from tools.local import cloud
from tools.local.alert_queue import AlertQueue
from tools.local.cloud import Cloud
from tools.local.functions import local_environment
from tools.local.stack import Stack, now, wait_for

PACKING_PORT = free_port()
DEADLINE_SECONDS = 120

RANGES = 4
EVENTS = 300
COUNTIES = ["Franklin", "Doña Ana", "Dallas", "Cook", "Kern"]
MAGIC = bytes.fromhex("f3899ac2")


@pytest.fixture
def packing(local: Cloud) -> Iterator[Cloud]:
    """A separate cloud with a stack that packs; `local` has built the functions."""
    environment = local_environment()
    parameters = {**environment.parameters, "PackRanges": str(RANGES)}
    cloud.down(PACKING_PORT)
    cloud.start(PACKING_PORT, environment.region)
    try:
        packing = replace(environment, parameters=parameters)
        cloud.deploy(PACKING_PORT, packing, cloud.built_template())
        yield cloud.connect(PACKING_PORT)
    finally:
        cloud.down(PACKING_PORT)


def shards(packing: Cloud, stream: str) -> list[list[dict[str, Any]]]:
    """The records of each shard of a stream, packed or not."""
    kinesis = packing.client("kinesis")
    iterators = [
        kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for shard in kinesis.list_shards(StreamName=stream)["Shards"]
    ]
    return [kinesis.get_records(ShardIterator=each)["Records"] for each in iterators]


def records(packing: Cloud, stream: str) -> list[dict[str, Any]]:
    return [record for shard in shards(packing, stream) for record in shard]


def unpacked(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events in records, split by the reference implementation."""
    events = []
    for record in iter_deaggregate_records(found, "Boto3"):
        data = record["kinesis"]["data"]
        packed = record["kinesis"].get("aggregated")
        events.append(json.loads(base64.b64decode(data) if packed else data))
    return events


def ids(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["ID"] for event in events)


def rows_of(stack: Stack, table: str) -> Counter[str | None]:
    return Counter(row[0] for row in stack.query(f"select id from {stack.outputs[table]}").rows)


def test_packed_events_arrive_in_fewer_records(packing: Cloud) -> None:
    stack, started = Stack.of(packing), now()
    alerts = AlertQueue(stack, "packing-alerts")
    sent = [
        {
            "ID": f"packed-{number}",
            "Severity": 2 + number % 3,
            "City": "Springfield",
            "County": COUNTIES[number % len(COUNTIES)],
        }
        for number in range(EVENTS)
    ]
    above = {
        severity: [event for event in sent if event["Severity"] > severity]
        for severity in (0, 2, 3)
    }
    answer = packing.client("lambda").invoke(
        FunctionName=packing.outputs["IngestFunctionName"], Payload=json.dumps({"records": sent})
    )
    assert json.loads(answer["Payload"].read())["accepted"] == EVENTS

    on_stream_1 = records(packing, stack.outputs["RawStreamName"])
    assert len(on_stream_1) <= RANGES
    assert all(record["Data"].startswith(MAGIC) for record in on_stream_1)
    assert ids(unpacked(on_stream_1)) == ids(above[0])

    expected = {
        "raw": ids(above[0]),
        "on stream 2": ids(above[2]),
        "analytical": ids(above[2]),
        "alerted": ids(above[3]),
        "counted": len(above[2]),
    }
    found: dict[str, Any] = {}

    def through() -> bool | None:
        found.update(
            {
                "raw": rows_of(stack, "RawTableName"),
                "on stream 2": ids(unpacked(records(packing, stack.outputs["SevereStreamName"]))),
                "analytical": rows_of(stack, "AnalyticalTableName"),
                "alerted": Counter(event for alert in alerts.poll() for event in alert.ids),
                "counted": round(sum(stack.metric_sums(started).values())),
            }
        )
        return True if found == expected else None

    wait_for(through, DEADLINE_SECONDS, 1, lambda: f"expected {expected}, found {found}")
    on_stream_2 = records(packing, stack.outputs["SevereStreamName"])
    assert len(on_stream_2) < len(above[2]) / 10
    # Each county is on one shard, which keeps its order.
    counties = [
        {event["County"] for event in unpacked(shard)}
        for shard in shards(packing, stack.outputs["SevereStreamName"])
    ]
    assert sum(map(len, counties)) == len(COUNTIES), f"a county is on two shards: {counties}"
