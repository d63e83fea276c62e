"""The check of requests finds what AWS would refuse, and nothing else."""

from __future__ import annotations

import copy
import functools
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import cbor2
import pytest
from botocore.config import Config

from tests.conformance.calls import model_of, operation_of, read
from tests.conformance.check import check, check_record
from tests.conformance.limits import LIMITS
from tests.conformance.wire import NotUnderstood, Request
from tools.local.services.recorder import line

Parameters = dict[str, Any]
Change = Callable[[Parameters], object]

RECORDS = {"StreamName": "s1", "Records": [{"Data": b"{}\n", "PartitionKey": "A-1"}]}
DELIVERIES = {"DeliveryStreamName": "rejects", "Records": [{"Data": b"{}\n"}]}
DATA = {
    "Namespace": "accidents",
    "MetricData": [
        {
            "MetricName": "severe",
            "Dimensions": [{"Name": "county", "Value": "Dallas"}],
            "Timestamp": 1_700_000_000,
            "Values": [1.0, 2.0],
            "Counts": [3.0, 4.0],
            "Unit": "Count",
            "StorageResolution": 1,
        }
    ],
}
MESSAGES = {
    "TopicArn": "arn:aws:sns:eu-west-1:000000000000:alerts",
    "PublishBatchRequestEntries": [
        {
            "Id": "0",
            "Subject": "Severity 4",
            "Message": json.dumps({"default": "text"}),
            "MessageStructure": "json",
            "MessageAttributes": {"severity": {"DataType": "Number", "StringValue": "4"}},
        }
    ],
}
PARTITIONS = {
    "DatabaseName": "us_accidents_dev",
    "TableName": "us_accidents_analytical",
    "PartitionInputList": [{"Values": ["4", "2016", "02", "08"]}],
}
# An operation of each protocol, and of each service that the functions and the tools write to. By
# boto3's name of it: the service, and valid parameters.
RIGHT: dict[str, tuple[str, Parameters]] = {
    "put_records": ("kinesis", RECORDS),
    "put_record_batch": ("firehose", DELIVERIES),
    "put_metric_data": ("cloudwatch", DATA),
    "publish_batch": ("sns", MESSAGES),
    "batch_create_partition": ("glue", PARTITIONS),
    "get_table": ("glue", {"DatabaseName": "us_accidents_dev", "Name": "us_accidents_raw"}),
    "get_object": (
        "s3",
        {"Bucket": "inbox", "Key": "a b/c.csv", "VersionId": "v1", "Range": "bytes=5-"},
    ),
    "put_object": (
        "s3",
        {"Bucket": "inbox", "Key": "a.csv", "Body": b"ID\n", "Metadata": {"date_order": "dmy"}},
    ),
    "list_objects_v2": ("s3", {"Bucket": "inbox", "Prefix": "a", "MaxKeys": 10}),
    "delete_objects": (
        "s3",
        {"Bucket": "inbox", "Delete": {"Objects": [{"Key": "a"}, {"Key": "b"}], "Quiet": True}},
    ),
    "invoke": (
        "lambda",
        {"FunctionName": "ingest", "Payload": b"{}", "InvocationType": "Event"},
    ),
    "receive_message": ("sqs", {"QueueUrl": "https://q", "MaxNumberOfMessages": 10}),
    "describe_stacks": ("cloudformation", {"StackName": "us-accidents-dev"}),
    "start_query_execution": ("athena", {"QueryString": "select 1", "WorkGroup": "w"}),
}


class Sent(Exception):
    """Carries a request out of the client, which therefore does not send it."""

    def __init__(self, request: Request) -> None:
        super().__init__()
        self.request = request


@functools.cache
def client_of(service: str) -> Any:
    """A client that checks no parameters, and raises `Sent` instead of sending a request."""
    client = boto3.client(
        service,
        region_name="eu-west-1",
        endpoint_url="http://127.0.0.1:1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(
            parameter_validation=False, s3={"addressing_style": "path"}, inject_host_prefix=False
        ),
    )
    client.meta.events.register("before-send", stop)
    return client


def stop(request: Any, **_: Any) -> None:
    path, _, query = request.url.removeprefix("http://127.0.0.1:1").partition("?")
    body = request.body or b""
    if hasattr(body, "read"):
        body = body.read()
    if isinstance(body, str):
        body = body.encode()
    headers = [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in request.headers.items()
    ]
    scope = {
        "method": request.method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
    }
    raise Sent(Request.of(json.dumps(line(scope, bytes(body)))))


