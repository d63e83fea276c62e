//! The alarms as alert rules of Grafana, in the form that it provisions from files.
//!
//! A rule counts the recent periods that breach, and so has the alarm's M of N. Grafana evaluates each query of a rule on its
//! own, so that metric math over several queries is not possible. Metrics that are added up are therefore one query, a
//! search for exactly these.
//!
//! Source: Grafana documentation, "Use configuration files to provision alerting resources", and "Amazon CloudWatch query
//! editor".

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shared::data::{dataset::Dataset, dimension::dimension};

use super::{
    Alarm, RUNBOOK, Threshold, all,
    list::{MAPPINGS, REPLAY_MAPPING},
};
use crate::{
    grafana::{self, QueryPlace, VariableNames},
    metrics::{ANY, FAILURES_BUCKET, MetricLine, TOPIC_SUFFIX},
    template,
};

/// The data source's uid. A data source that is provisioned from a file can have it, too.
const SOURCE: &str = "cloudwatch";
/// The data source of Grafana's own expressions.
const EXPRESSIONS: &str = "__expr__";
/// The expression that decides.
const CONDITION: &str = "raised";
/// The region of the metrics; by default the data source's own.
const REGION: &str = "${Region}";
/// The newest period that is counted has ended at least so many seconds ago. CloudWatch's alarms wait for late values
/// themselves.
const LATE_SECONDS: u32 = 60;

/// The file for these values of the template's parameters and other variables.
pub(crate) fn render(
    dataset: &Dataset,
    template: &str,
    given: &[(String, String)],
) -> Result<String, NoVariable> {
    let values = values(dataset, template, given)?;
    let of_value = values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let names = VariableNames::new(dataset, of_value);
    let alarms = all();
    let mut rules: Vec<_> = alarms.iter().map(|alarm| rule(alarm, &names)).collect();
    rules.push(composite(&alarms, &names));
    let group = json!({
        "orgId": 1,
        "name": names.fill("${Name}-${Environment}"),
        "folder": "Perishable",
        "interval": "1m",
        "rules": rules,
    });
    Ok(format!("{:#}\n", json!({"apiVersion": 1, "groups": [group]})))
}

/// A value is given for a variable that no rule has.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("--set {0}: expected a parameter of template.yaml, or one of {known}", known = known().join(", "))]
pub(crate) struct NoVariable(String);

/// The variables that are not parameters.
fn known() -> Vec<&'static str> {
    let known = MAPPINGS.into_iter().chain([REPLAY_MAPPING, FAILURES_BUCKET, TOPIC_SUFFIX, REGION]);
    known.map(|variable| variable.trim_matches(['$', '{', '}'])).collect()
}

/// The values of the variables: those that are given, or the template's defaults. What only a deployed stack knows is any
/// value.
fn values(
    dataset: &Dataset,
    template: &str,
    given: &[(String, String)],
) -> Result<BTreeMap<String, String>, NoVariable> {
    let variable = |name: &str| format!("${{{name}}}");
    let (_, highest) = dataset.severity_range();
    let mut values: BTreeMap<_, _> =
        template::defaults(template).map(|(name, value)| (variable(name), value.to_owned())).collect();
    values.extend(known().into_iter().map(|name| (variable(name), ANY.to_owned())));
    values.insert(TOPIC_SUFFIX.to_owned(), String::new());
    values.insert(REGION.to_owned(), "default".to_owned());
    values.insert(variable("TopSeverity"), dimension(&dataset.severities.text(highest)));
    for (name, value) in given {
        let known = values.get_mut(&variable(name)).ok_or_else(|| NoVariable(name.clone()))?;
        value.clone_into(known);
    }
    Ok(values)
}

fn rule(alarm: &Alarm, names: &VariableNames) -> Value {
    let texts = [
        ("summary", names.fill(&alarm.means)),
        ("description", names.fill(&alarm.action)),
        ("runbook", format!("{RUNBOOK}#{}", alarm.section)),
    ];
    described(&alarm.name, &texts, alarm.notifies, Conditions::of([alarm], names), names)
}

/// The rule over the alarms that do not notify people themselves.
fn composite(alarms: &[Alarm], names: &VariableNames) -> Value {
    let silent = alarms.iter().filter(|alarm| !alarm.notifies);
    let texts = [
        (
            "summary",
            "Something is wrong with the pipeline itself: one or more of its alarms are raised.".to_owned(),
        ),
        (
            "description",
            "See which of the other rules are firing; the description of each says what to do.".to_owned(),
        ),
        ("runbook", format!("{RUNBOOK}#pipeline-unhealthy")),
    ];
    described("pipeline-unhealthy", &texts, true, Conditions::of(silent, names), names)
}

