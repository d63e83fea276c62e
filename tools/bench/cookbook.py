"""The cookbook's steps in Python, written from its description: what a user would run instead.

    python tools/bench/cookbook.py DATA

reads the benchmark's inputs and prints the times as JSON. Nothing is sent: the clients swallow and
count. `python tools/bench/cookbook.py serve` is its function as Lambda starts it.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import re
import statistics
import sys
import time
import urllib.request
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

LAPS = 5


class Swallow:
    """A client whose methods accept everything and count their calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __getattr__(self, name: str) -> Callable[..., dict[str, Any]]:
        def call(**_request: Any) -> dict[str, Any]:
            self.calls += 1
            return {}

        return call


def ingest(file: Path, kinesis: Any) -> int:
    """The generator: rows to JSON with three times in ISO 8601, one PutRecord for each."""
    from dateutil import parser

    rows = 0
    with file.open(newline="", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            if not row["Weather_Timestamp"]:
                continue
            for name in ("Start_Time", "End_Time", "Weather_Timestamp"):
                row[name] = parser.parse(row[name]).isoformat()
            row["Txn_Timestamp"] = datetime.now().isoformat()
            kinesis.put_record(
                StreamName="us-accidents-data-stream-1",
                Data=json.dumps(row, indent=4),
                PartitionKey=str(row["Severity"]),
            )
            rows += 1
    return rows


def records(event: dict[str, Any]) -> Any:
    for record in event["Records"]:
        yield json.loads(base64.b64decode(record["kinesis"]["data"]).decode("utf-8"))


def transform(payload: bytes, kinesis: Any, firehose: Any) -> int:
    """The steps of its Flink job in Python: five fields of the severe events, and whole events
    under valid Glue names for the lake."""
    fields = ("ID", "Severity", "City", "County", "Txn_Timestamp")
    names: dict[str, str] = {}
    severe = 0
    for document in records(json.loads(payload)):
        if int(document["Severity"]) <= 2:
            continue
        kinesis.put_record(
            StreamName="us-accidents-data-stream-2",
            Data=json.dumps({name: document.get(name) for name in fields}),
            PartitionKey=str(document["Severity"]),
        )
        row = {}
        for name, value in document.items():
            if name not in names:
                names[name] = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
            row[names[name]] = value
        firehose.put_record(
            DeliveryStreamName="us-accidents-lake", Record={"Data": json.dumps(row) + "\n"}
        )
        severe += 1
    return severe


def metrics(payload: bytes, cloudwatch: Any) -> int:
    """Its function: one PutMetricData for each severe event."""
    counted = 0
    for document in records(json.loads(payload)):
        if int(document["Severity"]) <= 2:
            continue
        cloudwatch.put_metric_data(
            MetricData=[
                {
                    "MetricName": "us_accidents_severity_high",
                    "Dimensions": [
                        {"Name": "severity_accident", "Value": str(document["Severity"])},
                        {"Name": "city_accident", "Value": document["City"]},
                        {"Name": "county_accident", "Value": document["County"]},
                    ],
                    "Unit": "Count",
                    "Value": 1,
                    "StorageResolution": 1,
                }
            ],
            Namespace="accidents_reports_namespace",
        )
        counted += 1
    return counted


def notify(payload: bytes, sns: Any) -> int:
    """One Publish for each event of severity 4."""
    alerted = 0
    for document in records(json.loads(payload)):
        if int(document["Severity"]) <= 3:
            continue
        sns.publish(
            TopicArn="arn:aws:sns:eu-west-1:000000000000:alerts",
            Subject=f"Severity {document['Severity']} accident in {document['City']}",
            Message=json.dumps(document),
        )
        alerted += 1
    return alerted


def timed(work: Callable[[], int]) -> dict[str, float]:
    work()
    seconds = []
    for _ in range(LAPS):
        begin = time.perf_counter()
        done = work()
        seconds.append(time.perf_counter() - begin)
    return {"ms": statistics.median(seconds) * 1e3, "count": done}


def measure(data: Path) -> dict[str, Any]:
    raw, severe = (data / "transform.json").read_bytes(), (data / "severe.json").read_bytes()
    kinesis, firehose, cloudwatch, sns = Swallow(), Swallow(), Swallow(), Swallow()
    results = {
        "ingest_csv": timed(lambda: ingest(data / "accidents.csv", kinesis)),
        "transform": timed(lambda: transform(raw, kinesis, firehose)),
        "metrics": timed(lambda: metrics(severe, cloudwatch)),
        "notify": timed(lambda: notify(severe, sns)),
    }
    # Calls for ten thousand events, scaled from the number of events in each lap.
    kinesis.calls = cloudwatch.calls = sns.calls = 0
    rows = ingest(data / "accidents.csv", kinesis)
    counted = metrics(raw, cloudwatch)
    share = counted / len(json.loads(raw)["Records"])
    results["api_calls"] = {
        "kinesis:PutRecord": kinesis.calls / rows * 10_000,
        "cloudwatch:PutMetricData": share * 10_000,
    }
    return results


def serve() -> None:
    """A cold start: imports boto3, creates its clients and handles the first event."""
    import boto3

    clients = [boto3.client(name) for name in ("kinesis", "firehose", "glue")]
    base = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"
    with urllib.request.urlopen(f"{base}/next") as invocation:
        request_id = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
        event = json.load(invocation)
    answer = json.dumps({"records": len(event["Records"]), "clients": len(clients)}).encode()
    urllib.request.urlopen(f"{base}/{request_id}/response", data=answer).close()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        print(json.dumps(measure(Path(sys.argv[1]))))