def request(method: str, *changes: Change) -> Request:
    """The request of a valid call with some changes, as the recorder keeps it."""
    service, valid = RIGHT[method]
    parameters = copy.deepcopy(valid)
    for change in changes:
        change(parameters)
    with pytest.raises(Sent) as sent:
        getattr(client_of(service), method)(**parameters)
    return sent.value.request


def in_cbor(data: Parameters) -> Request:
    """A request for metrics as the functions' SDK writes it, which boto3 writes as JSON."""
    json_request = request("put_metric_data")
    headers = {
        name: value for name, value in json_request.headers.items() if name != "x-amz-target"
    }
    return replace(
        json_request,
        path="/service/GraniteServiceVersion20100801/operation/PutMetricData",
        headers={**headers, "smithy-protocol": "rpc-v2-cbor"},
        body=cbor2.dumps(data),
    )


@pytest.mark.parametrize("method", RIGHT)
def test_a_valid_request_conforms_and_is_decoded(method: str) -> None:
    call = read(request(method))
    assert call.operation.name.lower() == method.replace("_", "")
    assert check(call) == []
    for name in RIGHT[method][1]:
        assert name in call.parameters, call.parameters


def put(*path: Any, value: Any) -> Change:
    """Puts a value at a place of the parameters."""

    def change(parameters: Parameters) -> None:
        at: Any = parameters
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = value

    return change


def repeat(name: str, times: int) -> Change:
    def change(parameters: Parameters) -> None:
        parameters[name] = parameters[name] * times

    return change


def messages(count: int, text: str = "x") -> Change:
    entries = [{"Id": str(number), "Message": text} for number in range(count)]
    return put("PublishBatchRequestEntries", value=entries)


