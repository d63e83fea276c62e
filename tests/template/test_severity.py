"""Severities in the local tools."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from tools.local.severity import Severities


@pytest.mark.parametrize(
    ("listed", "levels"),
    [
        (None, {3: 3, "4.0": 4, 99: 99}),
        ([1, 2, 3], {1: 1, "3": 3, 7: 7, -2: -2}),
        (["Low", "High", "Größte"], {"low": 1, " HIGH ": 2, "größte": 3}),
        ({"3 - Moderate": 3, "1 - Critical": 5, "P1": 5}, {"1 - critical": 5, "p1": 5}),
        ([4, 3, 2, 1], {4: 1, "1": 4, 0: 5, 6: -1}),
        ([30, 20, 10], {20: 2, 9: 4, 31: 0}),
    ],
)
def test_the_level_is_that_of_the_list_and_sql_compares_it(listed: Any, levels: dict) -> None:
    severities = Severities.read(listed)
    assert {value: severities.level(value) for value in levels} == levels
    for above in range(-4, 9):
        for value, level in levels.items():
            if isinstance(value, str) and not severities.words:
                continue
            (found,) = sqlite3.connect(":memory:").execute(
                f"select {severities.above('sent', above)} from (select ? as sent)", [value]
            )
            # SQLite lowers only ASCII letters.
            if str(value).isascii():
                assert found == (level > above,), (value, above)


def test_people_are_shown_the_text_of_the_file() -> None:
    assert Severities.read(["Low", "High"]).text(2) == "High"
    assert Severities.read({"1 - Critical": 5, "P1": 5}).text(5) == "1 - Critical"
    assert Severities.read([4, 3, 2, 1]).text(4) == "1"
    assert Severities.read([4, 3, 2, 1]).text(5) == "0"
    assert Severities.read().text(77) == "77"
