//! A Kinesis data stream: shards, their ranges of hash keys, and sequence numbers.

use std::cell::{Cell, Ref, RefCell};

use bytes::Bytes;
use md5::{Digest, Md5};
use shared::stream::StreamRecord;
use tokio::{sync::Notify, time::Instant};

/// A stream that keeps its records until the end of the simulation.
pub struct Stream {
    /// Its name.
    pub name: &'static str,
    shards: RefCell<Vec<Shard>>,
    taken: Cell<u64>,
    closed: Cell<bool>,
    changed: Notify,
}

/// A shard, which accepts records in its range of hash keys until it is split or merged.
struct Shard {
    first_hash_key: u128,
    last_hash_key: u128,
    /// Its parents, which are read first.
    parents: Vec<usize>,
    is_open: bool,
    records: Vec<Stored>,
}

/// A record of a shard.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Its position among all records of the stream, in order of arrival.
    pub position: u64,
    /// The partition key, which decides the batch of the record.
    pub partition_key: String,
    /// Its place: the explicit hash key, or the hash of the partition key.
    pub hash_key: u128,
    /// The record itself.
    pub data: Bytes,
    /// Its time of arrival.
    pub arrived: Instant,
}

impl Stored {
    /// Its sequence number, as long as those of the service: too long for any integer type.
    #[must_use]
    pub fn sequence_number(&self) -> String {
        format!("49{:054}", self.position)
    }

    /// Its lane of the `lanes` parallel batches of a shard, decided by its key.
    #[must_use]
    pub fn lane(&self, lanes: usize) -> usize {
        usize::from(Md5::digest(&self.partition_key)[15]) % lanes
    }
}

/// The hash key of a partition key.
#[must_use]
pub fn hash_key_of(partition_key: &str) -> u128 {
    u128::from_be_bytes(Md5::digest(partition_key).into())
}

impl Stream {
    /// A stream whose shards share the hash keys evenly.
    #[must_use]
    pub fn new(name: &'static str, shards: usize) -> Self {
        let count = shards as u128;
        let first = |shard: u128| u128::MAX / count * shard;
        let shards = (0..count).map(|shard| {
            let last = if shard + 1 == count { u128::MAX } else { first(shard + 1) - 1 };
            Shard::new(first(shard), last, Vec::new())
        });
        Self {
            name,
            shards: RefCell::new(shards.collect()),
            taken: Cell::default(),
            closed: Cell::default(),
            changed: Notify::new(),
        }
    }

    /// Accepts a record.
    ///
    /// # Panics
    ///
    /// When its explicit hash key is not a number below 2^128, which the service refuses.
    pub fn put(&self, record: &StreamRecord) {
        let position = self.taken.get();
        self.taken.set(position + 1);
        let partition_key = record.partition_key().to_owned();
        let explicit = record.explicit_hash_key().map(|key| {
            key.parse().unwrap_or_else(|_| panic!("`{key}` is not a number below 2^128, as hash keys are"))
        });
        let hash_key = explicit.unwrap_or_else(|| hash_key_of(&partition_key));
        let (data, arrived) = (record.data.clone(), Instant::now());
        let mut shards = self.shards.borrow_mut();
        // The open shards cover all hash keys.
        if let Some(shard) = shards.iter_mut().find(|shard| shard.is_open && shard.holds(hash_key)) {
            shard.records.push(Stored { position, partition_key, hash_key, data, arrived });
        }
        self.changed.notify_waiters();
    }

    /// Splits one of the open shards in the middle; false if it holds a single hash key.
    pub fn split(&self, choice: usize) -> bool {
        let open = self.open();
        self.split_shard(open[choice % open.len()])
    }

    /// Splits an open shard in the middle; false if it holds a single hash key.
    pub fn split_shard(&self, parent: usize) -> bool {
        let mut shards = self.shards.borrow_mut();
        let (first, last) = (shards[parent].first_hash_key, shards[parent].last_hash_key);
        if first == last {
            return false;
        }
        let middle = first + (last - first) / 2;
        shards[parent].is_open = false;
        shards.push(Shard::new(first, middle, vec![parent]));
        shards.push(Shard::new(middle + 1, last, vec![parent]));
        self.changed.notify_waiters();
        true
    }

    /// Merges two adjacent open shards; false if there is only one.
    pub fn merge(&self, choice: usize) -> bool {
        let open = self.open();
        let mut shards = self.shards.borrow_mut();
        let neighbours: Vec<&[usize]> = open.windows(2).collect();
        let Some([left, right]) = neighbours.get(choice % neighbours.len().max(1)) else { return false };
        let (left, right) = (*left, *right);
        let (first, last) = (shards[left].first_hash_key, shards[right].last_hash_key);
        shards[left].is_open = false;
        shards[right].is_open = false;
        shards.push(Shard::new(first, last, vec![left, right]));
        self.changed.notify_waiters();
        true
    }

    /// Closes the stream: no more records arrive.
    pub fn close(&self) {
        self.closed.set(true);
        self.changed.notify_waiters();
    }

    /// Whether the stream is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Whether a shard gets no more records: it was split or merged, or the stream is closed.
    #[must_use]
    pub fn is_at_end(&self, shard: usize) -> bool {
        self.is_closed() || !self.shards.borrow()[shard].is_open
    }

    /// Waits for another record, another shard, or the end.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The number of shards, including closed ones.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.borrow().len()
    }

    /// The parents of a shard.
    #[must_use]
    pub fn parents(&self, shard: usize) -> Ref<'_, [usize]> {
        Ref::map(self.shards.borrow(), |shards| shards[shard].parents.as_slice())
    }

    /// The records of a shard, in order.
    #[must_use]
    pub fn shard(&self, shard: usize) -> Ref<'_, [Stored]> {
        Ref::map(self.shards.borrow(), |shards| shards[shard].records.as_slice())
    }

    /// The open shards, in the order of their hash keys.
    #[must_use]
    pub fn open(&self) -> Vec<usize> {
        let shards = self.shards.borrow();
        let mut open: Vec<usize> = (0..shards.len()).filter(|shard| shards[*shard].is_open).collect();
        open.sort_by_key(|shard| shards[*shard].first_hash_key);
        open
    }

    /// The first hash key of a shard.
    #[must_use]
    pub fn first_hash_key(&self, shard: usize) -> u128 {
        self.shards.borrow()[shard].first_hash_key
    }

    /// Whether a shard accepts records of a hash key.
    #[must_use]
    pub fn holds(&self, shard: usize, hash_key: u128) -> bool {
        self.shards.borrow()[shard].holds(hash_key)
    }

    /// All records, in order of arrival.
    #[must_use]
    pub fn records(&self) -> Vec<Stored> {
        let shards = self.shards.borrow();
        let mut records: Vec<Stored> = shards.iter().flat_map(|shard| shard.records.clone()).collect();
        records.sort_by_key(|record| record.position);
        records
    }
}

impl Shard {
    fn new(first_hash_key: u128, last_hash_key: u128, parents: Vec<usize>) -> Self {
        Self { first_hash_key, last_hash_key, parents, is_open: true, records: Vec::new() }
    }

    fn holds(&self, hash_key: u128) -> bool {
        (self.first_hash_key..=self.last_hash_key).contains(&hash_key)
    }
}
