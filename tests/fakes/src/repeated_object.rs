//! An object of any size in little memory: a header and one repeated block.

use std::{cell::RefCell, collections::HashMap};

use bytes::Bytes;
use ingest::{
    checkpoint::{Checkpoints, Own},
    s3::{Object, ObjectVersion, Objects},
};
use shared::delivery::Failure;

/// A bucket with one object under every key, and its checkpoints.
pub struct RepeatedObject {
    header: Bytes,
    block: Bytes,
    blocks: u64,
    chunk_bytes: usize,
    checkpoints: RefCell<HashMap<String, Bytes>>,
    /// The name of the newest continuation.
    pub continuation: RefCell<Option<String>>,
}

/// The object being read.
pub struct RepeatedDownload {
    rest: Bytes,
    block: Bytes,
    blocks: u64,
    chunk_bytes: usize,
}

impl RepeatedObject {
    /// A header and `blocks` blocks, read in chunks of at most `chunk_bytes` bytes.
    #[must_use]
    pub fn new(header: Bytes, block: Bytes, blocks: u64, chunk_bytes: usize) -> Self {
        let (checkpoints, continuation) = (RefCell::default(), RefCell::default());
        Self { header, block, blocks, chunk_bytes, checkpoints, continuation }
    }

    /// Bytes of the object.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.header.len() as u64 + self.block.len() as u64 * self.blocks
    }

    fn download(&self, rest: Bytes, blocks: u64) -> RepeatedDownload {
        RepeatedDownload { rest, block: self.block.clone(), blocks, chunk_bytes: self.chunk_bytes }
    }
}

impl Objects for RepeatedObject {
    type Object = RepeatedDownload;

    async fn open(&self, _object: &ObjectVersion, from: u64) -> Result<RepeatedDownload, Failure> {
        let (header, block) = (self.header.len() as u64, self.block.len() as u64);
        let within = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        if from < header || self.block.is_empty() {
            return Ok(self.download(self.header.slice(within(from.min(header))..), self.blocks));
        }
        let (passed, at) = ((from - header) / block, (from - header) % block);
        if passed >= self.blocks {
            return Ok(self.download(Bytes::new(), 0));
        }
        Ok(self.download(self.block.slice(within(at)..), self.blocks - passed - 1))
    }
}

impl Object for RepeatedDownload {
    fn metadata(&self, _name: &str) -> Option<&str> {
        None
    }

    fn content_type(&self) -> Option<&str> {
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
        let chunk = self.rest.split_to(self.chunk_bytes.min(self.rest.len()));
        Ok((!chunk.is_empty()).then_some(chunk))
    }
}

impl Checkpoints for RepeatedObject {
    async fn load(&self, _bucket: &str, name: &str) -> Result<Option<Bytes>, Failure> {
        Ok(self.checkpoints.borrow().get(name).cloned())
    }

    async fn save(&self, _bucket: &str, name: &str, checkpoint: Bytes) -> Result<(), Failure> {
        self.checkpoints.borrow_mut().insert(name.to_owned(), checkpoint);
        if Own::by_name(name) == Some(Own::Continuation) {
            self.continuation.replace(Some(name.to_owned()));
        }
        Ok(())
    }
}
