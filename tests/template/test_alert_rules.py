"""The alert rules of Grafana are valid, and have the conditions of the alarms."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tests.template.rendered import KEY, rendered
from tests.template.watched import held, lost, needs_grafana, read_by, typed
from tools.local.functions import DATASET, DATASETS, render
from tools.local.grafana_rules import MEASURED, settings
from tools.local.services.evaluation import MetricAlarm, Minutes
from tools.local.services.metric_math import Expression

FILES = {folder.name: folder / "grafana-alerts.json" for folder in DATASETS.iterdir()}
FILE = json.loads(FILES[DATASET].read_text(encoding="utf-8"))
(GROUP,) = FILE["groups"]
RULES = {rule["title"]: rule for rule in GROUP["rules"]}
# With all optional alarms and metrics, except those of a FIFO topic.
STACK = rendered({"EncryptionKeyArn": KEY, "ReplayFrom": "1795900000"})
ALARMS = {
    alarm["Properties"]["AlarmName"]: alarm["Properties"]
    for alarm in STACK.of("AWS::CloudWatch::Alarm").values()
}
COMPOSITE = STACK.properties("PipelineUnhealthyAlarm")

COMPARISONS = {
    ">": "GreaterThanThreshold",
    ">=": "GreaterThanOrEqualToThreshold",
    "<": "LessThanThreshold",
}
# A rule without data is in this state if the alarm treats missing data so.
NO_DATA = {"notBreaching": "OK"}
# Seconds for which a rule waits for late values after the end of a period.
LATE = 60
SEARCH = re.compile(r"SEARCH\('\{([^}]+)\} (.+?)', '(\w+)', (\d+)\)")


def known(dimensions: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """The dimensions without those that only a deployed stack knows, which may have any value."""
    return frozenset((name, value) for name, value in dimensions if not value.startswith("<"))


def condition_of(alarm: dict[str, Any]) -> dict[str, Any]:
    """What raises an alarm."""
    several = alarm.get("Metrics", [])[1:]
    statistics = [each["MetricStat"]["Stat"] for each in several] or [
        alarm.get("Statistic") or alarm["ExtendedStatistic"]
    ]
    metrics = {
        (
            metric["Namespace"],
            metric["MetricName"],
            known((each["Name"], each["Value"]) for each in metric["Dimensions"]),
            statistic,
        )
        for metric, statistic in zip(read_by(alarm), statistics)
    }
    periods = {each["MetricStat"]["Period"] for each in several} or {alarm["Period"]}
    return {
        "metrics": metrics,
        "expression": alarm["Metrics"][0]["Expression"] if several else None,
        "period": periods,
        "comparison": alarm["ComparisonOperator"],
        "threshold": float(alarm["Threshold"]),
        "periods": alarm["EvaluationPeriods"],
        "breaching": alarm["DatapointsToAlarm"],
        "no data": NO_DATA[alarm["TreatMissingData"]],
    }


def conditions_of(rule: dict[str, Any]) -> list[dict[str, Any]]:
    """What raises a rule: any of these conditions."""
    steps = {step["refId"]: step for step in rule["data"]}
    assert len(steps) == len(rule["data"])
    decision = steps[rule["condition"]]["model"]
    assert (decision["type"], rule["for"]) == ("classic_conditions", "0s")
    found = []
    for condition in decision["conditions"]:
        assert (condition["operator"]["type"], condition["reducer"]["type"]) == ("or", "sum")
        assert condition["evaluator"]["type"] == "gt"
        (breach,) = condition["query"]["params"]
        math = steps[breach]["model"]
        assert math["type"] == "math"
        value, comparison, threshold = re.fullmatch(
            r"\$(\w+) (>|>=|<) (\d+)", math["expression"]
        ).groups()
        query = steps[value]["model"]
        period = int(query["period"])
        time = steps[value]["relativeTimeRange"]
        assert time["to"] == period + LATE
        periods, rest = divmod(time["from"] - time["to"] - 1, period)
        assert rest == 0
        found.append(
            {
                **queried(query),
                "period": {period},
                "comparison": COMPARISONS[comparison],
                "threshold": float(threshold),
                "periods": periods + 1,
                "breaching": condition["evaluator"]["params"][0] + 1,
                "no data": rule["noDataState"],
            }
        )
    assert len(steps) == 2 * len(found) + 1, "every query and every expression is used"
    return found


def queried(query: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a query, and its expression in the form of an alarm."""
    if query["metricEditorMode"] == 0:
        assert query["matchExact"] is True
        dimensions = frozenset(query["dimensions"].items())
        metric = (query["namespace"], query["metricName"], dimensions, query["statistic"])
        return {"metrics": {metric}, "expression": None}
    searches = list(dict.fromkeys(SEARCH.findall(query["expression"])))
    metrics = set()
    for schema, terms, statistic, period in searches:
        assert period == query["period"]
        namespace, *names = schema.split(",")
        for term in terms.split(" OR "):
            name, rest = re.fullmatch(r'\(MetricName="([^"]+)"(.*)\)', term).groups()
            dimensions = frozenset(re.findall(r' "([^"]+)"="([^"]+)"', rest))
            assert {dimension for dimension, _ in dimensions} <= set(names)
            metrics.add((namespace, name, dimensions, statistic))
    expression = SEARCH.sub(lambda match: f"m{searches.index(match.groups())}", query["expression"])
    whole = re.fullmatch(r"(SUM|MIN)\(m0\)", expression)
    if whole is not None:
        return {"metrics": metrics, "expression": f"{whole[1]}(METRICS())"}
    return {"metrics": metrics, "expression": re.sub(r"SUM\((m\d)\)", r"\1", expression)}


