//! What an event owes: nothing, a severe event and an analytical record, or a reject.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    cell,
    dataset::{Dataset, SEVERITY_KEY, Type},
    event::{self, Cell, Event},
    time::Timestamp,
};

/// The format of the analytical table, which decides how Firehose wants a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Parquet objects in folders: text that the conversion's JSON deserialiser reads as a timestamp.
    Parquet,
    /// An Apache Iceberg table: whole microseconds since 1970.
    ///
    /// Source: Firehose developer guide, "Understand supported data types" of Apache Iceberg Tables.
    Iceberg,
}

impl std::str::FromStr for TableFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "PARQUET" => Ok(Self::Parquet),
            "ICEBERG" => Ok(Self::Iceberg),
            _ => Err(()),
        }
    }
}

impl std::fmt::Display for TableFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Parquet => "PARQUET",
            Self::Iceberg => "ICEBERG",
        })
    }
}

/// Decides what events owe.
#[derive(Debug)]
pub struct Selector<'d> {
    dataset: &'d Dataset,
    above: i64,
    watermark: TimeDelta,
    format: TableFormat,
    /// The beginning of each column's entry under its name in Glue, `,"temperature_f":`.
    glue_entries: Vec<Vec<u8>>,
}

/// What an event owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owed {
    /// No output: it is not severe.
    Nothing,
    /// A record on stream 2 and one in the analytical layer.
    Both(Severe),
    /// A reject.
    Reject {
        /// A short stable code.
        reason: &'static str,
        /// What is wrong, and what would be right.
        detail: String,
    },
}

/// The outputs of a severe event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Severe {
    /// Its severity.
    pub severity: i64,
    /// Its partition key on stream 2.
    pub key: String,
    /// Its projection, for stream 2.
    pub projection: Bytes,
    /// The whole row under Glue's names, for the analytical layer.
    pub analytical: Bytes,
}

impl<'d> Selector<'d> {
    /// Selects events whose severity is above `above`; those that come more than `watermark` behind are late.
    #[must_use]
    pub fn new(dataset: &'d Dataset, above: i64, watermark: TimeDelta, format: TableFormat) -> Self {
        Self {
            dataset,
            above,
            watermark,
            format,
            glue_entries: dataset.columns.iter().map(|column| cell::entry(&column.column)).collect(),
        }
    }

    /// What the event in `data` owes, and whether it comes late at `now`.
    #[must_use]
    pub fn select(&self, data: &[u8], now: DateTime<Utc>) -> (Owed, bool) {
        let text = event::text(data);
        let reject = |reason, detail| Owed::Reject { reason, detail };
        let glance = match event::glance(self.dataset, &text) {
            Ok(glance) => glance,
            Err(error) => return (reject("not_json", format!("the record is not an event: {error}")), false),
        };
        let late = glance.received_at.is_some_and(|at| now - at > self.watermark);
        let severity = &self.dataset.columns[self.dataset.severity].name;
        let owed = match glance.severity {
            None => reject(
                "bad_severity",
                format!("`{severity}` is missing or no integer: 3 or \"3\" would be right"),
            ),
            Some(severity) if severity <= self.above => Owed::Nothing,
            Some(severity) => match Event::parse(self.dataset, &text) {
                Ok(event) => self.outputs(&event, severity),
                Err(error) => reject("not_json", format!("the record is not an event: {error}")),
            },
        };
        (owed, late)
    }

    fn outputs(&self, event: &Event<'_>, severity: i64) -> Owed {
        let id = event.cell(self.dataset.id).into_text();
        if id.trim().is_empty() {
            let name = &self.dataset.columns[self.dataset.id].name;
            return Owed::Reject {
                reason: "missing_id",
                detail: format!("`{name}` is blank: an id is needed"),
            };
        }
        let key = event.cell(self.dataset.severe_partition_key).into_text();
        let key = if key.is_empty() { id } else { key };
        Owed::Both(Severe {
            severity,
            key: key.into_owned(),
            projection: self.projection(event),
            analytical: self.analytical(event, severity),
        })
    }

    /// Exactly the data set's projection: a column without a value is null.
    fn projection(&self, event: &Event<'_>) -> Bytes {
        let mut out = Vec::with_capacity(256);
        for column in &self.dataset.projection {
            out.extend_from_slice(&self.dataset.entries()[*column]);
            if !event.write(self.dataset, *column, &mut out) {
                out.extend_from_slice(b"null");
            }
        }
        close(&mut out);
        out.into()
    }

    /// Every column that has a value, in the form that Firehose's conversion to Parquet reads, and the severity under the
    /// name of the partitions' key, if the data set calls its own otherwise.
    fn analytical(&self, event: &Event<'_>, severity: i64) -> Bytes {
        let mut out = Vec::with_capacity(1536);
        for (column, described) in self.dataset.columns.iter().enumerate() {
            let begin = out.len();
            out.extend_from_slice(&self.glue_entries[column]);
            let written = match described.kind {
                Type::Timestamp => self.time(event, column, &mut out),
                _ => event.write(self.dataset, column, &mut out),
            };
            if !written {
                out.truncate(begin);
            }
        }
        if self.dataset.columns[self.dataset.severity].column != SEVERITY_KEY {
            out.extend_from_slice(format!(",\"{SEVERITY_KEY}\":{severity}").as_bytes());
        }
        close(&mut out);
        out.into()
    }

    fn time(&self, event: &Event<'_>, column: usize, out: &mut Vec<u8>) -> bool {
        let Cell::Text(text) = event.cell(column) else { return false };
        let Some(time) = Timestamp::parse(cell::trim(&text), self.dataset.date_order) else { return false };
        match self.format {
            TableFormat::Parquet => {
                out.push(b'"');
                time.write_firehose(out);
                out.push(b'"');
            }
            TableFormat::Iceberg => {
                out.extend_from_slice(time.instant().timestamp_micros().to_string().as_bytes());
            }
        }
        true
    }
}

