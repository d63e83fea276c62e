"""Encryption, exposure and retention in the rendered template."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.template.rendered import EVERYTHING, KEY, Rendered, load, rendered
from tools.local.commands import REPOSITORY

Properties = dict[str, Any]

DEFAULTS = rendered()
WITH_KEY = rendered(EVERYTHING)
WITHOUT_KEY = rendered({**EVERYTHING, "EncryptionKeyArn": ""})


def of_stream(properties: Properties) -> str:
    assert properties["StreamEncryption"]["EncryptionType"] == "KMS"
    return properties["StreamEncryption"]["KeyId"]


def of_bucket(properties: Properties) -> str:
    (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    default = rule["ServerSideEncryptionByDefault"]
    if default["SSEAlgorithm"] == "aws:kms":
        assert rule["BucketKeyEnabled"] is True
    return default.get("KMSMasterKeyID", default["SSEAlgorithm"])


def of_delivery(properties: Properties) -> str:
    if properties["DeliveryStreamType"] == "KinesisStreamAsSource":
        # Firehose refuses its own encryption for these: the source encrypts.
        source = properties["KinesisStreamSourceConfiguration"]["KinesisStreamARN"]
        return of_stream(WITH_KEY.properties(source.strip("<>").removesuffix(".Arn")))
    chosen = properties["DeliveryStreamEncryptionConfigurationInput"]
    return chosen.get("KeyARN", chosen["KeyType"])


def of_queue(properties: Properties) -> str:
    if "KmsMasterKeyId" in properties:
        assert "SqsManagedSseEnabled" not in properties  # SQS allows only one of the two
        return properties["KmsMasterKeyId"]
    assert properties["SqsManagedSseEnabled"] is True
    return "sqs"


def of_workgroup(properties: Properties) -> str:
    configuration = properties["WorkGroupConfiguration"]
    assert configuration["EnforceWorkGroupConfiguration"] is True
    chosen = configuration["ResultConfiguration"]["EncryptionConfiguration"]
    return chosen.get("KmsKey", chosen["EncryptionOption"])


# The property that names the key of each type that holds data.
ENCRYPTION: dict[str, Callable[[Properties], str | None]] = {
    "AWS::Athena::WorkGroup": of_workgroup,
    "AWS::KinesisFirehose::DeliveryStream": of_delivery,
    "AWS::Kinesis::Stream": of_stream,
    "AWS::Logs::LogGroup": lambda properties: properties.get("KmsKeyId", "logs"),
    "AWS::S3::Bucket": of_bucket,
    "AWS::SNS::Topic": lambda properties: properties["KmsMasterKeyId"],
    "AWS::SQS::Queue": of_queue,
    "AWS::Serverless::Function": lambda properties: properties.get("KmsKeyArn", "lambda"),
}

# Types that hold no events.
HOLD_NO_DATA = {
    "AWS::Athena::NamedQuery",
    "AWS::Budgets::Budget",
    "AWS::CloudWatch::Alarm",
    "AWS::CloudWatch::CompositeAlarm",
    "AWS::CloudWatch::Dashboard",
    "AWS::Glue::Database",
    "AWS::Glue::Table",
    "AWS::IAM::Role",
    "AWS::KMS::Key",
    "AWS::Kinesis::StreamConsumer",
    "AWS::Lambda::EventSourceMapping",
    "AWS::Lambda::Permission",
    "AWS::Logs::LogStream",
    "AWS::S3::BucketPolicy",
    "AWS::SNS::Subscription",
    "AWS::SNS::TopicPolicy",
    "AWS::SQS::QueuePolicy",
}

HELD = [(name, r["Type"]) for name, r in WITH_KEY.resources.items() if r["Type"] in ENCRYPTION]


def test_every_type_is_known_to_hold_data_or_not() -> None:
    assert {r["Type"] for r in WITH_KEY.resources.values()} <= ENCRYPTION.keys() | HOLD_NO_DATA


@pytest.mark.parametrize(("name", "kind"), HELD)
def test_a_customers_key_encrypts_it(name: str, kind: str) -> None:
    assert ENCRYPTION[kind](WITH_KEY.properties(name)) == KEY


@pytest.mark.parametrize(("name", "kind"), HELD)
def test_without_a_key_aws_encrypts_it(name: str, kind: str) -> None:
    chosen = ENCRYPTION[kind](WITHOUT_KEY.properties(name))
    assert chosen in {
        "alias/aws/kinesis",
        "AES256",
        "AWS_OWNED_CMK",
        "SSE_S3",
        "sqs",
        "<AlertKey>",
        # AWS encrypts these by default.
        "lambda",
        "logs",
        KEY if kind == "AWS::KinesisFirehose::DeliveryStream" else None,
    }


def grants(policy: dict[str, Any]) -> dict[str, set[str]]:
    """The actions that a key's policy allows to services."""
    found: dict[str, set[str]] = {}
    for statement in policy["Statement"]:
        service = statement["Principal"].get("Service")
        if service:
            assert statement["Condition"], f"{statement['Sid']} is bound to no account"
            found[service] = set(statement["Action"])
    return found


