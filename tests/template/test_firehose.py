"""The local Firehose buffers, partitions and converts as AWS's, and shows what it cannot write."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import re
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pyarrow.parquet
import pytest
from aws_kinesis_agg.aggregator import RecordAggregator
from botocore.exceptions import ClientError

from tests.template.conftest import values
from tools.local.cloud import Cloud
from tools.local.services import firehose
from tools.local.stack import wait_for

SECONDS = 30
ANALYTICAL = "us-accidents-analytical-dev"
RAW = "us-accidents-raw-dev"
DAY = r"year=\d{4}/month=\d\d/day=\d\d"
STAMP = r"\d{4}(-\d\d){5}-[0-9a-f-]{36}"


def event(name: str, number: int, **fields: Any) -> dict[str, Any]:
    return {"id": f"{name}-{number}", "severity": 3 + number % 2, **fields}


def put(cloud: Cloud, stream: str, records: list[bytes]) -> None:
    answer = cloud.client("firehose").put_record_batch(
        DeliveryStreamName=stream, Records=[{"Data": data} for data in records]
    )
    assert answer["FailedPutCount"] == 0


def objects(cloud: Cloud, bucket: str, having: bytes) -> dict[str, bytes]:
    """The objects of a bucket that have some bytes, by their keys."""
    s3 = cloud.client("s3")
    found = {}
    for each in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        body = s3.get_object(Bucket=bucket, Key=each["Key"])["Body"].read()
        plain = gzip.decompress(body) if each["Key"].endswith(".gz") else body
        document = plain.splitlines()[0] if b'"rawData"' in plain else b""
        raw = base64.b64decode(json.loads(document)["rawData"]) if document else b""
        if having in plain or having in raw:
            found[each["Key"]] = plain
    return found


def written(cloud: Cloud, bucket: str, having: bytes, count: int) -> dict[str, bytes]:
    """The objects of a bucket that have some bytes, once there are so many."""

    def found() -> dict[str, bytes] | None:
        those = objects(cloud, bucket, having)
        return those if len(those) == count else None

    return wait_for(found, SECONDS, 0.5, lambda: f"expected {count} objects")


def metric(cloud: Cloud, stream: str, name: str, statistic: str = "Sum") -> list[float]:
    return values(cloud, "AWS/Firehose", name, statistic, DeliveryStreamName=stream)


@pytest.fixture
def name() -> str:
    return f"firehose-{uuid.uuid4().hex[:8]}"


def test_one_object_is_written_for_each_partition(bare: Cloud, name: str) -> None:
    events = [event(name, number) for number in range(200)]
    put(bare, ANALYTICAL, [json.dumps(each).encode() + b"\n" for each in events])
    found = written(bare, bare.outputs["AnalyticalBucketName"], name.encode(), 2)
    rows = []
    for key, body in found.items():
        form = rf"traffic/us/us_accidents_analytical/severity=([34])/{DAY}/"
        form += rf"us_accidents_analytical_\d{{8}}-{ANALYTICAL}-1-{STAMP}\.parquet"
        severity = re.fullmatch(form, key)
        assert severity, key
        table = pyarrow.parquet.read_table(io.BytesIO(body)).to_pylist()
        assert "severity" not in table[0]
        rows += [{"id": row["id"], "severity": int(severity[1])} for row in table]
    assert sorted(rows, key=lambda row: int(row["id"].rpartition("-")[2])) == events
    assert sum(metric(bare, ANALYTICAL, "DeliveryToS3.Records")) >= len(events)
    assert min(metric(bare, ANALYTICAL, "DeliveryToS3.Success", "Average")) == 1


def test_records_that_do_not_convert_go_to_the_error_prefix(bare: Cloud, name: str) -> None:
    """A time without a zone is not a timestamp, although everything else would take it for one."""
    good, bad = (
        json.dumps(event(name, number, start_time=time)).encode()
        for number, time in enumerate(["2016-02-08T00:37:00Z", "2016-02-08T00:37:00"])
    )
    keyless = json.dumps({"id": name}).encode()
    before = sum(metric(bare, ANALYTICAL, "FailedConversion.Records"))
    put(bare, ANALYTICAL, [good, bad, keyless])
    found = written(bare, bare.outputs["AnalyticalBucketName"], name.encode(), 3)
    (converted,) = [key for key in found if key.endswith(".parquet")]
    assert b"-0" in found[converted]
    errors = {}
    for key, body in found.items():
        if key != converted:
            kind = re.match(rf"traffic/us/us_accidents_analytical_errors/([a-z-]+)/{DAY}/", key)
            assert kind, key
            (line,) = body.splitlines()
            errors[kind[1]] = json.loads(line)
    conversion = errors["format-conversion-failed"]
    assert base64.b64decode(conversion["rawData"]) == bad
    assert conversion["ErrorCode"] == "DataFormatConversion.MalformedData"
    assert conversion["dataCatalogTable"]["tableName"] == "us_accidents_analytical"
    assert conversion["attemptsMade"] == 1
    assert conversion["arrivalTimestamp"] <= conversion["attemptEndingTimestamp"]
    assert base64.b64decode(errors["processing-failed"]["rawData"]) == keyless
    assert "severity" in errors["processing-failed"]["errorMessage"]
    assert sum(metric(bare, ANALYTICAL, "FailedConversion.Records")) == before + 1
    logged = bare.client("logs").filter_log_events(
        logGroupName="/aws/kinesisfirehose/us-accidents-dev", logStreamNames=["analytical"]
    )["events"]
    assert any("DataFormatConversion.MalformedData" in each["message"] for each in logged)
    assert not any(name in each["message"] for each in logged), "a payload is in the log"


def test_packed_records_of_a_stream_are_split(bare: Cloud, name: str) -> None:
    lines = [json.dumps(event(name, number)).encode() + b"\n" for number in range(50)]
    aggregator = RecordAggregator()
    for line in lines:
        aggregator.add_user_record("key", line)
    packed = aggregator.clear_and_get().get_contents()[2]
    stream = bare.outputs["RawStreamName"]
    before = sum(metric(bare, RAW, "IncomingRecords"))
    put_record = bare.client("kinesis").put_record
    put_record(StreamName=stream, PartitionKey="a", Data=packed)
    put_record(StreamName=stream, PartitionKey="a", Data=lines[0])

    def arrived() -> dict[str, bytes] | None:
        found = objects(bare, bare.outputs["RawBucketName"], name.encode())
        return found if sum(map(len, found.values())) == len(b"".join(lines) + lines[0]) else None

    found = wait_for(arrived, SECONDS, 0.5, lambda: "the records did not arrive")
    assert b"".join(found[key] for key in sorted(found)) == b"".join(lines) + lines[0]
    form = rf"traffic/us/us_accidents_raw/{DAY}/us_accidents_raw_\d{{8}}-{RAW}-1-{STAMP}\.gz"
    assert all(re.fullmatch(form, key) for key in found), list(found)
    assert sum(metric(bare, RAW, "IncomingRecords")) == before + len(lines) + 1
    assert max(metric(bare, RAW, "KinesisMillisBehindLatest", "Maximum")) == 0


@pytest.fixture
def stream(bare: Cloud, name: str) -> Iterator[str]:
    """A delivery stream to a bucket of its name, which is not there yet."""
    service = bare.client("firehose")
    service.create_delivery_stream(
        DeliveryStreamName=name,
        ExtendedS3DestinationConfiguration={
            "BucketARN": f"arn:aws:s3:::{name}",
            "RoleARN": "arn:aws:iam::000000000000:role/any",
            "Prefix": "to/!{timestamp:yyyy}/",
            "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
            "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 900},
        },
    )
    yield name
    service.delete_delivery_stream(DeliveryStreamName=name)


def test_what_cannot_be_written_is_shown_and_tried_again(bare: Cloud, stream: str) -> None:
    large = b"x" * 900_000
    put(bare, stream, [large, large])

    def failed() -> bool | None:
        values = metric(bare, stream, "DeliveryToS3.Success", "Average")
        return True if values and min(values) == 0 else None

    wait_for(failed, SECONDS, 0.5, lambda: "no failure is shown")
    place = {"LocationConstraint": bare.region}
    bare.client("s3").create_bucket(Bucket=stream, CreateBucketConfiguration=place)
    # Its size is reached, so that nobody waits for the interval.
    (body,) = written(bare, stream, b"x", 1).values()
    assert body == large + large


class Bucket:
    """Takes objects, or refuses them."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.refuses = False

    def put_object(self, **given: Any) -> None:
        if self.refuses:
            raise ClientError({"Error": {"Code": "NoSuchBucket", "Message": "none"}}, "PutObject")
        self.objects[given["Key"]] = given["Body"]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    found = Bucket()
    monkeypatch.setattr(firehose, "client", lambda service: found)
    return found


