//! Files of many kinds, each read with the data set that is suggested for it.

use ingest::{charset::Charset, rows::Format};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::input::tests::input;

/// The suggestion for a text, the data set that it is, and the events of the text.
fn suggested(format: Format, charset: &str, text: &[u8]) -> Result<(Suggestion, Dataset, Vec<Value>), Error> {
    let charset: Charset = charset.parse().unwrap();
    let open = || {
        let mut input = input(format, text);
        input.charset = charset;
        Ok(input)
    };
    let suggestion = suggest(Some("calls"), None, &open, |_, _, _| (), &Progress::hidden())?;
    let dataset = Dataset::parse("calls", &suggestion.text).unwrap();
    let mut output = Vec::new();
    normalise(&dataset, &mut open()?, None, &mut output, |_, _, _| (), &Progress::hidden())?;
    let lines = output.split_inclusive(|byte| *byte == b'\n');
    let events = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    Ok((suggestion, dataset, events))
}

/// The same for a file of which every row has to be accepted with every cell.
fn accepted(format: Format, charset: &str, text: &[u8]) -> (Suggestion, Dataset, Vec<Value>) {
    let found = suggested(format, charset, text).unwrap();
    let counts = &found.0.counts;
    assert_eq!(counts.rejected, 0, "{}", found.0.text);
    assert!(counts.report.unreadable.is_empty(), "{:?}\n{}", counts.report, found.0.text);
    found
}

fn csv(text: &str) -> (Suggestion, Dataset, Vec<Value>) {
    accepted(Format::Csv, "utf-8", text.as_bytes())
}

fn kinds(dataset: &Dataset) -> Vec<Type> {
    dataset.columns.iter().map(|column| column.kind).collect()
}

fn columns(dataset: &Dataset) -> Vec<&str> {
    dataset.columns.iter().map(|column| column.column.as_str()).collect()
}

fn levels(dataset: &Dataset) -> Vec<&str> {
    dataset.severities.levels().iter().map(|level| level.text.as_str()).collect()
}

/// The names of the columns that play a part: id, severity and area.
fn roles(dataset: &Dataset) -> [&str; 3] {
    [dataset.id, dataset.severity, dataset.severe_partition_key]
        .map(|column| dataset.columns[column].name.as_str())
}

#[test]
fn every_type_is_found_with_its_part() {
    let text = "Call No,Level,District,Called At,Lat,Lng,Units,Paid,Zip,Done\n\
                1,2,North,13/08/2026 17:05,48.85,2.35,3,1.50,01234,true\n\
                2,1,South,01/02/2026 07:05,48.9,2,4,2,75001,false\n\
                3,3,North,02/02/2026,49,2.1,5,2,75002,true\n";
    let (suggestion, dataset, events) = csv(text);
    let expected = [
        Type::String,
        Type::Int,
        Type::String,
        Type::TimestampOrDate,
        Type::Double,
        Type::Double,
        Type::Int,
        Type::Double,
        Type::String,
        Type::Boolean,
        Type::Timestamp,
    ];
    assert_eq!(kinds(&dataset), expected, "{}", suggestion.text);
    assert_eq!(roles(&dataset), ["Call No", "Level", "District"]);
    assert_eq!(levels(&dataset), ["1", "2", "3"]);
    assert_eq!(dataset.date_order, DateOrder::Dmy);
    assert!(
        suggestion.text.contains("of 2/8/2026: cells that can only be day, month, year: 1"),
        "{}",
        suggestion.text
    );
    assert!(suggestion.text.contains("day_column = \"called_at_day\""), "{}", suggestion.text);
    let location = dataset.location.unwrap();
    assert_eq!((location.latitude, location.longitude), (4, 5));
    assert_eq!(events[2]["Called At"], "2026-02-02");
    assert_eq!(events[0]["Called At"], "2026-08-13T17:05:00");
    assert!(suggestion.lines().iter().any(|line| line.contains("3 rows are accepted, and every cell")));
}

