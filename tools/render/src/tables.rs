//! The data set's tables in Glue, and the template's other parts that depend on the data set.

use std::{borrow::Cow, collections::BTreeSet};

use shared::{
    audit::alerts,
    data::{
        dataset::{Column, Dataset, SEVERITY_KEY, Type, UNLISTED_SEVERITY},
        dimension::dimension,
    },
    delivery::reject,
};

use crate::{
    metrics,
    yaml::{filled, indented, pascal, quoted, scalar},
};

/// The comment of the column of unlisted severities.
const UNLISTED: &str = "Severity of an event that the data set does not list; null for the others.";

/// The meaning of the level for a severity that is a text in the files, or a number of which the lowest is the worst.
const LEVEL: &str = "Level of the severity: the higher, the worse.";

/// The default of `TransformSeverityAbove` for all data sets.
pub(crate) const DEFAULT_THRESHOLD: i64 = 2;

/// The template's mappings: what the stack needs to know of the data set.
pub(crate) fn mappings(dataset: &Dataset) -> String {
    format!(
        "# Partitions in which Athena looks, by TransformSeverityAbove: one above the list and one below it hold the events of\n\
         # severities that the data set does not list.\nSeverities:\n{}Dataset:\n{}",
        severities(dataset),
        names(dataset)
    )
}

fn names(dataset: &Dataset) -> String {
    let [(_, namespace), (_, name), (_, severity), (_, area), (_, area_name)] = metrics::names(dataset);
    let area_example = dataset.columns[dataset.severe_partition_key].examples.first();
    let (_, highest) = dataset.severity_range();
    format!(
        "  Source: {{Folder: {folder}}}\n  Metric: {{Namespace: {namespace}, Name: {name}}}\n  \
         Severity: {{Dimension: {severity}, Highest: {highest}}}\n  \
         Area: {{Dimension: {area}, Name: {area_name}, Example: {area_example}}}\n",
        folder = quoted(&format!("{}/{}", dataset.source, dataset.source_region)),
        namespace = quoted(namespace),
        name = quoted(name),
        severity = quoted(severity),
        highest = quoted(&dimension(&dataset.severities.text(highest))),
        area = quoted(area),
        area_name = quoted(area_name),
        area_example = quoted(area_example.map_or("anywhere", String::as_str)),
    )
}

/// The partitions that Athena searches, by threshold.
fn severities(dataset: &Dataset) -> String {
    let line = |above: &i64| {
        let (least, greatest) = projected(dataset, *above);
        format!("  \"{above}\": {{Range: \"{least},{greatest}\"}}\n")
    };
    thresholds(dataset).iter().map(line).collect()
}

/// The thresholds of transform that make a difference, as values of the parameter.
pub(crate) fn allowed_thresholds(dataset: &Dataset) -> String {
    let allowed: Vec<_> = thresholds(dataset).iter().map(ToString::to_string).collect();
    format!("AllowedValues: [{}]\n", allowed.join(", "))
}

/// The tables and the view.
pub(crate) fn resources(dataset: &Dataset) -> String {
    [raw(dataset), analytical(dataset), rejects(), alerts(), view(dataset)].join("\n")
}

/// A table of objects in folders by day, and possibly by severity.
///
/// Partitions are projected: Athena computes the folders from the query's dates, so that new data is visible at once.
/// The dates are those of arrival in UTC, as Firehose writes them.
struct LakeTable<'a> {
    name: &'a str,
    /// The bucket's resource.
    bucket: &'a str,
    description: &'a str,
    /// What the dates mean.
    dates_of: &'a str,
    by_severity: bool,
    format: TableFormat,
    columns: String,
}

enum TableFormat {
    /// JSON lines in gzip, and the settings of their reader.
    Json(String),
    Parquet,
}

fn raw(dataset: &Dataset) -> String {
    let column = |column: &Column| glue_column(&column.column, raw_type(column.kind), &column.comment);
    let invalid = "Text of the cells that could not be read as their column's type, by column.";
    let columns: String = dataset.columns.iter().map(column).collect();
    let keys: String = dataset.columns.iter().filter_map(key_mapping).collect();
    LakeTable {
        name: "raw",
        bucket: "RawBucket",
        description: "Every event, as JSON lines. Times are unchanged texts, because local times have no time zone.",
        dates_of: "arrival",
        by_severity: false,
        // Keys are compared in lower case. An invalid line, from a producer other than ingest, reads as nulls and does
        // not fail the query.
        format: TableFormat::Json(format!(
            "case.insensitive: \"true\"\nignore.malformed.json: \"true\"\nmapping.invalid: _invalid\n{keys}"
        )),
        columns: columns + &glue_column("invalid", "\"map<string,string>\"", invalid),
    }
    .resource()
}

