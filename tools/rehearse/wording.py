"""What a rehearsal found, in sentences, and how its numbers and times are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.rehearse import bill
from tools.rehearse.setting import Setting

KINDS = ("single", "digests", "storms")


def sentences(result: dict[str, Any]) -> list[str]:
    """What matters most."""
    return [lead(result["rows"]), *map(verdict, result["settings"])]


def lead(rows: dict[str, Any]) -> str:
    first, last = rows["rate"]["days"] or ("an unknown day", "an unknown day")
    text = (
        f"Events from {first} to {last} by their {rows['time']}, {rate(bill.average(rows))}"
        f" on average and {rate(bill.peak(rows))} in the busiest minute"
        f" ({moment(rows['rate']['busiest_minute'])})."
    )
    if rows["timeless"]:
        has = "1 row has" if rows["timeless"] == 1 else f"{rows['timeless']:,} rows have"
        text += f" {has} no time that can be read, and so the time of the row before."
    return text


def verdict(each: dict[str, Any]) -> str:
    """What a subscriber to every alert would have received with a setting."""
    received = each["alerts"]["received"]
    if not messages(received):
        return f"{each['name']}: nobody would have been alerted."
    hour, day = received["hour"], received["day"]
    return (
        f"{each['name']}: a subscriber to every alert would have received"
        f" {counted(messages(received), 'message')} on {counted(received['days'], 'day')},"
        f" {counted(hour['messages'], 'message')} in the worst hour"
        f" ({begin(hour, 'hour')}) and {counted(day['messages'], 'message')} on the worst day"
        f" ({begin(day, 'day')})."
    )


def notes(result: dict[str, Any], settings: Sequence[Setting]) -> list[str]:
    """What may surprise, and what to do."""
    rows = result["rows"]
    found = [*rows["empty"], *rows["report"].get("warnings", [])]
    if undecodable := rows["report"].get("undecodable_rows"):
        found.append(
            f"{counted(undecodable, 'row')} would have damaged texts; if the files are in another"
            " charset, name it by CHARSET=windows-1252, for example"
        )
    for setting, each in zip(settings, result["settings"]):
        found += [f"{setting.name}: {note}" for note in setting.notes()]
        silent = [
            department["name"]
            for department in each["alerts"]["departments"]
            if not messages(department["received"])
        ]
        if silent and messages(each["alerts"]["received"]):
            found.append(f"{setting.name}: no message would have reached {', '.join(silent)}")
    if len(result["thresholds"]) == 1:
        found.append("THRESHOLDS=all tries every threshold, which takes longer for large files")
    if len(settings) == 2 and is_same(*result["settings"]):
        found.append("both settings alert about the same events by the same messages")
    return found


def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two settings alert in the same way."""
    first, second = ({**each["alerts"], "above": 0} for each in (one, other))
    return first == second


def messages(received: dict[str, Any]) -> int:
    return sum(received[kind]["messages"] for kind in KINDS)


def events(received: dict[str, Any]) -> int:
    return sum(received[kind]["events"] for kind in KINDS)


def saved(received: dict[str, Any]) -> int:
    """Messages that digests saved."""
    return events(received) - messages(received)


def rate(a_second: float) -> str:
    """A rate in the shortest unit of time in which there is one event."""
    units = {"a second": 1, "a minute": 60, "an hour": 3_600, "a day": 86_400, "a year": 31_557_600}
    fitting = (unit for unit, seconds in units.items() if a_second * seconds >= 1)
    unit = next(fitting, "a year")
    return f"{number(a_second * units[unit])} {unit}"


def number(value: float) -> str:
    """A mean: with a digit after the point if it is small."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:,.1f}"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(text: str | None) -> str:
    return text[:16].replace("T", " ") if text else "never"


def begin(window: dict[str, Any], unit: str) -> str:
    """When a minute, an hour or a day began, without what is always zero."""
    return moment(window["begin"])[: 10 if unit == "day" else None]
