//! The report of unreadable cells, with a warning for each column that has many of them.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use shared::{
    audit::counts::{
        CELL_METRICS, COLUMN_DIMENSIONS, DIMENSIONS, NAMESPACE, UNREADABLE_CELLS, UNREADABLE_ROWS,
    },
    data::{
        dataset::{Dataset, Type},
        dimension::dimension,
        time::{DateOrder, Unreadable},
    },
    lambda::{config::Emitter, invocation::Invocation},
};

use crate::unreadable::{Reason, Tally, UnreadableCells};

/// A column gets a warning if more than one in so many of its cells could not be read.
const ONE_IN: u64 = 10;
/// Names that one warning lists.
const LISTED: usize = 10;

/// The unreadable cells, as responses report them. All of it is about the rows of one request or invocation.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct ReadingReport {
    /// The columns with cells that could not be read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, ColumnReport>,
    /// Rows with bytes that are not text in the charset in which they were read. The bytes are kept under `_invalid`.
    #[serde(skip_serializing_if = "is_zero")]
    pub undecodable_rows: u64,
    /// The first columns that are unknown to the data set. Their cells are kept as text.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unknown_columns: Vec<String>,
    /// Whether there are others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub more_unknown_columns: bool,
    /// Columns of the data set that the header does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing_columns: Vec<String>,
    /// What is probably wrong, and what to do, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A column with cells that could not be read.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnReport {
    /// Its cells that are not blank.
    pub cells: u64,
    /// Those that could not be read as the column's type.
    pub unreadable: u64,
    /// The same by reason, each with the form of an example.
    pub reasons: BTreeMap<Reason, UnreadableCells>,
}

impl ColumnReport {
    /// The most frequent reason.
    fn likeliest(&self) -> Option<(Reason, &UnreadableCells)> {
        self.reasons.iter().max_by_key(|(_, found)| found.cells).map(|(reason, found)| (*reason, found))
    }
}

impl ReadingReport {
    /// The report of a tally.
    #[must_use]
    pub fn new(dataset: &Dataset, tally: &Tally) -> Self {
        let name = |column: usize| dataset.columns[column].name.clone();
        let unreadable = tally.unreadable().map(|(column, cells, reasons)| {
            let unreadable = reasons.iter().map(|(_, found)| found.cells).sum();
            (name(column), ColumnReport { cells, unreadable, reasons: reasons.iter().cloned().collect() })
        });
        Self {
            unreadable: unreadable.collect(),
            undecodable_rows: tally.undecodable_rows(),
            unknown_columns: tally.unknown_names().to_vec(),
            more_unknown_columns: tally.has_more_unknown(),
            missing_columns: tally.missing().map(name).collect(),
            warnings: Vec::new(),
        }
        .with_warnings(dataset)
    }

    fn with_warnings(mut self, dataset: &Dataset) -> Self {
        let unreadable = dataset.columns.iter().filter_map(|column| {
            let found = self.unreadable.get(&column.name)?;
            (found.unreadable * ONE_IN > found.cells)
                .then(|| warning(&column.name, column.kind, found))
                .flatten()
        });
        let charset = self.wrong_charset();
        self.warnings = unreadable.chain(charset).chain(self.renamed()).chain(self.needed(dataset)).collect();
        self
    }

    /// One row is enough: most rows have only characters that are the same in all charsets.
    fn wrong_charset(&self) -> Option<String> {
        let rows = match self.undecodable_rows {
            0 => return None,
            1 => "1 row has".to_owned(),
            rows => format!("{} rows have", number(rows)),
        };
        Some(format!(
            "{rows} bytes that are not text in the charset in which they were read, and are kept as they came under \
             `_invalid`: declare the charset in which they were written, such as windows-1252"
        ))
    }

    /// Missing columns for which the file has a column with nearly the same name.
    fn renamed(&self) -> Vec<String> {
        let pairs = self.missing_columns.iter().filter_map(|missing| {
            let unknown = self.unknown_columns.iter().find(|unknown| plain(unknown) == plain(missing))?;
            Some(format!(
                "the header has no column `{missing}`, and the data set has no column `{unknown}`: give both the same \
                 name, in the file or in the data set's file"
            ))
        });
        pairs.take(LISTED).collect()
    }

    /// Missing columns that the pipeline uses.
    fn needed(&self, dataset: &Dataset) -> Option<String> {
        let location = dataset.location.iter().flat_map(|place| [place.latitude, place.longitude]);
        let used: Vec<&str> = dataset
            .projection
            .iter()
            .copied()
            .chain(dataset.details.iter().copied())
            .chain([dataset.partition_key])
            .chain(location)
            .map(|column| dataset.columns[column].name.as_str())
            .collect();
        let missing: Vec<String> = self
            .missing_columns
            .iter()
            .filter(|name| used.contains(&name.as_str()))
            .filter(|name| !self.unknown_columns.iter().any(|unknown| plain(unknown) == plain(name)))
            .map(|name| format!("`{name}`"))
            .collect();
        let columns = if missing.len() == 1 { "column" } else { "columns" };
        (!missing.is_empty()).then(|| {
            format!(
                "the header has no {columns} {}, which alerts, metrics or queries use: name them in the first line, or take \
                 them out of these parts of the data set's file",
                missing.join(", ")
            )
        })
    }

