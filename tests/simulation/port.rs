//! Services that fail by script.

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
    /// It never answers, and takes everything so much later: mostly once the function has given the request up.
    TakeLate(Duration),
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

impl Script {
    /// Whether nothing ever fails.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.replies.is_empty() && self.outage.is_none()
    }
}

/// The process of a container, as the services see it.
#[derive(Debug, Default)]
pub struct Process {
    /// Set when the process is to end.
    pub ended: Cell<bool>,
    /// What went wrong in the invocation that it works on.
    pub troubles: RefCell<Troubles>,
}

/// What went wrong in an invocation.
#[derive(Debug, Default, Clone)]
pub struct Troubles {
    /// How many requests each service did not simply take in time.
    services: BTreeMap<&'static str, usize>,
    /// Whether a service said that an entry is itself at fault.
    pub entry_at_fault: bool,
}

impl Troubles {
    /// Whether that service did not simply take all requests in time.
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

/// A service that does by script what services do, and keeps what it took.
pub struct Simulated<E> {
    /// Its name.
    pub name: &'static str,
    limits: Limits,
    size: fn(&E) -> usize,
    tells: fn(&E) -> Vec<Id>,
    takes: Box<dyn Fn(&E)>,
    script: RefCell<Script>,
    trace: Trace,
    requests: Cell<u64>,
    /// Requests that it is going to take late.
    outstanding: Cell<usize>,
    /// What it took: by event, the numbers of the requests.
    pub taken: RefCell<BTreeMap<Id, Vec<u64>>>,
    /// Events of which it refused an entry out of a request that it took in part.
    pub refused: RefCell<BTreeSet<Id>>,
    /// Events of which it refused an entry for good, since the entry itself is at fault.
    pub refused_for_good: RefCell<BTreeSet<Id>>,
    /// How often it took an event out of a request of which it refused another.
    pub torn: RefCell<BTreeMap<Id, usize>>,
    /// How often it took an event without the function learning of it.
    pub unanswered: RefCell<BTreeMap<Id, usize>>,
    /// Requests that it took after the function had given them up, or while it waited in vain.
    pub late: Cell<usize>,
    /// Requests whose entries fill more than half of what a request may hold.
    pub full: Cell<usize>,
    /// Requests above its limits, each in a sentence; none is right.
    pub oversized: RefCell<Vec<String>>,
}

impl<E: Clone + 'static> Simulated<E> {
    /// A service of those limits. `size` is what an entry counts for, `tells` says which events it names, and `takes` is
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
            outstanding: Cell::default(),
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

    /// Waits until what it takes late has landed.
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

    /// Takes a request without the function learning of it.
    fn take_unanswered(&self, entries: &[&E], request: u64) {
        self.take(entries, request, |_| true);
        self.count(entries, &self.unanswered);
    }

    /// Takes a request so much later, whatever has become of the function by then.
    fn take_late(self: &Rc<Self>, entries: &[&E], request: u64, after: Duration) {
        let service = Rc::clone(self);
        let entries: Vec<E> = entries.iter().map(|entry| (*entry).clone()).collect();
        self.outstanding.update(|requests| requests + 1);
        // It is not awaited: the simulation waits for what is outstanding by itself.
        let _landing = spawn_local(async move {
            sleep(after).await;
            service.trace.line(|| format!("  {}: takes request {request} late", service.name));
            service.take_unanswered(&entries.iter().collect::<Vec<_>>(), request);
            service.late.update(|requests| requests + 1);
            service.outstanding.update(|requests| requests - 1);
        });
    }

    /// Refuses the entries whose position `is_refused`, and takes the others.
    fn take_in_part(
        &self,
        entries: &[&E],
        request: u64,
        is_refused: impl Fn(usize) -> bool,
        fault: Fault,
    ) -> Vec<Refusal> {
        self.take(entries, request, |index| !is_refused(index));
        let (refused, taken): (Vec<usize>, Vec<usize>) =
            (0..entries.len()).partition(|index| is_refused(*index));
        for index in &refused {
            let events = (self.tells)(entries[*index]);
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
        for event in entries.iter().flat_map(|entry| (self.tells)(entry)) {
            *counts.borrow_mut().entry(event).or_default() += 1;
        }
    }

    /// Holds a request against the limits.
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
    /// Notes that a service has a request of the invocation that the process works on.
    fn begin_request(&self, service: &'static str) {
        *self.troubles.borrow_mut().services.entry(service).or_default() += 1;
    }

    /// Notes what a service does with a request of the invocation that the process works on.
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
        // Until it answers, it may be too late.
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
                service.take(entries, request, |_| true);
                Ok(Vec::new())
            }
            Does::Refuse(bits, fault) => {
                Ok(service.take_in_part(entries, request, |index| bits >> (index % 32) & 1 == 1, fault))
            }
            Does::Fail(fault) => Err(failure(fault)),
            Does::TakeAndBreak => {
                service.take_unanswered(entries, request);
                Err(failure(Fault::Transient))
            }
            Does::TakeAndKeepSilent => {
                service.take_unanswered(entries, request);
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
                service.take_unanswered(entries, request);
                process.ended.set(true);
                pending().await
            }
        }
    }
}
