//! The page in a data set's folder that describes its tables and columns, for people who query them.

use shared::{
    audit::alerts,
    data::dataset::{Column, Dataset, Level, SEVERITY_KEY, Type, UNLISTED_SEVERITY},
    delivery::reject,
};

use crate::tables::{DEFAULT_THRESHOLD, day_comment, glue_type, raw_type};

/// The default of `NotifySeverityAbove`, whatever the data set.
const NOTIFY_THRESHOLD: i64 = 3;

pub(crate) fn render(dataset: &Dataset) -> String {
    let Dataset { name, title, .. } = dataset;
    let (lowest, highest) = dataset.severity_range();
    let (below, above) = dataset.severity_partitions();
    let mut page = format!(
        "<!-- Generated from dataset.toml by make render. -->\n\
         # The data set `{name}`\n\n\
         One row is one {title}.\n\n\
         ## Tables\n\n\
         They are in the Glue database `{name}_<environment>`. The days are those of arrival, in UTC; the saved questions are in \
         [`queries/`](queries).\n\n\
         | table | holds | stored as | partitioned by |\n| --- | --- | --- | --- |\n\
         | `{name}_raw` | every event, as it arrived; times as text | JSON lines, gzip | `year`, `month`, `day` |\n\
         | `{name}_analytical` | the severe events, typed | Parquet, Snappy | `{SEVERITY_KEY}`, `year`, `month`, `day` |\n\
         | `{name}_latest` | of the severe events each id once, the newest | a view on the one above | |\n\
         | `{name}_rejects` | rejected rows and records, with the reason | JSON lines, gzip | `year`, `month`, `day` |\n\
         | `{name}_alerts` | every message that was published, with its events | JSON lines, gzip | `year`, `month`, `day` |\n\n\
         An event of a severity that the data set does not list is ingested, counted and alerted like any other. In \
         `{name}_analytical` its exact severity is in the column `{UNLISTED_SEVERITY}`, which is null for all others: the \
         partitions `{SEVERITY_KEY}={below}` and `{SEVERITY_KEY}={above}` hold everything below {lowest} and above {highest}. \
         `coalesce({UNLISTED_SEVERITY}, {SEVERITY_KEY})` is the exact severity of every event, as `{SEVERITY_KEY}` is in \
         `{name}_latest`.\n\n\
         An id may arrive again with another severity. `{name}_latest` shows the newest severe event of an id, and of those \
         received at the same time the most severe. An event whose severity is lowered to `TransformSeverityAbove` or below \
         is not severe: only `{name}_raw` has it. Then `{name}_latest` still shows the severe event before it. Metrics, alarms \
         and alerts are not corrected either.\n\n\
         {levels}{roles}## Columns\n\n\
         | in the files | in Athena | raw | analytical | meaning | for example |\n\
         | --- | --- | --- | --- | --- | --- |\n",
        levels = levels(dataset),
        roles = roles(dataset),
    );
    page.push_str(&columns(dataset));
    page.push_str(&blanks(dataset));
    page.push_str(
        "\nThe raw table also has the column `invalid`, a map: the text of cells that could not be read as their column's \
         type, by column.\n\n## Columns of the rejects\n\n| in Athena | type | meaning |\n| --- | --- | --- |\n",
    );
    page.push_str(&typed_columns(&reject::COLUMNS));
    page.push_str("\n## Columns of the alerts\n\n| in Athena | type | meaning |\n| --- | --- | --- |\n");
    page.push_str(&typed_columns(&alerts::COLUMNS));
    page
}

/// A row of a table for each column of a table that is the same for all data sets.
fn typed_columns(columns: &[(&str, &str, &str)]) -> String {
    columns.iter().map(|(name, kind, comment)| row(&[&code(name), kind, comment])).collect()
}

