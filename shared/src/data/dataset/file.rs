//! The file of a data set, which refers to columns by name.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use super::{
    Alert, Blanks, Column, Dataset, Location, Metric, Severities, Template, Type, Wording, check, fold,
    template::{DIGEST, LOCATED, Place, STORM, TemplateForm, TemplateNames},
};
use crate::{data::time::DateOrder, json};

/// The file, its columns referred to by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    name: String,
    title: String,
    id: String,
    severity: String,
    severities: Option<Value>,
    #[serde(default)]
    blanks: Vec<String>,
    location: Option<LocationFile>,
    received_at: String,
    #[serde(default = "unnamed")]
    source: String,
    #[serde(default = "unnamed")]
    source_region: String,
    date_order: DateOrder,
    partition_key: String,
    severe_partition_key: String,
    projection: Vec<String>,
    #[serde(default)]
    details: Vec<String>,
    metric: MetricFile,
    alert: Option<AlertFile>,
    column: Vec<Column>,
}

/// The folder in the lake of a data set that does not name one.
fn unnamed() -> String {
    "all".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricFile {
    namespace: String,
    name: String,
    dimensions: serde_json::Map<String, Value>,
    rollups: Option<Vec<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LocationFile {
    latitude: String,
    longitude: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertFile {
    subject: String,
    text: String,
    sms: String,
    attributes: serde_json::Map<String, Value>,
    digest: Option<WordingFile>,
    storm: Option<WordingFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WordingFile {
    subject: String,
    text: String,
    sms: String,
}

impl WordingFile {
    /// The default wording of a digest, which suits any data set.
    fn digest(file: &File) -> Self {
        let File { name, severity, severe_partition_key: area, .. } = file;
        let (severity_column, area_column) = (file.glue(severity), file.glue(area));
        let text = format!(
            "{{count}} events ({{title}}) of severity {{{severity}}} came in at once, {area} {{{area}}}. This one message \
             reports all of them.\n\nFirst ids:  {{ids}}\n\nAll of them are in the table {name}_analytical, under \
             {severity_column} {{{severity}}} and {area_column} {{{area}}}.\n"
        );
        Self {
            subject: format!("{{count}} alerts of severity {{{severity}}}: {{{area}}}"),
            text,
            sms: format!(
                "{{count}} alerts ({{title}}) of severity {{{severity}}}: {{{area}}}. First ids: {{ids}}."
            ),
        }
    }

    /// The default wording of a digest over several severities or areas, which suits any data set.
    fn storm(file: &File) -> Self {
        let File { name, severity, severe_partition_key: area, .. } = file;
        let text = format!(
            "{{count}} events ({{title}}) came in at once, too many for a message each. This one message reports all of \
             them.\n\nBy severity:  {{by_severity}}\nBy area:      {{by_area}}\nFirst ids:    {{ids}}\n\nAn area is the \
             value of {area}. All of the events are in the table {name}_analytical.\n"
        );
        Self {
            subject: format!("{{count}} alerts of severity {{{severity}}} at once"),
            text,
            sms: format!("{{count}} alerts ({{title}}) of severity {{{severity}}} at once: {{by_area}}."),
        }
    }
}

impl AlertFile {
    /// The wording for a data set without its own: the columns of stream 2, each on a line, and its place on a map.
    fn general(file: &File) -> Self {
        let File { severity, severe_partition_key: area, id, projection, details, .. } = file;
        let on_stream = || projection.iter().chain(details);
        let mut lines: Vec<_> = on_stream().map(|name| format!("{name}: {{{name}}}\n")).collect();
        let attribute = |name: &str, column: &str| (name.to_owned(), Value::String(column.to_owned()));
        let mut attributes =
            vec![attribute("severity", severity), attribute("area", area), attribute("id", id)];
        if let Some(LocationFile { latitude, longitude }) = &file.location
            && [latitude, longitude].into_iter().all(|name| on_stream().any(|column| column == name))
        {
            lines.push("Map: {map}\n".to_owned());
            attributes.extend([attribute("latitude", latitude), attribute("longitude", longitude)]);
        }
        Self {
            subject: format!("{{title}} of severity {{{severity}}}: {{{area}}}"),
            text: format!("One {{title}} of severity {{{severity}}} was reported.\n\n{}", lines.concat()),
            sms: format!("{{title}} of severity {{{severity}}}: {{{area}}}. Id {{{id}}}."),
            digest: None,
            storm: None,
            attributes: attributes.into_iter().collect(),
        }
    }
}

/// The positions of the columns of those names.
fn columns_of(
    role: &str,
    names: &[String],
    column: &impl Fn(&str, &str) -> Result<usize, String>,
) -> Result<Vec<usize>, String> {
    names.iter().map(|name| column(role, name)).collect()
}

/// The columns by their names in lower case.
fn folded(columns: &[Column]) -> HashMap<String, usize> {
    columns.iter().enumerate().map(|(at, column)| (fold(&column.name).into_owned(), at)).collect()
}

impl File {
    /// The data set that the file named `name` describes; an error says what is wrong and what was expected.
    pub(super) fn into_dataset(mut self, name: &str) -> Result<Dataset, String> {
        check::file_name(name)?;
        if self.name != name {
            return Err(format!("`name`: expected the file's own name, `{name}`, found `{}`", self.name));
        }
        check::columns(&self.column)?;
        self.type_day_columns();
        let index: HashMap<_, _> =
            self.column.iter().enumerate().map(|(at, column)| (column.name.clone(), at)).collect();
        let column = |role: &str, name: &str| {
            index
                .get(name)
                .copied()
                .ok_or_else(|| format!("`{role}` names `{name}`, but there is no [[column]] of that name"))
        };
        let columns = self.column.clone();
        let typed = |role: &str, name: &str, kind: Type| {
            let found = column(role, name)?;
            match columns[found].kind {
                actual if actual == kind => Ok(found),
                actual => Err(format!(
                    "`{role}`: expected a column of type {kind}, found `{name}` of type {actual}"
                )),
            }
        };
        let located = |file: &LocationFile| -> Result<Location, String> {
            let latitude = typed("location.latitude", &file.latitude, Type::Double)?;
            let longitude = typed("location.longitude", &file.longitude, Type::Double)?;
            Ok(Location { latitude, longitude })
        };
        let severities =
            self.severities.as_ref().map_or_else(|| Ok(Severities::default()), Severities::read)?;
        let dataset = Dataset {
            id: typed("id", &self.id, Type::String)?,
            severity: typed("severity", &self.severity, severities.column_type())?,
            severities,
            blanks: Blanks::new(std::mem::take(&mut self.blanks))?,
            location: self.location.as_ref().map(located).transpose()?,
            received_at: typed("received_at", &self.received_at, Type::Timestamp)?,
            partition_key: column("partition_key", &self.partition_key)?,
            severe_partition_key: column("severe_partition_key", &self.severe_partition_key)?,
            projection: columns_of("projection", &self.projection, &column)?,
            details: columns_of("details", &self.details, &column)?,
            metric: self.metric(&column)?,
            alert: self.alert(&column)?,
            name: self.name,
            title: self.title,
            source: self.source,
            source_region: self.source_region,
            date_order: self.date_order,
            entries: columns.iter().map(|column| json::entry(&column.name)).collect(),
            keys: columns.iter().map(|column| json::key(&column.name)).collect(),
            folded: folded(&columns),
            columns,
            index,
        };
        check::dataset(&dataset)?;
        Ok(dataset)
    }

    /// A column of times with a separate column for its days holds both.
    fn type_day_columns(&mut self) {
        for column in &mut self.column {
            if column.day_column.is_some() {
                column.kind = Type::TimestampOrDate;
            }
        }
    }

    /// The name in Glue of the column of that name. Nothing if there is no such column, which another check reports.
    fn glue(&self, name: &str) -> &str {
        self.column.iter().find(|column| column.name == name).map_or("", |column| &column.column)
    }

    fn metric(&self, column: &impl Fn(&str, &str) -> Result<usize, String>) -> Result<Metric, String> {
        let MetricFile { namespace, name, dimensions, rollups } = &self.metric;
        let dimensions = references("metric.dimensions", dimensions, column)?;
        let all: Vec<usize> = (0..dimensions.len()).collect();
        let mut metric =
            Metric { namespace: namespace.clone(), name: name.clone(), dimensions, sets: vec![all] };
        let rollups = match rollups {
            Some(rollups) => rollups.clone(),
            None => read_by_alarms(
                metric.dimension(column("severity", &self.severity)?),
                metric.dimension(column("severe_partition_key", &self.severe_partition_key)?),
            ),
        };
        for rollup in rollups {
            let set = metric.set(&rollup).map_err(|unknown| {
                format!("`metric.rollups`: expected names of `metric.dimensions`, found `{unknown}`")
            })?;
            if !metric.sets.contains(&set) {
                metric.sets.push(set);
            }
        }
        Ok(metric)
    }

    fn alert(&mut self, column: &impl Fn(&str, &str) -> Result<usize, String>) -> Result<Alert, String> {
        let mut alert = self.alert.take().unwrap_or_else(|| AlertFile::general(self));
        let digest = alert.digest.take().unwrap_or_else(|| WordingFile::digest(self));
        let storm = alert.storm.take().unwrap_or_else(|| WordingFile::storm(self));
        let details = columns_of("details", &self.details, column)?;
        let template = |role: &str, text: &str, own: &[(&'static str, Place)]| {
            let form = if role.rsplit('.').next() == Some("text") {
                TemplateForm::Lines
            } else {
                TemplateForm::Short
            };
            Template::parse(
                role,
                text,
                form,
                &TemplateNames { title: &self.title, column, details: &details, own },
            )
        };
        let one: &[_] = if self.location.is_some() { &LOCATED } else { &[] };
        Ok(Alert {
            one: Wording {
                subject: template("alert.subject", &alert.subject, one)?,
                text: template("alert.text", &alert.text, one)?,
                sms: template("alert.sms", &alert.sms, one)?,
            },
            digest: Wording {
                subject: template("alert.digest.subject", &digest.subject, &DIGEST)?,
                text: template("alert.digest.text", &digest.text, &DIGEST)?,
                sms: template("alert.digest.sms", &digest.sms, &DIGEST)?,
            },
            storm: Wording {
                subject: template("alert.storm.subject", &storm.subject, &STORM)?,
                text: template("alert.storm.text", &storm.text, &STORM)?,
                sms: template("alert.storm.sms", &storm.sms, &STORM)?,
            },
            attributes: references("alert.attributes", &alert.attributes, column)?,
        })
    }
}

/// The sets of dimensions that alarms and dashboards read: the severity, and the severity with the area.
fn read_by_alarms(severity: Option<&str>, area: Option<&str>) -> Vec<Vec<String>> {
    let Some(severity) = severity else { return Vec::new() };
    let by_area = area.map(|area| vec![severity.to_owned(), area.to_owned()]);
    std::iter::once(vec![severity.to_owned()]).chain(by_area).collect()
}

/// A table of names to columns, in the file's order.
fn references(
    role: &str,
    table: &serde_json::Map<String, Value>,
    column: &impl Fn(&str, &str) -> Result<usize, String>,
) -> Result<Vec<(String, usize)>, String> {
    table
        .iter()
        .map(|(name, value)| match value {
            Value::String(value) => Ok((name.clone(), column(role, value)?)),
            other => Err(format!("`{role}.{name}` is {other}, where the name of a column is needed")),
        })
        .collect()
}
