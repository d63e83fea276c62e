//! Aggregated records in the format of the Kinesis Producer Library: building and splitting them.
//!
//! Source: "KPL aggregated record format", `aggregation-format.md` of `awslabs/amazon-kinesis-producer`.

use std::collections::HashMap;

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::Message;

/// The first bytes of an aggregated record.
const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
/// Bytes of the MD5 digest at the end of an aggregated record.
const DIGEST: usize = 16;

#[derive(Clone, PartialEq, Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<SubRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct SubRecord {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "bytes", required, tag = "3")]
    data: Bytes,
}

/// The digest matches, so the record is an aggregated one, but it cannot be split.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the aggregated record cannot be split: {0}")]
pub struct Damaged(String);

/// The user records of an aggregated record, in order, borrowed from it.
///
/// They are found one by one in the protobuf. A record of 1 MB can have 170,000 of them, and a list of them would take
/// more memory than the record.
#[derive(Debug, Clone)]
pub struct AggregatedRecords<'a>(Fields<'a>);

/// The user records in `data`; `None` if it is not an aggregated record.
///
/// A record is aggregated only if its magic and its digest match; otherwise it is an ordinary one. All of it is
/// checked before the first user record is returned.
pub fn user_records(data: &[u8]) -> Result<Option<AggregatedRecords<'_>>, Damaged> {
    let Some(protobuf) = aggregated(data) else { return Ok(None) };
    check(protobuf).map_err(Damaged)?;
    Ok(Some(AggregatedRecords(Fields(protobuf))))
}

/// The user records in `data`, or the record itself if it is not aggregated.
pub fn deaggregate(data: Bytes) -> Result<Vec<Bytes>, Damaged> {
    match user_records(&data)? {
        None => Ok(vec![data]),
        Some(records) => Ok(records.map(|record| data.slice_ref(record)).collect()),
    }
}

impl<'a> Iterator for AggregatedRecords<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        // No field is damaged here, since all were checked.
        while let Ok(field) = self.0.next()? {
            if let (3, Value::Bytes(record)) = field {
                return SubRecordFields::read(record).ok()?.data;
            }
        }
        None
    }
}

/// Checks an aggregated record: its fields, the fields of its records, and that the keys that they name exist.
fn check(protobuf: &[u8]) -> Result<(), String> {
    let (mut keys, mut highest) = (0_u64, None);
    for field in Fields(protobuf) {
        match field? {
            (1, Value::Bytes(key)) => {
                std::str::from_utf8(key).map_err(|_| "a partition key is not UTF-8".to_owned())?;
                keys += 1;
            }
            (2, Value::Bytes(key)) => {
                std::str::from_utf8(key).map_err(|_| "an explicit hash key is not UTF-8".to_owned())?;
            }
            (3, Value::Bytes(record)) => {
                let record = SubRecordFields::read(record)?;
                let (Some(index), Some(_)) = (record.partition_key_index, record.data) else {
                    return Err("a record lacks its partition key or its data".to_owned());
                };
                highest = highest.max(Some(index));
            }
            (1..=3, _) => return Err("a field has another type than in the format".to_owned()),
            _ => {} // Fields of a later version.
        }
    }
    match highest {
        Some(index) if index >= keys => {
            Err(format!("partition key {index} is named, but the table holds {keys}"))
        }
        _ => Ok(()),
    }
}

/// The needed fields of a record. If one occurs twice, the last counts, as in protobuf.
#[derive(Default)]
struct SubRecordFields<'a> {
    partition_key_index: Option<u64>,
    data: Option<&'a [u8]>,
}

impl<'a> SubRecordFields<'a> {
    fn read(record: &'a [u8]) -> Result<Self, String> {
        let mut fields = Self::default();
        for field in Fields(record) {
            match field? {
                (1, Value::Number(index)) => fields.partition_key_index = Some(index),
                (2, Value::Number(_)) => {}
                (3, Value::Bytes(data)) => fields.data = Some(data),
                (1..=3, _) => {
                    return Err("a field of a record has another type than in the format".to_owned());
                }
                _ => {}
            }
        }
        Ok(fields)
    }
}

/// The value of a field.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// A value of fixed size, which the format does not use.
    Other,
}

