//! How far an object has been ingested, as a checkpoint in the inbox, so that another invocation resumes there.
//!
//! Several invocations may read one object: a retry, a duplicate, or the successor of one that ran out of time. All of
//! them read the same checkpoint and do not send again the rows before it.
//!
//! The successor is started by an object, too: the continuation, which names the object to resume. Ingest is notified
//! of everything that is put into the inbox. It therefore recognises its own objects by their names.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use md5::{Digest, Md5};
use serde::{Deserialize, Serialize};
use shared::delivery::{Failure, Fault};
use tokio::time::Instant;

use crate::{error::IngestError, rows::Position, s3::ObjectVersion};

/// An object with at least so many bytes of text gets a checkpoint at its end, so that a duplicate event sends nothing
/// again. For a smaller one the request would cost more than it saves.
pub(crate) const LARGE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of text between two checkpoints, and so the most that a retry sends again.
pub(crate) const INTERVAL_BYTES: u64 = 64 * 1024 * 1024;
/// The longest time that is reserved for the last delivery and the checkpoint of an invocation. An invocation with less
/// than four times as much reserves a quarter of its time.
const RESERVE: Duration = Duration::from_secs(20);

/// Where checkpoints and continuations are in the inbox.
const FOLDER: &str = "checkpoints/";
/// The suffix of a checkpoint's name.
const CHECKPOINT: &str = ".checkpoint";
/// The suffix of a continuation's name.
const CONTINUATION: &str = ".continuation";
/// Bytes of an object's key that are part of the names of its checkpoint and continuation. S3 allows names of 1,024
/// bytes.
///
/// Source: S3 user guide, "Naming Amazon S3 objects".
const KEY_BYTES: usize = 900;
/// Hexadecimal digits in the names.
const DIGITS: usize = 32;

/// Where checkpoints are stored.
pub trait Checkpoints {
    /// The checkpoint of that name, if there is one.
    fn load(&self, bucket: &str, name: &str) -> impl Future<Output = Result<Option<Bytes>, Failure>>;

    /// Stores a checkpoint in place of an earlier one.
    fn save(&self, bucket: &str, name: &str, checkpoint: Bytes) -> impl Future<Output = Result<(), Failure>>;
}

/// How far an object has been ingested.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// The first row that has not been ingested.
    pub(crate) position: Position,
    /// Rows that stream 1 accepted.
    pub(crate) accepted: u64,
    /// Rows that are in rejects.
    pub(crate) rejected: u64,
    /// Whether the whole object has been ingested.
    pub(crate) finished: bool,
    /// Whether the object is gzip, which can only be read from the start.
    pub(crate) gzip: bool,
    /// Size of the object in bytes, if known.
    pub(crate) size: Option<u64>,
}

impl Checkpoint {
    /// Whether it is further than another checkpoint of the same object.
    pub(crate) fn is_further(&self, other: &Self) -> bool {
        (self.finished, self.position.offset) > (other.finished, other.position.offset)
    }

    /// Whether the object has been read to its end.
    pub(crate) fn is_at_end(&self) -> bool {
        !self.gzip && self.size.is_some_and(|size| self.position.offset >= size)
    }
}

/// The unread part of an object, as an object that starts the next invocation.
#[derive(Debug, Serialize, Deserialize)]
struct Continuation {
    object: ObjectVersion,
    from: Checkpoint,
}

/// What an object of the inbox asks ingest to read, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Own {
    /// The checkpoint of another object.
    Checkpoint,
    /// The continuation of another object.
    Continuation,
}

impl Own {
    /// The kind of the object if ingest wrote it itself.
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

/// The name of the checkpoint or continuation of one put of an object. Each put has its own name.
pub(crate) fn name(object: &ObjectVersion, own: Own) -> String {
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

/// When an invocation with that deadline stops reading.
pub(crate) fn stop_at(now: Instant, deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(now);
    deadline - RESERVE.min(left / 4)
}

/// An object, and how far it has been ingested.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) object: ObjectVersion,
    /// The furthest position that is saved.
    pub(crate) saved: Checkpoint,
    /// Whether the inbox has a checkpoint.
    has_checkpoint: bool,
}

impl Progress {
    /// The checkpoint that an earlier invocation stored for that object; else its beginning.
    pub(crate) async fn load(store: &impl Checkpoints, object: ObjectVersion) -> Result<Self, IngestError> {
        let saved = load(store, &object).await?;
        let has_checkpoint = saved.is_some();
        Ok(Self { object, saved: saved.unwrap_or_default(), has_checkpoint })
    }

    /// The object of a continuation, from the continuation's position or from its checkpoint if that is further.
    pub(crate) async fn resume(
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
        // A second invocation over the object may have stored an earlier position.
        if from.is_further(&progress.saved) {
            progress.saved = from;
        }
        Ok(progress)
    }

    /// Whether the end of the object needs a checkpoint.
    pub(crate) fn needs_end(&self, end: &Checkpoint) -> bool {
        self.has_checkpoint || end.position.offset >= LARGE_BYTES
    }

    /// Stores a checkpoint, unless another invocation has stored one that is further.
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
        self.saved = checkpoint;
        self.has_checkpoint = true;
        Ok(())
    }

    /// Writes the continuation of the object to the inbox, so that another invocation resumes it.
    pub(crate) async fn write_continuation(self, store: &impl Checkpoints) -> Result<(), IngestError> {
        let name = name(&self.object, Own::Continuation);
        let bucket = self.object.bucket.clone();
        let continuation = Continuation { object: self.object, from: self.saved };
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
    fn long_keys_have_distinct_names_within_the_limit() {
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
    fn ingest_recognises_only_its_own_objects() {
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
    fn plain_object_is_finished_at_its_last_byte() {
        let at = |offset, gzip, size| {
            let position = Position { offset, ..Position::default() };
            Checkpoint { position, gzip, size, ..Checkpoint::default() }.is_at_end()
        };
        assert!(at(10, false, Some(10)));
        assert!(!at(9, false, Some(10)) && !at(10, false, None));
        assert!(!at(10, true, Some(10)), "the offset is one of the text");
    }
}
