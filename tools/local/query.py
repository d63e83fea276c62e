"""Runs one Athena query in the deployed stack and prints the answer as a table.

    python -m tools.local.query --sql "select count(*) from us_accidents_raw"
    python -m tools.local.query --file queries/severe_by_county.sql

The stack is the one that `make deploy` goes to; it is the local cloud's where that is asked for, or
where no AWS credentials are configured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.local import cloud, functions, where
from tools.local.commands import CommandError, say
from tools.local.stack import Dataset, QueryFailed, QueryResult, Stack

NUMBERS = {"tinyint", "smallint", "integer", "bigint", "float", "real", "double", "decimal"}

# A table that goes to a file or a pipe is not folded to a terminal's width.
UNFOLDED_WIDTH = 10_000


class QueryNotAsked(Exception):
    """Why there is no query to run, or no stack to run it in."""


def statement(arguments: argparse.Namespace) -> str:
    sql = arguments.sql
    if arguments.file:
        try:
            sql = arguments.file.read_text(encoding="utf-8")
        except OSError as error:
            raise QueryNotAsked(f"cannot read FILE={arguments.file}: {error.strerror}") from error
    if not sql or not sql.strip():
        raise QueryNotAsked('there is no query; give SQL="select …" or FILE=queries/….sql')
    return sql.strip().removesuffix(";")


def find_stack(port: int, environment: str, dataset: str, local: bool = False) -> Stack:
    """The stack that the environment points to."""
    target = functions.environment(environment, dataset)
    place = where.choose(port, target, local)
    say(f"goes to {place}")
    if place.local:
        return Stack.of(cloud.connect(port))
    try:
        described = place.client("cloudformation").describe_stacks(StackName=place.stack)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        raise QueryNotAsked(
            f"there is no stack {target.stack}; `make up` deploys one on this machine, "
            f"`make deploy ENV={environment}` one into your AWS account"
        ) from error
    outputs = {o["OutputKey"]: o["OutputValue"] for o in described["Stacks"][0]["Outputs"]}
    return Stack(Dataset.load(dataset), outputs, place.client)


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


def main() -> int:
    parser = argparse.ArgumentParser(description="an Athena query in the deployed stack")
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--sql", help="the query's text")
    asked.add_argument("--file", type=Path, help="a file with the query's text")
    parser.add_argument("--port", type=int, default=cloud.PORT, help="of the local cloud")
    parser.add_argument("--local", action="store_true", help="the local cloud is meant")
    parser.add_argument("--env", default="dev", help="environment of the stack on AWS")
    parser.add_argument("--dataset", default=functions.DATASET, help="of the stack on AWS")
    arguments = parser.parse_args()
    console = Console()
    if not console.is_terminal:
        console.width = UNFOLDED_WIDTH
    try:
        sql = statement(arguments)
        stack = find_stack(arguments.port, arguments.env, arguments.dataset, arguments.local)
        with Console(stderr=True).status("Athena is at work"):
            result = stack.query(sql)
    except QueryFailed as error:
        print(f"error: the query failed: {error}", file=sys.stderr)
    except (
        QueryNotAsked,
        cloud.CloudError,
        CommandError,
        TimeoutError,
        BotoCoreError,
        ClientError,
    ) as error:
        print(f"error: {error}", file=sys.stderr)
    else:
        console.print(as_table(result))
        console.print(Text(footer(result), style="dim"))
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
