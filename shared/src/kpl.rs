//! Records aggregated as the Kinesis Producer Library does it, put together and taken apart.
//!
//! Source: "KPL aggregated record format", `aggregation-format.md` of `awslabs/amazon-kinesis-producer`.

use std::collections::HashMap;

use bytes::Bytes;
use md5::{Digest, Md5};
use prost::Message;

/// What an aggregated record begins with.
const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];
/// Bytes of the MD5 digest at its end.
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

/// The digest fits, so the record is an aggregated one, but it does not come apart.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the aggregated record does not come apart: {0}")]
pub struct Damaged(String);

/// Whether a record may be an aggregated one, by what it begins with.
#[must_use]
pub(crate) fn may_be_aggregated(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

/// The user records in `data`: the record itself where it is not aggregated.
///
/// A record is aggregated only when its magic and its digest fit; otherwise it is an ordinary one, taken as it is.
pub fn deaggregate(data: Bytes) -> Result<Vec<Bytes>, Damaged> {
    let Some(protobuf) = aggregated(&data) else { return Ok(vec![data]) };
    let aggregate = AggregatedRecord::decode(protobuf).map_err(|error| Damaged(error.to_string()))?;
    let keys = aggregate.partition_key_table.len();
    if let Some(record) = aggregate.records.iter().find(|record| record.partition_key_index >= keys as u64) {
        let index = record.partition_key_index;
        return Err(Damaged(format!("partition key {index} is named, but the table holds {keys}")));
    }
    Ok(aggregate.records.into_iter().map(|record| record.data).collect())
}

/// An aggregated record of the user records, each under its partition key, all of them under one explicit hash key.
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

/// The bytes that a user record takes in an aggregated one, at most: its key is written once however often it comes.
#[must_use]
pub fn entry_bytes(key: &str, data: &Bytes) -> usize {
    /// Tags and lengths of the key, the record and its data, and its indexes.
    const FRAME: usize = 20;
    key.len() + data.len() + FRAME
}

/// The protobuf of an aggregated record.
fn aggregated(data: &Bytes) -> Option<Bytes> {
    if data.len() <= MAGIC.len() + DIGEST || !data.starts_with(&MAGIC) {
        return None;
    }
    let protobuf = data.slice(MAGIC.len()..data.len() - DIGEST);
    (Md5::digest(&protobuf)[..] == data[data.len() - DIGEST..]).then_some(protobuf)
}

#[cfg(test)]
mod tests {
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
    fn an_aggregated_record_comes_apart_in_order() {
        let records: [&[u8]; 3] = [b"{\"ID\":\"1\"}", b"", b"{\"ID\":\"3\"}"];
        assert_eq!(deaggregate(aggregate(&protobuf(&records, 0))).unwrap(), records);
    }

    #[test]
    fn a_record_whose_magic_length_or_digest_does_not_fit_is_taken_as_it_is() {
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
}
