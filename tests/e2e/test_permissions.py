"""IAM is enforced: without one of its actions a role fails, and the error names the action."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.conftest import kinesis_record
from tools.local.cloud import Cloud
from tools.local.commands import REPOSITORY
from tools.local.emulator import NOT_REQUESTED
from tools.local.stack import now, wait_for

SEVERE = {"Severity": 4, "City": "Nowhere", "County": "None"}


def direct(local: Cloud) -> dict[str, Any]:
    return {"records": [{"ID": "iam-0", "Severity": 1}]}


def refused(local: Cloud) -> dict[str, Any]:
    return {"records": [{"ID": "iam-0", "Severity": "high"}]}


def objects(local: Cloud) -> dict[str, Any]:
    event = json.loads((REPOSITORY / "events" / "ingest-s3.json").read_text(encoding="utf-8"))
    bucket, key = local.outputs["InboxBucketName"], "iam.csv"
    put = local.client("s3").put_object(Bucket=bucket, Key=key, Body=b"ID,Severity\niam-3,1\n")
    (record,) = event["Records"]
    record["s3"]["bucket"]["name"] = bucket
    record["s3"]["object"] |= {"key": key, "eTag": put["ETag"].strip('"')}
    return event


def versions(local: Cloud) -> dict[str, Any]:
    event = objects(local)
    stored = event["Records"][0]["s3"]
    head = local.client("s3").head_object(
        Bucket=stored["bucket"]["name"], Key=stored["object"]["key"]
    )
    stored["object"]["versionId"] = head["VersionId"]
    return event


def record(event: dict[str, Any]) -> dict[str, Any]:
    stamp = now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    data = json.dumps({**event, "Txn_Timestamp": stamp}) + "\n"
    return {"Records": [kinesis_record("iam", data.encode())]}


def severe(local: Cloud) -> dict[str, Any]:
    return record({"ID": f"iam-{uuid4()}", **SEVERE})  # a repeat of an id gets no alert


def poison(local: Cloud) -> dict[str, Any]:
    return record({"ID": "iam-2", "Severity": "high"})


@dataclass(frozen=True)
class Case:
    """An action of a function, and an event that causes it."""

    function: str
    action: str
    event_of: Callable[[Cloud], dict[str, Any]]
    # Whether the records fail with the action; a failure of Glue fails no record.
    fails: bool = True
    # Whether the function calls it only once in a container.
    once: bool = False


CASES = [
    Case("Ingest", "kinesis:PutRecords", direct),
    Case("Ingest", "firehose:PutRecordBatch", refused),
    Case("Ingest", "s3:GetObject", objects),
    Case("Ingest", "s3:GetObjectVersion", versions),
    Case("Transform", "kinesis:PutRecords", severe),
    Case("Transform", "firehose:PutRecordBatch", severe),
    Case("Transform", "glue:GetTable", severe, fails=False, once=True),
    Case("Transform", "glue:BatchCreatePartition", severe, fails=False, once=True),
    Case("Metrics", "firehose:PutRecordBatch", poison),
    Case("Notify", "sns:Publish", severe),
    Case("Notify", "firehose:PutRecordBatch", poison),
]

# Actions that the emulator allows to everybody. `tests/template` checks that the roles have these
# and no others.
NOT_ASKED = NOT_REQUESTED | {
    "cloudwatch:PutMetricData": "it lets every request in CBOR through",
}

# Actions of the mappings in the name of a function's role.
MAPPED = {
    *("kinesis:GetRecords", "kinesis:GetShardIterator", "kinesis:ListShards"),
    *("s3:PutObject", "sqs:DeleteMessage", "sqs:ReceiveMessage"),
}

FUNCTIONS = ["Ingest", "Transform", "Metrics", "Notify"]


def role_of(local: Cloud, function: str) -> str:
    name = local.outputs[f"{function}FunctionName"]
    return local.client("lambda").get_function_configuration(FunctionName=name)["Role"]


def statements(local: Cloud, role: str) -> list[dict[str, Any]]:
    """The statements of a role's one policy, their actions and resources as lists."""
    iam, name = local.client("iam"), role.rpartition("/")[2]
    (policy,) = iam.list_role_policies(RoleName=name)["PolicyNames"]
    document = iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"]
    return [
        {**statement, **{key: as_list(statement[key]) for key in ("Action", "Resource")}}
        for statement in document["Statement"]
    ]


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@contextmanager
def without(local: Cloud, role: str, action: str) -> Iterator[None]:
    """A role without one action, during the block."""
    iam = local.client("iam")
    (policy,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
    lesser = json.loads(json.dumps(document))
    for statement in lesser["Statement"]:
        named = statement["Action"]
        actions = [named] if isinstance(named, str) else named
        # The emulator has actions of its own next to AWS's, such as sns:PublishBatch.
        statement["Action"] = [a for a in actions if not a.startswith(action)] or ["sts:TagSession"]
    assert lesser != document, f"{role} does not have {action}"
    iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(lesser))
    try:
        yield
    finally:
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))


