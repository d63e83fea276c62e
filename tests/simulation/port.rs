//! Services with scripted failures.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::pending,
    ops::Range,
    rc::Rc,
    time::Duration,
};

use fakes::failure;
use shared::delivery::{Answer, Fault, Limits, Refusal, Service};
use tokio::{task::spawn_local, time::sleep};

use super::{trace::Trace, unit::Id};

/// The latency of a healthy request.
const HEALTHY: Duration = Duration::from_millis(5);

/// The handling of a request, and the time that it takes.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The time from the request to its handling.
    pub after: Duration,
    /// The handling.
    pub does: Does,
}

/// The handling of a request by a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Does {
    /// It accepts everything.
    Take,
    /// It refuses the entries whose bit is set (repeated every 32 entries), and accepts the others.
    Refuse(u32, Fault),
    /// It accepts nothing.
    Fail(Fault),
    /// It accepts everything, and the connection breaks before the answer.
    TakeAndBreak,
    /// It accepts everything, and never answers.
    TakeAndKeepSilent,
    /// It never answers, and accepts everything later, mostly after the function has given up the request.
    TakeLate(Duration),
    /// It accepts nothing, and never answers.
    KeepSilent,
    /// The function's process ends, and the service accepts nothing.
    EndBefore,
    /// It accepts everything, and the function's process ends.
    EndAfter,
}

/// The behaviour of a service over time.
#[derive(Debug, Clone, Default)]
pub struct Script {
    /// Its replies to the first requests; it accepts all others.
    pub replies: VecDeque<Reply>,
    /// A time during which it fails every request.
    pub outage: Option<(Range<Duration>, Fault)>,
}

impl Script {
    /// Whether nothing ever fails.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.replies.is_empty() && self.outage.is_none()
    }
}

/// The process of a container, seen by the services.
#[derive(Debug, Default)]
pub struct Process {
    /// Set when the process is to end.
    pub ended: Cell<bool>,
    /// The troubles of the current invocation.
    pub troubles: RefCell<Troubles>,
}

/// The troubles of an invocation.
#[derive(Debug, Default, Clone)]
pub struct Troubles {
    /// The number of requests that each service did not accept in full and in time.
    services: BTreeMap<&'static str, usize>,
    /// Whether a service reported that an entry itself is at fault.
    pub entry_at_fault: bool,
}

impl Troubles {
    /// Whether this service did not accept every request in full and in time.
    #[must_use]
    pub fn came_from(&self, service: &str) -> bool {
        self.services.get(service).is_some_and(|requests| *requests > 0)
    }
}

/// A service, as one container of a function reaches it.
pub struct Port<E> {
    service: Rc<Simulated<E>>,
    process: Rc<Process>,
}

/// A service that follows a script, and records the entries that it accepted.
pub struct Simulated<E> {
    /// Its name.
    pub name: &'static str,
    limits: Limits,
    size: fn(&E) -> usize,
    events: fn(&E) -> Vec<Id>,
    on_accept: Box<dyn Fn(&E)>,
    script: RefCell<Script>,
    trace: Trace,
    requests: Cell<u64>,
    /// Requests that it will accept late.
    outstanding: Cell<usize>,
    /// The requests that it accepted, in full or in part.
    accepted: Cell<u64>,
    /// The requests of an event, each as its number in the order in which they were accepted. A late one counts from then,
    /// not from when it was sent.
    pub taken: RefCell<BTreeMap<Id, Vec<u64>>>,
    /// Events with a refused entry in a request that it accepted in part.
    pub refused: RefCell<BTreeSet<Id>>,
    /// Events with a permanently refused entry, since the entry itself is at fault.
    pub refused_for_good: RefCell<BTreeSet<Id>>,
    /// How often it accepted an event from a request in which it refused another.
    pub torn: RefCell<BTreeMap<Id, usize>>,
    /// How often it accepted an event and the function did not get the answer.
    pub unanswered: RefCell<BTreeMap<Id, usize>>,
    /// Requests that it accepted after the function had given up, or while the function waited in vain.
    pub late: Cell<usize>,
    /// Requests with more than half of the bytes that a request may hold.
    pub full: Cell<usize>,
    /// Requests above its limits, each in a sentence; expected to be empty.
    pub oversized: RefCell<Vec<String>>,
}

