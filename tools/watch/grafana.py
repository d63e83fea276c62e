"""The story as a dashboard of Grafana, over its CloudWatch data source."""

from __future__ import annotations

import json
from typing import Any

import metrics
from panels import ANY, FAILURES_BUCKET, OF_AREA, STORY, TOPIC_SUFFIX, Line, Panel

COLUMNS = 24
SOURCE = {"type": "cloudwatch", "uid": "${datasource}"}
KINDS = {
    "lines": "timeseries",
    "bars": "timeseries",
    "map": "heatmap",
    "number": "stat",
}


def dashboard(document: dict[str, Any]) -> dict[str, Any]:
    fill = Fill(document)
    panels: list[dict[str, Any]] = []
    top = 0
    for row in STORY:
        panels.append(heading(row.title, top, len(panels) + 1))
        top += 1
        left, tallest = 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            panels.append(panel_of(panel, place, len(panels) + 1, fill))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return {
        "uid": "perishable",
        "title": f"Perishable: {document['title']}s",
        "description": "Severe events, alerts, latencies, lag and books of the pipeline.",
        "tags": ["perishable"],
        "timezone": "browser",
        "editable": True,
        "graphTooltip": 1,
        "schemaVersion": 41,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables(document)},
        "panels": panels,
    }


class Fill:
    """Puts a data set's names, and the dashboard's variables, where the story leaves them open."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._known = {
            **metrics.names(document),
            "${Dataset}": document["name"],
            "${Name}": document["name"].replace("_", "-"),
            "${Environment}": "$environment",
            TOPIC_SUFFIX: "",
            FAILURES_BUCKET: ANY,  # its name holds an account, which the dashboard does not know
            OF_AREA: "$area",
        }

    def __call__(self, text: str) -> str:
        for open_, filled in self._known.items():
            text = text.replace(open_, filled)
        return text


def variables(document: dict[str, Any]) -> list[dict[str, Any]]:
    names = metrics.names(document)
    areas = {
        "queryType": "dimensionValues",
        "region": "$region",
        "namespace": names[metrics.EVENTS],
        "metricName": names[metrics.EVENT_COUNT],
        "dimensionKey": names[metrics.AREA],
        "dimensionFilters": {},
        "refId": "area",
    }
    return [
        {
            "type": "datasource",
            "name": "datasource",
            "label": "Data source",
            "query": "cloudwatch",
        },
        {
            "type": "query",
            "name": "region",
            "label": "Region",
            "datasource": SOURCE,
            "query": {"queryType": "regions", "refId": "region"},
            "current": {"text": "eu-west-1", "value": "eu-west-1"},
            "refresh": 1,
            "sort": 1,
        },
        {
            "type": "textbox",
            "name": "environment",
            "label": "Environment",
            "query": "dev",
            "current": {"text": "dev", "value": "dev"},
        },
        {
            "type": "query",
            "name": "area",
            "label": names[metrics.AREA_NAME],
            "datasource": SOURCE,
            "query": areas,
            "refresh": 2,
            "sort": 1,
        },
    ]


def heading(title: str, top: int, number: int) -> dict[str, Any]:
    place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {
        "type": "row",
        "title": title,
        "id": number,
        "collapsed": False,
        "gridPos": place,
        "panels": [],
    }


def panel_of(panel: Panel, place: dict[str, int], number: int, fill: Fill) -> dict[str, Any]:
    return {
        "type": KINDS[panel.kind],
        "id": number,
        "title": fill(panel.title),
        "description": fill(panel.description),
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults(panel), "overrides": []},
        "options": options(panel),
        "targets": [
            target(line, chr(ord("A") + index), fill) for index, line in enumerate(panel.lines)
        ],
    }


def defaults(panel: Panel) -> dict[str, Any]:
    found: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.kind == "bars":
        found["custom"] = {
            "drawStyle": "bars",
            "fillOpacity": 80,
            "stacking": {"mode": "normal", "group": "A"},
        }
    elif panel.kind == "lines":
        found["custom"] = {"drawStyle": "line", "lineWidth": 2, "spanNulls": 300_000}
    elif panel.kind == "number":
        steps = [{"color": "green", "value": None}, {"color": "red", "value": 1}]
        found["thresholds"] = {"mode": "absolute", "steps": steps}
    return found


def options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "map":
        return {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "YlOrRd", "steps": 64},
            "yAxis": {"axisPlacement": "left", "reverse": False},
            "rowsFrame": {"layout": "auto", "value": "events"},
            "cellGap": 1,
        }
    if panel.kind == "number":
        reduce = {"calcs": ["max"], "fields": "", "values": False}
        return {"reduceOptions": reduce, "colorMode": "background", "graphMode": "none"}
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
    return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def target(line: Line, letter: str, fill: Fill) -> dict[str, Any]:
    """A query of the data source's builder, which searches where a dimension's value is a star."""
    dynamic = [name for name, value in line.dimensions.items() if value == ANY]
    label = line.label or "".join(f"${{PROP('Dim.{fill(name)}')}}" for name in dynamic)
    return {
        "refId": letter,
        "id": f"m{letter.lower()}",
        "datasource": SOURCE,
        "queryMode": "Metrics",
        "metricQueryType": 0,
        "metricEditorMode": 0,
        "region": "$region",
        "namespace": fill(line.namespace),
        "metricName": fill(line.metric),
        "dimensions": {
            fill(name): "*" if value == ANY else fill(value)
            for name, value in line.dimensions.items()
        },
        "matchExact": True,
        "statistic": line.statistic,
        "period": "60",
        "label": label,
        "expression": "",
    }


def render(document: dict[str, Any]) -> str:
    return json.dumps(dashboard(document), indent=2, ensure_ascii=False) + "\n"