def test_alarms_can_encrypt_for_the_topic_with_either_key() -> None:
    key = Rendered(load(REPOSITORY / "key.yaml") | {"Parameters": {}}, {}).properties("Key")
    made = DEFAULTS.properties("AlertKey")
    for policy in (key["KeyPolicy"], made["KeyPolicy"]):
        needed = {"kms:Decrypt", "kms:GenerateDataKey"}
        assert grants(policy)["cloudwatch.amazonaws.com"] >= needed
    assert "AlertKey" not in WITH_KEY.resources


def test_the_customers_key_serves_the_logs() -> None:
    key = Rendered(load(REPOSITORY / "key.yaml") | {"Parameters": {}}, {})
    granted = grants(key.properties("Key")["KeyPolicy"])["logs.eu-west-1.amazonaws.com"]
    assert granted >= {"kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"}
    assert key.resources["Key"]["DeletionPolicy"] == "Retain"


BUCKETS = list(DEFAULTS.of("AWS::S3::Bucket"))


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_is_closed_to_the_public(name: str) -> None:
    properties = DEFAULTS.properties(name)
    assert properties["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    assert properties["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_refuses_plain_http(name: str) -> None:
    policies = [p["Properties"] for p in DEFAULTS.of("AWS::S3::BucketPolicy").values()]
    (policy,) = [p["PolicyDocument"] for p in policies if p["Bucket"] == f"<{name}>"]
    refusal = next(s for s in policy["Statement"] if s["Effect"] == "Deny")
    assert refusal["Principal"] == "*"
    assert refusal["Action"] == "s3:*"
    assert refusal["Resource"] == [f"<{name}.Arn>", f"<{name}.Arn>/*"]
    assert refusal["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_outlives_the_stack(name: str) -> None:
    resource = DEFAULTS.resources[name]
    assert resource["DeletionPolicy"] in ("Retain", "RetainExceptOnCreate")
    assert resource["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", BUCKETS)
def test_a_bucket_keeps_versions_where_loss_would_hurt(name: str) -> None:
    versions = DEFAULTS.properties(name).get("VersioningConfiguration", {}).get("Status")
    # A query can be run again to get its results.
    assert versions == (None if name == "QueriesBucket" else "Enabled")


@pytest.mark.parametrize("kind", ["SNS::Topic", "SQS::Queue"])
def test_every_topic_and_queue_refuses_plain_http(kind: str) -> None:
    _, _, name = kind.partition("::")
    refused = {
        resource
        for policy in WITH_KEY.of(f"AWS::{kind}Policy").values()
        for resource in policy["Properties"][f"{name}s"]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if (statement["Effect"], statement["Principal"]) == ("Deny", "*")
        and (name == "Topic" or statement["Action"] == "sqs:*")
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    }
    assert refused == {f"<{name}>" for name in WITH_KEY.of(f"AWS::{kind}")}


def test_the_entrance_demands_signatures_unless_it_is_opened() -> None:
    assert DEFAULTS.properties("IngestFunction")["FunctionUrlConfig"] == {"AuthType": "AWS_IAM"}
    everybody = [
        name
        for name, permission in DEFAULTS.of("AWS::Lambda::Permission").items()
        if permission["Properties"]["Principal"] == "*"
    ]
    assert everybody == []
    opened = rendered({"IngestUrlAuth": "NONE"})
    assert opened.properties("IngestFunction")["FunctionUrlConfig"] == {"AuthType": "NONE"}
    assert "AnybodyPosts" in opened.resources


@pytest.mark.parametrize("name", DEFAULTS.of("AWS::Logs::LogGroup"))
def test_logs_are_kept_for_a_bounded_time(name: str) -> None:
    kept = rendered({"LogRetentionDays": "14"}).properties(name)["RetentionInDays"]
    assert kept == "14"


@pytest.mark.parametrize("name", DEFAULTS.of("AWS::Serverless::Function"))
def test_a_functions_log_is_a_group_of_the_stack_in_json(name: str) -> None:
    logging = DEFAULTS.properties(name)["LoggingConfig"]
    assert logging["LogFormat"] == "JSON"
    assert logging["LogGroup"].strip("<>") in DEFAULTS.of("AWS::Logs::LogGroup")
