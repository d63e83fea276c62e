//! The rows of the alerts table: which message alerted about which events, and when.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

/// The columns of the alerts table: name, type in Glue, and what it holds.
pub const COLUMNS: [(&str, &str, &str); 10] = [
    ("alerted_at", "timestamp", "When SNS accepted the message, UTC, milliseconds."),
    (
        "kind",
        "string",
        "alert: one event; raised: one event, alerted before with a lower severity; digest: events of one area and severity; \
         storm: events of several.",
    ),
    ("severity", "bigint", "Highest level of severity among the events."),
    ("area", "string", "Area of the events; null if they are of several."),
    ("ids", "array<string>", "Ids of the events; an event without one has a blank id."),
    ("severities", "array<bigint>", "Level of severity of each event, in the order of `ids`."),
    (
        "event_count",
        "bigint",
        "Number of events in this row. A message with very many events has several rows.",
    ),
    ("subject", "string", "Subject of the message."),
    ("message_id", "string", "Id that SNS gave to the message."),
    (
        "latency_ms",
        "bigint",
        "Milliseconds from the receipt of the oldest event until SNS accepted the message.",
    ),
];

/// The form in which Athena reads a timestamp from JSON.
///
/// Source: Athena user guide, "Data types", `TIMESTAMP`.
const TIMESTAMP: &str = "%Y-%m-%d %H:%M:%S%.3f";
/// Bytes of ids as JSON in one row. With the subject the row stays far below Firehose's limit of 1,000 KiB.
const IDS_BYTES: usize = 600 * 1024;
/// Bytes of a byte of text as JSON at most: `\u001f`.
const ESCAPED_BYTES: usize = 6;

/// A message that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published<'a> {
    /// When SNS accepted it.
    pub at: DateTime<Utc>,
    /// What it is about: `alert`, `raised`, `digest` or `storm`.
    pub kind: &'static str,
    /// The area of its events, if they have one in common.
    pub area: Option<&'a str>,
    /// The id and the level of severity of each event, at least one.
    pub events: Vec<(&'a str, i64)>,
    /// Its subject.
    pub subject: &'a str,
    /// Its id, if SNS's answer had one.
    pub message_id: Option<&'a str>,
    /// Milliseconds from the receipt of the oldest event, if any has a time of receipt.
    pub latency_ms: Option<i64>,
}

/// A row as it is in the alerts table.
#[derive(Serialize)]
struct AlertRow<'a> {
    alerted_at: String,
    kind: &'a str,
    severity: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    area: Option<&'a str>,
    ids: Vec<&'a str>,
    severities: Vec<i64>,
    event_count: usize,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latency_ms: Option<i64>,
}

impl Published<'_> {
    /// Its rows, each a JSON line for the alerts delivery stream: one, or more if the ids do not fit into one record.
    #[must_use]
    pub fn rows(&self) -> Vec<Bytes> {
        let severity = self.events.iter().map(|(_, severity)| *severity).max().unwrap_or_default();
        let mut rows = Vec::new();
        let mut rest = self.events.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |(id, _): &&(&str, i64)| {
                bytes += id.len() * ESCAPED_BYTES + 3;
                bytes <= IDS_BYTES
            };
            // A row takes at least one event, whatever the length of its id.
            let (events, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
            rest = others;
            rows.push(line(&AlertRow {
                alerted_at: self.at.format(TIMESTAMP).to_string(),
                kind: self.kind,
                severity,
                area: self.area,
                ids: events.iter().map(|(id, _)| *id).collect(),
                severities: events.iter().map(|(_, severity)| *severity).collect(),
                event_count: events.len(),
                subject: self.subject,
                message_id: self.message_id,
                latency_ms: self.latency_ms,
            }));
        }
        rows
    }
}

