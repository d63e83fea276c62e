//! Delivery: sends entries to a service within its limits, and retries those that it refuses until a deadline.
//!
//! The SDK's own retries are off: only this module retries.

mod attempts;
mod queue;
pub mod reject;

use std::future::Future;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::Instant;

pub use self::attempts::backoff;
use self::{
    attempts::{Attempts, Settled},
    queue::Queue,
};

/// Requests in flight to one service at most, if the order of the entries allows several.
pub const IN_FLIGHT: usize = 4;

/// Limits of a request and of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries in a request.
    pub entries: usize,
    /// Bytes in a request, as the service counts them.
    pub request_bytes: usize,
    /// Bytes in an entry, as the service counts them.
    pub entry_bytes: usize,
}

/// A service that accepts entries, many in a request.
pub trait Service {
    /// An entry of a request.
    type Entry;

    /// The limits of the service.
    fn limits(&self) -> Limits;

    /// The size of an entry in bytes, as the service counts them.
    fn size(&self, entry: &Self::Entry) -> usize;

    /// Sends one request. Returns the refused entries, by their position in `entries`.
    fn send(&self, entries: &[&Self::Entry]) -> impl Future<Output = Answer>;
}

/// The refused entries of an answered request, or the failure of the whole request.
pub type Answer = Result<Vec<Refusal>, Failure>;

/// An entry that the service refused while it accepted others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Position in the request.
    pub index: usize,
    /// Why the service refused it.
    pub failure: Failure,
}

/// Why a request or an entry was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Whether a retry may help.
    pub fault: Fault,
    /// One sentence for people; contains no payload.
    pub detail: String,
}

/// Whether a retry may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A retry may help soon.
    Transient,
    /// A retry may help after a longer pause.
    Throttled,
    /// A retry does not help.
    Permanent,
    /// A retry helps only once the deployment is corrected: a permission, a key or a resource is missing. Until then
    /// the service accepts nothing, so a refused entry is not itself at fault.
    Misconfigured,
}

impl Fault {
    /// Whether no retry can succeed.
    fn is_final(self) -> bool {
        matches!(self, Self::Permanent | Self::Misconfigured)
    }
}

/// Which entries keep their order. An entry is sent in the same request as its predecessor, or after that one was
/// accepted. Once the predecessor failed, the entry is not sent. An entry that the service refuses within a request
/// arrives after those that it accepted.
#[derive(Debug)]
pub enum Order<E> {
    /// All entries. One request is in flight at a time, and nothing is sent after the first failure.
    Kept,
    /// Entries of one key. Requests without a common key are in flight at the same time.
    PerKey(fn(&E) -> &str),
    /// No entries.
    Free,
}

impl<E> Order<E> {
    /// The key that an entry shares with those that it keeps its order with.
    fn key<'e>(&self, entry: &'e E) -> Option<&'e str> {
        match self {
            Self::Kept => Some(""),
            Self::PerKey(key) => Some(key(entry)),
            Self::Free => None,
        }
    }
}

/// The deadline of a delivery, and the seed of the back-off's jitter.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// Nothing is sent or awaited after this instant.
    pub at: Instant,
    /// Seed of the jitter.
    pub seed: u64,
}

/// The outcome of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service accepted it.
    Delivered,
    /// The service will never accept it: it is too large or not valid. The sentence says why.
    Unacceptable(String),
    /// The service did not accept it in time, or accepts nothing at all. The sentence says why.
    Failed(String),
}

/// The outcomes of the entries, by their position.
#[must_use]
#[derive(Debug, Default)]
pub struct Report {
    /// One outcome for each entry.
    pub outcomes: Vec<Outcome>,
    /// How many times an entry was retried.
    pub resent: u64,
}

/// Delivers the entries to the service.
pub async fn deliver<S: Service>(
    service: &S,
    entries: &[S::Entry],
    order: Order<S::Entry>,
    deadline: Deadline,
) -> Report {
    let limits = service.limits();
    let sizes: Vec<usize> = entries.iter().map(|entry| service.size(entry)).collect();
    let mut report = Report {
        outcomes: sizes.iter().map(|size| before_sending(*size, limits)).collect(),
        ..Report::default()
    };
    let mut queue = Queue::new(&sizes, entries.iter().map(|entry| order.key(entry)).collect(), limits);
    let mut seeds = fastrand::Rng::with_seed(deadline.seed);
    let mut in_flight = FuturesUnordered::new();
    loop {
        while in_flight.len() < IN_FLIGHT
            && let Some(pending) = queue.next_request()
        {
            let jitter = seeds.fork();
            in_flight.push(Attempts { service, entries, pending, deadline: deadline.at, jitter }.settle());
        }
        let Some(settled) = in_flight.next().await else { return report };
        queue.release(&settled);
        report.note(settled);
    }
}

/// The outcome of an entry that is never sent.
fn before_sending(size: usize, limits: Limits) -> Outcome {
    if size <= limits.entry_bytes {
        return Outcome::Failed("not sent, since an earlier entry failed".to_owned());
    }
    Outcome::Unacceptable(format!(
        "{size} bytes are more than the {} that the service takes in an entry",
        limits.entry_bytes
    ))
}

impl Report {
    /// Records the outcomes of one request's entries.
    fn note(&mut self, settled: Settled) {
        self.resent += settled.resent;
        for (index, outcome) in settled.outcomes {
            self.outcomes[index] = outcome;
        }
    }
}

#[cfg(test)]
mod tests;
