//! A deployed function with its containers, its timeout and the end of its processes.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::Poll,
    time::Duration,
};

use serde::Deserialize;
use shared::lambda::invocation::Invocation;
use tokio::time::timeout;

use super::{
    mapping::InvocationResult,
    port::{Process, Troubles},
    scenario::Scenario,
    stage::Stage,
    trace::Trace,
};

/// The error of an invocation whose process ended.
pub const ENDED: &str = "the process ended";

/// A handler, which answers with JSON or with an error.
pub trait Handle {
    /// Handles one event.
    fn serve(&self, event: &str, invocation: &Invocation) -> impl Future<Output = InvocationResult>;
}

/// A function whose containers serve one invocation at a time and live until their process ends.
pub struct Function<H> {
    name: &'static str,
    timeout: Duration,
    trace: Trace,
    seed: u64,
    start: Start<H>,
    idle: RefCell<Vec<Container<H>>>,
    invocations: Cell<u64>,
    /// The invocations so far.
    pub ledger: RefCell<Vec<Served>>,
}

/// Makes the handler of a container, given its process.
type Start<H> = Box<dyn Fn(&Rc<Process>) -> H>;

struct Container<H> {
    handler: H,
    process: Rc<Process>,
}

/// The outcome of an invocation.
pub struct Invoked {
    /// The answer.
    pub answer: InvocationResult,
    /// The troubles before the answer.
    pub troubles: Troubles,
}

/// An invocation that was served.
#[derive(Debug)]
pub struct Served {
    /// Its request id.
    pub request_id: String,
    /// The answer; `None` if the process ended before it.
    pub answer: Option<InvocationResult>,
    /// The records in the event.
    pub records: usize,
}

/// A line of the counts, as in the log.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LoggedCounts {
    #[serde(rename = "request_id")]
    request_id: String,
    /// Which function wrote it.
    pub function: String,
    /// Records that came in.
    pub r#in: u64,
    /// Records whose every output was accepted.
    pub delivered: u64,
    /// Records without outputs.
    pub filtered: u64,
    /// Records in rejects.
    pub rejected: u64,
    /// Records to retry.
    pub failed: u64,
    /// Records without an outcome.
    pub unaccounted: u64,
    /// Rows of the alerts table that were not delivered.
    pub unrecorded: u64,
}

thread_local! {
    /// The counts that functions wrote to their logs, by request id.
    static LOG: RefCell<BTreeMap<String, Vec<LoggedCounts>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The counts since the last call, by request id.
#[must_use]
pub fn counts() -> BTreeMap<String, Vec<LoggedCounts>> {
    LOG.take()
}

fn log(line: &str) {
    // Other lines of the log have other fields.
    if let Ok(line) = serde_json::from_str::<LoggedCounts>(line) {
        let request = line.request_id.clone();
        LOG.with_borrow_mut(|log| log.entry(request).or_default().push(line));
    }
}

impl<H: Handle> Function<H> {
    /// A function whose containers `start` makes, given their process.
    #[must_use]
    pub fn new(
        stage: Stage,
        scenario: &Scenario,
        trace: &Trace,
        start: impl Fn(&Rc<Process>) -> H + 'static,
    ) -> Self {
        Self {
            name: stage.name(),
            timeout: scenario.timeout,
            trace: trace.clone(),
            seed: scenario.seed,
            start: Box::new(start),
            idle: RefCell::default(),
            invocations: Cell::default(),
            ledger: RefCell::default(),
        }
    }

    /// Invokes the function with an event of `records` records.
    pub async fn invoke(&self, event: &str, records: usize) -> Invoked {
        let number = self.invocations.get();
        self.invocations.set(number + 1);
        let request_id = format!("{}-{number}", self.name);
        let container = self.idle.borrow_mut().pop();
        let container = container.unwrap_or_else(|| {
            let process = Rc::default();
            Container { handler: (self.start)(&process), process }
        });
        container.process.troubles.take();
        let now = self.trace.now();
        let deadline = now.timestamp_millis().unsigned_abs()
            + u64::try_from(self.timeout.as_millis()).unwrap_or_default();
        let invocation =
            Invocation { log, ..Invocation::begin(&request_id, deadline, now, self.seed ^ number) };
        let answer = timeout(self.timeout, container.serve(event, &invocation)).await.ok().flatten();
        let troubles = container.process.troubles.take();
        if answer.is_some() {
            self.idle.borrow_mut().push(container);
        }
        let outcome = answer.clone().unwrap_or_else(|| Err(ENDED.to_owned()));
        self.ledger.borrow_mut().push(Served { request_id, answer, records });
        Invoked { answer: outcome, troubles }
    }
}

impl<H: Handle> Container<H> {
    /// The handler's answer; nothing if the process ends first.
    async fn serve(&self, event: &str, invocation: &Invocation) -> Option<InvocationResult> {
        let mut handled = pin!(self.handler.serve(event, invocation));
        poll_fn(|context| match handled.as_mut().poll(context) {
            _ if self.process.ended.get() => Poll::Ready(None),
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }
}
