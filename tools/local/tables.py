"""Tables for a terminal."""

from __future__ import annotations

from rich.table import Table


def titled(title: str, *columns: str) -> Table:
    """A table with a title. Columns whose names begin with `#` have numbers, on the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        name = column.removeprefix("#")
        table.add_column(name, justify="left" if name == column else "right", overflow="fold")
    return table
