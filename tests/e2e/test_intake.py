"""The four ways into ingest, each through the deployed function."""

from __future__ import annotations

import gzip
import json
import re
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tools.local.cloud import ACCESS_KEY, SECRET_KEY, Cloud
from tools.local.commands import REPOSITORY
from tools.local.stack import Stack, wait_for

ARRIVAL_SECONDS = 60

Arrive = Callable[[str, int], None]


def csv_rows(name: str, count: int) -> str:
    rows = "".join(f"{name}-{number},2,Nowhere,None\n" for number in range(count))
    return f"ID,Severity,City,County\n{rows}"


def json_rows(name: str, count: int) -> list[dict[str, Any]]:
    return [{"ID": f"{name}-{number}", "Severity": 2} for number in range(count)]


def ndjson_rows(name: str, count: int) -> str:
    return "".join(json.dumps(row) + "\n" for row in json_rows(name, count))


@pytest.fixture(scope="module")
def arrive(stack: Stack) -> Arrive:
    """Waits until each row of a name is on stream 1 once."""
    stream = stack.raw_stream()

    def waits(name: str, count: int) -> None:
        expected = Counter(f"{name}-{number}" for number in range(count))

        def arrived() -> bool | None:
            ids = (event["ID"] for event in stream.poll())
            found = Counter(event for event in ids if event.rpartition("-")[0] == name)
            assert not found - expected, f"more than was sent: {found - expected}"
            return True if found == expected else None

        wait_for(arrived, ARRIVAL_SECONDS, 0.2, lambda: f"the rows {name} did not arrive")

    return waits


def invoke(local: Cloud, event: dict[str, Any]) -> dict[str, Any]:
    answer = local.client("lambda").invoke(
        FunctionName=local.outputs["IngestFunctionName"], Payload=json.dumps(event)
    )
    payload = json.loads(answer["Payload"].read())
    assert "FunctionError" not in answer, payload
    return payload


DIRECT = {
    "direct-csv": {"format": "csv", "body": csv_rows("direct-csv", 3)},
    "direct-ndjson": {"format": "ndjson", "body": ndjson_rows("direct-ndjson", 3)},
    "direct-json": {"format": "json", "body": json.dumps(json_rows("direct-json", 3))},
    "direct-records": {"records": json_rows("direct-records", 3)},
}


@pytest.mark.parametrize("name", DIRECT)
def test_a_direct_invocation_accepts_rows(name: str, local: Cloud, arrive: Arrive) -> None:
    answer = invoke(local, DIRECT[name])
    assert (answer["accepted"], answer["rejected"], answer["failed"]) == (3, 0, 0)
    arrive(name, 3)


def test_a_direct_invocation_lists_what_it_rejects(local: Cloud, arrive: Arrive) -> None:
    body = csv_rows("listed", 1) + "listed-x,high,Nowhere,None\n"
    answer = invoke(local, {"format": "csv", "body": body})
    assert (answer["accepted"], answer["rejected"]) == (1, 1)
    reject = answer["rejects"][0]
    assert (reject["index"], reject["line"], reject["reason"]) == (1, 3, "bad_severity")
    arrive("listed", 1)


def test_the_date_order_is_as_the_request_declares_it(local: Cloud, stack: Stack) -> None:
    body = "ID,Severity,Start_Time\ndmy-0,2,13/08/2016 0:37\n"
    invoke(local, {"format": "csv", "body": body, "date_order": "dmy"})
    event = next(event for event in stack.raw_stream().poll() if event["ID"] == "dmy-0")
    assert event["Start_Time"] == "2016-08-13T00:37:00"


