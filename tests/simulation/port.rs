//! Services that fail by script.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::pending,
    ops::Range,
    rc::Rc,
    time::Duration,
};

use shared::delivery::{Answer, Failure, Fault, Limits, Refusal, Service};
use tokio::time::sleep;

use super::{trace::Trace, unit::Id};

/// How a service answers a healthy request.
const HEALTHY: Duration = Duration::from_millis(5);

/// What a service does with a request, and how long after it came.
#[derive(Debug, Clone)]
pub struct Reply {
    /// When it is done.
    pub after: Duration,
    /// What is done.
    pub does: Does,
}

/// What a service does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// It takes everything.
    Take,
    /// It refuses the entries whose bit is set, position by position and over again, and takes the others.
    Refuse(u32, Fault),
    /// It takes nothing.
    Fail(Fault),
    /// It takes everything, and the connection breaks before the answer.
    TakeAndBreak,
    /// It takes everything, and never answers.
    TakeAndKeepSilent,
    /// It takes nothing, and never answers.
    KeepSilent,
    /// The function's process ends, and the service takes nothing.
    EndBefore,
    /// It takes everything, and the function's process ends.
    EndAfter,
}

/// How a service behaves over time.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// What it does with the first requests; it takes all others.
    pub replies: VecDeque<Reply>,
    /// A time during which it fails every request.
    pub outage: Option<(Range<Duration>, Fault)>,
}

/// A service, as one container of a function reaches it.
pub struct Port<E> {
    service: Rc<Simulated<E>>,
    /// Set when the process of the container is to end.
    ended: Rc<Cell<bool>>,
}

/// A service that does by script what services do, and keeps what it took.
pub struct Simulated<E> {
    name: &'static str,
    limits: Limits,
    size: fn(&E) -> usize,
    tells: fn(&E) -> Vec<Id>,
    takes: Box<dyn Fn(&E)>,
    script: RefCell<Script>,
    trace: Trace,
    requests: Cell<u64>,
    /// What it took: by event, the numbers of the requests.
    pub taken: RefCell<BTreeMap<Id, Vec<u64>>>,
    /// Events of which it refused an entry out of a request that it took in part.
    pub refused: RefCell<BTreeSet<Id>>,
    /// Entries that it refused since they are themselves at fault.
    pub entries_at_fault: Cell<usize>,
    /// How often it took an event out of a request of which it refused another.
    pub torn: RefCell<BTreeMap<Id, usize>>,
    /// How often it took an event without the function learning of it.
    pub unanswered: RefCell<BTreeMap<Id, usize>>,
}

impl<E> Simulated<E> {
    /// A service of those limits. `size` is what an entry counts for, `tells` of which events it tells, and `takes` is
    /// given every entry that is taken.
    #[must_use]
    pub fn new(
        name: &'static str,
        limits: Limits,
        size: fn(&E) -> usize,
        tells: fn(&E) -> Vec<Id>,
        takes: impl Fn(&E) + 'static,
        script: Script,
        trace: &Trace,
    ) -> Rc<Self> {
        Rc::new(Self {
            name,
            limits,
            size,
            tells,
            takes: Box::new(takes),
            script: RefCell::new(script),
            trace: trace.clone(),
            requests: Cell::default(),
            taken: RefCell::default(),
            refused: RefCell::default(),
            entries_at_fault: Cell::default(),
            torn: RefCell::default(),
            unanswered: RefCell::default(),
        })
    }

    /// The service as a container reaches it whose process ends when `ended` is set.
    #[must_use]
    pub fn port(self: &Rc<Self>, ended: &Rc<Cell<bool>>) -> Port<E> {
        Port { service: Rc::clone(self), ended: Rc::clone(ended) }
    }

    fn next_reply(&self) -> Reply {
        let mut script = self.script.borrow_mut();
        match &script.outage {
            Some((times, fault)) if times.contains(&self.trace.elapsed()) => {
                Reply { after: HEALTHY, does: Does::Fail(*fault) }
            }
            _ => script.replies.pop_front().unwrap_or(Reply { after: HEALTHY, does: Does::Take }),
        }
    }

    /// Takes the entries whose position `is_taken`.
    fn take(&self, entries: &[&E], request: u64, is_taken: impl Fn(usize) -> bool) {
        for (index, entry) in entries.iter().enumerate() {
            if is_taken(index) {
                (self.takes)(entry);
                for event in (self.tells)(entry) {
                    self.taken.borrow_mut().entry(event).or_default().push(request);
                }
            }
        }
    }

    /// Counts the events of entries.
    fn count(&self, entries: &[&E], counts: &RefCell<BTreeMap<Id, usize>>) {
        for event in entries.iter().flat_map(|entry| (self.tells)(entry)) {
            *counts.borrow_mut().entry(event).or_default() += 1;
        }
    }
}

impl<E> Service for Port<E> {
    type Entry = E;

    fn limits(&self) -> Limits {
        self.service.limits
    }

    fn size(&self, entry: &E) -> usize {
        (self.service.size)(entry)
    }

    async fn send(&self, entries: &[&E]) -> Answer {
        let Self { service, ended } = self;
        let reply = service.next_reply();
        sleep(reply.after).await;
        let request = service.requests.get();
        service.requests.set(request + 1);
        service.trace.line(|| format!("  {}: {} entries, {:?}", service.name, entries.len(), reply.does));
        let failure = |fault| Failure { fault, detail: format!("a scripted fault: {fault:?}") };
        match reply.does {
            Does::Take => {
                service.take(entries, request, |_| true);
                Ok(Vec::new())
            }
            Does::Refuse(bits, fault) => {
                let is_refused = |index: usize| bits >> (index % 32) & 1 == 1;
                service.take(entries, request, |index| !is_refused(index));
                let (refused, taken): (Vec<usize>, Vec<usize>) =
                    (0..entries.len()).partition(|index| is_refused(*index));
                for index in &refused {
                    service.refused.borrow_mut().extend((service.tells)(entries[*index]));
                }
                if fault == Fault::Permanent {
                    service.entries_at_fault.update(|entries| entries + refused.len());
                }
                if !refused.is_empty() {
                    let taken: Vec<&E> = taken.into_iter().map(|index| entries[index]).collect();
                    service.count(&taken, &service.torn);
                }
                Ok(refused.into_iter().map(|index| Refusal { index, failure: failure(fault) }).collect())
            }
            Does::Fail(fault) => Err(failure(fault)),
            Does::TakeAndBreak => {
                service.take(entries, request, |_| true);
                service.count(entries, &service.unanswered);
                Err(failure(Fault::Transient))
            }
            Does::TakeAndKeepSilent => {
                service.take(entries, request, |_| true);
                service.count(entries, &service.unanswered);
                pending().await
            }
            Does::KeepSilent => pending().await,
            Does::EndBefore => {
                ended.set(true);
                pending().await
            }
            Does::EndAfter => {
                service.take(entries, request, |_| true);
                service.count(entries, &service.unanswered);
                ended.set(true);
                pending().await
            }
        }
    }
}