fn analytical(dataset: &Dataset) -> String {
    LakeTable {
        name: "analytical",
        bucket: "AnalyticalBucket",
        description: "The severe events, typed, as Parquet.",
        dates_of: "arrival",
        by_severity: true,
        format: TableFormat::Parquet,
        columns: without_severity(dataset) + &glue_column(UNLISTED_SEVERITY, "bigint", UNLISTED),
    }
    .resource()
}

fn rejects() -> String {
    LakeTable {
        name: "rejects",
        bucket: "RejectsBucket",
        description: "Rejected rows and records, with the reason and everything that is needed to send them again.",
        dates_of: "the rejection",
        by_severity: false,
        format: TableFormat::Json("case.insensitive: \"true\"\n".to_owned()),
        columns: glue_columns(&reject::COLUMNS),
    }
    .resource()
}

fn alerts() -> String {
    LakeTable {
        name: "alerts",
        bucket: "AnalyticalBucket",
        description: "Every message that notify published, with the events that it is about.",
        dates_of: "the message",
        by_severity: false,
        format: TableFormat::Json("case.insensitive: \"true\"\n".to_owned()),
        columns: glue_columns(&alerts::COLUMNS),
    }
    .resource()
}

impl LakeTable<'_> {
    fn resource(&self) -> String {
        let Self { name, bucket, description, dates_of, columns, .. } = self;
        let location = format!("s3://${{{bucket}}}/${{Source}}/${{Dataset}}_{name}/");
        let folders = if self.by_severity { "severity=${!severity}/" } else { "" };
        let template = format!("{location}{folders}year=${{!year}}/month=${{!month}}/day=${{!day}}/");
        let [severity_range, severity_key] = if self.by_severity {
            [
                "projection.severity.type: integer\nprojection.severity.range: !FindInMap [Severities, !Ref TransformSeverityAbove, Range]\n",
                "- {Name: severity, Type: int, Comment: \"Severity of the event.\"}\n",
            ]
        } else {
            ["", ""]
        };
        let (classification, storage) = self.format.yaml();
        let parameters = format!(
            "EXTERNAL: \"TRUE\"\n{classification}projection.enabled: \"true\"\n{severity_range}projection.year.type: integer\n\
             projection.year.range: !Ref ProjectedYears\n\
             projection.month.type: integer\nprojection.month.range: 1,12\nprojection.month.digits: \"2\"\n\
             projection.day.type: integer\nprojection.day.range: 1,31\nprojection.day.digits: \"2\"\n\
             storage.location.template: {}\n",
            filled(&template)
        );
        let keys = format!(
            "{severity_key}- {{Name: year, Type: string, Comment: \"Year of {dates_of}, UTC.\"}}\n\
             - {{Name: month, Type: string, Comment: \"Month of {dates_of}, two digits, UTC.\"}}\n\
             - {{Name: day, Type: string, Comment: \"Day of {dates_of}, two digits, UTC.\"}}\n"
        );
        let input = format!(
            "TableType: EXTERNAL_TABLE\nParameters:\n{}PartitionKeys:\n{}StorageDescriptor:\n  Location: {}\n{}  Columns:\n{}",
            indented(&parameters, "  "),
            indented(&keys, "  "),
            filled(&location),
            indented(&storage, "  "),
            indented(columns, "    "),
        );
        resource(&format!("{}Table", pascal(name)), name, description, &input)
    }
}

