"""Shows what a rehearsal found as tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.plan.plan import money
from tools.rehearse import bill
from tools.rehearse.setting import Setting, area_name

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
BARS = " ▁▂▃▄▅▆▇█"
AREAS = 10
SUBJECTS = 5
EXAMPLES = 5
RECEIVERS = 5
EVERY = "every alert"
REJECTS = 8

# A row of a table that compares settings: what it is, and its cell for one of them.
Row = tuple[str, Callable[[dict[str, Any], Setting], str]]


def show(result: dict[str, Any], settings: Sequence[Setting], out: Console) -> None:
    """All tables."""
    for sentence in sentences(result):
        out.print(sentence, soft_wrap=True, markup=False)
    for note in result["notes"]:
        out.print(f"note: {note}", soft_wrap=True, markup=False, style="yellow")
    for table in every(result, settings):
        out.print(table)
    for each in result["settings"]:
        worst(each, out)


def every(result: dict[str, Any], settings: Sequence[Setting]) -> list[Table]:
    """All tables that have rows."""
    rows = result["rows"]
    found = [
        thresholds(result, settings),
        of_rows(rows),
        of_rejects(rows),
        of_cells(rows),
        overview(result, settings),
        by_severity(result),
        by_area(result),
        over_time(result),
        departments(result, settings),
        costs(result, settings),
        difference(result) if result["difference"] else None,
    ]
    return [table for table in found if table is not None]


# ------------------------------------------------------------------------------------ in words


def sentences(result: dict[str, Any]) -> list[str]:
    """What matters most, in words."""
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


def rate(a_second: float) -> str:
    """A rate in the shortest unit of time in which there is one event."""
    units = {"a second": 1, "a minute": 60, "an hour": 3_600, "a day": 86_400, "a year": 31_557_600}
    unit, seconds = next(
        (each for each in units.items() if a_second * each[1] >= 1), ("a year", 31_557_600)
    )
    return f"{number(a_second * seconds)} {unit}"


def number(value: float) -> str:
    """A mean: with a digit after the point if it is small."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:,.1f}"


def verdict(each: dict[str, Any]) -> str:
    """What a subscriber to every alert would have had of a setting."""
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
    found = [f"{each}" for each in rows["empty"]]
    found += rows["report"].get("warnings", [])
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


# ----------------------------------------------------------------------------------- thresholds


def thresholds(result: dict[str, Any], settings: Sequence[Setting]) -> Table | None:
    """What each threshold would have caused, for every alert and for single subscribers."""
    tried = result["thresholds"]
    if not tried:
        return None
    current = result["settings"][0]["alerts"]["above"]
    days = days_of(result["rows"])
    table = titled("which threshold? NotifySeverityAbove, and TransformSeverityAbove not above it")
    for name in ("receives", "threshold", "severities"):
        table.add_column(name, overflow="fold")
    for name in ("messages", "a day", "on days", "worst hour", "worst day"):
        table.add_column(name, justify="right")
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
    """The most messages of a time, and when it began."""
    return f"{window['messages']:,} ({begin(window, unit)})" if window["messages"] else "none"


def begin(window: dict[str, Any], unit: str) -> str:
    """When a minute, an hour or a day began, without what is always zero."""
    return moment(window["begin"])[: 10 if unit == "day" else None]


def days_of(rows: dict[str, Any]) -> float:
    """The days of the files, but not less than an hour."""
    return max(rows["rate"]["seconds"] / 86_400, 1 / 24)


# ----------------------------------------------------------------------------------------- rows


def of_rows(rows: dict[str, Any]) -> Table:
    table = titled("rows")
    numbers = {
        "accepted": rows["accepted"],
        "rejected": rows["rejected"],
        "with unreadable cells": rows["unreadable_rows"],
        "with bytes of another charset": rows["report"].get("undecodable_rows", 0),
        "late in the file's order": rows["late"],
    }
    if not numbers["with bytes of another charset"]:
        del numbers["with bytes of another charset"]
    for name in numbers:
        table.add_column(name, justify="right")
    table.add_row(*(f"{number:,}" for number in numbers.values()))
    return table


def of_rejects(rows: dict[str, Any]) -> Table | None:
    if not rows["rejects"]:
        return None
    table = titled("rejected rows")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    table.add_column("what is wrong with the first", overflow="fold")
    for reason, number, first in sorted(rows["rejects"], key=lambda each: -each[1])[:REJECTS]:
        table.add_row(reason, f"{number:,}", escape(first))
    return table


def of_cells(rows: dict[str, Any]) -> Table | None:
    unreadable = rows["report"].get("unreadable", {})
    if not unreadable:
        return None
    table = titled("unreadable cells")
    for name in ("column", "reason", "form of the first"):
        table.add_column(name)
    table.add_column("cells", justify="right")
    table.add_column("of the column's", justify="right")
    for column, found in unreadable.items():
        for reason, cells in found["reasons"].items():
            share = cells["cells"] / found["cells"]
            form = escape(cells["form"])
            table.add_row(escape(column), reason, form, f"{cells['cells']:,}", f"{share:.2%}")
    return table