def delivery(name: str, **config: Any) -> firehose.Delivery:
    """A delivery stream by itself, whose records wait for two seconds."""
    made = firehose.Delivery()
    made.configure(
        {"name": name, "arn": f"arn:{name}", "version": 1, "type": "DirectPut"},
        {
            "config": {
                "BucketARN": "arn:aws:s3:::bucket",
                "BufferingHints": {"SizeInMBs": 1, "IntervalInSeconds": 60},
                "Prefix": "to/!{timestamp:yyyy}/",
                "ErrorOutputPrefix": "errors/!{firehose:error-output-type}/",
                **config,
            }
        },
    )
    return made


def extraction(query: str) -> dict[str, Any]:
    """The processing that extracts metadata by a query."""
    parameter = {"ParameterName": "MetadataExtractionQuery", "ParameterValue": query}
    processor = {"Type": "MetadataExtraction", "Parameters": [parameter]}
    return {"Enabled": True, "Processors": [processor]}


def by_severity(name: str) -> firehose.Delivery:
    return delivery(
        name,
        Prefix="to/!{partitionKeyFromQuery:s}/!{timestamp:yyyy}/",
        DynamicPartitioningConfiguration={"Enabled": True},
        ProcessingConfiguration=extraction("{s:.severity}"),
    )