/// The fields of a protobuf message, each with its number; the last item is an error if the message is damaged.
#[derive(Debug, Clone)]
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    /// Source: Protocol Buffers documentation, "Encoding".
    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let tag = self.number()?;
        if tag >> 3 == 0 || u32::try_from(tag).is_err() {
            return Err("a field has no valid number".to_owned());
        }
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.bytes(8).map(|_| Value::Other)?,
            2 => {
                let length = self.number()?;
                Value::Bytes(self.bytes(length)?)
            }
            5 => self.bytes(4).map(|_| Value::Other)?,
            kind => return Err(format!("a field has the type {kind}, which the format does not use")),
        };
        Ok((tag >> 3, value))
    }

    fn number(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or_else(cut_short)?;
            self.0 = rest;
            // Only one bit of the tenth byte fits in 64 bits.
            if shift == 63 && *first > 1 {
                break;
            }
            number |= u64::from(first & 0x7F) << shift;
            if first & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number takes more than 64 bits".to_owned())
    }

    fn bytes(&mut self, length: u64) -> Result<&'a [u8], String> {
        let at = usize::try_from(length).map_err(|_| cut_short())?;
        let (bytes, rest) = self.0.split_at_checked(at).ok_or_else(cut_short)?;
        self.0 = rest;
        Ok(bytes)
    }
}

fn cut_short() -> String {
    "a field ends after the end of what holds it".to_owned()
}

/// An aggregated record of the user records. Each has its partition key; all share one explicit hash key.
pub fn aggregate<'r>(hash_key: &str, records: impl Iterator<Item = (&'r str, &'r Bytes)>) -> Vec<u8> {
    let mut aggregate = AggregatedRecord {
        explicit_hash_key_table: vec![hash_key.to_owned()],
        ..AggregatedRecord::default()
    };
    let mut keys: HashMap<&str, u64> = HashMap::new();
    for (key, data) in records {
        let table = &mut aggregate.partition_key_table;
        let index = *keys.entry(key).or_insert_with(|| {
            table.push(key.to_owned());
            table.len() as u64 - 1
        });
        aggregate.records.push(SubRecord {
            partition_key_index: index,
            explicit_hash_key_index: Some(0),
            data: data.clone(),
        });
    }
    let mut record = Vec::with_capacity(MAGIC.len() + aggregate.encoded_len() + DIGEST);
    record.extend_from_slice(&MAGIC);
    aggregate.encode_raw(&mut record);
    let digest = Md5::digest(&record[MAGIC.len()..]);
    record.extend_from_slice(&digest);
    record
}

/// The most bytes that a user record takes in an aggregated one. A key is written once, however often it occurs.
#[must_use]
pub fn entry_bytes(key: &str, data: &Bytes) -> usize {
    /// Tags and lengths of the key, the record and its data, and its indexes.
    const FRAME: usize = 20;
    key.len() + data.len() + FRAME
}

