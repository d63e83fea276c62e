"""The local cloud makes the metrics that a log declares, and those of its services."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.template.conftest import values
from tools.local.alert_queue import admission
from tools.local.cloud import Cloud
from tools.local.services.kinesis import Shards
from tools.local.services.metrics import QUEUE_SECONDS, Datum, embedded
from tools.local.stack import now, wait_for

TIME = 1_795_900_000_123


def line(**changes: Any) -> str:
    declared = {
        "Namespace": "perishable",
        "Dimensions": [["Dataset", "Function"], []],
        "Metrics": [{"Name": "In", "Unit": "Count"}, {"Name": "Late"}],
    }
    document = {
        "_aws": {"Timestamp": TIME, "CloudWatchMetrics": [declared]},
        "Dataset": "us_accidents",
        "Function": "ingest",
        "In": 7,
        "Late": [1, 2.5],
    }
    return json.dumps(document | changes)


def test_a_line_publishes_each_metric_under_each_set_of_dimensions() -> None:
    of = (("Dataset", "us_accidents"), ("Function", "ingest"))
    assert list(embedded(line())) == [
        Datum("perishable", "In", of, TIME / 1000, "Count", (7.0,)),
        Datum("perishable", "In", (), TIME / 1000, "Count", (7.0,)),
        Datum("perishable", "Late", of, TIME / 1000, "None", (1.0, 2.5)),
        Datum("perishable", "Late", (), TIME / 1000, "None", (1.0, 2.5)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "START RequestId: 1",
        '"_aws"',
        '{"_aws": 1}',
        '{"_aws": {}}',
        line(In="7", Late=None),
        line(_aws={"Timestamp": "now", "CloudWatchMetrics": []}),
    ],
)
def test_other_lines_publish_nothing(text: str) -> None:
    assert list(embedded(text)) == []


def test_a_metric_of_a_log_is_in_cloudwatch(bare: Cloud) -> None:
    logs = bare.client("logs")
    logs.create_log_group(logGroupName="declaring")
    logs.create_log_stream(logGroupName="declaring", logStreamName="one")
    at = round(now().timestamp() * 1000)
    declared = json.loads(line())
    declared["_aws"]["Timestamp"] = at
    event = {"timestamp": at, "message": json.dumps(declared)}
    logs.put_log_events(logGroupName="declaring", logStreamName="one", logEvents=[event])
    of = {"Dataset": "us_accidents", "Function": "ingest"}
    assert values(bare, "perishable", "Late", "Maximum", **of) == [2.5]


def test_a_waiting_message_is_in_the_metrics_of_its_queue(bare: Cloud) -> None:
    sqs = bare.client("sqs")
    url = sqs.create_queue(QueueName="waiting")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="one")
    names = ("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage")

    def published() -> list[list[float]] | None:
        found = [values(bare, "AWS/SQS", name, "Maximum", QueueName="waiting") for name in names]
        return found if all(found) else None

    visible, age = wait_for(published, QUEUE_SECONDS * 2, 0.5, lambda: "nothing is published")
    assert max(visible) == 1
    assert 0 < max(age) <= QUEUE_SECONDS * 2


def test_a_put_counts_for_the_filters_that_it_is_in(bare: Cloud) -> None:
    formation = bare.client("cloudformation")
    bucket = formation.describe_stack_resource(
        StackName=bare.stack, LogicalResourceId="FailuresBucket"
    )["StackResourceDetail"]["PhysicalResourceId"]
    of = {"BucketName": bucket, "FilterId": "Failures"}
    before = sum(values(bare, "AWS/S3", "PutRequests", **of))
    for key in ("aws/lambda/batch", "redriven/batch", "aws/other"):
        bare.client("s3").put_object(Bucket=bucket, Key=key, Body=b"")
    assert sum(values(bare, "AWS/S3", "PutRequests", **of)) == before + 1


def queue(bare: Cloud, name: str, *topics: str) -> tuple[str, str]:
    """The URL and ARN of a queue to which these topics may send."""
    sqs = bare.client("sqs")
    arn = f"arn:aws:sqs:{bare.region}:000000000000:{name}"
    policy = {"Policy": admission(arn, topics)} if topics else {}
    return sqs.create_queue(QueueName=name, Attributes=policy)["QueueUrl"], arn


def test_a_message_that_sns_cannot_deliver_is_counted_and_kept(bare: Cloud) -> None:
    sns, sqs = bare.client("sns"), bare.client("sqs")
    topic = sns.create_topic(Name="undeliverable")["TopicArn"]
    kept, dead_letters = queue(bare, "undeliverable-kept", topic)
    _, refusing = queue(bare, "undeliverable-refusing")
    _, taking = queue(bare, "undeliverable-taking", topic)
    missing = f"arn:aws:lambda:{bare.region}:000000000000:function:missing"
    policy = {"RedrivePolicy": json.dumps({"deadLetterTargetArn": dead_letters})}
    for protocol, endpoint, attributes in (
        ("sqs", refusing, {**policy, "RawMessageDelivery": "true"}),
        ("sqs", taking, policy),
        ("lambda", missing, policy),
    ):
        sns.subscribe(TopicArn=topic, Protocol=protocol, Endpoint=endpoint, Attributes=attributes)
    attribute = {"severity": {"DataType": "Number", "StringValue": "4"}}
    sns.publish(TopicArn=topic, Message="an alert", MessageAttributes=attribute)

    names = ("NumberOfMessagesPublished", "NumberOfNotificationsFailed")
    counted = [sum(values(bare, "AWS/SNS", name, TopicName="undeliverable")) for name in names]
    assert counted == [1, 2]
    messages = sqs.receive_message(
        QueueUrl=kept, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    )["Messages"]
    # One was to be raw.
    raw = [each for each in messages if each["Body"] == "an alert"]
    assert [each["MessageAttributes"]["severity"]["StringValue"] for each in raw] == ["4"]
    others = [json.loads(each["Body"])["Message"] for each in messages if each not in raw]
    assert others == ["an alert"]
    sns.delete_topic(TopicArn=topic)


def test_a_provisioned_shard_refuses_what_is_beyond_its_throughput(bare: Cloud) -> None:
    kinesis = bare.client("kinesis")
    stream = "provisioned"
    kinesis.create_stream(StreamName=stream, ShardCount=1)
    # More than a shard takes in a second, and in two if the request is at the turn of one.
    rows = [{"Data": bytes(600_000), "PartitionKey": str(number)} for number in range(4)]
    answer = kinesis.put_records(StreamName=stream, Records=rows)
    refused = [each["ErrorCode"] for each in answer["Records"] if "ErrorCode" in each]
    assert set(refused) == {"ProvisionedThroughputExceededException"}
    assert len(refused) in (2, 3)
    assert answer["FailedRecordCount"] == len(refused)
    iterator = kinesis.get_shard_iterator(
        StreamName=stream, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    taken = kinesis.get_records(ShardIterator=iterator, Limit=10_000)["Records"]
    assert len(taken) == len(rows) - len(refused)
    counted = [
        sum(values(bare, "AWS/Kinesis", name, StreamName=stream))
        for name in ("IncomingRecords", "WriteProvisionedThroughputExceeded")
    ]
    assert counted == [len(taken), len(refused)]
    kinesis.delete_stream(StreamName=stream)


def test_a_shard_takes_1000_records_or_a_mebibyte_a_second() -> None:
    shards = Shards()
    assert sum(shards.take("s", "0", 1, 7.0) for _ in range(1_500)) == 1_000
    assert shards.take("s", "1", 1, 7.9)
    assert shards.take("s", "0", 1, 8.0)
    assert not shards.take("s", "0", 1024 * 1024, 8.5)
    assert shards.take("s", "0", 1024 * 1024 - 1, 8.5)
    assert not shards.take("s", "0", 1, 8.6)