def outcome(local: Cloud, function: str, event: dict[str, Any]) -> tuple[bool, str]:
    """Whether an invocation delivered all its outputs, and its answer and log."""
    answer = local.client("lambda").invoke(
        FunctionName=function, Payload=json.dumps(event), LogType="Tail"
    )
    payload = json.loads(answer["Payload"].read())
    log = base64.b64decode(answer.get("LogResult", "")).decode()
    failed = "FunctionError" in answer or payload.get("failed") or payload.get("batchItemFailures")
    return not failed, json.dumps(payload) + log


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.function} {case.action}")
def test_a_role_without_an_action_fails_by_its_name(case: Case, local: Cloud) -> None:
    name = local.outputs[f"{case.function}FunctionName"]
    role = role_of(local, case.function).rpartition("/")[2]
    succeeded, said = outcome(local, name, case.event_of(local))
    assert succeeded, said
    with without(local, role, case.action):
        if case.once:
            begin_anew(local, name)
        succeeded, said = outcome(local, name, case.event_of(local))
    assert succeeded is not case.fails
    assert case.action in said


def begin_anew(local: Cloud, function: str) -> None:
    """Ends the function's containers, as an update of its configuration does."""
    client = local.client("lambda")
    timeout = client.get_function_configuration(FunctionName=function)["Timeout"]
    client.update_function_configuration(FunctionName=function, Timeout=timeout)
    client.get_waiter("function_updated_v2").wait(FunctionName=function)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_action_of_a_role_is_removed_once(function: str, local: Cloud) -> None:
    granted = {a for s in statements(local, role_of(local, function)) for a in s["Action"]}
    tried = {case.action for case in CASES if case.function == function}
    assert tried <= granted
    # The emulator has actions of its own next to AWS's, such as sns:PublishBatch.
    assert granted - tried - {"sns:PublishBatch"} <= NOT_ASKED.keys() | MAPPED


POLLS = [
    ("Ingest", "sqs:ReceiveMessage"),
    ("Transform", "kinesis:GetRecords"),
    ("Notify", "kinesis:ListShards"),
]


@pytest.mark.parametrize(("function", "action"), POLLS)
def test_a_mapping_without_an_action_reports_it_by_its_name(
    function: str, action: str, local: Cloud
) -> None:
    name = local.outputs[f"{function}FunctionName"]

    def result() -> str:
        found = local.client("lambda").list_event_source_mappings(FunctionName=name)
        (mapping,) = found["EventSourceMappings"]
        return str(mapping["LastProcessingResult"])

    def reported() -> bool | None:
        return True if action in result() else None

    with without(local, role_of(local, function).rpartition("/")[2], action):
        wait_for(reported, 30, 0.2, lambda: f"{action} is not in {result()!r}")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_role_reaches_its_own_resources_and_no_others(function: str, local: Cloud) -> None:
    role = role_of(local, function)

    def decisions(actions: list[str], resource: str) -> dict[str, str]:
        results = local.client("iam").simulate_principal_policy(
            PolicySourceArn=role, ActionNames=actions, ResourceArns=[resource]
        )["EvaluationResults"]
        return {each["EvalActionName"]: each["EvalDecision"] for each in results}

    for statement in statements(local, role):
        actions = statement["Action"]
        for pattern in statement["Resource"]:
            if pattern == "*":
                assert "Condition" in statement
                continue
            own = pattern.replace("*", "x")
            other = re.sub(r"(?=([:/]\*)?$)", "-other", pattern, count=1).replace("*", "x")
            assert decisions(actions, own) == dict.fromkeys(actions, "allowed")
            assert decisions(actions, other) == dict.fromkeys(actions, "implicitDeny")
