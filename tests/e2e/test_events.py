"""Every fixture of `events/`, given to its deployed function by `cargo lambda invoke`."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from tools.local.cloud import Cloud
from tools.local.commands import REPOSITORY, tools

EVENTS = sorted((REPOSITORY / "events").glob("*.json"))

NOTHING_FAILED: dict[str, Any] = {"batchItemFailures": []}

# Part of the answer to each fixture.
ANSWERS: dict[str, dict[str, Any]] = {
    "ingest-direct-csv": {"accepted": 3, "rejected": 0, "failed": 0},
    "ingest-direct-records": {"accepted": 2, "rejected": 0, "failed": 0},
    "ingest-direct-rejects": {"accepted": 1, "rejected": 3, "failed": 0},
    "ingest-alb": {"statusCode": 202, "statusDescription": "202 Accepted"},
    "ingest-alb-unusable": {"statusCode": 400, "statusDescription": "400 Bad Request"},
    "ingest-http-csv": {"statusCode": 202},
    "ingest-http-json": {"statusCode": 202},
    "ingest-http-ndjson-gzip": {"statusCode": 202},
    "ingest-http-unknown-type": {"statusCode": 415},
    "ingest-http-unusable": {"statusCode": 400},
    "ingest-http1": {"statusCode": 202},
    "ingest-rest": {"statusCode": 202},
    "ingest-s3": {"accepted": 2, "rejected": 0, "failed": 0},
    "ingest-sqs": NOTHING_FAILED,
    "metrics-kinesis": NOTHING_FAILED,
    "notify-kinesis": NOTHING_FAILED,
    "transform-kinesis": NOTHING_FAILED,
    "transform-kpl": NOTHING_FAILED,
    "transform-poison": NOTHING_FAILED,
}


def cargo_lambda_invoke(local: Cloud, function: str, file: Path) -> dict[str, Any]:
    """Runs the command of the README and returns the function's answer."""
    command = ["cargo", "lambda", "invoke", "--remote", function, "--data-file", str(file)]
    finished = subprocess.run(
        command, env=tools(local.credentials), capture_output=True, encoding="utf-8", check=False
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


@pytest.fixture(scope="module")
def object_in_the_inbox(local: Cloud) -> None:
    """The object of the fixture of an S3 event."""
    event = json.loads((REPOSITORY / "events" / "ingest-s3.json").read_text(encoding="utf-8"))
    (record,) = event["Records"]
    bucket = record["s3"]["bucket"]["name"]
    assert bucket == local.outputs["InboxBucketName"]
    key = urllib.parse.unquote_plus(record["s3"]["object"]["key"])
    body = b"ID,Severity\nevents-1,2\nevents-2,1\n"
    put = local.client("s3").put_object(Bucket=bucket, Key=key, Body=body)
    # Without a version, ingest reads an object only if it is still the one of the event.
    assert put["ETag"].strip('"') == record["s3"]["object"]["eTag"]


@pytest.mark.usefixtures("object_in_the_inbox")
@pytest.mark.parametrize("file", EVENTS, ids=lambda file: file.stem)
def test_cargo_lambda_invoke_gives_the_answer(file: Path, local: Cloud) -> None:
    function, _, _ = file.stem.partition("-")
    name = local.outputs[f"{function.title()}FunctionName"]
    answer = cargo_lambda_invoke(local, name, file)
    expected = ANSWERS[file.stem]
    assert {key: answer.get(key) for key in expected} == expected


def test_every_function_has_a_fixture() -> None:
    functions = {path.name for path in (REPOSITORY / "functions").iterdir()}
    assert {file.stem.partition("-")[0] for file in EVENTS} == functions