fn described(
    name: &str,
    texts: &[(&str, String)],
    notifies: bool,
    Conditions { mut data, conditions }: Conditions,
    names: &VariableNames,
) -> Value {
    data.push(expression(CONDITION, json!({"type": "classic_conditions", "conditions": conditions})));
    let title = names.fill(&format!("${{Name}}-{name}-${{Environment}}"));
    json!({
        "uid": uid(&title),
        "title": title,
        "condition": CONDITION,
        "data": data,
        // As the alarms treat missing data: it does not breach. A query that fails is reported.
        "noDataState": "OK",
        "execErrState": "Error",
        "for": "0s",
        "annotations": texts.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect::<serde_json::Map<_, _>>(),
        "labels": {
            "dataset": names.fill("${Dataset}"),
            "environment": names.fill("${Environment}"),
            "notifies": notifies.to_string(),
        },
        "isPaused": false,
    })
}

/// An id of at most 40 characters that stays the same, by which Grafana recognises a rule.
///
/// Source: "FNV hash history", FNV-1a with 64 bits.
fn uid(title: &str) -> String {
    let hash = title.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// The queries of alarms, and the conditions of which one is enough.
#[derive(Default)]
struct Conditions {
    data: Vec<Value>,
    conditions: Vec<Value>,
}

impl Conditions {
    fn of<'a>(alarms: impl IntoIterator<Item = &'a Alarm>, names: &VariableNames) -> Self {
        let mut all = Self::default();
        for alarm in alarms {
            for queried in queries(alarm, names) {
                all.add(alarm, &queried, names);
            }
        }
        all
    }

    /// Adds a query, the periods in which its value breaches, and the condition that they are enough.
    fn add(&mut self, alarm: &Alarm, queried: &Query<'_>, names: &VariableNames) {
        let number = self.conditions.len();
        let (value, breach) = (format!("value{number}"), format!("breach{number}"));
        let (comparison, threshold) = match alarm.threshold {
            Threshold::Above(threshold) => (">", threshold),
            Threshold::AtLeast(threshold) => (">=", threshold),
            Threshold::Below(threshold) => ("<", threshold),
        };
        let threshold = match threshold.strip_prefix("!Ref ") {
            Some(parameter) => names.fill(&format!("${{{parameter}}}")),
            None => threshold.to_owned(),
        };
        // From within the first period until within the last one, because a query also returns the period in which it
        // begins.
        let until = alarm.period + LATE_SECONDS;
        let since = until + (alarm.periods - 1) * alarm.period + 1;
        self.data.push(json!({
            "refId": value,
            "datasourceUid": SOURCE,
            "relativeTimeRange": {"from": since, "to": until},
            "model": queried.model(alarm.period, names, &value),
        }));
        let breaches = format!("${value} {comparison} {threshold}");
        self.data.push(expression(&breach, json!({"type": "math", "expression": breaches})));
        self.conditions.push(json!({
            "evaluator": {"type": "gt", "params": [alarm.breaching - 1]},
            "operator": {"type": "or"},
            "query": {"params": [breach]},
            "reducer": {"type": "sum"},
        }));
    }
}

/// What a rule asks CloudWatch for.
enum Query<'a> {
    Metric(&'a MetricLine),
    /// An expression with the searches for its metrics.
    Math(String),
}

/// The queries of an alarm: its metric, its expression, or what it adds up or compares. A search finds only metrics with the
/// same names of dimensions.
fn queries<'a>(alarm: &'a Alarm, names: &VariableNames) -> Vec<Query<'a>> {
    if let [line] = alarm.lines.as_slice() {
        return vec![Query::Metric(line)];
    }
    let search = |lines: &[&MetricLine]| search(lines, alarm.period, names);
    if let Some(expression) = alarm.expression {
        let of_line = |text: String, (index, line)| {
            text.replace(&format!("m{index}"), &format!("SUM({})", search(&[line])))
        };
        return vec![Query::Math(alarm.lines.iter().enumerate().fold(expression.to_owned(), of_line))];
    }
    let function = if matches!(alarm.threshold, Threshold::Below(_)) { "MIN" } else { "SUM" };
    let kind = |line: &MetricLine| (line.metric.namespace, line.metric.dimensions, line.statistic);
    let mut groups: Vec<Vec<&MetricLine>> = Vec::new();
    for line in &alarm.lines {
        match groups.iter_mut().find(|group| kind(group[0]) == kind(line)) {
            Some(group) => group.push(line),
            None => groups.push(vec![line]),
        }
    }
    groups.iter().map(|group| Query::Math(format!("{function}({})", search(group)))).collect()
}

/// A search for exactly these metrics, which have the same names of dimensions.
fn search(lines: &[&MetricLine], seconds: u32, names: &VariableNames) -> String {
    let first = lines[0];
    let mut terms: Vec<String> = Vec::new();
    for line in lines {
        let values = line.dimensions().map(|(name, value)| (name, names.fill(value)));
        let values = values.filter(|(_, value)| value != ANY);
        let values: String = values.map(|(name, value)| format!(" \"{name}\"=\"{value}\"")).collect();
        let term = format!("(MetricName=\"{}\"{values})", line.metric.name);
        if !terms.contains(&term) {
            terms.push(term);
        }
    }
    format!(
        "SEARCH('{{{},{}}} {}', '{}', {seconds})",
        first.metric.namespace,
        first.metric.dimensions.join(","),
        terms.join(" OR "),
        first.statistic
    )
}

