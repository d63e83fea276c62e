//! How far an object has been taken in, noted in the inbox, so that another invocation goes on from there.
//!
//! An invocation that is retried, that runs twice, or that follows one whose time was up reads the same checkpoint and
//! does not send again what comes before it. The one that follows is started by an object, too: the continuation,
//! which names what is left to read. Ingest is notified of everything that is put into the inbox, so that it must know
//! its own objects by their names.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use shared::delivery::{Failure, Fault};
use tokio::time::Instant;

use crate::{error::IngestError, rows::Position, s3::ObjectVersion};

/// Bytes of text from which on the end of an object is noted, so that an event that arrives twice sends nothing again.
/// What is smaller is not worth a request.
pub const LARGE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of text between two checkpoints: what a retry may send again at most.
pub const INTERVAL_BYTES: u64 = 64 * 1024 * 1024;
/// The longest time kept for the last delivery and the checkpoint of an invocation; a quarter of it where it has less
/// than four times as much.
const RESERVE: Duration = Duration::from_secs(20);

/// Where checkpoints and continuations are in the inbox.
const FOLDER: &str = "checkpoints/";
/// The ending of a checkpoint's name.
const CHECKPOINT: &str = ".checkpoint";
/// The ending of a continuation's name.
const CONTINUATION: &str = ".continuation";
/// Bytes of an object's key that the names of its checkpoint and continuation repeat. S3 takes names of 1,024 bytes.
///
/// Source: S3 user guide, "Naming Amazon S3 objects".
const KEY_BYTES: usize = 900;
/// Hexadecimal digits in the names.
const DIGITS: usize = 32;

/// Where checkpoints are kept.
pub trait Checkpoints {
    /// The checkpoint of that name, if there is one.
    fn load(&self, bucket: &str, name: &str) -> impl Future<Output = Result<Option<Bytes>, Failure>>;

    /// Keeps a checkpoint in the place of an earlier one.
    fn save(&self, bucket: &str, name: &str, checkpoint: Bytes) -> impl Future<Output = Result<(), Failure>>;
}

/// How far an object has been taken in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The first row that has not been taken in.
    pub position: Position,
    /// Rows that stream 1 took.
    pub accepted: u64,
    /// Rows that are in rejects.
    pub rejected: u64,
    /// Whether that is the whole object.
    pub finished: bool,
    /// Whether the object is gzip, which can only be read from its beginning.
    pub gzip: bool,
    /// Bytes of the object, where they are known.
    pub size: Option<u64>,
}

impl Checkpoint {
    /// Whether it comes after another one of the same object.
    #[must_use]
    pub fn is_further(&self, other: &Self) -> bool {
        (self.finished, self.position.offset) > (other.finished, other.position.offset)
    }

    /// Whether nothing of the object is left to read.
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        !self.gzip && self.size.is_some_and(|size| self.position.offset >= size)
    }
}

/// What is left of an object, as an object of its own.
#[derive(Debug, Serialize, Deserialize)]
struct Continuation {
    object: ObjectVersion,
    from: Checkpoint,
}

/// What an object of the inbox is to ingest, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// The checkpoint of another object.
    Checkpoint,
    /// What is left of another object.
    Continuation,
}

impl Own {
    /// Whether the object of that key is one that ingest put itself, and which.
    #[must_use]
    pub fn by_name(key: &str) -> Option<Self> {
        let name = key.strip_prefix(FOLDER)?;
        let (own, name) = match name.strip_suffix(CHECKPOINT) {
            Some(name) => (Self::Checkpoint, name),
            None => (Self::Continuation, name.strip_suffix(CONTINUATION)?),
        };
        let (_, digits) = name.rsplit_once('.')?;
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (digits.len() == DIGITS && digits.bytes().all(is_digit)).then_some(own)
    }
}

/// The name of the checkpoint, or of the continuation, of one put of an object. Another put has another name.
#[must_use]
pub fn name(object: &ObjectVersion, own: Own) -> String {
    let key = &object.key[..object.key.floor_char_boundary(KEY_BYTES)];
    let mut hash = Md5::new();
    hash.update(&object.key);
    hash.update([0]);
    hash.update(object.put_id());
    let digest = u128::from_be_bytes(hash.finalize().into());
    let ending = match own {
        Own::Checkpoint => CHECKPOINT,
        Own::Continuation => CONTINUATION,
    };
    format!("{FOLDER}{key}.{digest:032x}{ending}")
}

/// When an invocation that has until `deadline` stops reading.
#[must_use]
pub fn stop_at(now: Instant, deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(now);
    deadline - RESERVE.min(left / 4)
}

/// An object, and how far it has been taken in.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) object: ObjectVersion,
    /// The furthest that is noted.
    pub(crate) noted: Checkpoint,
    /// Whether anything is noted in the inbox.
    is_noted: bool,
}

