"""Takes a stack down, and brings it back.

    python -m tools.local.removal remove --env dev                  # all but the buckets
    python -m tools.local.removal remove --env dev --events delete  # these too, every version
    python -m tools.local.removal restore --env dev                 # a stack with those buckets

Each says what it would do and asks for the stack's name first.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from botocore.exceptions import WaiterError

from tools.local import cloud, functions, where
from tools.local.commands import Parser, run, say
from tools.local.problems import sentence
from tools.local.template import defaults_of

# Objects of one request. Source: S3 API reference, DeleteObjects and ListObjectVersions.
OBJECTS = 1_000

# How CloudFormation is asked whether it has finished: every two seconds, for an hour at most.
OFTEN = {"Delay": 2, "MaxAttempts": 1_800}

Client = Callable[[str], Any]


class NotDone(Exception):
    """Why nothing was done, or not all of it."""


def bucket_names(parameters: dict[str, str], region: str, account: str) -> dict[str, str]:
    """The buckets of a stack by their logical ids, as the template names them."""
    template = functions.load(functions.TEMPLATE)
    values = defaults_of(template) | parameters
    values |= {"AWS::Region": region, "AWS::AccountId": account}
    found = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::S3::Bucket":
            text = resource["Properties"]["BucketName"]["Fn::Sub"]
            for key, value in values.items():
                text = text.replace(f"${{{key}}}", value)
            found[name] = text
    return found


def existing(client: Client, buckets: dict[str, str]) -> dict[str, str]:
    """Those of the buckets that are there, in this account."""
    owned = {each["Name"] for each in client("s3").list_buckets()["Buckets"]}
    return {name: bucket for name, bucket in buckets.items() if bucket in owned}


def versions(client: Client, bucket: str) -> Iterator[list[dict[str, str]]]:
    """Every version of every object and every mark of a deletion, in portions of one request."""
    pages = (
        client("s3")
        .get_paginator("list_object_versions")
        .paginate(Bucket=bucket, PaginationConfig={"PageSize": OBJECTS})
    )
    for page in pages:
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        if found:
            yield [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in found]


def delete_bucket(client: Client, bucket: str) -> int:
    """Deletes a bucket with every version in it, and answers how many there were."""
    s3, deleted = client("s3"), 0
    for objects in versions(client, bucket):
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
        if errors := answer.get("Errors"):
            first = errors[0]
            raise NotDone(f"{bucket}: {first['Key']} was not deleted: {first['Code']}")
        deleted += len(objects)
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", []):
            s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])
    s3.delete_bucket(Bucket=bucket)
    return deleted


def remove(client: Client, stack: str, there: bool, buckets: dict[str, str], events: bool) -> None:
    """Deletes the stack, which leaves its buckets, and then these if their events may go too."""
    formation = client("cloudformation")
    if there:
        say(f"stack: deleting {stack}")
        formation.delete_stack(StackName=stack)
        try:
            waiter = formation.get_waiter("stack_delete_complete")
            waiter.wait(StackName=stack, WaiterConfig=OFTEN)
        except WaiterError as error:
            raise NotDone(
                f"{stack} was not deleted; its events in CloudFormation say why, and a second run "
                "continues"
            ) from error
    for bucket in existing(client, buckets).values():
        if events:
            count = delete_bucket(client, bucket)
            say(f"bucket: {bucket} is deleted with {count:,} versions of objects")
        else:
            say(f"bucket: {bucket} is kept")


def import_template(buckets: dict[str, str]) -> dict[str, Any]:
    """A template of the buckets only: an import takes what is there and makes nothing new."""
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "The buckets of a stack that was taken down; the next deployment adds the "
        "rest.",
        "Resources": {
            name: {
                "Type": "AWS::S3::Bucket",
                "DeletionPolicy": "Retain",
                "UpdateReplacePolicy": "Retain",
                "Properties": {"BucketName": bucket},
            }
            for name, bucket in buckets.items()
        },
    }


def restore(client: Client, stack: str, buckets: dict[str, str]) -> None:
    """Makes a stack that has the buckets, by an import; a deployment then adds the rest to it."""
    # A name of its own for each attempt: CloudFormation keeps the change set of one that failed.
    formation, change_set = client("cloudformation"), f"restore-{int(time.time())}"
    formation.create_change_set(
        StackName=stack,
        ChangeSetName=change_set,
        ChangeSetType="IMPORT",
        TemplateBody=json.dumps(import_template(buckets)),
        ResourcesToImport=[
            {
                "ResourceType": "AWS::S3::Bucket",
                "LogicalResourceId": name,
                "ResourceIdentifier": {"BucketName": bucket},
            }
            for name, bucket in buckets.items()
        ],
    )
    try:
        formation.get_waiter("change_set_create_complete").wait(
            StackName=stack, ChangeSetName=change_set, WaiterConfig=OFTEN
        )
        formation.execute_change_set(StackName=stack, ChangeSetName=change_set)
        formation.get_waiter("stack_import_complete").wait(StackName=stack, WaiterConfig=OFTEN)
    except WaiterError as error:
        raise NotDone(
            f"{stack} did not take the buckets; its events in CloudFormation say why"
        ) from error
    say(f"stack: {stack} has its {len(buckets)} buckets again; `make deploy` adds the rest")


def plan(action: str, place: where.Place, buckets: dict[str, str], events: bool) -> list[str]:
    """What would be done, in sentences."""
    names = "\n".join(f"  {bucket}" for bucket in buckets.values()) or "  none"
    if action == "restore":
        return [f"makes {place} with the buckets that are there:", names]
    first = f"deletes {place}, with its streams, functions, tables, topics, queues and logs"
    if events:
        return [
            first,
            "and DELETES EVERY EVENT, all versions of all objects, with the buckets:",
            names,
        ]
    return [first, "and keeps the buckets with the events:", names]


def agreed(stack: str, given: str | None, ask: Callable[[str], str] = input) -> bool:
    """Whether whoever runs this has typed the stack's name, there and then or as an option."""
    if given is not None:
        return given == stack
    try:
        return ask(f"Type {stack} to go on: ").strip() == stack
    except EOFError:
        return False


