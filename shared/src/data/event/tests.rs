use super::*;

fn dataset() -> Dataset {
    Dataset::named("us_accidents").unwrap()
}

#[test]
fn severity_is_read_as_number_or_text_at_any_position() {
    let cases = [
        (r#"{"Severity":3}"#, Some(3)),
        (r#"{ "ID" : "A-1", "Severity" : "3" }"#, Some(3)),
        (r#"{"Severity":"4.0","ID":"A-1"}"#, Some(4)),
        (r#"{"Severity":2,"Severity":4}"#, Some(4)),
        (r#"{"Sev\u0065rity":4}"#, Some(4)),
        (r#"{"Severity":3.5}"#, None),
        (r#"{"Severity":null}"#, None),
        (r#"{"Severity":[4]}"#, None),
        (r#"{"ID":"A-1"}"#, None),
    ];
    for (json, expected) in cases {
        let (dataset, mut places) = (dataset(), Places::default());
        places.find(&dataset, json).unwrap();
        let found = places.value(json, dataset.severity).and_then(|value| level(&dataset, value));
        assert_eq!(found, expected, "{json}");
        assert_eq!(Event::parse(&dataset, json).unwrap().level(&dataset), expected, "{json}");
    }
}

#[test]
fn id_is_read_whole_at_any_position() {
    let dataset = dataset();
    for id in ["\"A-1\"", "17", "\"é\"", &format!("\"{}\"", "é".repeat(200)), &"7".repeat(200)] {
        let expected = id.trim_matches('"');
        for json in [
            format!("{{\"ID\":{id},\"City\":\"x\"}}"),
            format!("{{\"City\":\"x\",\"ID\":{id}}}"),
            format!("{{\"ID\" : {id} }}"),
        ] {
            assert_eq!(super::id(&dataset, json.as_bytes()).as_deref(), Some(expected), "{json}");
            let damaged = [json.trim_end_matches('}').as_bytes(), b",\"City\":\"\xff"].concat();
            assert_eq!(super::id(&dataset, &damaged).as_deref(), Some(expected), "{json}");
        }
    }
    for json in ["{}", "[]", "", "{\"ID\":{}}", "{\"ID\":null}", "{\"ID\":17", "\u{fffd}"] {
        assert_eq!(super::id(&dataset, json.as_bytes()), None, "{json}");
    }
}

#[test]
fn marks_before_an_event_are_ignored() {
    let dataset = dataset();
    for marks in ["", "\u{feff}", "\u{feff}\u{feff}"] {
        let data = format!("{marks}{{\"ID\":\"A-1\",\"Severity\":4}}");
        let text = text(data.as_bytes());
        assert_eq!(Event::parse(&dataset, &text).unwrap().level(&dataset), Some(4), "{data:?}");
        assert_eq!(super::id(&dataset, data.as_bytes()).as_deref(), Some("A-1"), "{data:?}");
    }
    let within = "{\"ID\":\"\u{feff}\"}";
    assert_eq!(text(within.as_bytes()), within, "one within it is text");
}

#[test]
fn only_a_json_object_is_an_event() {
    for json in
        ["", "[]", "3", "null", "{", r#"{"Severity":3"#, r#"{"Severity":3}{}"#, r#"{"Severity":03}"#, "nope"]
    {
        assert!(Places::default().find(&dataset(), json).is_err(), "{json}");
        assert!(Event::parse(&dataset(), json).is_err(), "{json}");
    }
}

#[test]
fn repeated_keys_have_the_last_value_and_keep_earlier_ones() {
    let dataset = dataset();
    let event = Event::parse(&dataset, r#"{"City":"Dublin","Extra":1,"City":"Dayton","Extra":2}"#).unwrap();
    assert_eq!(event.cell(dataset.column("City").unwrap()), Cell::Text("Dayton".into()));
    let earlier: Vec<_> = event.superseded.iter().map(|(key, value)| (&**key, *value)).collect();
    assert_eq!(earlier, [("City", "\"Dublin\""), ("Extra", "1")]);
    assert_eq!(event.unknown.len(), 1);
}

#[test]
fn pairs_are_given_in_their_order_with_repeats() {
    let found = pairs(r#" {"a" : 1, "b":"x","\u0061":{"c":[]}} "#).unwrap();
    let found: Vec<_> = found.iter().map(|(key, value)| (&**key, *value)).collect();
    assert_eq!(found, [("a", "1"), ("b", "\"x\""), ("a", "{\"c\":[]}")]);
    assert_eq!(pairs("{}"), Some(Vec::new()));
    for json in ["", "[]", "{", "{\"a\":1}x", "{\"a\"}"] {
        assert_eq!(pairs(json), None, "{json}");
    }
}

#[test]
fn values_are_written_in_the_type_of_their_column() {
    let dataset = dataset();
    let json = r#"{"City":"Do\u00f1a","Zipcode":43017,"Start_Lat":"39.928059000000005","Amenity":"True","Number":"x","Street":""}"#;
    let event = Event::parse(&dataset, json).unwrap();
    let written = |name: &str| {
        let mut out = Vec::new();
        let column = dataset.column(name).unwrap();
        let fits = event.columns[column].is_some_and(|value| write(&dataset, column, value, &mut out));
        assert_eq!(fits, !out.is_empty());
        String::from_utf8(out).unwrap()
    };
    assert_eq!(written("City"), r#""Do\u00f1a""#, "text passes as it is written");
    assert_eq!(written("Zipcode"), "\"43017\"");
    assert_eq!(written("Start_Lat"), "39.928059000000005");
    assert_eq!(written("Amenity"), "true");
    assert_eq!(written("Number"), "");
    assert_eq!(written("Street"), "");
    assert_eq!(written("County"), "");
}

#[test]
fn numbers_that_are_not_finite_are_values_of_no_type() {
    let dataset = dataset();
    let json = r#"{"ID":"A-1","Severity":NaN,"City":Infinity,"Start_Lat":-Infinity,"Street":{"a":NaN},"own":NaN,"\u0065":1}"#;
    let sent = Event::as_sent(&dataset, json).unwrap();
    let value = |name: &str| sent.columns[dataset.column(name).unwrap()];
    assert_eq!(
        ["Severity", "City", "Start_Lat", "Street"].map(value),
        [Some("NaN"), Some("Infinity"), Some("-Infinity"), Some("{\"a\":NaN}")]
    );
    let unknown: Vec<_> = sent.unknown.iter().map(|(key, value)| (&**key, *value)).collect();
    assert_eq!(unknown, [("own", "NaN"), ("e", "1")]);
    assert_eq!(sent.cell(dataset.severity), Cell::NonFinite("NaN"));
    let event = Event::parse(&dataset, json).unwrap();
    assert_eq!((event.level(&dataset), event.cell(dataset.severity)), (None, Cell::Blank));
    let mut places = Places::default();
    places.find(&dataset, json).unwrap();
    assert_eq!(places.value(json, dataset.severity), None);
    assert_eq!(places.value(json, dataset.id), Some("\"A-1\""));
    assert_eq!(pairs(r#"{"a":NaN,"b":[-Infinity]}"#).unwrap()[1].1, "[-Infinity]");
    let far = format!(r#"{{"City":NaN,"Street":"{}","ID":"A-1"}}"#, "x".repeat(200));
    assert_eq!(super::id(&dataset, far.as_bytes()).as_deref(), Some("A-1"));
    assert_eq!(super::id(&dataset, br#"{"ID":NaN}"#), None);
}

#[test]
fn error_is_not_about_numbers_that_are_not_finite() {
    for (json, expected) in [
        (r#"{"a":NaN,"b":nope}"#, "expected ident at line 1 column 15; "),
        (r#"{"a":NaN"#, "EOF while parsing an object at line 1 column 8; "),
        ("NaN", "expected a map at line 1 column 3; "),
    ] {
        let error = Event::parse(&dataset(), json).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
        assert_eq!(Places::default().find(&dataset(), json).unwrap_err().to_string(), error);
    }
}

#[test]
fn texts_for_no_value_are_blank() {
    let text = include_str!("../../../../datasets/support_tickets/dataset.toml");
    let listed = text.replacen("severities =", "blanks = [\"NA\", \"-1\"]\nseverities =", 1);
    let dataset = Dataset::parse("support_tickets", &listed).unwrap();
    let json = r#"{"Ticket_ID":"NA","Priority":" NA ","Subject":"na","Contacts":-1,"Wait(s)":"-1","Channel":"-1.0"}"#;
    let (event, mut places) = (Event::parse(&dataset, json).unwrap(), Places::default());
    places.find(&dataset, json).unwrap();
    for (column, described) in dataset.columns.iter().enumerate() {
        let is_value = ["Subject", "Channel"].contains(&described.name.as_str());
        assert_eq!(event.columns[column].is_some(), is_value, "{}", described.name);
        assert_eq!(places.value(json, column).is_some(), is_value, "{}", described.name);
    }
    assert_eq!(super::id(&dataset, json.as_bytes()), None);
    assert_eq!(Event::as_sent(&dataset, json).unwrap().columns.iter().flatten().count(), 6);
}

fn written(column: usize, value: &str) -> Option<String> {
    let mut out = Vec::new();
    write(&dataset(), column, value, &mut out).then(|| String::from_utf8(out).unwrap())
}

proptest::proptest! {
    /// Events have the same time of receipt on both streams, text by text, so that they can be joined by it.
    #[test]
    fn the_time_of_receipt_keeps_its_text(microseconds in 0_i64..4_102_444_800_000_000) {
        for microseconds in [microseconds, microseconds / 10 * 10, microseconds / 1_000_000 * 1_000_000] {
            let stamp = crate::data::time::stamp(DateTime::from_timestamp_micros(microseconds).unwrap());
            let value = format!("\"{stamp}\"");
            assert_eq!(written(dataset().received_at, &value), Some(value));
        }
    }
}

#[test]
fn only_a_stamp_keeps_its_zeros() {
    for (value, expected) in [
        (r#""2022-12-24T04:53:57.450000Z""#, Some(r#""2022-12-24T04:53:57.450000Z""#)),
        (r#""2022-12-24T04:53:57.450000""#, Some(r#""2022-12-24T04:53:57.45""#)),
        (r#""2022-12-24 04:53:57.450000Z""#, Some(r#""2022-12-24T04:53:57.45Z""#)),
        (r#""2022-12-24T04:53:57.4500000Z""#, Some(r#""2022-12-24T04:53:57.45Z""#)),
        (r#""02-08-2016T00:37:08.450000Z""#, Some(r#""2016-02-08T00:37:08.45Z""#)),
        (r#""2022-13-24T04:53:57.450000Z""#, None),
        (r#""2022-12-24T04:53:57.45000xZ""#, None),
        ("\"Z\"", None),
    ] {
        assert_eq!(written(dataset().received_at, value).as_deref(), expected, "{value}");
    }
}
