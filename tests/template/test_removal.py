"""Removing and restoring a stack on the local cloud, with its buckets only."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.ports import free_port
from tests.template.rendered import rendered
from tools.local import cloud, removal, where
from tools.local.functions import environment

TARGET = environment("dev")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """An empty local cloud."""
    free = free_port()
    cloud.start(free, TARGET.region)
    try:
        yield free
    finally:
        cloud.down(free)


@pytest.fixture
def client(port: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in cloud.credentials(port, TARGET.region).items():
        monkeypatch.setenv(name, value)
    return lambda service: cloud.client(service, port, TARGET.region)


@pytest.fixture
def buckets(client: Any) -> dict[str, str]:
    account = client("sts").get_caller_identity()["Account"]
    return removal.bucket_names(TARGET.parameters, TARGET.region, account)


def deploy(client: Any, buckets: dict[str, str]) -> None:
    """A stack of buckets, with objects of several versions in one of them."""
    template = removal.import_template(buckets)
    template["Resources"]["Topic"] = {"Type": "AWS::SNS::Topic"}
    raw = template["Resources"]["RawBucket"]["Properties"]
    raw["VersioningConfiguration"] = {"Status": "Enabled"}
    formation = client("cloudformation")
    formation.create_stack(StackName=TARGET.stack, TemplateBody=json.dumps(template))
    waiter = formation.get_waiter("stack_create_complete")
    waiter.wait(StackName=TARGET.stack, WaiterConfig=removal.OFTEN)
    for body in (b"one", b"two"):
        client("s3").put_object(Bucket=buckets["RawBucket"], Key="events", Body=body)
    client("s3").delete_object(Bucket=buckets["RawBucket"], Key="events")
    client("s3").put_object(Bucket=buckets["RejectsBucket"], Key="rejects", Body=b"{}")


def described(client: Any) -> dict[str, Any] | None:
    stacks = client("cloudformation").describe_stacks()["Stacks"]
    return next((each for each in stacks if each["StackName"] == TARGET.stack), None)


def asked(port: int, action: str, **given: Any) -> argparse.Namespace:
    options = {"env": "dev", "dataset": "us_accidents", "port": port, "local": False}
    return argparse.Namespace(
        action=action, **{**options, "events": "keep", "confirm": TARGET.stack, **given}
    )


def test_names_are_those_of_the_template() -> None:
    names = removal.bucket_names({"Environment": "dev"}, "eu-west-1", "000000000000")
    stack = rendered({"Environment": "dev"})
    assert names == {
        name: bucket["Properties"]["BucketName"]
        for name, bucket in stack.of("AWS::S3::Bucket").items()
    }


def test_a_stack_is_removed_and_restored_with_its_events(
    port: int, client: Any, buckets: dict[str, str]
) -> None:
    deploy(client, buckets)
    with pytest.raises(removal.NotDone, match="is there already"):
        removal.act(asked(port, "restore"))

    with pytest.raises(removal.NotDone, match="nothing was done"):
        removal.act(asked(port, "remove", confirm="us-accidents-prod"))
    assert described(client) is not None

    removal.act(asked(port, "remove"))
    assert described(client) is None
    assert removal.existing(client, buckets) == buckets
    with pytest.raises(removal.NotDone, match="there is no stack"):
        removal.act(asked(port, "remove"))

    removal.act(asked(port, "restore"))
    stack = described(client)
    assert stack is not None
    assert stack["StackStatus"] == "IMPORT_COMPLETE"
    resources = client("cloudformation").describe_stack_resources(StackName=TARGET.stack)
    physical = {each["PhysicalResourceId"] for each in resources["StackResources"]}
    assert physical == set(buckets.values())
    assert sum(map(len, removal.versions(client, buckets["RawBucket"]))) == 3

    removal.act(asked(port, "remove", events="delete"))
    assert described(client) is None
    assert removal.existing(client, buckets) == {}


def test_buckets_that_a_removed_stack_left_are_deleted_later(
    port: int, client: Any, buckets: dict[str, str]
) -> None:
    deploy(client, buckets)
    removal.act(asked(port, "remove"))
    removal.act(asked(port, "remove", events="delete"))
    assert removal.existing(client, buckets) == {}
    with pytest.raises(removal.NotDone, match="has left no buckets"):
        removal.act(asked(port, "restore"))


def test_a_stack_is_restored_after_a_failed_attempt(
    port: int, client: Any, buckets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(client, buckets)
    removal.act(asked(port, "remove"))
    begun = {"StackStatus": "REVIEW_IN_PROGRESS"}
    monkeypatch.setattr(where.Place, "deployed", lambda _: begun)
    removal.act(asked(port, "restore"))
    monkeypatch.undo()
    answer = client("cloudformation").describe_stacks(StackName=TARGET.stack)
    assert answer["Stacks"][0]["StackStatus"] == "IMPORT_COMPLETE"


@pytest.mark.parametrize(
    ("typed", "done"), [("us-accidents-dev", True), ("yes", False), ("", False)]
)
def test_the_stacks_name_must_be_typed(typed: str, done: bool) -> None:
    assert removal.agreed("us-accidents-dev", None, lambda _: typed) is done