def act(arguments: argparse.Namespace) -> None:
    target = functions.environment(arguments.env or where.DEFAULT_ENVIRONMENT, arguments.dataset)
    place = where.place_of(arguments)
    place.announce()
    client, events = place.client, arguments.events == "delete"
    account = client("sts").get_caller_identity()["Account"]
    buckets = existing(client, bucket_names(target.parameters, place.region, account))
    stack = place.deployed()
    # A stack whose first change set was never carried out has no resources.
    is_there = stack is not None and stack["StackStatus"] != "REVIEW_IN_PROGRESS"
    if arguments.action == "restore" and is_there:
        raise NotDone(f"{place.stack} is there already: {stack['StackStatus']}")
    if arguments.action == "restore" and not buckets:
        raise NotDone(f"{place.stack} has left no buckets; `make deploy` makes a new one")
    if arguments.action == "remove" and stack is None and not (buckets and events):
        raise NotDone(f"there is no stack {place.stack}")
    say("\n".join(plan(arguments.action, place, buckets, events)))
    if not agreed(place.stack, arguments.confirm):
        raise NotDone("nothing was done, because the stack's name was not confirmed")
    if arguments.action == "restore":
        restore(client, place.stack, buckets)
    else:
        remove(client, place.stack, stack is not None, buckets, events)


def main() -> int:
    parser = Parser(description="take a stack down, or bring it back")
    parser.add_argument("action", choices=["remove", "restore"])
    where.add_options(parser)
    parser.add_argument("--events", choices=["keep", "delete"], default="keep")
    parser.add_argument("--confirm", help="the stack's name, instead of the question")
    try:
        act(parser.parse_args())
    except (NotDone, *where.PROBLEMS) as error:
        say(f"error: {sentence(error)}")
        return 1
    return 0


if __name__ == "__main__":
    run(main, cloud.left_running)
