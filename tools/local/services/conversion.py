"""Records of JSON as rows of a Glue table, and as Parquet, by the rules of Firehose.

The deserialiser is the OpenX JSON SerDe. Source of what it reads as a timestamp:
https://docs.aws.amazon.com/firehose/latest/dev/record-format-conversion.html
"""

from __future__ import annotations

import json
import math
import re
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
from ministack.services import firehose

from tools.local.services.athena import LONGEST_LINE, literal

Row = dict[str, Any]

# The two forms of a timestamp as text, each with up to nine digits of a fraction. One without a
# zone, or with another than Z, is not among them.
WITH_ZONE = re.compile(r"(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}:\d{2})(\.\d{1,9})?Z", re.ASCII)
WITHOUT_ZONE = re.compile(r"(\d{4}-\d{1,2}-\d{1,2}) (\d{2}:\d{2}:\d{2})(\.\d{1,9})?", re.ASCII)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# An epoch time of more digits than seconds have until the year 2286 is in milliseconds.
MILLISECONDS_FROM = 10**10


def rows_of(data: bytes, columns: Sequence[dict[str, str]], serde: dict[str, Any]) -> list[Row]:
    """The rows of a record, which may hold several objects one after the other.

    Raises the emulator's `_DeliveryError`, with Firehose's code and message.
    """
    insensitive = serde.get("CaseInsensitive", True)
    dots = serde.get("ConvertDotsInJsonKeysToUnderscores", False)
    keys = serde.get("ColumnToJsonKeyMappings") or {}
    rows = []
    for document in firehose._json_documents(data):
        values = {}
        for key, value in document.items():
            name = key.replace(".", "_") if dots else key
            values[name.lower() if insensitive else name] = value
        row = {}
        for column in columns:
            name = column["Name"]
            key = keys.get(name, name)
            value = values.get(key.lower() if insensitive else key)
            row[name] = None if value is None else cell(value, column["Type"])
        rows.append(row)
    return rows


def cell(value: Any, kind: str) -> Any:
    """A value of JSON as one of a column's type."""
    reader = READERS.get(kind.lower())
    if reader is None:
        raise firehose._conversion_error("unsupported")
    try:
        return reader(value)
    except (ValueError, OverflowError):
        raise firehose._conversion_error("mismatch") from None


def text(value: Any) -> str:
    found = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    found.encode()  # half a character, which JSON can escape, is an error
    return found


def whole(bits: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise ValueError("not a whole number")
        if isinstance(value, str) and not WHOLE.fullmatch(value):
            raise ValueError("not a whole number")
        number = int(value)
        if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
            raise ValueError(f"not a number of {bits} bits")
        return number

    return read


def fraction(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a number")
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise ValueError("not a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.lower() == "true"  # as Java reads it
    raise ValueError("not a boolean")


def timestamp(value: Any) -> str:
    """A time in UTC, as DuckDB reads it."""
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        found = WITH_ZONE.fullmatch(value) or WITHOUT_ZONE.fullmatch(value)
        if found is None:
            raise ValueError("not a timestamp")
        day, time, part = found.groups()
        year, month, date = day.split("-")
        # Times that do not exist are refused, too.
        moment = datetime.fromisoformat(f"{year}-{month:>02}-{date:>02} {time}")
        return f"{moment:%Y-%m-%d %H:%M:%S}{part or ''}"
    number = fraction(value)
    seconds = number / 1000 if abs(number) >= MILLISECONDS_FROM else number
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S.%f}"


READERS: dict[str, Callable[[Any], Any]] = {
    "bigint": whole(64),
    "boolean": boolean,
    "double": fraction,
    "int": whole(32),
    "string": text,
    "timestamp": timestamp,
}


def parquet(rows: Sequence[Row], columns: Sequence[dict[str, str]], compression: str) -> bytes:
    """One file with the rows."""
    types = ", ".join(
        f"{literal(each['Name'])}: {literal(firehose._hive_to_duckdb_type(each['Type']))}"
        for each in columns
    )
    with tempfile.TemporaryDirectory() as folder:
        lines, file = Path(folder) / "rows.json", Path(folder) / "rows.parquet"
        with lines.open("w", encoding="utf-8") as output:
            output.writelines(json.dumps(row) + "\n" for row in rows)
        with duckdb.connect() as connection:
            connection.execute(
                f"copy (select * from read_json({literal(str(lines))}, "
                f"format = 'newline_delimited', columns = {{{types}}}, "
                f"maximum_object_size = {LONGEST_LINE})) "
                f"to {literal(str(file))} (format parquet, compression {compression.lower()})"
            )
        return file.read_bytes()
