//! The story as a Grafana dashboard with its CloudWatch data source.

use serde_json::{Value, json};
use shared::data::dataset::Dataset;

use crate::{
    metrics::{self, ANY, CHOSEN_AREA, FAILURES_BUCKET, MetricLine, TOPIC_SUFFIX},
    story::{self, GridPlace, Panel, PanelKind, PanelUnit, StoryItem},
};

pub(crate) fn render(dataset: &Dataset) -> String {
    format!("{:#}\n", dashboard(dataset))
}

fn dashboard(dataset: &Dataset) -> Value {
    let names = VariableNames::of(dataset);
    let rows = story::rows();
    let panels: Vec<_> = story::layout(&rows, 0)
        .into_iter()
        .zip(1..)
        .map(|((place, item), id)| match item {
            StoryItem::Heading(title) => heading(title, place, id),
            StoryItem::Panel(panel) => chart(panel, place, id, &names),
        })
        .collect();
    json!({
        "uid": format!("perishable-{}", dataset.name.replace('_', "-")),
        "title": format!("Perishable: {}s", dataset.title),
        "description": "Severe events, alerts, latencies, lag and counts of the pipeline.",
        "tags": ["perishable"],
        "timezone": "browser",
        "editable": true,
        "graphTooltip": 1,
        "schemaVersion": 41,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables(&names)},
        "panels": panels,
    })
}

/// The values for the variables of metrics and texts.
pub(crate) struct VariableNames(Vec<(String, String)>);

impl VariableNames {
    /// The data set's names, and then other ones.
    pub(crate) fn new<'n>(dataset: &Dataset, others: impl IntoIterator<Item = (&'n str, &'n str)>) -> Self {
        let owned = |(variable, name): (&str, &str)| (variable.to_owned(), name.to_owned());
        let mut names: Vec<_> = metrics::names(dataset).map(owned).into();
        names.push(owned(("${Dataset}", &dataset.name)));
        names.push(owned(("${Name}", &dataset.name.replace('_', "-"))));
        names.extend(others.into_iter().map(owned));
        Self(names)
    }

    /// Those of the dashboard, which has variables of its own.
    fn of(dataset: &Dataset) -> Self {
        let others = [
            ("${Environment}", "$environment"),
            (TOPIC_SUFFIX, ""),
            // The bucket's name contains an account, which is unknown to the dashboard.
            (FAILURES_BUCKET, ANY),
            (CHOSEN_AREA, "$area"),
        ];
        Self::new(dataset, others)
    }

    pub(crate) fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (variable, name)| text.replace(variable, name))
    }
}

fn source() -> Value {
    json!({"type": "cloudwatch", "uid": "${datasource}"})
}

fn variables(names: &VariableNames) -> Value {
    let areas = json!({
        "queryType": "dimensionValues",
        "region": "$region",
        "namespace": names.fill(metrics::EVENTS),
        "metricName": names.fill(metrics::EVENT_COUNT),
        "dimensionKey": names.fill(metrics::AREA),
        "dimensionFilters": {},
        "refId": "area",
    });
    json!([
        {"type": "datasource", "name": "datasource", "label": "Data source", "query": "cloudwatch"},
        {
            "type": "query",
            "name": "region",
            "label": "Region",
            "datasource": source(),
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
            "label": names.fill(metrics::AREA_NAME),
            "datasource": source(),
            "query": areas,
            "refresh": 2,
            "sort": 1,
        },
    ])
}

fn grid(place: GridPlace) -> Value {
    json!({"x": place.left, "y": place.top, "w": place.width, "h": place.height})
}

fn heading(title: &str, place: GridPlace, id: u32) -> Value {
    json!({
        "type": "row", "title": title, "id": id, "collapsed": false, "gridPos": grid(place), "panels": [],
    })
}

fn chart(panel: &Panel, place: GridPlace, id: u32, names: &VariableNames) -> Value {
    let kind = match panel.kind {
        PanelKind::Lines | PanelKind::Bars => "timeseries",
        PanelKind::Map => "heatmap",
        PanelKind::Number => "stat",
    };
    let targets: Vec<_> =
        panel.lines.iter().zip('A'..).map(|(line, letter)| target(line, letter, names)).collect();
    json!({
        "type": kind,
        "id": id,
        "title": names.fill(&panel.title),
        "description": names.fill(&panel.description),
        "datasource": source(),
        "gridPos": grid(place),
        "fieldConfig": {"defaults": defaults(panel), "overrides": []},
        "options": options(panel.kind),
        "targets": targets,
    })
}

