"""What a year at the rate of a rehearsal costs, by the formulas of tools/plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tools.plan import defaults, model, plan
from tools.plan.model import Line, Workload
from tools.rehearse.setting import Setting

MONTHS = 12


def workload(
    rows: Mapping[str, Any], of_setting: Mapping[str, Any], setting: Setting, eps: float
) -> Workload:
    """The shares of what was rehearsed, at a rate, on the stack of the setting."""
    accepted = rows["accepted"]
    fields = defaults.of(setting.template, setting.parameters)
    severe = of_setting["severe"]["events"] / accepted
    alerted = min(of_setting["alerts"]["events"] / accepted, severe)
    return Workload(
        **{
            **fields,
            "eps": eps,
            "severe": severe,
            "alerted": alerted,
            "alerts_per_second": float(setting.variables("Notify")["ALERTS_PER_SECOND"]),
            "series": of_setting["severe"]["series"][0]["most"],
        }
    )


def average(rows: Mapping[str, Any]) -> float:
    """Rows a second over the time of the files."""
    rate = rows["rate"]
    return rate["rows"] / rate["seconds"] if rate["seconds"] else 0.0


def peak(rows: Mapping[str, Any]) -> float:
    """Rows a second in the busiest minute."""
    return rows["rate"]["rows_of_minute"] / 60


def measured(rows: Mapping[str, Any]) -> dict[str, Any]:
    """What a record takes as it was measured, with the bytes of the rehearsed ones."""
    measurements = plan.measured()
    found = {"raw": rows["sizes"]["raw"] / rows["accepted"]}
    if rows["severe"]:
        found |= {name: rows["sizes"][name] / rows["severe"] for name in ("severe", "analytical")}
    return {**measurements, "bytes": {**measurements["bytes"], **found}}


def lines(rows: Mapping[str, Any], of_setting: Mapping[str, Any], setting: Setting) -> list[Line]:
    """The bill of a year at the average rate."""
    return of_year(workload(rows, of_setting, setting, average(rows)), rows)


def lines_for_peak(
    rows: Mapping[str, Any], of_setting: Mapping[str, Any], setting: Setting
) -> list[Line]:
    """The bill of a year with provisioned shards for the busiest minute, else at the average."""
    load = replace(workload(rows, of_setting, setting, average(rows)), mode="provisioned")
    needs = model.need(load, measured(rows))
    at_peak = shards(rows, of_setting, setting, peak(rows))
    more = {
        stream.name: number / stream.shards("provisioned")
        for stream, number in zip((needs.raw, needs.severe), at_peak)
    }
    return [
        times(line, more[line.what.partition(":")[0]]) if line.need.endswith(" shards") else line
        for line in of_year(load, rows)
    ]


def of_year(load: Workload, rows: Mapping[str, Any]) -> list[Line]:
    return [times(line, MONTHS) for line in model.bill(load, plan.prices(), measured(rows))]


def times(line: Line, factor: float) -> Line:
    return replace(line, dollars=line.dollars * factor)


def by_service(bill: list[Line]) -> dict[str, float]:
    """The dollars of each service."""
    services: dict[str, float] = {}
    for line in bill:
        services[line.service] = services.get(line.service, 0.0) + line.dollars
    return services


def shards(
    rows: Mapping[str, Any], of_setting: Mapping[str, Any], setting: Setting, eps: float
) -> tuple[int, int]:
    """Shards that both streams need at a rate, if they are provisioned."""
    needs = model.need(workload(rows, of_setting, setting, eps), measured(rows))
    return needs.raw.shards("provisioned"), needs.severe.shards("provisioned")


def series_dollars(months: Mapping[str, Any]) -> float:
    """What series cost in a year of months such as these: each is billed in the months with it."""
    if not months["months"]:
        return 0.0
    mean = months["all"] / months["months"]
    return model.tiered(mean, plan.prices()["cloudwatch"]["series_month"]) * MONTHS
