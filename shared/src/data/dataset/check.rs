//! Checks of a data set: that it is consistent, and that the services accept its names.

use std::collections::{HashMap, HashSet};

use super::{
    Alert, Column, Dataset, INVALID, Metric, ORIGINAL_BYTES, SEVERITY_KEY, Template, Type, UNLISTED_SEVERITY,
    Wording, fold,
};

/// Columns that the tables have in addition to the data set's: keys of the partitions, the text of unreadable cells, and
/// the severity of an event that the data set does not list.
const TAKEN: [&str; 5] = ["year", "month", "day", "invalid", UNLISTED_SEVERITY];
/// Characters of a Glue column's name and of its comment.
///
/// Source: Glue web API reference, "Column structure".
const GLUE_CHARS: usize = 255;
/// Dimensions of a metric.
///
/// Source: CloudWatch API reference, `MetricDatum`.
const DIMENSIONS: usize = 30;
/// Characters of a namespace, a metric's name and a dimension's name.
///
/// Source: CloudWatch API reference, `PutMetricData`, `MetricDatum` and `Dimension`.
const METRIC_CHARS: usize = 255;
/// Details at most. An alert with the longest values then fits into a message.
const DETAILS: usize = 16;
/// Attributes of a message at most: with more, a message never reaches a queue that receives raw messages.
///
/// Source: SNS developer guide, "Amazon SNS message attributes".
const ATTRIBUTES: usize = 10;
/// Characters of an attribute's name.
///
/// Source: SQS developer guide, "Amazon SQS message metadata".
const ATTRIBUTE_CHARS: usize = 256;
/// The fields of an alert's text for machines that are not attributes, and `metadata`, which AWS's chat integration would
/// read.
pub const MACHINE_FIELDS: [&str; 16] = [
    "at",
    "content",
    "count",
    "counts",
    "dataset",
    "details",
    "events",
    "ids",
    "map",
    "metadata",
    "on_call",
    "raised",
    "raised_count",
    "source",
    "text",
    "version",
];

type Check = Result<(), String>;

fn is_plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

/// The name of the file, from which resources are named.
pub(super) fn file_name(name: &str) -> Check {
    if (2..=20).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_plain)
    {
        return Ok(());
    }
    Err(format!(
        "the file's name: expected two to twenty lower case letters, digits and underscores, a letter first, found `{name}`"
    ))
}

/// Checks everything except the columns themselves.
pub(super) fn dataset(dataset: &Dataset) -> Check {
    one_line("title", &dataset.title)?;
    folder("source", &dataset.source)?;
    folder("source_region", &dataset.source_region)?;
    let severity = &dataset.columns[dataset.severity];
    if severity.column == SEVERITY_KEY && !dataset.severities.are_levels() {
        return Err(format!(
            "column = `{SEVERITY_KEY}` of `{}`: expected another name, such as `{SEVERITY_KEY}_text`, since the tables have the \
             level of the severity in `{SEVERITY_KEY}`",
            severity.name
        ));
    }
    for Column { name, column, .. } in &dataset.columns {
        if column == SEVERITY_KEY && *name != severity.name {
            return Err(taken(name, column));
        }
    }
    stream_2(dataset)?;
    metric(&dataset.metric)?;
    if dataset.metric.dimension(dataset.severity).is_none() {
        return Err(format!(
            "`metric.dimensions`: expected a dimension for `{}`, which alarms read, found none",
            severity.name
        ));
    }
    alert(&dataset.alert, &attributes(dataset))
}

/// The names of the attributes that an alert has.
fn attributes(dataset: &Dataset) -> Vec<String> {
    dataset.attributes().map(|(name, _)| name).collect()
}

/// The columns, whose names are keys of events, columns of tables and text in the template.
pub(super) fn columns(columns: &[Column]) -> Check {
    let (mut names, mut glue) = (HashMap::new(), HashSet::new());
    for Column { name, column, comment, kind, day_column, .. } in columns {
        column_name(name)?;
        if let Some(earlier) = names.insert(fold(name), name) {
            return Err(format!(
                "name = `{name}`: expected a name of its own, found that of `{earlier}`; upper and lower case count as the same"
            ));
        }
        glue_name(name, column)?;
        if !glue.insert(column.as_str()) {
            return Err(format!(
                "column = `{column}` of `{name}`: expected a name of its own, found it twice"
            ));
        }
        if let Some(day) = day_column {
            day_name(name, day, *kind)?;
            if !glue.insert(day.as_str()) {
                return Err(format!(
                    "day_column = `{day}` of `{name}`: expected a name of its own, found it twice"
                ));
            }
        }
        if comment.chars().count() > GLUE_CHARS || comment.contains(char::is_control) {
            return Err(format!(
                "comment of `{name}`: expected one line of at most {GLUE_CHARS} characters, found another text"
            ));
        }
    }
    Ok(())
}

