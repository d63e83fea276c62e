"""Runs one Athena query in the deployed stack and prints the answer as a table.

    python -m tools.local.query --sql "select count(*) from us_accidents_raw"
    python -m tools.local.query --file datasets/us_accidents/queries/severe_by_county.sql

The stack is the one that `make deploy` goes to; it is the local cloud's where that is asked for, or
where no AWS credentials are configured.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table
from rich.text import Text

from tools.local import cloud, where
from tools.local.commands import Parser, console, run, say
from tools.local.dataset import Dataset
from tools.local.problems import sentence
from tools.local.stack import QueryFailed, QueryResult, Stack

NUMBERS = {"tinyint", "smallint", "integer", "bigint", "float", "real", "double", "decimal"}

# A table that goes to a file or a pipe is not folded to a terminal's width.
UNFOLDED_WIDTH = 10_000

# A cell is not folded to fewer characters in a table of a terminal.
READABLE = 14

# A number that a parameter of the stack sets, as in `> 3 -- NotifySeverityAbove`.
PARAMETER = re.compile(r"\b\d+(?= -- ([A-Z]\w+)$)", re.MULTILINE)


class QueryNotAsked(Exception):
    """Why there is no answer: no query, or one that failed."""


def statement(arguments: argparse.Namespace) -> str:
    sql = arguments.sql
    if arguments.file:
        try:
            sql = arguments.file.read_text(encoding="utf-8")
        except OSError as error:
            raise QueryNotAsked(f"cannot read FILE={arguments.file}: {error.strerror}") from error
    if not sql or not sql.strip():
        raise QueryNotAsked(
            'there is no query; give SQL="select …" or FILE=datasets/…/queries/….sql'
        )
    return sql.strip().removesuffix(";")


def with_parameters(sql: str, parameters: Mapping[str, str]) -> str:
    """The query with the deployed values of the parameters that it names."""
    return PARAMETER.sub(lambda found: parameters.get(found[1], found[0]), sql)


def find_stack(arguments: argparse.Namespace) -> tuple[where.Place, Stack]:
    """The stack that the options name, and where it is."""
    place = where.place_of(arguments)
    place.announce()
    return place, Stack(Dataset.load(place.dataset), place.outputs(), place.client)


def shown(result: QueryResult, width: int) -> Table | Text:
    """A table, or each row as lines of `column: value` where the columns would be too narrow."""
    if wide(result) > width:
        return as_lines(result)
    return as_table(result)


def wide(result: QueryResult) -> int:
    """The width that a table needs, with cells folded at a length that can still be read."""
    columns = zip(result.columns, *result.rows)
    return sum(min(READABLE, max(len(cell or "") for cell in column)) + 3 for column in columns) + 1


def as_lines(result: QueryResult) -> Text:
    name = max(map(len, result.columns))
    rows = [
        "\n".join(f"{column:>{name}}: {cell or ''}" for column, cell in zip(result.columns, row))
        for row in result.rows
    ]
    return Text("\n\n".join(rows))


def as_table(result: QueryResult) -> Table:
    table = Table()
    for column, kind in zip(result.columns, result.types):
        numeric = kind in NUMBERS
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in result.rows:
        table.add_row(*(Text("" if cell is None else cell) for cell in row))
    return table


def footer(result: QueryResult) -> str:
    rows = "1 row" if len(result.rows) == 1 else f"{len(result.rows):,} rows"
    return f"{rows}, {result.bytes_scanned:,} bytes scanned, {result.milliseconds:,} ms"


def explained(error: QueryFailed, sql: str, place: where.Place, stack: Stack) -> str:
    """Why a query failed, with what the stack has where it named something that is not there."""
    text = str(error)
    if re.search(r"function", text, re.IGNORECASE) and place.local:
        return f"{text}; the local cloud's Athena is DuckDB, AWS may have this function"
    tables = tables_of(stack)
    named = [table for table in tables if re.search(rf"\b{table}\b", sql, re.IGNORECASE)]
    if named and re.search(r"column", text, re.IGNORECASE):
        return "; ".join([text, *(f"{table} has {columns_of(stack, table)}" for table in named)])
    if not named and re.search(r"table|not exist|not found", text, re.IGNORECASE):
        return f"{text}; the data set {stack.dataset.name} has the tables {', '.join(tables)}"
    return text


def tables_of(stack: Stack) -> list[str]:
    return [name for key, name in stack.outputs.items() if key.endswith(("TableName", "ViewName"))]


def columns_of(stack: Stack, table: str) -> str:
    glue = stack.client("glue")
    found = glue.get_table(DatabaseName=stack.outputs["GlueDatabaseName"], Name=table)["Table"]
    columns = found["StorageDescriptor"]["Columns"] + found.get("PartitionKeys", [])
    return ", ".join(column["Name"] for column in columns)


def main() -> int:
    parser = Parser(description="an Athena query in the deployed stack")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--sql", help="the query's text")
    asked.add_argument("--file", type=Path, help="a file with the query's text")
    where.add_options(parser, dataset=None)
    arguments = parser.parse_args()
    output = console()
    if not output.is_terminal:
        output.width = UNFOLDED_WIDTH
    try:
        sql = statement(arguments)
        place, stack = find_stack(arguments)
        sql = with_parameters(sql, place.parameters())
        try:
            with console(stderr=True).status("waiting for Athena"):
                result = stack.query(sql)
        except QueryFailed as error:
            why = explained(error, sql, place, stack)
            raise QueryNotAsked(f"the query failed: {why}") from error
    except (QueryNotAsked, *where.PROBLEMS) as error:
        say(f"error: {sentence(error)}")
        return 1
    output.print(shown(result, output.width))
    output.print(Text(footer(result), style="dim"))
    return 0


if __name__ == "__main__":
    run(main, cloud.left_running)
