//! Kinesis Data Streams as a service of [`crate::delivery`].

use aws_config::SdkConfig;

use super::{
    endpoint::ServiceName,
    put::{Names, Put},
};
use crate::delivery::{Answer, Limits, Service};
use crate::stream::StreamRecord;

/// Limits of `PutRecords`, including partition keys; a record has the default `MaxRecordSize`.
///
/// Source: Kinesis Data Streams API reference, `PutRecords`.
const PUT_RECORDS: Limits =
    Limits { entries: 500, request_bytes: 10 * 1024 * 1024, entry_bytes: 1024 * 1024 };

const NAMES: Names = Names {
    service: ServiceName { id: "Kinesis", host: "kinesis" },
    target: "Kinesis_20131202.PutRecords",
    action: "kinesis:PutRecords",
    destination: "StreamName",
};

/// A stream to write to.
#[derive(Debug)]
pub struct Stream {
    put: Put,
}

impl Stream {
    /// The stream of that name.
    #[must_use]
    pub fn new(config: &SdkConfig, name: &str) -> Self {
        Self { put: Put::new(config, NAMES, name, format!("stream {name}")) }
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
        let mut body = self.put.body();
        for entry in entries {
            let key = ("PartitionKey", entry.partition_key());
            let hash_key = entry.explicit_hash_key().map(|hash_key| ("ExplicitHashKey", hash_key));
            body.record(&entry.data, [key].into_iter().chain(hash_key));
        }
        self.put.send(body).await
    }
}
