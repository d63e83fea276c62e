//! Scenario files of the mapping, by which the model and the local cloud's mapping are held to the same steps.
//! `tests/mapping/README.md` describes their form.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::stream::StreamRecord;
use tokio::{
    runtime::Builder,
    sync::Notify,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    mapping::{Action, Answer, Batch, Lane, Mapping, Position, Settings, Step, THROTTLED},
    stream::Stream,
    trace::Trace,
};

/// The time from the last event of a scenario to the end of its stream.
const DAY: Duration = Duration::from_hours(24);
/// Invocations after which a scenario counts as endless.
const INVOCATIONS: u64 = 5_000;
/// The largest time in a file, in milliseconds.
const LATEST: u64 = 1 << 53;

/// A scenario file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default, rename = "rule")]
    _rule: String,
    #[serde(default, rename = "source")]
    _source: String,
    #[serde(default)]
    mapping: FileSettings,
    #[serde(default = "one")]
    shards: u64,
    #[serde(default)]
    created: u64,
    #[serde(default)]
    records: Vec<FileRecord>,
    #[serde(default)]
    reshards: Vec<Reshard>,
    #[serde(default)]
    function: Vec<Rule>,
    #[serde(default)]
    until: Option<u64>,
    /// The expected steps.
    #[serde(default)]
    pub steps: Vec<FileStep>,
}

