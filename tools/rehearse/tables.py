"""Shows what a rehearsal found as tables in a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tools.plan.plan import money
from tools.rehearse import bill
from tools.rehearse.setting import Setting

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
BARS = " ▁▂▃▄▅▆▇█"
AREAS = 10
SUBJECTS = 5
EXAMPLES = 5
REJECTS = 8

# A row of a table that compares settings: what it is, and its cell for one of them.
Row = tuple[str, Callable[[dict[str, Any], Setting], str]]


def show(result: dict[str, Any], settings: Sequence[Setting], out: Console) -> None:
    """All tables."""
    out.print(lead(result["rows"]), soft_wrap=True)
    for table in every(result, settings):
        out.print(table)
    for each in result["settings"]:
        worst(each, out)


def every(result: dict[str, Any], settings: Sequence[Setting]) -> list[Table]:
    """All tables that have rows."""
    rows = result["rows"]
    found = [
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


# ----------------------------------------------------------------------------------------- rows


def lead(rows: dict[str, Any]) -> str:
    first, last = rows["rate"]["days"] or ("an unknown day", "an unknown day")
    text = (
        f"Events from {first} to {last} by their {rows['time']}, {bill.average(rows):,.2g} a second"
        f" on average and {bill.peak(rows):,.2g} in the busiest minute"
        f" ({moment(rows['rate']['busiest_minute'])})."
    )
    if rows["timeless"]:
        has = "1 row has" if rows["timeless"] == 1 else f"{rows['timeless']:,} rows have"
        text += f" {has} no time that can be read, and so the time of the row before."
    return text


def of_rows(rows: dict[str, Any]) -> Table:
    table = titled("rows")
    numbers = {
        "accepted": rows["accepted"],
        "rejected": rows["rejected"],
        "with unreadable cells": rows["unreadable_rows"],
        "late in the file's order": rows["late"],
    }
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
    days = max(rows["rate"]["seconds"] / 86_400, 1 / 24)

    def worst_of(unit: str) -> Callable[[dict[str, Any], Setting], str]:
        def cell(each: dict[str, Any], _: Setting) -> str:
            window = each["alerts"]["received"][unit]
            if not window["messages"]:
                return "none"
            return f"{window['messages']:,} about {window['events']:,} ({moment(window['begin'])})"

        return cell

    def series(place: int) -> Callable[[dict[str, Any], Setting], str]:
        def cell(each: dict[str, Any], _: Setting) -> str:
            months = each["severe"]["series"][place]
            if place == 0 and each["severe"]["bound"] is None:
                return "no bound"
            return f"{months['most']:,}, ${money(bill.series_dollars(months))} a year"

        return cell

    def shards(rate: Callable[[dict[str, Any]], float]) -> Callable[[dict[str, Any], Setting], str]:
        def cell(each: dict[str, Any], setting: Setting) -> str:
            raw, severe = bill.shards(rows, each, setting, rate(rows))
            return f"{raw} and {severe}"

        return cell

    lines: list[Row] = [
        ("severe events", lambda each, _: f"{each['severe']['events']:,}"),
        ("alerted events", lambda each, _: f"{each['alerts']['events']:,}"),
        ("messages", lambda each, _: f"{messages(each['alerts']['received']):,}"),
        ("  a day", lambda each, _: f"{messages(each['alerts']['received']) / days:,.1f}"),
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
        ("shards on average", shards(bill.average)),
        ("  in the busiest minute", shards(bill.peak)),
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
        received = [("every alert", "", each["alerts"]["received"])]
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
    """The bill of a year at the average rate."""
    table = titled("a year at the average rate, in dollars")
    table.add_column("service")
    for setting in settings:
        table.add_column(escape(setting.name), justify="right", overflow="fold")
    bills = [
        bill.by_service(bill.lines(result["rows"], each, setting))
        for each, setting in zip(result["settings"], settings)
    ]
    for service in bills[0]:
        table.add_row(service, *(money(each.get(service, 0.0)) for each in bills))
    table.add_section()
    table.add_row("all", *(money(sum(each.values())) for each in bills), style="bold")
    return table


def difference(result: dict[str, Any]) -> Table:
    """The events that only one of the settings alerts."""
    found = result["difference"]
    table = titled(f"what differs; both alert {found['both']:,} events")
    for name in ("alerted only by", "events", "by severity", "most in", "for example"):
        table.add_column(name, overflow="fold", justify="right" if name == "events" else "left")
    for each, only in zip(result["settings"], found["only"]):
        examples = [
            f"{event['id']}, severity {event['severity']}, {event['area']}, {moment(event['at'])}"
            for event in only["examples"][:EXAMPLES]
        ]
        table.add_row(
            escape(each["name"]),
            f"{only['events']:,}",
            named(only["by_severity"], 4),
            named(only["by_area"], 4),
            escape("\n".join(examples)),
        )
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


def show_answers(answers: Sequence[dict[str, Any]], setting: Setting, out: Console) -> None:
    """Who is alerted about each event, by which message, and why others are not."""
    for answer in answers:
        name = answer["id"] or "The event"
        if answer["nobody"]:
            out.print(f"{name}: nobody is alerted, because {answer['nobody']}.", markup=False)
            continue
        out.print(
            f"{name}: an alert of severity {answer['severity']} by {setting.name}.", markup=False
        )
        out.print(f"Subject: {answer['subject']}", markup=False, soft_wrap=True)
        filtered = ", ".join(f"{name} {value}" for name, value in answer["attributes"])
        out.print(f"Filters compare: {filtered}", markup=False, soft_wrap=True)
        for subscriber in answer["subscribers"]:
            show_subscriber(subscriber, out)
        if len(answer["subscribers"]) == 1:
            out.print("departments.toml has no department in this environment; ENV names another.")


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
