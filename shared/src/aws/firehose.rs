//! Firehose as a service of [`crate::delivery`].

use aws_sdk_firehose::{
    Client,
    primitives::Blob,
    types::{PutRecordBatchResponseEntry, Record},
};
use bytes::Bytes;

use super::Request;
use crate::delivery::{Answer, Failure, Fault, Limits, Refusal, Service};

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
        let request = Request { action: "firehose:PutRecordBatch", resource: &self.resource };
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
            Ok(answer) => Ok(refusals(request, answer.request_responses())),
            Err(error) => Err(request.failure(&error)),
        }
    }
}

/// The refused records of an answer, by position.
fn refusals(request: Request<'_>, records: &[PutRecordBatchResponseEntry]) -> Vec<Refusal> {
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

    #[test]
    fn refused_records_are_found_by_their_position() {
        let entry = |code: Option<&str>| {
            PutRecordBatchResponseEntry::builder().set_error_code(code.map(str::to_owned)).build()
        };
        let request = Request { action: "firehose:PutRecordBatch", resource: "delivery stream d" };
        let refused =
            refusals(request, &[entry(None), entry(Some("ServiceUnavailableException")), entry(None)]);
        assert_eq!(refused.len(), 1);
        assert_eq!((refused[0].index, refused[0].failure.fault), (1, Fault::Throttled));
    }
}