impl Query<'_> {
    fn model(&self, seconds: u32, names: &VariableNames, reference: &str) -> Value {
        let place = QueryPlace {
            reference: reference.to_owned(),
            id: reference.to_owned(),
            source: json!({"type": "cloudwatch", "uid": SOURCE}),
            region: names.fill(REGION),
            label: String::new(),
        };
        match self {
            Self::Metric(line) => grafana::query(line, seconds, names, &place),
            Self::Math(expression) => grafana::math(expression, seconds, &place),
        }
    }
}

fn expression(reference: &str, mut model: Value) -> Value {
    model["refId"] = json!(reference);
    model["datasource"] = json!({"type": EXPRESSIONS, "uid": EXPRESSIONS});
    json!({
        "refId": reference,
        "datasourceUid": EXPRESSIONS,
        "relativeTimeRange": {"from": 0, "to": 0},
        "model": model,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../../../template.yaml");
    /// Characters of a search.
    ///
    /// Source: CloudWatch user guide, "Search expression syntax".
    const SEARCH_CHARS: usize = 1_024;

    fn rendered(name: &str, given: &[(&str, &str)]) -> Result<Value, NoVariable> {
        let given: Vec<_> =
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let text = render(&Dataset::named(name).unwrap(), TEMPLATE, &given)?;
        assert!(!text.contains("${") && !text.contains("!Ref"), "{text}");
        Ok(serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn several_queries_of_an_alarm_decide_as_their_sum_does() {
        let dataset = Dataset::named("us_accidents").unwrap();
        let names = VariableNames::new(&dataset, []);
        for alarm in all() {
            if queries(&alarm, &names).len() > 1 {
                // One period is enough, and nothing is below zero: then one of the parts is above zero if the sum is.
                assert!(
                    matches!(alarm.threshold, Threshold::Above("0")) && alarm.breaching == 1,
                    "{alarm:?}"
                );
            }
        }
    }

    #[test]
    fn values_of_a_deployed_stack_replace_the_defaults() {
        let rules = rendered(
            "us_accidents",
            &[
                ("Environment", "prod"),
                ("SevereAlarmThreshold", "7"),
                ("FailuresBucket", "bucket"),
                ("ReplayMapping", "id"),
            ],
        )
        .unwrap();
        let group = &rules["groups"][0];
        assert_eq!(group["name"], "us-accidents-prod");
        let rule = |name: &str| {
            let rules = group["rules"].as_array().unwrap().iter();
            rules.clone().find(|rule| rule["title"] == format!("us-accidents-{name}-prod")).unwrap().clone()
        };
        assert_eq!(rule("severe-event")["data"][1]["model"]["expression"], "$value0 >= 7");
        let failures = rule("failures").to_string();
        assert!(failures.contains(r#"\"BucketName\"=\"bucket\" \"FilterId\"=\"Failures\""#), "{failures}");
        assert!(failures.contains(r#"(MetricName=\"DroppedEventCount\" \"EventSourceMappingUUID\"=\"id\")"#));
        assert_eq!(
            rendered("us_accidents", &[("Envronment", "prod")]),
            Err(NoVariable("Envronment".to_owned()))
        );
    }

    #[test]
    fn searches_are_as_short_as_cloudwatch_takes() {
        let longest = [("Environment", "e1234567")];
        for name in Dataset::names() {
            for rule in rendered(name, &longest).unwrap()["groups"][0]["rules"].as_array().unwrap() {
                for step in rule["data"].as_array().unwrap() {
                    let expression = step["model"]["expression"].as_str().unwrap_or_default();
                    for search in expression.split("SEARCH('").skip(1) {
                        let (search, _) = search.split_once('\'').unwrap();
                        assert!(search.len() + 20 <= SEARCH_CHARS, "{search}");
                    }
                }
            }
        }
    }

    #[test]
    fn rules_have_ids_that_differ_and_stay() {
        let mut seen = std::collections::BTreeSet::new();
        for (name, environment) in
            [("us_accidents", "dev"), ("us_accidents", "prod"), ("support_tickets", "dev")]
        {
            for rule in rendered(name, &[("Environment", environment)]).unwrap()["groups"][0]["rules"]
                .as_array()
                .unwrap()
            {
                assert!(seen.insert(rule["uid"].to_string()), "{rule}");
            }
        }
        // Source: the test vectors of the hash.
        assert_eq!((uid(""), uid("a")), ("cbf29ce484222325".to_owned(), "af63dc4c8601ec8c".to_owned()));
    }
}
