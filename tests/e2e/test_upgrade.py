"""An upgrade from the previous template while events are in flight."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.ports import free_port
from tests.template.history import NoHistory, earlier_template
from tools.local import cloud
from tools.local.alert_queue import AlertQueue
from tools.local.cloud import Cloud
from tools.local.functions import Environment, load, local_environment
from tools.local.stack import Stack, wait_for
from tools.local.template import parse

UPGRADE_PORT = free_port()

# Between three events and the next: no more than the emulator's Firehose keeps up with.
PAUSE_SECONDS = 0.3
DEADLINE_SECONDS = 120

STATEFUL = ("AWS::Kinesis::Stream", "AWS::S3::Bucket", "AWS::SNS::Topic", "AWS::SQS::Queue")


def earlier_build(local: Environment, built: Path, directory: Path) -> tuple[Environment, Path]:
    """The earlier template with this build's functions and its own parameters."""
    try:
        text, version = earlier_template()
    except NoHistory as reason:
        pytest.skip(str(reason))
    template, now = parse(text), load(built)["Resources"]
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = str(
                built.parent / now[name]["Properties"]["CodeUri"]
            )
    path = directory / f"template-{version}.json"
    path.write_text(json.dumps(template))
    known = {k: v for k, v in local.parameters.items() if k in template["Parameters"]}
    return Environment(local.name, local.stack, local.region, known), path


def physical_ids(upgraded: Cloud) -> dict[str, str]:
    pages = upgraded.client("cloudformation").get_paginator("list_stack_resources")
    return {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=upgraded.stack)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] in STATEFUL
    }


@pytest.fixture
def earlier(local: Cloud, tmp_path: Path) -> Iterator[Cloud]:
    """A separate cloud with the earlier stack; `local` has built the functions."""
    environment = local_environment()
    built = cloud.built_template()
    before, template = earlier_build(environment, built, tmp_path)
    cloud.down(UPGRADE_PORT)
    cloud.start(UPGRADE_PORT, environment.region)
    try:
        cloud.deploy(UPGRADE_PORT, before, template)
        yield cloud.connect(UPGRADE_PORT)
    finally:
        cloud.down(UPGRADE_PORT)


class Sender:
    """Sends events to ingest until stopped, and repeats those that were not accepted."""

    def __init__(self, upgraded: Cloud) -> None:
        self._lambda = upgraded.client("lambda")
        self._function = upgraded.outputs["IngestFunctionName"]
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.taken: dict[str, int] = {}  # severity by id

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join()

    def _send(self) -> None:
        for number in itertools.count():
            records = [
                {"ID": f"upgrade-{number}-{severity}", "Severity": severity, "County": "None"}
                for severity in (2, 3, 4)
            ]
            while not self._took(records):
                if self._enough.wait(PAUSE_SECONDS):
                    return
            self.taken.update({record["ID"]: record["Severity"] for record in records})
            if self._enough.wait(PAUSE_SECONDS):
                return

    def _took(self, records: list[dict[str, Any]]) -> bool:
        try:
            answer = self._lambda.invoke(
                FunctionName=self._function, Payload=json.dumps({"records": records})
            )
        except (BotoCoreError, ClientError):
            return False  # it is being replaced
        payload = json.loads(answer["Payload"].read())
        return "FunctionError" not in answer and payload["accepted"] == len(records)


def test_an_upgrade_loses_no_event_in_flight(earlier: Cloud) -> None:
    stack = Stack.of(earlier)
    severe, alerts = stack.severe_stream(), AlertQueue(stack, "upgrade-alerts")
    before = physical_ids(earlier)
    with Sender(earlier) as sender:
        # Events in flight when the upgrade begins went through the earlier ingest.
        wait_for(
            lambda: severe.poll() or None, DEADLINE_SECONDS, 0.1, lambda: "nothing came through"
        )
        already = len(sender.taken)
        built = cloud.built_template()
        cloud.deploy(UPGRADE_PORT, local_environment(), built)
        meanwhile = len(sender.taken)
        wait_for(
            lambda: len(sender.taken) > meanwhile or None,
            DEADLINE_SECONDS,
            0.1,
            lambda: "nothing was taken after the upgrade",
        )
    assert already < meanwhile, "nothing was taken during the upgrade"

    above = {
        severity: {event for event, value in sender.taken.items() if value > severity}
        for severity in (0, 2, 3)
    }
    expected = {
        "raw": above[0],
        "on stream 2": above[2],
        "analytical": above[2],
        "alerted": above[3],
    }
    found: dict[str, set[Any]] = {}

    def through() -> bool | None:
        # Sets, since an invocation that the upgrade cuts short is retried.
        found.update(
            {
                "raw": ids_in(stack, "RawTableName"),
                "on stream 2": {event["ID"] for event in severe.poll()},
                "analytical": ids_in(stack, "AnalyticalTableName"),
                "alerted": {event for alert in alerts.poll() for event in alert.ids},
            }
        )
        return True if found == expected else None

    wait_for(through, DEADLINE_SECONDS, 1, lambda: f"{missing(expected, found)} did not arrive")
    after = physical_ids(cloud.connect(UPGRADE_PORT))
    assert {name: after.get(name) for name in before} == before


def ids_in(stack: Stack, table: str) -> set[str | None]:
    return {row[0] for row in stack.query(f"select id from {stack.outputs[table]}").rows}


def missing(expected: dict[str, set[Any]], found: dict[str, set[Any]]) -> dict[str, set[Any]]:
    return {stage: expected[stage] - found[stage] for stage in expected}
