//! The saved queries of a data set: general ones, rendered from `tools/render/queries/`, and its own.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fs, io,
    path::Path,
};

use shared::data::dataset::{Dataset, Level, SEVERITY_KEY, Severities, Type, UNLISTED_SEVERITY};

use crate::yaml::{pascal, quoted};

/// The questions that every data set has: name and text, with `{{places}}` for its names.
const GENERAL: [(&str, &str); 9] = [
    ("alerted_twice", include_str!("../queries/alerted_twice.sql")),
    ("daily_severity_mix", include_str!("../queries/daily_severity_mix.sql")),
    ("never_alerted", include_str!("../queries/never_alerted.sql")),
    ("rejects_by_reason", include_str!("../queries/rejects_by_reason.sql")),
    ("repeats", include_str!("../queries/repeats.sql")),
    ("severe_last_hour", include_str!("../queries/severe_last_hour.sql")),
    ("severe_windows", include_str!("../queries/severe_windows.sql")),
    ("time_to_alert", include_str!("../queries/time_to_alert.sql")),
    ("unreadable_cells", include_str!("../queries/unreadable_cells.sql")),
];

/// The question about the mix of severities if the files do not have levels.
const MIX_OF_TEXTS: (&str, &str) =
    ("daily_severity_mix", include_str!("../queries/daily_severity_mix_of_texts.sql"));

/// The threshold of a query: the default of the parameter that it names. The stack's own query has the stack's value, and
/// `make query` reads it from the stack.
const THRESHOLD: [&str; 2] = ["3 -- NotifySeverityAbove", "${NotifySeverityAbove} -- NotifySeverityAbove"];

/// The last line of the header of a generated query.
const ORIGIN: &str = "-- Rendered from tools/render/queries/ by make render.";

/// The general queries of the data set, by name.
pub(crate) fn general(dataset: &Dataset) -> impl Iterator<Item = (&'static str, String)> {
    let (mix, mix_of_texts) = MIX_OF_TEXTS;
    GENERAL.iter().map(move |(name, text)| {
        let is_mix_of_texts = *name == mix && !dataset.severities.are_levels();
        (*name, fill(dataset, if is_mix_of_texts { mix_of_texts } else { text }))
    })
}

/// All saved queries by name: the general ones, and the data set's own in that folder.
pub(crate) fn all(dataset: &Dataset, folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut queries: BTreeMap<_, _> = general(dataset).map(|(name, text)| (name.to_owned(), text)).collect();
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(queries),
        files => files?,
    };
    for file in files {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            // A general query is rendered, not read from its file.
            if let Entry::Vacant(own) = queries.entry(name) {
                own.insert(fs::read_to_string(path)?);
            }
        }
    }
    Ok(queries)
}

/// The question that a query answers: its first line.
pub(crate) fn question(query: &str) -> &str {
    query.lines().next().unwrap_or_default().trim_start_matches('-').trim()
}

/// The saved queries as resources of the template.
pub(crate) fn resources(queries: &BTreeMap<String, String>) -> String {
    queries.iter().map(|(name, text)| resource(name, text)).collect::<Vec<_>>().join("\n")
}

fn resource(name: &str, text: &str) -> String {
    let indented = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("      {line}\n") };
    let lines: String = text.lines().map(indented).collect();
    let [default, value] = THRESHOLD;
    let tag = if lines.contains(default) { "!Sub " } else { "" };
    let lines = lines.replace(default, value);
    format!(
        "{}Query:\n  Type: AWS::Athena::NamedQuery\n  Properties:\n    Name: {name}\n    Description: {}\n    \
         Database: !Ref Database\n    WorkGroup: !Ref QueryWorkGroup\n    QueryString: {tag}|\n{lines}",
        pascal(name),
        quoted(question(text)),
    )
}

fn fill(dataset: &Dataset, text: &str) -> String {
    let column = |index: usize| &dataset.columns[index];
    let name = |index: usize| sql_name(&column(index).column);
    let example = |index: usize| column(index).examples.first().map_or("…", String::as_str).to_owned();
    let table = |kind: &str| format!("{}_{kind}", dataset.name);
    let places = [
        ("events", format!("{}s", dataset.title)),
        ("id", name(dataset.id)),
        ("id_example", example(dataset.id)),
        ("severity", name(dataset.severity)),
        ("area", name(dataset.severe_partition_key)),
        ("area_example", example(dataset.severe_partition_key)),
        ("received_at", name(dataset.received_at)),
        ("typed_column", column(typed_column(dataset)).name.to_lowercase()),
        ("raw", table("raw")),
        ("analytical", table("analytical")),
        ("rejects", table("rejects")),
        ("latest", table("latest")),
        ("alerts", table("alerts")),
    ];
    let places = places.into_iter().chain(severity_places(dataset));
    let filled = places
        .fold(text.to_owned(), |text, (place, value)| text.replace(&format!("{{{{{place}}}}}"), &value));
    aligned(&filled)
}

/// A column that may have unreadable cells: the first that is not a text and that an event does not need.
fn typed_column(dataset: &Dataset) -> usize {
    let own = [dataset.severity, dataset.received_at];
    let is_typed = |column: &usize| dataset.columns[*column].kind != Type::String && !own.contains(column);
    (0..dataset.columns.len()).find(is_typed).unwrap_or(dataset.severity)
}

