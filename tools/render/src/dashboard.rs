//! The story as a CloudWatch dashboard in the template.

use serde_json::{Value, json};

use crate::{
    alarms,
    metrics::{ANY, AREA_NAME, CHOSEN_AREA, MetricLine},
    story::{self, COLUMNS, GridPlace, Panel, PanelKind, PanelUnit, StoryItem},
    yaml,
};

const STATUS_HEIGHT: u32 = 4;

/// A dashboard variable replaces its text everywhere in the dashboard, so that the text must occur nowhere else.
///
/// Source: CloudWatch API reference, "Dashboard body structure and syntax".
const AREA_PATTERN: &str = "${AreaExample}";

fn body() -> Value {
    let rows = story::rows();
    let items = story::layout(&rows, STATUS_HEIGHT).into_iter().map(|(place, item)| match item {
        StoryItem::Heading(title) => widget("text", place, &json!({"markdown": format!("## {title}")})),
        StoryItem::Panel(panel) => widget("metric", place, &metric(panel)),
    });
    let widgets: Vec<_> = [status()].into_iter().chain(items).collect();
    let area = json!({
        "type": "pattern",
        "pattern": AREA_PATTERN,
        "inputType": "input",
        "id": "area",
        "label": AREA_NAME,
        "defaultValue": AREA_PATTERN,
        "visible": true,
    });
    json!({"start": "-PT3H", "variables": [area], "widgets": widgets})
}

fn widget(kind: &str, place: GridPlace, properties: &Value) -> Value {
    let GridPlace { left, top, width, height } = place;
    json!({"type": kind, "x": left, "y": top, "width": width, "height": height, "properties": properties})
}

fn status() -> Value {
    let alarms = alarms::all();
    let always = alarms.iter().filter(|alarm| alarm.condition.is_none());
    let arns: Vec<_> = always.map(|alarm| format!("${{{}.Arn}}", alarm.resource())).collect();
    let place = GridPlace { left: 0, top: 0, width: COLUMNS, height: STATUS_HEIGHT };
    widget("alarm", place, &json!({"title": "Alarms", "alarms": arns}))
}

fn metric(panel: &Panel) -> Value {
    let lines: Vec<_> = panel.lines.iter().enumerate().map(|(index, of)| line(of, index)).collect();
    let mut properties = json!({
        "title": panel.title,
        "region": "${AWS::Region}",
        "view": if panel.kind == PanelKind::Number { "singleValue" } else { "timeSeries" },
        "stacked": matches!(panel.kind, PanelKind::Bars | PanelKind::Map),
        "period": 60,
        "metrics": lines,
    });
    if panel.kind != PanelKind::Number {
        let label = match panel.unit {
            PanelUnit::Count => "Count",
            PanelUnit::Milliseconds => "Milliseconds",
            PanelUnit::Seconds => "Seconds",
        };
        properties["yAxis"] = json!({"left": {"min": 0, "label": label, "showUnits": false}});
    }
    properties
}

fn line(line: &MetricLine, index: usize) -> Value {
    if line.dimensions().any(|(_, value)| value == ANY) {
        let label = if line.label.is_empty() { "severity" } else { &line.label };
        return json!([{"expression": search(line), "id": format!("s{index}"), "label": label}]);
    }
    let mut parts = vec![json!(line.metric.namespace), json!(line.metric.name)];
    parts.extend(line.dimensions().flat_map(|(name, value)| [json!(name), json!(value)]));
    parts.push(json!({"stat": line.statistic, "label": line.label}));
    Value::Array(parts)
}

/// An expression for all series with these dimensions and the given values.
fn search(line: &MetricLine) -> String {
    let given: String = line
        .dimensions()
        .filter(|(_, value)| *value != ANY)
        .map(|(name, value)| {
            format!(" \"{name}\"=\"{}\"", if value == CHOSEN_AREA { AREA_PATTERN } else { value })
        })
        .collect();
    format!(
        "SEARCH('{{{},{}}} MetricName=\"{}\"{given}', '{}', 60)",
        line.metric.namespace,
        line.metric.dimensions.join(","),
        line.metric.name,
        line.statistic
    )
}

pub(crate) fn render() -> String {
    let body = yaml::json(&body());
    // Each widget is on a line of its own; a folded text of YAML joins them.
    let lines = body.replace(", {\"type\": \"", ",\n        {\"type\": \"");
    let variables: Vec<_> = yaml::variables(&body).map(|(name, value)| format!("{name}: {value}")).collect();
    format!(
        "Dashboard:\n  Type: AWS::CloudWatch::Dashboard\n  Properties:\n    \
         # Dashboards are global to an account, so that the name holds the region.\n    \
         DashboardName: {name}\n    DashboardBody: !Sub\n      - >-\n        {lines}\n      - {variables}\n",
        variables = variables.join("\n        "),
        name = yaml::filled("${Name}-${Environment}-${AWS::Region}"),
    )
}
