"""Shows what a rehearsal found as tables in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.local.tables import titled
from tools.plan.plan import money
from tools.rehearse import bill
from tools.rehearse.setting import Setting, area_name
from tools.rehearse.wording import (
    begin,
    counted,
    events,
    messages,
    moment,
    number,
    saved,
    sentences,
)

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
BARS = " ▁▂▃▄▅▆▇█"
AREAS = 10
SUBJECTS = 5
EXAMPLES = 5
RECEIVERS = 5
EVERY = "every alert"
REJECTS = 8


def show(result: dict[str, Any], settings: Sequence[Setting], out: Console) -> None:
    """All tables."""
    for sentence in sentences(result):
        out.print(sentence, soft_wrap=True, markup=False)
    for note in result["notes"]:
        out.print(f"note: {note}", soft_wrap=True, markup=False, style="yellow")
    for table in every(result, settings):
        out.print(table)
    for each in result["settings"]:
        show_worst_minute(each, out)


def every(result: dict[str, Any], settings: Sequence[Setting]) -> list[Table]:
    """All tables that have rows."""
    rows = result["rows"]
    found = [
        thresholds(result, settings),
        of_rows(rows),
        of_rejects(rows),
        of_cells(rows),
        overview(result),
        by_name(result, "by_severity", "by severity"),
        by_name(result, "by_area", "by area, the first by alerts", AREAS),
        over_time(result),
        departments(result),
        costs(result, settings),
        difference(result),
    ]
    return [table for table in found if table is not None]


# ----------------------------------------------------------------------------------- thresholds


def thresholds(result: dict[str, Any], settings: Sequence[Setting]) -> Table | None:
    """What each threshold would have caused, for every alert and for single subscribers."""
    tried = result["thresholds"]
    if not tried:
        return None
    current = result["settings"][0]["alerts"]["above"]
    days = days_of(result["rows"])
    table = titled(
        "which threshold? NotifySeverityAbove, and TransformSeverityAbove not above it",
        *("receives", "threshold", "severities"),
        *("#messages", "#a day", "#on days", "#worst hour", "#worst day"),
    )
    for name in receivers(tried, settings):
        table.add_section()
        for each in tried:
            load = dict(each["departments"]).get(name, each["every"])
            above = each["above"]
            table.add_row(
                escape(name) if each is tried[0] else "",
                f"{above} (rehearsed)" if above == current else str(above),
                escape(", ".join(each["severities"])) or "none that is listed",
                f"{load['messages']:,}",
                number(load["messages"] / days),
                f"{load['days']:,}",
                *(peak(load[unit], unit) for unit in ("hour", "day")),
            )
    return table


def receivers(tried: Sequence[dict[str, Any]], settings: Sequence[Setting]) -> list[str]:
    """The areas that are asked for, every alert, and the first departments."""
    areas = [area_name(area) for area in settings[0].areas]
    names = [name for name, _ in tried[0]["departments"] if name not in areas]
    return [*areas, EVERY, *names][: max(RECEIVERS, len(areas) + 1)]


def peak(window: dict[str, Any], unit: str) -> str:
    """The most messages of an hour or a day, and when it began."""
    return f"{window['messages']:,} ({begin(window, unit)})" if window["messages"] else "none"


def days_of(rows: dict[str, Any]) -> float:
    """The days of the files, but not less than an hour."""
    return max(rows["rate"]["seconds"] / 86_400, 1 / 24)


# ----------------------------------------------------------------------------------------- rows


def of_rows(rows: dict[str, Any]) -> Table:
    numbers = {
        "accepted": rows["accepted"],
        "rejected": rows["rejected"],
        "with unreadable cells": rows["unreadable_rows"],
    }
    if undecodable := rows["report"].get("undecodable_rows"):
        numbers["with bytes of another charset"] = undecodable
    numbers["late in the file's order"] = rows["late"]
    table = titled("rows", *(f"#{name}" for name in numbers))
    table.add_row(*(f"{number:,}" for number in numbers.values()))
    return table


def of_rejects(rows: dict[str, Any]) -> Table | None:
    if not rows["rejects"]:
        return None
    table = titled("rejected rows", "reason", "#rows", "what is wrong with the first")
    for reason, count, first in sorted(rows["rejects"], key=lambda each: -each[1])[:REJECTS]:
        table.add_row(reason, f"{count:,}", escape(first))
    return table


def of_cells(rows: dict[str, Any]) -> Table | None:
    unreadable = rows["report"].get("unreadable", {})
    if not unreadable:
        return None
    columns = ("column", "reason", "form of the first", "#cells", "#of the column's")
    table = titled("unreadable cells", *columns)
    for column, found in unreadable.items():
        for reason, cells in found["reasons"].items():
            share = cells["cells"] / found["cells"]
            form = escape(cells["form"])
            table.add_row(escape(column), reason, form, f"{cells['cells']:,}", f"{share:.2%}")
    return table


# ------------------------------------------------------------------------------------- settings


def overview(result: dict[str, Any]) -> Table:
    """What each setting makes of the rows."""
    settings = result["settings"]
    outcomes = [outcome(each, days_of(result["rows"])) for each in settings]
    names = (f"#{escape(each['name'])}" for each in settings)
    table = titled("what would have happened", "", *names)
    for what in outcomes[0]:
        table.add_row(what, *(each[what] for each in outcomes))
    return table


def outcome(each: dict[str, Any], days: float) -> dict[str, str]:
    """What a setting makes of the rows, line by line."""
    severe, alerts = each["severe"], each["alerts"]
    received = alerts["received"]
    bounded, unbounded = map(series, severe["series"])
    return {
        "severe events": f"{severe['events']:,}",
        "alerted events": f"{alerts['events']:,}",
        "messages": f"{messages(received):,}",
        "  a day": number(messages(received) / days),
        "days with messages": f"{received['days']:,}",
        "  about one event": f"{received['single']['messages']:,}",
        "  digests of one area": about(received["digests"]) or "0",
        "  digests of several": about(received["storms"]) or "0",
        "messages that digests saved": f"{saved(received):,}",
        "repeats, not alerted": f"{alerts['repeats']:,}",
        "alerted again, raised": f"{alerts['raised']:,}",
        "worst minute, messages": worst(received, "minute"),
        "worst hour": worst(received, "hour"),
        "worst day": worst(received, "day"),
        "longest wait for a message": f"{alerts['longest_wait_ms'] / 1_000:,.0f} s",
        "series in a month, bounded": "no bound" if severe["bound"] is None else bounded,
        "  without MaxSeries": unbounded,
    }


def about(received: dict[str, Any]) -> str:
    """The messages and their events; empty without messages."""
    if not received["messages"]:
        return ""
    return f"{received['messages']:,} about {received['events']:,}"


def worst(received: dict[str, Any], unit: str) -> str:
    window = received[unit]
    return f"{about(window)} ({begin(window, unit)})" if window["messages"] else "none"


def series(months: dict[str, Any]) -> str:
    return f"{months['most']:,}, ${money(bill.series_dollars(months))} a year"


def places(result: dict[str, Any]) -> list[str]:
    """The place of each setting in parentheses, as columns and rows name it; empty for one."""
    settings = result["settings"]
    return [f" ({place})" for place in range(1, len(settings) + 1)] if len(settings) > 1 else [""]


def by_name(result: dict[str, Any], key: str, title: str, most: int | None = None) -> Table:
    """Severe and alerted events by name, for each setting."""
    titles = [f"#{what}{place}" for place in places(result) for what in ("severe", "alerted")]
    table = titled(title, "", *titles)
    found = [each[what][key] for each in result["settings"] for what in ("severe", "alerts")]
    counts = [dict(each["first"]) for each in found]
    names = {name for count in counts for name in count}

    def order(name: str) -> tuple[Any, ...]:
        return (*(-count.get(name, 0) for count in counts[1::2]), -counts[0].get(name, 0), name)

    for name in sorted(names, key=order)[:most]:
        cells = (f"{count[name]:,}" if name in count else "" for count in counts)
        table.add_row(escape(name), *cells)
    if any(each["names"] > len(names) for each in found) or (most and len(names) > most):
        table.add_row("names in all", *(f"{each['names']:,}" for each in found), style="dim")
    return table


def over_time(result: dict[str, Any]) -> Table:
    """Messages by the hour and the day of the week, as bars with their greatest number."""
    table = titled(
        "by the hour and the day of the week, in the time of the files",
        *("", "0 to 23 h", "#most an hour", "Mon to Sun", "#most a weekday"),
    )
    for place, each in zip(places(result), result["settings"]):
        kinds = {
            "severe events": each["severe"],
            "alerted events": each["alerts"],
            "messages": each["alerts"]["received"],
        }
        for what, found in kinds.items():
            hours, weekdays = found["by_hour"], found["by_weekday"]
            table.add_row(
                what + place,
                bars(hours),
                f"{max(hours):,} at {hours.index(max(hours))} h",
                bars(weekdays),
                f"{max(weekdays):,} on {WEEKDAYS[weekdays.index(max(weekdays))]}",
            )
    return table


def bars(numbers: Sequence[int]) -> str:
    most = max(numbers)
    return "".join(
        BARS[-(-number * (len(BARS) - 1) // most)] if most else BARS[0] for number in numbers
    )


def subscribers(each: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """What a subscriber to every alert and each department receive, by name and protocol."""
    alerts = each["alerts"]
    named = {
        (found["name"], found["protocol"]): found["received"] for found in alerts["departments"]
    }
    return {(EVERY, ""): alerts["received"], **named}


def departments(result: dict[str, Any]) -> Table:
    """What each department would have received, and a subscriber to all alerts."""
    what = ("messages", "events", "worst day")
    columns = (f"#{name}{place}" for place in places(result) for name in what)
    table = titled("by department", "department", "by", *columns)
    found = list(map(subscribers, result["settings"]))
    for name, protocol in dict.fromkeys(key for each in found for key in each):
        cells = (cell for each in found for cell in received_cells(each.get((name, protocol))))
        table.add_row(escape(name), protocol, *cells)
    return table


def received_cells(received: dict[str, Any] | None) -> tuple[str, str, str]:
    if received is None:
        return "", "", ""
    return f"{messages(received):,}", f"{events(received):,}", peak(received["day"], "day")


def costs(result: dict[str, Any], settings: Sequence[Setting]) -> Table:
    """The bill of a year: at the average rate, and with shards for the busiest minute."""
    rows = result["rows"]
    columns, bills, shards = [], [], []
    for each, setting in zip(result["settings"], settings):
        for title, lines, eps in (
            ("average", bill.lines, bill.average(rows)),
            ("busiest minute", bill.lines_for_peak, bill.peak(rows)),
        ):
            columns.append(f"#{escape(setting.name)}: {title}")
            bills.append(bill.by_service(lines(rows, each, setting)))
            shards.append("{} and {}".format(*bill.shards(rows, each, setting, eps)))
    table = titled(
        "a year in dollars: at the average rate, and with provisioned shards for the busiest"
        " minute",
        *("service", *columns),
    )
    for service in bills[0]:
        table.add_row(service, *(money(each.get(service, 0.0)) for each in bills))
    table.add_section()
    table.add_row("all", *(money(sum(each.values())) for each in bills), style="bold")
    table.add_row("shards needed", *shards)
    return table


def difference(result: dict[str, Any]) -> Table | None:
    """The events that only one of the settings alerts."""
    found = result["difference"]
    if not found:
        return None
    table = titled(
        f"what differs; both alert {counted(found['both'], 'event')}",
        *("alerted only by", "#events", "by severity", "most in", "for example"),
    )
    for each, only in zip(result["settings"], found["only"]):
        first = (
            escape(each["name"]),
            f"{only['events']:,}",
            named(only["by_severity"], 4),
            named(only["by_area"], 4),
        )
        examples = [
            f"{moment(event['at'])}: {escape(event['text'])}"
            for event in only["examples"][:EXAMPLES]
        ]
        table.add_section()
        table.add_row(*first, *examples[:1])
        for example in examples[1:]:
            table.add_row("", "", "", "", example)
    return table


def named(names: dict[str, Any], most: int) -> str:
    return escape(", ".join(f"{name}: {count:,}" for name, count in names["first"][:most]))


def show_worst_minute(each: dict[str, Any], out: Console) -> None:
    """What a subscriber to all alerts would have received in the worst minute."""
    minute = each["alerts"]["received"]["minute"]
    if not minute["messages"]:
        return
    out.print(
        f"[bold]{escape(each['name'])}[/bold]: in the worst minute,"
        f" {moment(minute['begin'])}, a subscriber to every alert would have received"
        f" {counted(minute['messages'], 'message')} about {counted(minute['events'], 'event')}:",
        soft_wrap=True,
    )
    for sent in minute["first"][:SUBJECTS]:
        out.print(f"  {sent['at'][11:19]} {escape(sent['subject'])}", soft_wrap=True)
    if (more := minute["messages"] - SUBJECTS) > 0:
        out.print(f"  and {more:,} more")


# ------------------------------------------------------------------------------------------ who


def show_answers(found: dict[str, Any], setting: Setting, out: Console) -> None:
    """Who is alerted about each event, by which message, and why others are not."""
    say = partial(out.print, markup=False, soft_wrap=True)
    for note in setting.notes():
        say(f"note: {note}")
    for answer in found["answers"]:
        if answer["rejected"]:
            continue
        if answer["nobody"]:
            say(f"{answer['name']}: nobody is alerted, because {answer['nobody']}.")
            continue
        say(f"{answer['name']}: an alert of severity {answer['severity']} by {setting.name}.")
        say(f"Subject: {answer['subject']}")
        compared = ", ".join(f"{name} {value}" for name, value in answer["attributes"])
        say(f"Filters compare: {compared}")
        for subscriber in answer["subscribers"]:
            name = subscriber["name"] or "A subscriber to every alert"
            if subscriber["message"] is None:
                say(f"{name} does not receive it: {subscriber['why_not']}.")
                continue
            say(f"{name} receives by {subscriber['protocol']}:")
            for line in subscriber["message"].rstrip().splitlines():
                say(f"  | {line}")
        if len(answer["subscribers"]) == 1:
            say("departments.toml has no department in this environment; ENV names another.")
    if found["more"]:
        say(f"These are the first {len(found['answers']):,} events; the files have more.")
