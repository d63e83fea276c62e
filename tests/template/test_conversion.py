"""Rows come of records as Firehose's deserialiser reads them, and what it refuses is refused."""

from __future__ import annotations

import io
import json
import random
from datetime import datetime
from typing import Any

import pyarrow.parquet
import pytest
from ministack.services import firehose

from tests.template.rendered import rendered
from tools.local.services.conversion import parquet, rows_of

COLUMNS = [
    {"Name": "id", "Type": "string"},
    {"Name": "count", "Type": "int"},
    {"Name": "large", "Type": "bigint"},
    {"Name": "share", "Type": "double"},
    {"Name": "flag", "Type": "boolean"},
    {"Name": "at", "Type": "timestamp"},
]


def refused(data: bytes, serde: dict[str, Any] | None = None) -> str:
    with pytest.raises(firehose._DeliveryError) as error:
        rows_of(data, COLUMNS, serde or {})
    assert error.value.output_type == "format-conversion-failed"
    return error.value.code


def read(**values: Any) -> dict[str, Any]:
    (row,) = rows_of(json.dumps(values).encode(), COLUMNS, {})
    return {name: row[name] for name in values}


# Source: https://docs.aws.amazon.com/firehose/latest/dev/record-format-conversion.html
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2017-02-07T15:13:01.39256Z", "2017-02-07 15:13:01.39256"),
        ("2017-02-07T15:13:01Z", "2017-02-07 15:13:01"),
        ("2017-02-07 15:13:01.14", "2017-02-07 15:13:01.14"),
        ("2017-2-7 15:13:01", "2017-02-07 15:13:01"),
        (1518033528, "2018-02-07 19:58:48.000000"),
        (1518033528123, "2018-02-07 19:58:48.123000"),
        (1518033528.123, "2018-02-07 19:58:48.123000"),
        ("1518033528", "2018-02-07 19:58:48.000000"),
    ],
)
def test_documented_timestamps_are_read(value: Any, expected: str) -> None:
    assert read(at=value) == {"at": expected}


@pytest.mark.parametrize(
    "value",
    [
        "2016-02-08T00:37:00",
        "2016-02-08T00:37:00+00:00",
        "2016-02-08T00:37:00.1234567891Z",
        "2016-02-08",
        "2016-02-30 00:00:00",
        "08/02/2016 00:37:00",
        "",
        True,
        [],
    ],
)
def test_other_timestamps_are_refused(value: Any) -> None:
    assert refused(json.dumps({"at": value}).encode()) == "DataFormatConversion.MalformedData"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"count": 1}, {"count": 1}),
        ({"count": "12"}, {"count": 12}),
        ({"large": 2**40}, {"large": 2**40}),
        ({"share": 1}, {"share": 1.0}),
        ({"share": "0.5"}, {"share": 0.5}),
        ({"flag": "True"}, {"flag": True}),
        ({"flag": "yes"}, {"flag": False}),
        ({"id": 7}, {"id": "7"}),
        ({"id": {"a": "ñ"}}, {"id": '{"a": "ñ"}'}),
        ({"id": None}, {"id": None}),
    ],
)
def test_values_become_those_of_the_columns_type(
    values: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert read(**values) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"count": 2**31},
        {"count": 1.5},
        {"count": "x"},
        {"count": True},
        {"share": "x"},
        {"flag": 1},
    ],
)
def test_a_value_of_another_type_is_refused(values: dict[str, Any]) -> None:
    assert refused(json.dumps(values).encode()) == "DataFormatConversion.MalformedData"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "DataFormatConversion.MalformedData"),
        (b" \n", "DataFormatConversion.MalformedData"),
        (b"{", "DataFormatConversion.ParseError"),
        (b"\xff", "DataFormatConversion.ParseError"),
        (b"7", "DataFormatConversion.MalformedData"),
        (b'[{"id": "a"}]', "DataFormatConversion.MalformedData"),
    ],
)
def test_what_is_not_an_object_is_refused(data: bytes, code: str) -> None:
    assert refused(data) == code


