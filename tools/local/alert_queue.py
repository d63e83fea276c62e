"""The alerts and alarms of a stack, as a subscriber of its topics gets them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import ClientError

from tools.local.dataset import Dataset
from tools.local.stack import Stack, json_object, timestamp

# A repeat of a message arrives soon after it.
REMEMBERED_MESSAGES = 100_000


@dataclass(frozen=True)
class Alert:
    """What one message to the topic's subscribers says."""

    subject: str
    message: str
    content: dict[str, Any]
    attributes: dict[str, str]
    received: datetime
    message_id: str = ""  # that SNS gave to it

    @property
    def count(self) -> int:
        """How many events the message is about: a digest says so itself."""
        return int(self.content.get("count", 1))

    @property
    def text(self) -> str:
        """The text for people, which a message for machines has in addition to its fields."""
        return str(self.content.get("text", self.message))

    @property
    def ids(self) -> list[str]:
        return [str(event) for event in self.content.get("ids") or [self.attributes["id"]]]


class AlertQueue:
    """A queue subscribed to alerts and alarms, as a department's own system would be."""

    def __init__(
        self, stack: Stack, name: str, filter_policy: dict[str, Any] | None = None
    ) -> None:
        self._sqs, self._sns = stack.client("sqs"), stack.client("sns")
        self._subscriptions: list[str] = []
        self._seen: dict[str, None] = {}
        self.alerts: list[Alert] = []
        self.alarms: list[dict[str, Any]] = []
        alerts = stack.alert_topic
        kind = {}
        if alerts.endswith(".fifo"):
            name, kind = f"{name}.fifo", {"FifoQueue": "true"}
        self.url = self._sqs.create_queue(QueueName=name, Attributes=kind)["QueueUrl"]
        try:
            self._connect(stack, alerts, filter_policy)
        except BaseException:
            self.close()
            raise

    def _connect(self, stack: Stack, alerts: str, filter_policy: dict[str, Any] | None) -> None:
        attributes = self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])[
            "Attributes"
        ]
        # A stack of the release before has one topic for both.
        alarms = stack.outputs.get("AlarmTopicArn", alerts)
        policy = admission(attributes["QueueArn"], [alerts, alarms])
        self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})
        filtered = {"FilterPolicy": json.dumps(filter_policy)} if filter_policy else {}
        self._subscribe(alerts, attributes["QueueArn"], filtered)
        # A standard topic does not deliver to a FIFO queue.
        if alarms != alerts and not alerts.endswith(".fifo"):
            self._subscribe(alarms, attributes["QueueArn"], {})

    def _subscribe(self, topic: str, queue: str, attributes: dict[str, str]) -> None:
        answer = self._sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=queue,
            Attributes=attributes,
            ReturnSubscriptionArn=True,
        )
        self._subscriptions.append(answer["SubscriptionArn"])

    def close(self) -> None:
        """Removes the queue and its subscriptions; the one also if the other fails."""
        with contextlib.ExitStack() as removals:
            removals.callback(self._sqs.delete_queue, QueueUrl=self.url)
            for subscription in self._subscriptions:
                removals.callback(self._unsubscribe, subscription)

    def _unsubscribe(self, subscription: str) -> None:
        try:
            self._sns.unsubscribe(SubscriptionArn=subscription)
        except ClientError as error:
            # It went with its topic.
            if error.response["Error"]["Code"] != "NotFound":
                raise

    def poll(self) -> list[Alert]:
        """Takes in every message that is there and answers all the alerts until now."""
        self.alerts += self.new()
        return self.alerts

    def new(self) -> Iterator[Alert]:
        """Takes in every message that is there and answers the alerts among them."""
        while messages := self._receive():
            for message in messages:
                yield from self._take(message)
            self._sqs.delete_message_batch(
                QueueUrl=self.url,
                Entries=[
                    {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                    for index, message in enumerate(messages)
                ],
            )

    def _receive(self) -> list[dict[str, Any]]:
        answer = self._sqs.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=10,
            MessageSystemAttributeNames=["SentTimestamp"],
        )
        return answer.get("Messages", [])

    def _take(self, message: dict[str, Any]) -> Iterator[Alert]:
        if message["MessageId"] in self._seen:
            return  # a standard queue may deliver a message twice
        self._seen[message["MessageId"]] = None
        if len(self._seen) > REMEMBERED_MESSAGES:
            del self._seen[next(iter(self._seen))]
        envelope = json.loads(message["Body"])
        content = json_object(envelope["Message"])
        if "AlarmName" in content:
            self.alarms.append(content)
            return
        attributes = envelope.get("MessageAttributes", {})
        sent = int(message["Attributes"]["SentTimestamp"]) / 1000
        yield Alert(
            subject=envelope.get("Subject", ""),
            message=envelope["Message"],
            content=content,
            attributes={name: value["Value"] for name, value in attributes.items()},
            received=datetime.fromtimestamp(sent, timezone.utc),
            message_id=envelope["MessageId"],
        )


def admission(queue: str, topics: Sequence[str]) -> str:
    """The policy of a queue to which topics may send."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topics}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def event_to_alert_ms(
    events: Sequence[dict[str, Any]], alerts: Sequence[Alert], dataset: Dataset
) -> list[int]:
    """Milliseconds from an event's stamp on stream 2 to its alert's arrival in the queue, for every
    event that an alert names."""
    stamps = {event[dataset.id]: timestamp(event[dataset.received_at]) for event in events}
    return [
        round((alert.received - stamps[event]).total_seconds() * 1000)
        for alert in alerts
        for event in alert.ids
    ]
