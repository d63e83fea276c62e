"""The local Firehose splits aggregated records as the reference implementation does."""

from __future__ import annotations

import base64
import hashlib
import random
from datetime import datetime, timezone

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

from tools.local.kpl import DIGEST_BYTES, MAGIC, user_records


def aggregate(payloads: list[bytes]) -> bytes:
    aggregator = RecordAggregator()
    for number, payload in enumerate(payloads):
        aggregator.add_user_record(f"key {number}", payload, str(number) if number % 2 else None)
    return aggregator.clear_and_get().get_contents()[2]


def test_records_are_those_of_the_reference_implementation() -> None:
    random.seed(1)
    for _ in range(100):
        payloads = [random.randbytes(random.randint(1, 400)) for _ in range(random.randint(1, 40))]
        packed = aggregate(payloads)
        assert user_records(packed) == payloads
        record = {
            "Data": packed,
            "PartitionKey": "key",
            "SequenceNumber": "1",
            "ApproximateArrivalTimestamp": datetime.now(timezone.utc),
        }
        read = iter_deaggregate_records([record], "Boto3")
        assert user_records(packed) == [base64.b64decode(each["kinesis"]["data"]) for each in read]


def test_other_records_stay_as_they_are() -> None:
    for data in (b"", b"{}", MAGIC, MAGIC + b"x" * 40, bytes(100)):
        assert user_records(data) == [data]


def test_a_damaged_aggregate_stays_as_it_is() -> None:
    random.seed(2)
    packed = aggregate([b"one", b"two" * 100, b"three"])
    body = packed[len(MAGIC) : -DIGEST_BYTES]
    for _ in range(500):
        at = random.randrange(len(packed))
        damaged = packed[:at] + bytes([packed[at] ^ (1 + random.randrange(255))]) + packed[at + 1 :]
        assert user_records(damaged) == [damaged]
        cut = body[: random.randrange(1, len(body))]
        sealed = MAGIC + cut + hashlib.md5(cut).digest()
        # A body that was cut between two records is still an aggregate, of fewer records.
        assert user_records(sealed) in ([sealed], [], [b"one"], [b"one", b"two" * 100])
