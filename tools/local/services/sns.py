"""What SNS does where it cannot deliver: it counts the message, and puts it into the queue of the
subscription's redrive policy.

Sources: SNS developer guide, "Monitoring Amazon SNS topics using CloudWatch" and "Amazon SNS
dead-letter queues".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ministack.services import cloudwatch, lambda_svc, sns, sqs

own_fanout = sns._fanout
own_to_queue = sns._deliver_to_sqs
own_to_function = sns._deliver_to_lambda
own_post = sns._http_post_sync


def install() -> None:
    sns._fanout = fanout
    sns._deliver_to_sqs = to_queue
    sns._deliver_to_lambda = to_function
    sns._http_post_sync = post


def fanout(topic: str, *message: Any, **options: Any) -> None:
    publish(topic, "NumberOfMessagesPublished")
    own_fanout(topic, *message, **options)


def to_queue(
    endpoint: str,
    envelope: str,
    raw: bool,
    raw_message: str,
    *,
    topic_arn: str = "",
    **options: Any,
) -> None:
    if takes(endpoint, topic_arn):
        own_to_queue(endpoint, envelope, raw, raw_message, topic_arn=topic_arn, **options)
        return
    # In a notification that is not raw the attributes are in its text.
    options |= {} if raw else {"message_attributes": {}}
    fail(topic_arn, endpoint, raw_message if raw else envelope, **options)


def to_function(endpoint: str, envelope: str, topic_arn: str, *message: Any) -> None:
    function, _, _ = lambda_svc._get_func_record_for_ref(endpoint)
    if function:
        own_to_function(endpoint, envelope, topic_arn, *message)
    else:
        fail(topic_arn, endpoint, envelope)


def post(endpoint: str, payload: str, kind: str) -> int:
    try:
        return own_post(endpoint, payload, kind)
    except Exception:
        if kind == "Notification":
            for topic in topics_of(endpoint):
                fail(topic, endpoint, payload)
        raise


def takes(queue: str, topic: str) -> bool:
    """Whether a queue is there and lets the topic send."""
    account = topic.split(":")[4]
    return bool(sqs._queue_by_arn(queue)) and sqs.queue_policy_allows(
        queue, "sns.amazonaws.com", topic, account
    )


def fail(topic: str, endpoint: str, message: str, **options: Any) -> None:
    """Counts a message that was not delivered, and puts it into its dead-letter queue."""
    publish(topic, "NumberOfNotificationsFailed")
    for queue in dead_letter_queues(topic, endpoint):
        if takes(queue, topic):
            own_to_queue(queue, message, True, message, topic_arn=topic, **options)
            publish(topic, "NumberOfNotificationsRedrivenToDlq")
        else:
            publish(topic, "NumberOfNotificationsFailedToRedriveToDlq")


def dead_letter_queues(topic: str, endpoint: str) -> Iterator[str]:
    """The queues of the redrive policies of an endpoint's subscriptions."""
    for subscription in subscriptions(topic):
        if subscription.get("endpoint") == endpoint:
            policy = subscription.get("attributes", {}).get("RedrivePolicy") or "{}"
            policy = json.loads(policy) if isinstance(policy, str) else policy
            if queue := policy.get("deadLetterTargetArn"):
                yield queue


def subscriptions(topic: str) -> list[dict[str, Any]]:
    found = sns._topic_by_arn_any_scope(topic)
    return found["subscriptions"] if found else []


def topics_of(endpoint: str) -> list[str]:
    """The topics to which an endpoint is subscribed."""
    return [
        topic["arn"]
        for topic in sns._topics.values()
        if any(each.get("endpoint") == endpoint for each in topic["subscriptions"])
    ]


def publish(topic: str, metric: str) -> None:
    name = topic.rpartition(":")[2]
    cloudwatch.record_metric("AWS/SNS", metric, 1, "Count", {"TopicName": name})
