//! The keys whose later events are not sent.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

/// Keys with a failed event that are remembered. Beyond this number, nothing more is sent.
const FAILED_KEYS: usize = 100_000;

/// Keys with a failed event in this invocation. Their later events are not sent. Otherwise the failed event would
/// arrive after them when it is sent again.
#[derive(Debug, Default)]
pub(super) struct FailedKeys {
    hasher: RandomState,
    /// Hashes of the keys. If two keys have the same hash, the events of both wait.
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

    /// Whether an event of that key must wait until the failed event is sent again.
    pub(super) fn must_wait(&self, key: &str) -> bool {
        self.hashes.len() >= FAILED_KEYS || self.hashes.contains(&self.hasher.hash_one(key))
    }
}
