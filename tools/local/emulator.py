"""The template as the emulator can take it.

`template.yaml` is written for AWS only; what has to differ for the local cloud is changed here, and
listed in docs/LOCAL_DIFFERENCES.md.
"""

from __future__ import annotations

import copy
from typing import Any

# Resource types that it does not know, one of which makes the whole deployment fail.
UNKNOWN_TYPES = {
    "AWS::Athena::NamedQuery",
    "AWS::Budgets::Budget",
    "AWS::Kinesis::StreamConsumer",
}

# Actions that it asks for under a name of its own, for which AWS asks for the first.
OWN_ACTIONS = {"sns:Publish": "sns:PublishBatch"}

# Actions of the functions' roles for which it takes no request of theirs, and what it does instead.
NOT_REQUESTED = {
    "kinesis:DescribeStream": "the mappings list shards instead",
    "kinesis:DescribeStreamConsumer": "it has no enhanced fan-out",
    "kinesis:DescribeStreamSummary": "the mappings list shards instead",
    "kinesis:SubscribeToShard": "it has no enhanced fan-out",
    "kms:Decrypt": "it encrypts no messages",
    "kms:GenerateDataKey": "it encrypts no messages",
    "logs:CreateLogStream": "the root user writes the functions' logs",
    "logs:PutLogEvents": "the root user writes the functions' logs",
    "s3:ListBucket": "the mappings put objects without a look at the bucket",
    "sqs:GetQueueAttributes": "the mappings need none of them",
    "xray:PutTelemetryRecords": "it traces nothing",
    "xray:PutTraceSegments": "it traces nothing",
}

# The local cloud itself is reached by plain HTTP, which the buckets and the topic refuse.
TRANSPORT_KEY = "aws:SecureTransport"


def for_emulator(template: dict[str, Any]) -> dict[str, Any]:
    """The template as the emulator takes it."""
    template = copy.deepcopy(template)
    resources = template["Resources"]
    missing = {name for name, resource in resources.items() if resource["Type"] in UNKNOWN_TYPES}
    while True:
        resources = {name: without(each, missing) for name, each in resources.items()}
        needing = {name for name, each in resources.items() if names(each, missing)} - missing
        if not needing:
            break
        missing |= needing
    template["Resources"] = {
        name: resource
        for name, resource in resources.items()
        if name not in missing and takes(resource)
    }
    return template


def takes(resource: dict[str, Any]) -> bool:
    """Changes a resource, in place, into what the emulator takes; false if nothing is left."""
    kind, properties = resource["Type"], resource.get("Properties", {})
    if kind == "AWS::Serverless::Function":
        for event in properties.get("Events", {}).values():
            event["Properties"].pop("MetricsConfig", None)
    elif kind == "AWS::IAM::Role":
        for policy in properties.get("Policies", []):
            for statement in policy["PolicyDocument"]["Statement"]:
                widen(statement)
    elif "PolicyDocument" in properties:
        document = properties["PolicyDocument"]
        document["Statement"] = [each for each in document["Statement"] if not refuses_http(each)]
        return bool(document["Statement"])
    return True


def without(value: Any, missing: set[str]) -> Any:
    """A value whose choices have been made where one of their sides needs a missing resource."""
    if isinstance(value, list):
        return [without(each, missing) for each in value]
    if not isinstance(value, dict):
        return value
    if "Fn::If" in value:
        condition, *sides = (without(each, missing) for each in value["Fn::If"])
        left = [side for side in sides if not names(side, missing)]
        return left[0] if len(left) == 1 else {"Fn::If": [condition, *sides]}
    return {key: without(each, missing) for key, each in value.items()}


def names(value: Any, resources: set[str]) -> bool:
    """Whether a value refers to one of the resources."""
    if isinstance(value, list):
        return any(names(each, resources) for each in value)
    if not isinstance(value, dict):
        return False
    attribute = value.get("Fn::GetAtt")
    if attribute is not None:
        name = attribute if isinstance(attribute, str) else attribute[0]
        return name.partition(".")[0] in resources
    return value.get("Ref") in resources or any(names(each, resources) for each in value.values())


def widen(statement: dict[str, Any]) -> None:
    """Adds to a role's statement, in place, the actions that the emulator requires too."""
    action = statement.get("Action", [])
    actions = action if isinstance(action, list) else [action]
    if own := [OWN_ACTIONS[each] for each in actions if each in OWN_ACTIONS]:
        statement["Action"] = [*actions, *own]


def refuses_http(statement: dict[str, Any]) -> bool:
    conditions = statement.get("Condition", {})
    return statement["Effect"] == "Deny" and TRANSPORT_KEY in conditions.get("Bool", {})