def test_keys_are_read_without_their_case_and_unknown_ones_are_dropped() -> None:
    (row,) = rows_of(b'{"ID": "a", "Other": 1}', COLUMNS, {})
    assert row["id"] == "a"
    assert "other" not in row
    assert rows_of(b'{"ID": "a"}', COLUMNS, {"CaseInsensitive": False})[0]["id"] is None
    mapped = {"ColumnToJsonKeyMappings": {"id": "Number"}}
    assert rows_of(b'{"number": "a"}', COLUMNS, mapped)[0]["id"] == "a"
    dots = {"ConvertDotsInJsonKeysToUnderscores": True}
    assert rows_of(b'{"a.b": "x"}', [{"Name": "a_b", "Type": "string"}], dots) == [{"a_b": "x"}]


def test_a_record_may_hold_several_objects() -> None:
    rows = rows_of(b'{"id": "a"}{"id": "b"}\n{"id": "c"}', COLUMNS, {})
    assert [row["id"] for row in rows] == ["a", "b", "c"]


def test_the_template_asks_for_no_other_types() -> None:
    tables = rendered().of("AWS::Glue::Table").values()
    (columns,) = [
        table["Properties"]["TableInput"]["StorageDescriptor"]["Columns"]
        for table in tables
        if table["Properties"]["TableInput"]["Name"] == "us_accidents_analytical"
    ]
    (row,) = rows_of(b"{}", columns, {})
    assert set(row.values()) == {None}
    values = {"string": "x", "int": 1, "bigint": 1, "double": 1, "boolean": True, "timestamp": 1}
    rows_of(
        json.dumps({each["Name"]: values[each["Type"]] for each in columns}).encode(), columns, {}
    )


def test_parquet_holds_every_row_with_the_columns_types() -> None:
    random.seed(1)
    rows = []
    for number in range(300):
        rows += rows_of(
            json.dumps(
                {
                    "id": random.choice((None, "ñ \"'\\ \n", "x" * number, str(number))),
                    "count": random.choice((None, number, -number)),
                    "large": random.choice((None, 2**62, -(2**63))),
                    "share": random.choice((None, number / 7, 1e300)),
                    "flag": random.choice((None, True, False)),
                    "at": random.choice((None, "2016-02-08T00:37:00.123456Z", 1518033528)),
                }
            ).encode(),
            COLUMNS,
            {},
        )
    table = pyarrow.parquet.read_table(io.BytesIO(parquet(rows, COLUMNS, "SNAPPY")))
    assert [str(field.type) for field in table.schema] == [
        "string",
        "int32",
        "int64",
        "double",
        "bool",
        "timestamp[us]",
    ]
    for row in rows:
        row["at"] = row["at"] and datetime.fromisoformat(row["at"])
    assert table.to_pylist() == rows


HOSTILE = [
    "\x00",
    "\ud800",
    "a\x00b",
    "\U0001f600",
    "1_0",
    " 1",
    "\u0661",
    "nan",
    "Infinity",
    "-0",
    "1e400",
    "9" * 400,
    "0001-01-01 00:00:00",
    "9999-12-31 23:59:59.999999999",
    "2016-02-08 24:00:00",
    float("nan"),
    float("-inf"),
    10**400,
    -(10**15),
    1e308,
    {"a": float("nan")},
    ["\ud800"],
    "x" * 300_000,
]


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column["Name"])
def test_what_is_not_refused_can_be_written(column: dict[str, str]) -> None:
    written = 0
    for value in HOSTILE:
        try:
            rows = rows_of(json.dumps({column["Name"]: value}).encode(), [column], {})
        except firehose._DeliveryError:
            continue
        found = pyarrow.parquet.read_table(io.BytesIO(parquet(rows, [column], "SNAPPY")))
        assert found.num_rows == 1
        assert found.to_pylist()[0][column["Name"]] is not None, value
        written += 1
    assert written
