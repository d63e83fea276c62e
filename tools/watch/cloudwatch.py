"""The story as a dashboard of CloudWatch, as `template.yaml` has it."""

from __future__ import annotations

import json
from typing import Any

from alarms import alarms
from metrics import AREA_EXAMPLE, AREA_NAME
from panels import ANY, OF_AREA, STORY, Line, Panel

COLUMNS = 24
HEADING_HEIGHT = 1
STATUS_HEIGHT = 4

VIEWS = {"lines": "timeSeries", "bars": "timeSeries", "map": "timeSeries", "number": "singleValue"}

# A variable of the dashboard replaces a text wherever it stands: it must stand nowhere else.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
AREA_PATTERN = AREA_EXAMPLE


def body() -> dict[str, Any]:
    widgets: list[dict[str, Any]] = [status()]
    top = STATUS_HEIGHT
    for row in STORY:
        widgets.append(
            widget("text", 0, top, COLUMNS, HEADING_HEIGHT, {"markdown": f"## {row.title}"})
        )
        top += HEADING_HEIGHT
        left, tallest = 0, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                left, top, tallest = 0, top + tallest, 0
            widgets.append(widget("metric", left, top, panel.width, panel.height, metric(panel)))
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    area = {
        "type": "pattern",
        "pattern": AREA_PATTERN,
        "inputType": "input",
        "id": "area",
        "label": AREA_NAME,
        "defaultValue": AREA_PATTERN,
        "visible": True,
    }
    return {"start": "-PT3H", "variables": [area], "widgets": widgets}


def widget(
    kind: str, left: int, top: int, width: int, height: int, properties: dict[str, Any]
) -> dict[str, Any]:
    return {
        "type": kind,
        "x": left,
        "y": top,
        "width": width,
        "height": height,
        "properties": properties,
    }


def status() -> dict[str, Any]:
    arns = [f"${{{alarm.resource}.Arn}}" for alarm in alarms() if not alarm.condition]
    return widget("alarm", 0, 0, COLUMNS, STATUS_HEIGHT, {"title": "Alarms", "alarms": arns})


def metric(panel: Panel) -> dict[str, Any]:
    units = {"ms": "Milliseconds", "s": "Seconds"}
    properties: dict[str, Any] = {
        "title": panel.title,
        "region": "${AWS::Region}",
        "view": VIEWS[panel.kind],
        "stacked": panel.kind in ("bars", "map"),
        "period": 60,
        "metrics": [line_of(line, place) for place, line in enumerate(panel.lines)],
    }
    if panel.kind != "number":
        axis = {"min": 0, "label": units.get(panel.unit, "Count"), "showUnits": False}
        properties["yAxis"] = {"left": axis}
    return properties


def line_of(line: Line, place: int) -> list[Any]:
    if ANY in line.dimensions.values():
        return [{"expression": search(line), "id": f"s{place}", "label": line.label or "severity"}]
    dimensions = [part for pair in line.dimensions.items() for part in pair]
    return [line.namespace, line.metric, *dimensions, {"stat": line.statistic, "label": line.label}]


def search(line: Line) -> str:
    """All series that carry these dimensions, and those values that are given."""
    schema = ",".join([line.namespace, *line.dimensions])
    given = [
        f'"{name}"="{AREA_PATTERN if value == OF_AREA else value}"'
        for name, value in line.dimensions.items()
        if value != ANY
    ]
    terms = " ".join([f'MetricName="{line.metric}"', *given])
    return f"SEARCH('{{{schema}}} {terms}', '{line.statistic}', 60)"


def render() -> str:
    """The lines between the template's marks."""
    text = json.dumps(body(), separators=(", ", ": "), ensure_ascii=False)
    parts = [
        "  Dashboard:",
        "    Type: AWS::CloudWatch::Dashboard",
        "    Properties:",
        "      # Dashboards are global to an account, so that the name holds the region.",
        "      DashboardName: !Sub",
        "        - ${Name}-${Environment}-${AWS::Region}",
        '        - Name: !Join ["-", !Split ["_", !Ref Dataset]]',
        "      DashboardBody: !Sub",
        "        - >-",
        *(f"          {part}" for part in broken(text)),
        '        - Name: !Join ["-", !Split ["_", !Ref Dataset]]',
        "          MetricNamespace: !FindInMap [Dataset, Metric, Namespace]",
        "          MetricName: !FindInMap [Dataset, Metric, Name]",
        "          SeverityDimension: !FindInMap [Dataset, Severity, Dimension]",
        "          AreaDimension: !FindInMap [Dataset, Area, Dimension]",
        "          AreaName: !FindInMap [Dataset, Area, Name]",
        '          TopicSuffix: !If [IsFifo, .fifo, ""]',
        "          AreaExample: !FindInMap [Dataset, Area, Example]",
        "",
    ]
    return "\n".join(parts)


def broken(text: str) -> list[str]:
    """The text in lines, a widget on each, which a folded text of YAML joins again."""
    return text.replace(', {"type": "', ',\n{"type": "').split("\n")
