//! A bucket that behaves like S3, with the notifications of an inbox.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    ops::Deref,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use ingest::{
    checkpoint::{Checkpoints, Own},
    s3::{Object, ObjectVersion, Objects},
};
use md5::{Digest, Md5};
use serde_json::{Value, json};
use shared::delivery::{Failure, Fault};

use crate::fixture;

/// The bucket of the fixtures.
pub const BUCKET: &str = "perishable-inbox-eu-west-1-000000000000-dev";

/// A bucket that producers and readers of objects share.
#[derive(Clone, Default)]
pub struct Inbox(Rc<Bucket>);

impl Deref for Inbox {
    type Target = Bucket;

    fn deref(&self) -> &Bucket {
        &self.0
    }
}

/// A bucket that sends a notification for each object. It has versions by default.
pub struct Bucket {
    puts: RefCell<BTreeMap<String, Vec<Put>>>,
    count: Cell<u64>,
    newest: Cell<usize>,
    /// Events of ingest's own objects that no test has removed yet, in order.
    pub notified: RefCell<VecDeque<String>>,
    /// Whether puts make versions.
    pub versioned: Cell<bool>,
    /// Whether downloads have a size.
    pub tells_size: Cell<bool>,
    /// The bytes of a chunk.
    pub chunk_bytes: Cell<usize>,
    /// The time that each chunk takes.
    pub chunk_takes: Cell<Duration>,
    /// The byte at which the next download is interrupted.
    pub breaks_at: Cell<Option<usize>>,
    /// Whether checkpoints and continuations are refused.
    pub refuses_puts: Cell<bool>,
    /// Downloads, each with its first byte.
    pub opened: RefCell<Vec<(String, u64)>>,
}

#[derive(Clone)]
struct Put {
    version: String,
    etag: String,
    metadata: Vec<(String, String)>,
    content: Bytes,
}

/// An object being read.
pub struct Download {
    metadata: Vec<(String, String)>,
    size: Option<u64>,
    content: Bytes,
    chunk_bytes: usize,
    chunk_takes: Duration,
    /// The bytes before it is interrupted.
    breaks_after: Option<usize>,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            puts: RefCell::default(),
            count: Cell::default(),
            newest: Cell::default(),
            notified: RefCell::default(),
            versioned: Cell::new(true),
            tells_size: Cell::new(true),
            chunk_bytes: Cell::new(64 * 1024),
            chunk_takes: Cell::default(),
            breaks_at: Cell::default(),
            refuses_puts: Cell::default(),
            opened: RefCell::default(),
        }
    }
}

impl Bucket {
    /// Puts an object and returns its event, which is not added to `notified`.
    pub fn put(&self, key: &str, content: impl Into<Bytes>) -> String {
        self.put_with(key, content, &[])
    }

    /// Puts an object with metadata, among them `Content-Type`.
    pub fn put_with(&self, key: &str, content: impl Into<Bytes>, metadata: &[(&str, &str)]) -> String {
        let content = content.into();
        let number = self.count.get() + 1;
        self.count.set(number);
        self.newest.set(content.len());
        let mut etag = format!("{:x?}", Md5::digest(&content).as_slice());
        etag.retain(|character| character.is_ascii_hexdigit());
        let metadata =
            metadata.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let put = Put { version: format!("version-{number}"), etag, metadata, content };
        let event = self.event(key, &put, number);
        let mut puts = self.puts.borrow_mut();
        let versions = puts.entry(key.to_owned()).or_default();
        if !self.versioned.get() {
            versions.clear();
        }
        versions.push(put);
        event
    }

    /// The keys of the objects that ingest put there itself.
    pub fn own(&self, own: Own) -> Vec<String> {
        self.puts.borrow().keys().filter(|key| Own::by_name(key) == Some(own)).cloned().collect()
    }

    /// The content of the newest version of an object.
    ///
    /// # Panics
    ///
    /// When there is none.
    pub fn content(&self, key: &str) -> Bytes {
        let puts = self.puts.borrow();
        let Some(put) = puts.get(key).and_then(|versions| versions.last()) else { panic!("{key}") };
        put.content.clone()
    }

    /// The bytes of the newest object.
    pub fn newest(&self) -> usize {
        self.newest.get()
    }

