//! The alarms of the template.
//!
//! Alarms about events notify people. Alarms about the pipeline stay silent, and `PipelineUnhealthyAlarm`, which
//! watches all of them, reports once that something is wrong, and what.
//!
//! An alarm over several metrics adds them up. The first step of its section in the runbook finds out which of them it
//! was.

mod list;
pub(crate) mod rules;

pub(crate) use list::all;

use crate::{
    metrics::MetricLine,
    yaml::{deployed, filled, pascal, value},
};

const RUNBOOK: &str = "docs/RUNBOOK.md";

/// The threshold of a comparison: a number, or a parameter's `!Ref`.
#[derive(Debug, Clone, Copy)]
enum Threshold {
    Above(&'static str),
    AtLeast(&'static str),
    Below(&'static str),
}

/// One alarm: when it is raised, and what its message says.
#[derive(Debug)]
pub(crate) struct Alarm {
    /// The name of the alarm and of its resource.
    name: String,
    /// Its section of the runbook.
    section: String,
    means: String,
    action: String,
    pub(crate) lines: Vec<MetricLine>,
    threshold: Threshold,
    /// The template's condition under which the alarm exists.
    pub(crate) condition: Option<&'static str>,
    /// Seconds.
    period: u32,
    /// The number of recent periods, and how many of them must breach.
    periods: u32,
    breaching: u32,
    notifies: bool,
    note: Option<&'static str>,
    /// What is compared, if not the sum of the metrics.
    expression: Option<&'static str>,
}

impl Alarm {
    /// An alarm that is raised by one minute.
    fn new(
        name: impl Into<String>,
        means: impl Into<String>,
        action: impl Into<String>,
        lines: impl Into<Vec<MetricLine>>,
        threshold: Threshold,
    ) -> Self {
        let name = name.into();
        Self {
            section: name.clone(),
            name,
            means: means.into(),
            action: action.into(),
            lines: lines.into(),
            threshold,
            condition: None,
            period: 60,
            periods: 1,
            breaching: 1,
            notifies: false,
            note: None,
            expression: None,
        }
    }

    fn section(self, section: &str) -> Self {
        Self { section: section.to_owned(), ..self }
    }

    /// So many of the last periods must breach.
    fn raised_by(self, breaching: u32, periods: u32) -> Self {
        Self { periods, breaching, ..self }
    }

    fn every(self, period: u32) -> Self {
        Self { period, ..self }
    }

    fn notifying(self) -> Self {
        Self { notifies: true, ..self }
    }

    fn only_if(self, condition: &'static str) -> Self {
        Self { condition: Some(condition), ..self }
    }

    fn noted(self, note: &'static str) -> Self {
        Self { note: Some(note), ..self }
    }

    /// Compares the value of an expression with the metrics as `m0`, `m1` and so on.
    fn comparing(self, expression: &'static str) -> Self {
        Self { expression: Some(expression), ..self }
    }

    /// Its logical id.
    pub(crate) fn resource(&self) -> String {
        format!("{}Alarm", pascal(&self.name))
    }

    fn description(&self) -> String {
        format!("{} {} Runbook: {RUNBOOK}#{}", self.means, self.action, self.section)
    }

    fn yaml(&self) -> String {
        let (comparison, threshold) = match self.threshold {
            Threshold::Above(threshold) => ("GreaterThanThreshold", threshold),
            Threshold::AtLeast(threshold) => ("GreaterThanOrEqualToThreshold", threshold),
            Threshold::Below(threshold) => ("LessThanThreshold", threshold),
        };
        let condition = self.condition.map(|name| format!("  Condition: {name}\n")).unwrap_or_default();
        let metrics = match self.lines.as_slice() {
            [line] => self.one_metric(line),
            lines => self.several_metrics(lines),
        };
        let note = self.note.map(|note| format!("    # {note}\n")).unwrap_or_default();
        let actions = if self.notifies { "    AlarmActions: [!Ref AlarmTopic]\n" } else { "" };
        format!(
            "{resource}:\n  Type: AWS::CloudWatch::Alarm\n{condition}  Properties:\n    \
             AlarmName: {name}\n    AlarmDescription: {description}\n{metrics}{note}    \
             EvaluationPeriods: {periods}\n    DatapointsToAlarm: {breaching}\n    Threshold: {threshold}\n    \
             ComparisonOperator: {comparison}\n    TreatMissingData: notBreaching\n{actions}",
            resource = self.resource(),
            name = deployed(&self.name),
            description = filled(&self.description()),
            periods = self.periods,
            breaching = self.breaching,
        )
    }

    fn one_metric(&self, line: &MetricLine) -> String {
        let statistic = if line.statistic.starts_with('p') { "ExtendedStatistic" } else { "Statistic" };
        format!(
            "    Namespace: {}\n    MetricName: {}\n    Dimensions: [{}]\n    {statistic}: {}\n    Period: {}\n",
            value(line.metric.namespace),
            value(line.metric.name),
            dimensions(line),
            line.statistic,
            self.period
        )
    }

    fn several_metrics(&self, lines: &[MetricLine]) -> String {
        let expression = self.expression.unwrap_or(match self.threshold {
            Threshold::Below(_) => "MIN(METRICS())",
            Threshold::Above(_) | Threshold::AtLeast(_) => "SUM(METRICS())",
        });
        let mut text = format!(
            "    Metrics:\n      - {{Id: all, Expression: \"{expression}\", Label: {}}}\n",
            self.name
        );
        for (index, line) in lines.iter().enumerate() {
            let metric = format!(
                "{{Namespace: {}, MetricName: {}, Dimensions: [{}]}}",
                value(line.metric.namespace),
                value(line.metric.name),
                dimensions(line)
            );
            let query = format!(
                "{{Id: m{index}, ReturnData: false, MetricStat: {{Metric: {metric}, Period: {}, Stat: {}}}}}",
                self.period, line.statistic
            );
            text += &match line.condition {
                Some(condition) => format!("      - !If [{condition}, {query}, !Ref AWS::NoValue]\n"),
                None => format!("      - {query}\n"),
            };
        }
        text
    }
}

fn dimensions(line: &MetricLine) -> String {
    let dimension = |(name, of)| format!("{{Name: {}, Value: {}}}", value(name), value(of));
    line.dimensions().map(dimension).collect::<Vec<_>>().join(", ")
}

pub(crate) fn render() -> String {
    let alarms = all();
    let mut resources: Vec<_> = alarms.iter().map(Alarm::yaml).collect();
    resources.push(composite(&alarms));
    resources.join("\n")
}

/// The alarm over those that do not notify people themselves.
fn composite(alarms: &[Alarm]) -> String {
    let silent = || alarms.iter().filter(|alarm| !alarm.notifies);
    let rule = |alarm: &Alarm| format!("ALARM(\"${{{}}}\")", alarm.resource());
    let always: Vec<_> = silent().filter(|alarm| alarm.condition.is_none()).map(rule).collect();
    let mut places = String::new();
    let mut optional = String::new();
    for (alarm, condition) in silent().filter_map(|alarm| Some((alarm, alarm.condition?))) {
        let resource = alarm.resource();
        places += &format!("${{Or{resource}}}");
        optional += &format!("      - Or{resource}: !If [{condition}, !Sub ' OR {}', \"\"]\n", rule(alarm));
    }
    format!(
        "PipelineUnhealthyAlarm:\n  Type: AWS::CloudWatch::CompositeAlarm\n  Properties:\n    AlarmName: {name}\n    \
         AlarmDescription: >-\n      \
         Something is wrong with the pipeline itself: one or more of the alarms that it is made of are raised. The reason\n      \
         names them, and the description of each says what to do. Runbook: {RUNBOOK}#pipeline-unhealthy\n    \
         AlarmRule: !Sub\n      - >-\n        {rules}\n        {places}\n{optional}    \
         AlarmActions: [!Ref AlarmTopic]\n    OKActions: [!Ref AlarmTopic]\n",
        name = deployed("pipeline-unhealthy"),
        rules = always.join("\n        OR "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Metrics of one alarm. Source: CloudWatch user guide, "Create a CloudWatch alarm based on a metric math expression".
    const METRICS_AT_MOST: usize = 10;

    #[test]
    fn alarms_stay_within_the_limit_of_metrics() {
        for alarm in all() {
            assert!((1..=METRICS_AT_MOST).contains(&alarm.lines.len()), "{alarm:?}");
        }
    }

    #[test]
    fn metric_of_an_option_is_read_only_with_the_option() {
        let alarms = all();
        let replayed = alarms.iter().find(|alarm| alarm.name == "failures").unwrap().yaml();
        assert!(replayed.contains("- !If [Replays, {Id: m7, "), "{replayed}");
    }
}