# ------------------------------------------------------------------------------------- settings


def overview(result: dict[str, Any], settings: Sequence[Setting]) -> Table:
    """What each setting makes of the rows."""
    rows = result["rows"]
    days = days_of(rows)

    def worst_of(unit: str) -> Callable[[dict[str, Any], Setting], str]:
        def cell(each: dict[str, Any], _: Setting) -> str:
            window = each["alerts"]["received"][unit]
            if not window["messages"]:
                return "none"
            return f"{window['messages']:,} about {window['events']:,} ({begin(window, unit)})"

        return cell

    def series(place: int) -> Callable[[dict[str, Any], Setting], str]:
        def cell(each: dict[str, Any], _: Setting) -> str:
            months = each["severe"]["series"][place]
            if place == 0 and each["severe"]["bound"] is None:
                return "no bound"
            return f"{months['most']:,}, ${money(bill.series_dollars(months))} a year"

        return cell

    lines: list[Row] = [
        ("severe events", lambda each, _: f"{each['severe']['events']:,}"),
        ("alerted events", lambda each, _: f"{each['alerts']['events']:,}"),
        ("messages", lambda each, _: f"{messages(each['alerts']['received']):,}"),
        ("  a day", lambda each, _: number(messages(each["alerts"]["received"]) / days)),
        ("days with messages", lambda each, _: f"{each['alerts']['received']['days']:,}"),
        ("  about one event", lambda each, _: kind(each, "single")),
        ("  digests of one area", lambda each, _: kind(each, "digests")),
        ("  digests of several", lambda each, _: kind(each, "storms")),
        ("messages that digests saved", lambda each, _: f"{saved(each['alerts']['received']):,}"),
        ("repeats, not alerted", lambda each, _: f"{each['alerts']['repeats']:,}"),
        ("alerted again, raised", lambda each, _: f"{each['alerts']['raised']:,}"),
        ("worst minute, messages", worst_of("minute")),
        ("worst hour", worst_of("hour")),
        ("worst day", worst_of("day")),
        ("longest wait for a message", lambda each, _: wait(each["alerts"]["longest_wait_ms"])),
        ("series in a month, bounded", series(0)),
        ("  without MaxSeries", series(1)),
    ]
    table = titled("what would have happened")
    table.add_column("")
    for setting in settings:
        table.add_column(escape(setting.name), justify="right", overflow="fold")
    for what, cell in lines:
        table.add_row(what, *map(cell, result["settings"], settings))
    return table


def messages(received: dict[str, Any]) -> int:
    return sum(received[name]["messages"] for name in ("single", "digests", "storms"))


def events(received: dict[str, Any]) -> int:
    return sum(received[name]["events"] for name in ("single", "digests", "storms"))


def saved(received: dict[str, Any]) -> int:
    return events(received) - messages(received)


def kind(each: dict[str, Any], name: str) -> str:
    of_kind = each["alerts"]["received"][name]
    if name == "single" or not of_kind["messages"]:
        return f"{of_kind['messages']:,}"
    return f"{of_kind['messages']:,} about {of_kind['events']:,}"


def wait(milliseconds: int) -> str:
    return f"{milliseconds / 1_000:,.0f} s"


def by_severity(result: dict[str, Any]) -> Table:
    return by_name(result, "by_severity", "by severity", None)


def by_area(result: dict[str, Any]) -> Table:
    return by_name(result, "by_area", "by area, the first by alerts", AREAS)


def by_name(result: dict[str, Any], key: str, title: str, most: int | None) -> Table:
    """Severe and alerted events by name, for each setting."""
    table = titled(title)
    table.add_column("")
    several = len(result["settings"]) > 1
    counts: list[dict[str, int]] = []
    for place, each in enumerate(result["settings"], 1):
        for what in ("severe", "alerts"):
            name = {"severe": "severe", "alerts": "alerted"}[what]
            table.add_column(f"{name} ({place})" if several else name, justify="right")
            counts.append(dict(each[what][key]["first"]))
    names = {name for count in counts for name in count}

    def order(name: str) -> tuple[int, ...]:
        return (*(-count.get(name, 0) for count in counts[1::2]), -counts[0].get(name, 0))

    for name in sorted(sorted(names), key=order)[:most]:
        table.add_row(
            escape(name), *(f"{count[name]:,}" if name in count else "" for count in counts)
        )
    others = [each[what][key] for each in result["settings"] for what in ("severe", "alerts")]
    if any(each["names"] > len(names) for each in others) or (most and len(names) > most):
        table.add_row(
            "[dim]names in all[/dim]", *(f"[dim]{each['names']:,}[/dim]" for each in others)
        )
    return table


