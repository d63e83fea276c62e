"""One local cloud and one deployed stack for all the end-to-end tests.

First comes a run: a file of generated and of difficult rows goes through the deployed pipeline.
The tests share the state of each stage after it.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tools.local import cloud
from tools.local.alert_queue import Alert, AlertQueue
from tools.local.cloud import Cloud
from tools.local.functions import binary
from tools.local.stack import QueryResult, Stack, now, wait_for

# Tests of another checkout, or of another process of these tests, have a cloud of their own.
PORT = free_port()

REPLAY = binary("replay")
ROWS = 300
SEED = 7
DEADLINE_SECONDS = 180


@dataclass(frozen=True)
class Run:
    """A file that went through the pipeline, and the state of each stage afterwards."""

    file: Path
    rows: list[dict[str, str]]  # the valid rows, as a reader of CSV sees them
    refused: dict[str, str]  # the others: the reason by the beginning of the line
    summary: dict[str, Any]
    raw_events: list[dict[str, Any]]
    severe_events: list[dict[str, Any]]
    metric_sums: dict[tuple[str, ...], float]
    alerts: list[Alert]
    alert_rows: list[dict[str, Any]]
    answers: dict[str, QueryResult]  # of the saved queries, by their names

    def above(self, severity: int) -> list[dict[str, str]]:
        return [row for row in self.rows if float(row["Severity"]) > severity]


@pytest.fixture(scope="session")
def local() -> Iterator[Cloud]:
    try:
        yield cloud.up(PORT, fresh=True)
    finally:
        cloud.down(PORT)


@pytest.fixture(scope="session")
def stack(local: Cloud) -> Stack:
    return Stack.of(local)


@pytest.fixture(scope="session")
def alerts(stack: Stack) -> AlertQueue:
    return AlertQueue(stack, "e2e-alerts")


@pytest.fixture(scope="session", autouse=True)
def run(
    local: Cloud,
    stack: Stack,
    alerts: AlertQueue,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Run:
    """The run that the tests share, before any test adds its own events."""
    started = now()
    raw, severe = stack.raw_stream(), stack.severe_stream()
    file = tmp_path_factory.mktemp("run") / "rows.csv"
    rows, refused = write_rows(file)
    summary = json.loads(replay(file, "--rate", "max", "--json", variables=local.credentials))
    severities = [float(row["Severity"]) for row in rows]
    expected = {
        "events on stream 1": len(rows),
        "events on stream 2": sum(severity > 2 for severity in severities),
        "alerted events": sum(severity > 3 for severity in severities),
        "events in the alerts table": sum(severity > 3 for severity in severities),
        "events in the metric": sum(severity > 2 for severity in severities),
        "rows in the raw table": len(rows),
        "rows in the analytical table": sum(severity > 2 for severity in severities),
        "rows in the rejects table": len(refused),
    }
    found: dict[str, int] = {}

    def through() -> bool | None:
        found.update(
            {
                "events on stream 1": len(raw.poll()),
                "events on stream 2": len(severe.poll()),
                "alerted events": sum(alert.count for alert in alerts.poll()),
                "events in the alerts table": stack.alerted_events(),
                "events in the metric": round(sum(stack.metric_sums(started).values())),
                "rows in the raw table": stack.raw_counts()[0],
                "rows in the analytical table": stack.analytical_rows(),
                "rows in the rejects table": sum(stack.rejects_by_function().values()),
            }
        )
        return True if found == expected else None

    try:
        wait_for(through, DEADLINE_SECONDS, 1, lambda: f"expected {expected}, found {found}")
    except TimeoutError as error:
        # Fail once instead of in every test.
        request.session.shouldstop = "the events of the shared run did not arrive"
        pytest.fail(f"{error}; the local cloud's log is {cloud.emulator_log(PORT)}", pytrace=False)
    return Run(
        file=file,
        rows=rows,
        refused=refused,
        summary=summary,
        raw_events=list(raw.events),
        severe_events=list(severe.events),
        metric_sums=stack.metric_sums(started),
        alerts=list(alerts.alerts),
        alert_rows=[
            json.loads(line)
            for key, body in objects(local, stack.outputs["AnalyticalBucketName"]).items()
            if "_alerts/" in key
            for line in body.splitlines()
        ],
        answers={file.stem: stack.query(statement(file)) for file in stack.dataset.queries},
    )


def objects(local: Cloud, bucket: str) -> dict[str, bytes]:
    """Every object of a bucket by its key, decompressed."""
    s3 = local.client("s3")
    found = {}
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for entry in page.get("Contents", []):
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            found[entry["Key"]] = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
    return found


def kinesis_record(stream: str, data: bytes, number: int = 0) -> dict[str, Any]:
    """A record of a stream, as it is in an event that Lambda gives to a function."""
    sequence_number = 49590338271490256608559692538361571095921575989136588898 + number
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "k",
            "sequenceNumber": str(sequence_number),
            "data": base64.b64encode(data).decode(),
            "approximateArrivalTimestamp": now().timestamp(),
        },
        "eventSource": "aws:kinesis",
        "eventID": f"shardId-000000000000:{number}",
        "eventSourceARN": f"arn:aws:kinesis:eu-west-1:000000000000:stream/{stream}",
    }


def statement(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def write_rows(file: Path) -> tuple[list[dict[str, str]], dict[str, str]]:
    """Writes generated and difficult rows; returns the valid rows, and the reasons why the others
    are rejected."""
    generated = replay("generate", "--rows", str(ROWS), "--seed", str(SEED))
    rows = list(csv.DictReader(io.StringIO(generated, newline="")))
    sample = rows[0]
    trials = [
        {"ID": "E2E-number", "Severity": "3.0", "Start_Lat": "39.928059000000005"},
        {"ID": "E2E-time", "Severity": "4", "Start_Time": "45:00.0"},
        {
            "ID": "E2E-text",
            "Severity": "4",
            "Description": 'a "quoted", folded\ntext',
            "City": " B",
        },
        {"ID": "E2E-accent", "Severity": "3", "City": "Las Cruces", "County": "Doña Ana"},
        {"ID": "E2E-nowhere", "Severity": "3", "City": "", "County": ""},
    ]
    rows += [{**sample, **trial} for trial in trials]
    output = io.StringIO(newline="")
    writer = csv.DictWriter(output, list(sample))
    writer.writeheader()
    writer.writerows(rows)
    large = {**sample, "Description": "x" * 400_000}
    others = [
        ("E2E-short", "cell_count", list(sample.values())[1:-2]),
        ("E2E-word", "bad_severity", list({**sample, "Severity": "high"}.values())[1:]),
        ("E2E-half", "bad_severity", list({**sample, "Severity": "3.5"}.values())[1:]),
        ("E2E-blank", "missing_severity", list({**sample, "Severity": ""}.values())[1:]),
        ("", "missing_id", list(sample.values())[1:]),
        # Too large for one record of the rejects, so it is written in parts.
        ("E2E-large", "bad_severity", list({**large, "Severity": "high"}.values())[1:]),
    ]
    csv.writer(output).writerows([first, *cells] for first, _, cells in others)
    file.write_text(output.getvalue(), encoding="utf-8", newline="")
    return rows, {first: reason for first, reason, _ in others}


def replay(*arguments: str | Path, variables: dict[str, str] | None = None) -> str:
    """Runs the simulator and returns its output."""
    finished = subprocess.run(
        [REPLAY, *arguments],
        env={**os.environ, **(variables or {})},
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert finished.returncode == 0, f"replay exited with {finished.returncode}"
    return finished.stdout