#[test]
fn unknown_date_order_is_called_ambiguous() {
    let (suggestion, dataset, _) = csv("id,sev,on\na,1,2/8/2026\nb,2,3/8/2026\n");
    assert_eq!((dataset.date_order, dataset.columns[2].kind), (DateOrder::Mdy, Type::Date));
    assert!(
        suggestion.text.contains(
            "AMBIGUOUS: mdy or dmy, as the file was written; cells that can be read in both orders: 2"
        ),
        "{}",
        suggestion.text
    );
    let (suggestion, ..) = csv("id,sev,on\na,1,2026-08-02\nb,2,2026-08-03\n");
    assert!(suggestion.text.contains("no cell depends on it"), "{}", suggestion.text);
    let (_, dataset, _) = csv("id,sev,on,to\na,1,13/8/2026,8/13/2026\nb,2,3/8/2026,8/14/2026\n");
    assert_eq!((dataset.columns[2].kind, dataset.columns[3].kind), (Type::String, Type::Date));
}

#[test]
fn a_header_that_is_not_text_asks_for_its_charset() {
    let text = b"id;Priorit\xe4t\n1;hoch\n2;niedrig\n";
    let refused = suggested(Format::Csv, "utf-8", text).unwrap_err().to_string();
    assert!(refused.contains("for example --charset=windows-1252"), "{refused}");
    assert_eq!(accepted(Format::Csv, "windows-1252", text).1.columns[1].name, "Priorit\u{e4}t");
}

#[test]
fn semicolons_and_a_declared_charset_are_read_as_normalise_reads_them() {
    let text = b"Vorgang;Priorit\xe4t;Bezirk, Ort\n1;hoch;M\xfcnchen\n2;niedrig;K\xf6ln\n3;hoch;K\xf6ln\n";
    let (suggestion, dataset, events) = accepted(Format::Csv, "windows-1252", text);
    assert_eq!(dataset.columns[1].name, "Priorität");
    assert_eq!(roles(&dataset)[..2], ["Vorgang", "Priorität"]);
    assert_eq!(events[1]["Bezirk, Ort"], "Köln");
    assert!(suggestion.text.contains("PUT THEM IN ORDER"), "{}", suggestion.text);
    assert_eq!(suggestion.counts.separator.as_deref(), Some("semicolons"));
    let (suggestion, dataset, _) = csv("sep=:\nid:sev\na:1\nb:2\n");
    assert_eq!((dataset.columns.len(), suggestion.counts.normalised), (3, 2));
    // Without the charset the rows are kept, and the lines say what to declare.
    let plain = b"Nr,Level,Ort\n1,2,M\xfcnchen\n2,3,Ulm\n";
    let (suggestion, ..) = accepted(Format::Csv, "utf-8", plain);
    assert!(suggestion.lines()[0].starts_with("rows that are not UTF-8: 1; "), "{:?}", suggestion.lines());
}

#[test]
fn objects_are_described_by_their_keys() {
    let text = r#"{"key":"a","impact":"3 - Moderate","n":1.5,"tags":["x"],"ok":true}
{"key":"b","impact":"1 - Critical","n":NaN,"more":"x","OK":false}
{"key":"c","impact":"2 - High","n":2,"more":null}
"#;
    let (suggestion, dataset, events) = accepted(Format::Ndjson, "utf-8", text.as_bytes());
    assert_eq!(roles(&dataset)[..2], ["key", "impact"]);
    assert_eq!(levels(&dataset), ["3 - Moderate", "2 - High", "1 - Critical"]);
    assert!(
        suggestion.text.contains("1 is the worst") && suggestion.text.contains("\"tags\": it holds objects")
    );
    assert!(suggestion.text.contains("blanks = [\"NaN\"]"), "{}", suggestion.text);
    assert_eq!(events[0]["tags"], "[\"x\"]");
    let array = format!("[{}]", text.trim_end().replace('\n', ","));
    let (of_array, ..) = accepted(Format::Json, "utf-8", array.as_bytes());
    assert_eq!(of_array.text, suggestion.text);
}

