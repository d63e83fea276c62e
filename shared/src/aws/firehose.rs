//! Firehose as a service of [`crate::delivery`].

use aws_sdk_firehose::{
    Client,
    primitives::Blob,
    types::{PutRecordBatchResponseEntry, Record},
};
use bytes::Bytes;

use super::{EntryResult, Operation};
use crate::delivery::{Answer, Failure, Fault, Limits, Service};

/// Limits of `PutRecordBatch`.
///
/// Source: Firehose API reference, `PutRecordBatch`.
const PUT_RECORD_BATCH: Limits =
    Limits { entries: 500, request_bytes: 4 * 1024 * 1024, entry_bytes: 1_000 * 1024 };

/// A delivery stream to write to; an entry is one record with its line feed.
#[derive(Debug, Clone)]
pub struct DeliveryStream {
    client: Client,
    name: String,
    resource: String,
}

impl DeliveryStream {
    /// The delivery stream of that name.
    #[must_use]
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned(), resource: format!("delivery stream {name}") }
    }
}

impl Service for DeliveryStream {
    type Entry = Bytes;

    fn limits(&self) -> Limits {
        PUT_RECORD_BATCH
    }

    fn size(&self, entry: &Bytes) -> usize {
        entry.len()
    }

    async fn send(&self, entries: &[&Bytes]) -> Answer {
        let request = Operation { action: "firehose:PutRecordBatch", resource: &self.resource };
        let records = entries
            .iter()
            .map(|entry| Record::builder().data(Blob::new(entry.as_ref())).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| Failure { fault: Fault::Permanent, detail: error.to_string() })?;
        let answer = self
            .client
            .put_record_batch()
            .delivery_stream_name(&self.name)
            .set_records(Some(records))
            .send()
            .await;
        match answer {
            Ok(answer) => Ok(request.refusals(results(entries.len(), answer.request_responses()))),
            Err(error) => Err(request.failure(&error)),
        }
    }
}

/// The results of a request, in the order of its entries. An accepted record has an id.
fn results(sent: usize, records: &[PutRecordBatchResponseEntry]) -> impl Iterator<Item = EntryResult<'_>> {
    (0..sent).map(|index| {
        let Some(record) = records.get(index) else { return EntryResult::Missing };
        match (record.error_code(), record.record_id()) {
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
        let taken = PutRecordBatchResponseEntry::builder().record_id("1").build();
        let refused =
            PutRecordBatchResponseEntry::builder().error_code("ServiceUnavailableException").build();
        let unknown = PutRecordBatchResponseEntry::builder().build();
        let records = [refused, taken, unknown];
        let expected = [
            EntryResult::Refused { code: "ServiceUnavailableException", at_fault: false },
            EntryResult::Taken,
            EntryResult::Missing,
            EntryResult::Missing,
        ];
        for sent in 0..=4 {
            assert_eq!(results(sent, &records).collect::<Vec<_>>(), expected[..sent]);
        }
    }
}