fn column_name(name: &str) -> Check {
    let expected = |what: &str, found: &str| Err(format!("name = `{name}`: expected {what}, found {found}"));
    if name.trim().is_empty() {
        return expected("the name of a column", "a blank");
    }
    if name.trim() != name {
        return expected("a name without spaces around it, as headers are read", "some");
    }
    if name.contains(char::is_control) {
        return expected("a name on one line", "a line break or another control character");
    }
    if fold(name) == INVALID {
        return expected(
            "another name, such as `invalid_cells`",
            "the one under which events keep unreadable cells",
        );
    }
    if fold(name) == ORIGINAL_BYTES {
        return expected(
            "another name, such as `bytes`",
            "the one under which events keep the bytes of unreadable rows",
        );
    }
    Ok(())
}

/// A name that Glue accepts and that Athena reads without quotes. A name of digits would be a number in the template.
fn glue_name(name: &str, column: &str) -> Check {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let has_letter = column.contains(|c: char| c.is_ascii_lowercase());
    if !column.starts_with(first) || !column.chars().all(is_plain) || !has_letter || column.len() > GLUE_CHARS
    {
        return Err(format!(
            "column = `{column}` of `{name}`: expected a Glue name of lower case letters, digits and underscores that \
             does not begin with a digit, found another"
        ));
    }
    if TAKEN.contains(&column) { Err(taken(name, column)) } else { Ok(()) }
}

/// The name in Glue of the column for days without a time.
fn day_name(name: &str, day: &str, kind: Type) -> Check {
    if kind != Type::Timestamp {
        return Err(format!(
            "day_column = `{day}` of `{name}`: expected a column of type timestamp, found type {kind}"
        ));
    }
    // Also if the severity has another name in Glue, since the partitions' key has this one.
    if day == SEVERITY_KEY { Err(taken(name, day)) } else { glue_name(name, day) }
}

fn taken(name: &str, column: &str) -> String {
    format!(
        "column = `{column}` of `{name}`: expected another name, such as `{column}_of_event`, found one that the tables \
         need themselves"
    )
}

/// A folder's name in the lake.
fn folder(role: &str, name: &str) -> Check {
    let plain = |c: char| is_plain(c) || c == '-';
    if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
        return Err(format!(
            "`{role}`: expected one to 32 lower case letters, digits, hyphens and underscores, found `{name}`"
        ));
    }
    Ok(())
}

/// A text of one line, which is used in subjects and in comments of queries.
fn one_line(role: &str, text: &str) -> Check {
    if text.trim().is_empty() || text.contains(char::is_control) {
        return Err(format!("`{role}`: expected a text of one line, found a blank or a line break"));
    }
    Ok(())
}

/// Each column that the consumers of stream 2 need must be on stream 2, exactly once.
fn stream_2(dataset: &Dataset) -> Check {
    let Dataset { projection, details, location, alert, .. } = dataset;
    let name = |column: usize| &dataset.columns[column].name;
    let mut listed = HashSet::new();
    if let Some(twice) = projection.iter().find(|column| !listed.insert(**column)) {
        return Err(format!("`projection`: expected each column once, found `{}` twice", name(*twice)));
    }
    let needed = [dataset.id, dataset.severity, dataset.received_at, dataset.severe_partition_key];
    lists(dataset, &listed, needed)?;
    if details.len() > DETAILS {
        return Err(format!("`details`: expected at most {DETAILS} columns, found {}", details.len()));
    }
    if let Some(twice) = details.iter().find(|column| !listed.insert(**column)) {
        let place = if projection.contains(twice) { "in `projection` too" } else { "twice" };
        return Err(format!("`details`: expected each column once, found `{}` {place}", name(*twice)));
    }
    let Alert { one, digest, storm, attributes } = alert;
    let templates =
        [one, digest, storm].into_iter().flat_map(|wording| [&wording.subject, &wording.text, &wording.sms]);
    let mapped = location.filter(|_| templates.clone().any(Template::has_map));
    let needed = dataset.metric.dimensions.iter().map(|(_, column)| *column);
    let needed = needed.chain(attributes.iter().map(|(_, column)| *column));
    let needed = needed.chain(templates.flat_map(Template::columns));
    lists(
        dataset,
        &listed,
        needed.chain(mapped.into_iter().flat_map(|place| [place.latitude, place.longitude])),
    )
}

