"""The state of an alarm follows from its data points as CloudWatch's user guide says."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from tests.template.rendered import KEY, rendered
from tools.local.services.evaluation import EXTRA_PERIODS, MINUTE, MetricAlarm, Series
from tools.local.services.metric_math import Expression, UnsupportedAlarm

RETAINED = "retained"
# Source: CloudWatch user guide, "How alarm state is evaluated when data is missing". The newest
# point is last: 0 is within the threshold, X breaches it, - is missing. There are three evaluation
# periods; the first column says how many must breach. The states are those of the treatments below.
DOCUMENTED = [
    (3, "0 - X - X", "OK", "OK", "OK", "OK"),
    (3, "0 - - - -", "OK", "OK", "OK", "OK"),
    (3, "- - - - -", "INSUFFICIENT_DATA", RETAINED, "ALARM", "OK"),
    (3, "0 X X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
    (3, "- - X - -", "ALARM", RETAINED, "ALARM", "OK"),
    (3, "- - - - X", "INSUFFICIENT_DATA", RETAINED, "ALARM", "OK"),
    (3, "- - - X -", "INSUFFICIENT_DATA", RETAINED, "ALARM", "OK"),
    (2, "0 - X - X", "ALARM", "ALARM", "ALARM", "ALARM"),
    (2, "0 0 X 0 X", "ALARM", "ALARM", "ALARM", "ALARM"),
    (2, "0 - X - -", "OK", "OK", "ALARM", "OK"),
    (2, "- - - - 0", "OK", "OK", "ALARM", "OK"),
    (2, "- - - X -", "ALARM", RETAINED, "ALARM", "OK"),
]
TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
VALUES = {"0": 0.0, "X": 2.0, "-": None}


# An alarm on values above 1.
PLAIN = {
    "AlarmName": "name",
    "Namespace": "space",
    "MetricName": "metric",
    "Dimensions": [{"Name": "of", "Value": "it"}],
    "Statistic": "Sum",
    "Period": MINUTE,
    "EvaluationPeriods": 3,
    "Threshold": 1,
    "ComparisonOperator": "GreaterThanThreshold",
}


def alarm(**properties: Any) -> MetricAlarm:
    return MetricAlarm.read({**PLAIN, **properties})


@pytest.mark.parametrize(("needed", "points", "states"), [(n, p, s) for n, p, *s in DOCUMENTED])
def test_missing_data_is_treated_as_documented(needed: int, points: str, states: list[str]) -> None:
    values = [VALUES[point] for point in points.split()]
    for treatment, state in zip(TREATMENTS, states):
        for current in ("OK", "ALARM", "INSUFFICIENT_DATA"):
            watched = alarm(
                DatapointsToAlarm=needed, TreatMissingData=treatment, StateValue=current
            )
            assert watched.next_state(values) == (current if state == RETAINED else state), (
                f"{treatment}, {current}"
            )


def test_without_gaps_only_the_newest_periods_decide() -> None:
    random.seed(1)
    for _ in range(2_000):
        periods = random.randint(1, 6)
        needed = random.randint(1, periods)
        treatment = random.choice(TREATMENTS)
        watched = alarm(
            EvaluationPeriods=periods, DatapointsToAlarm=needed, TreatMissingData=treatment
        )
        values = [random.choice((0.0, 2.0)) for _ in range(watched.periods)]
        raised = sum(value > 1 for value in values[-periods:]) >= needed
        assert watched.next_state(values) == ("ALARM" if raised else "OK")


def test_missing_data_never_changes_more_than_its_treatment_says() -> None:
    """What is treated as within the threshold raises nothing that a value within it would not, and
    what is treated as breaching is at least as strict as a value that breaches."""
    random.seed(2)
    for _ in range(2_000):
        periods = random.randint(1, 6)
        properties = {"EvaluationPeriods": periods, "DatapointsToAlarm": random.randint(1, periods)}
        values = [random.choice((0.0, 2.0, None)) for _ in range(periods + EXTRA_PERIODS)]
        states = {
            treatment: alarm(**properties, TreatMissingData=treatment).next_state(values)
            for treatment in TREATMENTS
        }
        if states["notBreaching"] == "ALARM":
            assert set(states.values()) == {"ALARM"}, values
        if states["breaching"] == "OK":
            assert set(states.values()) == {"OK"}, values
        if None not in values:
            assert len(set(states.values())) == 1


def test_an_alarm_ends_once_its_data_has_left_the_range() -> None:
    random.seed(3)
    for _ in range(500):
        periods = random.randint(1, 6)
        watched = alarm(
            EvaluationPeriods=periods,
            DatapointsToAlarm=random.randint(1, periods),
            TreatMissingData="notBreaching",
        )
        values = [random.choice((0.0, 2.0, None)) for _ in range(watched.periods)]
        for _ in range(watched.periods):
            values = [*values[1:], None]
        assert watched.next_state(values) == "OK"


def test_a_period_is_made_of_its_minutes() -> None:
    for statistic, expected in [("Sum", 6.0), ("Maximum", 4.0), ("Minimum", 2.0)]:
        watched = alarm(Statistic=statistic, Period=300, EvaluationPeriods=1)
        (series,) = watched.series.values()
        minutes = {series: {600: 2.0, 840: 4.0, 900: 100.0}}
        assert watched.values(minutes, 900) == [None, None, expected]
        # The window moves by the minute, not by the period.
        assert watched.values(minutes, 960)[-1] == (
            104.0 if statistic == "Sum" else 100.0 if statistic == "Maximum" else 4.0
        )


def test_only_the_series_of_the_alarm_counts() -> None:
    watched = alarm(EvaluationPeriods=1)
    (series,) = watched.series.values()
    other = Series(series.namespace, series.metric, (("of", "other"),), "Sum")
    assert watched.values({other: {0: 7.0}}, 60) == [None, None, None]
    assert watched.values({other: {0: 7.0}, series: {0: 1.0}}, 60) == [None, None, 1.0]


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("SUM(METRICS())", {"a": 1.0, "b": 2.0}, 3.0),
        ("SUM(METRICS())", {"a": None, "b": 2.0}, 2.0),
        ("SUM(METRICS())", {"a": None, "b": None}, None),
        ("MIN(METRICS())", {"a": 1.0, "b": 0.5}, 0.5),
        ("MIN(METRICS())", {"a": None, "b": 0.5}, 0.5),
        ("a / b", {"a": 1.0, "b": 0.0}, None),
        ("a / b", {"a": None, "b": 1.0}, None),
        ("IF(FILL(a, 0) < 10, 0, 100 * a / b)", {"a": None, "b": 50.0}, 0),
        ("IF(FILL(a, 0) < 10, 0, 100 * a / b)", {"a": 9.0, "b": 9.0}, 0),
        ("IF(FILL(a, 0) < 10, 0, 100 * a / b)", {"a": 10.0, "b": 50.0}, 20.0),
        ("IF(FILL(a, 0) < 10, 0, 100 * a / b)", {"a": 10.0, "b": None}, None),
        ("IF(a > 1, b, 0)", {"a": None, "b": 1.0}, None),
    ],
)
def test_metric_math(text: str, values: Mapping[str, float | None], expected: float | None) -> None:
    assert Expression(text).value(values) == expected


@pytest.mark.parametrize(
    ("properties", "named"),
    [
        ({"Dimensions": []}, "without dimensions, metric"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "GreaterThanUpperThreshold"),
        ({"ThresholdMetricId": "ad1"}, "ThresholdMetricId"),
        ({"EvaluateLowSampleCountPercentile": "ignore"}, "EvaluateLowSampleCountPercentile"),
        ({"ExtendedStatistic": "tm90"}, "tm90"),
        ({"ExtendedStatistic": "p99", "Period": 300}, "p99 over 300 seconds"),
        ({"Statistic": "Average", "Period": 300}, "Average over 300 seconds"),
        ({"Period": 10}, "a period of 10 seconds"),
        ({"Metrics": [{"Id": "e", "Expression": "RATE(METRICS())"}]}, "several periods"),
    ],
)
def test_what_is_not_evaluated_is_refused_by_its_name(
    properties: dict[str, Any], named: str
) -> None:
    with pytest.raises(UnsupportedAlarm, match=named):
        alarm(**properties)


@pytest.mark.parametrize(
    "text",
    [
        "RATE(METRICS())",
        "SUM(a)",
        "SUM(METRICS('a'))",
        "FILL(a, REPEAT)",
        "a if b else c",
        "a <",
        "",
    ],
)
def test_unknown_metric_math_is_refused(text: str) -> None:
    with pytest.raises(UnsupportedAlarm):
        Expression(text)


def test_every_alarm_of_the_template_is_supported() -> None:
    found = rendered({"EncryptionKeyArn": KEY, "FifoAlerts": "true", "ReplayFrom": "1795900000"})
    alarms = [each["Properties"] for each in found.of("AWS::CloudWatch::Alarm").values()]
    assert len(alarms) == 28
    for each in alarms:
        read = MetricAlarm.read(each)
        assert read.treatment == "notBreaching"
        assert read.next_state([None] * read.periods) == "OK"


def test_a_reason_names_the_points_that_decide() -> None:
    watched = alarm(DatapointsToAlarm=2, TreatMissingData="notBreaching")
    assert watched.reason([None, None, 5.0, 1.0, 2.0], 600) == (
        "Threshold Crossed: 2 out of the last 3 datapoints [2.0 (01/01/70 00:09:00), "
        "5.0 (01/01/70 00:07:00)] were greater than the threshold (1.0) (minimum 2 datapoints for "
        "OK -> ALARM transition)."
    )
    assert watched.reason([None] * 5, 600) == (
        "Threshold Crossed: 3 missing datapoints were treated as [NonBreaching]."
    )
    assert watched.reason([None, None, None, 5.0, None], 600) == (
        "Threshold Crossed: 2 missing datapoints were treated as [NonBreaching]."
    )
    assert " was not greater than " in watched.reason([None, None, None, 5.0, 0.0], 600)
