//! The support tickets with changed severities.

use shared::data::dataset::Dataset;

/// The support tickets with words as priorities, and with texts for blank cells.
///
/// # Panics
///
/// If they are not a data set.
#[must_use]
pub fn tickets_in_words() -> Dataset {
    tickets(r#"["Low", "Medium", "High", "Critical"]"#, "string")
}

/// The support tickets with other severities, and with texts for blank cells.
///
/// # Panics
///
/// If they are not a data set.
#[must_use]
pub fn tickets(severities: &str, kind: &str) -> Dataset {
    let text = include_str!("../../../datasets/support_tickets/dataset.toml");
    let severities = format!("severities = {severities}\nblanks = [\"NA\", \"nan\", \"-1\"]  #");
    let column = "column = \"priority\"\ntype = ";
    let changed = text.replacen("severities = [1, 2, 3, 4]", &severities, 1).replacen(
        &format!("{column}\"int\""),
        &format!("{column}\"{kind}\""),
        1,
    );
    Dataset::parse("support_tickets", &changed).unwrap_or_else(|error| panic!("{error}"))
}
