//! A service that answers by script.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    future::pending,
    time::Duration,
};

use shared::delivery::{Answer, Failure, Fault, Limits, Refusal, Service};
use tokio::time::sleep;

/// A service that answers by script, and takes everything after the end of the script.
pub struct Scripted<E> {
    script: RefCell<VecDeque<Reply>>,
    /// Answer every request like this, whatever the script says.
    pub always: Cell<Option<Fault>>,
    limits: Limits,
    size: Box<dyn Fn(&E) -> usize>,
    /// Whether it keeps what it took.
    pub keeps: Cell<bool>,
    /// The entries that it took, in order.
    pub taken: RefCell<Vec<E>>,
    /// Requests made.
    pub requests: Cell<u64>,
    /// Entries that it took.
    pub entries: Cell<u64>,
    /// Their bytes.
    pub bytes: Cell<usize>,
    /// Bytes of the largest.
    pub largest: Cell<usize>,
    /// How long each request takes.
    pub takes: Cell<Duration>,
}

/// The answer to one request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// All of it is taken.
    Taken,
    /// The entries at these positions are refused, the others taken.
    Refused(Vec<usize>, Fault),
    /// Nothing is taken.
    Failed(Fault),
    /// Nothing is taken, and no answer is given.
    Silent,
}

impl<E: Clone + 'static> Scripted<E> {
    /// A service of those limits, whose entries have that size.
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

    /// A service that only counts what it took: tests of memory and time keep nothing.
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

    /// Removes and returns what was taken so far.
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

/// A failure of that kind.
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
