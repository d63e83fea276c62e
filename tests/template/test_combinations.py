"""Facts that hold for any parameters: every pair of values, as SAM translates them."""

from __future__ import annotations

import copy
import itertools
import json
import os
import re
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest
from samtranslator.translator.transform import transform

from tests.template.rendered import KEY, TEMPLATE, defaults, emitted, load, rendered
from tests.template.test_permissions import granted, needed
from tests.template.watched import of_cloudwatch, read_by
from tools.local import checks
from tools.local.functions import FUNCTIONS
from tools.local.rendered import PSEUDO, Rendered

# Values that add, remove or change resources, and the longest names that are allowed.
VALUES: dict[str, list[str]] = {
    "Environment": ["dev", "abcdefgh"],
    "Company": ["perishable", "abcdefghijklmno"],
    "Dataset": ["us_accidents", "abcdefghij_lmnopqrst"],
    "EncryptionKeyArn": ["", KEY],
    "EnhancedFanOut": ["false", "true"],
    "ReplayFrom": ["0", "1795900000"],
    "PackRanges": ["0", "16"],
    "FifoAlerts": ["false", "true"],
    "AlertEmail": ["", "alerts@example.com"],
    "AlarmEmail": ["", "alarms@example.com"],
    "MonthlyBudgetDollars": ["0", "100"],
    "Tracing": ["PassThrough", "Active"],
    "IngestUrlAuth": ["AWS_IAM", "NONE"],
    "IngestReservedConcurrency": ["0", "5"],
    "StreamMode": ["ON_DEMAND", "PROVISIONED"],
    "LakeExpireAfterDays": ["0", "400"],
    "FailuresExpireAfterDays": ["0", "30"],
    "TransformSeverityAbove": ["2", "0"],
}

# Characters of a name. Source: the quotas of each service.
LONGEST = {
    ("AWS::S3::Bucket", "BucketName"): 63,
    ("AWS::Lambda::Function", "FunctionName"): 64,
    ("AWS::Lambda::Function", "Description"): 256,
    ("AWS::Kinesis::Stream", "Name"): 128,
    ("AWS::Kinesis::StreamConsumer", "ConsumerName"): 128,
    ("AWS::KinesisFirehose::DeliveryStream", "DeliveryStreamName"): 64,
    ("AWS::SQS::Queue", "QueueName"): 80,
    ("AWS::SNS::Topic", "TopicName"): 256,
    ("AWS::SNS::Topic", "DisplayName"): 100,
    ("AWS::CloudWatch::Alarm", "AlarmName"): 255,
    ("AWS::CloudWatch::Alarm", "AlarmDescription"): 1024,
    ("AWS::CloudWatch::CompositeAlarm", "AlarmName"): 255,
    ("AWS::CloudWatch::CompositeAlarm", "AlarmRule"): 10_240,
    ("AWS::CloudWatch::Dashboard", "DashboardName"): 255,
    ("AWS::Athena::WorkGroup", "Name"): 128,
    ("AWS::Logs::LogGroup", "LogGroupName"): 512,
}

# Bytes of a template. Source: CloudFormation quotas.
TEMPLATE_BYTES = 1_000_000

DESCRIBED = load(TEMPLATE)
DEFAULTS = defaults(DESCRIBED)


def allowed(given: dict[str, str]) -> bool:
    """Whether the template's rules allow a combination."""
    return not list(checks.broken_rules(DESCRIBED["Rules"], DEFAULTS | given))


@cache
def rules_of_pair(one: tuple[str, str], other: tuple[str, str]) -> bool:
    return allowed({"BudgetEmail": "costs@example.com", **dict([one, other])})


def pairwise() -> list[dict[str, str]]:
    """Combinations in which every allowed pair of values occurs."""
    items = [[(name, value) for value in values] for name, values in VALUES.items()]
    left = {
        pair
        for one, other in itertools.combinations(items, 2)
        for pair in itertools.product(one, other)
        if rules_of_pair(*pair)
    }
    found = []
    while left:
        chosen: dict[str, str] = dict(min(left))
        for name, values in VALUES.items():
            if name in chosen:
                continue
            free = [
                value
                for value in values
                if all(rules_of_pair(pair, (name, value)) for pair in chosen.items())
            ]
            chosen[name] = max(free, key=lambda value: gain(left, chosen, name, value))
        ordered = [(name, chosen[name]) for name in VALUES]
        left -= set(itertools.combinations(ordered, 2))
        found.append({**chosen, "BudgetEmail": "costs@example.com"})
    return found


def gain(left: set[Any], chosen: dict[str, str], name: str, value: str) -> int:
    order = list(VALUES)
    pairs = (
        tuple(sorted([item, (name, value)], key=lambda each: order.index(each[0])))
        for item in chosen.items()
    )
    return sum(pair in left for pair in pairs)


COMBINATIONS = pairwise()


@cache
def _translated(dataset: str) -> str:
    template = copy.deepcopy(DESCRIBED)
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/functions.zip"
    with patch.dict(os.environ, {"AWS_DEFAULT_REGION": PSEUDO["AWS::Region"]}):
        return json.dumps(transform(template, DEFAULTS | {"Dataset": dataset}, NoPolicies()))


