"""`replay redrive` on the deployed stack: rejects and discarded batches are sent again once."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import uuid
from collections import Counter
from typing import Any

import pytest

from tests.e2e.conftest import REPLAY, kinesis_record, replay
from tools.local.cloud import Cloud
from tools.local.stack import Stack, now, wait_for

ARRIVAL_SECONDS = 60
REQUEST_ITEMS = 500  # the most that an interrupted run may repeat


def redrive(local: Cloud, *arguments: str) -> dict[str, Any]:
    printed = replay("redrive", "--json", *arguments, variables=local.credentials)
    return json.loads(printed)


def reject(row: str, number: int, **other: Any) -> dict[str, Any]:
    """A reject of ingest, like one of an earlier version."""
    return {
        "rejected_at": now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "function": "ingest",
        "reason": "bad_severity",
        "detail": "a sentence",
        "source": f"inbox/{uuid.uuid4()}.csv:{number}",
        "payload": row,
        "format": "csv",
        "header": "ID,Severity,City,County",
        "date_order": "mdy",
        **other,
    }


def put_rejects(local: Cloud, rejects: list[dict[str, Any]]) -> str:
    """Writes rejects to the place and in the form of Firehose; returns the object's key."""
    lines = "".join(json.dumps(line) + "\n" for line in rejects)
    key = f"traffic/us/us_accidents_rejects/year=2026/month=01/day=01/{uuid.uuid4()}.gz"
    local.client("s3").put_object(
        Bucket=local.outputs["RejectsBucketName"], Key=key, Body=gzip.compress(lines.encode())
    )
    return key


def on_stream(events: list[dict[str, Any]], begin: str) -> Counter[str]:
    return Counter(event["ID"] for event in events if event["ID"].startswith(begin))


def marks(local: Cloud, key: str) -> list[str]:
    answer = local.client("s3").list_objects_v2(
        Bucket=local.outputs["RejectsBucketName"], Prefix=f"redrive/{key}"
    )
    return [entry["Key"] for entry in answer.get("Contents", [])]


@pytest.fixture(scope="module", autouse=True)
def nothing_of_before(local: Cloud) -> None:
    """Sends the rejects of other tests once; they are rejected again and then skipped."""
    redrive(local, "--from", "rejects")


def test_rejects_are_sent_again_once(local: Cloud, stack: Stack) -> None:
    rows = [reject(f"redrive-{number},2,Here,There", number) for number in range(3)]
    severe = {"ID": "redrive-severe", "Severity": 3, "City": "Here", "County": "There"}
    downstream = {
        **reject("", 0, function="transform", source="us-accidents-data-stream-1-dev/shard:7"),
        "payload": json.dumps(severe),
    }
    put_rejects(local, [*rows, downstream])

    listed = redrive(local, "--from", "rejects", "--dry-run")
    assert (listed["found"], listed["sent"]) == (4, 0)
    first = redrive(local, "--from", "rejects")
    assert (first["found"], first["sent"], first["failed"]) == (4, 4, 0)
    second = redrive(local, "--from", "rejects")
    assert (second["found"], second["requests"]) == (0, 0)

    raw = on_stream(stack.raw_stream().poll(), "redrive-")
    assert raw == Counter(f"redrive-{number}" for number in range(3)), "no record of stream 1 twice"
    assert on_stream(stack.severe_stream().poll(), "redrive-") == {"redrive-severe": 1}


def test_a_row_that_is_still_wrong_is_rejected_once_more(local: Cloud, stack: Stack) -> None:
    put_rejects(local, [reject("wrong-1,high,Here,There", 1)])
    assert redrive(local, "--from", "rejects")["sent"] == 1

    def came_back() -> str | None:
        query = "select source from us_accidents_rejects where payload like 'wrong-1,%'"
        found = [row[0] for row in stack.query(query).rows if row[0].startswith("redrive:")]
        return found[0] if found else None

    source = wait_for(came_back, ARRIVAL_SECONDS, 0.5, lambda: "the row did not come back")
    assert source.startswith("redrive:inbox/")
    again = redrive(local, "--from", "rejects")
    assert (again["found"], again["requests"]) == (0, 0)
    assert again["came_back"] >= 1