impl TableFormat {
    /// Its parameters of the table, and of the storage.
    fn yaml(&self) -> (&'static str, String) {
        match self {
            Self::Json(parameters) => (
                "classification: json\ncompressionType: gzip\n",
                format!(
                    "InputFormat: org.apache.hadoop.mapred.TextInputFormat\n\
                     OutputFormat: org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat\nCompressed: true\nSerdeInfo:\n  \
                     SerializationLibrary: org.openx.data.jsonserde.JsonSerDe\n  Parameters:\n{}",
                    indented(parameters, "    ")
                ),
            ),
            Self::Parquet => (
                "classification: parquet\n",
                "InputFormat: org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat\n\
                 OutputFormat: org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat\n\
                 SerdeInfo: {SerializationLibrary: org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe}\n"
                    .to_owned(),
            ),
        }
    }
}

/// A table or view of the catalogue.
fn resource(id: &str, name: &str, description: &str, input: &str) -> String {
    format!(
        "{id}:\n  Type: AWS::Glue::Table\n  Properties:\n    CatalogId: !Ref AWS::AccountId\n    DatabaseName: !Ref Database\n    \
         TableInput:\n      Name: {}\n      Description: {}\n{}",
        filled(&format!("${{Dataset}}_{name}")),
        quoted(description),
        indented(input, "      ")
    )
}

/// The severe events with each id once, the newest: repeats hide what came before. A view in Athena's format.
fn view(dataset: &Dataset) -> String {
    let comment = if dataset.severities.are_levels() { "Severity of the event." } else { LEVEL };
    let columns = without_severity(dataset) + &glue_column(SEVERITY_KEY, "bigint", comment);
    let input = format!(
        "TableType: VIRTUAL_VIEW\nParameters: {{presto_view: \"true\", comment: Presto View}}\n\
         ViewExpandedText: /* Presto View */\nViewOriginalText: !Sub\n  - \"/* Presto View: ${{Encoded}} */\"\n  - Encoded:\n      \
         {}StorageDescriptor:\n  SerdeInfo: {{Name: \"-\", SerializationLibrary: \"-\"}}\n  Columns:\n{}",
        latest_query(dataset),
        indented(&columns, "    ")
    );
    let description = "Of the severe events each id once, the newest. A later event that is not severe does not replace it.";
    resource("LatestView", "latest", description, &input)
}

/// The thresholds of transform that make a difference, and its default. Athena searches the severities above the
/// selected threshold. A template cannot add, so each threshold has its range.
fn thresholds(dataset: &Dataset) -> BTreeSet<i64> {
    let (lowest, highest) = dataset.severity_range();
    let levels = dataset.severities.levels().iter().map(|listed| listed.level);
    levels.filter(|level| *level < highest).chain([lowest - 1, DEFAULT_THRESHOLD]).collect()
}

/// The partitions of the events above a threshold, including those of severities that the data set does not list.
fn projected(dataset: &Dataset, above: i64) -> (i64, i64) {
    (dataset.severity_partition(above.saturating_add(1)), dataset.severity_partition(i64::MAX))
}

/// The key of the JSON, in lower case as the deserialiser reads it, if it differs from the column's name.
fn key_mapping(column: &Column) -> Option<String> {
    let key = column.name.to_lowercase();
    (key != column.column).then(|| format!("mapping.{}: {}\n", column.column, quoted(&key)))
}

/// The columns without the partition key: Glue does not accept a column twice.
fn without_severity(dataset: &Dataset) -> String {
    described(dataset).map(|(name, kind, comment)| glue_column(name, glue_type(kind), &comment)).collect()
}

/// The columns of the events in the analytical table without the partition key: their names, types and meanings. The
/// column for the days of a timestamp follows it.
fn described(dataset: &Dataset) -> impl Iterator<Item = (&str, Type, Cow<'_, str>)> {
    dataset.columns.iter().filter(|column| column.column != SEVERITY_KEY).flat_map(|column| {
        let own = (column.column.as_str(), column.kind, Cow::from(&column.comment));
        let day = column.day_column.as_deref().map(|day| (day, Type::Date, Cow::from(day_comment(column))));
        [own].into_iter().chain(day)
    })
}

/// The comment of the column for the days of a timestamp.
pub(crate) fn day_comment(column: &Column) -> String {
    format!("The day, where {} has no time and is null.", column.column)
}

fn glue_columns(columns: &[(&str, &str, &str)]) -> String {
    columns.iter().map(|(name, kind, comment)| glue_column(name, kind, comment)).collect()
}

fn glue_column(name: &str, kind: &str, comment: &str) -> String {
    format!("- {{Name: {}, Type: {kind}, Comment: {}}}\n", scalar(name), quoted(comment))
}

