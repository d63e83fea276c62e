"""The cookbook's steps in Python, written from its description: what a user would run instead.

    python tools/bench/cookbook.py DATA

reads the benchmark's inputs and prints the times as JSON. Nothing is sent: the clients swallow and
count. `python tools/bench/cookbook.py serve NAME` is one of its functions as Lambda starts it, with
boto3 and one call for each record. With `batched` after the name, a function sends the same in
batches, as somebody who is careful about calls would write it.
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
from collections.abc import Callable, Iterable
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


class Batched:
    """Gathers the records of Kinesis and Firehose and sends them as many at once as one call may
    have."""

    MOST = 500

    def __init__(self, send: Callable[[list[dict[str, Any]]], Any]) -> None:
        self._send = send
        self._records: list[dict[str, Any]] = []

    def put_record(self, **request: Any) -> None:
        entry = request.get("Record") or {
            "Data": request["Data"],
            "PartitionKey": request["PartitionKey"],
        }
        self._records.append(entry)
        if len(self._records) == self.MOST:
            self.flush()

    def flush(self) -> None:
        if self._records:
            self._send(self._records)
            self._records = []


def ingest(lines: Iterable[str], kinesis: Any) -> int:
    """The generator: rows to JSON with three times in ISO 8601, one PutRecord for each."""
    from dateutil import parser

    rows = 0
    for row in csv.DictReader(lines):
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


def lines_of(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines(keepends=True)


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
        "ingest_csv": timed(lambda: ingest(lines_of(data / "accidents.csv"), kinesis)),
        "transform": timed(lambda: transform(raw, kinesis, firehose)),
        "metrics": timed(lambda: metrics(severe, cloudwatch)),
        "notify": timed(lambda: notify(severe, sns)),
    }
    # Calls for ten thousand events, scaled from the number of events in each lap.
    kinesis.calls = cloudwatch.calls = sns.calls = 0
    rows = ingest(lines_of(data / "accidents.csv"), kinesis)
    counted = metrics(raw, cloudwatch)
    share = counted / len(json.loads(raw)["Records"])
    results["api_calls"] = {
        "kinesis:PutRecord": kinesis.calls / rows * 10_000,
        "cloudwatch:PutMetricData": share * 10_000,
    }
    return results


class Metrics:
    """Sends counts for each place and severity instead of one for each event."""

    MOST = 1_000

    def __init__(self, cloudwatch: Any) -> None:
        self._cloudwatch = cloudwatch
        self._counts: dict[tuple[Any, ...], int] = {}

    def put_metric_data(self, MetricData: list[dict[str, Any]], Namespace: str) -> None:  # noqa: N803 - as boto3 names them
        for datum in MetricData:
            key = tuple((each["Name"], each["Value"]) for each in datum["Dimensions"])
            self._counts[key] = self._counts.get(key, 0) + 1

    def flush(self) -> None:
        data = [
            {
                "MetricName": "us_accidents_severity_high",
                "Dimensions": [{"Name": name, "Value": value} for name, value in key],
                "Unit": "Count",
                "Value": count,
                "StorageResolution": 1,
            }
            for key, count in self._counts.items()
        ]
        for begin in range(0, len(data), self.MOST):
            self._cloudwatch.put_metric_data(
                MetricData=data[begin : begin + self.MOST], Namespace="accidents_reports_namespace"
            )
        self._counts = {}


class Messages:
    """Publishes ten messages with each call."""

    MOST = 10

    def __init__(self, sns: Any) -> None:
        self._sns = sns
        self._entries: list[dict[str, str]] = []
        self._topic = ""

    def publish(self, TopicArn: str, Subject: str, Message: str) -> None:  # noqa: N803 - as boto3 names them
        self._topic = TopicArn
        self._entries.append(
            {"Id": str(len(self._entries)), "Subject": Subject, "Message": Message}
        )
        if len(self._entries) == self.MOST:
            self.flush()

    def flush(self) -> None:
        if self._entries:
            self._sns.publish_batch(TopicArn=self._topic, PublishBatchRequestEntries=self._entries)
            self._entries = []


def put_records(kinesis: Any, stream: str) -> Callable[[list[dict[str, Any]]], Any]:
    return lambda records: kinesis.put_records(StreamName=stream, Records=records)


def function(name: str, batched: bool) -> Callable[[bytes], int]:
    """A function with its clients, as it is loaded by a cold start."""
    import boto3

    if name == "ingest":
        s3, kinesis = boto3.client("s3"), boto3.client("kinesis")
        stream = Batched(put_records(kinesis, "us-accidents-data-stream-1")) if batched else kinesis

        def handle(payload: bytes) -> int:
            event = json.loads(payload)
            if "body" in event:
                lines = event["body"].splitlines(keepends=True)
            else:
                found = event["Records"][0]["s3"]
                body = s3.get_object(Bucket=found["bucket"]["name"], Key=found["object"]["key"])[
                    "Body"
                ]
                lines = body.read().decode("utf-8").splitlines(keepends=True)
            return flushed(ingest(lines, stream), [stream] if batched else [])

        return handle
    if name == "transform":
        kinesis, firehose = boto3.client("kinesis"), boto3.client("firehose")
        if not batched:
            return lambda payload: transform(payload, kinesis, firehose)
        severe = Batched(put_records(kinesis, "us-accidents-data-stream-2"))
        lake = Batched(
            lambda records: firehose.put_record_batch(
                DeliveryStreamName="us-accidents-lake", Records=records
            )
        )
        return lambda payload: flushed(transform(payload, severe, lake), [severe, lake])
    if name == "metrics":
        cloudwatch = boto3.client("cloudwatch")
        if not batched:
            return lambda payload: metrics(payload, cloudwatch)
        counts = Metrics(cloudwatch)
        return lambda payload: flushed(metrics(payload, counts), [counts])
    sns = boto3.client("sns")
    if not batched:
        return lambda payload: notify(payload, sns)
    messages = Messages(sns)
    return lambda payload: flushed(notify(payload, messages), [messages])


def flushed(done: int, gathering: Iterable[Any]) -> int:
    for each in gathering:
        each.flush()
    return done


def serve(name: str, batched: bool) -> None:
    """Handles invocations until the process is ended."""
    handle = function(name, batched)
    address = os.environ["AWS_LAMBDA_RUNTIME_API"]
    base = f"http://{address}/2018-06-01/runtime/invocation"
    while True:
        with urllib.request.urlopen(f"{base}/next") as invocation:
            request_id = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
            event = invocation.read()
        answer = json.dumps({"records": handle(event)}).encode()
        urllib.request.urlopen(f"{base}/{request_id}/response", data=answer).close()


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], sys.argv[3:] == ["batched"])
    else:
        print(json.dumps(measure(Path(sys.argv[1]))))
