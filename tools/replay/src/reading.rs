//! Formats a report of unreadable cells as lines for people.

use std::collections::HashMap;

use ingest::report::ReadingReport;

use crate::progress::Progress;

/// Rejects with the same sentence that are shown by their line; the others are counted.
const SHOWN: u64 = 3;
/// Different sentences that are counted. Those beyond are all shown.
const SENTENCES: usize = 100;

/// Shows rejects as they are found, and does not repeat a sentence for each of thousands of rows.
#[derive(Debug, Default)]
pub(crate) struct RejectNotes {
    /// How often each sentence was found.
    found: HashMap<String, u64>,
    /// The sentences in the order in which they were found first.
    order: Vec<String>,
}

impl RejectNotes {
    /// Shows a reject by its line of the file, or counts it. A reject of the file itself has line 0.
    pub(crate) fn note(&mut self, line: u64, reason: &str, detail: &str, progress: &Progress) {
        let place = if line == 0 { "the file".to_owned() } else { format!("line {line}") };
        let sentence = format!("rejected ({reason}): {detail}");
        if self.count(&sentence) <= SHOWN {
            progress.note(&format!("{place}: {sentence}"));
        }
    }

    /// How often the sentence was found, with this time.
    fn count(&mut self, sentence: &str) -> u64 {
        if let Some(count) = self.found.get_mut(sentence) {
            *count += 1;
            return *count;
        }
        if self.order.len() < SENTENCES {
            self.found.insert(sentence.to_owned(), 1);
            self.order.push(sentence.to_owned());
        }
        1
    }

    /// A line for each sentence that was not shown every time.
    pub(crate) fn rest(&self) -> Vec<String> {
        let rest = |sentence: &String| {
            let more = self.found.get(sentence)?.checked_sub(SHOWN).filter(|more| *more > 0)?;
            let rows = if more == 1 { "row" } else { "rows" };
            Some(format!("{more} more {rows}: {sentence}"))
        };
        self.order.iter().filter_map(rest).collect()
    }
}

/// The lines of a report: the warnings, then whatever else could not be read or matched.
pub(crate) fn lines(report: &ReadingReport) -> Vec<String> {
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
        (
            &report.unknown_columns,
            report.more_unknown_columns,
            "columns that the data set does not have, kept as text",
        ),
        (&report.missing_columns, false, "columns of the data set that the file does not have"),
    ];
    for (names, has_more, what) in columns.into_iter().filter(|(names, ..)| !names.is_empty()) {
        let listed: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
        let rest =
            if has_more { format!(" and more; the first {} are listed", names.len()) } else { String::new() };
        lines.push(format!("{what}: {}{rest}", listed.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_columns_that_is_cut_says_so() {
        let unknown_columns = vec!["a".to_owned(), "b".to_owned()];
        let mut report = ReadingReport { unknown_columns, ..ReadingReport::default() };
        let all = "columns that the data set does not have, kept as text: `a`, `b`";
        assert_eq!(lines(&report), [all]);
        report.more_unknown_columns = true;
        assert_eq!(lines(&report), [format!("{all} and more; the first 2 are listed")]);
    }

    #[test]
    fn same_sentence_is_not_repeated_for_every_row() {
        let mut notes = RejectNotes::default();
        for line in 2..10 {
            notes.note(line, "bad_header", "the header has no column `ID`", &Progress::hidden());
        }
        notes.note(10, "missing_id", "`ID` is blank", &Progress::hidden());
        assert_eq!(notes.rest(), ["5 more rows: rejected (bad_header): the header has no column `ID`"]);
    }
}