impl<E: Clone + 'static> Simulated<E> {
    /// A service with these limits. `size` is the size of an entry, `events` returns the events that it names, and
    /// `on_accept` is called with every accepted entry.
    #[must_use]
    pub fn new(
        name: &'static str,
        limits: Limits,
        size: fn(&E) -> usize,
        events: fn(&E) -> Vec<Id>,
        on_accept: impl Fn(&E) + 'static,
        script: Script,
        trace: &Trace,
    ) -> Rc<Self> {
        Rc::new(Self {
            name,
            limits,
            size,
            events,
            on_accept: Box::new(on_accept),
            script: RefCell::new(script),
            trace: trace.clone(),
            requests: Cell::default(),
            outstanding: Cell::default(),
            accepted: Cell::default(),
            taken: RefCell::default(),
            refused: RefCell::default(),
            refused_for_good: RefCell::default(),
            torn: RefCell::default(),
            unanswered: RefCell::default(),
            late: Cell::default(),
            full: Cell::default(),
            oversized: RefCell::default(),
        })
    }

    /// The service as a container reaches it.
    #[must_use]
    pub fn port(self: &Rc<Self>, process: &Rc<Process>) -> Port<E> {
        Port { service: Rc::clone(self), process: Rc::clone(process) }
    }

    /// Waits until it has accepted all late requests.
    pub async fn settle(&self) {
        while self.outstanding.get() > 0 {
            sleep(Duration::from_millis(100)).await;
        }
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

    /// Accepts the entries whose position `is_taken`.
    fn take(&self, entries: &[&E], is_taken: impl Fn(usize) -> bool) {
        let number = self.accepted.get();
        self.accepted.set(number + 1);
        for (index, entry) in entries.iter().enumerate() {
            if is_taken(index) {
                (self.on_accept)(entry);
                for event in (self.events)(entry) {
                    self.taken.borrow_mut().entry(event).or_default().push(number);
                }
            }
        }
    }

    /// Accepts a request whose answer does not reach the function.
    fn take_unanswered(&self, entries: &[&E]) {
        self.take(entries, |_| true);
        self.count(entries, &self.unanswered);
    }

    /// Accepts a request later, even if the process has ended by then.
    fn take_late(self: &Rc<Self>, entries: &[&E], request: u64, after: Duration) {
        let service = Rc::clone(self);
        let entries: Vec<E> = entries.iter().map(|entry| (*entry).clone()).collect();
        self.outstanding.update(|requests| requests + 1);
        // Not awaited: the simulation waits for outstanding requests at its end.
        let _landing = spawn_local(async move {
            sleep(after).await;
            service.trace.line(|| format!("  {}: takes request {request} late", service.name));
            service.take_unanswered(&entries.iter().collect::<Vec<_>>());
            service.late.update(|requests| requests + 1);
            service.outstanding.update(|requests| requests - 1);
        });
    }

    /// Refuses the entries whose position `is_refused`, and accepts the others.
    fn take_in_part(&self, entries: &[&E], is_refused: impl Fn(usize) -> bool, fault: Fault) -> Vec<Refusal> {
        self.take(entries, |index| !is_refused(index));
        let (refused, taken): (Vec<usize>, Vec<usize>) =
            (0..entries.len()).partition(|index| is_refused(*index));
        for index in &refused {
            let events = (self.events)(entries[*index]);
            self.refused.borrow_mut().extend(&events);
            if fault == Fault::Permanent {
                self.refused_for_good.borrow_mut().extend(&events);
            }
        }
        if !refused.is_empty() {
            let taken: Vec<&E> = taken.into_iter().map(|index| entries[index]).collect();
            self.count(&taken, &self.torn);
        }
        refused.into_iter().map(|index| Refusal { index, failure: failure(fault) }).collect()
    }

    /// Counts the events of entries.
    fn count(&self, entries: &[&E], counts: &RefCell<BTreeMap<Id, usize>>) {
        for event in entries.iter().flat_map(|entry| (self.events)(entry)) {
            *counts.borrow_mut().entry(event).or_default() += 1;
        }
    }

    /// Checks a request against the limits.
    fn measure(&self, entries: &[&E]) {
        let sizes = || entries.iter().map(|entry| (self.size)(entry));
        let (bytes, largest) = (sizes().sum::<usize>(), sizes().max().unwrap_or_default());
        let Limits { entries: most, request_bytes, entry_bytes } = self.limits;
        if bytes > request_bytes / 2 {
            self.full.update(|requests| requests + 1);
        }
        if entries.is_empty() || entries.len() > most || bytes > request_bytes || largest > entry_bytes {
            self.oversized.borrow_mut().push(format!(
                "{} was sent {} entries of {bytes} bytes, the largest of {largest}, and takes from one to {most} of \
                 {request_bytes}, each of {entry_bytes}",
                self.name,
                entries.len(),
            ));
        }
    }
}

impl Process {
    /// Notes that a service received a request of the current invocation.
    fn begin_request(&self, service: &'static str) {
        *self.troubles.borrow_mut().services.entry(service).or_default() += 1;
    }

    /// Notes the handling of a request of the current invocation.
    fn end_request(&self, service: &'static str, does: &Does) {
        let mut troubles = self.troubles.borrow_mut();
        if *does == Does::Take
            && let Some(requests) = troubles.services.get_mut(service)
        {
            *requests -= 1;
        }
        troubles.entry_at_fault |= matches!(does, Does::Refuse(_, Fault::Permanent));
    }
}

impl<E: Clone + 'static> Service for Port<E> {
    type Entry = E;

    fn limits(&self) -> Limits {
        self.service.limits
    }

    fn size(&self, entry: &E) -> usize {
        (self.service.size)(entry)
    }

    async fn send(&self, entries: &[&E]) -> Answer {
        let Self { service, process } = self;
        service.measure(entries);
        let reply = service.next_reply();
        // The request counts as trouble until the service answers.
        process.begin_request(service.name);
        sleep(reply.after).await;
        process.end_request(service.name, &reply.does);
        let request = service.requests.get();
        service.requests.set(request + 1);
        service.trace.line(|| {
            format!("  {}: request {request}, {} entries, {:?}", service.name, entries.len(), reply.does)
        });
        match reply.does {
            Does::Take => {
                service.take(entries, |_| true);
                Ok(Vec::new())
            }
            Does::Refuse(bits, fault) => {
                Ok(service.take_in_part(entries, |index| bits >> (index % 32) & 1 == 1, fault))
            }
            Does::Fail(fault) => Err(failure(fault)),
            Does::TakeAndBreak => {
                service.take_unanswered(entries);
                Err(failure(Fault::Transient))
            }
            Does::TakeAndKeepSilent => {
                service.take_unanswered(entries);
                pending().await
            }
            Does::TakeLate(after) => {
                service.take_late(entries, request, after);
                pending().await
            }
            Does::KeepSilent => pending().await,
            Does::EndBefore => {
                process.ended.set(true);
                pending().await
            }
            Does::EndAfter => {
                service.take_unanswered(entries);
                process.ended.set(true);
                pending().await
            }
        }
    }
}
