//! Decides what is written for an event: nothing, a severe event with an analytical record, or a reject.

use chrono::{DateTime, Utc};
use shared::{
    data::{
        cell,
        dataset::{Dataset, SEVERITY_KEY, Type, UNLISTED_SEVERITY},
        decision::{self, Decision},
        event::{self, Cell, Places},
        time::Timestamp,
    },
    json,
};

/// Bytes of a detail on stream 2. It is for alerts, which show less.
const DETAIL_BYTES: usize = 1_000;

/// Decides what is written for the events of a batch.
#[derive(Debug)]
pub struct Selector<'d> {
    dataset: &'d Dataset,
    above: i64,
    /// Events received before it are late.
    late_before: DateTime<Utc>,
    places: Places,
    /// The last time of receipt as JSON, and its instant. Events that ingest received together have the same.
    received: (String, Option<DateTime<Utc>>),
    /// The beginning of each column's entry under its Glue name, `,"temperature_f":`.
    glue_entries: Vec<Vec<u8>>,
    /// The same for columns with the days of cells without a time, `,"opened_on":`.
    day_entries: Vec<Option<Vec<u8>>>,
    /// Whether the data set's own severity column has the name of the partition key.
    is_key: bool,
    /// Late events so far.
    pub late: u64,
    /// Events so far whose severity the data set does not list.
    pub unknown_severity: u64,
}

/// The outputs of a severe event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Severe {
    /// The severity of its partition in the analytical table.
    pub partition: i64,
    /// Its partition key on stream 2.
    pub key: String,
    /// Its projection and details, for stream 2.
    pub projection: Vec<u8>,
    /// The whole row under its Glue names, for the analytical table.
    pub analytical: Vec<u8>,
}

impl<'d> Selector<'d> {
    /// Selects events whose severity is above `above`; those received before `late_before` are late.
    #[must_use]
    pub fn new(dataset: &'d Dataset, above: i64, late_before: DateTime<Utc>) -> Self {
        Self {
            dataset,
            above,
            late_before,
            is_key: dataset.columns[dataset.severity].column == SEVERITY_KEY,
            late: 0,
            unknown_severity: 0,
            places: Places::default(),
            received: (String::new(), None),
            glue_entries: dataset.columns.iter().map(|column| json::entry(&column.column)).collect(),
            day_entries: dataset
                .columns
                .iter()
                .map(|column| Some(json::entry(column.day_column.as_ref()?)))
                .collect(),
        }
    }

    /// Decides what is written for the event in `data`.
    #[must_use]
    pub fn select(&mut self, data: &[u8]) -> Decision<Severe> {
        let text = event::text(data);
        if let Err(error) = self.places.find(self.dataset, &text) {
            return decision::not_json(&error);
        }
        let Dataset { severity, received_at, .. } = *self.dataset;
        if let Some(received) = self.places.value(&text, received_at) {
            self.late += u64::from(self.is_late(received));
        }
        let severity_found =
            self.places.value(&text, severity).and_then(|value| event::level(self.dataset, value));
        self.unknown_severity +=
            u64::from(severity_found.is_some_and(|found| !self.dataset.severities.lists(found)));
        decision::by_severity(self.dataset, self.above, severity_found)
            .and_then(|severity| self.outputs(&text, severity))
    }

    fn is_late(&mut self, received: &str) -> bool {
        if self.received.0 != received {
            self.received = (received.to_owned(), event::instant(received));
        }
        self.received.1.is_some_and(|at| at < self.late_before)
    }

    fn outputs(&self, event: &str, severity: i64) -> Decision<Severe> {
        let text = |column| Cell::of(self.places.value(event, column)).into_text();
        let id = text(self.dataset.id);
        if id.trim().is_empty() {
            let name = &self.dataset.columns[self.dataset.id].name;
            return Decision::Reject {
                reason: "missing_id",
                detail: format!("`{name}` has no value: expected an id"),
            };
        }
        let key = text(self.dataset.severe_partition_key);
        let key = if key.is_empty() { id } else { key };
        Decision::Output(Severe {
            partition: self.dataset.severity_partition(severity),
            key: key.into_owned(),
            projection: self.projection(event),
            analytical: self.analytical(event, severity),
        })
    }

    /// The data set's projection, in which a column without a value is null, and then the details that have one.
    fn projection(&self, event: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(event.len() / 2);
        for column in &self.dataset.projection {
            out.extend_from_slice(&self.dataset.entries()[*column]);
            let value = self.places.value(event, *column);
            if !value.is_some_and(|value| event::write(self.dataset, *column, value, &mut out)) {
                out.extend_from_slice(b"null");
            }
        }
        for column in &self.dataset.details {
            let Some(value) = self.places.value(event, *column) else { continue };
            let entry = out.len();
            out.extend_from_slice(&self.dataset.entries()[*column]);
            if !self.detail(*column, value, &mut out) {
                out.truncate(entry);
            }
        }
        object(out)
    }