/// The columns that the functions use, and what for.
fn roles(dataset: &Dataset) -> String {
    let column = |index: usize| code(&dataset.columns[index].name);
    let (lowest, highest) = dataset.severity_range();
    let dimension = |(name, index): &(String, usize)| format!("{} ({})", code(name), column(*index));
    let attribute = |(name, index): &(String, usize)| {
        let text = dataset.severity_text_attribute(name).filter(|_| *index == dataset.severity);
        let Some(text) = text else { return format!("{} ({})", code(name), column(*index)) };
        format!("{} (the level of {2}), {} ({2})", code(name), code(&text), column(*index))
    };
    let list = |columns: &[usize]| columns.iter().map(|index| column(*index)).collect::<Vec<_>>().join(", ");
    let details = match dataset.details.as_slice() {
        [] => String::new(),
        details => {
            format!("| follow them on stream 2 unless they are blank, for alerts | {} |\n", list(details))
        }
    };
    let dimensions: Vec<_> = dataset.metric.dimensions.iter().map(dimension).collect();
    let attributes: Vec<_> = dataset.alert.attributes.iter().map(attribute).collect();
    format!(
        "## Columns with a role\n\n\
         | role | column |\n| --- | --- |\n\
         | identifies an event | {id} |\n\
         | says how severe it is, from {least} to {greatest} | {severity} |\n\
         | when ingest took it in | {received_at} |\n\
         | spreads the events over stream 1 | {partition_key} |\n\
         | keeps its events in order on stream 2 | {area} |\n\
         | are on stream 2 | {projection} |\n\
         {details}\
         | dimensions of the metric `{metric}` | {dimensions} |\n\
         | attributes of an alert | {attributes} |\n\n",
        least = dataset.severities.text(lowest),
        greatest = dataset.severities.text(highest),
        id = column(dataset.id),
        severity = column(dataset.severity),
        received_at = column(dataset.received_at),
        partition_key = column(dataset.partition_key),
        area = column(dataset.severe_partition_key),
        projection = list(&dataset.projection),
        metric = dataset.metric.name,
        dimensions = dimensions.join(", "),
        attributes = attributes.join(", "),
    )
}

/// A row of the table for each column, and for each column of days that is made of it.
fn columns(dataset: &Dataset) -> String {
    let mut rows = String::new();
    for described in &dataset.columns {
        let Column { name, column, kind, comment, examples, day_column } = described;
        let analytical = if column == SEVERITY_KEY { "int, partition" } else { glue_type(*kind) };
        let examples: Vec<_> = examples.iter().map(|example| code(example)).collect();
        rows.push_str(&row(&[
            &code(name),
            &code(column),
            raw_type(*kind),
            analytical,
            &cell(comment),
            &examples.join(", "),
        ]));
        if let Some(day) = day_column {
            rows.push_str(&row(&[
                &code(name),
                &code(day),
                "",
                glue_type(Type::Date),
                &cell(&day_comment(described)),
                "",
            ]));
        }
    }
    rows
}

/// The levels of severities that are not in the files, and what the thresholds mean; empty if the files have the
/// levels.
fn levels(dataset: &Dataset) -> String {
    let Dataset { name, severities, severity, .. } = dataset;
    if severities.are_levels() {
        return String::new();
    }
    let Column { name: in_files, column, .. } = &dataset.columns[*severity];
    let above = |threshold: i64| {
        let severe = severities.levels().iter().filter(|listed| listed.level > threshold);
        let severe: Vec<_> = severe.map(|listed| code(&listed.text)).collect();
        if severe.is_empty() { "nothing".to_owned() } else { severe.join(", ") }
    };
    let mut text = format!(
        "## Severities\n\n\
         Each severity has a level: the higher, the worse. Thresholds, filter policies and the partitions' key \
         `{SEVERITY_KEY}` have the level; alerts, metrics and the column `{column}` have the severity as the files name it.\n\n\
         | level | {} | above it |\n| --- | --- | --- |\n",
        code(in_files)
    );
    for Level { level, .. } in severities.levels() {
        let names: Vec<_> = severities.names(*level).into_iter().map(code).collect();
        text.push_str(&row(&[&level.to_string(), &names.join(", "), &above(*level)]));
    }
    let [transform, notify] = [DEFAULT_THRESHOLD, NOTIFY_THRESHOLD].map(above);
    text.push_str(&format!(
        "\nA threshold is a level, and severities above it count. `TransformSeverityAbove={DEFAULT_THRESHOLD}`, the default, passes on \
         {transform}; `NotifySeverityAbove={NOTIFY_THRESHOLD}`, the default, alerts about {notify}. \
         `select {column}, {SEVERITY_KEY} from {name}_latest` shows both.\n\n"
    ));
    text
}

/// The texts for "no value", if the data set lists any.
fn blanks(dataset: &Dataset) -> String {
    let texts: Vec<_> = dataset.blanks.texts().iter().map(|text| code(text)).collect();
    match texts.as_slice() {
        [] => String::new(),
        texts => format!("\nA cell with exactly one of these texts is blank: {}.\n", texts.join(", ")),
    }
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// A text within a table cell, with escaped bars.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn code(text: &str) -> String {
    format!("`{}`", cell(text))
}