/// The settings under AWS's names and with its defaults.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "PascalCase")]
struct FileSettings {
    batch_size: u64,
    maximum_batching_window_in_seconds: u64,
    parallelization_factor: u64,
    bisect_batch_on_function_error: bool,
    maximum_retry_attempts: i64,
    maximum_record_age_in_seconds: i64,
    function_response_types: Vec<String>,
    starting_position: String,
    starting_position_timestamp: Option<u64>,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            batch_size: 100,
            maximum_batching_window_in_seconds: 0,
            parallelization_factor: 1,
            bisect_batch_on_function_error: false,
            maximum_retry_attempts: -1,
            maximum_record_age_in_seconds: -1,
            function_response_types: Vec::new(),
            starting_position: "TRIM_HORIZON".to_owned(),
            starting_position_timestamp: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRecord {
    #[serde(default)]
    at: u64,
    #[serde(default)]
    shard: usize,
    #[serde(default = "key")]
    key: String,
    #[serde(default = "hundred")]
    bytes: u64,
    #[serde(default = "one")]
    count: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reshard {
    at: u64,
    split: Option<usize>,
    merge: Option<[usize; 2]>,
}

/// How the function answers a batch that has one of these records; any batch without them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    when: Option<Vec<u64>>,
    times: Option<u64>,
    #[serde(default)]
    takes: u64,
    #[serde(default)]
    answer: FileAnswer,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum FileAnswer {
    #[default]
    Done,
    Error,
    Throttled,
    Failed(Vec<u64>),
    Response(Value),
}

/// A step in a file: one of `invoke`, `checkpoint`, `bisect` and `discard`, with ranges of records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FileStep {
    at: u64,
    #[serde(default)]
    shard: usize,
    #[serde(default)]
    lane: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    invoke: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bisect: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discard: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

fn one() -> u64 {
    1
}

fn hundred() -> u64 {
    100
}

fn key() -> String {
    "k".to_owned()
}

/// The scenario files of a path: itself, or those in the folder. The error says why there is none.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries =
        fs::read_dir(path).map_err(|error| format!("{}: could not be read: {error}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    if files.is_empty() {
        return Err(format!("{}: the folder has no scenario, a file that ends in .json", path.display()));
    }
    Ok(files)
}

/// Runs a scenario file: the first step that is not the expected one, in a sentence; `None` if all are. The error says
/// why the file is not a scenario.
pub fn check(path: &Path) -> Result<Option<String>, String> {
    let named = |error: String| format!("{}: {error}", path.display());
    let text = fs::read_to_string(path).map_err(|error| named(format!("could not be read: {error}")))?;
    let file = read(&text).map_err(named)?;
    let found = file.run().map_err(named)?;
    let shown = |step: Option<&FileStep>| step.map_or("none".to_owned(), |step| json!(step).to_string());
    let differs = |number: &usize| found.get(*number) != file.steps.get(*number);
    Ok((0..found.len().max(file.steps.len())).find(differs).map(|number| {
        let (own, expected) = (shown(found.get(number)), shown(file.steps.get(number)));
        format!("step {number} is {own}, expected {expected}")
    }))
}

fn read(text: &str) -> Result<File, String> {
    let file: File = serde_json::from_str(text).map_err(|error| format!("it is not a scenario: {error}"))?;
    // Serde takes a list for an object with the same values.
    let document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let lists = ["records", "reshards", "function", "steps"].map(|name| document[name].as_array());
    let mut parts = lists.into_iter().flatten().flatten().chain(document.get("mapping")).chain([&document]);
    match parts.find(|part| !part.is_object()) {
        Some(part) => Err(format!("it is not a scenario: found {part}, expected an object")),
        None => Ok(file),
    }
}

impl File {
    /// The steps of the mapping, in the order of time, shard and lane.
    fn run(&self) -> Result<Vec<FileStep>, String> {
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

    fn settings(&self) -> Result<Settings, String> {
        let FileSettings { function_response_types, starting_position, .. } = &self.mapping;
        let read = &self.mapping;
        let reports = match function_response_types.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
        {
            [] => false,
            ["ReportBatchItemFailures"] => true,
            _ => {
                return Err(
                    "FunctionResponseTypes is expected to be [] or [\"ReportBatchItemFailures\"]".to_owned()
                );
            }
        };
        let position = match (starting_position.as_str(), read.starting_position_timestamp) {
            ("TRIM_HORIZON", None) => Position::TrimHorizon,
            ("LATEST", None) => Position::Latest,
            ("AT_TIMESTAMP", Some(at)) if at > self.created => {
                return Err("`StartingPositionTimestamp` is after `created`".to_owned());
            }
            ("AT_TIMESTAMP", Some(at)) => Position::AtTimestamp(Duration::from_millis(at)),
            _ => {
                return Err(
                    "StartingPosition is expected to be TRIM_HORIZON, LATEST, or AT_TIMESTAMP with a StartingPositionTimestamp"
                        .to_owned(),
                );
            }
        };
        let age = within("MaximumRecordAgeInSeconds", read.maximum_record_age_in_seconds, -1, 604_800)?;
        if (0..60).contains(&age) {
            return Err(format!("MaximumRecordAgeInSeconds is {age}, expected -1 or 60 to 604800"));
        }
        let retries = within("MaximumRetryAttempts", read.maximum_retry_attempts, -1, 10_000)?;
        let window =
            within("MaximumBatchingWindowInSeconds", read.maximum_batching_window_in_seconds, 0, 300)?;
        Ok(Settings {
            position,
            batch_size: index(within("BatchSize", read.batch_size, 1, 10_000)?),
            window: Duration::from_secs(window),
            parallelization: index(within("ParallelizationFactor", read.parallelization_factor, 1, 10)?),
            bisect: read.bisect_batch_on_function_error,
            retries: u32::try_from(retries).ok(),
            age: u64::try_from(age).ok().map(Duration::from_secs),
            reports,
            throttled: 0.0,
            repeated: 0.0,
            paused: None,
        })
    }

    /// Checks what the types of the fields leave open.
    fn check(&self) -> Result<(), String> {
        within("shards", self.shards, 1, 100)?;
        let records = self.records.iter().map(|record| record.at);
        let reshards = self.reshards.iter().map(|reshard| reshard.at);
        if !records.clone().is_sorted() || !reshards.clone().is_sorted() {
            return Err("`records` and `reshards` are expected in the order of `at`".to_owned());
        }
        for at in records.chain(reshards).chain([self.created, self.until.unwrap_or_default()]) {
            within("a time", at, 0, LATEST)?;
        }
        for record in &self.records {
            within("bytes", record.bytes, 0, 10 * 1024 * 1024)?;
            within("count", record.count, 1, 100_000)?;
            within("the length of `key`", record.key.chars().count() as u64, 1, 256)?;
        }
        for rule in &self.function {
            within("takes", rule.takes, 0, LATEST)?;
            within("times", rule.times.unwrap_or(1), 1, LATEST)?;
        }
        for step in &self.steps {
            let actions = [&step.invoke, &step.checkpoint, &step.bisect, &step.discard];
            if actions.into_iter().flatten().count() != 1 || step.discard.is_some() != step.reason.is_some() {
                return Err(format!(
                    "a step has one of invoke, checkpoint, bisect, and discard with a reason; found {}",
                    json!(step)
                ));
            }
        }
        Ok(())
    }
}

/// The steps of the mapping, as they are taken.
async fn steps(file: &File, settings: Settings) -> Result<Vec<Step>, String> {
    let trace = Trace::begin(false);
    let begin = Instant::now();
    let shards = usize::try_from(file.shards).unwrap_or(usize::MAX);
    let stream = Stream::new("stream", shards);
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

fn within<N: PartialOrd + Copy + std::fmt::Display>(
    name: &str,
    value: N,
    least: N,
    most: N,
) -> Result<N, String> {
    if (&least..=&most).contains(&&value) {
        return Ok(value);
    }
    Err(format!("{name} is {value}, expected {least} to {most}"))
}

/// A number that was checked to be small.
fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
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
    async fn answer(&self, batch: &Batch<'_>) -> Answer {
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
    fn answer(&self) -> Answer {
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