def over_time(result: dict[str, Any]) -> Table:
    """Messages by the hour and the day of the week, as bars with their greatest number."""
    table = titled("by the hour and the day of the week, in the time of the files")
    table.add_column("")
    table.add_column("0 to 23 h")
    table.add_column("most an hour", justify="right")
    table.add_column("Mon to Sun")
    table.add_column("most a weekday", justify="right")
    several = len(result["settings"]) > 1
    for place, each in enumerate(result["settings"], 1):
        suffix = f" ({place})" if several else ""
        kinds = {
            "severe events": each["severe"],
            "alerted events": each["alerts"],
            "messages": each["alerts"]["received"],
        }
        for what, found in kinds.items():
            hours, weekdays = found["by_hour"], found["by_weekday"]
            table.add_row(
                what + suffix,
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


def departments(result: dict[str, Any], settings: Sequence[Setting]) -> Table:
    """What each department would have received, and a subscriber to all alerts."""
    table = titled("by department")
    for name in ("department", "by"):
        table.add_column(name)
    several = len(settings) > 1
    for place in range(1, len(settings) + 1):
        suffix = f" ({place})" if several else ""
        for name in ("messages", "events", "worst day"):
            table.add_column(name + suffix, justify="right")
    rows: dict[tuple[str, str], list[dict[str, Any] | None]] = {}
    for place, each in enumerate(result["settings"]):
        received = [(EVERY, "", each["alerts"]["received"])]
        received += [
            (found["name"], found["protocol"], found["received"])
            for found in each["alerts"]["departments"]
        ]
        for name, protocol, of_department in received:
            rows.setdefault((name, protocol), [None] * len(settings))[place] = of_department
    for (name, protocol), found in rows.items():
        table.add_row(
            escape(name), protocol, *(cell for each in found for cell in received_cells(each))
        )
    return table


def received_cells(received: dict[str, Any] | None) -> tuple[str, str, str]:
    if received is None:
        return "", "", ""
    day = received["day"]
    worst_day = f"{day['messages']:,} ({day['begin'][:10]})" if day["messages"] else "none"
    return f"{messages(received):,}", f"{events(received):,}", worst_day


def costs(result: dict[str, Any], settings: Sequence[Setting]) -> Table:
    """The bill of a year: at the average rate, and with shards for the busiest minute."""
    table = titled(
        "a year in dollars: at the average rate, and with provisioned shards for the busiest minute"
    )
    table.add_column("service")
    rows, bills, shards = result["rows"], [], []
    for each, setting in zip(result["settings"], settings):
        for title, lines, need in (
            ("average", bill.lines, bill.average),
            ("busiest minute", bill.lines_for_peak, bill.peak),
        ):
            table.add_column(f"{escape(setting.name)}: {title}", justify="right", overflow="fold")
            bills.append(bill.by_service(lines(rows, each, setting)))
            shards.append("{} and {}".format(*bill.shards(rows, each, setting, need(rows))))
    for service in bills[0]:
        table.add_row(service, *(money(each.get(service, 0.0)) for each in bills))
    table.add_section()
    table.add_row("all", *(money(sum(each.values())) for each in bills), style="bold")
    table.add_row("shards needed", *shards)
    return table


def difference(result: dict[str, Any]) -> Table:
    """The events that only one of the settings alerts."""
    found = result["difference"]
    table = titled(f"what differs; both alert {counted(found['both'], 'event')}")
    for name in ("alerted only by", "events", "by severity", "most in", "for example"):
        table.add_column(name, overflow="fold", justify="right" if name == "events" else "left")
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


def worst(each: dict[str, Any], out: Console) -> None:
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
    for note in setting.notes():
        out.print(f"note: {note}", markup=False, soft_wrap=True)
    for answer in found["answers"]:
        if answer["rejected"]:
            continue
        if answer["nobody"]:
            out.print(
                f"{answer['name']}: nobody is alerted, because {answer['nobody']}.",
                markup=False,
                soft_wrap=True,
            )
            continue
        out.print(
            f"{answer['name']}: an alert of severity {answer['severity']} by {setting.name}.",
            markup=False,
            soft_wrap=True,
        )
        out.print(f"Subject: {answer['subject']}", markup=False, soft_wrap=True)
        filtered = ", ".join(f"{name} {value}" for name, value in answer["attributes"])
        out.print(f"Filters compare: {filtered}", markup=False, soft_wrap=True)
        for subscriber in answer["subscribers"]:
            show_subscriber(subscriber, out)
        if len(answer["subscribers"]) == 1:
            out.print("departments.toml has no department in this environment; ENV names another.")
    if found["more"]:
        out.print(f"These are the first {len(found['answers']):,} events; the files have more.")


def show_subscriber(subscriber: dict[str, Any], out: Console) -> None:
    name = subscriber["name"] or "A subscriber to every alert"
    if subscriber["message"] is None:
        why = subscriber["why_not"]
        out.print(f"{name} does not receive it: {why}.", markup=False, soft_wrap=True)
        return
    out.print(f"{name} receives by {subscriber['protocol']}:", markup=False)
    for line in subscriber["message"].rstrip().splitlines():
        out.print(f"  | {line}", markup=False, soft_wrap=True)


# ---------------------------------------------------------------------------------------- parts


def titled(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold")


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(text: str | None) -> str:
    return text[:16].replace("T", " ") if text else "never"
