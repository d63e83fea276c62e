"""IAM is enforced: a role without one of its actions shows, by the action's name."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from cloud import Cloud
from commands import REPOSITORY
from stack import now

SEVERE = {"ID": "iam-1", "Severity": 4, "City": "Nowhere", "County": "None"}


def direct(local: Cloud) -> dict[str, Any]:
    return {"records": [{"ID": "iam-0", "Severity": 1}]}


def refused(local: Cloud) -> dict[str, Any]:
    return {"records": [{"ID": "iam-0", "Severity": "high"}]}


def objects(local: Cloud) -> dict[str, Any]:
    event = json.loads((REPOSITORY / "events" / "ingest-s3.json").read_text(encoding="utf-8"))
    bucket, key = local.outputs["InboxBucketName"], "iam.csv"
    local.client("s3").put_object(Bucket=bucket, Key=key, Body=b"ID,Severity\niam-3,1\n")
    (record,) = event["Records"]
    record["s3"]["bucket"]["name"], record["s3"]["object"]["key"] = bucket, key
    return event


def record(event: dict[str, Any]) -> dict[str, Any]:
    stamp = now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    data = json.dumps({**event, "Txn_Timestamp": stamp}) + "\n"
    kinesis = {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": "iam",
        "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
        "data": base64.b64encode(data.encode()).decode(),
        "approximateArrivalTimestamp": now().timestamp(),
    }
    return {"Records": [{"eventSource": "aws:kinesis", "kinesis": kinesis}]}


def severe(local: Cloud) -> dict[str, Any]:
    return record(SEVERE)


def poison(local: Cloud) -> dict[str, Any]:
    return record({"ID": "iam-2", "Severity": "high"})


CASES = [
    ("Ingest", "kinesis:PutRecords", direct),
    ("Ingest", "firehose:PutRecordBatch", refused),
    ("Ingest", "s3:GetObject", objects),
    ("Transform", "kinesis:PutRecords", severe),
    ("Transform", "firehose:PutRecordBatch", severe),
    # Not cloudwatch:PutMetricData: the emulator lets every request in CBOR through.
    ("Metrics", "firehose:PutRecordBatch", poison),
    ("Notify", "sns:Publish", severe),
    ("Notify", "firehose:PutRecordBatch", poison),
]


@contextmanager
def without(local: Cloud, role: str, action: str) -> Iterator[None]:
    """A role less one action, for as long as the block takes."""
    iam = local.client("iam")
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    lesser = json.loads(json.dumps(document))
    for statement in lesser["Statement"]:
        named = statement["Action"]
        actions = [named] if isinstance(named, str) else named
        # The emulator has actions of its own beside AWS's, such as sns:PublishBatch.
        statement["Action"] = [a for a in actions if not a.startswith(action)] or ["sts:TagSession"]
    assert lesser != document, f"{role} does not have {action}"
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(lesser))
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))


def outcome(local: Cloud, function: str, event: dict[str, Any]) -> tuple[bool, str]:
    """Whether an invocation did all that it owes, and all that it answered and logged."""
    answer = local.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(event), LogType="Tail"
    )
    payload = json.loads(answer["Payload"].read())
    log = base64.b64decode(answer.get("LogResult", "")).decode()
    failed = "FunctionError" in answer or payload.get("failed") or payload.get("batchItemFailures")
    return not failed, json.dumps(payload) + log


@pytest.mark.parametrize(("function", "action", "event_of"), CASES)
def test_a_role_without_an_action_fails_by_its_name(
    function: str,
    action: str,
    event_of: Callable[[Cloud], dict[str, Any]],
    local: Cloud,
) -> None:
    name = local.outputs[f"{function}FunctionName"]
    role = local.client("lambda").get_function_configuration(FunctionName=name)["Role"]
    event = event_of(local)
    succeeded, said = outcome(local, name, event)
    assert succeeded, said
    with without(local, role.rpartition("/")[2], action):
        succeeded, said = outcome(local, name, event)
    assert not succeeded
    assert action in said
