"""Alarms and dashboards name only metrics that are emitted, and match the generated files."""

from __future__ import annotations

import copy

import pytest

from tests.template.rendered import emitted
from tests.template.watched import (
    CLOUDWATCH,
    GRAFANA,
    held,
    lost,
    named,
    needs_grafana,
    of_cloudwatch,
    of_grafana,
    typed,
    unknown,
)


def test_alarms_and_dashboards_name_only_what_is_emitted() -> None:
    places = named()
    assert len(places) > 100
    assert unknown(places) == []


@pytest.mark.parametrize(
    ("namespace", "name", "dimensions"),
    [
        ("perishable", "Unaccounted", {"Dataset", "Environment"}),
        ("perishable", "Unacounted", {"Dataset", "Environment", "Function"}),
        ("perishables", "Unaccounted", {"Dataset", "Environment", "Function"}),
        ("accidents_reports_namespace", "us_accidents_severity_high", {"city_accident"}),
    ],
)
def test_a_name_without_an_emitter_is_found(
    namespace: str, name: str, dimensions: set[str]
) -> None:
    place = ("somewhere", (namespace, name, frozenset(dimensions)))
    assert unknown([place]) == [place]


def test_every_metric_of_the_project_itself_is_watched() -> None:
    watched = {(metric[0], metric[1]) for _, metric in named()}
    own = {metric[:2] for metric in emitted() if not metric[0].startswith("AWS/")}
    assert own <= watched


def test_both_dashboards_show_the_same_metrics() -> None:
    titles = [panel["title"] for panel in GRAFANA["panels"] if panel["type"] != "row"]
    widgets = CLOUDWATCH["widgets"]
    assert [w["properties"]["title"] for w in widgets if w["type"] == "metric"] == titles
    of_both = [
        {where.partition(", ")[2]: metric for where, metric in each}
        for each in (of_cloudwatch(CLOUDWATCH), of_grafana(GRAFANA))
    ]
    assert of_both[0] == of_both[1]


def test_panels_fill_the_grid_without_overlapping() -> None:
    widgets = CLOUDWATCH["widgets"]
    cells = [(w["x"], w["y"], w["width"], w["height"]) for w in widgets]
    grid = [tuple(panel["gridPos"][side] for side in "xywh") for panel in GRAFANA["panels"]]
    for boxes in (cells, grid):
        taken = [
            (x, y)
            for left, top, w, h in boxes
            for x in range(left, left + w)
            for y in range(top, top + h)
        ]
        assert len(taken) == len(set(taken))
        assert max(x for x, _ in taken) < 24


@needs_grafana
def test_the_grafana_file_is_of_grafanas_published_schema() -> None:
    assert lost(GRAFANA, held(typed("dashboard.Dashboard", GRAFANA))) == []
    for spoil in (
        lambda broken: broken.update(panel=[]),
        lambda broken: broken["panels"][1].update(grid_pos={}),
        lambda broken: broken["panels"][1]["targets"][0].update(metric="x"),
        lambda broken: broken["panels"][1]["fieldConfig"]["defaults"]["custom"].update(fill=1),
        lambda broken: broken["templating"]["list"][1].update(datasources="x"),
    ):
        broken = copy.deepcopy(GRAFANA)
        spoil(broken)
        kept = held(typed("dashboard.Dashboard", broken))
        assert lost(broken, kept), "a field that Grafana does not know goes unnoticed"
