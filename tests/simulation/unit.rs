//! The events of a simulation, each with a number that appears in everything derived from it.

use bytes::Bytes;

/// The number of an event, written as `u00017` in texts.
pub type Id = u32;

/// Digits of a number in texts.
const DIGITS: usize = 5;
/// Bytes of a long description between two names of its event.
const STRETCH: usize = 1_000;

/// An event to be sent.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Its number.
    pub id: Id,
    /// The number in its id: its own, or that of another event with other content.
    pub identity: Id,
    /// Its severity, from 1 to 5.
    pub severity: i64,
    /// The number of its county, if it has one.
    pub county: Option<u8>,
    /// Its kind.
    pub kind: Kind,
    /// Bytes of its description.
    pub bytes: usize,
}

/// The kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary event.
    Plain,
    /// It is too large for the analytical delivery stream.
    Large,
    /// It is too large for stream 1.
    TooLarge,
    /// It is too old for CloudWatch.
    Old,
    /// It is not a valid event.
    Poison,
}

/// The name of an event, which appears in everything derived from it.
#[must_use]
pub fn name(id: Id) -> String {
    format!("u{id:0DIGITS$}")
}

/// The events that a text or a record names, in order. Every output is read in this way.
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
    /// Its id, which differs from its name: another event may have the same id.
    #[must_use]
    pub fn carried_id(&self) -> String {
        format!("i{:0DIGITS$}", self.identity)
    }

    /// The key that orders it on stream 2.
    #[must_use]
    pub fn county_or_id(&self) -> String {
        self.county.map_or_else(|| self.carried_id(), |county| format!("c{county}"))
    }

    /// A description of its size. A long one repeats the name of the event, so that each part identifies it.
    fn description(&self) -> String {
        if self.bytes < STRETCH {
            return "x".repeat(self.bytes);
        }
        let stretch = format!("{}-{}-", name(self.id), "x".repeat(STRETCH - DIGITS - 3));
        let mut description = stretch.repeat(self.bytes.div_ceil(STRETCH));
        description.truncate(self.bytes);
        description
    }

    fn county_text(&self) -> String {
        self.county.map(|county| format!("c{county}")).unwrap_or_default()
    }

    /// The event as a row under [`CSV_HEADER`].
    #[must_use]
    pub fn csv(&self) -> String {
        let (name, severity, county) = (name(self.id), self.severity, self.county_text());
        let (id, text) = (self.carried_id(), self.description());
        match (self.kind, self.id % 3) {
            (Kind::Poison, 0) => format!("{id},high,{name},{county},{text}"),
            (Kind::Poison, 1) => format!("{id},{severity},{name}-{text}"),
            (Kind::Poison, _) => format!(",{severity},{name},{county},{text}"),
            _ => format!("{id},{severity},{name},{county},{text}"),
        }
    }

    /// The event as a JSON object of a sender.
    #[must_use]
    pub fn json(&self) -> String {
        let (name, severity, county) = (name(self.id), self.severity, self.county_text());
        let (id, text) = (self.carried_id(), self.description());
        match (self.kind, self.id % 3) {
            (Kind::Poison, 0) => {
                format!(r#"{{"ID":"{id}","Severity":"high","City":"{name}","Description":"{text}"}}"#)
            }
            (Kind::Poison, 1) => format!(r#"{{"ID":"{id}","City":"{name}","Description":"{text}"}}"#),
            (Kind::Poison, _) => {
                format!(r#"{{"ID":"","Severity":{severity},"City":"{name}","Description":"{text}"}}"#)
            }
            _ => format!(
                r#"{{"ID":"{id}","Severity":{severity},"City":"{name}","County":"{county}","Description":"{text}"}}"#
            ),
        }
    }

    /// The event as another producer writes it to a stream at `at`, an ISO-8601 time.
    #[must_use]
    pub fn record(&self, at: &str) -> Bytes {
        let (name, severity, county) = (name(self.id), self.severity, self.county_text());
        let (id, text) = (self.carried_id(), self.description());
        let at = if self.kind == Kind::Old { "2020-01-01T00:00:00Z" } else { at };
        match (self.kind, self.id % 4) {
            (Kind::Poison, 0) => format!("no event: {name} {text}").into(),
            (Kind::Poison, 1) => {
                format!(r#"{{"ID":"{id}","Severity":"high","City":"{name}","Description":"{text}"}}"#).into()
            }
            (Kind::Poison, 2) => {
                format!(r#"{{"ID":"{id}","City":"{name}","Description":"{text}"}}"#).into()
            }
            (Kind::Poison, _) => [b"\xff\xfe\0", name.as_bytes(), text.as_bytes()].concat().into(),
            (_, 0) => format!(
                r#" {{ "Txn_Timestamp": "{at}", "Severity": "{severity}", "County": "{county}", "City": "{name}", "ID": "{id}", "Description": "{text}" }} "#
            )
            .into(),
            _ => format!(
                "{{\"ID\":\"{id}\",\"Severity\":{severity},\"City\":\"{name}\",\"County\":\"{county}\",\"Description\":\"{text}\",\"Txn_Timestamp\":\"{at}\"}}\n"
            )
            .into(),
        }
    }
}

/// The header of the CSVs.
pub const CSV_HEADER: &str = "ID,Severity,City,County,Description";

/// The damage of an aggregated record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// Nothing.
    None,
    /// It is truncated under a matching digest.
    CutOff,
    /// Its digest does not match.
    Digest,
}

/// Bytes before and after the protobuf of an aggregated record: the magic number, and the digest.
const MAGIC_BYTES: usize = 4;
const DIGEST_BYTES: usize = 16;

/// Records aggregated like by the Kinesis Producer Library.
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
        // The protobuf announces another record that is missing.
        protobuf.extend([0x1A, 9]);
    }
    let mut record = fakes::aggregate(&protobuf);
    if damage == Damage::Digest
        && let Some(last) = record.last_mut()
    {
        *last ^= 1;
    }
    record.into()
}

/// The explicit hash keys of the user records in an aggregated record, in order; `None` for one without, which its
/// partition key places. `None` for the whole if the record is malformed.
///
/// Readers that follow the shards, as the Kinesis Client Library does, drop a user record whose hash key is not in the
/// range of the shard that they read.
#[must_use]
pub fn hash_keys(aggregate: &[u8]) -> Option<Vec<Option<u128>>> {
    let protobuf = aggregate.get(MAGIC_BYTES..aggregate.len().checked_sub(DIGEST_BYTES)?)?;
    let (mut table, mut named) = (Vec::new(), Vec::new());
    fields(protobuf, |field, value| match (field, value) {
        (2, Field::Bytes(key)) => table.push(std::str::from_utf8(key).ok().and_then(|key| key.parse().ok())),
        (3, Field::Bytes(sub_record)) => {
            let mut index = None;
            let _whole = fields(sub_record, |field, value| {
                if let (2, Field::Number(number)) = (field, value) {
                    index = Some(number);
                }
            });
            named.push(index);
        }
        _ => {}
    })?;
    named
        .into_iter()
        .map(|index| match index {
            None => Some(None),
            Some(index) => table.get(usize::try_from(index).ok()?).copied(),
        })
        .collect()
}

/// The value of a field in protobuf.
enum Field<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

/// Calls a closure with the fields of a message and their numbers; `None` if it is malformed.
fn fields<'b>(mut message: &'b [u8], mut each: impl FnMut(u64, Field<'b>)) -> Option<()> {
    while !message.is_empty() {
        let tag = number(&mut message)?;
        let value = number(&mut message)?;
        match tag & 7 {
            0 => each(tag >> 3, Field::Number(value)),
            2 => {
                let (bytes, rest) = message.split_at_checked(usize::try_from(value).ok()?)?;
                message = rest;
                each(tag >> 3, Field::Bytes(bytes));
            }
            _ => return None,
        }
    }
    Some(())
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
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
    ids.into_iter().map(name).collect::<Vec<_>>().join(", ")
}