def merged(conditions: list[dict[str, Any]]) -> dict[str, Any]:
    """One condition over the metrics of conditions that are equal otherwise."""
    metrics = set().union(*(each["metrics"] for each in conditions))
    both = [{**each, "metrics": metrics} for each in conditions]
    assert all(each == both[0] for each in both)
    return both[0]


def test_there_is_a_rule_for_each_alarm() -> None:
    assert len(ALARMS) > 25
    assert set(RULES) == {*ALARMS, COMPOSITE["AlarmName"]}


@pytest.mark.parametrize("name", ALARMS)
def test_a_rule_is_raised_by_the_condition_of_its_alarm(name: str) -> None:
    expected = condition_of(ALARMS[name])
    found = merged(conditions_of(RULES[name]))
    if name == "us-accidents-undelivered-alerts-dev":
        (fifo,) = found["metrics"] - expected["metrics"]
        queue = ("QueueName", "us-accidents-undelivered-alerts-dev.fifo")
        assert fifo[1:3] == ("ApproximateNumberOfMessagesVisible", frozenset([queue]))
        expected["metrics"].add(fifo)
    assert found == expected


@pytest.mark.parametrize(
    ("step", "spoil"),
    [
        (0, lambda step: step["relativeTimeRange"].update({"from": 420})),
        (0, lambda step: step["model"].update(statistic="Average")),
        (0, lambda step: step["model"]["dimensions"].update(severity_accident="3")),
        (1, lambda step: step["model"].update(expression="$value0 >= 2")),
        (1, lambda step: step["model"].update(expression="$value0 > 1")),
        (2, lambda step: step["model"]["conditions"][0]["evaluator"].update(params=[1])),
    ],
)
def test_another_condition_is_noticed(step: int, spoil: Any) -> None:
    name = "us-accidents-severe-event-dev"
    broken = copy.deepcopy(RULES[name])
    spoil(broken["data"][step])
    try:
        found = merged(conditions_of(broken))
    except AssertionError:
        return
    assert found != condition_of(ALARMS[name])


@pytest.mark.parametrize("name", ALARMS)
def test_a_rule_decides_as_its_alarm_does(name: str) -> None:
    """Whatever the values are, and whatever of them is missing."""
    alarm = MetricAlarm.read(ALARMS[name])
    conditions = conditions_of(RULES[name])
    rng = random.Random(name)
    end = alarm.period * 1_000
    states = set()
    for _ in range(300):
        share = rng.random()
        minutes = {
            series: {
                begin: rng.choice((0, alarm.threshold, alarm.threshold + 1, 1e6))
                for begin in range(end - alarm.seconds, end, alarm.period)
                if rng.random() < share
            }
            for series in alarm.series.values()
        }
        newest = alarm.values(minutes, end)[-alarm.evaluation_periods :]
        raised = any(fires(each, alarm, minutes, end) for each in conditions)
        breaches = [value for value in newest if value is not None and alarm.breaches(value)]
        assert raised == (len(breaches) >= alarm.datapoints_to_alarm), minutes
        if None not in newest:
            assert raised == (alarm.evaluate(minutes, end).state == "ALARM")
        states.add(raised)
    assert states == {True, False}


