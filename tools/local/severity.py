"""Severities as a data set's file lists them: levels to compare, and texts for people.

The rule is that of shared/src/data/dataset/severity.rs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


def fold(text: str) -> str:
    return text.strip().lower().upper().lower()


def integer(value: Any) -> int:
    whole, _, fraction = str(value).strip().partition(".")
    if fraction.strip("0"):
        raise ValueError(f"expected an integer, found {value!r}")
    return int(whole)


@dataclass(frozen=True)
class Severities:
    """The level of each severity that is listed, by its text, in the file's order."""

    levels: dict[str, int]
    words: bool
    descending: bool

    @classmethod
    def read(cls, listed: Any = None) -> Severities:
        if listed is None:
            listed = list(range(10))
        if isinstance(listed, dict):
            return cls({word.strip(): level for word, level in listed.items()}, True, False)
        words = all(isinstance(each, str) for each in listed)
        descending = not words and len(listed) > 1 and listed[0] > listed[1]
        if words or descending:
            places = {str(each).strip(): place for place, each in enumerate(listed, 1)}
            return cls(places, words, descending)
        return cls({str(each): each for each in listed}, False, False)

    @property
    def ascending(self) -> list[int]:
        """The levels, from the least severe."""
        return sorted(set(self.levels.values()))

    def level(self, value: Any) -> int:
        """The level of an event's severity, as the event has it."""
        if self.words:
            return {fold(word): level for word, level in self.levels.items()}[fold(str(value))]
        number = integer(value)
        if not self.descending:
            return number
        numbers = [int(each) for each in self.levels]
        if number > numbers[0]:
            return numbers[0] + 1 - number
        if number < numbers[-1]:
            return numbers[-1] + len(numbers) - number
        return numbers.index(number) + 1

    def text(self, level: int) -> str:
        """What people are shown for a level."""
        listed = (text for text, each in self.levels.items() if each == level)
        return next(listed, str(self.number(level) if self.descending else level))

    def above(self, column: str, level: int) -> str:
        """Whether the severity in a column is above a level, in SQL."""
        if self.words:
            severe = [word.lower() for word, each in self.levels.items() if each > level]
            quoted = ", ".join("'" + word.replace("'", "''") + "'" for word in severe)
            return f"lower(trim({column})) in ({quoted})" if severe else "false"
        if not self.descending:
            return f"{column} > {level}"
        return f"{column} <= {self.number(level + 1)}"

    def number(self, level: int) -> int:
        """The number of a level where the lowest is the worst, also beyond the ends of the list."""
        numbers = [int(each) for each in self.levels]
        if level < 1:
            return numbers[0] + 1 - level
        if level > len(numbers):
            return numbers[-1] + len(numbers) - level
        return numbers[level - 1]