impl Progress {
    /// What an earlier invocation noted of that object; the beginning where none did.
    pub(crate) async fn load(store: &impl Checkpoints, object: ObjectVersion) -> Result<Self, IngestError> {
        let noted = load(store, &object).await?;
        let is_noted = noted.is_some();
        Ok(Self { object, noted: noted.unwrap_or_default(), is_noted })
    }

    /// The object that a continuation is of, from there on or from a checkpoint that is further.
    pub(crate) async fn go_on(
        store: &impl Checkpoints,
        bucket: &str,
        key: &str,
    ) -> Result<Self, IngestError> {
        let found = store.load(bucket, key).await.map_err(IngestError::NotContinued)?;
        let continuation = found.and_then(|found| serde_json::from_slice(&found).ok()).ok_or_else(|| {
            failure(format!("{bucket}/{key} is not a continuation of an object: put the object itself again"))
        })?;
        let Continuation { object, from } = continuation;
        let mut progress = Self::load(store, object).await?;
        // A second invocation over the object may have noted less.
        if from.is_further(&progress.noted) {
            progress.noted = from;
        }
        Ok(progress)
    }

    /// Whether the end of the object is worth noting.
    pub(crate) fn notes_end(&self, end: &Checkpoint) -> bool {
        self.is_noted || end.position.offset >= LARGE_BYTES
    }

    /// Notes a checkpoint, unless another invocation noted one that is further.
    pub(crate) async fn save(
        &mut self,
        store: &impl Checkpoints,
        checkpoint: Checkpoint,
    ) -> Result<(), IngestError> {
        let stored = load(store, &self.object).await?;
        if stored.is_none_or(|stored| checkpoint.is_further(&stored)) {
            let name = name(&self.object, Own::Checkpoint);
            store
                .save(&self.object.bucket, &name, json(&checkpoint))
                .await
                .map_err(IngestError::NotContinued)?;
        }
        self.noted = checkpoint;
        self.is_noted = true;
        Ok(())
    }

    /// Leaves the continuation of the object in the inbox, so that another invocation goes on with it.
    pub(crate) async fn leave(self, store: &impl Checkpoints) -> Result<(), IngestError> {
        let name = name(&self.object, Own::Continuation);
        let bucket = self.object.bucket.clone();
        let continuation = Continuation { object: self.object, from: self.noted };
        store.save(&bucket, &name, json(&continuation)).await.map_err(IngestError::NotContinued)
    }
}

async fn load(store: &impl Checkpoints, object: &ObjectVersion) -> Result<Option<Checkpoint>, IngestError> {
    let name = name(object, Own::Checkpoint);
    let found = store.load(&object.bucket, &name).await.map_err(IngestError::NotContinued)?;
    let read = |found: Bytes| {
        serde_json::from_slice(&found).map_err(|_| {
            failure(format!(
                "{name} is not a checkpoint: delete it to have the object read from its beginning"
            ))
        })
    };
    found.map(read).transpose()
}

fn failure(detail: String) -> IngestError {
    IngestError::NotContinued(Failure { fault: Fault::Permanent, detail })
}

fn json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_else(|error| unreachable!("{error}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(key: &str, version: &str) -> ObjectVersion {
        ObjectVersion {
            bucket: "inbox".to_owned(),
            key: key.to_owned(),
            version_id: Some(version.to_owned()),
            ..ObjectVersion::default()
        }
    }

    #[test]
    fn names_of_the_longest_keys_fit_and_differ() {
        let mut names: Vec<String> =
            ["a.csv", &"ñ".repeat(512), &"x".repeat(1_024), &format!("{}y", "x".repeat(1_023))]
                .iter()
                .flat_map(|key| [object(key, "1"), object(key, "2")])
                .flat_map(|object| [name(&object, Own::Checkpoint), name(&object, Own::Continuation)])
                .collect();
        assert!(names.iter().all(|name| name.len() <= 1_024));
        assert!(names[0].starts_with("checkpoints/a.csv."), "{}", names[0]);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 16);
    }

    #[test]
    fn ingest_knows_its_own_objects_and_no_others() {
        for own in [Own::Checkpoint, Own::Continuation] {
            assert_eq!(Own::by_name(&name(&object("deep/a.csv", "1"), own)), Some(own));
        }
        for key in [
            "a.csv",
            "checkpoints/a.csv",
            "checkpoints/mine.checkpoint",
            "checkpoints/a.csv.0123456789ABCDEF0123456789ABCDEF.checkpoint",
            "other/a.csv.0123456789abcdef0123456789abcdef.checkpoint",
        ] {
            assert_eq!(Own::by_name(key), None, "{key}");
        }
    }

    #[test]
    fn a_plain_object_read_to_its_last_byte_is_at_its_end() {
        let at = |offset, gzip, size| {
            let position = Position { offset, ..Position::default() };
            Checkpoint { position, gzip, size, ..Checkpoint::default() }.is_at_end()
        };
        assert!(at(10, false, Some(10)));
        assert!(!at(9, false, Some(10)) && !at(10, false, None));
        assert!(!at(10, true, Some(10)), "the offset is one of the text");
    }
}
