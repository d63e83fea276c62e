"""What alarms and dashboards watch, as the template and the generated files name it."""

from __future__ import annotations

import copy
import importlib
import json
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.template.rendered import KEY, Metric, emitted, rendered
from tools.local.dataset import Dataset
from tools.local.functions import DATASET, DATASETS

EVENTS = Dataset.load(DATASET)
GRAFANA = json.loads((DATASETS / DATASET / "grafana.json").read_text(encoding="utf-8"))
STACK = rendered()
WITH_KEY = rendered({"EncryptionKeyArn": KEY})
ALARMS = {
    name.removesuffix("Alarm"): resource["Properties"]
    for name, resource in WITH_KEY.of("AWS::CloudWatch::Alarm").items()
}
CLOUDWATCH = json.loads(STACK.properties("Dashboard")["DashboardBody"])


def read_by(alarm: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics that an alarm reads."""
    several = [each["MetricStat"]["Metric"] for each in alarm.get("Metrics", [])[1:]]
    return several or [alarm]


def of_alarms() -> Iterator[tuple[str, Metric]]:
    for name, alarm in ALARMS.items():
        for metric in read_by(alarm):
            dimensions = frozenset(each["Name"] for each in metric["Dimensions"])
            yield f"alarm {name}", (metric["Namespace"], metric["MetricName"], dimensions)


def of_cloudwatch(body: dict[str, Any]) -> Iterator[tuple[str, Metric]]:
    for widget in body["widgets"]:
        title = f"CloudWatch, {widget['properties'].get('title')}"
        for metric in widget["properties"].get("metrics", []):
            if isinstance(metric[0], dict):
                expression = metric[0]["expression"]
                schema, terms = re.fullmatch(
                    r"SEARCH\('\{(.+?)\} (.+)', '\w+', 60\)", expression
                ).groups()
                namespace, *dimensions = schema.split(",")
                yield (
                    title,
                    (namespace, re.search(r'MetricName="(.+?)"', terms)[1], frozenset(dimensions)),
                )
                # A dimension with a value must be in the schema.
                given = frozenset(re.findall(r'"(\w+)"="', terms))
                assert given <= set(dimensions), expression
            else:
                namespace, name, *rest = metric[:-1]
                yield title, (namespace, name, frozenset(rest[::2]))


def of_grafana(dashboard: dict[str, Any]) -> Iterator[tuple[str, Metric]]:
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            metric = target["namespace"], target["metricName"], frozenset(target["dimensions"])
            yield f"Grafana, {panel['title']}", metric
    for variable in dashboard["templating"]["list"]:
        query = variable["query"]
        if isinstance(query, dict) and "metricName" in query:
            sets = [
                each for *metric, each in emitted() if metric == [EVENTS.namespace, EVENTS.metric]
            ]
            assert any(query["dimensionKey"] in each for each in sets), query
            assert query["metricName"] == EVENTS.metric
            assert query["namespace"] == EVENTS.namespace


def named() -> list[tuple[str, Metric]]:
    return [*of_alarms(), *of_cloudwatch(CLOUDWATCH), *of_grafana(GRAFANA)]


def unknown(named: list[tuple[str, Metric]]) -> list[tuple[str, Metric]]:
    return [(where, metric) for where, metric in named if metric not in emitted()]


needs_grafana = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="Grafana's foundation SDK needs Python 3.11"
)


def typed(kind: str, document: dict[str, Any]) -> Any:
    """A document in Grafana's own type, such as `dashboard.Dashboard`."""
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()
    module, _, name = kind.rpartition(".")
    models = importlib.import_module(f"grafana_foundation_sdk.models.{module}")
    return getattr(models, name).from_json(copy.deepcopy(document))


def held(value: Any) -> dict[str, Any]:
    """A value of Grafana's types as JSON, without fields that the types do not have."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder

    return json.loads(json.dumps(value, cls=JSONEncoder))


def lost(given: Any, kept: Any, place: str = "") -> list[str]:
    """The paths at which a given value was changed or dropped."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            where
            for name, value in given.items()
            for where in (
                lost(value, kept[name], f"{place}/{name}") if name in kept else [f"{place}/{name}"]
            )
        ]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [
            where
            for number, (one, other) in enumerate(zip(given, kept))
            for where in lost(one, other, f"{place}/{number}")
        ]
    return [] if given == kept else [place]