#[test]
fn words_for_nothing_are_blank_where_a_column_has_a_type() {
    let text = "id,priority,km,note,at\nNA1,Low,NA,None,2026-01-01 10:00\nb,High,1.5,?,nan\nc,None,2,NA,2026-01-01 11:00\n";
    let (suggestion, dataset, events) = csv(text);
    assert_eq!(dataset.blanks.texts(), ["NA", "nan"], "{}", suggestion.text);
    assert_eq!(levels(&dataset), ["None", "Low", "High"]);
    assert_eq!((dataset.columns[2].kind, dataset.columns[4].kind), (Type::Double, Type::Timestamp));
    assert_eq!((events[0].get("km"), &events[0]["note"]), (None, &Value::from("None")));
    // A text that is a severity means something: the other column with it is a text.
    let (_, dataset, _) = csv("id,priority,km\na,None,None\nb,High,1\n");
    assert!(dataset.blanks.is_empty());
    assert_eq!(dataset.columns[2].kind, Type::String);
}

#[test]
fn odd_names_become_valid_ones() {
    let text = "ID,Severity,City,city,,select,Year,a-b,a b,Received_At,ein \"Name\"\\,{x},\u{4f18}\n\
                a,3,x,y,z,1,2,3,4,5,6,7,8\nb,2,x,y,z,1,2,3,4,5,6,7,8\n";
    let (suggestion, dataset, events) = csv(text);
    let expected = [
        "id",
        "severity",
        "city",
        "select_of_event",
        "year_of_event",
        "a_b",
        "a_b_2",
        "received_at",
        "ein_name",
        "x",
        "column_11",
        "ingested_at",
    ];
    assert_eq!(columns(&dataset), expected, "{}", suggestion.text);
    assert!(suggestion.text.contains("# \"city\": another column has its name but for the case"));
    assert!(suggestion.text.contains("# \"\": it has no name"));
    assert_eq!(
        (&events[0]["column_5"], &events[0]["_invalid"]["city"]),
        (&Value::from("z"), &Value::from("y"))
    );
    let twice = suggested(Format::Csv, "utf-8", b"id,sev,x,x\n1,2,3,4\n").err().unwrap().to_string();
    assert!(twice.contains("found `x` twice; rename or remove one"), "{twice}");
}

#[test]
fn names_of_words_as_levels_do_not_collide_with_the_tables() {
    let (_, dataset, _) = csv("id,severity\na,Low\nb,High\n");
    assert_eq!(
        (dataset.columns[1].column.as_str(), levels(&dataset)),
        ("severity_of_event", vec!["Low", "High"])
    );
}

