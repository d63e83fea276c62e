//! Ports that swallow: requests are made ready as for the services, counted, and sent nowhere.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hint::black_box,
};

use aws_sdk_cloudwatch::config::BehaviorVersion;
use bytes::Bytes;
use ingest::{
    checkpoint::{Checkpoints, Own},
    s3::{Object, ObjectVersion, Objects},
};
use shared::delivery::{Answer, Failure, Limits, Service};
use transform::{glue::Catalog, partitions::Partition};

/// A service that takes every request, within the limits of the real one.
pub(crate) struct Swallow<S: Service> {
    service: S,
    /// What was taken, where it is kept.
    pub(crate) taken: RefCell<Vec<S::Entry>>,
    /// Whether it is kept.
    pub(crate) keeps: Cell<bool>,
    /// Requests made.
    pub(crate) requests: Cell<u64>,
    /// Entries in them.
    pub(crate) entries: Cell<u64>,
}

impl<S: Service> Swallow<S>
where
    S::Entry: Clone,
{
    /// Takes what is meant for `service`.
    pub(crate) fn new(service: S) -> Self {
        Self {
            service,
            taken: RefCell::default(),
            keeps: Cell::default(),
            requests: Cell::default(),
            entries: Cell::default(),
        }
    }
}

impl<S: Service> Service for Swallow<S>
where
    S::Entry: Clone,
{
    type Entry = S::Entry;

    fn limits(&self) -> Limits {
        self.service.limits()
    }

    fn size(&self, entry: &S::Entry) -> usize {
        self.service.size(entry)
    }

    async fn send(&self, entries: &[&S::Entry]) -> Answer {
        self.requests.set(self.requests.get() + 1);
        self.entries.set(self.entries.get() + black_box(entries).len() as u64);
        if self.keeps.get() {
            self.taken.borrow_mut().extend(entries.iter().map(|entry| (*entry).clone()));
        }
        Ok(Vec::new())
    }
}

/// A Glue catalog that registers everything.
#[derive(Default)]
pub(crate) struct Register {
    /// Calls made.
    pub(crate) calls: Cell<u64>,
}

impl Catalog for Register {
    async fn register(&self, partitions: &[Partition]) -> Result<Vec<Partition>, Failure> {
        // The table is read once for each container, then a call registers them.
        self.calls.set(self.calls.get() + 2);
        Ok(partitions.to_vec())
    }
}

/// One object, in chunks such as they come off the network: a header, and a block of rows over and over.
pub(crate) struct Inbox {
    header: Bytes,
    block: Bytes,
    blocks: u64,
    /// The checkpoints that were kept, by name.
    checkpoints: RefCell<HashMap<String, Bytes>>,
    /// The rest of the object that was put last.
    pub(crate) rest: RefCell<Option<String>>,
}

const CHUNK: usize = 64 * 1024;

impl Inbox {
    /// An object that holds that text once.
    pub(crate) fn once(text: Bytes) -> Self {
        Self {
            header: Bytes::new(),
            block: text,
            blocks: 1,
            checkpoints: RefCell::default(),
            rest: RefCell::default(),
        }
    }

    /// An object that holds the rows of that CSV so many times.
    pub(crate) fn repeated(csv: &Bytes, blocks: u64) -> Self {
        let header = csv.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Self {
            header: csv.slice(..header),
            block: csv.slice(header..),
            blocks,
            checkpoints: RefCell::default(),
            rest: RefCell::default(),
        }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.header.len() as u64 + self.block.len() as u64 * self.blocks
    }
}

pub(crate) struct Held {
    rest: Bytes,
    block: Bytes,
    blocks: u64,
}

impl Objects for Inbox {
    type Object = Held;

    async fn open(&self, _object: &ObjectVersion, from: u64) -> Result<Held, Failure> {
        let (header, block) = (self.header.len() as u64, self.block.len() as u64);
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        if from < header {
            let rest = self.header.slice(within(from)..);
            return Ok(Held { rest, block: self.block.clone(), blocks: self.blocks });
        }
        let (passed, at) = ((from - header) / block, (from - header) % block);
        if passed >= self.blocks {
            return Ok(Held { rest: Bytes::new(), block: Bytes::new(), blocks: 0 });
        }
        let rest = self.block.slice(within(at)..);
        Ok(Held { rest, block: self.block.clone(), blocks: self.blocks - passed - 1 })
    }
}

impl Object for Held {
    fn metadata(&self, _name: &str) -> Option<&str> {
        None
    }

    fn size(&self) -> Option<u64> {
        None
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.rest.is_empty() && self.blocks > 0 {
            self.blocks -= 1;
            self.rest = self.block.clone();
        }
        let chunk = self.rest.split_to(CHUNK.min(self.rest.len()));
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

impl Checkpoints for Inbox {
    async fn load(&self, _bucket: &str, name: &str) -> Result<Option<Bytes>, Failure> {
        Ok(self.checkpoints.borrow().get(name).cloned())
    }

    async fn save(&self, _bucket: &str, name: &str, checkpoint: Bytes) -> Result<(), Failure> {
        self.checkpoints.borrow_mut().insert(name.to_owned(), checkpoint);
        if Own::by_name(name) == Some(Own::Continuation) {
            self.rest.replace(Some(name.to_owned()));
        }
        Ok(())
    }
}

/// Clients that are never called.
pub(crate) mod clients {
    use super::BehaviorVersion;

    pub(crate) fn kinesis() -> aws_sdk_kinesis::Client {
        let config = aws_sdk_kinesis::Config::builder().behavior_version(BehaviorVersion::latest());
        aws_sdk_kinesis::Client::from_conf(config.build())
    }

    pub(crate) fn firehose() -> aws_sdk_firehose::Client {
        let config = aws_sdk_firehose::Config::builder().behavior_version(BehaviorVersion::latest());
        aws_sdk_firehose::Client::from_conf(config.build())
    }

    pub(crate) fn cloudwatch() -> aws_sdk_cloudwatch::Client {
        let config = aws_sdk_cloudwatch::Config::builder().behavior_version(BehaviorVersion::latest());
        aws_sdk_cloudwatch::Client::from_conf(config.build())
    }

    pub(crate) fn sns() -> aws_sdk_sns::Client {
        let config = aws_sdk_sns::Config::builder().behavior_version(BehaviorVersion::latest());
        aws_sdk_sns::Client::from_conf(config.build())
    }
}
