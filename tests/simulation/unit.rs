//! The events that are sent, each known by a number that stands in whatever is made of it.

use bytes::Bytes;
use md5::{Digest, Md5};

/// The number of an event; in texts it stands as `u00017`.
pub type Id = u32;

/// Digits of a number in texts.
const DIGITS: usize = 5;
/// Characters of a description that makes an event too large for the analytical delivery stream, and for stream 1.
const LARGE: usize = 1_600;
const TOO_LARGE: usize = 3_000;

/// An event to be sent.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its number.
    pub id: Id,
    /// Its severity, from 1 to 4.
    pub severity: i64,
    /// Its county, by number; none where it names none.
    pub county: Option<u8>,
    /// What is special about it.
    pub kind: Kind,
}

/// What is special about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// The analytical delivery stream does not take it, for its size.
    Large,
    /// Stream 1 does not take it, for its size.
    TooLarge,
    /// It is older than CloudWatch takes.
    Old,
    /// It cannot be placed.
    Poison,
}

/// The name of an event.
#[must_use]
pub fn name(id: Id) -> String {
    format!("u{id:0DIGITS$}")
}

/// The events that a text or a record tells of, in order: this is how every output is read.
#[must_use]
pub fn ids_in(text: impl AsRef<[u8]>) -> Vec<Id> {
    let mut ids = Vec::new();
    let text = text.as_ref();
    for start in memchr::memchr_iter(b'u', text) {
        let Some(digits) = text.get(start + 1..start + 1 + DIGITS) else { continue };
        if digits.iter().all(u8::is_ascii_digit) {
            let id = digits.iter().fold(0, |id, digit| id * 10 + Id::from(digit - b'0'));
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    ids
}

impl Unit {
    /// What keeps its order with others of the same value on stream 2.
    #[must_use]
    pub fn county_or_id(&self) -> String {
        self.county.map_or_else(|| name(self.id), |county| format!("c{county}"))
    }

    fn description(&self) -> String {
        match self.kind {
            Kind::Large => "x".repeat(LARGE),
            Kind::TooLarge => "x".repeat(TOO_LARGE),
            _ => "x".repeat(self.id as usize % 7),
        }
    }

    fn county_text(&self) -> String {
        self.county.map(|county| format!("c{county}")).unwrap_or_default()
    }

    /// As a row under the header of [`CSV_HEADER`].
    #[must_use]
    pub fn csv(&self) -> String {
        let (name, severity, county) = (name(self.id), self.severity, self.county_text());
        match (self.kind, self.id % 3) {
            (Kind::Poison, 0) => format!("{name},high,{name},{county},"),
            (Kind::Poison, 1) => format!("{name},{severity},{name}"),
            (Kind::Poison, _) => format!(",{severity},{name},{county},"),
            _ => format!("{name},{severity},{name},{county},{}", self.description()),
        }
    }

    /// As a JSON object of one who asks ingest.
    #[must_use]
    pub fn json(&self) -> String {
        let (name, severity, county) = (name(self.id), self.severity, self.county_text());
        match (self.kind, self.id % 3) {
            (Kind::Poison, 0) => format!(r#"{{"ID":"{name}","Severity":"high","City":"{name}"}}"#),
            (Kind::Poison, 1) => format!(r#"{{"ID":"{name}","City":"{name}"}}"#),
            (Kind::Poison, _) => format!(r#"{{"ID":"","Severity":{severity},"City":"{name}"}}"#),
            _ => format!(
                r#"{{"ID":"{name}","Severity":{severity},"City":"{name}","County":"{county}","Description":"{}"}}"#,
                self.description()
            ),
        }
    }

    /// As another producer writes it to a stream, at `at`, an ISO-8601 time.
    #[must_use]
    pub fn record(&self, at: &str) -> Bytes {
        let (name, severity, county) = (name(self.id), self.severity, self.county_text());
        let at = if self.kind == Kind::Old { "2020-01-01T00:00:00Z" } else { at };
        match (self.kind, self.id % 4) {
            (Kind::Poison, 0) => format!("no event: {name}").into(),
            (Kind::Poison, 1) => format!(r#"{{"ID":"{name}","Severity":"high"}}"#).into(),
            (Kind::Poison, 2) => format!(r#"{{"ID":"{name}"}}"#).into(),
            (Kind::Poison, _) => [b"\xff\xfe\0", name.as_bytes()].concat().into(),
            (_, 0) => format!(
                r#" {{ "Txn_Timestamp": "{at}", "Severity": "{severity}", "County": "{county}", "City": "{name}", "ID": "{name}", "Description": "{}" }} "#,
                self.description()
            )
            .into(),
            _ => format!(
                "{{\"ID\":\"{name}\",\"Severity\":{severity},\"City\":\"{name}\",\"County\":\"{county}\",\"Description\":\"{}\",\"Txn_Timestamp\":\"{at}\"}}\n",
                self.description()
            )
            .into(),
        }
    }
}

/// The header of the CSVs.
pub const CSV_HEADER: &str = "ID,Severity,City,County,Description";

/// What is wrong with an aggregated record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// Its digest fits, but it is cut off.
    CutOff,
    /// Its digest does not fit.
    Digest,
}

/// Records aggregated as the Kinesis Producer Library does it.
#[must_use]
pub fn aggregate(records: &[Bytes], damage: Damage) -> Bytes {
    let mut protobuf = vec![0x0A, 1, b'k'];
    for record in records {
        let mut sub_record = vec![0x08, 0, 0x1A];
        varint(record.len(), &mut sub_record);
        sub_record.extend_from_slice(record);
        protobuf.push(0x1A);
        varint(sub_record.len(), &mut protobuf);
        protobuf.extend(sub_record);
    }
    if damage == Damage::CutOff {
        // Another record is announced that does not follow.
        protobuf.extend([0x1A, 9]);
    }
    let mut digest = Md5::digest(&protobuf).to_vec();
    if damage == Damage::Digest {
        digest[0] ^= 1;
    }
    [&[0xF3, 0x89, 0x9A, 0xC2], protobuf.as_slice(), &digest].concat().into()
}

fn varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// The names of events, for people.
#[must_use]
pub fn names(ids: impl IntoIterator<Item = Id>) -> String {
    ids.into_iter().fold(String::new(), |mut names, id| {
        let separator = if names.is_empty() { "" } else { ", " };
        names.push_str(separator);
        names.push_str(&name(id));
        names
    })
}
