//! A service that answers from a script.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::pending,
    time::Duration,
};

use shared::delivery::{Answer, Failure, Fault, Limits, Refusal, Service};
use tokio::time::sleep;

/// A service that answers from a script, then accepts everything.
pub struct Scripted<E> {
    script: RefCell<VecDeque<Reply>>,
    /// The fault of every request, before any script.
    pub always: Cell<Option<Fault>>,
    limits: Limits,
    size: Box<dyn Fn(&E) -> usize>,
    /// Whether it keeps the entries that it accepted.
    pub keeps: Cell<bool>,
    /// The accepted entries, in order.
    pub taken: RefCell<Vec<E>>,
    /// The number of requests.
    pub requests: Cell<u64>,
    /// The number of accepted entries.
    pub entries: Cell<u64>,
    /// The bytes of all accepted entries.
    pub bytes: Cell<usize>,
    /// The bytes of the largest accepted entry.
    pub largest: Cell<usize>,
    /// How long each request takes.
    pub takes: Cell<Duration>,
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Everything is accepted.
    Taken,
    /// The entries at these positions are refused, the others accepted.
    Refused(Vec<usize>, Fault),
    /// Nothing is accepted.
    Failed(Fault),
    /// Nothing is accepted, and no answer arrives.
    Silent,
}

impl<E: Clone + 'static> Scripted<E> {
    /// A service with these limits and sizes of entries.
    pub fn new(limits: Limits, size: fn(&E) -> usize) -> Self {
        Self::build(limits, Box::new(size))
    }

    fn build(limits: Limits, size: Box<dyn Fn(&E) -> usize>) -> Self {
        Self {
            script: RefCell::default(),
            always: Cell::default(),
            limits,
            size,
            keeps: Cell::new(true),
            taken: RefCell::default(),
            requests: Cell::default(),
            entries: Cell::default(),
            bytes: Cell::default(),
            largest: Cell::default(),
            takes: Cell::default(),
        }
    }

    /// A service that only counts accepted entries, for tests of memory and time.
    pub fn counting(limits: Limits, size: fn(&E) -> usize) -> Self {
        let service = Self::new(limits, size);
        service.keeps.set(false);
        service
    }

    /// A service that counts, with the limits and sizes of a real one.
    pub fn like(service: impl Service<Entry = E> + 'static) -> Self {
        let scripted = Self::build(service.limits(), Box::new(move |entry| service.size(entry)));
        scripted.keeps.set(false);
        scripted
    }

    /// Adds replies to the script.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.borrow_mut().extend(replies);
    }

    /// Removes and returns the accepted entries.
    pub fn take(&self) -> Vec<E> {
        self.taken.take()
    }

    fn keep(&self, entry: &E) {
        let bytes = (self.size)(entry);
        self.entries.update(|entries| entries + 1);
        self.bytes.update(|sum| sum + bytes);
        self.largest.update(|largest| largest.max(bytes));
        if self.keeps.get() {
            self.taken.borrow_mut().push(entry.clone());
        }
    }
}

/// A failure with this fault.
#[must_use]
pub fn failure(fault: Fault) -> Failure {
    Failure { fault, detail: format!("a scripted fault: {fault:?}") }
}

impl<E: Clone + 'static> Service for Scripted<E> {
    type Entry = E;

    fn limits(&self) -> Limits {
        self.limits
    }

    fn size(&self, entry: &E) -> usize {
        (self.size)(entry)
    }

    async fn send(&self, entries: &[&E]) -> Answer {
        self.requests.update(|requests| requests + 1);
        if !self.takes.get().is_zero() {
            sleep(self.takes.get()).await;
        }
        if let Some(fault) = self.always.get() {
            return Err(failure(fault));
        }
        let reply = self.script.borrow_mut().pop_front().unwrap_or(Reply::Taken);
        let (refused, fault) = match reply {
            Reply::Taken => (Vec::new(), Fault::Transient),
            Reply::Refused(refused, fault) => (refused, fault),
            Reply::Failed(fault) => return Err(failure(fault)),
            Reply::Silent => return pending().await,
        };
        for (index, entry) in entries.iter().enumerate() {
            if !refused.contains(&index) {
                self.keep(entry);
            }
        }
        Ok(refused.into_iter().map(|index| Refusal { index, failure: failure(fault) }).collect())
    }
}