def fires(condition: dict[str, Any], alarm: MetricAlarm, minutes: Minutes, end: int) -> bool:
    """Whether enough of the newest periods breach, by the metrics that the condition reads."""
    series = {
        name: each
        for name, each in alarm.series.items()
        if (each.namespace, each.metric, known(each.dimensions), each.statistic)
        in condition["metrics"]
    }
    part = replace(
        alarm,
        series=series,
        expression=Expression(condition["expression"] or "m"),
        threshold=condition["threshold"],
        comparison=condition["comparison"],
    )
    newest = part.values(minutes, end)[-condition["periods"] :]
    breaches = [value for value in newest if value is not None and part.breaches(value)]
    return len(breaches) >= condition["breaching"]


def test_one_rule_is_over_the_alarms_that_notify_nobody() -> None:
    silent = re.findall(r'ALARM\("<(\w+)>"\)', COMPOSITE["AlarmRule"])
    names = [STACK.properties(resource)["AlarmName"] for resource in silent]
    expected = [each for name in names for each in conditions_of(RULES[name])]
    found = conditions_of(RULES[COMPOSITE["AlarmName"]])
    assert len(found) == len(expected)
    assert all(each in expected for each in found)
    assert all(each in found for each in expected)
    notifying = {name for name, rule in RULES.items() if rule["labels"]["notifies"] == "true"}
    with_actions = {name for name, alarm in ALARMS.items() if "AlarmActions" in alarm}
    assert notifying == {*with_actions, COMPOSITE["AlarmName"]}


def test_a_rule_says_what_its_alarm_says() -> None:
    for name, alarm in ALARMS.items():
        texts = RULES[name]["annotations"]
        said = f"{texts['summary']} {texts['description']} Runbook: {texts['runbook']}"
        assert said == alarm["AlarmDescription"], name


# Source: Grafana documentation, "Use configuration files to provision alerting resources".
OF_GROUP = {"orgId", "name", "folder", "interval", "rules"}
OF_QUERY = {"refId", "queryType", "relativeTimeRange", "datasourceUid", "model"}


@needs_grafana
@pytest.mark.parametrize("dataset", FILES)
def test_rules_are_of_grafanas_published_schema(dataset: str) -> None:
    file = json.loads(FILES[dataset].read_text(encoding="utf-8"))
    assert (file.keys(), file["apiVersion"]) == ({"apiVersion", "groups"}, 1)
    for group in file["groups"]:
        assert group.keys() == OF_GROUP
        for rule in group["rules"]:
            assert lost(*of_grafana(group, rule)) == [], rule["title"]
            assert re.fullmatch(r"[\w-]{1,40}", rule["uid"])
            assert all(query.keys() <= OF_QUERY for query in rule["data"])
            assert all(each["model"]["refId"] == each["refId"] for each in rule["data"])
    for spoil in (
        lambda broken: broken.update(noData="OK"),
        lambda broken: broken["data"][0].update(range={}),
        lambda broken: broken["data"][0]["model"].update(metric="x"),
        lambda broken: broken["data"][1]["model"].update(expr="x"),
        lambda broken: broken["data"][2]["model"]["conditions"][0].update(reduce={}),
    ):
        broken = copy.deepcopy(GROUP["rules"][0])
        spoil(broken)
        assert lost(*of_grafana(GROUP, broken)), "a field that Grafana does not know goes unnoticed"


def of_grafana(group: dict[str, Any], rule: dict[str, Any]) -> tuple[Any, Any]:
    """A rule with what its group says, and the same in Grafana's types, without other fields."""
    of_group = {
        "orgID": group["orgId"],
        "folderUID": group["folder"],
        "ruleGroup": group["name"],
    }
    whole = {**rule, **of_group}
    kept = typed("alerting.Rule", whole)
    assert not [query for query in kept.data if type(query.model).__name__ == "UnknownDataquery"]
    return whole, held(kept)


def test_rules_of_a_stack_have_its_values() -> None:
    ids = {name: f"id-of-{name}" for name in MEASURED if name != "ReplayMapping"}
    given = settings(
        "eu-west-2", {"Environment": "prod", "FifoAlerts": "true", "AlertEmail": ""}, ids
    )
    file = json.loads(render("--alert-rules", DATASET, *given))
    rules = {rule["title"]: rule for rule in file["groups"][0]["rules"]}
    assert all(name.endswith("-prod") for name in rules)
    text = json.dumps(rules["us-accidents-failures-prod"])
    assert all(physical in text for physical in ids.values())
    undelivered = json.dumps(rules["us-accidents-undelivered-alerts-prod"])
    assert "us-accidents-alerts-prod.fifo" in undelivered
    regions = {
        step["model"]["region"]
        for rule in rules.values()
        for step in rule["data"]
        if step["datasourceUid"] == "cloudwatch"
    }
    assert regions == {"eu-west-2"}