    /// Whether there is anything to log.
    pub(crate) fn is_notable(&self) -> bool {
        !self.unreadable.is_empty() || !self.warnings.is_empty()
    }

    /// The log lines in the embedded metric format, without the text of any cell: one with all counts and forms, and one
    /// for each column with unreadable cells, since a line has one value for each dimension.
    ///
    /// Source: CloudWatch user guide, "Specification: Embedded metric format".
    pub(crate) fn lines(&self, rows: u64, emitter: &Emitter<'_>, invocation: &Invocation) -> Vec<String> {
        let of_column = |(name, column): (&String, &ColumnReport)| {
            json!({
                "_aws": declared(invocation, &COLUMN_DIMENSIONS, &[UNREADABLE_CELLS]),
                "Dataset": emitter.dataset,
                "Environment": emitter.environment,
                "Function": emitter.function,
                "Column": dimension(name),
                "request_id": invocation.request_id,
                UNREADABLE_CELLS: column.unreadable,
            })
            .to_string()
        };
        let all = self.line(rows, emitter, invocation);
        std::iter::once(all).chain(self.unreadable.iter().map(of_column)).collect()
    }

    fn line(&self, rows: u64, emitter: &Emitter<'_>, invocation: &Invocation) -> String {
        let cells: u64 = self.unreadable.values().map(|column| column.unreadable).sum();
        json!({
            "_aws": declared(invocation, &DIMENSIONS, &CELL_METRICS),
            "Dataset": emitter.dataset,
            "Environment": emitter.environment,
            "Function": emitter.function,
            "request_id": invocation.request_id,
            UNREADABLE_CELLS: cells,
            UNREADABLE_ROWS: rows,
            "UndecodableRows": self.undecodable_rows,
            "Columns": self.unreadable,
            "UnknownColumns": self.unknown_columns.len(),
            "MissingColumns": self.missing_columns.len(),
            "Warnings": self.warnings,
        })
        .to_string()
    }
}

/// What a line in the embedded metric format declares.
fn declared(invocation: &Invocation, dimensions: &[&str], metrics: &[&str]) -> serde_json::Value {
    let metrics: Vec<_> = metrics.iter().map(|name| json!({"Name": name, "Unit": "Count"})).collect();
    json!({
        "Timestamp": invocation.now.timestamp_millis(),
        "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": metrics}],
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A name in lower case without punctuation.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// What is wrong with a column, and what to do about it.
fn warning(name: &str, kind: Type, column: &ColumnReport) -> Option<String> {
    let (reason, UnreadableCells { cells, form }) = column.likeliest()?;
    let read_as = match reason {
        Reason::OnlyDmy => "month/day/year".to_owned(),
        Reason::OnlyMdy => "day/month/year".to_owned(),
        _ => kind.to_string(),
    };
    let of_them =
        if *cells == column.unreadable { "all".to_owned() } else { format!("{} of them", number(*cells)) };
    Some(format!(
        "`{name}`: {} of {} cells could not be read as {read_as}; {of_them}, {}, {}",
        number(column.unreadable),
        number(column.cells),
        example(reason, form),
        remedy(reason)
    ))
}

/// An example by its form, which nobody finds in the file if it looks like a cell of it.
fn example(reason: Reason, form: &str) -> String {
    // These words and infinities are quoted as they are.
    if matches!(reason, Reason::MeansNothing | Reason::NotFinite) {
        return format!("such as `{form}`");
    }
    let has = |marks: &[char]| form.contains(marks);
    let meaning = match (has(&['9']), has(&['A', 'a'])) {
        (true, true) => " (9 is any digit, a any letter)",
        (true, false) => " (9 is any digit)",
        (false, true) => " (a is any letter)",
        (false, false) => "",
    };
    format!("of a form such as `{form}`{meaning}")
}

/// What the cells of a reason have in common, and the likeliest remedy.
fn remedy(reason: Reason) -> String {
    let remedy = match reason {
        Reason::OnlyDmy => Unreadable::OtherOrder.remedy(DateOrder::Mdy),
        Reason::OnlyMdy => Unreadable::OtherOrder.remedy(DateOrder::Dmy),
        // No other remedy depends on the order.
        Reason::Time(reason) => reason.remedy(DateOrder::Mdy),
        Reason::NeedsDateOrder => {
            "can be read only in a declared order: declare `date_order`, as the file was written"
        }
        Reason::Fraction => "have a fraction: declare `type = \"double\"`",
        Reason::OutOfRange => "are too large: declare `type = \"string\"`",
        Reason::FormattedNumber => {
            "have separators or units: write numbers such as `1234.5`, or declare `type = \"string\"`"
        }
        Reason::NotFinite => {
            "are not finite numbers: list them as `blanks` in the data set's file, or declare `type = \"string\"`"
        }
        Reason::NotANumber | Reason::NotABoolean => "are other text: declare `type = \"string\"`",
        Reason::MeansNothing => "mean that there is nothing: list them under `blanks` in the data set's file",
        Reason::Nested => "are objects or arrays: send each of their values under a name of its own",
    };
    let others = match reason {
        Reason::OnlyDmy | Reason::OnlyMdy => {
            " and send the file again, since its other dates may have day and month swapped"
        }
        _ => "",
    };
    format!("{remedy}{others}")
}

/// A number with commas between its thousands.
fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests;
