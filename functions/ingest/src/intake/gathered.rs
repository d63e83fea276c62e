//! What an intake holds between deliveries: the buffered events, and the keys whose events must wait.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use bytes::Bytes;
use shared::{delivery::IN_FLIGHT, stream::StreamRecord};

/// Events that are buffered before delivery: as many as fit into the requests in flight.
const GATHERED: usize = IN_FLIGHT * 500;
/// Bytes of events that are buffered before delivery.
const GATHERED_BYTES: usize = 4 * 1024 * 1024;
/// Partition keys up to so many bytes are never shortened.
const SHORT_KEY_BYTES: usize = 256;
/// Keys with a failed event that are remembered. Beyond this number, nothing more is sent.
const FAILED_KEYS: usize = 100_000;

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
pub(super) struct GatheredEvents {
    pub(super) text: Vec<u8>,
    /// Partition key and end of each event in `text`.
    pub(super) events: Vec<(String, usize)>,
    pub(super) places: Vec<RowPlace>,
}

impl GatheredEvents {
    /// Whether enough is buffered for a delivery.
    pub(super) fn is_full(&self) -> bool {
        self.events.len() >= GATHERED || self.text.len() >= GATHERED_BYTES
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

/// Keys with a failed event in this invocation. Their later events are not sent. Otherwise the failed event would
/// arrive after them when it is sent again.
#[derive(Debug, Default)]
pub(super) struct FailedKeys {
    hasher: RandomState,
    /// Hashes of the keys. If two keys have the same hash, both are held back.
    hashes: HashSet<u64>,
}

impl FailedKeys {
    pub(super) fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }

    pub(super) fn add(&mut self, key: &str) {
        if self.hashes.len() < FAILED_KEYS {
            self.hashes.insert(self.hasher.hash_one(key));
        }
    }

    pub(super) fn hold_back(&self, key: &str) -> bool {
        self.hashes.len() >= FAILED_KEYS || self.hashes.contains(&self.hasher.hash_one(key))
    }
}

/// A partition key as it is sent. A long one is shortened, so that it takes little memory.
pub(super) fn as_sent(key: String) -> String {
    if key.len() <= SHORT_KEY_BYTES {
        return key;
    }
    StreamRecord::new(key, Bytes::new()).partition_key().to_owned()
}
