"""An upgrade replaces no resource that holds events or a position in a stream.

CloudFormation replaces a resource whose logical id, type or create-only property changes. Which
properties those are is in the resources' schemas, which cfn-lint brings.
"""

from __future__ import annotations

from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from tests.template.history import NoHistory, earlier_template
from tests.template.rendered import rendered
from tools.local.rendered import PSEUDO, Rendered
from tools.local.template import parse

# Their loss: events, files, the subscribers of alerts, the position in a stream.
STATEFUL = {
    "AWS::Glue::Database",
    "AWS::KMS::Key",
    "AWS::Kinesis::Stream",
    "AWS::KinesisFirehose::DeliveryStream",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SQS::Queue",
}


@pytest.fixture(scope="module")
def earlier() -> Rendered:
    try:
        text, _ = earlier_template()
    except NoHistory as reason:
        pytest.skip(str(reason))
    return Rendered(parse(text), {})


def create_only(resource: dict[str, Any]) -> dict[str, Any]:
    """A resource's properties that cannot be changed without replacing it."""
    region = PSEUDO["AWS::Region"]
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, resource["Type"]).schema
    found = {}
    for pointer in schema.get("createOnlyProperties", []):
        value: Any = resource["Properties"]
        for part in pointer.removeprefix("/properties/").split("/"):
            value = value.get(part, {}) if isinstance(value, dict) else {}
        found[pointer] = value
    return found


def mappings(stack: Rendered) -> dict[str, dict[str, Any]]:
    """The functions' mappings to streams and queues; each remembers how far it has read.

    SAM makes a mapping's logical id of the function's and the event's names.
    """
    return {
        f"{name}{event}": {
            key: source["Properties"].get(key)
            for key in ("Stream", "Queue", "StartingPosition", "StartingPositionTimestamp")
        }
        for name, function in stack.of("AWS::Serverless::Function").items()
        for event, source in function["Properties"].get("Events", {}).items()
    }


def replaced(before: Rendered, after: Rendered) -> list[str]:
    """The stateful resources that an upgrade would replace or remove."""
    found = []
    for name, resource in before.of(*STATEFUL).items():
        now = after.resources.get(name, {"Type": "none"})
        if now["Type"] != resource["Type"] or create_only(now) != create_only(resource):
            found.append(name)
    now_mapped = mappings(after)
    found += [name for name, source in mappings(before).items() if now_mapped.get(name) != source]
    return found


def test_an_upgrade_replaces_nothing_that_holds_state(earlier: Rendered) -> None:
    assert replaced(earlier, rendered()) == []


def test_a_replacement_by_an_upgrade_is_found() -> None:
    before = rendered()
    for name, parameters in {
        "RawStream": {"Environment": "other"},
        "RawBucket": {"Company": "other"},
    }.items():
        assert name in replaced(before, rendered(parameters))
    assert replaced(before, rendered({"EnhancedFanOut": "true"})) == [
        "TransformFunctionRawStream",
        "MetricsFunctionSevereStream",
        "NotifyFunctionSevereStream",
    ]
    assert replaced(before, rendered({"ReplayFrom": "1764000000"})) == []
