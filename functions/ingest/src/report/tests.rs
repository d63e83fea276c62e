use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::{
    normalise::Normaliser,
    rows::{Format, Rows},
};

fn dataset() -> Dataset {
    Dataset::named("us_accidents").unwrap()
}

/// The tally of the rows of a text, and the events of those that are accepted.
fn tally(format: Format, order: Option<DateOrder>, text: &[u8]) -> (Tally, Vec<Value>) {
    let (dataset, mut tally, mut events) = (dataset(), Tally::default(), Vec::new());
    let normaliser = Normaliser::new(&dataset, order);
    let mut rows = Rows::new(&dataset, format);
    rows.push(text);
    rows.finish();
    while let Some(row) = rows.next() {
        let mut out = Vec::new();
        if normaliser.normalise(&row, "2022-12-24T04:53:57Z", &mut out, &mut tally).is_ok() {
            events.push(serde_json::from_slice(&out).unwrap());
        }
    }
    (tally, events)
}

fn report(format: Format, order: DateOrder, text: &str) -> ReadingReport {
    ReadingReport::new(&dataset(), &tally(format, Some(order), text.as_bytes()).0)
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
    let text = "ID,Severity,City,County,Start_Lat,Start_Lng,Number\nA,3,Do\u{f1}a,x,1,1,n\nB,3,Caf\u{e9},x,1,1,7\nC,3,x,x,1,1,7\n";
    let latin1: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let (tally, _) = tally(Format::Csv, None, &latin1);
    let found = ReadingReport::new(&dataset(), &tally);
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
    assert!(found.warnings[0].contains("no column `Start_Time`, and the data set has no column `StartTime`"));
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
        let [line, of_column] = [0, 1].map(|at| serde_json::from_str::<Value>(&lines[at]).unwrap());
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
        let cells: Vec<_> = cells.into_iter().map(str::to_owned).collect();
        let (tally, events) = tally(Format::Csv, None, csv(column, &cells).as_bytes());
        prop_assert_eq!(events.len(), cells.len());
        let count = |is: &dyn Fn(&Value) -> bool| events.iter().filter(|event| is(event)).count() as u64;
        let read = count(&|event| event.get(column).is_some());
        let unreadable = count(&|event| event["_invalid"].get(column).is_some());
        let report = ReadingReport::new(&dataset(), &tally);
        let counted = report.unreadable.get(column).map_or((0, 0), |found| (found.cells, found.unreadable));
        prop_assert_eq!(counted, if unreadable == 0 { (0, 0) } else { (read + unreadable, unreadable) });
        prop_assert_eq!(tally.unreadable_rows(), unreadable);
    }
}
