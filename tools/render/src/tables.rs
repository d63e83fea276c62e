//! The data set's tables in Glue, and what else the template has of the data set.

use std::collections::BTreeSet;

use shared::{
    dataset::{Column, Dataset, SEVERITY_KEY, Type, UNLISTED_SEVERITY},
    reject,
};

use crate::{
    metrics,
    yaml::{quoted, scalar},
};

/// What the column of unlisted severities means.
const UNLISTED: &str = "Severity of an event that the data set does not list; null for the others.";

/// The default of `TransformSeverityAbove`, whatever the data set.
const DEFAULT_THRESHOLD: i64 = 2;

/// What the stack has to know of the data set.
pub(crate) fn names(dataset: &Dataset) -> String {
    let [(_, namespace), (_, name), (_, severity), (_, area), (_, area_name)] = metrics::names(dataset);
    let area_example = dataset.columns[dataset.severe_partition_key].examples.first();
    let (_, highest) = dataset.severity_range();
    format!(
        "Source: {{Folder: {folder}}}\nMetric: {{Namespace: {namespace}, Name: {name}}}\n\
         Severity: {{Dimension: {severity}, Highest: \"{highest}\"}}\n\
         Area: {{Dimension: {area}, Name: {area_name}, Example: {area_example}}}\n",
        folder = quoted(&format!("{}/{}", dataset.source, dataset.source_region)),
        namespace = quoted(namespace),
        name = quoted(name),
        severity = quoted(severity),
        area = quoted(area),
        area_name = quoted(area_name),
        area_example = quoted(area_example.map_or("anywhere", String::as_str)),
    )
}

/// The thresholds of transform that make a difference, as values of the parameter.
pub(crate) fn allowed_thresholds(dataset: &Dataset) -> String {
    let allowed: Vec<_> = thresholds(dataset).iter().map(ToString::to_string).collect();
    format!("AllowedValues: [{}]\n", allowed.join(", "))
}

/// The partitions in which Athena looks, by threshold.
pub(crate) fn severities(dataset: &Dataset) -> String {
    let line = |above: &i64| {
        let (least, greatest) = projected(dataset, *above);
        format!("\"{above}\": {{Range: \"{least},{greatest}\"}}\n")
    };
    thresholds(dataset).iter().map(line).collect()
}

/// The keys of the JSON that are not the columns' own names.
pub(crate) fn mappings(dataset: &Dataset) -> String {
    dataset.columns.iter().filter_map(mapping).collect()
}

pub(crate) fn raw_columns(dataset: &Dataset) -> String {
    let column = |column: &Column| glue_column(&column.column, raw_type(column.kind), &column.comment);
    dataset.columns.iter().map(column).collect()
}

pub(crate) fn analytical_columns(dataset: &Dataset) -> String {
    without_severity(dataset) + &glue_column(UNLISTED_SEVERITY, "bigint", UNLISTED)
}

/// The columns where there are no partitions, the severity last.
pub(crate) fn latest_columns(dataset: &Dataset) -> String {
    without_severity(dataset) + &glue_column(SEVERITY_KEY, "bigint", "Severity of the event.")
}

pub(crate) fn rejects_columns() -> String {
    reject::COLUMNS.iter().map(|(name, kind, comment)| glue_column(name, kind, comment)).collect()
}

/// The thresholds of transform that make a difference, and its default. Athena looks for the severities above the one that is
/// chosen, and a template cannot add, so that each has its range.
fn thresholds(dataset: &Dataset) -> BTreeSet<i64> {
    let (lowest, highest) = dataset.severity_range();
    let severities = dataset.severities.iter().copied().filter(|severity| *severity < highest);
    severities.chain([lowest - 1, DEFAULT_THRESHOLD]).collect()
}

/// The partitions of the events above a threshold, those of severities that the data set does not list included.
fn projected(dataset: &Dataset, above: i64) -> (i64, i64) {
    (dataset.severity_partition(above.saturating_add(1)), dataset.severity_partition(i64::MAX))
}