fn defaults(panel: &Panel) -> Value {
    let unit = match panel.unit {
        PanelUnit::Count => "short",
        PanelUnit::Milliseconds => "ms",
        PanelUnit::Seconds => "s",
    };
    let mut defaults = json!({"unit": unit, "min": 0});
    match panel.kind {
        PanelKind::Bars => {
            defaults["custom"] = json!({
                "drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal", "group": "A"},
            });
        }
        PanelKind::Lines => {
            defaults["custom"] = json!({"drawStyle": "line", "lineWidth": 2, "spanNulls": 300_000});
        }
        PanelKind::Number => {
            let steps = json!([{"color": "green", "value": null}, {"color": "red", "value": 1}]);
            defaults["thresholds"] = json!({"mode": "absolute", "steps": steps});
        }
        PanelKind::Map => {}
    }
    defaults
}

fn options(kind: PanelKind) -> Value {
    match kind {
        PanelKind::Map => json!({
            "calculate": false,
            "color": {"mode": "scheme", "scheme": "YlOrRd", "steps": 64},
            "yAxis": {"axisPlacement": "left", "reverse": false},
            "rowsFrame": {"layout": "auto", "value": "events"},
            "cellGap": 1,
        }),
        PanelKind::Number => json!({
            "reduceOptions": {"calcs": ["max"], "fields": "", "values": false},
            "colorMode": "background",
            "graphMode": "none",
        }),
        PanelKind::Lines | PanelKind::Bars => json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }),
    }
}

/// A query of the data source's builder; it searches if the value of a dimension is a star.
fn target(line: &MetricLine, letter: char, names: &VariableNames) -> Value {
    let any = line.dimensions().filter(|(_, value)| *value == ANY);
    let label = if line.label.is_empty() {
        any.map(|(name, _)| format!("${{PROP('Dim.{}')}}", names.fill(name))).collect()
    } else {
        line.label.clone()
    };
    let place = QueryPlace {
        reference: letter.to_string(),
        id: format!("m{}", letter.to_ascii_lowercase()),
        source: source(),
        region: "$region".to_owned(),
        label,
    };
    query(line, 60, names, &place)
}

/// Where a query of the data source belongs, and what refers to it.
pub(crate) struct QueryPlace {
    /// The name by which expressions of Grafana refer to it.
    pub(crate) reference: String,
    /// The name by which expressions of CloudWatch refer to it.
    pub(crate) id: String,
    pub(crate) source: Value,
    pub(crate) region: String,
    pub(crate) label: String,
}

/// The query of a metric in the data source's builder, for values of so many seconds.
pub(crate) fn query(line: &MetricLine, seconds: u32, names: &VariableNames, place: &QueryPlace) -> Value {
    let dimensions: serde_json::Map<_, _> =
        line.dimensions().map(|(name, value)| (names.fill(name), json!(names.fill(value)))).collect();
    json!({
        "refId": place.reference,
        "id": place.id,
        "datasource": place.source,
        "queryMode": "Metrics",
        "metricQueryType": 0,
        "metricEditorMode": 0,
        "region": place.region,
        "namespace": names.fill(line.metric.namespace),
        "metricName": names.fill(line.metric.name),
        "dimensions": dimensions,
        "matchExact": true,
        "statistic": line.statistic,
        "period": seconds.to_string(),
        "label": place.label,
        "expression": "",
    })
}

/// The query of an expression of CloudWatch, for values of so many seconds.
pub(crate) fn math(expression: &str, seconds: u32, place: &QueryPlace) -> Value {
    json!({
        "refId": place.reference,
        "id": place.id,
        "datasource": place.source,
        "queryMode": "Metrics",
        "metricQueryType": 0,
        "metricEditorMode": 1,
        "region": place.region,
        "namespace": "",
        "metricName": "",
        "dimensions": {},
        "statistic": "",
        "period": seconds.to_string(),
        "label": place.label,
        "expression": expression,
    })
}
