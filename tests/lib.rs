//! What the tests that cross functions share: services that answer by script, the fixtures of `events/`, and the
//! simulation of the whole chain.

pub mod inbox;
pub mod simulation;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fs,
    path::Path,
    time::Duration,
};

use shared::delivery::{Answer, Failure, Fault, Limits, Refusal, Service};

/// The number that template.yaml has as the default of a parameter.
///
/// # Panics
///
/// If it has none.
#[must_use]
pub fn template_default(parameter: &str) -> i64 {
    let default = || {
        let (_, rest) = include_str!("../template.yaml").split_once(&format!("\n  {parameter}:\n"))?;
        let (_, rest) = rest.split_once("Default: ")?;
        rest.lines().next()?.trim().parse().ok()
    };
    default().unwrap_or_else(|| panic!("template.yaml has no number as the default of {parameter}"))
}

/// A service that answers by script, and takes everything once the script is at its end.
pub struct Scripted<E> {
    script: RefCell<VecDeque<Reply>>,
    /// Answer every request like this, whatever the script says.
    pub always: Cell<Option<Fault>>,
    limits: Limits,
    size: fn(&E) -> usize,
    /// What it took, in order.
    pub taken: RefCell<Vec<E>>,
    /// Requests made.
    pub requests: Cell<usize>,
    /// How long each request takes.
    pub takes: Cell<Duration>,
}

/// The answer to one request.
pub enum Reply {
    /// All of it is taken.
    Taken,
    /// The entries at these positions are refused, the others taken.
    Refused(Vec<usize>, Fault),
    /// Nothing is taken.
    Failed(Fault),
}

impl<E: Clone> Scripted<E> {
    /// A service of those limits, whose entries have that size.
    pub fn new(limits: Limits, size: fn(&E) -> usize) -> Self {
        Self {
            script: RefCell::default(),
            always: Cell::default(),
            limits,
            size,
            taken: RefCell::default(),
            requests: Cell::default(),
            takes: Cell::default(),
        }
    }

    /// Adds replies to the script.
    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.borrow_mut().extend(replies);
    }

    /// Takes out what was taken so far.
    pub fn take(&self) -> Vec<E> {
        self.taken.take()
    }
}

fn failure(fault: Fault) -> Failure {
    Failure { fault, detail: format!("a scripted fault: {fault:?}") }
}

impl<E: Clone> Service for Scripted<E> {
    type Entry = E;

    fn limits(&self) -> Limits {
        self.limits
    }

    fn size(&self, entry: &E) -> usize {
        (self.size)(entry)
    }

    async fn send(&self, entries: &[&E]) -> Answer {
        self.requests.set(self.requests.get() + 1);
        if !self.takes.get().is_zero() {
            tokio::time::sleep(self.takes.get()).await;
        }
        if let Some(fault) = self.always.get() {
            return Err(failure(fault));
        }
        let reply = self.script.borrow_mut().pop_front().unwrap_or(Reply::Taken);
        let refused = match reply {
            Reply::Taken => Vec::new(),
            Reply::Failed(fault) => return Err(failure(fault)),
            Reply::Refused(refused, fault) => {
                refused.into_iter().map(|index| Refusal { index, failure: failure(fault) }).collect()
            }
        };
        let is_taken = |index: &usize| !refused.iter().any(|refusal| refusal.index == *index);
        let taken = (0..entries.len()).filter(is_taken).map(|index| entries[index].clone());
        self.taken.borrow_mut().extend(taken);
        Ok(refused)
    }
}

/// The event in `events/<name>.json`.
///
/// # Panics
///
/// When it cannot be read.
#[must_use]
pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../events").join(format!("{name}.json"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
