"""When a CloudWatch alarm changes its state, decided from its data points.

Nothing here knows a clock or a service. The rules are those of the CloudWatch user guide, "Alarm
evaluation" and "Configuring how CloudWatch alarms treat missing data". What this project's template
does not use is refused by its name instead of being evaluated wrongly.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal

from tools.local.services.metric_math import Expression, UnsupportedAlarm

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
Values = Sequence[float | None]  # oldest first; none where a data point is missing

# CloudWatch looks at more periods than it evaluates, in case that the newest are missing. The guide
# shows five for three evaluation periods, and gives no rule.
EXTRA_PERIODS = 2
# Alarms are evaluated by the minute, whatever their period is.
MINUTE = 60

COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
}
TREATMENTS = ("breaching", "ignore", "missing", "notBreaching")
TREATED = {"breaching": "Breaching", "notBreaching": "NonBreaching"}  # in a reason
PERCENTILE = re.compile(r"p\d{1,2}(\.\d{1,10})?|p100")
# How the values of minutes make the value of a longer period.
MERGES: dict[str, Callable[[Iterable[float]], float]] = {
    "Maximum": max,
    "Minimum": min,
    "SampleCount": sum,
    "Sum": sum,
}


@dataclass(frozen=True)
class Series:
    """One metric, and the statistic of it that an alarm compares."""

    namespace: str
    metric: str
    dimensions: tuple[tuple[str, str], ...]
    statistic: str

    @classmethod
    def read(cls, metric: Mapping[str, Any], statistic: str, period: int) -> Series:
        dimensions = tuple((each["Name"], each["Value"]) for each in metric.get("Dimensions") or [])
        if not dimensions:
            # The emulator would add up all series of the metric.
            raise UnsupportedAlarm(f"a metric without dimensions, {metric['MetricName']}")
        known = statistic in (*MERGES, "Average") or PERCENTILE.fullmatch(statistic)
        if not known or (period != MINUTE and statistic not in MERGES):
            raise UnsupportedAlarm(f"the statistic {statistic} over {period} seconds")
        return cls(metric["Namespace"], metric["MetricName"], dimensions, statistic)

    def merged(self, minutes: Values) -> float | None:
        """The value of a period, from those of its minutes."""
        found = [value for value in minutes if value is not None]
        if len(minutes) == 1 or not found:
            return found[0] if found else None
        return MERGES[self.statistic](found)


# The values of each series, by the time at which their minute begins.
Minutes = Mapping[Series, Mapping[int, float]]


@dataclass(frozen=True)
class Verdict:
    """The state that an alarm should have, and the values of the evaluation range that decided."""

    state: State
    values: Values
    end: int  # of the evaluation range


@dataclass(frozen=True)
class MetricAlarm:
    """An alarm on one metric, or on an expression over several."""

    name: str
    state: State
    series: dict[str, Series]  # by the name that the expression has for it
    expression: Expression
    period: int
    evaluation_periods: int
    datapoints_to_alarm: int
    threshold: float
    comparison: str
    treatment: str

    @classmethod
    def read(cls, alarm: Mapping[str, Any]) -> MetricAlarm:
        """An alarm as DescribeAlarms shows it; raises `UnsupportedAlarm`."""
        for name in ("ThresholdMetricId", "EvaluateLowSampleCountPercentile", "Unit"):
            if alarm.get(name) not in (None, "", "evaluate"):
                raise UnsupportedAlarm(f"the property {name}")
        comparison = alarm["ComparisonOperator"]
        if comparison not in COMPARISONS:
            raise UnsupportedAlarm(f"the comparison {comparison}")
        treatment = alarm.get("TreatMissingData") or "missing"
        if treatment not in TREATMENTS:
            raise UnsupportedAlarm(f"TreatMissingData: {treatment}")
        expression, series, period = watched(alarm)
        if period % MINUTE:
            raise UnsupportedAlarm(f"a period of {period} seconds")
        evaluation_periods = int(alarm["EvaluationPeriods"])
        return cls(
            name=alarm["AlarmName"],
            state=alarm.get("StateValue", "INSUFFICIENT_DATA"),
            series=series,
            expression=expression,
            period=period,
            evaluation_periods=evaluation_periods,
            datapoints_to_alarm=int(alarm.get("DatapointsToAlarm") or evaluation_periods),
            threshold=float(alarm["Threshold"]),
            comparison=comparison,
            treatment=treatment,
        )

    @property
    def periods(self) -> int:
        """How many periods the evaluation range has."""
        return self.evaluation_periods + EXTRA_PERIODS

    @property
    def seconds(self) -> int:
        """How long the evaluation range is."""
        return self.periods * self.period

    def values(self, minutes: Minutes, end: int) -> list[float | None]:
        """The value of each period of the evaluation range that ends at `end`, oldest first."""
        values = []
        for begin in range(end - self.seconds, end, self.period):
            of_period = {
                name: series.merged(
                    [
                        minutes.get(series, {}).get(minute)
                        for minute in range(begin, begin + self.period, MINUTE)
                    ]
                )
                for name, series in self.series.items()
            }
            values.append(self.expression.value(of_period))
        return values

    def breaches(self, value: float) -> bool:
        return COMPARISONS[self.comparison][0](value, self.threshold)

    def evaluated(self, values: Values) -> list[int]:
        """Which values are evaluated: the newest that exist, as many as there are evaluation
        periods, whatever is missing among them."""
        found = [at for at, value in enumerate(values) if value is not None]
        return found[-self.evaluation_periods :]

    def next_state(self, values: Values) -> State:
        """The state after an evaluation range with these values."""
        real = [(at, self.breaches(values[at])) for at in self.evaluated(values)]
        breaching = sum(breaches for _, breaches in real)
        filled = self.evaluation_periods - len(real)
        if self.treatment == "breaching":
            breaching += filled
        if breaching >= self.datapoints_to_alarm:
            return "ALARM"
        undecided = filled > 0 and breaching == len(real)
        if not undecided or self.treatment in ("breaching", "notBreaching"):
            return "OK"
        if self.treatment == "ignore":
            return self.state
        # An early alarm: all that is known breaches, and has done so for long enough.
        if real and len(values) - real[0][0] >= self.datapoints_to_alarm:
            return "ALARM"
        return "INSUFFICIENT_DATA"

    def evaluate(self, minutes: Minutes, now: float) -> Verdict:
        """The state at a time, from the values of minutes.

        As on AWS, an alarm is evaluated over whole minutes. A minute that is not over can only
        raise it, which is up to a minute earlier than on AWS.
        """
        end = int(now // MINUTE * MINUTE)
        early = self.values(minutes, end + MINUTE)
        if early[-1] is not None and self.next_state(early) == "ALARM":
            return Verdict("ALARM", early, end + MINUTE)
        values = self.values(minutes, end)
        return Verdict(self.next_state(values), values, end)

    def reason(self, values: Values, end: int) -> str:
        """Why the alarm has its next state, in the words of CloudWatch."""
        found = self.evaluated(values)
        raised = self.next_state(values) == "ALARM"
        shown = [at for at in found if self.breaches(values[at]) == raised]
        if not shown:
            missing = self.evaluation_periods - len(found)
            if self.treatment not in TREATED:
                return f"Insufficient Data: {missing} datapoints were unknown."
            return (
                f"Threshold Crossed: {missing} missing datapoints were treated as "
                f"[{TREATED[self.treatment]}]."
            )
        points = ", ".join(
            f"{float(values[at])} ({self.time_of(at, end):%d/%m/%y %H:%M:%S})"
            for at in reversed(shown)
        )
        verb = ("was" if len(shown) == 1 else "were") + ("" if raised else " not")
        return (
            f"Threshold Crossed: {len(shown)} out of the last {self.evaluation_periods} "
            f"datapoints [{points}] {verb} {COMPARISONS[self.comparison][1]} the threshold "
            f"({self.threshold}) (minimum {self.datapoints_to_alarm} "
            f"datapoint{'' if self.datapoints_to_alarm == 1 else 's'} for OK -> ALARM transition)."
        )

    def time_of(self, at: int, end: int) -> datetime:
        """When the period of a value of the evaluation range begins."""
        begin = end - self.seconds + at * self.period
        return datetime.fromtimestamp(begin, timezone.utc)


def watched(alarm: Mapping[str, Any]) -> tuple[Expression, dict[str, Series], int]:
    """What an alarm compares: an expression over series, and the period."""
    if not alarm.get("Metrics"):
        period = int(alarm["Period"])
        statistic = alarm.get("ExtendedStatistic") or alarm["Statistic"]
        return Expression("m"), {"m": Series.read(alarm, statistic, period)}, period
    series = {}
    periods = set()
    returned = [each for each in alarm["Metrics"] if each.get("ReturnData", True)]
    for each in alarm["Metrics"]:
        if "Expression" not in each:
            read = each["MetricStat"]
            periods.add(int(read["Period"]))
            series[each["Id"]] = Series.read(read["Metric"], read["Stat"], int(read["Period"]))
        elif each not in returned:
            raise UnsupportedAlarm(f"the expression {each['Id']}, which is not the alarm's own")
    if len(returned) != 1 or len(periods) != 1:
        raise UnsupportedAlarm("metrics with several periods, or several values to compare")
    own = returned[0]
    expression = Expression(own.get("Expression", own["Id"]))
    unknown = expression.names - series.keys()
    if unknown:
        raise UnsupportedAlarm(f"the metric {min(unknown)}, which is not there")
    return expression, series, periods.pop()