/// The definition of the view without repeats, in Athena's format: JSON, which the template encodes. Rows of one request
/// are received at the same time, and the most severe of them is shown.
fn latest_query(dataset: &Dataset) -> String {
    let id = &dataset.columns[dataset.id].column;
    let received_at = &dataset.columns[dataset.received_at].column;
    let columns: Vec<(&str, &str)> = described(dataset)
        .map(|(name, kind, _)| (name, athena_type(kind)))
        .chain([(SEVERITY_KEY, "bigint")])
        .collect();
    // The partition key is the severity of listed events only.
    let severity = format!("coalesce(\\\"{UNLISTED_SEVERITY}\\\", \\\"{SEVERITY_KEY}\\\")");
    let name = |(name, _): &(&str, &str)| match *name {
        SEVERITY_KEY => format!("{severity} AS \\\"{name}\\\""),
        name => format!("\\\"{name}\\\""),
    };
    let names: Vec<_> = columns.iter().map(name).collect();
    let names = names.join(", ");
    let typed: Vec<_> =
        columns.iter().map(|(name, kind)| format!("{{\"name\":\"{name}\",\"type\":\"{kind}\"}}")).collect();
    format!(
        "Fn::Base64: !Sub '{{\"originalSql\":\"SELECT {names} FROM (SELECT *, row_number() OVER (PARTITION BY \\\"{id}\\\" \
         ORDER BY \\\"{received_at}\\\" DESC NULLS LAST, {severity} DESC) AS nth_newest FROM \\\"{table}\\\") AS numbered WHERE nth_newest = 1\",\
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

/// The Glue type for a type of the data set.
pub(crate) fn glue_type(kind: Type) -> &'static str {
    match kind {
        Type::String => "string",
        // Whole numbers have 64 bits; Glue's int has 32.
        Type::Int => "bigint",
        Type::Double => "double",
        Type::Boolean => "boolean",
        Type::Timestamp | Type::TimestampOrDate => "timestamp",
        Type::Date => "date",
    }
}

/// The type in the raw table, which is faithful: times stay unchanged, because the table's reader would refuse them as
/// timestamps. Days are written as it reads them, `2016-02-08`.
///
/// Source: rcongiu/Hive-JSON-Serde, `JavaStringDateObjectInspector`, and Athena user guide, "Data types", `DATE`.
pub(crate) fn raw_type(kind: Type) -> &'static str {
    match kind {
        Type::Timestamp | Type::TimestampOrDate => "string",
        Type::String | Type::Int | Type::Double | Type::Boolean | Type::Date => glue_type(kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_columns_of_their_type_in_every_table() {
        let dataset =
            Dataset::parse("with_days", include_str!("../../../tests/fakes/with_days.toml")).unwrap();
        let due = r#"- {Name: due, Type: date, Comment: "Due day."}"#;
        let raw = raw(&dataset);
        assert!(raw.contains(due) && raw.contains("{Name: opened_at, Type: string,"), "{raw}");
        assert!(!raw.contains("opened_on"), "the raw table has both as text: {raw}");
        for columns in [analytical(&dataset), view(&dataset)] {
            let opened = [
                r#"- {Name: opened_at, Type: timestamp, Comment: ""}"#,
                r#"- {Name: opened_on, Type: date, Comment: "The day, where opened_at has no time and is null."}"#,
            ];
            let [at, on] = opened.map(|column| columns.find(column).unwrap());
            assert!(at < on, "{columns}");
            assert!(columns.contains(due), "{columns}");
        }
        let view = latest_query(&dataset);
        for part in [
            r#"\"due\", \"opened_at\", \"opened_on\", \"received_at\""#,
            r#"{"name":"opened_at","type":"timestamp"},{"name":"opened_on","type":"date"}"#,
        ] {
            assert!(view.contains(part), "{view}");
        }
        let page = crate::page::render(&dataset);
        for row in [
            "| `Due` | `due` | date | date | Due day. |",
            "| `Opened` | `opened_at` | string | timestamp |",
            "| `Opened` | `opened_on` |  | date | The day, where opened_at has no time and is null. |",
        ] {
            assert!(page.contains(row), "{page}");
        }
    }

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