    /// Deletes an object, as its expiry does.
    pub fn delete(&self, key: &str) {
        self.puts.borrow_mut().remove(key);
    }

    /// The event of a put, as S3 writes it.
    fn event(&self, key: &str, put: &Put, number: u64) -> String {
        let mut event: Value =
            serde_json::from_str(&fixture("ingest-s3")).unwrap_or_else(|error| panic!("{error}"));
        let s3 = &mut event["Records"][0]["s3"];
        let encoded: String = key.bytes().map(encode).collect();
        s3["object"] = json!({"key": encoded, "size": put.content.len(), "eTag": put.etag, "sequencer": format!("{number:016X}")});
        if self.versioned.get() {
            s3["object"]["versionId"] = json!(put.version);
        }
        event.to_string()
    }

    fn find(&self, object: &ObjectVersion) -> Result<Put, Failure> {
        let puts = self.puts.borrow();
        let missing = || failure(format!("there is no object {}", object.name()));
        let versions = puts.get(&object.key).ok_or_else(missing)?;
        if let Some(version) = &object.version_id {
            return versions.iter().find(|put| put.version == *version).cloned().ok_or_else(missing);
        }
        let newest = versions.last().cloned().ok_or_else(missing)?;
        match &object.etag {
            Some(etag) if *etag != newest.etag => {
                Err(failure(format!("{} was answered with PreconditionFailed (status 412)", object.name())))
            }
            _ => Ok(newest),
        }
    }
}

/// A byte of a key as S3 writes it in an event.
fn encode(byte: u8) -> String {
    match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"/.-_".contains(&byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    }
}

fn failure(detail: String) -> Failure {
    Failure { fault: Fault::Permanent, detail }
}

impl Objects for Inbox {
    type Object = Download;

    async fn open(&self, object: &ObjectVersion, from: u64) -> Result<Download, Failure> {
        let put = self.find(object)?;
        self.opened.borrow_mut().push((object.key.clone(), from));
        let size = put.content.len();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        if from > 0 && from >= size && self.tells_size.get() {
            return Err(failure(format!("{} was answered with InvalidRange (status 416)", object.name())));
        }
        let breaks_at = self.breaks_at.get().filter(|at| (from..size).contains(at));
        if breaks_at.is_some() {
            self.breaks_at.set(None);
        }
        Ok(Download {
            metadata: put.metadata,
            size: self.tells_size.get().then_some(size as u64),
            content: put.content.slice(from.min(size)..),
            chunk_bytes: self.chunk_bytes.get(),
            chunk_takes: self.chunk_takes.get(),
            breaks_after: breaks_at.map(|at| at - from),
        })
    }
}

impl Object for Download {
    fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn size(&self) -> Option<u64> {
        self.size
    }

    fn content_type(&self) -> Option<&str> {
        // Metadata of users never have this name, since S3 makes theirs lower case.
        self.metadata("Content-Type")
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        if self.content.is_empty() {
            return Ok(None);
        }
        if !self.chunk_takes.is_zero() {
            tokio::time::sleep(self.chunk_takes).await;
        }
        let most = self.breaks_after.unwrap_or(usize::MAX);
        if most == 0 {
            return Err(Failure {
                fault: Fault::Transient,
                detail: "the download was interrupted".to_owned(),
            });
        }
        let bytes = self.chunk_bytes.min(self.content.len()).min(most);
        self.breaks_after = self.breaks_after.map(|most| most - bytes);
        Ok(Some(self.content.split_to(bytes)))
    }
}

impl Checkpoints for Inbox {
    async fn load(&self, _bucket: &str, name: &str) -> Result<Option<Bytes>, Failure> {
        Ok(self.puts.borrow().get(name).and_then(|versions| versions.last()).map(|put| put.content.clone()))
    }

    async fn save(&self, _bucket: &str, name: &str, checkpoint: Bytes) -> Result<(), Failure> {
        assert!(name.len() <= 1_024, "a key of S3 has at most 1,024 bytes");
        if self.refuses_puts.get() {
            return Err(failure(format!("the role may not do s3:PutObject on {name}")));
        }
        let event = self.put(name, checkpoint);
        self.notified.borrow_mut().push_back(event);
        Ok(())
    }
}
