//! A model of Lambda's event source mapping for Kinesis.
//!
//! Source: Lambda developer guide, "Using Lambda to process records from Amazon Kinesis Data Streams" and its pages on
//! batching, partial batch responses, retries and on-failure destinations.

mod settings;
mod verdict;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use fastrand::Rng;
use futures_util::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use serde_json::Value;
use tokio::time::{Instant, sleep, sleep_until};

pub use self::{
    settings::{Position, Settings},
    verdict::Verdict,
};
use super::{
    stream::{Stored, Stream},
    trace::Trace,
};

/// Bytes of an event.
///
/// Source: Lambda developer guide, "Lambda quotas", invocation payload.
const EVENT_BYTES: usize = 6 * 1024 * 1024;
/// Bytes of a record in an event in addition to its data, rounded up.
const RECORD_BYTES: usize = 500;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Invocations after which a mapping counts as endless.
const ENDLESS: u64 = 20_000;

/// A batch for the function.
pub struct Batch<'a> {
    /// Its records.
    pub records: &'a [Stored],
    /// The event of the invocation.
    pub event: &'a str,
    /// Its lane, one of the parallel batches of the shard.
    pub lane: Lane,
}

/// The outcome of an invocation: the function's answer or its failure.
pub type InvocationResult = Result<String, String>;

/// The failure of an invocation that Lambda throttled, without calling the function.
pub const THROTTLED: &str = "the invocation is throttled";

/// A sequence of batches of a shard, which has as many as its mapping's parallelization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    /// The shard.
    pub shard: usize,
    /// The number of the sequence in the shard.
    pub lane: usize,
}

/// What a mapping does with records, by their positions in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// It invokes the function, or is throttled when it tries.
    Invoke(Vec<u64>),
    /// The records are done.
    Checkpoint(Vec<u64>),
    /// A failed batch is split into two.
    Bisect(Vec<u64>, Vec<u64>),
    /// The records go to the on-failure destination, for this reason.
    Discard(Vec<u64>, &'static str),
}

/// A step of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The time since the beginning.
    pub at: Duration,
    /// Where it does it.
    pub lane: Lane,
    /// What the mapping does.
    pub action: Action,
}

/// Records in the on-failure destination.
#[derive(Debug, Clone)]
pub struct Discarded {
    /// The condition in Lambda's words: `RetryAttemptsExhausted` or `RecordAgeExceeded`.
    pub condition: &'static str,
    /// The event, payload included, as the destination on S3 gets it.
    pub event: String,
    /// Its records.
    pub records: Vec<Stored>,
}

/// A mapping from a stream to a function.
pub struct Mapping {
    /// Its settings.
    pub settings: Settings,
    /// The on-failure destination.
    pub destination: RefCell<Vec<Discarded>>,
    /// How often each record was delivered again after it was done, by its position.
    pub repeated: RefCell<BTreeMap<u64, usize>>,
    /// Invocations that Lambda throttled.
    pub throttled: Cell<usize>,
    /// Batches that waited for the end of a pause.
    pub waited: Cell<usize>,
    /// Batches that ended at the size of an event.
    pub full: Cell<usize>,
    /// Its steps, if they are kept.
    pub steps: Option<RefCell<Vec<Step>>>,
    /// The records of each shard when the mapping was created.
    created: RefCell<Vec<usize>>,
    function: &'static str,
    trace: Trace,
    chances: RefCell<Rng>,
    invocations: Cell<u64>,
}

/// Records that are processed together, and how often that was attempted.
struct Work {
    records: Vec<Stored>,
    attempts: u32,
    /// Whether they were done before.
    is_repeat: bool,
}

impl Mapping {
    /// A mapping to the function of that name; the seed decides which invocations are throttled or repeated.
    #[must_use]
    pub fn new(function: &'static str, settings: Settings, seed: u64, trace: &Trace) -> Self {
        Self {
            settings,
            destination: RefCell::default(),
            repeated: RefCell::default(),
            throttled: Cell::default(),
            waited: Cell::default(),
            full: Cell::default(),
            steps: None,
            created: RefCell::default(),
            function,
            trace: trace.clone(),
            chances: RefCell::new(Rng::with_seed(seed)),
            invocations: Cell::default(),
        }
    }