    /// Writes the value of a detail, shortened if it is long. The analytical record has all of it. Otherwise an event
    /// that fits on stream 1 might not fit on stream 2, and no alert would be sent.
    fn detail(&self, column: usize, value: &str, out: &mut Vec<u8>) -> bool {
        if value.len() > DETAIL_BYTES
            && let Cell::Text(text) = Cell::of(Some(value))
            && text.len() > DETAIL_BYTES
        {
            let text = format!("{}…", &text[..text.floor_char_boundary(DETAIL_BYTES)]);
            return cell::write(self.dataset.columns[column].kind, &text, self.dataset.date_order, out)
                .is_ok();
        }
        event::write(self.dataset, column, value, out)
    }

    /// Every column with a value, in the form that Firehose's conversion to Parquet reads. The entry with the name of
    /// the partition key says in which partition the event is. A severity that the data set does not list has an
    /// additional column.
    fn analytical(&self, event: &str, severity: i64) -> Vec<u8> {
        // With names and columns of its own it can be longer than the event, but rarely is.
        let mut out = Vec::with_capacity(event.len());
        let partition = self.dataset.severity_partition(severity);
        let is_moved = self.is_key && partition != severity;
        for (column, described) in self.dataset.columns.iter().enumerate() {
            let Some(value) = self.places.value(event, column) else { continue };
            if is_moved && column == self.dataset.severity {
                integer(SEVERITY_KEY, partition, &mut out);
                continue;
            }
            let entry = out.len();
            out.extend_from_slice(&self.glue_entries[column]);
            let written = match described.kind {
                Type::Timestamp => self.time(value, &mut out),
                Type::TimestampOrDate => {
                    self.time(value, &mut out) || self.day(column, entry, value, &mut out)
                }
                _ => event::write(self.dataset, column, value, &mut out),
            };
            if !written {
                out.truncate(entry);
            }
        }
        if !self.is_key {
            integer(SEVERITY_KEY, partition, &mut out);
        }
        if !self.dataset.severities.lists(severity) {
            integer(UNLISTED_SEVERITY, severity, &mut out);
        }
        object(out)
    }

    fn time(&self, value: &str, out: &mut Vec<u8>) -> bool {
        let Cell::Text(text) = Cell::of(Some(value)) else { return false };
        let Some(time) = Timestamp::parse(text.trim(), self.dataset.date_order) else { return false };
        out.push(b'"');
        time.write_firehose(out);
        out.push(b'"');
        true
    }

    /// Writes a day without a time into the column for such days, instead of the entry that begins at `entry`.
    fn day(&self, column: usize, entry: usize, value: &str, out: &mut Vec<u8>) -> bool {
        let Some(key) = &self.day_entries[column] else { return false };
        out.truncate(entry);
        out.extend_from_slice(key);
        event::write(self.dataset, column, value, out)
    }
}

/// Writes an entry with an integer.
fn integer(name: &str, value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
}

