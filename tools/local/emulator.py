"""Where the emulator falls short of AWS, and the template as it can take it.

`template.yaml` is written for AWS only; what has to differ for the local cloud is changed here.
"""

from __future__ import annotations

import copy
from typing import Any

# Resource types that it does not know. One of them, even under a condition that is false, makes the
# whole deployment fail.
UNKNOWN_TYPES = {
    "AWS::Athena::NamedQuery": "queries are run from their files instead",
    "AWS::Budgets::Budget": "nothing costs anything here",
    "AWS::Kinesis::StreamConsumer": "every consumer reads at its own pace anyway",
}

# What it does not count of a mapping.
NO_EVENT_COUNT = "a mapping does not count its events: the emulator has no MetricsConfig"

# Actions that it asks for under a name of its own, in addition to AWS's.
OWN_ACTIONS = {
    "sns:Publish": ("sns:PublishBatch", "AWS knows only the first"),
}

# Actions of the functions' roles for which it takes no request of theirs, and what it does instead.
NOT_REQUESTED = {
    "kinesis:DescribeStream": "its mappings read streams without asking",
    "kinesis:DescribeStreamConsumer": "it has no enhanced fan-out",
    "kinesis:DescribeStreamSummary": "its mappings read streams without asking",
    "kinesis:GetRecords": "its mappings read streams without asking",
    "kinesis:GetShardIterator": "its mappings read streams without asking",
    "kinesis:ListShards": "its mappings read streams without asking",
    "kinesis:SubscribeToShard": "it has no enhanced fan-out",
    "kms:Decrypt": "it encrypts no messages",
    "kms:GenerateDataKey": "it encrypts no messages",
    "logs:CreateLogStream": "it writes the functions' logs itself",
    "logs:PutLogEvents": "it writes the functions' logs itself",
    "s3:ListBucket": "it has no on-failure destinations",
    "s3:PutObject": "it has no on-failure destinations",
    "sqs:DeleteMessage": "its mappings read queues without asking",
    "sqs:GetQueueAttributes": "its mappings read queues without asking",
    "sqs:ReceiveMessage": "its mappings read queues without asking",
    "xray:PutTelemetryRecords": "it traces nothing",
    "xray:PutTraceSegments": "it traces nothing",
}

# A condition that it does not know, and would take for one that does not hold.
UNKNOWN_CONDITION = "s3:ResourceAccount"

# The local cloud itself is reached by plain HTTP, which the buckets and the topic refuse.
TRANSPORT_KEY = "aws:SecureTransport"


def for_emulator(template: dict[str, Any]) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """The template as the emulator takes it, and what differs, each with the resources' names."""
    template = copy.deepcopy(template)
    resources = template["Resources"]
    unknown = {name for name, resource in resources.items() if resource["Type"] in UNKNOWN_TYPES}
    needing: set[str] = set()
    while True:
        missing = unknown | needing
        resources = {name: without(each, missing) for name, each in resources.items()}
        more = {name for name, each in resources.items() if names(each, missing)} - missing
        if not more:
            break
        needing |= more
    template["Resources"] = resources
    differences: dict[str, list[str]] = {}
    for name, resource in list(resources.items()):
        kind, properties = resource["Type"], resource.get("Properties", {})
        texts = []
        if kind in UNKNOWN_TYPES:
            del resources[name]
            texts = [f"there is no {kind}: {UNKNOWN_TYPES[kind]}"]
        elif name in needing:
            del resources[name]
            texts = ["it needs what there is not"]
        elif kind == "AWS::Serverless::Function":
            mappings = [each["Properties"] for each in properties.get("Events", {}).values()]
            counts = [each.pop("MetricsConfig", None) for each in mappings]
            if any(counts):
                texts = [NO_EVENT_COUNT]
        elif kind == "AWS::IAM::Role":
            for policy in properties.get("Policies", []):
                for statement in policy["PolicyDocument"]["Statement"]:
                    texts += widen(statement) if "Action" in statement else []
                    if UNKNOWN_CONDITION in statement.get("Condition", {}).get("StringEquals", {}):
                        del statement["Condition"]
                        texts.append(f"no condition on {UNKNOWN_CONDITION} is checked")
        elif "PolicyDocument" in properties:
            document = properties["PolicyDocument"]
            kept = [statement for statement in document["Statement"] if not refuses_http(statement)]
            if kept != document["Statement"]:
                document["Statement"] = kept
                texts = ["plain HTTP is let in, because the local cloud speaks nothing else"]
            if not kept:
                del resources[name]
        for text in texts:
            differences.setdefault(text, []).append(name)
    return template, differences


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


def widen(statement: dict[str, Any]) -> list[str]:
    """Adds to a role's statement, in place, the actions that the emulator requires too."""
    texts = []
    action = statement["Action"]
    actions = action if isinstance(action, list) else [action]
    for known, (own, reason) in OWN_ACTIONS.items():
        if known in actions:
            statement["Action"] = [*actions, own]
            texts.append(f"{own} is allowed in addition to {known}: {reason}")
    return texts


def refuses_http(statement: dict[str, Any]) -> bool:
    conditions = statement.get("Condition", {})
    return statement["Effect"] == "Deny" and TRANSPORT_KEY in conditions.get("Bool", {})
