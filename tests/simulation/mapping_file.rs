//! Scenario files of the mapping, by which the model and the local cloud's mapping are held to the same steps.
//! `tests/mapping/README.md` describes their form.

mod run;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::mapping::{Position, Settings};

/// The largest time in a file, in milliseconds.
const LATEST: u64 = 1 << 53;

/// The error of another response type.
const RESPONSE_TYPES: &str = "FunctionResponseTypes is expected to be [] or [\"ReportBatchItemFailures\"]";
/// The error of another position.
const POSITIONS: &str = "StartingPosition is expected to be TRIM_HORIZON, LATEST, or AT_TIMESTAMP with a StartingPositionTimestamp";

/// A scenario file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
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
    steps: Vec<FileStep>,
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
struct FileStep {
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
    fn settings(&self) -> Result<Settings, String> {
        let read = &self.mapping;
        let reports = match read.function_response_types.as_slice() {
            [] => false,
            [only] if only == "ReportBatchItemFailures" => true,
            _ => return Err(RESPONSE_TYPES.to_owned()),
        };
        let position = match (read.starting_position.as_str(), read.starting_position_timestamp) {
            ("TRIM_HORIZON", None) => Position::TrimHorizon,
            ("LATEST", None) => Position::Latest,
            ("AT_TIMESTAMP", Some(at)) if at > self.created => {
                return Err("`StartingPositionTimestamp` is after `created`".to_owned());
            }
            ("AT_TIMESTAMP", Some(at)) => Position::AtTimestamp(Duration::from_millis(at)),
            _ => return Err(POSITIONS.to_owned()),
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