/// The placeholders for severities whose levels are not in the files; with empty texts if they are.
fn severity_places(dataset: &Dataset) -> Vec<(&'static str, String)> {
    let Dataset { severities, severity, columns, .. } = dataset;
    let column = columns[*severity].column.as_str();
    let name = sql_name(column);
    let (least, greatest) = severities.range();
    let (mut worst, mut worst_name, mut worst_example) = Default::default();
    if !severities.are_levels() {
        worst =
            format!("\n    max_by({name}, coalesce({UNLISTED_SEVERITY}, {SEVERITY_KEY})) as worst_{column},");
        worst_name = format!(" | worst_{column}");
        worst_example = format!(" | {}", severities.text(greatest));
    }
    vec![
        ("level", level(severities, &name)),
        ("severity_text", severity_text(severities, &name)),
        ("least", least.to_string()),
        ("least_text", severities.text(least).into_owned()),
        ("greatest", greatest.to_string()),
        ("greatest_text", severities.text(greatest).into_owned()),
        ("worst_text", worst),
        ("worst_text_name", worst_name),
        ("worst_text_example", worst_example),
    ]
}

/// The level of a severity, computed from the original value of its column.
fn level(severities: &Severities, column: &str) -> String {
    let (least, greatest) = severities.range();
    let is_text = severities.column_type() == Type::String;
    let compared = if is_text { format!("lower(trim({column}))") } else { column.to_owned() };
    let when = |listed: &Level| {
        let names = severities.names(listed.level);
        let names: Vec<_> = names
            .into_iter()
            .map(|name| if is_text { sql_text(&name.to_lowercase()) } else { name.to_owned() })
            .collect();
        format!("when {compared} in ({}) then {}", names.join(", "), listed.level)
    };
    let mut cases: Vec<_> = severities.levels().iter().map(when).collect();
    if !is_text {
        // Numbers outside the list have the levels before or after its ends.
        let [first, last] = [least, greatest].map(|level| severities.text(level));
        cases.push(format!("when {column} > {first} then {first} + {least} - {column}"));
        cases.push(format!("when {column} < {last} then {last} + {greatest} - {column}"));
    }
    format!("case {} end", cases.join(" "))
}

/// The text of a level by which rows are grouped.
fn severity_text(severities: &Severities, column: &str) -> String {
    if severities.column_type() != Type::String {
        return format!("min({column})");
    }
    let when = |listed: &Level| format!("when {} then {}", listed.level, sql_text(&listed.text));
    let cases: Vec<_> = severities.levels().iter().map(when).collect();
    format!("case {SEVERITY_KEY} {} end", cases.join(" "))
}

/// A text in SQL's quotes.
fn sql_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Words that Athena does not accept as names.
///
/// Source: Athena user guide, "Reserved keywords in SQL SELECT statements".
const SQL_WORDS: &str = " alter and as between by case cast constraint create cross cube current_catalog current_date \
    current_path current_schema current_time current_timestamp current_user deallocate delete describe distinct drop else \
    end escape except execute exists extract false first for from full group grouping having in inner insert intersect into \
    is join json_array json_exists json_object json_query json_table json_value last left like listagg localtime \
    localtimestamp natural normalize not null on or order outer prepare recursive right rollup select skip table then trim \
    true uescape unnest using values when where with union ";

/// A column's name in a query.
fn sql_name(column: &str) -> String {
    if SQL_WORDS.contains(&format!(" {column} ")) { format!("\"{column}\"") } else { column.to_owned() }
}

/// The query with the example answer as a list of cells, and its origin after its header.
fn aligned(query: &str) -> String {
    let is_header = |line: &&str| line.starts_with("--");
    let header: Vec<_> = query.lines().take_while(is_header).collect();
    let cells = |line: &str| -> Vec<String> {
        line.trim_start_matches('-').split(" | ").map(|cell| cell.trim().to_owned()).collect()
    };
    let rows: Vec<_> = header.iter().filter(|line| line.contains(" | ")).map(|line| cells(line)).collect();
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let pad = |(column, cell): (usize, &String)| format!("{cell:<width$}", width = width(column));
    let mut text = String::new();
    for line in &header {
        if line.contains(" | ") {
            let row: Vec<_> = cells(line).iter().enumerate().map(pad).collect();
            text.push_str(&format!("--  {}\n", row.join(" | ").trim_end()));
        } else {
            text.push_str(&format!("{line}\n"));
        }
    }
    text.push_str(&format!("--\n{ORIGIN}\n"));
    query.lines().skip(header.len()).for_each(|line| text.push_str(&format!("{line}\n")));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_general_query_names_the_tables_and_columns_of_the_data_set() {
        for name in Dataset::names() {
            let dataset = Dataset::named(name).unwrap();
            for (query, text) in general(&dataset) {
                assert!(!text.contains("{{"), "{query} of {name}: {text}");
                assert!(text.contains(&format!("from {name}_")), "{query} of {name}: {text}");
                assert!(question(&text).ends_with('?'), "{query} of {name}: {text}");
            }
        }
    }

    #[test]
    fn a_name_that_is_a_word_of_sql_is_quoted() {
        for (name, expected) in
            [("order", "\"order\""), ("null", "\"null\""), ("severity", "severity"), ("orders", "orders")]
        {
            assert_eq!(sql_name(name), expected);
        }
    }

    #[test]
    fn the_example_of_an_answer_is_a_table() {
        let text = "-- Who?\n--\n--  county | n\n--  Los Angeles | 10\nselect 1\n";
        assert_eq!(
            aligned(text),
            format!("-- Who?\n--\n--  county      | n\n--  Los Angeles | 10\n--\n{ORIGIN}\nselect 1\n")
        );
    }

    #[test]
    fn a_saved_query_is_a_resource_with_its_question() {
        let resource = resource("by_county", "-- Where \"is\" it?\n\nselect 1\n");
        assert!(resource.starts_with("ByCountyQuery:\n"), "{resource}");
        assert!(resource.contains("\n    Description: \"Where \\\"is\\\" it?\"\n"), "{resource}");
        assert!(resource.ends_with("|\n      -- Where \"is\" it?\n\n      select 1\n"), "{resource}");
    }
}
