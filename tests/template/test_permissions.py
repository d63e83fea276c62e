"""Each role's actions are those that its function's code calls, and those that AWS needs to run it.

Which of them fails by name once it is taken away is shown on the local cloud, by `tests/e2e`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from commands import REPOSITORY
from rendered import EVERYTHING, Rendered, rendered

ALL = rendered(EVERYTHING)

FUNCTIONS = ["ingest", "transform", "metrics", "notify"]

# Where a function's `main` uses one of these, the calls of its file are the function's.
SHARED_ADAPTERS = {
    "Stream::new": "kinesis.rs",
    "DeliveryStream::new": "firehose.rs",
    "Namespace::new": "cloudwatch.rs",
}

ACTION = re.compile(r'action: "([a-z0-9]+:[A-Za-z]+)"')

KINESIS_MAPPING = {
    "kinesis:DescribeStream",
    "kinesis:DescribeStreamSummary",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
}

# What AWS does in a role's name beside the code, by statement.
# Source: Lambda developer guide, "Define Lambda function permissions with an execution role" and
# the pages of its event sources; Firehose developer guide, "Grant Firehose access to an Amazon S3
# destination".
ON_BEHALF: dict[str, set[str]] = {
    # Lambda writes the function's log.
    "Log": {"logs:CreateLogStream", "logs:PutLogEvents"},
    # Lambda polls the stream, or the queue, and keeps what failed for good.
    "ReadStream": KINESIS_MAPPING,
    "ReadAsConsumer": {"kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"},
    "ReadQueue": {"sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"},
    "KeepFailures": {"s3:PutObject"},
    "FindFailures": {"s3:ListBucket"},
    # The environment of the function sends its traces.
    "Trace": {"xray:PutTelemetryRecords", "xray:PutTraceSegments"},
    # Kinesis, S3, SQS and SNS encrypt and decrypt for whoever calls them.
    "UseKey": {"kms:Decrypt", "kms:GenerateDataKey"},
    "EncryptAlerts": {"kms:Decrypt", "kms:GenerateDataKey"},
    # Firehose reads its stream, writes its objects, and logs why it could not.
    "ListBucket": {"s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"},
    "WriteObjects": {"s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"},
    "LogErrors": {"logs:PutLogEvents"},
    "ReadSchema": {"glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"},
}

# Firehose reads a stream without the summary.
FIREHOSE_READS = KINESIS_MAPPING - {"kinesis:DescribeStreamSummary"}


def statements(stack: Rendered, role: str) -> list[dict[str, Any]]:
    (policy,) = stack.properties(role)["Policies"]
    return policy["PolicyDocument"]["Statement"]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def role_of(function: str) -> str:
    return f"{function.capitalize()}Role"


def called(function: str) -> set[str]:
    """The actions that a function's code calls, by the names that its error sentences give them."""
    sources = [*(REPOSITORY / "functions" / function / "src").glob("*.rs")]
    main = (REPOSITORY / "functions" / function / "src" / "main.rs").read_text(encoding="utf-8")
    for adapter, file in SHARED_ADAPTERS.items():
        if re.search(rf"\b{adapter}", main):
            sources.append(REPOSITORY / "shared" / "src" / "aws" / file)
    return {
        action
        for source in sources
        for action in ACTION.findall(source.read_text(encoding="utf-8").split("#[cfg(test)]")[0])
    }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_exactly_what_its_code_calls(function: str) -> None:
    granted = {
        action
        for statement in statements(ALL, role_of(function))
        if statement["Sid"] not in ON_BEHALF
        for action in listed(statement["Action"])
    }
    assert granted == called(function)


ROLES = list(ALL.of("AWS::IAM::Role"))


@pytest.mark.parametrize("role", ROLES)
def test_what_aws_does_in_a_roles_name_is_what_its_guides_ask_for(role: str) -> None:
    for statement in statements(ALL, role):
        expected = ON_BEHALF.get(statement["Sid"])
        if role == "RawDeliveryRole" and statement["Sid"] == "ReadStream":
            expected = FIREHOSE_READS
        if expected is not None:
            assert set(listed(statement["Action"])) == expected
        else:
            assert role in map(role_of, FUNCTIONS), f"nobody needs {statement['Sid']}"


@pytest.mark.parametrize("role", ROLES)
def test_nothing_is_wildcarded_without_need(role: str) -> None:
    for statement in statements(ALL, role):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in listed(statement["Action"]))
        if "*" not in listed(statement["Resource"]):
            continue
        # Actions that know no resources.
        if statement["Action"] == "cloudwatch:PutMetricData":
            namespace = {"cloudwatch:namespace": "accidents_reports_namespace"}
            assert statement["Condition"] == {"StringEquals": namespace}
        else:
            assert statement["Sid"] == "Trace"


@pytest.mark.parametrize("role", ROLES)
def test_a_key_is_used_through_the_services_alone(role: str) -> None:
    for statement in statements(ALL, role):
        if statement["Sid"] == "UseKey":
            services = statement["Condition"]["StringEquals"]["kms:ViaService"]
            assert all(service.endswith(".eu-west-1.amazonaws.com") for service in services)


OPTIONAL = {"UseKey", "Trace", "ReadAsConsumer"}


@pytest.mark.parametrize("role", ROLES)
def test_an_option_that_is_off_grants_nothing(role: str) -> None:
    assert not OPTIONAL & {statement["Sid"] for statement in statements(rendered(), role)}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_assumed_by_its_service_alone(role: str) -> None:
    document = rendered().properties(role)["AssumeRolePolicyDocument"]
    (statement,) = document["Statement"]
    service = "firehose" if role.endswith("DeliveryRole") else "lambda"
    assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
