"""The user records of an aggregated record of the Kinesis Producer Library.

Source: https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

MAGIC = bytes.fromhex("f3899ac2")
DIGEST_BYTES = 16

# Protobuf: https://protobuf.dev/programming-guides/encoding/
RECORDS_FIELD = 3  # of the aggregate
DATA_FIELD = 3  # of a record in it
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5


def user_records(data: bytes) -> list[bytes]:
    """The records in an aggregate; a record that is not one, or a damaged one, as it is."""
    body = data[len(MAGIC) : -DIGEST_BYTES]
    digest = data[-DIGEST_BYTES:]
    if not data.startswith(MAGIC) or not body or hashlib.md5(body).digest() != digest:
        return [data]
    try:
        return [payload(record) for number, record in fields(body) if number == RECORDS_FIELD]
    except (ValueError, IndexError):
        return [data]


def payload(record: bytes) -> bytes:
    for number, value in fields(record):
        if number == DATA_FIELD:
            return value
    raise ValueError("a record without data")


def fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The fields of a message that have a length, by their numbers."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        kind = tag & 7
        if kind == VARINT:
            _, at = varint(message, at)
            continue
        if kind == DELIMITED:
            length, at = varint(message, at)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"unknown wire type {kind}")
        if at + length > len(message):
            raise ValueError("a field that is cut off")
        if kind == DELIMITED:
            yield tag >> 3, message[at : at + length]
        at += length


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a place, and where it ends."""
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
