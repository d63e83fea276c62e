//! The events that ingest buffers between deliveries.

use bytes::Bytes;
use shared::{delivery::IN_FLIGHT, stream::StreamRecord};

/// Records that a request to a stream may have.
///
/// Source: Kinesis Data Streams API reference, `PutRecords`.
const REQUEST_RECORDS: usize = 500;
/// Events that are buffered before delivery: as many as fit into the requests in flight.
const BUFFERED_EVENTS: usize = IN_FLIGHT * REQUEST_RECORDS;
/// Bytes of events that are buffered before delivery.
const BUFFERED_BYTES: usize = 4 * 1024 * 1024;
/// Partition keys up to so many bytes are never shortened.
const SHORT_KEY_BYTES: usize = 256;

/// Where a row is in its request.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowPlace {
    /// The position of its message among those of a batch.
    pub(super) group: usize,
    /// Its position in the message.
    pub(super) index: u64,
    /// The line on which it begins, from 1.
    pub(super) line: u64,
}

/// Events that wait for delivery.
#[derive(Debug, Default)]
pub(super) struct BufferedEvents {
    pub(super) text: Vec<u8>,
    /// Partition key and end of each event in `text`.
    pub(super) events: Vec<(String, usize)>,
    /// Where the row of each event is, in the order of `events`.
    pub(super) places: Vec<RowPlace>,
}

impl BufferedEvents {
    /// Whether enough is buffered for a delivery.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= BUFFERED_EVENTS || self.text.len() >= BUFFERED_BYTES
    }

    /// The events as records that share the buffered text.
    pub(super) fn take_events(&mut self, text: &Bytes) -> Vec<StreamRecord> {
        let mut begin = 0;
        std::mem::take(&mut self.events)
            .into_iter()
            .map(|(key, end)| {
                let data = text.slice(begin..end);
                begin = end;
                StreamRecord::new(key, data)
            })
            .collect()
    }
}

/// A partition key as it is sent. A long one is shortened, so that it takes little memory.
pub(super) fn as_sent(key: String) -> String {
    if key.len() <= SHORT_KEY_BYTES {
        return key;
    }
    StreamRecord::new(key, Bytes::new()).partition_key().to_owned()
}