def test_more_than_five_hundred_partitions_go_to_the_error_prefix(
    bucket: Bucket, name: str
) -> None:
    many = by_severity(name)
    records = [json.dumps({"severity": number}).encode() for number in range(510)]
    many.accept(records + records, 1000.0)
    many.write_due(1002.0)
    errors = [key for key in bucket.objects if key.startswith("errors/processing-failed/")]
    assert len(bucket.objects) == 501
    (error,) = errors
    refused = [
        base64.b64decode(json.loads(line)["rawData"])
        for line in bucket.objects.pop(error).splitlines()
    ]
    assert refused == records[500:] * 2
    assert sorted(bucket.objects.values()) == sorted(each * 2 for each in records[:500])
    # Once they are written, there is room for others.
    many.accept(records[500:], 1003.0)
    many.write_due(1005.0)
    assert {key.split("/")[1] for key in bucket.objects} == {str(n) for n in range(510)}


def test_nothing_is_lost_or_written_twice_while_writes_fail(bucket: Bucket, name: str) -> None:
    random.seed(1)
    sent, now = [], 1000.0
    failing = by_severity(name)
    for number in range(400):
        now += random.random()
        records = [
            random.choice(
                (
                    json.dumps({"severity": random.randrange(4), "number": number}).encode(),
                    b"no object %d" % number,
                )
            )
            for _ in range(random.randrange(4))
        ]
        failing.accept(records, now)
        sent += records
        bucket.refuses = random.random() < 0.6
        failing.write_due(now)
    bucket.refuses = False
    failing.write_due(now + 100.0)
    found = []
    for key, body in bucket.objects.items():
        if key.startswith("errors/"):
            lines = map(json.loads, body.splitlines())
            found += [base64.b64decode(line["rawData"]) for line in lines]
        else:
            found += re.findall(rb"\{.*?\}", body)
    assert sorted(found) == sorted(sent)


def test_an_object_is_under_the_day_of_its_records(bucket: Bucket, name: str) -> None:
    days = delivery(name, Prefix="!{timestamp:yyyy-MM-dd}/")
    midnight = datetime(2026, 12, 1, tzinfo=timezone.utc).timestamp()
    days.accept([b"before"], midnight - 0.5)
    days.accept([b"after"], midnight + 0.5)
    days.write_due(midnight + 3)
    found = {key.split("/")[0]: body for key, body in bucket.objects.items()}
    assert found == {"2026-11-30": b"before", "2026-12-01": b"after"}


S3 = {"BucketARN": "arn:aws:s3:::b", "RoleARN": "arn:aws:iam::000000000000:role/any"}
HIVE = {
    "InputFormatConfiguration": {"Deserializer": {"HiveJsonSerDe": {}}},
    "OutputFormatConfiguration": {"Serializer": {"ParquetSerDe": {}}},
}


def extended(**settings: Any) -> dict[str, Any]:
    return {"ExtendedS3DestinationConfiguration": {**S3, **settings}}


@pytest.mark.parametrize(
    ("destination", "named"),
    [
        ({"S3DestinationConfiguration": S3}, "S3DestinationConfiguration"),
        (extended(CompressionFormat="ZIP"), "ZIP"),
        (extended(S3BackupMode="Enabled"), "S3BackupMode"),
        (extended(ProcessingConfiguration={"Processors": [{"Type": "Lambda"}]}), "Lambda"),
        (extended(ProcessingConfiguration=extraction("{a: .b | tojson}")), "tojson"),
        (extended(DataFormatConversionConfiguration=HIVE), "HiveJsonSerDe"),
    ],
)
def test_what_is_not_done_is_refused_by_its_name(
    bare: Cloud, name: str, destination: dict[str, Any], named: str
) -> None:
    with pytest.raises(ClientError, match=named) as error:
        bare.client("firehose").create_delivery_stream(DeliveryStreamName=name, **destination)
    assert error.value.response["Error"]["Code"] == "InvalidArgumentException"
