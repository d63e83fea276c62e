use std::collections::HashSet;

use proptest::prelude::*;
use shared::data::{dataset, event};

use super::*;
use crate::rows::{Format, Rows};

const RECEIVED: &str = "2022-12-24T04:53:57.450051Z";

fn us_accidents() -> Dataset {
    Dataset::named("us_accidents").unwrap()
}

/// The events of a text, or the reasons for rejecting its rows.
fn events_of(
    dataset: &Dataset,
    format: Format,
    order: Option<DateOrder>,
    text: &[u8],
) -> Vec<Result<String, String>> {
    let normaliser = Normaliser::new(dataset, order);
    let mut rows = Rows::new(dataset, format);
    rows.push(text);
    rows.finish();
    let mut events = Vec::new();
    while let Some(row) = rows.next() {
        let mut out = Vec::new();
        let result = normaliser.normalise(&row, RECEIVED, &mut out, &mut Tally::default());
        assert_eq!(result.is_err(), out.is_empty());
        events.push(match result {
            Ok(_) => Ok(String::from_utf8(out).unwrap()),
            Err(refused) => Err(format!("{}: {}", refused.reason, refused.detail)),
        });
    }
    events
}

fn events(format: Format, order: DateOrder, text: &[u8]) -> Vec<Result<String, String>> {
    events_of(&us_accidents(), format, Some(order), text)
}

fn csv(text: &str) -> Vec<Result<String, String>> {
    events(Format::Csv, DateOrder::Mdy, text.as_bytes())
}

