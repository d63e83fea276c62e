//! Decides what an event is: nothing, a reject, or an incident that people are alerted about.

use chrono::{DateTime, Utc};
use md5::{Digest as _, Md5};
use shared::data::{
    dataset::{Dataset, Type},
    decision::{self, Decision},
    event,
};

use crate::{details::number, text::legible};

/// Characters of an id for other services: a message's group and deduplication id on a FIFO topic. On-call services take
/// longer ones.
///
/// Source: SNS API reference, `PublishBatchRequestEntry`.
const SHORT_ID_CHARS: usize = 128;

/// What an alert says for a missing value.
pub const UNKNOWN: &str = "unknown";

/// An event that people are alerted about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id, whole; `None` if it has none.
    pub id: Option<String>,
    /// What it has in common with incidents that may share a message with it.
    pub key: Key,
    /// When ingest received it.
    pub received: Option<DateTime<Utc>>,
    /// The legible values of the columns on stream 2, by column; a blank one is left out. The severity is in the key.
    values: Vec<(usize, Box<str>)>,
    /// The hash of its id.
    identity: Option<Identity>,
    /// The hash of the record, which identifies an event without an id.
    record: u128,
}

/// What events have in common that may share a digest: the severity, and the value that stream 2 is partitioned by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The level of the severity.
    pub severity: i64,
    /// A hash of the area: an area can be as long as a record.
    pub area: u128,
}

/// A hash by which a container remembers an incident: an id can be as long as a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity(u128);

/// Decides whether the event in `data` is an incident, because its severity is above `above`.
#[must_use]
pub fn decide(dataset: &Dataset, above: i64, data: &[u8]) -> Decision<Incident> {
    let text = event::text(data);
    decision::severe(dataset, above, &text).and_then(|(event, severity)| {
        let columns = dataset.on_stream_2().filter(|column| *column != dataset.severity);
        let values = columns.filter_map(|column| {
            let text = legible(&event.cell(column).into_text())?;
            let is_readable = dataset.columns[column].kind != Type::Double || number(&text).is_some();
            is_readable.then(|| (column, text.into()))
        });
        let id = Some(event.cell(dataset.id).into_text().into_owned()).filter(|id| !id.is_empty());
        Decision::Output(Incident {
            identity: id.as_deref().map(|id| Identity(hash([id]))),
            id,
            key: Key {
                severity,
                area: hash([event.cell(dataset.severe_partition_key).into_text().as_ref()]),
            },
            received: event.instant(dataset.received_at),
            values: values.collect(),
            record: hash([text.as_ref()]),
        })
    })
}

impl Incident {
    /// The legible value of a column on stream 2, other than the severity.
    #[must_use]
    pub fn known(&self, column: usize) -> Option<&str> {
        self.values.iter().find(|(each, _)| *each == column).map(|(_, value)| value.as_ref())
    }

    /// The same, or [`UNKNOWN`].
    #[must_use]
    pub fn value(&self, column: usize) -> &str {
        self.known(column).unwrap_or(UNKNOWN)
    }

    /// The name that distinguishes it from other incidents: its id, or else its record.
    #[must_use]
    pub fn name(&self) -> String {
        self.id.clone().unwrap_or_else(|| hex(self.record))
    }

    /// How a container remembers it: an event that arrives again with the same id and no higher severity is not alerted
    /// again. An event without an id is never a repeat.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }
}

/// A hash of texts in order; different lists of texts have different hashes even if their concatenations are equal.
pub(crate) fn hash<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> u128 {
    let mut hash = Md5::new();
    for text in texts {
        let text = text.as_ref();
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    u128::from_be_bytes(hash.finalize().into())
}

/// A hash in 32 characters.
pub(crate) fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

/// A text as an id for other services: unchanged if it is short enough and has only ASCII letters, digits and punctuation.
pub(crate) fn short(text: &str) -> String {
    if (1..=SHORT_ID_CHARS).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()) {
        return text.to_owned();
    }
    hex(hash([text]))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::LazyLock;

    use super::*;

    static US_ACCIDENTS: LazyLock<Dataset> = LazyLock::new(|| Dataset::named("us_accidents").unwrap());

    pub(crate) fn us_accidents() -> &'static Dataset {
        &US_ACCIDENTS
    }

    /// The incident of an event in JSON.
    pub(crate) fn incident(json: &str) -> Incident {
        match decide(us_accidents(), 3, json.as_bytes()) {
            Decision::Output(incident) => incident,
            other => panic!("{other:?}"),
        }
    }

    /// The same incident under another id.
    pub(crate) fn with_id(incident: &Incident, id: String) -> Incident {
        Incident { identity: Some(Identity(hash([&id]))), id: Some(id), ..incident.clone() }
    }

    #[test]
    fn only_events_above_the_threshold_are_incidents() {
        let dataset = us_accidents();
        let decide = |json: &str| decide(dataset, 3, json.as_bytes());
        assert_eq!(decide(r#"{"ID":"A-1","Severity":3}"#), Decision::Nothing);
        assert!(matches!(decide(r#"{"ID":"A-1","Severity":"4"}"#), Decision::Output(_)));
        assert!(matches!(decide("nope"), Decision::Reject { reason: "not_json", .. }));
        assert!(matches!(decide("{}"), Decision::Reject { reason: "bad_severity", .. }));
    }

    #[test]
    fn key_is_the_severity_and_the_whole_area() {
        let key = |severity: i64, county: &str| {
            incident(&format!(r#"{{"Severity":{severity},"County":"{county}"}}"#)).key
        };
        let long = "x".repeat(1_000);
        assert_eq!(key(4, &long), key(4, &long));
        assert_ne!(key(4, &long), key(5, &long));
        assert_ne!(key(4, &format!("{long}a")), key(4, &format!("{long}b")));
    }

    #[test]
    fn identity_is_the_whole_id() {
        let identity = |id: &str| incident(&format!(r#"{{"ID":"{id}","Severity":4}}"#)).identity();
        let long = "x".repeat(1_000);
        assert_eq!(identity(&long), identity(&long));
        assert_ne!(identity(&format!("{long}a")), identity(&format!("{long}b")));
        assert_eq!(with_id(&incident(r#"{"Severity":4}"#), "A-1".to_owned()).identity(), identity("A-1"));
        assert_eq!(identity(""), None, "an event without an id is never a repeat");
        assert_eq!(size_of::<Identity>(), 16);
    }

    #[test]
    fn hash_is_that_of_the_texts_and_of_where_each_ends() {
        assert_eq!(hash(["ab", "c"]), hash(["ab", "c"]));
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
        assert_ne!(hash(["ab", "c"]), hash(["c", "ab"]));
        assert_ne!(hash(["abc"]), hash(["abc", ""]));
    }

    #[test]
    fn incident_without_id_is_named_by_its_record() {
        let [one, same, other] =
            [r#"{"Severity":4}"#, r#"{"Severity":4}"#, r#"{"Severity":5}"#].map(incident);
        assert_eq!(one.name(), same.name());
        assert_ne!(one.name(), other.name());
        assert_eq!(incident(r#"{"ID":"A-1","Severity":4}"#).name(), "A-1");
    }

    #[test]
    fn invalid_ids_are_hashed_for_other_services() {
        assert_eq!(short("A-1"), "A-1");
        for text in ["4/Doña Ana", "a b", "", &"x".repeat(129)] {
            let id = short(text);
            assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
            assert_eq!(id, short(text));
        }
        assert_ne!(short("a b"), short("a c"));
    }
}
