//! A Kinesis data stream: shards, partition keys and sequence numbers.

use std::cell::{Cell, Ref, RefCell};

use bytes::Bytes;
use md5::{Digest, Md5};
use shared::aws::StreamRecord;
use tokio::{sync::Notify, time::Instant};

/// A stream that holds what it took until the end of the simulation.
pub struct Stream {
    /// Its name.
    pub name: &'static str,
    shards: Vec<RefCell<Vec<Stored>>>,
    taken: Cell<u64>,
    closed: Cell<bool>,
    changed: Notify,
}

/// A record of a shard.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Position among all records of the stream, in the order in which it took them.
    pub position: u64,
    /// The key that places it.
    pub partition_key: String,
    /// The record itself.
    pub data: Bytes,
    /// When the stream took it.
    pub arrived: Instant,
}

impl Stored {
    /// Its sequence number: as long as those of the service, which fit no integer type.
    #[must_use]
    pub fn sequence_number(&self) -> String {
        format!("49{:054}", self.position)
    }

    /// Which of `lanes` batches of a shard that are worked on side by side it belongs to: always that of its key.
    #[must_use]
    pub fn lane(&self, lanes: usize) -> usize {
        usize::from(Md5::digest(&self.partition_key)[15]) % lanes
    }
}

impl Stream {
    /// A stream of so many shards.
    #[must_use]
    pub fn new(name: &'static str, shards: usize) -> Self {
        Self {
            name,
            shards: (0..shards).map(|_| RefCell::default()).collect(),
            taken: Cell::default(),
            closed: Cell::default(),
            changed: Notify::new(),
        }
    }

    /// Takes a record.
    pub fn put(&self, record: &StreamRecord) {
        let position = self.taken.get();
        self.taken.set(position + 1);
        let partition_key = record.partition_key().to_owned();
        // The shards share the space of the hash evenly.
        let hash = usize::from(Md5::digest(&partition_key)[0]);
        let shard = hash * self.shards.len() / 256;
        let data = record.data.clone();
        self.shards[shard].borrow_mut().push(Stored {
            position,
            partition_key,
            data,
            arrived: Instant::now(),
        });
        self.changed.notify_waiters();
    }

    /// Nothing more will come.
    pub fn close(&self) {
        self.closed.set(true);
        self.changed.notify_waiters();
    }

    /// Whether nothing more will come.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Waits for another record, or for the end.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// How many shards it has.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// The records of a shard, in order.
    #[must_use]
    pub fn shard(&self, shard: usize) -> Ref<'_, Vec<Stored>> {
        self.shards[shard].borrow()
    }

    /// All records, in the order in which the stream took them.
    #[must_use]
    pub fn records(&self) -> Vec<Stored> {
        let mut records: Vec<Stored> = self.shards.iter().flat_map(|shard| shard.borrow().clone()).collect();
        records.sort_by_key(|record| record.position);
        records
    }
}
