"""Mappings from SQS queues.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.local.mapping import rules
from tools.local.mapping.kinesis import Invokes

# Lambda begins with five batches at the same time.
BATCHES = 5
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
MOST_RECEIVED = 10
WAIT_SECONDS = 1
TROUBLE_SECONDS = 1.0

Message = dict[str, Any]


@dataclass(frozen=True)
class Queue:
    """A queue and its function."""

    mapping: dict[str, Any]
    function: Invokes
    client: Any  # of SQS, in the name of the function's role
    url: str
    say: Callable[[str], None]
    result: Callable[[str], None]  # takes the mapping's `LastProcessingResult`

    def receive(self, most: int, wait: int) -> list[Message]:
        answer = self.client.receive_message(
            QueueUrl=self.url,
            MaxNumberOfMessages=min(most, MOST_RECEIVED),
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        return answer.get("Messages", [])

    def process(self, batch: list[Message]) -> None:
        """Invokes the function, and deletes what is done; the rest becomes visible again when the
        queue's visibility timeout has passed."""
        event = json.dumps({"Records": [self._event_record(message) for message in batch]})
        answer = self.function.invoke(event.encode())
        failed = self._failed(answer, [message["MessageId"] for message in batch])
        if isinstance(answer, rules.FunctionError):
            self.say(f"{self.function.name} failed: {answer.text[:500]}")
        self.result("PROBLEM: Function call failed" if len(failed) == len(batch) else "OK")
        done = [message for message in batch if message["MessageId"] not in failed]
        for message in done:
            # One by one: the emulator makes an action of its own of a batch.
            self.client.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])

    def _failed(self, answer: rules.InvocationResult, ids: list[str]) -> set[str]:
        if not isinstance(answer, rules.Succeeded):
            return set(ids)
        if not self.mapping.get("FunctionResponseTypes"):
            return set()
        failed = rules.reported(answer.payload, ids)
        return set(ids) if failed is None else failed

    def _event_record(self, message: Message) -> dict[str, Any]:
        arn = self.mapping["EventSourceArn"]
        attributes = message.get("MessageAttributes", {})
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": {name: camel(value) for name, value in attributes.items()},
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": arn,
            "awsRegion": arn.split(":")[3],
        }


def camel(attribute: dict[str, Any]) -> dict[str, Any]:
    """A message's attribute under the names that it has in an event."""
    return {
        name[0].lower() + name[1:]: value.decode("latin-1") if isinstance(value, bytes) else value
        for name, value in attribute.items()
    }


class SqsMapping:
    """A mapping from a queue to a function."""

    def __init__(self, queue: Queue) -> None:
        self.error: BaseException | None = None
        self._queue = queue
        self._stopping = threading.Event()
        batches = 1 if queue.url.endswith(".fifo") else BATCHES
        self._free = threading.Semaphore(batches)
        self._pool = ThreadPoolExecutor(batches, thread_name_prefix=queue.function.name)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def tend(self) -> None:
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                with self._free:
                    pass  # no message is received that nobody could process
                try:
                    batch = self._gather()
                except (BotoCoreError, ClientError) as error:
                    self._trouble(error)
                    continue
                if batch:
                    self._free.acquire()
                    self._pool.submit(self._process, batch)
        except BaseException as error:
            self.error = error

    def _gather(self) -> list[Message]:
        """The messages that are there; with a window, those that come until it ends, too."""
        size = self._queue.mapping["BatchSize"]
        window = self._queue.mapping.get("MaximumBatchingWindowInSeconds") or 0
        batch = self._queue.receive(size, WAIT_SECONDS)
        until = time.monotonic() + window
        while batch and len(batch) < size and time.monotonic() < until:
            batch += self._queue.receive(size - len(batch), WAIT_SECONDS)
        return batch

    def _process(self, batch: list[Message]) -> None:
        try:
            self._queue.process(batch)
        except (BotoCoreError, ClientError) as error:
            self._trouble(error)
        except BaseException as error:
            self.error = error
        finally:
            self._free.release()

    def _trouble(self, error: BotoCoreError | ClientError) -> None:
        if not self._stopping.is_set():
            self._queue.say(f"{self._queue.url}: {error}")
            self._queue.result(f"PROBLEM: {error}")
            self._stopping.wait(TROUBLE_SECONDS)