class NoPolicies:
    """The stack names no managed policy, so none is looked up."""

    def load(self) -> dict[str, str]:
        return {}


def translated(given: dict[str, str]) -> Rendered:
    """The stack as CloudFormation gets it from SAM, with its parameters filled in."""
    return Rendered(json.loads(_translated(given["Dataset"])), given)


@pytest.fixture(params=COMBINATIONS, ids=range(len(COMBINATIONS)))
def given(request: pytest.FixtureRequest) -> dict[str, str]:
    return request.param


def references(resource: dict[str, Any]) -> set[str]:
    """The resources that one refers to or depends on."""
    depends = resource.get("DependsOn", [])
    named = set(re.findall(r"<([A-Z][A-Za-z0-9]+)(?:\.[A-Za-z.]+)?>", json.dumps(resource)))
    return named | set([depends] if isinstance(depends, str) else depends)


def test_every_pair_that_the_rules_allow_occurs() -> None:
    assert all(allowed(each) for each in COMBINATIONS)
    assert 5 < len(COMBINATIONS) < 40
    refused = {"PackRanges": "16", "EnhancedFanOut": "true"}
    assert not any(refused.items() <= each.items() for each in COMBINATIONS)


def test_references_exist_without_cycles(given: dict[str, str]) -> None:
    resources = translated(given).resources
    waits = {name: references(resource) - {name} for name, resource in resources.items()}
    for name, others in waits.items():
        assert others <= resources.keys(), f"{name} refers to {others - resources.keys()}"
    done: set[str] = set()
    while ready := {name for name, others in waits.items() if others <= done and name not in done}:
        done |= ready
    assert done == resources.keys(), f"a circle among {sorted(resources.keys() - done)}"


def test_names_are_within_their_limits(given: dict[str, str]) -> None:
    stack, seen = translated(given), set()
    for name, resource in stack.resources.items():
        for key, value in resource.get("Properties", {}).items():
            if limit := LONGEST.get((resource["Type"], key)):
                seen.add((resource["Type"], key))
                assert 0 < len(value) <= limit, f"{name}.{key}: {len(value)} characters"
    assert len(seen) >= len(LONGEST) - 1  # consumers are an option
    assert len(_translated(given["Dataset"])) < TEMPLATE_BYTES


def test_roles_have_what_they_need_and_nothing_else(given: dict[str, str]) -> None:
    stack = rendered(given)
    for role in stack.of("AWS::IAM::Role"):
        assert granted(stack, role) == needed(stack, role), role
    # SAM adds no role or policy of its own.
    assert set(translated(given).of("AWS::IAM::Role")) == set(stack.of("AWS::IAM::Role"))


def existing(stack: Rendered) -> dict[str, set[str]]:
    """The allowed values of each dimension of a metric."""

    def named(kind: str, key: str) -> set[str]:
        return {each["Properties"][key] for each in stack.of(kind).values()}

    filters = {
        each["Id"]
        for bucket in stack.of("AWS::S3::Bucket").values()
        for each in bucket["Properties"].get("MetricsConfigurations", [])
    }
    counted = {
        f"<{name}>"
        for name, mapping in stack.of("AWS::Lambda::EventSourceMapping").items()
        if mapping["Properties"].get("MetricsConfig") == {"Metrics": ["EventCount"]}
    }
    return {
        "FunctionName": named("AWS::Lambda::Function", "FunctionName"),
        "StreamName": named("AWS::Kinesis::Stream", "Name"),
        "DeliveryStreamName": named("AWS::KinesisFirehose::DeliveryStream", "DeliveryStreamName"),
        "QueueName": named("AWS::SQS::Queue", "QueueName"),
        "TopicName": named("AWS::SNS::Topic", "TopicName"),
        "BucketName": {f"<{name}>" for name in stack.of("AWS::S3::Bucket")},
        "FilterId": filters,
        "EventSourceMappingUUID": counted,
        "Function": set(FUNCTIONS),
    }


def test_alarms_and_panels_watch_what_is_deployed(given: dict[str, str]) -> None:
    stack = translated(given)
    known = existing(stack)
    watched = [
        (name, metric["Namespace"], metric["MetricName"], dimensions_of(metric))
        for name, alarm in stack.of("AWS::CloudWatch::Alarm").items()
        for metric in read_by(alarm["Properties"])
    ]
    body = json.loads(stack.properties("Dashboard")["DashboardBody"])
    for widget in body["widgets"]:
        for line in widget["properties"].get("metrics", []):
            if not isinstance(line[0], dict):
                namespace, metric, *rest = line[:-1]
                pairs = dict(zip(rest[::2], rest[1::2]))
                watched.append((widget["properties"]["title"], namespace, metric, pairs))
    assert len(list(of_cloudwatch(body))) > 50
    assert len(watched) > 100
    for where, namespace, metric, pairs in watched:
        assert (namespace, metric, frozenset(pairs)) in emitted(), f"{where}: {metric}"
        for name, value in pairs.items():
            assert value in known.get(name, {value}), f"{where}: no {name} {value}"
    has_key = bool(given["EncryptionKeyArn"])
    assert any(metric.startswith("KMSKey") for _, _, metric, _ in watched) == has_key


def dimensions_of(metric: dict[str, Any]) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in metric["Dimensions"]}