/// The key of the JSON, in lower case as the deserialiser reads it, where it is not the column's own name.
fn mapping(column: &Column) -> Option<String> {
    let key = column.name.to_lowercase();
    (key != column.column).then(|| format!("mapping.{}: {}\n", column.column, quoted(&key)))
}

/// The columns without the one that is the partitions' key: Glue takes no column twice.
fn without_severity(dataset: &Dataset) -> String {
    let column = |column: &Column| glue_column(&column.column, glue_type(column.kind), &column.comment);
    dataset.columns.iter().filter(|column| column.column != SEVERITY_KEY).map(column).collect()
}

fn glue_column(name: &str, kind: &str, comment: &str) -> String {
    format!("- {{Name: {}, Type: {kind}, Comment: {}}}\n", scalar(name), quoted(comment))
}

/// The definition of the view without repeats, in the form in which Athena keeps one: JSON, which the template encodes.
pub(crate) fn latest_query(dataset: &Dataset) -> String {
    let id = &dataset.columns[dataset.id].column;
    let received_at = &dataset.columns[dataset.received_at].column;
    let columns: Vec<(&str, &str)> = dataset
        .columns
        .iter()
        .filter(|column| column.column != SEVERITY_KEY)
        .map(|column| (column.column.as_str(), athena_type(column.kind)))
        .chain([(SEVERITY_KEY, "bigint")])
        .collect();
    let name = |(name, _): &(&str, &str)| match *name {
        // The partitions' key is the severity of those events alone that are listed.
        SEVERITY_KEY => format!("coalesce(\\\"{UNLISTED_SEVERITY}\\\", \\\"{name}\\\") AS \\\"{name}\\\""),
        name => format!("\\\"{name}\\\""),
    };
    let names: Vec<_> = columns.iter().map(name).collect();
    let names = names.join(", ");
    let typed: Vec<_> =
        columns.iter().map(|(name, kind)| format!("{{\"name\":\"{name}\",\"type\":\"{kind}\"}}")).collect();
    format!(
        "Fn::Base64: !Sub '{{\"originalSql\":\"SELECT {names} FROM (SELECT *, row_number() OVER (PARTITION BY \\\"{id}\\\" \
         ORDER BY \\\"{received_at}\\\" DESC NULLS LAST) AS nth_newest FROM \\\"{table}\\\") AS numbered WHERE nth_newest = 1\",\
         \"catalog\":\"awsdatacatalog\",\"schema\":\"${{Database}}\",\"columns\":[{typed}]}}'\n",
        table = format_args!("{}_analytical", dataset.name),
        typed = typed.join(","),
    )
}

fn athena_type(kind: Type) -> &'static str {
    match kind {
        Type::String => "varchar",
        other => glue_type(other),
    }
}

/// The type in Glue of a type of the data set.
pub(crate) fn glue_type(kind: Type) -> &'static str {
    match kind {
        Type::String => "string",
        // Whole numbers have 64 bits; an int of Glue has 32.
        Type::Int => "bigint",
        Type::Double => "double",
        Type::Boolean => "boolean",
        Type::Timestamp => "timestamp",
    }
}

/// The type in the raw table, which is faithful: times stay as they stand, since as timestamps the table's reader would refuse them.
pub(crate) fn raw_type(kind: Type) -> &'static str {
    if kind == Type::Timestamp { "string" } else { glue_type(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_that_transform_names_is_projected() {
        for name in Dataset::names() {
            let dataset = Dataset::named(name).unwrap();
            for above in thresholds(&dataset) {
                let (least, greatest) = projected(&dataset, above);
                for severity in [i64::MIN, -1, 0, 1, 2, 3, 4, 5, 99, i64::MAX] {
                    let shown = (least..=greatest).contains(&dataset.severity_partition(severity));
                    assert!(shown || severity <= above, "{severity} of {name} above {above}");
                }
            }
        }
    }
}