fn line(row: &AlertRow<'_>) -> Bytes {
    let mut line = serde_json::to_vec(row).unwrap_or_else(|error| unreachable!("{error}"));
    line.push(b'\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn published(events: Vec<(&str, i64)>) -> Published<'_> {
        Published {
            at: DateTime::from_timestamp(1_784_021_400, 7_000_000).unwrap(),
            kind: "digest",
            area: Some("Doña Ana"),
            events,
            subject: "2 accidents",
            message_id: Some("m-1"),
            latency_ms: Some(412),
        }
    }

    fn parsed(rows: &[Bytes]) -> Vec<Value> {
        rows.iter().map(|row| serde_json::from_slice(row).unwrap()).collect()
    }

    #[test]
    fn row_has_every_column_and_the_highest_severity() {
        let rows = published(vec![("A-1", 4), ("A-2", 5)]).rows();
        let expected = json!({
            "alerted_at": "2026-07-14 09:30:00.007", "kind": "digest", "severity": 5, "area": "Doña Ana",
            "ids": ["A-1", "A-2"], "severities": [4, 5], "event_count": 2, "subject": "2 accidents",
            "message_id": "m-1", "latency_ms": 412,
        });
        assert_eq!(parsed(&rows)[0], expected);
        assert_eq!(rows.len(), 1);
        assert!(rows[0].ends_with(b"}\n"));
        let names: Vec<_> = expected.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, COLUMNS.map(|(name, ..)| name.to_owned()));
    }

    #[test]
    fn unknown_values_are_left_out() {
        let row = &parsed(
            &Published { area: None, message_id: None, latency_ms: None, ..published(vec![("", 4)]) }.rows(),
        )[0];
        assert!(["area", "message_id", "latency_ms"].iter().all(|name| row.get(name).is_none()), "{row}");
        assert_eq!(row["ids"], json!([""]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_event_is_in_one_row_and_every_row_fits(
            lengths in proptest::collection::vec(prop_oneof![0_usize..60, Just(90_000_usize), Just(300_000)], 1..40),
            character in prop_oneof![Just("\""), Just("\u{1f}"), Just("x")],
        ) {
            // No id is longer than a row may be. The row of a longer one is refused and counted.
            let longest = if character == "\u{1f}" { 100_000 } else { usize::MAX };
            let ids: Vec<String> = lengths.iter().map(|length| character.repeat(*length.min(&longest))).collect();
            let events: Vec<(&str, i64)> = ids.iter().map(String::as_str).zip(4..).collect();
            let message = published(events.clone());
            let rows = message.rows();
            let is_line = |row: &Bytes| row.len() < 1_000 * 1024 && row.ends_with(b"}\n");
            prop_assert!(rows.iter().all(is_line));
            let mut found = Vec::new();
            let rows = parsed(&rows);
            for row in &rows {
                let (ids, levels) = (row["ids"].as_array().unwrap(), row["severities"].as_array().unwrap());
                prop_assert_eq!(row["event_count"].as_u64(), Some(ids.len() as u64));
                let both = ids.iter().zip(levels);
                found.extend(both.map(|(id, level)| (id.as_str().unwrap().to_owned(), level.as_i64().unwrap())));
                // All else is that of the message.
                let of_message = json!([events.last().unwrap().1, "digest", "Doña Ana", "2 accidents", "m-1", 412]);
                let names = ["severity", "kind", "area", "subject", "message_id", "latency_ms"];
                prop_assert_eq!(json!(names.map(|name| &row[name])), of_message);
            }
            // No two neighbouring rows would fit into one.
            let bytes = |row: &Value| -> usize {
                let ids = row["ids"].as_array().unwrap();
                ids.iter().map(|id| id.as_str().unwrap().len() * ESCAPED_BYTES + 3).sum()
            };
            prop_assert!(rows.windows(2).all(|two| bytes(&two[0]) + bytes(&two[1]) > IDS_BYTES));
            let expected: Vec<_> = events.iter().map(|(id, level)| ((*id).to_owned(), *level)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
