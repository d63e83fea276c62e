"""A rehearsal says what the services hold, and who would have received what."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from tests.e2e.conftest import Run
from tools.local import functions
from tools.local.alert_queue import admission
from tools.local.cloud import Cloud
from tools.local.commands import REPOSITORY, shown
from tools.rehearse import setting
from tools.rehearse.setting import Setting

DEPARTMENTS = REPOSITORY / "departments.toml"
SEED = 5
POLICIES = 40
MESSAGES = 60


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    shown([sys.executable, "-m", "tools.setup", "--compile", "rehearsal"])


def rehearsed(command: str, request: dict[str, Any]) -> Any:
    finished = subprocess.run(
        [functions.binary("rehearse"), command],
        input=json.dumps(request).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(finished.stdout)


def of_run(run: Run, *settings: Setting) -> dict[str, Any]:
    request = {"files": [str(run.file)], "settings": [each.request() for each in settings]}
    return rehearsed("run", request)


def counts(table: dict[str, Any]) -> dict[str, int]:
    assert table["others"] == 0
    return dict(table["first"])


def test_a_rehearsal_counts_what_the_services_hold(run: Run) -> None:
    local = setting.read("us_accidents", "local", "", DEPARTMENTS)
    result = of_run(run, local)
    rows, (found,) = result["rows"], result["settings"]
    assert rows["accepted"] == len(run.raw_events)
    assert rows["rejected"] == len(run.refused)
    reasons = {reason: number for reason, number, _ in rows["rejects"]}
    assert reasons == Counter(run.refused.values())
    assert found["severe"]["events"] == len(run.severe_events) == sum(run.metric_sums.values())
    assert found["severe"]["series"][1]["all"] >= found["severe"]["series"][1]["most"] > 0
    assert found["alerts"]["events"] == sum(alert.count for alert in run.alerts)
    assert found["alerts"]["events"] == sum(len(row["ids"]) for row in run.alert_rows)
    ids = [event for alert in run.alerts for event in alert.ids]
    severities = {event["ID"]: event["Severity"] for event in run.severe_events}
    by_severity = Counter(str(int(severities[event])) for event in ids)
    assert counts(found["alerts"]["by_severity"]) == by_severity


@pytest.mark.parametrize("above", [1, 2, 4])
def test_another_threshold_counts_the_events_above_it(run: Run, above: int) -> None:
    text = f"NotifySeverityAbove={above} TransformSeverityAbove=1"
    changed = setting.read("us_accidents", "local", text, DEPARTMENTS)
    usual = setting.read("us_accidents", "local", "", DEPARTMENTS)
    result = of_run(run, changed, usual)
    found = result["settings"][0]
    expected = [row for row in run.rows if float(row["Severity"]) > above]
    assert found["severe"]["events"] == len(run.above(1))
    assert found["alerts"]["events"] == len(expected)
    gained, lost = result["difference"]["only"]
    both = min(len(expected), len(run.above(3)))
    assert result["difference"]["both"] == both
    assert (gained["events"], lost["events"]) == (
        len(expected) - both,
        len(run.above(3)) - both,
    )


# ----------------------------------------------------------------------------------- policies

NAMES = ["Franklin", "Lucas", "Los Angeles", "franklin", "Doña Ana", ""]
NUMBERS = [-97.5, 0, 3, 4, 4.5, 32.6]
Attributes = dict[str, dict[str, str]]


def attributes(chance: random.Random) -> Attributes:
    """The attributes of a message: one value of each, or several, or none."""
    found = {"id": {"DataType": "String", "StringValue": "A-1"}}
    for name, values, kind in [("county", NAMES[:-1], "String"), ("severity", NUMBERS, "Number")]:
        match chance.randrange(4):
            case 0:
                continue
            case 1:
                several = chance.sample(values, 2)
                found[name] = {"DataType": "String.Array", "StringValue": json.dumps(several)}
            case _:
                found[name] = {"DataType": kind, "StringValue": str(chance.choice(values))}
    return found


def rule(chance: random.Random, name: str) -> Any:
    number, text = chance.choice(NUMBERS), chance.choice(NAMES[:-1])
    if chance.random() < 0.1:
        return {"exists": chance.random() < 0.5}
    if name == "severity":
        low, high = sorted(chance.sample(NUMBERS, 2))
        return chance.choice(
            [
                number,
                {"numeric": [chance.choice(["=", "<", "<=", ">", ">="]), number]},
                {"numeric": [">=", low, "<", high]},
                {"anything-but": chance.sample(NUMBERS, 2)},
            ]
        )
    part = text[: chance.randrange(1, 4)]
    return chance.choice(
        [
            text,
            {"prefix": part},
            {"suffix": text[-2:]},
            {"equals-ignore-case": text.upper()},
            {"anything-but": chance.sample(NAMES[:-1], 2)},
            {"anything-but": {"prefix": part}},
        ]
    )


def policy(chance: random.Random, depth: int = 1) -> dict[str, Any]:
    if depth and chance.random() < 0.3:
        return {"$or": [policy(chance, 0), policy(chance, 0)]}
    names = chance.choice([["county"], ["severity"], ["county", "severity"]])
    return {name: [rule(chance, name) for _ in range(chance.randint(1, 2))] for name in names}


def admitted_by_sns(
    local: Cloud, policies: list[dict[str, Any]], messages: list[Attributes]
) -> list[set[int]]:
    """The messages that SNS delivers under each policy, by their places."""
    sns, sqs = local.client("sns"), local.client("sqs")
    topic = sns.create_topic(Name="rehearsal")["TopicArn"]
    queues = []
    for place, each in enumerate(policies):
        queue = sqs.create_queue(QueueName=f"rehearsal-{place}")["QueueUrl"]
        asked = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        arn = asked["Attributes"]["QueueArn"]
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": admission(arn, [topic])})
        sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"FilterPolicy": json.dumps(each), "RawMessageDelivery": "true"},
        )
        queues.append(queue)
    for place, each in enumerate(messages):
        sns.publish(TopicArn=topic, Message=str(place), MessageAttributes=each)
    received = []
    for queue in queues:
        of_queue: set[int] = set()
        while batch := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            of_queue |= {int(message["Body"]) for message in batch}
        received.append(of_queue)
        sqs.delete_queue(QueueUrl=queue)
    sns.delete_topic(TopicArn=topic)
    return received


def test_filter_policies_admit_what_sns_delivers(local: Cloud) -> None:
    chance = random.Random(SEED)
    policies = [policy(chance) for _ in range(POLICIES)]
    messages = [attributes(chance) for _ in range(MESSAGES)]
    published = [
        [
            {"name": name, "type": each["DataType"], "value": each["StringValue"]}
            for name, each in message.items()
        ]
        for message in messages
    ]
    found = rehearsed("policies", {"policies": policies, "messages": published})
    expected = admitted_by_sns(local, policies, messages)
    for each, admits, delivered in zip(policies, found, expected):
        for place, admitted in enumerate(admits):
            assert admitted == (place in delivered), (each, published[place])
    delivered = sum(map(len, expected))
    assert POLICIES * MESSAGES / 10 < delivered < POLICIES * MESSAGES * 9 / 10
