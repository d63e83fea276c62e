//! How far a large object has been taken in, kept beside it, so that another invocation goes on from there.
//!
//! An invocation that retries, that comes twice, or that follows one whose time was up reads the same checkpoint and
//! does not send again what stands before it. The following one is brought about by an object as well: the rest, which
//! names what is left to be read.

use std::{future::Future, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shared::delivery::Failure;
use tokio::time::Instant;

use crate::{intake::Summary, rows::Position};

/// Bytes from which on an object has checkpoints: what is smaller is read within seconds.
pub const LARGE_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes of text between two checkpoints: what a retry may send again at most.
pub const INTERVAL_BYTES: u64 = 64 * 1024 * 1024;
/// The longest time kept for the last delivery and the checkpoint of an invocation; a quarter of it where it has less
/// than four times as much.
const RESERVE: Duration = Duration::from_secs(20);

/// Where checkpoints and rests lie in the inbox.
const FOLDER: &str = "checkpoints/";
/// What the name of a rest ends in; the inbox tells ingest of such objects too.
const REST: &str = ".rest";

/// Where checkpoints are kept.
pub trait Checkpoints {
    /// The checkpoint of that name, if there is one.
    fn load(&self, bucket: &str, name: &str) -> impl Future<Output = Result<Option<Bytes>, Failure>>;

    /// Keeps a checkpoint in the place of an earlier one.
    fn save(&self, bucket: &str, name: &str, checkpoint: Bytes) -> impl Future<Output = Result<(), Failure>>;
}

/// How far an object has been taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The first row that has not been taken in.
    pub position: Position,
    /// Rows that stream 1 took.
    pub accepted: u64,
    /// Rows that stand in rejects.
    pub rejected: u64,
    /// Whether that is the whole object.
    pub finished: bool,
}

impl Checkpoint {
    /// The checkpoint at `position` of an object of which that much became so far.
    #[must_use]
    pub fn of(position: Position, summary: &Summary, finished: bool) -> Self {
        Self { position, accepted: summary.accepted, rejected: summary.rejected, finished }
    }

    /// The name of an object's checkpoint: another version of the object has another.
    #[must_use]
    pub fn name(key: &str, etag: &str) -> String {
        format!("{FOLDER}{key}.{etag}.checkpoint")
    }
}

/// The name under which the rest of an object is put into the inbox, so that S3 has ingest invoked with it.
#[must_use]
pub fn rest_of(key: &str, etag: &str) -> String {
    format!("{FOLDER}{key}.{etag}{REST}")
}

/// Whether the object of that key is the rest of another.
#[must_use]
pub fn is_rest(key: &str) -> bool {
    key.starts_with(FOLDER) && key.ends_with(REST)
}

/// When an invocation that has until `deadline` stops reading.
#[must_use]
pub fn stop_at(now: Instant, deadline: Instant) -> Instant {
    let left = deadline.saturating_duration_since(now);
    deadline - RESERVE.min(left / 4)
}
