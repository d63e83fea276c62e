"""The Kinesis event source mapping as Lambda documents it, instead of the emulator's, which
ignores what a function reports: a shard continues from the lowest sequence number that is reported,
and a batch whose invocation fails is retried as a whole.

https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from typing import Any

from tests.faults.environment import Environment
from tools.local.runtime_api import Failed

POLL_SECONDS = 0.1
RETRY_SECONDS = 0.1


class Shard:
    """One shard of a stream, worked by one environment."""

    def __init__(
        self, kinesis: Any, arn: str, shard: str, environment: Environment, batch_size: int
    ) -> None:
        self.environment = environment
        self.done = 0  # records that are not retried
        self.error: BaseException | None = None
        self._kinesis = kinesis
        self._arn = arn
        self._shard = shard
        self._batch_size = batch_size
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for batch in self._batches():
                while batch and not self._stop.is_set():
                    first = self._first_to_retry(batch)
                    self.done += first
                    batch = batch[first:]
                    if batch:
                        self._stop.wait(RETRY_SECONDS)
        except BaseException as error:
            self.error = error

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        iterator = self._kinesis.get_shard_iterator(
            StreamARN=self._arn, ShardId=self._shard, ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while not self._stop.is_set():
            answer = self._kinesis.get_records(ShardIterator=iterator, Limit=self._batch_size)
            iterator = answer["NextShardIterator"]
            if answer["Records"]:
                yield answer["Records"]
            else:
                self._stop.wait(POLL_SECONDS)

    def _first_to_retry(self, batch: list[dict[str, Any]]) -> int:
        """The position of the first record that is retried, past the end when none is."""
        try:
            answer = self.environment.invoke({"Records": [self._record(each) for each in batch]})
        except Failed:
            return 0
        failures = answer["batchItemFailures"]
        if not failures:
            return len(batch)
        numbers = [record["SequenceNumber"] for record in batch]
        return min(numbers.index(failure["itemIdentifier"]) for failure in failures)

    def _record(self, record: dict[str, Any]) -> dict[str, Any]:
        return {
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": record["PartitionKey"],
                "sequenceNumber": record["SequenceNumber"],
                "data": base64.b64encode(record["Data"]).decode(),
                "approximateArrivalTimestamp": record["ApproximateArrivalTimestamp"].timestamp(),
            },
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventID": f"{self._shard}:{record['SequenceNumber']}",
            "eventName": "aws:kinesis:record",
            "awsRegion": "eu-west-1",
            "eventSourceARN": self._arn,
        }
