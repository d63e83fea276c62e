"""The on-failure destination of a mapping from a stream.

https://docs.aws.amazon.com/lambda/latest/dg/kinesis-on-failure-destination.html
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tools.local.mapping.cloudwatch import Metrics
from tools.local.mapping.rules import RETRY_ATTEMPTS_EXHAUSTED, Record


@dataclass(frozen=True)
class Destination:
    """The bucket to which discarded batches go, with their events."""

    mapping: dict[str, Any]
    client: Any  # of S3, in the name of the function's role
    metrics: Metrics
    say: Callable[[str], None]

    @property
    def bucket(self) -> str | None:
        on_failure = (self.mapping.get("DestinationConfig") or {}).get("OnFailure") or {}
        arn = str(on_failure.get("Destination") or "")
        return arn.rpartition(":")[2] if arn.startswith("arn:") and ":s3:" in arn else None

    def put(
        self, shard: str, records: Sequence[Record], reason: str, attempts: int, event: bytes
    ) -> None:
        """Writes the record of a discarded batch; without a destination it is dropped."""
        mapping, count = self.mapping["UUID"], len(records)
        lost = f"{count} records of {shard} are lost ({reason}): "
        if self.bucket is None:
            self.say(f"{lost}mapping {mapping} has no destination on S3")
            self.metrics.count_mapping("DroppedEventCount", count, mapping)
            return
        now = datetime.now(timezone.utc)
        key = key_of(mapping, shard, now)
        body = invocation_record(self.mapping, shard, records, reason, attempts, event, now)
        try:
            self.client.put_object(Bucket=self.bucket, Key=key, Body=json.dumps(body).encode())
        except (BotoCoreError, ClientError) as error:
            self.say(f"{lost}{error}")
            function = self.mapping["FunctionArn"].split(":")[6]
            self.metrics.count("DestinationDeliveryFailures", 1, function)
            self.metrics.count_mapping("DroppedEventCount", count, mapping)
            return
        self.say(f"{count} records of {shard} are in s3://{self.bucket}/{key}: {reason}")
        self.metrics.count_mapping("OnFailureDestinationDeliveredEventCount", count, mapping)


def key_of(mapping: str, shard: str, now: datetime) -> str:
    return f"aws/lambda/{mapping}/{shard}/{now:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{uuid.uuid4()}"


def invocation_record(
    mapping: dict[str, Any],
    shard: str,
    records: Sequence[Record],
    reason: str,
    attempts: int,
    event: bytes,
    now: datetime,
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": mapping["FunctionArn"],
            "condition": reason,
            "approximateInvokeCount": attempts,
        },
        "responseContext": {
            "statusCode": 200,
            "executedVersion": "$LATEST",
            "functionError": "Unhandled" if reason == RETRY_ATTEMPTS_EXHAUSTED else None,
        },
        "version": "1.0",
        "timestamp": stamp(now.timestamp() * 1e3),
        "KinesisBatchInfo": {
            "shardId": shard,
            "startSequenceNumber": records[0].number,
            "endSequenceNumber": records[-1].number,
            "approximateArrivalOfFirstRecord": stamp(records[0].arrived_ms),
            "approximateArrivalOfLastRecord": stamp(records[-1].arrived_ms),
            "batchSize": len(records),
            "streamArn": mapping["EventSourceArn"],
        },
        # The whole event, as a text; only S3 gets it.
        "payload": event.decode(),
    }
    return record


def stamp(milliseconds: float) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1e3, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