fn json(text: &str) -> Result<String, String> {
    events(Format::Ndjson, DateOrder::Mdy, text.as_bytes()).remove(0)
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with a result")]
fn event(fields: &str) -> Result<String, String> {
    let (before, after) = fields.split_once('|').unwrap_or((fields, ""));
    Ok(format!("{{{before},\"Txn_Timestamp\":\"{RECEIVED}\"{after}}}\n"))
}

#[test]
fn cells_are_typed_and_written_in_the_order_of_the_data_set() {
    let text = "Amenity,Temperature(F),Start_Time,Severity,ID,Zipcode,Street\n\
                True,42.10,2016-02-08 00:37:08.000000000,3.0,A-1,01234, Forest Ridge Dr\n";
    let expected = event(
        "\"ID\":\"A-1\",\"Severity\":3,\"Start_Time\":\"2016-02-08T00:37:08\",\"Street\":\" Forest Ridge Dr\",\
         \"Zipcode\":\"01234\",\"Temperature(F)\":42.10,\"Amenity\":true",
    );
    assert_eq!(csv(text), [expected]);
}

#[test]
fn blank_cells_are_left_out_and_blanks_in_a_text_are_kept() {
    let expected = event("\"ID\":\"A-1\",\"Severity\":3,\"City\":\" \"");
    assert_eq!(csv("ID,Severity,Start_Lat,City,County\nA-1, 3 , , ,\n"), [expected]);
}

#[test]
fn a_cell_that_cannot_be_typed_never_costs_the_row() {
    let text = "ID,Severity,Start_Time,Number,Amenity\nA-1,2,45:00.0,abc,yes\nA-2,2,13/08/2016 1:00,1,1\n";
    assert_eq!(
        csv(text),
        [
            event(
                "\"ID\":\"A-1\",\"Severity\":2|,\"_invalid\":{\"Start_Time\":\"45:00.0\",\"Number\":\"abc\",\"Amenity\":\"yes\"}"
            ),
            event(
                "\"ID\":\"A-2\",\"Severity\":2,\"Number\":1,\"Amenity\":true|,\"_invalid\":{\"Start_Time\":\"13/08/2016 1:00\"}"
            ),
        ]
    );
    let dmy = events(Format::Csv, DateOrder::Dmy, b"ID,Severity,Start_Time\nA-2,2,13/08/2016 1:00\n");
    assert_eq!(dmy, [event("\"ID\":\"A-2\",\"Severity\":2,\"Start_Time\":\"2016-08-13T01:00:00\"")]);
}

#[test]
fn unknown_columns_are_texts_after_the_known_ones() {
    let expected = event("\"ID\":\"A-1\",\"Severity\":2|,\"Unnamed: 0\":\"7\",\"extra\":\"1.50\"");
    assert_eq!(csv("Unnamed: 0,ID,Severity,extra,blank\n7,A-1,2,1.50,\n"), [expected]);
    let expected = event("\"ID\":\"A-1\",\"Severity\":2|,\"extra\":\"{\\\"a\\\":[1]}\",\"n\":\"1.50\"");
    assert_eq!(json(r#"{"extra":{"a":[1]},"n":1.50,"z":null,"ID":"A-1","Severity":2}"#), expected);
}

#[test]
fn json_rows_are_typed_like_cells() {
    let expected = event(
        "\"ID\":\"7\",\"Severity\":4,\"Start_Lat\":39.928059000000005,\"City\":\"Doña Ana\",\"Zipcode\":\"43017\"\
         |,\"_invalid\":{\"Street\":\"[1]\"}",
    );
    let row = r#"{"Zipcode":43017,"ID":7,"Severity":"4.0","Start_Lat":39.928059000000005,"City":"Do\u00f1a Ana","Street":[1]}"#;
    assert_eq!(json(row), expected);
}

#[test]
fn repeated_key_has_its_last_value_and_keeps_the_others() {
    let expected = event("\"ID\":\"A-1\",\"Severity\":2,\"City\":\"b\"|,\"_invalid\":{\"City\":\"a\"}");
    assert_eq!(json(r#"{"ID":"A-1","Severity":2,"City":"a","City":"b"}"#), expected);
    let expected =
        event("\"ID\":\"A-1\",\"Severity\":2|,\"x\":\"3\",\"_invalid\":{\"x\":\"1\",\"x#2\":\"2\"}");
    assert_eq!(json(r#"{"ID":"A-1","Severity":2,"x":1,"x":2,"x":3}"#), expected);
    let expected = event(
        "\"ID\":\"A-1\",\"Severity\":2|,\"_invalid\":{\"Start_Time\":\"46:00.0\",\"Start_Time#2\":\"45:00.0\"}",
    );
    assert_eq!(json(r#"{"ID":"A-1","Severity":2,"Start_Time":"45:00.0","Start_Time":"46:00.0"}"#), expected);
    // A null last value leaves the column out; the earlier value must not become its value later.
    let expected = event("\"ID\":\"A-1\",\"Severity\":2|,\"_invalid\":{\"City#2\":\"a\"}");
    assert_eq!(json(r#"{"ID":"A-1","Severity":2,"City":"a","City":null}"#), expected);
}

#[test]
fn keys_that_differ_only_in_case_stay_distinct() {
    let expected = event("\"ID\":\"A-1\",\"Severity\":3,\"City\":\"Dayton\"|,\"_invalid\":{\"city\":\"x\"}");
    assert_eq!(csv("ID,Severity,City,city\nA-1,3,Dayton,x\n"), [expected]);
    let expected =
        event("\"ID\":\"A-1\",\"Severity\":3|,\"note\":\"a\",\"_invalid\":{\"Note\":\"b\",\"NOTE#2\":\"c\"}");
    assert_eq!(csv("ID,Severity,note,Note,NOTE\nA-1,3,a,b,c\n"), [expected]);
    let expected = event(
        "\"ID\":\"A-1\",\"Severity\":3|,\"_invalid\":{\"id\":\"77\",\"txn_timestamp\":\"x\",\"_INVALID\":\"y\"}",
    );
    assert_eq!(json(r#"{"ID":"A-1","id":"77","Severity":3,"txn_timestamp":"x","_INVALID":"y"}"#), expected);
}

#[test]
fn keys_and_names_in_another_case_are_those_of_their_columns() {
    let expected = event("\"ID\":\"A-1\",\"Severity\":3,\"City\":\"x\"|,\"_invalid\":{\"CITY\":\"y\"}");
    assert_eq!(csv("id, severity ,city,CITY\nA-1,3,x,y\n").remove(0), expected);
    assert_eq!(json(r#"{"id":"A-1","severity":3,"city":"x","CITY":"y"}"#), expected);
    // A key in the column's exact case wins, whatever its position and value.
    let expected = event("\"ID\":\"A-1\",\"Severity\":3|,\"_invalid\":{\"city\":\"x\"}");
    assert_eq!(json(r#"{"id":"A-1","severity":3,"city":"x","City":null}"#), expected);
    let expected = event("\"ID\":\"A-1\",\"Severity\":3|,\"_invalid\":{\"Number\":\"x\"}");
    assert_eq!(json(r#"{"id":"A-1","severity":3,"number":"x"}"#), expected);
    // The member that ingest writes itself is stored in `_invalid`.
    let expected = event("\"ID\":\"A-1\",\"Severity\":3|,\"_invalid\":{\"txn_timestamp\":\"then\"}");
    assert_eq!(csv("id,severity,txn_timestamp\nA-1,3,then\n"), [expected]);
    let expected = event("\"ID\":\"A-1\",\"Severity\":3,\"City\":\"x\"|,\"_invalid\":{\"City\":\"y\"}");
    assert_eq!(json(r#"{"_invalid":{"City":"y"},"id":"A-1","severity":3,"city":"x"}"#), expected);
}

#[test]
fn dates_that_need_an_order_are_invalid_until_it_is_declared() {
    let again = |order: Option<DateOrder>, text: &str| {
        let row = format!(r#"{{"ID":"A","Severity":3,"_invalid":{{"Start_Time":"{text}"}}}}"#);
        events_of(&us_accidents(), Format::Ndjson, order, row.as_bytes()).remove(0).unwrap()
    };
    assert!(again(None, "2/13/2016 1:00").contains(r#""_invalid":{"Start_Time":"2/13/2016 1:00"}"#));
    assert!(again(Some(DateOrder::Mdy), "2/13/2016 1:00").contains("2016-02-13T01:00:00"));
    assert!(again(Some(DateOrder::Dmy), "2/1/2016 1:00").contains("2016-01-02T01:00:00"));
    assert!(again(None, "2/2/2016 1:00").contains("2016-02-02T01:00:00"), "it has one meaning");
    assert!(again(None, "2016-02-13 01:00:00").contains("2016-02-13T01:00:00"));
}

#[test]
fn days_stay_days_when_an_event_is_read_again() {
    let dataset =
        Dataset::parse("with_days", include_str!("../../../../tests/fakes/with_days.toml")).unwrap();
    let event = |format, order: Option<DateOrder>, text: &str| {
        events_of(&dataset, format, order, text.as_bytes()).remove(0).unwrap()
    };
    for (cells, typed, invalid) in [
        (
            "8/2/2016,8/2/2016,8/2/2016",
            r#""Due":"2016-02-08","Opened":"2016-02-08""#,
            r#""Closed":"8/2/2016""#,
        ),
        (
            "2016-02-08,8/2/2016 2:41 PM,13.8.2016 0:37",
            r#""Closed":"2016-08-13T00:37:00","Due":"2016-02-08","Opened":"2016-02-08T14:41:00""#,
            "",
        ),
        (
            "2/13/2016,2/13/2016,42408.0257",
            "",
            r#""Closed":"42408.0257","Due":"2/13/2016","Opened":"2/13/2016""#,
        ),
    ] {
        let once = event(Format::Csv, None, &format!("Id,Level,Due,Opened,Closed\nT-1,3,{cells}\n"));
        let comma = if typed.is_empty() { "" } else { "," };
        let invalid =
            if invalid.is_empty() { String::new() } else { format!(r#","_invalid":{{{invalid}}}"#) };
        let expected = format!(r#"{{"Id":"T-1","Level":3{comma}{typed},"Received":"{RECEIVED}"{invalid}}}"#);
        assert_eq!(once.trim_end(), expected);
        // The other order must not change what is read.
        assert_eq!(event(Format::Ndjson, None, &once), once);
        if invalid.is_empty() {
            assert_eq!(event(Format::Ndjson, Some(DateOrder::Mdy), &once), once);
        }
    }
    // Once the order is declared, days that needed it can be read.
    let row = r#"{"Id":"T-1","Level":3,"_invalid":{"Due":"2/13/2016","Opened":"2/13/2016"}}"#;
    let again = event(Format::Ndjson, Some(DateOrder::Mdy), row);
    assert!(again.contains(r#""Due":"2016-02-13","Opened":"2016-02-13""#), "{again}");
}

#[test]
fn bytes_of_a_row_that_is_not_text_are_kept_with_its_event() {
    // `A-1,2,Do?a` in base64, the byte of the question mark being 0xf1.
    let bytes = "\"_bytes\":\"QS0xLDIsRG/xYQ==\"";
    let mangled = events(Format::Csv, DateOrder::Mdy, b"ID,Severity,City\nA-1,2,Do\xf1a\nA-2,2,x\n");
    let expected = [
        event(&format!("\"ID\":\"A-1\",\"Severity\":2,\"City\":\"Do\u{fffd}a\"|,\"_invalid\":{{{bytes}}}")),
        event("\"ID\":\"A-2\",\"Severity\":2,\"City\":\"x\""),
    ];
    assert_eq!(mangled, expected);
    let long = [b"ID,Severity,City\nA-1,2,", &b"\xf1".repeat(ORIGINAL_ROW_BYTES)[..]].concat();
    let refused = events(Format::Csv, DateOrder::Mdy, &long).remove(0).unwrap_err();
    assert!(refused.starts_with("bad_charset: the row is not text in UTF-8 and longer than"), "{refused}");
}

#[test]
fn a_row_is_refused_only_when_it_cannot_be_placed() {
    let cases = [
        ("ID,Severity\n,3\n", "missing_id: `ID` has no value"),
        ("ID,Severity\n  ,3\n", "missing_id: `ID` has no value"),
        ("ID,Severity\nA-1,\n", "missing_severity: `Severity` has no value"),
        ("ID,Severity\nA-1,3.5\n", "bad_severity: `Severity`: expected an integer such as 3 or 3.0"),
        ("ID,Severity\nA-1,high\n", "bad_severity: `Severity`: expected an integer such as 3 or 3.0"),
        ("ID,Severity\nA-1,3,4\n", "cell_count: expected 2 cells as in the header, found 3"),
        ("ID,City\nA-1,3\n", "bad_header: the header has no column `Severity`"),
    ];
    for (text, expected) in cases {
        let refused = csv(text).remove(0).unwrap_err();
        assert!(refused.starts_with(expected), "{refused}\nshould begin: {expected}");
    }
    for (row, expected) in [
        ("{\"ID\":\"A-1\",\"Severity\":3", "not_json: "),
        ("[1]", "not_json: "),
        ("{\"ID\":{},\"Severity\":3}", "bad_id: "),
        ("{\"ID\":\"A-1\",\"Severity\":[3]}", "bad_severity: "),
    ] {
        let refused = json(row).unwrap_err();
        assert!(refused.starts_with(expected), "{refused}");
    }
}

#[test]
fn an_event_taken_in_again_stays_as_it_is() {
    let text = "ID,Severity,Start_Time,City,own\nA-1,2,45:00.0,\"Do\u{f1}a \"\"A\"\"\t\",x\n";
    let once = csv(text).remove(0).unwrap();
    assert!(once.contains("_invalid"));
    assert_eq!(json(once.trim_end()), Ok(once));
}

/// A key or a text as a JSON value is one; also an object of such.
fn value() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        Just("null".to_owned()),
        Just("\"\"".to_owned()),
        Just("\" \"".to_owned()),
        Just("1".to_owned()),
        Just("true".to_owned()),
        Just("[1,{\"a\":1,\"A\":2}]".to_owned()),
        Just("\"[1\"".to_owned()),
        Just("\"2/13/2016 1:00\"".to_owned()),
        Just("\"2016-02-08T00:37:00\"".to_owned()),
        Just("\"\\u0000\\\"\"".to_owned()),
        "[a-z]{1,3}".prop_map(|text| format!("\"{text}\"")),
    ];
    text.prop_recursive(2, 12, 6, |inner| entries(inner).prop_map(|entries| object(&entries)))
}

fn entries(value: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop_oneof![
        Just("x"),
        Just("X"),
        Just("x#2"),
        Just("X#2"),
        Just("x#3"),
        Just(""),
        Just("City"),
        Just("city"),
        Just("CITY"),
        Just("City#2"),
        Just("Number"),
        Just("number"),
        Just("Start_Time"),
        Just("Start_Time#2"),
        Just("_invalid"),
        Just("_INVALID"),
        Just("_inv\\u0061lid"),
        Just("Txn_Timestamp"),
        Just("txn_timestamp"),
        Just("ID"),
        Just("id"),
        Just("Severity"),
        Just("\u{130}D"),
        Just("\u{212a}"),
        Just("k"),
        Just("\u{1e9e}"),
        Just("ss"),
        Just("Amenity"),
        Just("Street"),
    ];
    proptest::collection::vec((name.prop_map(str::to_owned), value), 0..9)
}

fn object(entries: &[(String, String)]) -> String {
    let entries: Vec<_> = entries.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", entries.join(","))
}

/// The keys of an object, all different regardless of case at every level; and its texts.
fn check_keys(json: &str, texts: &mut Vec<String>) {
    let pairs = event::pairs(json).unwrap();
    let keys: HashSet<_> = pairs.iter().map(|(key, _)| dataset::fold(key).into_owned()).collect();
    assert_eq!(keys.len(), pairs.len(), "{json}");
    for (_, value) in pairs {
        match Cell::of(Some(value)) {
            Cell::Nested(json) => check_keys(json, texts),
            cell => texts.push(cell.into_text().into_owned()),
        }
    }
}

/// The texts of every value that an event must contain: those of its entries and of its invalid cells.
fn texts(entries: &[(String, String)]) -> Vec<String> {
    let last_invalid = entries.iter().rposition(|(name, value)| {
        (name == "_invalid" || name == "_inv\\u0061lid")
            && value.starts_with('{')
            && entries.iter().rposition(|(other, _)| other == "_invalid" || other == "_inv\\u0061lid")
                == entries.iter().position(|(other, value_)| (other, value_) == (name, value))
    });
    let mut texts = Vec::new();
    for (at, (name, value)) in entries.iter().enumerate() {
        if name == "Txn_Timestamp" {
            continue;
        }
        if Some(at) == last_invalid {
            let inner = event::pairs(value).unwrap();
            texts.extend(inner.iter().map(|(_, value)| Cell::of(Some(value)).into_text().into_owned()));
        } else {
            texts.push(Cell::of(Some(value)).into_text().into_owned());
        }
    }
    texts.retain(|text| !text.trim().is_empty());
    texts
}

proptest! {
    #[test]
    fn keys_of_events_are_unique_and_nothing_is_lost(entries in entries(value()), declared: bool) {
        let mut entries = entries;
        entries.push(("ID".to_owned(), "\"A-1\"".to_owned()));
        entries.push(("Severity".to_owned(), "3".to_owned()));
        let row = object(&entries);
        let order = declared.then_some(DateOrder::Mdy);
        let normalise = |row: &str| {
            events_of(&us_accidents(), Format::Ndjson, order, row.as_bytes()).remove(0).unwrap()
        };
        let once = normalise(&row);
        let mut found = Vec::new();
        check_keys(&once, &mut found);
        for text in texts(&entries) {
            // Typed cells are written in one form.
            let typed = text.replace("2/13/2016 1:00", "2016-02-13T01:00:00");
            let kept = found.contains(&text) || found.contains(&typed) || text == "1" && found.contains(&"true".to_owned());
            prop_assert!(kept, "{} of {} is not in {}", text, row, once);
        }
        prop_assert_eq!(normalise(once.trim_end()), once.clone(), "{}", row);
    }

    #[test]
    fn original_bytes_are_those_of_the_row(
        format in proptest::sample::select(vec![Format::Csv, Format::Ndjson]),
        text in proptest::collection::vec(
            any::<u8>().prop_filter("cuts the row", |byte| !b"\n\r\",\\".contains(byte) && *byte >= 32), 1..20),
        key in proptest::sample::select(vec!["City", "_bytes", "_BYTES", "Number", "own"]),
    ) {
        let ([begin, between, end], header) = if format == Format::Csv {
            (["A-1,3,", ",", ",x"], format!("ID,Severity,{key},_bytes,x_bytes\n"))
        } else {
            let begin = format!("{{\"ID\":\"A-1\",\"Severity\":3,\"{key}\":\"");
            ([&*begin.leak(), "\",\"_bytes\":\"", "\",\"_BYTES\":\"x\"}"], String::new())
        };
        let row = [begin.as_bytes(), &text, between.as_bytes(), end.as_bytes()].concat();
        let written = events(format, DateOrder::Mdy, &[header.as_bytes(), &row, b"\n"].concat()).remove(0);
        let Ok(once) = written else { return Ok(()) };
        let pairs = event::pairs(&once).unwrap();
        let invalid = pairs.iter().find(|(name, _)| name == "_invalid").map_or("{}", |(_, value)| value);
        let kept = event::pairs(invalid).unwrap().into_iter().find(|(name, _)| name == ORIGINAL_BYTES);
        if std::str::from_utf8(&row).is_err() {
            let (_, base64) = kept.unwrap();
            let bytes = base64_simd::STANDARD.decode_to_vec(base64.trim_matches('"')).unwrap();
            prop_assert_eq!(bytes, row);
        }
        prop_assert_eq!(json(once.trim_end()), Ok(once));
    }

    #[test]
    fn columns_of_a_csv_become_unique_keys(
        names in proptest::sample::subsequence(
            vec!["x", "X", "x#2", "City", "city", "CITY", "_invalid", "_INVALID", "txn_timestamp", "id", "\u{212a}", "k", "K"], 0..13
        ).prop_shuffle(),
    ) {
        let cells: Vec<_> = (0..names.len()).map(|at| format!("v{at}")).collect();
        let [header, row] = [
            [&["ID", "Severity"][..], &names].concat().join(","),
            format!("A-1,3,{}", cells.join(",")),
        ];
        let row = format!("{header}\n{}\n", row.trim_end_matches(','));
        let once = csv(&row).remove(0).unwrap();
        let mut found = Vec::new();
        check_keys(&once, &mut found);
        for cell in cells {
            prop_assert!(found.contains(&cell), "{} is not in {}", cell, once);
        }
        prop_assert_eq!(json(once.trim_end()), Ok(once));
    }

    /// Python writes `NaN` for a missing number.
    #[test]
    fn non_finite_value_does_not_reject_its_row(
        entries in entries(value()),
        at in any::<proptest::sample::Index>(),
        token in proptest::sample::select(vec!["NaN", "Infinity", "-Infinity"]),
    ) {
        let row = object(&entries);
        // Any value outside a string that is a number or a literal.
        let scalars: Vec<_> = row.match_indices("1,").map(|(at, _)| at).filter(|at| row[..*at].ends_with(['[', ':'])).collect();
        let row = match scalars.as_slice() {
            [] => format!(r#"{{"x":[{{"a":{token}}}],"ID":"A-1","Severity":3}}"#),
            scalars => {
                let at = scalars[at.index(scalars.len())];
                let (before, after) = (&row[1..at], &row[at + 1..row.len() - 1]);
                format!(r#"{{{before}{token}{after},"ID":"A-1","Severity":3}}"#)
            }
        };
        let once = json(&row);
        prop_assert!(once.is_ok(), "{} of {}", once.unwrap_err(), row);
        let once = once.unwrap();
        prop_assert!(serde_json::from_str::<serde_json::Value>(&once).is_ok(), "{}", once);
        prop_assert_eq!(json(once.trim_end()), Ok(once));
    }
}

#[test]
fn a_number_that_is_not_finite_goes_to_the_invalid_cells() {
    let expected = event(
        "\"ID\":\"A-1\",\"Severity\":3|,\"own\":\"-Infinity\",\"more\":\"[NaN]\",\
         \"_invalid\":{\"City\":\"NaN\",\"Temperature(F)\":\"Infinity\"}",
    );
    let row =
        r#"{"ID":"A-1","Severity":3,"City":NaN,"Temperature(F)":Infinity,"own":-Infinity,"more":[NaN]}"#;
    assert_eq!(json(row), expected);
    assert_eq!(json(expected.as_ref().unwrap().trim_end()), expected);
    for (row, expected) in [
        (r#"{"ID":"A-1","Severity":NaN}"#, "bad_severity: `Severity`: expected an integer"),
        (r#"{"ID":NaN,"Severity":3}"#, "bad_id: `ID` is an object, an array or not a finite number"),
        (r#"{"ID":"A-1","Severity":3,"City":nan}"#, "not_json: "),
    ] {
        let refused = json(row).unwrap_err();
        assert!(refused.starts_with(expected), "{refused}");
    }
}
