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
    #[must_use]
    pub fn is_notable(&self) -> bool {
        !self.unreadable.is_empty() || !self.warnings.is_empty()
    }

    /// The log lines in the embedded metric format, without the text of any cell: one with all counts and forms, and one
    /// for each column with unreadable cells, since a line has one value for each dimension.
    ///
    /// Source: CloudWatch user guide, "Specification: Embedded metric format".
    #[must_use]
    pub fn lines(&self, rows: u64, emitter: &Emitter<'_>, invocation: &Invocation) -> Vec<String> {
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
    let of_time = |reason: Unreadable| reason.remedy(DateOrder::Mdy).to_owned();
    let swapped = " and send the file again, since its other dates may have day and month swapped";
    match reason {
        Reason::OnlyDmy => Unreadable::OtherOrder.remedy(DateOrder::Mdy).to_owned() + swapped,
        Reason::OnlyMdy => Unreadable::OtherOrder.remedy(DateOrder::Dmy).to_owned() + swapped,
        Reason::NeedsDateOrder => {
            "can be read only in a declared order: declare `date_order`, as the file was written".to_owned()
        }
        Reason::DayOnly => of_time(Unreadable::DayOnly),
        Reason::DayAndTime => of_time(Unreadable::DayAndTime),
        Reason::TimeOnly => of_time(Unreadable::TimeOnly),
        Reason::NoCentury => of_time(Unreadable::NoCentury),
        Reason::NoSuchTime => of_time(Unreadable::NoSuchTime),
        Reason::SerialNumber => of_time(Unreadable::SerialNumber),
        Reason::UnixTime => of_time(Unreadable::UnixTime),
        Reason::NotATime => of_time(Unreadable::NotATime),
        Reason::Fraction => "have a fraction: declare `type = \"double\"`".to_owned(),
        Reason::OutOfRange => "are too large: declare `type = \"string\"`".to_owned(),
        Reason::FormattedNumber => {
            "have separators or units: write numbers such as `1234.5`, or declare `type = \"string\"`"
                .to_owned()
        }
        Reason::NotFinite => {
            "are not finite numbers: list them as `blanks` in the data set's file, or declare `type = \"string\"`"
                .to_owned()
        }
        Reason::NotANumber | Reason::NotABoolean => "are other text: declare `type = \"string\"`".to_owned(),
        Reason::MeansNothing => {
            "mean that there is nothing: list them under `blanks` in the data set's file".to_owned()
        }
        Reason::Nested => {
            "are objects or arrays: send each of their values under a name of its own".to_owned()
        }
    }
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
mod tests {
    use proptest::prelude::*;
    use shared::json::Writer;

    use super::*;
    use crate::{
        normalise::Normaliser,
        rows::{Format, Rows},
    };

    fn dataset() -> Dataset {
        Dataset::named("us_accidents").unwrap()
    }

    fn tally(format: Format, order: DateOrder, text: &str) -> Tally {
        let (dataset, mut tally) = (dataset(), Tally::default());
        let normaliser = Normaliser::new(&dataset, order);
        let mut rows = Rows::new(&dataset, format);
        rows.push(text.as_bytes());
        rows.finish();
        while let Some(row) = rows.next() {
            _ = normaliser.normalise(&row, "2022-12-24T04:53:57Z", &mut Writer::default(), &mut tally);
        }
        tally
    }

    fn report(format: Format, order: DateOrder, text: &str) -> ReadingReport {
        ReadingReport::new(&dataset(), &tally(format, order, text))
    }

    /// Rows with all columns that the pipeline uses, of which one is given.
    fn csv(column: &str, cells: &[String]) -> String {
        let used = [
            ("Severity", "3"),
            ("City", "Dayton"),
            ("County", "Ohio"),
            ("Start_Time", "2022-12-24 04:53:00"),
            ("Street", "I-70"),
            ("Start_Lat", "39.9"),
            ("Start_Lng", "-84.2"),
            ("Description", "x"),
        ];
        let (names, values): (Vec<_>, Vec<_>) = used.into_iter().filter(|(name, _)| *name != column).unzip();
        let values = values.join(",");
        let rows = cells.iter().enumerate().map(|(at, cell)| format!("A-{at},{values},{cell}\n"));
        std::iter::once(format!("ID,{},{column}\n", names.join(","))).chain(rows).collect()
    }

    fn warnings(column: &str, cells: &[&str]) -> Vec<String> {
        let cells: Vec<_> = cells.iter().map(|cell| (*cell).to_owned()).collect();
        report(Format::Csv, DateOrder::Mdy, &csv(column, &cells)).warnings
    }

    #[test]
    fn a_file_in_the_other_date_order_says_so() {
        let cells: Vec<_> = (0..5_998).map(|at| format!("{}/08/2016 01:00", at % 28 + 1)).collect();
        let text = csv("Start_Time", &cells);
        let found = report(Format::Csv, DateOrder::Mdy, &text);
        let column = &found.unreadable["Start_Time"];
        assert_eq!((column.cells, column.unreadable), (5_998, 3_424));
        assert_eq!(
            found.warnings,
            [
                "`Start_Time`: 3,424 of 5,998 cells could not be read as month/day/year; all, of a form such as `99/99/9999 99:99` (9 is any digit), \
                 can only be day/month/year: declare `date_order=dmy` and send the file again, since its other dates may \
                 have day and month swapped"
            ]
        );
        assert!(report(Format::Csv, DateOrder::Dmy, &text).unreadable.is_empty());
    }

    #[test]
    fn remedy_is_for_the_most_frequent_reason() {
        for (column, cells, remedy) in [
            (
                "Number",
                &["1 500", "many", "2 %"][..],
                "2 of them, of a form such as `9 999` (9 is any digit), have separators or units: write numbers such as",
            ),
            (
                "Number",
                &["nan", "nan"],
                "all, such as `nan`, mean that there is nothing: list them under `blanks`",
            ),
            (
                "Number",
                &["1", "-inf", "inf"],
                "all, such as `-inf`, are not finite numbers: list them as `blanks`",
            ),
            (
                "Amenity",
                &["yes"],
                "as boolean; all, of a form such as `aaa` (a is any letter), are other text: declare `type = \"string\"`",
            ),
            (
                "Start_Time",
                &["45:00.0"],
                "as timestamp; all, of a form such as `99:99.9` (9 is any digit), are times without a day: ",
            ),
        ] {
            let warnings = warnings(column, cells);
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains(remedy), "{warnings:?}");
        }
    }

    #[test]
    fn a_tenth_is_not_warned_about_and_blanks_do_not_count() {
        let good = ["1"; 9];
        assert_eq!(warnings("Number", &[&good[..], &["x"], &[""], &[" "]].concat()), [""; 0]);
        assert_eq!(warnings("Number", &[&good[..8], &["x"], &[" "]].concat()).len(), 1);
    }

    #[test]
    fn a_file_in_an_undeclared_charset_says_so() {
        let (dataset, mut tally) = (dataset(), Tally::default());
        let normaliser = Normaliser::new(&dataset, None);
        let mut rows = Rows::new(&dataset, Format::Csv);
        let text = "ID,Severity,City,County,Start_Lat,Start_Lng,Number\nA,3,Do\u{f1}a,x,1,1,n\nB,3,Caf\u{e9},x,1,1,7\nC,3,x,x,1,1,7\n";
        rows.push(&text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect::<Vec<_>>());
        rows.finish();
        while let Some(row) = rows.next() {
            normaliser.normalise(&row, "2022-12-24T04:53:57Z", &mut Writer::default(), &mut tally).unwrap();
        }
        let found = ReadingReport::new(&dataset, &tally);
        assert_eq!((found.undecodable_rows, tally.unreadable_rows()), (2, 2));
        assert!(
            found.warnings.iter().any(|warning| warning.starts_with("2 rows have bytes that are not text")),
            "{:?}",
            found.warnings
        );
        assert!(found.is_notable());
        let clean = report(Format::Csv, DateOrder::Mdy, "ID,Severity,City\nA,3,Do\u{f1}a\n");
        assert_eq!((clean.undecodable_rows, clean.is_notable()), (0, true), "only columns are missing");
        assert!(!serde_json::to_string(&clean).unwrap().contains("undecodable_rows"));
    }

    #[test]
    fn unknown_and_missing_columns_are_reported() {
        let text = "ID,Severity,City,StartTime,extra\nA-1,3,Dayton,x,y\n";
        let found = report(Format::Csv, DateOrder::Mdy, text);
        assert_eq!(found.unknown_columns, ["StartTime", "extra"]);
        assert!(found.missing_columns.contains(&"Start_Time".to_owned()));
        assert!(!found.missing_columns.contains(&"Txn_Timestamp".to_owned()), "ingest writes it");
        assert_eq!(found.warnings.len(), 2, "{:?}", found.warnings);
        assert!(
            found.warnings[0].contains("no column `Start_Time`, and the data set has no column `StartTime`")
        );
        assert!(
            found.warnings[1]
                .contains("no columns `Start_Lat`, `Start_Lng`, `Description`, `Street`, `County`, which")
        );
        let json = report(Format::Ndjson, DateOrder::Mdy, r#"{"ID":"A-1","Severity":3,"x":1,"y":2}"#);
        assert_eq!((json.unknown_columns.len(), json.missing_columns.len()), (2, 0));
        assert!(!report(Format::Csv, DateOrder::Mdy, "no,header\n1,2\n").is_notable());
    }

    proptest! {
        #[test]
        fn neither_log_nor_warning_has_a_text_of_a_cell(
            // Letters that no word of a report has in such a row.
            cells in proptest::collection::vec("[QXZJqxzj]{4,12}[0-9]{4,9}", 1..20),
        ) {
            let mut texts = cells.clone();
            texts.push("Dayton".to_owned());
            let found = report(Format::Csv, DateOrder::Mdy, &csv("Start_Time", &cells));
            let emitter = Emitter { dataset: "us_accidents", environment: "dev", function: "ingest" };
            let invocation = Invocation::begin("r-1", 0, std::time::SystemTime::UNIX_EPOCH.into(), 0);
            let lines = found.lines(cells.len() as u64, &emitter, &invocation);
            prop_assert_eq!(lines.len(), 2);
            let line = lines.concat();
            prop_assert_eq!(found.unreadable["Start_Time"].unreadable, cells.len() as u64);
            for text in texts {
                let letters: String = text.chars().filter(|c| c.is_alphabetic()).collect();
                prop_assert!(!line.contains(&letters), "{}", line);
            }
            let [line, of_column] = [0, 1].map(|at| serde_json::from_str::<serde_json::Value>(&lines[at]).unwrap());
            for metric in CELL_METRICS {
                prop_assert_eq!(line[metric].as_u64(), Some(cells.len() as u64));
            }
            prop_assert_eq!(of_column["Column"].as_str(), Some("Start_Time"));
            prop_assert_eq!(of_column[UNREADABLE_CELLS].as_u64(), Some(cells.len() as u64));
        }

        /// Every cell is counted once: as it is in the event, or as it is among the invalid ones.
        #[test]
        fn counts_are_those_of_the_events(
            cells in proptest::collection::vec(proptest::sample::select(vec!["", " ", "1", "2.5", "nan", "x", "13/8/2016 1:00"]), 1..40),
            column in prop_oneof![Just("Number"), Just("Start_Time"), Just("Amenity"), Just("Street"), Just("Temperature(F)")],
        ) {
            let (dataset, mut tally) = (dataset(), Tally::default());
            let normaliser = Normaliser::new(&dataset, None);
            let mut rows = Rows::new(&dataset, Format::Csv);
            let cells: Vec<_> = cells.into_iter().map(str::to_owned).collect();
            rows.push(csv(column, &cells).as_bytes());
            rows.finish();
            let (mut read, mut unreadable) = (0, 0);
            while let Some(row) = rows.next() {
                let mut out = Writer::default();
                normaliser.normalise(&row, "2022-12-24T04:53:57Z", &mut out, &mut tally).unwrap();
                let event: serde_json::Value = serde_json::from_slice(&out.into_bytes()).unwrap();
                read += u64::from(event.get(column).is_some());
                unreadable += u64::from(event["_invalid"].get(column).is_some());
            }
            let report = ReadingReport::new(&dataset, &tally);
            let counted = report.unreadable.get(column).map_or((0, 0), |found| (found.cells, found.unreadable));
            prop_assert_eq!(counted, if unreadable == 0 { (0, 0) } else { (read + unreadable, unreadable) });
            prop_assert_eq!(tally.unreadable_rows(), unreadable);
        }
    }
}