/// A line with the object of these entries, each with its comma; the first comma becomes the bracket.
fn object(mut entries: Vec<u8>) -> Vec<u8> {
    if let Some(first) = entries.first_mut() {
        *first = b'{';
    }
    entries.extend_from_slice(b"}\n");
    entries
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const EVENT: &str = r#"{"ID":"A-1","Severity":3,"Start_Time":"2016-02-08T00:37:08","Start_Lat":39.928059000000005,"City":"Dublin","County":"Franklin","Amenity":false,"Txn_Timestamp":"2022-12-24T04:53:57.450051Z","own":"kept in raw","_invalid":{"End_Time":"45:00.0"}}"#;

    fn at(text: &str) -> DateTime<Utc> {
        Timestamp::parse(text, shared::data::time::DateOrder::Mdy).unwrap().instant()
    }

    /// The decision about an event at that time, and how many events are late.
    fn select_at(data: impl AsRef<[u8]>, now: &str) -> (Decision<Severe>, u64) {
        let dataset = Dataset::named("us_accidents").unwrap();
        let mut selector = Selector::new(&dataset, 2, at(now) - TimeDelta::seconds(5));
        (selector.select(data.as_ref()), selector.late)
    }

    fn select(data: impl AsRef<[u8]>) -> Decision<Severe> {
        select_at(data, "2022-12-24T04:53:58Z").0
    }

    /// The severity, key, projection and analytical record of a severe event.
    fn severe(data: impl AsRef<[u8]>) -> (i64, String, String, String) {
        match select(data) {
            Decision::Output(Severe { partition, key, projection, analytical }) => {
                let [projection, analytical] = [projection, analytical].map(text);
                (partition, key, projection, analytical)
            }
            other => panic!("{other:?}"),
        }
    }

    fn text(output: Vec<u8>) -> String {
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn severe_event_becomes_its_projection_and_analytical_record() {
        let (severity, key, projection, analytical) = severe(EVENT);
        assert_eq!((severity, key.as_str()), (3, "Franklin"));
        assert_eq!(
            projection,
            "{\"ID\":\"A-1\",\"Severity\":3,\"City\":\"Dublin\",\"County\":\"Franklin\",\
             \"Txn_Timestamp\":\"2022-12-24T04:53:57.450051Z\",\"Start_Time\":\"2016-02-08T00:37:08\",\
             \"Start_Lat\":39.928059000000005}\n"
        );
        assert_eq!(
            analytical,
            "{\"id\":\"A-1\",\"severity\":3,\"start_time\":\"2016-02-08 00:37:08\",\"start_lat\":39.928059000000005,\
             \"city\":\"Dublin\",\"county\":\"Franklin\",\"amenity\":false,\"txn_timestamp\":\"2022-12-24 04:53:57.450051\"}\n"
        );
    }

    #[test]
    fn blank_or_unreadable_detail_is_left_out_and_a_long_one_is_cut() {
        let dataset = Dataset::named("us_accidents").unwrap();
        let of = |details: &str| {
            let event = format!(r#"{{"ID":"A-1","Severity":3,{details}}}"#);
            let (_, _, on_stream, analytical) = severe(&event);
            let five = r#"{"ID":"A-1","Severity":3,"City":null,"County":null,"Txn_Timestamp":null"#;
            assert!(analytical.contains("\"id\":\"A-1\""));
            on_stream.trim_end().strip_prefix(five).unwrap().to_owned()
        };
        let odd =
            r#""Street":"","Start_Lat":"north","Start_Lng":NaN,"Description":null,"Start_Time":"45:00.0""#;
        assert_eq!(of(odd), "}");
        assert_eq!(
            of(r#""Description":"a \"b\"","Start_Lng":" -82.5 ","Street":"I-70""#),
            r#","Street":"I-70","Start_Lng":-82.5,"Description":"a \"b\""}"#
        );
        assert_eq!(
            of(&format!(r#""Start_Lat":"{}""#, "1".repeat(1_001))),
            "}",
            "a cut number is not a number"
        );
        // A text counts by its bytes, not by those of its JSON.
        for (c, times) in [("x", 1_000), ("\\u00e9", 500), ("\\n", 1_000)] {
            let text = of(&format!(r#""Description":"{}""#, c.repeat(times)));
            assert!(text.ends_with("\"}") && !text.contains('…'), "{c}: {text}");
        }
        // Characters of several bytes, and escapes, which no cut splits.
        for (c, times) in
            ["x", "é", "🚒", "\\\"", "\\u00e9", "\\n"].into_iter().flat_map(|c| [(c, 1_002), (c, 40_000)])
        {
            let long = of(&format!(r#""Description":"{}""#, c.repeat(times)));
            let event = format!("{{{}", &long[1..]);
            let read = event::Event::parse(&dataset, &event).unwrap();
            let text = read.cell(dataset.column("Description").unwrap()).into_text();
            assert!(text.ends_with('…') && (997..=1_003).contains(&text.len()), "{c}: {}", text.len());
        }
        let (_, _, _, analytical) =
            severe(format!(r#"{{"ID":"A-1","Severity":3,"Description":"{}"}}"#, "x".repeat(1_002)));
        assert!(analytical.contains(&"x".repeat(1_002)) && !analytical.contains('…'), "{analytical}");
    }

    #[test]
    fn severity_decides_as_a_number_or_as_its_text() {
        for (severity, is_severe) in [
            ("1", false),
            ("2", false),
            ("3", true),
            ("4", true),
            ("\"3\"", true),
            ("\"2\"", false),
            ("4.0", true),
        ] {
            let decision = select(EVENT.replace("\"Severity\":3", &format!("\"Severity\": {severity}")));
            assert_eq!(matches!(decision, Decision::Output(_)), is_severe, "{severity}: {decision:?}");
        }
    }

    #[test]
    fn events_of_other_producers_are_read() {
        let (_, key, projection, analytical) = severe(
            r#" { "Txn_Timestamp" : "2022-12-24T04:53:57.450051", "County":null, "Severity":"3",
            "ID":"A-1", "Start_Time":"nonsense", "Temperature(F)":"42.1" } "#,
        );
        assert_eq!(key, "A-1", "the id places an event without a county");
        assert_eq!(
            projection,
            "{\"ID\":\"A-1\",\"Severity\":3,\"City\":null,\"County\":null,\"Txn_Timestamp\":\"2022-12-24T04:53:57.450051\"}\n"
        );
        assert_eq!(
            analytical,
            "{\"id\":\"A-1\",\"severity\":3,\"temperature_f\":42.1,\"txn_timestamp\":\"2022-12-24 04:53:57.450051\"}\n"
        );
    }

    #[test]
    fn unreadable_record_becomes_a_reject() {
        for (data, expected) in [
            (&b"nope"[..], "not_json"),
            (b"", "not_json"),
            (b"\xff\xfe", "not_json"),
            (b"[1]", "not_json"),
            (br#"{"ID":"A-1"}"#, "bad_severity"),
            (br#"{"ID":"A-1","Severity":"high"}"#, "bad_severity"),
            (br#"{"ID":"","Severity":3}"#, "missing_id"),
            (br#"{"ID":" \t","Severity":3}"#, "missing_id"),
            (br#"{"Severity":3}"#, "missing_id"),
        ] {
            match select(data) {
                Decision::Reject { reason, .. } => assert_eq!(reason, expected, "{data:?}"),
                other => panic!("{data:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn late_event_is_counted_and_still_selected() {
        for (now, expected) in [("2022-12-24T04:54:02.450051Z", 0), ("2022-12-24T04:54:02.450052Z", 1)] {
            let (decision, late) = select_at(EVENT, now);
            assert!(late == expected && matches!(decision, Decision::Output(_)), "{now}");
        }
    }

    #[test]
    fn day_without_a_time_is_in_the_day_column() {
        let dataset =
            Dataset::parse("with_days", include_str!("../../../tests/fakes/with_days.toml")).unwrap();
        let mut selector = Selector::new(&dataset, 2, at("2022-12-24T04:53:58Z"));
        for (due, opened, on_stream, analytical) in [
            ("2016-02-08", "2016-02-08", "2016-02-08", r#","due":"2016-02-08","opened_on":"2016-02-08""#),
            (
                "2016-02-08",
                "2016-02-08T00:00:00",
                "2016-02-08T00:00:00",
                r#","due":"2016-02-08","opened_at":"2016-02-08 00:00:00""#,
            ),
            // As other producers write them, in the order of the data set.
            ("8/2/2016", "8/2/2016", "2016-02-08", r#","due":"2016-02-08","opened_on":"2016-02-08""#),
            ("8/2/2016 12:00", "soon", "", ""),
        ] {
            let event = format!(r#"{{"Id":"T-1","Level":3,"Due":"{due}","Opened":"{opened}"}}"#);
            let Decision::Output(found) = selector.select(event.as_bytes()) else { panic!("{event}") };
            let on_stream = if on_stream.is_empty() { "null".to_owned() } else { format!("\"{on_stream}\"") };
            let projection = format!(r#"{{"Id":"T-1","Level":3,"Received":null,"Opened":{on_stream}}}"#);
            assert_eq!(text(found.projection).trim_end(), projection);
            let expected = format!(r#"{{"id":"T-1","level":3{analytical},"severity":3}}"#);
            assert_eq!(text(found.analytical).trim_end(), expected);
        }
    }

    #[test]
    fn unlisted_severity_has_its_exact_value_in_a_column() {
        for (severity, partition) in [("5", 5), ("99", 5), ("\"7.0\"", 5)] {
            let (found, _, projection, analytical) =
                severe(EVENT.replace("\"Severity\":3", &format!("\"Severity\":{severity}")));
            let exact = severity.trim_matches('"').trim_end_matches(".0");
            assert_eq!(found, partition, "{severity}");
            assert!(projection.contains(&format!("\"Severity\":{exact},")), "{projection}");
            // All else is as with a severity that is listed.
            let (.., listed) = severe(EVENT);
            let expected = listed
                .replace("\"severity\":3", &format!("\"severity\":{partition}"))
                .replace("}\n", &format!(",\"unlisted_severity\":{exact}}}\n"));
            assert_eq!(analytical, expected);
        }
        // Another data set has its own column for the exact value, in addition to the key.
        let dataset = Dataset::named("support_tickets").unwrap();
        let mut selector = Selector::new(&dataset, -9, at("2022-12-24T04:53:58Z"));
        for (priority, partition) in [(-1, 0), (99, 5)] {
            let event = format!("{{\"Ticket_ID\":\"T-1\",\"Priority\":{priority}}}");
            let Decision::Output(found) = selector.select(event.as_bytes()) else { panic!("{priority}") };
            let expected = format!(
                "{{\"ticket_id\":\"T-1\",\"priority\":{priority},\"severity\":{partition},\"unlisted_severity\":{priority}}}\n"
            );
            assert_eq!((found.partition, text(found.analytical)), (partition, expected));
        }
        assert_eq!(selector.unknown_severity, 2);
    }
}
