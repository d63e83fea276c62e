//! Formats a report of unreadable cells as lines for people.

use ingest::report::ReadingReport;

/// The lines of a report: the warnings, then whatever else could not be read or matched.
#[must_use]
pub fn lines(report: &ReadingReport) -> Vec<String> {
    let mut lines: Vec<String> =
        report.warnings.iter().map(|warning| format!("warning: {warning}")).collect();
    for (name, column) in &report.unreadable {
        // A warning begins with its column.
        if !report.warnings.iter().any(|warning| warning.starts_with(&format!("`{name}`:"))) {
            lines.push(format!(
                "`{name}`: {} of {} cells could not be read; their text is under `_invalid`",
                column.unreadable, column.cells
            ));
        }
    }
    let columns = [
        (&report.unknown_columns, "columns that the data set does not have, kept as text"),
        (&report.missing_columns, "columns of the data set that the file does not have"),
    ];
    for (names, what) in columns.into_iter().filter(|(names, _)| !names.is_empty()) {
        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        lines.push(format!("{what}: {}", names.join(", ")));
    }
    lines
}
