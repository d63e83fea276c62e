//! The data set's file as text.

use std::{collections::HashSet, fmt::Write as _};

use shared::data::{
    dataset::{Type, fold},
    time::DateOrder,
};

use super::{SuggestedParts, names::ColumnNames, severity::SuggestedScale, survey::Survey};

/// Names for the column that ingest stamps.
const RECEIVED_AT: [&str; 2] = ["Received_At", "Ingested_At"];
/// Columns left out of the file that its comments name.
const LEFT_OUT: usize = 20;
/// What the comment of a column says until somebody writes it.
const COMMENT: &str = "Say what it means, with its unit.";

/// A text as TOML has it, in which JSON's escapes mean the same.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

fn array<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<_> = texts.into_iter().map(quoted).collect();
    format!("[{}]", texts.join(", "))
}

/// A name for the column that ingest stamps, which no column of the file has.
pub(super) fn received_at<'n>(names: impl Iterator<Item = &'n str>) -> String {
    let taken: HashSet<_> = names.map(|name| fold(name).into_owned()).collect();
    let numbered = (2_u64..).map(|number| format!("{}_{number}", RECEIVED_AT[0]));
    let mut free = RECEIVED_AT.into_iter().map(str::to_owned).chain(numbered);
    free.find(|name| !taken.contains(fold(name).as_ref())).unwrap_or_default()
}

/// The text of a data set's file.
pub(super) fn write(name: &str, file: &str, survey: &Survey, parts: &SuggestedParts) -> String {
    let column = |at: usize| quoted(&survey.columns[at].name);
    let (id, severity) = (column(parts.id.column), column(parts.severity.column));
    let taken = survey.columns.iter().map(|column| column.name.as_str());
    let received_at = received_at(taken.chain(survey.left_out.iter().map(|(name, _)| name.as_str())));
    let received = quoted(&received_at);
    let area = parts.area.map(column);
    let title = quoted(&name.replace('_', " "));
    let mut text = String::new();
    let mut line = |line: String, comment: &str| {
        _ = if comment.is_empty() { writeln!(text, "{line}") } else { writeln!(text, "{line}  # {comment}") };
    };
    let from = quoted(file);
    line(
        format!(
            "# Suggested from the {} rows of {from}. Read the remarks, and say what each column means.\n",
            survey.rows
        ),
        "",
    );
    line(format!("name = {}", quoted(name)), "the folder's name: datasets/<name>/dataset.toml");
    line(format!("title = {title}"), "what one event is, in the singular");
    line(format!("source = {}", quoted(name)), "the first folder in the lake: where the data comes from");
    line("source_region = \"all\"".to_owned(), "the second folder: what region it is about");
    line(format!("id = {id}"), parts.id_remark());
    line(format!("severity = {severity}"), "how severe an event is");
    if let Some(levels) = levels(&parts.severity.scale) {
        line(format!("severities = {levels}"), parts.severity.evidence);
    }
    if !parts.blanks.is_empty() {
        let blanks = array(parts.blanks.iter().map(String::as_str));
        line(format!("blanks = {blanks}"), "texts that mean that a cell is blank, in every column");
    }
    line(format!("received_at = {received}"), "ingest sets it");
    let order = if parts.order == DateOrder::Dmy { "dmy" } else { "mdy" };
    line(format!("date_order = \"{order}\""), &format!("of 2/8/2026: {}", parts.order_evidence));
    line(format!("partition_key = {id}"), "spreads the events evenly over stream 1");
    let remark = if area.is_some() {
        "its severe events stay in order"
    } else {
        "or a column of areas, whose severe events stay in order"
    };
    line(format!("severe_partition_key = {}", area.as_ref().unwrap_or(&id)), remark);
    let projection: Vec<_> = parts.projection().map(column).chain([received.clone()]).collect();
    line(format!("projection = [{}]", projection.join(", ")), "what metrics and alerts need of an event");
    if let Some((latitude, longitude)) = parts.location {
        let listed: Vec<_> = parts.projection().collect();
        let details = [latitude, longitude].into_iter().filter(|at| !listed.contains(at)).map(column);
        let details = details.collect::<Vec<_>>().join(", ");
        line(format!("details = [{details}]"), "what an alert says too, such as a description");
    }
    metric(&mut line, name, &severity, area.as_deref());
    if let Some((latitude, longitude)) = parts.location {
        line("\n[location]".to_owned(), "degrees north and east");
        line(format!("latitude = {}\nlongitude = {}", column(latitude), column(longitude)), "");
    }
    columns(&mut text, survey, parts, &received);
    text
}

/// The levels of severities in a data set's file; `None` if any number is one.
fn levels(scale: &SuggestedScale) -> Option<String> {
    match scale {
        SuggestedScale::Numbers(numbers) if numbers.is_empty() => None,
        SuggestedScale::Numbers(numbers) => Some(format!("{numbers:?}")),
        SuggestedScale::Words(words) => Some(array(words.iter().map(String::as_str))),
    }
}

/// The metric of a data set, by severity and by area if there is one.
fn metric(line: &mut impl FnMut(String, &str), name: &str, severity: &str, area: Option<&str>) {
    line("\n[metric]".to_owned(), "a count of the severe events in CloudWatch");
    line(format!("namespace = {}", quoted(name)), "");
    line(format!("name = {}", quoted(&format!("{name}_severe"))), "");
    let by_area = area.map_or_else(String::new, |area| format!(", area = {area}"));
    line(format!("dimensions = {{ severity = {severity}{by_area} }}"), "");
}

/// The entries of the columns, and what is said about those that have none.
fn columns(text: &mut String, survey: &Survey, parts: &SuggestedParts, received: &str) {
    let mut names = ColumnNames::default();
    for (at, column) in survey.columns.iter().enumerate() {
        let kind = parts.kinds[at];
        let glue = if parts.is_level_itself(at) && column.name.eq_ignore_ascii_case("severity") {
            names.unused("severity")
        } else {
            names.glue(&column.name, at + 1)
        };
        _ = write!(text, "\n[[column]]\nname = {}\ncolumn = \"{glue}\"\n", quoted(&column.name));
        let (kind_name, is_either) = match kind {
            Type::TimestampOrDate => (Type::Timestamp, true),
            other => (other, false),
        };
        _ = writeln!(text, "type = \"{kind_name}\"");
        if is_either {
            let day = names.unused(&format!("{glue}_day"));
            _ = writeln!(text, "day_column = \"{day}\"  # the days of the cells that have no time");
        }
        _ = writeln!(text, "comment = {}", quoted(COMMENT));
        let examples = parts.examples(at, column);
        if !examples.is_empty() {
            _ = writeln!(text, "examples = {}", array(examples.iter().map(String::as_str)));
        }
    }
    let glue = names.glue(received.trim_matches('"'), survey.columns.len() + 1);
    let comment = quoted("When ingest accepted the event, UTC.");
    _ = write!(
        text,
        "\n[[column]]\nname = {received}\ncolumn = \"{glue}\"\ntype = \"timestamp\"\ncomment = {comment}\n"
    );
    if !survey.left_out.is_empty() {
        _ = writeln!(text, "\n# Columns of the file that cannot be described. Their cells are kept as text:");
    }
    for (name, why) in survey.left_out.iter().take(LEFT_OUT) {
        _ = writeln!(text, "# {}: {why}", quoted(name));
    }
    if survey.left_out.len() > LEFT_OUT {
        _ = writeln!(text, "# and {} more", survey.left_out.len() - LEFT_OUT);
    }
}
