//! Delivery: entries brought to a service within its limits, what it refuses sent again, until a deadline.
//!
//! The SDK's own retries are off: this is the one place where anything is sent again.

mod attempts;
mod queue;
pub mod reject;

use std::future::Future;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::Instant;

use self::{
    attempts::{Attempts, Settled},
    queue::Queue,
};

/// Requests in flight to one service, where the order of the entries allows more than one.
pub const IN_FLIGHT: usize = 4;

/// What a request and an entry may hold at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Entries in a request.
    pub entries: usize,
    /// Bytes in a request, as the service counts them.
    pub request_bytes: usize,
    /// Bytes in an entry, as the service counts them.
    pub entry_bytes: usize,
}

/// A service that takes entries, many in a request.
pub trait Service {
    /// What it takes.
    type Entry;

    /// Its limits.
    fn limits(&self) -> Limits;

    /// The bytes that an entry counts for, as the service counts them.
    fn size(&self, entry: &Self::Entry) -> usize;

    /// Sends one request. The answer names the entries that were refused, by their position in `entries`.
    fn send(&self, entries: &[&Self::Entry]) -> impl Future<Output = Answer>;
}

/// The refused entries of a request that was answered, or the failure of the whole request.
pub type Answer = Result<Vec<Refusal>, Failure>;

/// An entry that the service refused while it took others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Position in the request.
    pub index: usize,
    /// Why.
    pub failure: Failure,
}

/// Why a request or an entry was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What may help.
    pub fault: Fault,
    /// One sentence for people, without any payload.
    pub detail: String,
}

/// Whether sending again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// It may, soon.
    Transient,
    /// It may, after a longer pause.
    Throttled,
    /// It does not.
    Permanent,
    /// It does not until the deployment is corrected: a permission, a key or a resource is missing. The service takes
    /// nothing until then, and an entry that it refuses is not itself at fault.
    Misconfigured,
}

impl Fault {
    /// Whether nothing that is sent again can be taken.
    fn is_final(self) -> bool {
        matches!(self, Self::Permanent | Self::Misconfigured)
    }
}

/// Which entries keep their order: an entry is sent in the request of the one before it or once that one was taken,
/// and not at all once that one failed. An entry that the service refuses out of a request comes later than those
/// that it took.
#[derive(Debug)]
pub enum Order<E> {
    /// All of them, so that one request is in flight, and nothing is sent after the first failure.
    Kept,
    /// Those of one key; requests without a key in common are in flight side by side.
    PerKey(fn(&E) -> &str),
    /// None.
    Free,
}

impl<E> Order<E> {
    /// What an entry has in common with those that it keeps its order with.
    fn key<'e>(&self, entry: &'e E) -> Option<&'e str> {
        match self {
            Self::Kept => Some(""),
            Self::PerKey(key) => Some(key(entry)),
            Self::Free => None,
        }
    }
}

/// How long to go on, and the seed of the back-off's jitter.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    /// Nothing is sent or awaited after it.
    pub at: Instant,
    /// Seed of the jitter.
    pub seed: u64,
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The service took it.
    Delivered,
    /// The service will never take it: it is too large or not valid. The sentence says why.
    Unacceptable(String),
    /// The service did not take it in time, or takes nothing at all. The sentence says why.
    Failed(String),
}

/// What became of the entries, by their position.
#[must_use]
#[derive(Debug, Default)]
pub struct Report {
    /// One outcome for each entry.
    pub outcomes: Vec<Outcome>,
    /// How many times an entry was sent again.
    pub resent: u64,
    /// Requests made.
    pub requests: u64,
}

/// Brings the entries to the service.
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

/// What becomes of an entry that is never sent.
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
    /// Notes what became of one request's entries.
    fn note(&mut self, settled: Settled) {
        self.resent += settled.resent;
        self.requests += settled.requests;
        for (index, outcome) in settled.outcomes {
            self.outcomes[index] = outcome;
        }
    }
}

#[cfg(test)]
mod tests;