/// The protobuf of an aggregated record.
fn aggregated(data: &[u8]) -> Option<&[u8]> {
    if data.len() <= MAGIC.len() + DIGEST || !data.starts_with(&MAGIC) {
        return None;
    }
    let (protobuf, digest) = data[MAGIC.len()..].split_at(data.len() - MAGIC.len() - DIGEST);
    (Md5::digest(protobuf)[..] == *digest).then_some(protobuf)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn aggregate(protobuf: &[u8]) -> Bytes {
        let mut data = MAGIC.to_vec();
        data.extend_from_slice(protobuf);
        data.extend_from_slice(&Md5::digest(protobuf));
        data.into()
    }

    fn protobuf(records: &[&[u8]], key: u64) -> Vec<u8> {
        AggregatedRecord {
            partition_key_table: vec!["k".into()],
            explicit_hash_key_table: vec![],
            records: records
                .iter()
                .map(|data| SubRecord {
                    partition_key_index: key,
                    explicit_hash_key_index: None,
                    data: Bytes::copy_from_slice(data),
                })
                .collect(),
        }
        .encode_to_vec()
    }

    #[test]
    fn aggregated_record_is_split_in_order() {
        let records: [&[u8]; 3] = [b"{\"ID\":\"1\"}", b"", b"{\"ID\":\"3\"}"];
        assert_eq!(deaggregate(aggregate(&protobuf(&records, 0))).unwrap(), records);
    }

    #[test]
    fn record_with_a_wrong_digest_is_an_ordinary_one() {
        let good = aggregate(&protobuf(&[b"x"], 0));
        let mut bad_digest = good.to_vec();
        *bad_digest.last_mut().unwrap() ^= 1;
        let mut bad_magic = good.to_vec();
        bad_magic[0] ^= 1;
        for plain in
            [b"{}".to_vec(), Vec::new(), bad_digest, bad_magic, aggregate(b"").to_vec(), MAGIC.to_vec()]
        {
            assert_eq!(deaggregate(plain.clone().into()).unwrap(), [plain]);
        }
    }

    #[test]
    fn a_damaged_aggregate_with_a_fitting_digest_is_an_error() {
        let whole = protobuf(&[b"some data", b"more data"], 0);
        assert!(deaggregate(aggregate(&whole[..whole.len() - 3])).is_err());
        let error = deaggregate(aggregate(&protobuf(&[b"x"], 7))).unwrap_err();
        assert!(error.to_string().ends_with("partition key 7 is named, but the table holds 1"), "{error}");
    }

    #[test]
    fn a_record_without_its_required_fields_is_damaged() {
        let why = "the aggregated record cannot be split: a record lacks its partition key or its data";
        // No field at all, the key only, the data only.
        for record in [&b"\x1a\x00"[..], b"\x1a\x02\x08\x00", b"\x1a\x02\x1a\x00"] {
            let protobuf = [b"\x0a\x01k", record].concat();
            assert_eq!(deaggregate(aggregate(&protobuf)).unwrap_err().to_string(), why);
        }
        let protobuf = [&b"\x0a\x01k"[..], &b"\x1a\x00".repeat(100_000)].concat();
        assert!(user_records(&aggregate(&protobuf)).is_err());
    }

    #[test]
    fn damage_is_described() {
        let cases: [(&[u8], &str); 8] = [
            (b"\x1a\x06\x0a\x01k\x1a\x01x", "a field of a record has another type than in the format"),
            (b"\x08\x07", "a field has another type than in the format"),
            // Tags of the field 0 with each type, and one that takes more than 32 bits.
            (b"\x00\x00", "a field has no valid number"),
            (b"\x02\x01x", "a field has no valid number"),
            (b"\x80\x80\x80\x80\x10\x00", "a field has no valid number"),
            (b"\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", "a number takes more than 64 bits"),
            (b"\x0a\x05k", "a field ends after the end of what holds it"),
            (b"\x4b", "a field has the type 3, which the format does not use"),
        ];
        for (protobuf, why) in cases {
            let Err(Damaged(said)) = user_records(&aggregate(protobuf)) else { panic!("{protobuf:?}") };
            assert_eq!(said, why, "{protobuf:?}");
        }
        // The largest number that there is, in a field of a later version.
        let largest = b"\x48\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        assert_eq!(deaggregate(aggregate(largest)).unwrap(), [""; 0]);
    }

    /// As `prost` reads it, which checks neither the required fields nor the keys.
    fn as_prost_reads_it(protobuf: &[u8]) -> Option<Vec<Bytes>> {
        let aggregate = AggregatedRecord::decode(protobuf).ok()?;
        Some(aggregate.records.into_iter().map(|record| record.data).collect())
    }

    proptest! {
        #[test]
        fn any_protobuf_is_read_as_prost_reads_it_or_is_damaged(
            fields in vec(prop_oneof![
                Just(b"\x0a\x01k".to_vec()),
                Just(b"\x12\x01h".to_vec()),
                Just(b"\x1a\x05\x08\x00\x1a\x01x".to_vec()),
                Just(b"\x1a\x07\x1a\x01y\x08\x00\x10\x00".to_vec()),
                Just(b"\x1a\x09\x08\x00\x1a\x01x\x1a\x02zz".to_vec()),
                Just(b"\x1a\x04\x08\x00\x1a\x00".to_vec()),
                Just(b"\x4a\x03new".to_vec()),
                vec(any::<u8>(), 0..6),
            ], 0..8),
        ) {
            let protobuf = fields.concat();
            match deaggregate(aggregate(&protobuf)) {
                // An empty one is too short to be an aggregate.
                Ok(_) if protobuf.is_empty() => {}
                Ok(records) => prop_assert_eq!(Some(records), as_prost_reads_it(&protobuf)),
                Err(_) => {}
            }
        }

        #[test]
        fn aggregated_records_are_split_again(records in vec(vec(any::<u8>(), 0..40), 1..20)) {
            let records: Vec<Bytes> = records.into_iter().map(Bytes::from).collect();
            let keys = ["a", "b"].iter().copied().cycle();
            let whole = super::aggregate("7", keys.zip(&records));
            prop_assert_eq!(deaggregate(whole.into()).unwrap(), records);
        }
    }
}