#[test]
fn files_without_an_id_or_severity_say_so() {
    for (text, expected) in [
        ("", "there is nothing but blank space"),
        ("id,severity\n", "there is a header but no row below it"),
        ("id\na\nb\n", "no column can be the severity"),
        ("id,severity\n,\n", "there is a header but no row below it"),
    ] {
        let error = suggested(Format::Csv, "utf-8", text.as_bytes()).err().unwrap().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    let (suggestion, ..) = suggested(Format::Csv, "utf-8", b"id,severity\na,1\na,2\n,2\n").unwrap();
    assert_eq!((suggestion.counts.normalised, suggestion.counts.rejected), (2, 1));
    assert!(suggestion.text.contains("CHECK: it is blank in some rows"), "{}", suggestion.text);
}

/// Cells of a column that has one kind of text, and now and then another.
fn cell() -> impl Strategy<Value = String> {
    let texts = [
        "",
        " ",
        "NA",
        "nan",
        "?",
        "-",
        "1",
        "0",
        "-7",
        "007",
        "+3",
        "3.0",
        "2.50",
        "1e5",
        "1,000",
        "true",
        "False",
        "yes",
        "13/8/2026",
        "8/13/2026",
        "2/8/2026",
        "2/8/2026 1:00",
        "2026-08-02",
        "2026-08-02 00:00",
        "2026-08-02T01:02:03Z",
        "25:00",
        "42408.5",
        "1735689600",
        "Low",
        "HIGH",
        "3 - Moderate",
        "other",
        "None",
        "x;y",
        "a|b",
        "\"",
        "{a}",
        "ñ",
    ];
    prop_oneof![4 => proptest::sample::select(texts.to_vec()).prop_map(str::to_owned), 1 => "[ -~]{0,5}"]
}

/// A column: a few texts, of which its cells are made.
fn column(rows: usize) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(cell(), 1..4)
        .prop_flat_map(move |texts| proptest::collection::vec(proptest::sample::select(texts), rows))
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z][A-Za-z _.()%{}-]{0,8}[A-Za-z)]",
        proptest::sample::select(vec![
            "severity",
            "Severity",
            "day",
            "select",
            "date",
            "lat",
            "lon",
            "city",
            "priority",
            "invalid",
            "Received_At",
            "_invalid",
            "",
            "ü",
            "1",
            "2nd",
            "count",
            "title",
            "unlisted_severity",
        ])
        .prop_map(str::to_owned),
    ]
}

fn table() -> impl Strategy<Value = (Vec<String>, Vec<Vec<String>>)> {
    (2_usize..8, 1_usize..12).prop_flat_map(|(columns, rows)| {
        (proptest::collection::vec(name(), columns), proptest::collection::vec(column(rows), columns))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the other columns hold, a table with an id and a severity is read in full.
    #[test]
    fn every_row_of_a_table_is_accepted_and_every_typed_cell_read((names, cells) in table(), separator in proptest::sample::select(vec![b',', b';', b'\t'])) {
        let mut writer = csv::WriterBuilder::new().delimiter(separator).from_writer(Vec::new());
        let unique = |names: &[String]| {
            let mut seen = std::collections::HashSet::new();
            names.iter().filter(|name| !name.is_empty()).all(|name| seen.insert(name.trim().to_owned()))
        };
        let mut header = vec!["Case id".to_owned(), "Priority code".to_owned()];
        header.extend(names);
        prop_assume!(unique(&header));
        writer.write_record(&header).unwrap();
        let rows = cells[0].len();
        for row in 0..rows {
            let begin = [format!("c-{row}"), (row % 3).to_string()];
            let rest = cells.iter().map(|column| column[row].clone());
            writer.write_record(begin.into_iter().chain(rest)).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let (suggestion, dataset, events) = suggested(Format::Csv, "utf-8", &text).unwrap();
        prop_assert_eq!(events.len(), rows, "{}", suggestion.text);
        prop_assert!(suggestion.counts.report.unreadable.is_empty(), "{:?}\n{}", suggestion.counts.report, suggestion.text);
        prop_assert!(dataset.columns.len() <= header.len() + 1);
    }

    /// The same values as objects are described alike.
    #[test]
    fn objects_are_read_as_tables_are((names, cells) in table()) {
        let rows = cells[0].len();
        let object = |row: usize| {
            let begin = [("Case id".to_owned(), Value::from(format!("c-{row}"))), ("Priority code".to_owned(), Value::from(row % 3))];
            let rest = names.iter().zip(&cells).map(|(name, column)| (name.clone(), Value::from(column[row].clone())));
            Value::Object(begin.into_iter().chain(rest).collect()).to_string()
        };
        let text = (0..rows).map(object).collect::<Vec<_>>().join("\n");
        let (suggestion, _, events) = suggested(Format::Ndjson, "utf-8", text.as_bytes()).unwrap();
        prop_assert_eq!(events.len(), rows, "{}", suggestion.text);
        prop_assert!(suggestion.counts.report.unreadable.is_empty(), "{:?}\n{}", suggestion.counts.report, suggestion.text);
    }
}