def test_a_killed_run_loses_nothing(local: Cloud, stack: Stack) -> None:
    count = 10 * REQUEST_ITEMS  # time enough to break it off, on a busy machine too
    rows = [reject(f"killed-{number},1,Here,There", number) for number in range(count)]
    key = put_rejects(local, rows)
    command = [REPLAY, "redrive", "--from", "rejects"]
    environment = {**os.environ, **local.credentials}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(
            lambda: True if marks(local, key) else None,
            ARRIVAL_SECONDS,
            0.002,
            lambda: "nothing was marked",
        )
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    rest = redrive(local, "--from", "rejects")
    assert 0 < rest["sent"] < count, "it was broken off after its first request"
    found = on_stream(stack.raw_stream().poll(), "killed-")
    assert set(found) == {f"killed-{number}" for number in range(count)}
    assert found.total() - count <= REQUEST_ITEMS
    assert redrive(local, "--from", "rejects")["found"] == 0


def put_failure(local: Cloud, key: str, record: dict[str, Any]) -> None:
    bucket = local.outputs["FailuresBucketName"]
    local.client("s3").put_object(Bucket=bucket, Key=key, Body=json.dumps(record).encode())


def given_up(function: str) -> dict[str, Any]:
    arn = f"arn:aws:lambda:eu-west-1:000000000000:function:{function}"
    return {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": arn,
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 21,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST"},
        "version": "1.0",
        "timestamp": "2026-11-25T00:38:06.021Z",
    }


def test_discarded_batches_go_only_to_their_function(local: Cloud, stack: Stack) -> None:
    stamp = now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    records = []
    for number in range(3):
        event = {"ID": f"given-up-{number}", "Severity": 3, "County": "There"}
        data = json.dumps({**event, "Txn_Timestamp": stamp}) + "\n"
        records.append(kinesis_record(local.outputs["RawStreamName"], data.encode(), number))
    batch = {
        **given_up(local.outputs["TransformFunctionName"]),
        "KinesisBatchInfo": {"shardId": "shardId-000000000000", "batchSize": 3},
        "payload": json.dumps({"Records": records}),
    }
    folder = f"aws/lambda/{uuid.uuid4()}/shardId-000000000000/2026/11/25"
    put_failure(local, f"{folder}/2026-11-25T00.38.06-{uuid.uuid4()}", batch)
    event = {"records": [{"ID": "given-up-event", "Severity": 1}], "asynchronous": True}
    asynchronous = {**given_up(local.outputs["IngestFunctionName"]), "requestPayload": event}
    folder = f"aws/lambda/async/{local.outputs['IngestFunctionName']}/2026/11/25"
    put_failure(local, f"{folder}/2026-11-25T00.38.06-{uuid.uuid4()}", asynchronous)

    first = redrive(local, "--from", "failures")
    assert (first["found"], first["sent"], first["failed"]) == (4, 4, 0)
    assert redrive(local, "--from", "failures")["found"] == 0
    severe = on_stream(stack.severe_stream().poll(), "given-up-")
    assert severe == Counter(f"given-up-{number}" for number in range(3))
    assert on_stream(stack.raw_stream().poll(), "given-up-") == {"given-up-event": 1}


def test_since_skips_earlier_rejects(local: Cloud) -> None:
    put_rejects(local, [reject("since-1,2,Here,There", 1)])
    tomorrow = now().replace(year=now().year + 1).strftime("%Y-%m-%d")
    assert redrive(local, "--from", "rejects", "--since", tomorrow)["found"] == 0
    assert redrive(local, "--from", "rejects", "--since", "1h")["sent"] == 1
