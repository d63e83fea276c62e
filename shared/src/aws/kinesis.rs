//! Kinesis Data Streams as a service of [`crate::delivery`].

use aws_sdk_kinesis::{
    Client,
    primitives::Blob,
    types::{PutRecordsRequestEntry, PutRecordsResultEntry},
};
use bytes::Bytes;

use super::Request;
use crate::delivery::{Answer, Failure, Fault, Limits, Refusal, Service};

/// Limits of `PutRecords`, partition keys counted in; a record of the default `MaxRecordSize`.
///
/// Source: Kinesis Data Streams API reference, `PutRecords`.
const PUT_RECORDS: Limits =
    Limits { entries: 500, request_bytes: 10 * 1024 * 1024, entry_bytes: 1024 * 1024 };
/// Characters of a partition key.
///
/// Source: Kinesis Data Streams API reference, `PutRecordsRequestEntry`.
const PARTITION_KEY_CHARS: usize = 256;

/// A record for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    partition_key: String,
    explicit_hash_key: Option<String>,
    /// The record itself.
    pub data: Bytes,
}

impl StreamRecord {
    /// A record under `partition_key`, cut to the characters that the service takes; must not be empty.
    #[must_use]
    pub fn new(partition_key: impl Into<String>, data: Bytes) -> Self {
        let mut partition_key = partition_key.into();
        // No more bytes are no more characters.
        if partition_key.len() > PARTITION_KEY_CHARS
            && let Some((end, _)) = partition_key.char_indices().nth(PARTITION_KEY_CHARS)
        {
            partition_key.truncate(end);
        }
        Self { partition_key, explicit_hash_key: None, data }
    }

    /// A record that is placed by a hash key of its own, a decimal number below 2^128, whatever its partition key.
    #[must_use]
    pub fn placed(partition_key: impl Into<String>, explicit_hash_key: &str, data: Bytes) -> Self {
        Self { explicit_hash_key: Some(explicit_hash_key.to_owned()), ..Self::new(partition_key, data) }
    }

    /// The hash key that places the record, where it is not that of its partition key.
    #[must_use]
    pub fn explicit_hash_key(&self) -> Option<&str> {
        self.explicit_hash_key.as_deref()
    }

    /// The key that places the record on a shard.
    #[must_use]
    pub fn partition_key(&self) -> &str {
        &self.partition_key
    }
}

/// A stream to write to.
#[derive(Debug, Clone)]
pub struct Stream {
    client: Client,
    name: String,
    resource: String,
}

impl Stream {
    /// The stream of that name.
    #[must_use]
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned(), resource: format!("stream {name}") }
    }
}

impl Service for Stream {
    type Entry = StreamRecord;

    fn limits(&self) -> Limits {
        PUT_RECORDS
    }

    fn size(&self, entry: &StreamRecord) -> usize {
        entry.partition_key.len() + entry.data.len()
    }

    async fn send(&self, entries: &[&StreamRecord]) -> Answer {
        let request = Request { action: "kinesis:PutRecords", resource: &self.resource };
        let records = entries
            .iter()
            .map(|entry| {
                PutRecordsRequestEntry::builder()
                    .partition_key(&entry.partition_key)
                    .set_explicit_hash_key(entry.explicit_hash_key.clone())
                    .data(Blob::new(entry.data.as_ref()))
                    .build()
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure { fault: Fault::Permanent, detail: error.to_string() })?;
        let answer =
            self.client.put_records().stream_name(&self.name).set_records(Some(records)).send().await;
        match answer {
            Ok(answer) => Ok(refusals(request, answer.records())),
            Err(error) => Err(request.failure(&error)),
        }
    }
}

/// The refused records of an answer, by position.
fn refusals(request: Request<'_>, records: &[PutRecordsResultEntry]) -> Vec<Refusal> {
    records
        .iter()
        .enumerate()
        .filter_map(|(index, record)| {
            let code = record.error_code()?;
            Some(Refusal { index, failure: request.refusal(code, false) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indexes(codes: &[Option<&str>]) -> Vec<usize> {
        let records: Vec<_> = codes
            .iter()
            .map(|code| PutRecordsResultEntry::builder().set_error_code(code.map(str::to_owned)).build())
            .collect();
        let request = Request { action: "kinesis:PutRecords", resource: "stream s1" };
        refusals(request, &records).into_iter().map(|refusal| refusal.index).collect()
    }

    #[test]
    fn refused_records_are_found_by_their_position() {
        let throttled = Some("ProvisionedThroughputExceededException");
        assert_eq!(indexes(&[None, None]), [0_usize; 0]);
        assert_eq!(indexes(&[None, throttled, None, Some("InternalFailure")]), [1, 3]);
        assert_eq!(indexes(&[throttled, throttled]), [0, 1]);
    }

    #[test]
    fn a_partition_key_is_cut_at_a_character() {
        let record = StreamRecord::new("ñ".repeat(300), Bytes::new());
        assert_eq!(record.partition_key().chars().count(), 256);
    }
}
