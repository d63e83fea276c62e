//! Runs the model of the mapping on a scenario.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join;
use serde_json::{Value, json};
use shared::stream::StreamRecord;
use tokio::{
    runtime::Builder,
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    super::{
        mapping::{Action, Batch, InvocationResult, Lane, Mapping, Settings, Step, THROTTLED},
        stream::Stream,
        trace::Trace,
    },
    File, FileAnswer, FileRecord, FileStep, LATEST, Reshard, Rule, index,
};

/// The time from the last event of a scenario to the end of its stream.
const DAY: Duration = Duration::from_hours(24);
/// Invocations after which a scenario counts as endless.
const INVOCATIONS: u64 = 5_000;

impl File {
    /// The steps of the mapping, in the order of time, shard and lane.
    pub(super) fn run(&self) -> Result<Vec<FileStep>, String> {
        let settings = self.settings()?;
        self.check()?;
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
        let mut steps = runtime.block_on(steps(self, settings))?;
        steps.sort_by_key(|step| (step.at, step.lane));
        Ok(steps.iter().map(FileStep::of).collect())
    }

    /// Changes the shards and puts the records at their times; at one instant, the shards change first.
    async fn produce(&self, stream: &Stream, begin: Instant) -> Result<(), String> {
        let mut reshards = self.reshards.iter().peekable();
        let mut records = self.records.iter().peekable();
        let mut last = self.created;
        loop {
            let next = [reshards.peek().map(|reshard| reshard.at), records.peek().map(|record| record.at)];
            let Some(at) = next.into_iter().flatten().min() else { break };
            let due = begin + Duration::from_millis(at);
            if Instant::now() < due {
                sleep_until(due).await;
            }
            while let Some(reshard) = reshards.next_if(|reshard| reshard.at == at) {
                reshard.apply(stream)?;
            }
            while let Some(record) = records.next_if(|record| record.at == at) {
                record.put(stream)?;
            }
            last = last.max(at);
        }
        sleep_until(begin + Duration::from_millis(last) + DAY).await;
        stream.close();
        Ok(())
    }
}

/// The steps of the mapping, as they are taken.
async fn steps(file: &File, settings: Settings) -> Result<Vec<Step>, String> {
    let trace = Trace::begin(false);
    let begin = Instant::now();
    let stream = Stream::new("stream", index(file.shards));
    let mut mapping = Mapping::new("function", settings, 0, &trace);
    mapping.steps = Some(RefCell::default());
    let script =
        Script { file, used: RefCell::default(), invocations: Cell::default(), endless: Notify::new() };
    let invalid = RefCell::new(None);
    let produce = async {
        if let Err(error) = file.produce(&stream, begin).await {
            invalid.replace(Some(error));
            script.endless.notify_one();
        }
    };
    let map = async {
        sleep_until(begin + Duration::from_millis(file.created)).await;
        mapping.run(&stream, &async |batch: Batch<'_>| script.answer(&batch).await).await;
    };
    let until = file.until.map_or(Duration::MAX, Duration::from_millis);
    // What arrives at an instant is there before the mapping does anything at it.
    let both = timeout(until.min(Duration::from_millis(LATEST)), join(produce, map));
    let is_endless = tokio::select! {
        biased;
        () = script.endless.notified() => true,
        _ = both => false,
    };
    if let Some(error) = invalid.take() {
        return Err(error);
    }
    if is_endless {
        return Err(format!("it does not end within {INVOCATIONS} invocations; `until` ends it before"));
    }
    let steps = mapping.steps.take().map(RefCell::into_inner).unwrap_or_default();
    Ok(steps.into_iter().filter(|step| step.at < until).collect())
}

impl FileRecord {
    fn put(&self, stream: &Stream) -> Result<(), String> {
        let Self { at, shard, key, bytes, count } = self;
        if *shard >= stream.shards() {
            return Err(format!("a record at {at} is for shard {shard}, which is not"));
        }
        if stream.is_at_end(*shard) {
            return Err(format!("a record at {at} is for shard {shard}, which was split or merged before"));
        }
        let (data, place) = (Bytes::from(vec![0; index(*bytes)]), stream.first_hash_key(*shard).to_string());
        for _ in 0..*count {
            stream.put(&StreamRecord::placed(key.as_str(), &place, data.clone()));
        }
        Ok(())
    }
}

impl Reshard {
    fn apply(&self, stream: &Stream) -> Result<(), String> {
        let at = self.at;
        let open = stream.open();
        let is_done = match (self.split, self.merge) {
            (Some(shard), None) => open.contains(&shard) && stream.split_shard(shard),
            (None, Some(pair)) => open
                .windows(2)
                .position(|neighbours| neighbours == pair)
                .is_some_and(|choice| stream.merge(choice)),
            _ => {
                return Err(format!(
                    "a reshard at {at} has both or none of `split` and `merge`, expected one"
                ));
            }
        };
        if is_done {
            return Ok(());
        }
        Err(format!(
            "a reshard at {at} is of a shard that is not open, or of two that do not follow on each other"
        ))
    }
}

/// The function of a scenario, which answers by its rules.
struct Script<'f> {
    file: &'f File,
    used: RefCell<BTreeMap<(usize, Lane), u64>>,
    invocations: Cell<u64>,
    endless: Notify,
}

