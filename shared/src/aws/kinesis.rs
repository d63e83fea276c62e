//! Kinesis Data Streams as a service of [`crate::delivery`].

use aws_sdk_kinesis::{
    Client,
    primitives::Blob,
    types::{PutRecordsRequestEntry, PutRecordsResultEntry},
};

use super::{EntryResult, Operation};
use crate::delivery::{Answer, Failure, Fault, Limits, Service};
use crate::stream::StreamRecord;

/// Limits of `PutRecords`, including partition keys; a record has the default `MaxRecordSize`.
///
/// Source: Kinesis Data Streams API reference, `PutRecords`.
const PUT_RECORDS: Limits =
    Limits { entries: 500, request_bytes: 10 * 1024 * 1024, entry_bytes: 1024 * 1024 };
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
        entry.partition_key().len() + entry.data.len()
    }

    async fn send(&self, entries: &[&StreamRecord]) -> Answer {
        let request = Operation { action: "kinesis:PutRecords", resource: &self.resource };
        let records = entries
            .iter()
            .map(|entry| {
                PutRecordsRequestEntry::builder()
                    .partition_key(entry.partition_key())
                    .set_explicit_hash_key(entry.explicit_hash_key().map(str::to_owned))
                    .data(Blob::new(entry.data.as_ref()))
                    .build()
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure { fault: Fault::Permanent, detail: error.to_string() })?;
        let answer =
            self.client.put_records().stream_name(&self.name).set_records(Some(records)).send().await;
        match answer {
            Ok(answer) => Ok(request.refusals(results(entries.len(), answer.records()))),
            Err(error) => Err(request.failure(&error)),
        }
    }
}

/// The results of a request, in the order of its entries. An accepted record has a sequence number.
fn results(sent: usize, records: &[PutRecordsResultEntry]) -> impl Iterator<Item = EntryResult<'_>> {
    (0..sent).map(|index| {
        let Some(record) = records.get(index) else { return EntryResult::Missing };
        match (record.error_code(), record.sequence_number()) {
            (Some(code), _) => EntryResult::Refused { code, at_fault: false },
            (None, Some(_)) => EntryResult::Taken,
            (None, None) => EntryResult::Missing,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_follow_the_entries() {
        let taken = PutRecordsResultEntry::builder().sequence_number("1").build();
        let refused = PutRecordsResultEntry::builder().error_code("InternalFailure").build();
        let unknown = PutRecordsResultEntry::builder().build();
        let records = [taken.clone(), refused, unknown, taken];
        let expected = [
            EntryResult::Taken,
            EntryResult::Refused { code: "InternalFailure", at_fault: false },
            EntryResult::Missing,
            EntryResult::Taken,
            EntryResult::Missing,
        ];
        for sent in 0..=5 {
            assert_eq!(results(sent, &records).collect::<Vec<_>>(), expected[..sent]);
        }
    }
}