/// Checks that the columns of stream 2 have those that are needed.
fn lists(dataset: &Dataset, listed: &HashSet<usize>, needed: impl IntoIterator<Item = usize>) -> Check {
    match needed.into_iter().find(|column| !listed.contains(column)) {
        None => Ok(()),
        Some(column) => Err(format!(
            "`projection` lacks `{}`, which metrics or alerts need: add it, or add what only they need to `details`",
            dataset.columns[column].name
        )),
    }
}

/// A name of CloudWatch: printable ASCII, not blank.
fn is_metric_name(name: &str) -> bool {
    let printable = name.chars().all(|c| c.is_ascii_graphic() || c == ' ');
    printable && !name.trim().is_empty() && name.len() <= METRIC_CHARS
}

fn metric(metric: &Metric) -> Check {
    let Metric { namespace, name, dimensions, .. } = metric;
    let allowed = |c: char| c.is_ascii_alphanumeric() || " .-_/#:".contains(c);
    if !is_metric_name(namespace)
        || !namespace.chars().all(allowed)
        || namespace.starts_with(':')
        || namespace.starts_with("AWS/")
    {
        return Err(format!(
            "`metric.namespace`: expected at most {METRIC_CHARS} ASCII letters, digits, spaces and . - _ / # :, not beginning \
             with : or AWS/, found `{namespace}`"
        ));
    }
    if !is_metric_name(name) {
        return Err(format!(
            "`metric.name`: expected at most {METRIC_CHARS} printable ASCII characters, found `{name}`"
        ));
    }
    if dimensions.len() > DIMENSIONS {
        return Err(format!(
            "`metric.dimensions`: expected at most {DIMENSIONS}, found {}",
            dimensions.len()
        ));
    }
    match dimensions.iter().find(|(name, _)| !is_metric_name(name) || name.starts_with(':')) {
        Some((name, _)) => Err(format!(
            "`metric.dimensions`: expected names of at most {METRIC_CHARS} printable ASCII characters that do not begin \
             with :, found `{name}`"
        )),
        None => Ok(()),
    }
}

fn alert(alert: &Alert, attributes: &[String]) -> Check {
    let Alert { one, digest, storm, .. } = alert;
    let wordings = [("alert", one), ("alert.digest", digest), ("alert.storm", storm)];
    for (role, Wording { subject, text, sms }) in wordings {
        if subject.can_be_blank() || subject.has_control() {
            return Err(format!(
                "`{role}.subject`: expected a text of one line, found a blank or a line break"
            ));
        }
        for (name, template) in [("text", text), ("sms", sms)] {
            if template.can_be_blank() {
                return Err(format!(
                    "`{role}.{name}`: expected a text, also for an event without details, found a blank"
                ));
            }
        }
    }
    if attributes.len() > ATTRIBUTES {
        return Err(format!(
            "`alert.attributes`: expected at most {ATTRIBUTES}, which is what a queue takes, found {}",
            attributes.len()
        ));
    }
    let mut listed = HashSet::new();
    if let Some(twice) = attributes.iter().find(|name| !listed.insert(name.as_str())) {
        return Err(format!(
            "`alert.attributes`: expected each name once, found `{twice}` twice; the text of a severity is in an attribute \
             whose name ends in `_text`"
        ));
    }
    if let Some(taken) = attributes.iter().find(|name| MACHINE_FIELDS.contains(&name.as_str())) {
        return Err(format!(
            "`alert.attributes`: expected other names than {}, which are fields of the text for machines, found `{taken}`",
            MACHINE_FIELDS.join(", ")
        ));
    }
    match attributes.iter().find(|name| !is_attribute_name(name)) {
        Some(name) => Err(format!(
            "`alert.attributes`: expected names of at most {ATTRIBUTE_CHARS} ASCII letters, digits and _ - ., without a \
             period at an end or next to another, and not beginning with AWS. or Amazon., found `{name}`"
        )),
        None => Ok(()),
    }
}

fn is_attribute_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    let lower = name.to_ascii_lowercase();
    (1..=ATTRIBUTE_CHARS).contains(&name.len())
        && name.chars().all(allowed)
        && name.split('.').all(|part| !part.is_empty())
        && !lower.starts_with("aws.")
        && !lower.starts_with("amazon.")
}