impl Script<'_> {
    async fn answer(&self, batch: &Batch<'_>) -> InvocationResult {
        self.invocations.update(|invocations| invocations + 1);
        if self.invocations.get() > INVOCATIONS {
            self.endless.notify_one();
            sleep(Duration::from_millis(LATEST)).await;
        }
        let Some(rule) = self.rule(batch) else { return FileAnswer::Done.answer() };
        if rule.takes > 0 {
            sleep(Duration::from_millis(rule.takes)).await;
        }
        rule.answer.answer()
    }

    /// The first rule that applies to the batch and is not used up in its lane.
    fn rule(&self, batch: &Batch<'_>) -> Option<&Rule> {
        let applies = |rule: &Rule| match &rule.when {
            None => true,
            Some(when) => batch.records.iter().any(|record| when.contains(&record.position)),
        };
        let mut used = self.used.borrow_mut();
        for (number, rule) in self.file.function.iter().enumerate() {
            let used = used.entry((number, batch.lane)).or_default();
            if rule.times.is_none_or(|times| *used < times) && applies(rule) {
                *used += 1;
                return Some(rule);
            }
        }
        None
    }
}

impl FileAnswer {
    fn answer(&self) -> InvocationResult {
        let failures = |numbers: &[u64]| {
            let failures: Vec<Value> =
                numbers.iter().map(|number| json!({"itemIdentifier": format!("49{number:054}")})).collect();
            json!({"batchItemFailures": failures}).to_string()
        };
        match self {
            Self::Done => Ok(failures(&[])),
            Self::Error => Err("it fails".to_owned()),
            Self::Throttled => Err(THROTTLED.to_owned()),
            Self::Failed(numbers) => Ok(failures(numbers)),
            Self::Response(response) => Ok(response.to_string()),
        }
    }
}

impl FileStep {
    fn of(step: &Step) -> Self {
        let Step { at, lane: Lane { shard, lane }, action } = step;
        let at = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let step = Self { at, shard: *shard, lane: *lane, ..Self::default() };
        match action {
            Action::Invoke(records) => Self { invoke: Some(ranges(records)), ..step },
            Action::Checkpoint(records) => Self { checkpoint: Some(ranges(records)), ..step },
            Action::Bisect(first, second) => {
                Self { bisect: Some(format!("{} | {}", ranges(first), ranges(second))), ..step }
            }
            Action::Discard(records, reason) => {
                Self { discard: Some(ranges(records)), reason: Some((*reason).to_owned()), ..step }
            }
        }
    }
}

/// The numbers of records, such as `0-3,5`.
fn ranges(records: &[u64]) -> String {
    let runs = records.chunk_by(|first, second| first + 1 == *second);
    let texts: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            run => run.iter().map(u64::to_string).collect(),
        })
        .collect();
    texts.join(",")
}
