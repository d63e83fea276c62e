"""Deploys a template and its functions' code into the local cloud, as `sam deploy` does on AWS."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.local.clients import stack_of
from tools.local.commands import CommandError
from tools.local.functions import functions_of

BUCKET = "local-cloud-code"
CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
DEADLINE_SECONDS = 300
PAUSE_SECONDS = 0.1

# What a change set's reason says when the stack is as it should be already.
UNCHANGED = ("didn't contain changes", "No updates are to be performed")


def deploy(
    client: Callable[[str], Any],
    stack: str,
    template: dict[str, Any],
    parameters: Mapping[str, str],
    folder: Path,
) -> None:
    """Deploys the template, whose functions' code is in archives relative to the folder."""
    try:
        _deploy(client, stack, template, parameters, folder)
    except (BotoCoreError, ClientError) as error:
        raise CommandError(f"could not deploy {stack} into the local cloud: {error}") from error


def _deploy(
    client: Callable[[str], Any],
    stack: str,
    template: dict[str, Any],
    parameters: Mapping[str, str],
    folder: Path,
) -> None:
    s3, formation = client("s3"), client("cloudformation")
    create_bucket(s3)
    for function in functions_of(template):
        properties = function["Properties"]
        archive = (folder / properties["CodeUri"]).read_bytes()
        properties["CodeUri"] = f"s3://{BUCKET}/{upload(s3, archive, '.zip')}"
    key = upload(s3, json.dumps(template).encode(), ".json")

    existing = stack_of(formation, stack)
    is_new = existing is None or existing["StackStatus"] == "REVIEW_IN_PROGRESS"
    whose = {"StackName": stack, "ChangeSetName": f"change-{uuid.uuid4()}"}
    formation.create_change_set(
        **whose,
        ChangeSetType="CREATE" if is_new else "UPDATE",
        TemplateURL=f"{s3.meta.endpoint_url}/{BUCKET}/{key}",
        Capabilities=CAPABILITIES,
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()
        ],
    )
    if not has_changes(formation, whose):
        formation.delete_change_set(**whose)
        return
    formation.execute_change_set(**whose)
    wait(formation, stack)


def create_bucket(s3: Any) -> None:
    place = {"LocationConstraint": s3.meta.region_name}
    try:
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        return  # a deployment before this one made it


def upload(s3: Any, body: bytes, suffix: str) -> str:
    """Stores an object under the hash of its content, unless it is there, and returns its key."""
    key = hashlib.sha256(body).hexdigest() + suffix
    if s3.list_objects_v2(Bucket=BUCKET, Prefix=key)["KeyCount"] == 0:
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return key


def has_changes(formation: Any, whose: Mapping[str, str]) -> bool:
    """Waits for the change set; false if the stack is as the template says already."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        changes = formation.describe_change_set(**whose)
        reason = changes.get("StatusReason", "")
        if changes["Status"] == "CREATE_COMPLETE":
            return True
        if changes["Status"] == "FAILED":
            if any(text in reason for text in UNCHANGED):
                return False
            raise CommandError(f"the stack {whose['StackName']} cannot be deployed: {reason}")
        time.sleep(PAUSE_SECONDS)
    raise CommandError(
        f"the changes of {whose['StackName']} were not found within {DEADLINE_SECONDS} s"
    )


def wait(formation: Any, stack: str) -> None:
    """Waits until the stack is deployed; a failure names the resources and their reasons."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        status = formation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return
        if not status.endswith("_IN_PROGRESS"):
            reasons = "\n".join(failures(formation, stack)) or "no resource says why"
            raise CommandError(f"the deployment of {stack} ended as {status}:\n{reasons}")
        time.sleep(PAUSE_SECONDS)
    raise CommandError(f"{stack} was not deployed within {DEADLINE_SECONDS} s")


def failures(formation: Any, stack: str) -> list[str]:
    """What failed in the stack's deployments, the first failure first."""
    pages = formation.get_paginator("describe_stack_events").paginate(StackName=stack)
    failed = [
        f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', 'no reason')}"
        for page in pages
        for event in page["StackEvents"]
        if event["ResourceStatus"].endswith("_FAILED")
    ]
    return failed[::-1]
