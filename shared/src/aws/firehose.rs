//! Firehose as a service of [`crate::delivery`].

use aws_config::SdkConfig;
use bytes::Bytes;

use super::{
    endpoint::ServiceName,
    put::{Names, Put},
};
use crate::delivery::{Answer, Limits, Service};

/// Limits of `PutRecordBatch`.
///
/// Source: Firehose API reference, `PutRecordBatch`.
const PUT_RECORD_BATCH: Limits =
    Limits { entries: 500, request_bytes: 4 * 1024 * 1024, entry_bytes: 1_000 * 1024 };

const NAMES: Names = Names {
    service: ServiceName { id: "Firehose", host: "firehose" },
    target: "Firehose_20150804.PutRecordBatch",
    action: "firehose:PutRecordBatch",
    destination: "DeliveryStreamName",
};

/// A delivery stream to write to; an entry is one record with its line feed.
#[derive(Debug)]
pub struct DeliveryStream {
    put: Put,
}

impl DeliveryStream {
    /// The delivery stream of that name.
    #[must_use]
    pub fn new(config: &SdkConfig, name: &str) -> Self {
        Self { put: Put::new(config, NAMES, name, format!("delivery stream {name}")) }
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
        let mut body = self.put.body();
        for entry in entries {
            body.record(entry, []);
        }
        self.put.send(body).await
    }
}