    /// Reads the stream to its end, and calls `invoke` with batches. A shard is read after its parents are done.
    ///
    /// # Panics
    ///
    /// When it makes too many invocations.
    pub async fn run(&self, stream: &Stream, invoke: &impl AsyncFn(Batch<'_>) -> InvocationResult) {
        self.created.replace((0..stream.shards()).map(|shard| stream.shard(shard).len()).collect());
        let (mut begun, mut done) = (BTreeSet::new(), BTreeSet::new());
        let mut reading = FuturesUnordered::new();
        loop {
            for shard in 0..stream.shards() {
                let is_due = stream.parents(shard).iter().all(|parent| done.contains(parent));
                if is_due && begun.insert(shard) {
                    reading.push(self.shard(stream, shard, invoke));
                }
            }
            tokio::select! {
                biased;
                Some(shard) = reading.next() => {
                    done.insert(shard);
                }
                () = stream.changed(), if !stream.is_closed() => {}
                else => return,
            }
        }
    }

    /// Reads a shard to its end, and returns it.
    async fn shard(
        &self,
        stream: &Stream,
        shard: usize,
        invoke: &impl AsyncFn(Batch<'_>) -> InvocationResult,
    ) -> usize {
        let lanes = 0..self.settings.parallelization;
        join_all(lanes.map(|lane| self.lane(stream, Lane { shard, lane }, invoke))).await;
        shard
    }

    async fn lane(&self, stream: &Stream, lane: Lane, invoke: &impl AsyncFn(Batch<'_>) -> InvocationResult) {
        let mut next = self.start(stream, lane.shard);
        while let Some(records) = self.gather(stream, lane, &mut next).await {
            self.work(stream, lane, records, invoke).await;
        }
    }

    /// The position in the shard to begin at.
    fn start(&self, stream: &Stream, shard: usize) -> usize {
        let records = stream.shard(shard);
        match self.settings.position {
            Position::TrimHorizon => 0,
            // Nothing is skipped of a shard that the stream got later.
            Position::Latest => self.created.borrow().get(shard).copied().unwrap_or_default(),
            Position::AtTimestamp(at) => {
                records.partition_point(|record| self.trace.since_begin(record.arrived) < at)
            }
        }
    }

    /// The next batch: as many records as fit, or as arrived within the window; `None` at the end of the stream.
    async fn gather(&self, stream: &Stream, lane: Lane, next: &mut usize) -> Option<Vec<Stored>> {
        let Lane { shard, lane } = lane;
        let Settings { batch_size, window, parallelization, .. } = self.settings;
        let mut batch: Vec<Stored> = Vec::new();
        let mut bytes = 0;
        let mut until = None;
        loop {
            for record in &stream.shard(shard)[*next..] {
                if record.lane(parallelization) == lane {
                    let size = RECORD_BYTES + record.data.len().div_ceil(3) * 4;
                    let is_full = !batch.is_empty() && bytes + size > EVENT_BYTES;
                    if batch.len() == batch_size || is_full {
                        self.full.update(|batches| batches + usize::from(is_full));
                        return Some(batch);
                    }
                    bytes += size;
                    batch.push(record.clone());
                }
                *next += 1;
            }
            if batch.is_empty() {
                if stream.is_at_end(shard) {
                    return None;
                }
                stream.changed().await;
                continue;
            }
            let until = *until.get_or_insert_with(|| Instant::now() + window);
            if batch.len() == batch_size || stream.is_at_end(shard) || Instant::now() >= until {
                return Some(batch);
            }
            // At the end of the window, too, the records are read that have arrived by then.
            tokio::select! {
                () = stream.changed() => {}
                () = sleep_until(until) => {}
            }
        }
    }

    /// Invokes the function with records until they are done or discarded.
    async fn work(
        &self,
        stream: &Stream,
        lane: Lane,
        records: Vec<Stored>,
        invoke: &impl AsyncFn(Batch<'_>) -> InvocationResult,
    ) {
        let mut queue = VecDeque::from([Work { records, attempts: 0, is_repeat: false }]);
        while let Some(work) = queue.pop_front() {
            self.wait_while_paused().await;
            let Work { mut records, attempts, is_repeat } = self.discard_aged(stream, lane, work);
            if records.is_empty() {
                continue;
            }
            let answer = self.attempt(stream, lane, &records, invoke).await;
            let verdict = self.verdict(&answer, &records);
            let done = match verdict {
                Verdict::Done => records.len(),
                Verdict::From(at) => at,
                Verdict::Failed | Verdict::Throttled => 0,
            };
            if done > 0 {
                self.note(lane, || Action::Checkpoint(positions(&records[..done])));
            }
            self.trace_verdict(&verdict, &answer, &records);
            let again = match verdict {
                Verdict::Done if !is_repeat && self.is_repeated(&records) => {
                    Work { records, attempts: 0, is_repeat: true }
                }
                Verdict::Done => continue,
                // The function was not called, so this is not an attempt. It ends only by the age of the records.
                Verdict::Throttled => Work { records, attempts, is_repeat },
                // Earlier records are done. A split uses no retry, but without earlier records it is not a split.
                Verdict::From(at) => {
                    let attempts = if self.settings.bisect && at > 0 { attempts } else { attempts + 1 };
                    Work { records: records.split_off(at), attempts, is_repeat }
                }
                Verdict::Failed if self.settings.bisect && records.len() > 1 => {
                    let half = records.split_off(records.len().div_ceil(2));
                    self.note(lane, || Action::Bisect(positions(&records), positions(&half)));
                    queue.push_front(Work { records: half, attempts, is_repeat });
                    Work { records, attempts, is_repeat }
                }
                Verdict::Failed => Work { records, attempts: attempts + 1, is_repeat },
            };
            if self.settings.retries.is_some_and(|retries| again.attempts > retries) {
                self.discard("RetryAttemptsExhausted", stream, lane, again.records);
                continue;
            }
            sleep(LONGEST_PAUSE.min(Duration::from_millis(500 << again.attempts.min(10)))).await;
            queue.push_front(again);
        }
    }

    /// Invokes the function with records, unless Lambda throttles the invocation.
    async fn attempt(
        &self,
        stream: &Stream,
        lane: Lane,
        records: &[Stored],
        invoke: &impl AsyncFn(Batch<'_>) -> InvocationResult,
    ) -> InvocationResult {
        let (function, count, shard) = (self.function, records.len(), lane.shard);
        let (first, last) = ends(records);
        self.trace.line(|| {
            format!("{function}: a batch of {count}, {first} to {last} of {} shard {shard}", stream.name)
        });
        self.note(lane, || Action::Invoke(positions(records)));
        if self.is_throttled() {
            return Err(THROTTLED.to_owned());
        }
        let invocations = self.invocations.get() + 1;
        self.invocations.set(invocations);
        assert!(invocations < ENDLESS, "the mapping of {function} never ends");
        let event = event(stream, shard, records, &self.trace);
        invoke(Batch { records, event: &event, lane }).await
    }

    /// Writes what came of a batch into the trace.
    fn trace_verdict(&self, verdict: &Verdict, answer: &InvocationResult, records: &[Stored]) {
        let ((first, last), function) = (ends(records), self.function);
        self.trace.line(|| match (verdict, answer) {
            (Verdict::Done, _) => format!("{function}: {first} to {last} are done"),
            (Verdict::From(at), _) => format!("{function}: is retried from {}", records[*at].position),
            (Verdict::Throttled, _) => format!("{function}: the invocation is throttled"),
            (Verdict::Failed, Err(why)) => format!("{function}: failed on {first} to {last}: {why}"),
            (Verdict::Failed, Ok(answer)) => {
                format!("{function}: gave an answer that is not valid: {answer}")
            }
        });
    }

    /// Waits until the mapping is enabled.
    async fn wait_while_paused(&self) {
        let now = self.trace.elapsed();
        if let Some(pause) = self.settings.paused.as_ref().filter(|pause| pause.contains(&now)) {
            self.trace.line(|| format!("{}: the mapping is paused", self.function));
            self.waited.update(|batches| batches + 1);
            sleep(pause.end.saturating_sub(now)).await;
        }
    }

    /// Whether Lambda throttles the next invocation.
    ///
    /// Source: Lambda developer guide, "Using Lambda to process records from Amazon Kinesis Data Streams": where the
    /// function is throttled, Lambda retries until the records expire or are too old.
    fn is_throttled(&self) -> bool {
        let is_throttled = self.chances.borrow_mut().f64() < self.settings.throttled;
        if is_throttled {
            self.throttled.update(|invocations| invocations + 1);
        }
        is_throttled
    }

    /// Whether Lambda delivers a finished batch again: it promises each record at least once, not exactly once.
    fn is_repeated(&self, records: &[Stored]) -> bool {
        let is_repeated = self.chances.borrow_mut().f64() < self.settings.repeated;
        if is_repeated {
            self.trace.line(|| format!("{}: the batch is delivered again", self.function));
            for record in records {
                *self.repeated.borrow_mut().entry(record.position).or_default() += 1;
            }
        }
        is_repeated
    }

    /// The meaning of an answer for a batch.
    #[must_use]
    pub fn verdict(&self, answer: &InvocationResult, records: &[Stored]) -> Verdict {
        match answer {
            Err(failure) if failure == THROTTLED => Verdict::Throttled,
            Err(_) => Verdict::Failed,
            Ok(_) if !self.settings.reports => Verdict::Done,
            Ok(answer) => Verdict::of(answer, records),
        }
    }

    /// Discards records that are too old, and returns the others.
    fn discard_aged(&self, stream: &Stream, lane: Lane, mut work: Work) -> Work {
        if let Some(age) = self.settings.age {
            let aged = work.records.partition_point(|record| record.arrived.elapsed() > age);
            let rest = work.records.split_off(aged);
            self.discard("RecordAgeExceeded", stream, lane, work.records);
            work.records = rest;
        }
        work
    }

    fn discard(&self, condition: &'static str, stream: &Stream, lane: Lane, records: Vec<Stored>) {
        if records.is_empty() {
            return;
        }
        self.note(lane, || Action::Discard(positions(&records), condition));
        self.trace.line(|| {
            let function = self.function;
            format!("{function}: {} records go to the on-failure destination: {condition}", records.len())
        });
        let event = event(stream, lane.shard, &records, &self.trace);
        self.destination.borrow_mut().push(Discarded { condition, event, records });
    }

    /// Keeps a step, if steps are kept.
    fn note(&self, lane: Lane, action: impl FnOnce() -> Action) {
        if let Some(steps) = &self.steps {
            steps.borrow_mut().push(Step { at: self.trace.elapsed(), lane, action: action() });
        }
    }
}

/// The positions of the first and the last record.
fn ends(records: &[Stored]) -> (u64, u64) {
    (records[0].position, records[records.len() - 1].position)
}

fn positions(records: &[Stored]) -> Vec<u64> {
    records.iter().map(|record| record.position).collect()
}

/// The event of an invocation with these records.
fn event(stream: &Stream, shard: usize, records: &[Stored], trace: &Trace) -> String {
    let records: Vec<String> = records
        .iter()
        .map(|record| {
            let number = record.sequence_number();
            let data = base64_simd::STANDARD.encode_to_string(&record.data);
            let key = Value::from(record.partition_key.as_str());
            let arrived = trace.wall(record.arrived).timestamp_micros();
            let (seconds, micros) = (arrived / 1_000_000, arrived % 1_000_000);
            format!(
                r#"{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":{key},"sequenceNumber":"{number}","data":"{data}","approximateArrivalTimestamp":{seconds}.{micros:06}}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-{shard:012}:{number}","eventName":"aws:kinesis:record","awsRegion":"eu-west-1","eventSourceARN":"arn:aws:kinesis:eu-west-1:000000000000:stream/{}"}}"#,
                stream.name
            )
        })
        .collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}