def post(
    local: Cloud, body: bytes, content_type: str, *, encoding: str = "", signed: bool = True
) -> tuple[int, dict[str, Any]]:
    """Posts to the function's URL and returns status and body."""
    # The function URL as it is reached here; the output names a host of AWS.
    function = re.match(r"https://(\w+)\.lambda-url\.", local.outputs["IngestUrl"])[1]
    url = f"{local.endpoint}/_aws/lambda-url/{function}/"
    headers = {"content-type": content_type}
    if encoding:
        headers["content-encoding"] = encoding
    request = AWSRequest("POST", url, headers=headers, data=body)
    if signed:
        keys = Credentials(ACCESS_KEY, SECRET_KEY)
        SigV4Auth(keys, "lambda", local.region).add_auth(request)
    prepared = urllib.request.Request(url, data=body, headers=dict(request.headers), method="POST")
    try:
        with urllib.request.urlopen(prepared, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


POSTED = {
    "http-csv": ("text/csv", csv_rows("http-csv", 3)),
    "http-ndjson": ("application/x-ndjson", ndjson_rows("http-ndjson", 3)),
    "http-array": ("application/json", json.dumps(json_rows("http-array", 3))),
}


@pytest.mark.parametrize("name", POSTED)
def test_the_url_accepts_rows(name: str, local: Cloud, arrive: Arrive) -> None:
    content_type, body = POSTED[name]
    status, answer = post(local, body.encode(), content_type)
    assert (status, answer["accepted"]) == (202, 3)
    arrive(name, 3)


def test_the_url_accepts_one_object(local: Cloud, arrive: Arrive) -> None:
    body = json.dumps(json_rows("http-object", 1)[0]).encode()
    assert post(local, body, "application/json")[0] == 202
    arrive("http-object", 1)


def test_the_url_accepts_gzip(local: Cloud, arrive: Arrive) -> None:
    # Not CSV: the emulator treats its bytes as text even if they are compressed.
    body = gzip.compress(ndjson_rows("http-gzip", 3).encode())
    assert post(local, body, "application/x-ndjson", encoding="gzip")[0] == 202
    arrive("http-gzip", 3)


def test_the_url_refuses_a_body_without_valid_rows_with_reasons(local: Cloud) -> None:
    status, answer = post(local, b"ID,Severity\nx,high\n", "text/csv")
    assert status == 400
    assert answer["rejects"][0]["reason"] == "bad_severity"


def test_the_url_refuses_an_unknown_type(local: Cloud) -> None:
    assert post(local, b"<rows/>", "application/xml")[0] == 415


def test_the_url_refuses_unsigned_requests(local: Cloud) -> None:
    assert post(local, b"ID,Severity\nx,2\n", "text/csv", signed=False)[0] == 403


def test_messages_of_the_queue_are_ingested_and_deleted(
    local: Cloud, stack: Stack, arrive: Arrive
) -> None:
    sqs, url = local.client("sqs"), stack.outputs["IngestQueueUrl"]
    bodies = [
        {"format": "csv", "body": csv_rows("queue-csv", 3)},
        {"records": json_rows("queue-records", 3)},
    ]
    for body in bodies:
        sqs.send_message(QueueUrl=url, MessageBody=json.dumps(body))
    arrive("queue-csv", 3)
    arrive("queue-records", 3)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def empty() -> bool | None:
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return True if all(count == "0" for count in counts.values()) else None

    wait_for(empty, ARRIVAL_SECONDS, 0.2, lambda: "the messages were not deleted")


def test_an_invalid_message_delays_no_other(local: Cloud, stack: Stack, arrive: Arrive) -> None:
    sqs, url = local.client("sqs"), stack.outputs["IngestQueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="no JSON at all")
    body = json.dumps({"records": json_rows("queue-after", 1)})
    sqs.send_message(QueueUrl=url, MessageBody=body)
    arrive("queue-after", 1)

    def rejected() -> bool | None:
        query = "select payload from us_accidents_rejects where reason = 'bad_message'"
        return True if ["no JSON at all"] in stack.query(query).rows else None

    wait_for(rejected, ARRIVAL_SECONDS, 0.5, lambda: "the message was not rejected")


OBJECTS = {
    "s3-csv": ("a file + more.csv", csv_rows("s3-csv", 3)),
    "s3-csv-gz": ("deep/er/rows.csv.gz", csv_rows("s3-csv-gz", 3)),
    "s3-json": ("rows.json", json.dumps(json_rows("s3-json", 3))),
    "s3-jsonl": ("rows.jsonl", ndjson_rows("s3-jsonl", 3)),
    "s3-ndjson-gz": ("rows.ndjson.gz", ndjson_rows("s3-ndjson-gz", 3)),
    "s3-upper-case": ("ROWS.CSV", csv_rows("s3-upper-case", 3)),
    "s3-plain-gz": ("plain.csv.GZ", csv_rows("s3-plain-gz", 3)),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_in_the_inbox_are_ingested(name: str, local: Cloud, arrive: Arrive) -> None:
    key, body = OBJECTS[name]
    data = gzip.compress(body.encode()) if key.endswith(".gz") else body.encode()
    bucket = local.outputs["InboxBucketName"]
    local.client("s3").put_object(Bucket=bucket, Key=key, Body=data)
    arrive(name, 3)


def test_a_large_object_is_ingested_once_despite_repeated_events(
    local: Cloud, stack: Stack, arrive: Arrive
) -> None:
    rows = "".join(f's3-large-{number},2,"{"x" * 400_000}"\n' for number in range(45))
    bucket, key = local.outputs["InboxBucketName"], "large.csv"
    body = f"ID,Severity,Description\n{rows}".encode()
    put = local.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    arrive("s3-large", 45)

    def checkpoint() -> str | None:
        prefix = f"checkpoints/{key}."
        held = local.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents")
        return held[0]["Key"] if held else None

    name = wait_for(checkpoint, ARRIVAL_SECONDS, 0.2, lambda: "the object has no checkpoint")
    event = json.loads((REPOSITORY / "events" / "ingest-s3.json").read_text(encoding="utf-8"))
    event["Records"][0]["s3"]["bucket"]["name"] = bucket
    etag = put["ETag"].strip('"')
    version = put["VersionId"]
    event["Records"][0]["s3"]["object"] = {
        "key": key,
        "size": len(body),
        "eTag": etag,
        "versionId": version,
    }
    assert invoke(local, event)["accepted"] == 0
    # A continuation is an object in the inbox whose event invokes ingest.
    noted = json.loads(local.client("s3").get_object(Bucket=bucket, Key=name)["Body"].read())
    noted["position"]["offset"] = len(body) // 2
    named = {"bucket": bucket, "key": key, "version_id": version, "etag": etag, "sequencer": None}
    rest = {"object": named, "from": {**noted, "finished": False}}
    name = name.replace(".checkpoint", ".continuation")
    local.client("s3").put_object(Bucket=bucket, Key=name, Body=json.dumps(rest))
    event["Records"][0]["s3"]["object"] = {"key": name, "size": 300, "eTag": "0"}
    assert invoke(local, event)["accepted"] == 0