DATUM = ("MetricData", 0)
ENTRY = ("PublishBatchRequestEntries", 0)
# What is wrong, and the changes that make it of a valid call.
WRONG: dict[str, tuple[Any, ...]] = {
    "501 records": ("put_records", repeat("Records", 501)),
    "a record without a key": (
        "put_records",
        lambda call: call["Records"][0].pop("PartitionKey"),
    ),
    "a key of 257 characters": (
        "put_records",
        put("Records", 0, "PartitionKey", value="x" * 257),
    ),
    "a record over 1 MiB": ("put_records", put("Records", 0, "Data", value=b"x" * 1024 * 1024)),
    "records over 10 MiB": (
        "put_records",
        put("Records", 0, "Data", value=b"x" * 1024 * 1000),
        repeat("Records", 11),
    ),
    "a hash key that is not a number": (
        "put_records",
        put("Records", 0, "ExplicitHashKey", value="k"),
    ),
    "501 deliveries": ("put_record_batch", repeat("Records", 501)),
    "a delivery over 1,000 KiB": (
        "put_record_batch",
        put("Records", 0, "Data", value=b"x" * (1000 * 1024 + 1)),
    ),
    "deliveries over 4 MiB": (
        "put_record_batch",
        put("Records", 0, "Data", value=b"x" * 1024 * 1000),
        repeat("Records", 5),
    ),
    "no delivery": ("put_record_batch", put("Records", value=[])),
    "1,001 data": ("put_metric_data", repeat("MetricData", 1001)),
    "151 values": (
        "put_metric_data",
        put(*DATUM, "Values", value=[1.0] * 151),
        put(*DATUM, "Counts", value=[1.0] * 151),
    ),
    "fewer counts than values": ("put_metric_data", put(*DATUM, "Counts", value=[1.0])),
    "a dimension beyond ASCII": (
        "put_metric_data",
        put(*DATUM, "Dimensions", 0, "Value", value="Doña Ana"),
    ),
    "a unit that there is not": ("put_metric_data", put(*DATUM, "Unit", value="Events")),
    "a namespace of 256 characters": ("put_metric_data", put("Namespace", value="x" * 256)),
    "a resolution of 0": ("put_metric_data", put(*DATUM, "StorageResolution", value=0)),
    "11 messages": ("publish_batch", messages(11)),
    "a subject of 100 characters": ("publish_batch", put(*ENTRY, "Subject", value="x" * 100)),
    "a subject of two lines": ("publish_batch", put(*ENTRY, "Subject", value="a\nb")),
    "messages over 256 KiB": ("publish_batch", messages(2, "x" * 131_100)),
    "two messages of one id": ("publish_batch", repeat("PublishBatchRequestEntries", 2)),
    "JSON without a default": ("publish_batch", put(*ENTRY, "Message", value="{}")),
    "an attribute without a type": (
        "publish_batch",
        put(*ENTRY, "MessageAttributes", "severity", value={"StringValue": "4"}),
    ),
    "101 partitions": ("batch_create_partition", repeat("PartitionInputList", 101)),
    "no database": ("batch_create_partition", lambda call: call.pop("DatabaseName")),
    "an invocation of no known type": ("invoke", put("InvocationType", value="Later")),
    "keys to delete without a key": (
        "delete_objects",
        put("Delete", "Objects", value=[{"VersionId": "v"}]),
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_invalid_request_is_found(wrong: str) -> None:
    assert check(read(request(*WRONG[wrong]))) != []


def test_a_misspelt_member_is_found_in_every_protocol() -> None:
    json_request = request("put_records")
    body = json.loads(json_request.body) | {"Streamname": "s1"}
    data = copy.deepcopy(DATA)
    data["MetricData"][0]["Vaules"] = [1.0]
    query_request = request("publish_batch")
    url_request = request("list_objects_v2")
    misspelt = [
        replace(json_request, body=json.dumps(body).encode()),
        in_cbor(data),
        replace(query_request, body=query_request.body + b"&TopicARN=x"),
        replace(query_request, body=query_request.body.replace(b".Subject=", b".Subjekt=")),
        replace(url_request, query=url_request.query + "&prefx=a"),
    ]
    for each in misspelt:
        found = check(read(each))
        assert any("unknown member" in fault for fault in found), (each, found)


def test_a_request_of_an_unknown_operation_is_not_understood() -> None:
    right = request("put_records")
    strange = [
        replace(right, headers={**right.headers, "x-amz-target": "Kinesis_20131202.PutRecord2"}),
        replace(right, headers={**right.headers, "x-amz-target": "Kinesis_20991231.PutRecords"}),
        replace(right, headers={**right.headers, "authorization": ""}),
        replace(request("get_object"), method="PATCH"),
        replace(
            request("publish_batch"),
            body=b"Action=PublishBatches&Version=2010-03-31",
        ),
    ]
    for each in strange:
        with pytest.raises(NotUnderstood):
            read(each)


def test_compressed_data_are_read() -> None:
    call = in_cbor(DATA)
    packed = replace(
        call, body=gzip.compress(call.body), headers={**call.headers, "content-encoding": "gzip"}
    )
    assert read(packed).parameters == DATA
    assert check(read(packed)) == []


def test_a_record_is_counted_by_operation_and_its_faults_are_named(tmp_path: Path) -> None:
    written = [
        request("put_records"),
        request("put_records", repeat("Records", 501)),
        request("publish_batch"),
    ]
    (tmp_path / "4576-1.jsonl").write_text("".join(map(recorded, written)))
    (tmp_path / "4577-2.jsonl").write_text(recorded(request("put_records")))
    found = check_record(tmp_path)
    assert found.operations == {"kinesis:PutRecords": 3, "sns:PublishBatch": 1}
    assert [fault.partition(":")[0] for fault in found.faults] == ["kinesis"]
    assert found.exit_code == 1


def recorded(request: Request) -> str:
    """A request as a line of a record."""
    scope = {
        "method": request.method,
        "path": request.path,
        "query_string": request.query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in request.headers.items()],
    }
    return json.dumps(line(scope, request.body)) + "\n"


def test_an_empty_record_is_an_error(tmp_path: Path) -> None:
    found = check_record(tmp_path)
    assert found.exit_code == 1
    assert "no requests" in str(found)


def test_an_action_of_a_role_that_no_request_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "4576-1.jsonl").write_text(recorded(request("put_records")))
    found = check_record(tmp_path)
    assert found.unused({"kinesis:PutRecords", "sns:Publish"}) == [
        "kinesis:PutRecords",
        "sns:Publish",
    ]
    by_a_role = request("put_records")
    headers = by_a_role.headers
    headers = {**headers, "authorization": headers["authorization"].replace("=test/", "=ASIA1/")}
    (tmp_path / "4576-1.jsonl").write_text(recorded(replace(by_a_role, headers=headers)))
    found = check_record(tmp_path)
    assert found.unused({"kinesis:PutRecords", "sns:Publish"}) == ["sns:Publish"]


def test_a_record_holds_no_secret() -> None:
    kept = request("put_records").headers
    assert "Signature" not in json.dumps(kept)


def test_every_limit_names_the_page_that_states_it() -> None:
    for limit in LIMITS:
        assert limit.page.startswith("https://docs.aws.amazon.com/")
        # The operation is one of the service's model.
        service, _, operation = limit.operation.partition(":")
        operation_of(model_of(service), operation)
