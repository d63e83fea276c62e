"""Athena, which reads tables as Glue describes them.

The emulator takes a table's columns from its files: a key of JSON is found only under its own name,
a column that no file has is an error, and views are unknown. Here a JSON table is read through its
SerDe's mapping, a column that no file has reads null, and a view means its query, as on AWS.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ministack.services import athena, firehose, glue

VIEW = re.compile(r"/\* Presto View: (\S+) \*/")
# https://duckdb.org/docs/stable/data/json/loading_json: lines longer than this are refused
LONGEST_LINE = 64 * 1024 * 1024

Table = dict[str, Any]

own_relation = athena._table_relation
own_rewrite = athena._rewrite_data_paths


def install() -> None:
    athena._table_relation = relation
    athena._empty_relation = empty_relation
    athena._rewrite_data_paths = rewrite


def relation(table: Table, files: list[str]) -> str:
    """A DuckDB relation over the table's files with exactly the columns that Glue has."""
    names = [column["Name"] for column in described(table)]
    if athena._data_format(table) == "json":
        return json_relation(table, files)
    # Below no rows with all the columns, those that the files have.
    every = f"{athena._empty_relation(table)} union all by name from {own_relation(table, files)}"
    return f"(select {', '.join(map(quoted, names))} from ({every}))"


def empty_relation(table: Table) -> str:
    """No rows, with the columns and partition keys of the table.

    The emulator's own reads nested types as texts.
    """
    columns = ", ".join(
        f"cast(null as {firehose._hive_to_duckdb_type(column['Type'])}) as {quoted(column['Name'])}"
        for column in described(table)
    )
    return f"(select {columns} where false)"


def json_relation(table: Table, files: list[str]) -> str:
    lines = tempfile.NamedTemporaryFile(  # noqa: SIM115 - goes with the query's folder
        "w", dir=Path(files[0]).parent, prefix="_", suffix=".json", delete=False, encoding="utf-8"
    )
    with lines:
        for row in rows(table, files):
            lines.write(json.dumps(row) + "\n")
    columns = ", ".join(
        f"{literal(column['Name'])}: {literal(firehose._hive_to_duckdb_type(column['Type']))}"
        for column in described(table)
    )
    return (
        f"read_json({literal(lines.name)}, format = 'newline_delimited', "
        f"columns = {{{columns}}}, hive_partitioning = false, maximum_object_size = {LONGEST_LINE})"
    )


def rows(table: Table, files: list[str]) -> Iterator[dict[str, Any]]:
    """The rows as the OpenX JSON SerDe reads them: keys in lower case, those that are mapped under
    their column's name, and nulls where a line is not a JSON object and that is to be ignored."""
    parameters = table["StorageDescriptor"]["SerdeInfo"].get("Parameters", {})
    column_of = {
        key: name.removeprefix("mapping.")
        for name, key in parameters.items()
        if name.startswith("mapping.")
    }
    forgiving = parameters.get("ignore.malformed.json") == "true"
    for file in files:
        keys = dict(re.findall(r"/([^/=]+)=([^/]*)(?=/)", file))
        body = Path(file).read_bytes()
        text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
        for line in text.decode("utf-8", "replace").split("\n"):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                entries = record.items()
            except (ValueError, AttributeError):
                if not forgiving:
                    raise ValueError("HIVE_BAD_DATA: a row is not a valid JSON object") from None
                entries = []
            named = {column_of.get(key.lower(), key.lower()): value for key, value in entries}
            yield {**named, **keys}


async def rewrite(query: str, database: str, catalog: str | None = None) -> Any:
    """The query with each view replaced by its query, and then its tables by their files."""
    while edits := list(views(query, database)):
        for start, end, text in reversed(edits):
            query = query[:start] + text + query[end:]
    return await own_rewrite(query, database, catalog)


def views(query: str, database: str) -> Iterator[tuple[int, int, str]]:
    for reference in athena._table_references(query):
        name = f"{reference.database or database}/{reference.table}"
        text = (glue._tables.get(name) or {}).get("ViewOriginalText") or ""
        if definition := VIEW.fullmatch(text.strip()):
            sql = json.loads(base64.b64decode(definition[1]))["originalSql"]
            alias = "" if reference.aliased else f" as {quoted(reference.table)}"
            yield reference.start, reference.end, f"({sql}){alias}"


def described(table: Table) -> list[dict[str, str]]:
    return [*table["StorageDescriptor"]["Columns"], *(table.get("PartitionKeys") or [])]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