/// Closes an object of which the entries are written, each with its comma: that of the first becomes the bracket.
fn close(out: &mut Vec<u8>) {
    if let Some(first) = out.first_mut() {
        *first = b'{';
    }
    out.extend_from_slice(b"}\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#"{"ID":"A-1","Severity":3,"Start_Time":"2016-02-08T00:37:08","Start_Lat":39.928059000000005,"City":"Dublin","County":"Franklin","Amenity":false,"Txn_Timestamp":"2022-12-24T04:53:57.450051Z","own":"kept in raw","_invalid":{"End_Time":"45:00.0"}}"#;

    fn at(text: &str) -> DateTime<Utc> {
        Timestamp::parse(text, shared::time::DateOrder::Mdy).unwrap().instant()
    }

    fn select(data: impl AsRef<[u8]>) -> Owed {
        let dataset = Dataset::named("us_accidents").unwrap();
        let selector = Selector::new(&dataset, 2, TimeDelta::seconds(5), TableFormat::Parquet);
        selector.select(data.as_ref(), at("2022-12-24T04:53:58Z")).0
    }

    fn severe(data: impl AsRef<[u8]>) -> Severe {
        match select(data) {
            Owed::Both(severe) => severe,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_severe_event_owes_its_projection_and_its_analytical_record() {
        let severe = severe(EVENT);
        assert_eq!((severe.severity, severe.key.as_str()), (3, "Franklin"));
        assert_eq!(
            severe.projection,
            "{\"ID\":\"A-1\",\"Severity\":3,\"City\":\"Dublin\",\"County\":\"Franklin\",\
             \"Txn_Timestamp\":\"2022-12-24T04:53:57.450051Z\"}\n"
        );
        assert_eq!(
            severe.analytical,
            "{\"id\":\"A-1\",\"severity\":3,\"start_time\":\"2016-02-08 00:37:08\",\"start_lat\":39.928059000000005,\
             \"city\":\"Dublin\",\"county\":\"Franklin\",\"amenity\":false,\"txn_timestamp\":\"2022-12-24 04:53:57.450051\"}\n"
        );
    }

    #[test]
    fn an_iceberg_table_gets_its_times_in_microseconds() {
        let dataset = Dataset::named("us_accidents").unwrap();
        let selector = Selector::new(&dataset, 2, TimeDelta::seconds(5), TableFormat::Iceberg);
        let (Owed::Both(severe), _) = selector.select(EVENT.as_bytes(), at("2022-12-24T04:53:58Z")) else {
            panic!("the event is severe");
        };
        let analytical = std::str::from_utf8(&severe.analytical).unwrap();
        assert!(analytical.contains("\"start_time\":1454891828000000,"), "{analytical}");
        assert!(analytical.ends_with("\"txn_timestamp\":1671857637450051}\n"), "{analytical}");
    }

    #[test]
    fn severity_decides_as_a_number_or_as_its_text() {
        for (severity, owes) in [
            ("1", false),
            ("2", false),
            ("3", true),
            ("4", true),
            ("\"3\"", true),
            ("\"2\"", false),
            ("4.0", true),
        ] {
            let owed = select(EVENT.replace("\"Severity\":3", &format!("\"Severity\": {severity}")));
            assert_eq!(matches!(owed, Owed::Both(_)), owes, "{severity}: {owed:?}");
        }
    }

    #[test]
    fn what_other_producers_write_is_read_too() {
        let severe = severe(
            r#" { "Txn_Timestamp" : "2022-12-24T04:53:57.450051", "County":null, "Severity":"3",
            "ID":"A-1", "Start_Time":"nonsense", "Temperature(F)":"42.1" } "#,
        );
        assert_eq!(severe.key, "A-1", "the id places an event without a county");
        assert_eq!(
            severe.projection,
            "{\"ID\":\"A-1\",\"Severity\":3,\"City\":null,\"County\":null,\"Txn_Timestamp\":\"2022-12-24T04:53:57.450051\"}\n"
        );
        assert_eq!(
            severe.analytical,
            "{\"id\":\"A-1\",\"severity\":3,\"temperature_f\":42.1,\"txn_timestamp\":\"2022-12-24 04:53:57.450051\"}\n"
        );
    }

    #[test]
    fn a_record_that_cannot_be_placed_owes_a_reject() {
        for (data, expected) in [
            (&b"nope"[..], "not_json"),
            (b"", "not_json"),
            (b"\xff\xfe", "not_json"),
            (b"[1]", "not_json"),
            (br#"{"ID":"A-1"}"#, "bad_severity"),
            (br#"{"ID":"A-1","Severity":"high"}"#, "bad_severity"),
            (br#"{"ID":"","Severity":3}"#, "missing_id"),
            (br#"{"Severity":3}"#, "missing_id"),
        ] {
            match select(data) {
                Owed::Reject { reason, .. } => assert_eq!(reason, expected, "{data:?}"),
                other => panic!("{data:?}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_event_more_than_the_watermark_behind_is_late_and_selected_all_the_same() {
        let dataset = Dataset::named("us_accidents").unwrap();
        let selector = Selector::new(&dataset, 2, TimeDelta::seconds(5), TableFormat::Parquet);
        let (owed, late) = selector.select(EVENT.as_bytes(), at("2022-12-24T04:54:02.450051Z"));
        assert!(!late && matches!(owed, Owed::Both(_)));
        let (owed, late) = selector.select(EVENT.as_bytes(), at("2022-12-24T04:54:02.450052Z"));
        assert!(late && matches!(owed, Owed::Both(_)));
    }
}
