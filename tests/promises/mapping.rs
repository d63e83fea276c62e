//! The rules of the event source mapping, checked on its model.
//!
//! Most rules are scenario files, which `tests/mapping/README.md` describes. Here are those that no file can hold: about
//! the template's settings, about a pause, and about batches that Lambda delivers again.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use serde_json::json;
use shared::stream::StreamRecord;
use tests::{
    simulation::{
        mapping::{Batch, InvocationResult, Mapping, Position, Settings},
        mapping_file,
        scenario::Scenario,
        simulate,
        stream::Stream,
        trace::Trace,
    },
    template_default,
};
use tokio::time::{Instant, sleep};

/// The template's default settings of the mappings of the streams.
fn as_in_the_template() -> Settings {
    let age = u64::try_from(template_default("MaximumRecordAgeSeconds")).ok();
    Settings {
        position: Position::TrimHorizon,
        batch_size: 1_000,
        window: Duration::ZERO,
        parallelization: usize::try_from(template_default("ParallelizationFactor")).unwrap(),
        bisect: true,
        retries: Some(u32::try_from(template_default("MaximumRetryAttempts")).unwrap()),
        // -1 means unlimited.
        age: age.map(Duration::from_secs),
        reports: true,
        throttled: 0.0,
        repeated: 0.0,
        paused: None,
    }
}

fn retention() -> Duration {
    Duration::from_hours(u64::try_from(template_default("StreamRetentionHours")).unwrap())
}

/// The answer that asks for a retry from a record; `None` if all are done.
#[expect(clippy::unnecessary_wraps, reason = "it has the type of answers that may fail")]
fn retry_from(record: Option<u64>) -> InvocationResult {
    let failures = record.map(|record| json!({"itemIdentifier": format!("49{record:054}")}));
    Ok(json!({"batchItemFailures": failures.as_slice()}).to_string())
}

/// Runs a mapping from a stream of `records` records to a function whose invocations take `takes`. Returns the batches
/// that it finished.
async fn run(
    mapping: &Mapping,
    records: usize,
    takes: Duration,
    answer: &dyn Fn(&[u64]) -> InvocationResult,
) -> Vec<Vec<u64>> {
    let stream = Stream::new("s1", 1);
    for number in 0..records {
        stream.put(&StreamRecord::new("k", Bytes::from(number.to_string())));
    }
    stream.close();
    let finished = RefCell::new(Vec::new());
    let invoke = async |batch: Batch<'_>| {
        if !takes.is_zero() {
            sleep(takes).await;
        }
        let positions: Vec<u64> = batch.records.iter().map(|record| record.position).collect();
        let answer = answer(&positions);
        if answer == retry_from(None) {
            finished.borrow_mut().push(positions);
        }
        answer
    };
    mapping.run(&stream, &invoke).await;
    finished.take()
}

fn mapping(settings: Settings) -> Mapping {
    Mapping::new("f", settings, 0, &Trace::begin(false))
}

/// The records in the on-failure destination, each group with its condition.
fn discarded(mapping: &Mapping) -> Vec<(&'static str, Vec<u64>)> {
    let groups = mapping.destination.take().into_iter();
    let positions =
        groups.map(|group| (group.condition, group.records.iter().map(|record| record.position).collect()));
    positions.collect()
}

/// The files have the steps of the local cloud's mapping, too. `MAPPING_SCENARIOS` names another folder of them.
#[test]
fn each_scenario_file_has_its_steps() {
    let own = || Path::new(env!("CARGO_MANIFEST_DIR")).join("mapping/scenarios");
    let folder = std::env::var_os("MAPPING_SCENARIOS").map_or_else(own, PathBuf::from);
    let files = mapping_file::files(&folder).unwrap();
    let outcomes: Vec<String> = files
        .iter()
        .filter_map(|file| match mapping_file::check(file) {
            Ok(difference) => difference.map(|difference| format!("{}: {difference}", file.display())),
            Err(error) => Some(error),
        })
        .collect();
    assert_eq!(outcomes, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn finished_batch_may_be_delivered_again() {
    let mapping = mapping(Settings { batch_size: 4, repeated: 1.0, ..as_in_the_template() });
    let finished = run(&mapping, 6, Duration::ZERO, &|_| retry_from(None)).await;
    assert_eq!(finished, [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![4, 5], vec![4, 5]]);
    assert_eq!(mapping.repeated.take(), (0..6).map(|position| (position, 1)).collect::<BTreeMap<_, _>>());
}

#[tokio::test(start_paused = true)]
async fn backlog_of_a_pause_is_processed_afterwards() {
    let twenty_hours = Duration::from_hours(20);
    let paused = Settings { paused: Some(Duration::ZERO..twenty_hours), ..as_in_the_template() };
    let begin = Instant::now();
    let patient = mapping(paused.clone());
    let finished = run(&patient, 2_500, Duration::ZERO, &|_| retry_from(None)).await;
    assert_eq!(finished.concat(), (0..2_500).collect::<Vec<_>>());
    assert_eq!(discarded(&patient), []);
    assert_eq!(begin.elapsed(), twenty_hours);
    // A maximum age would discard it.
    let aging = mapping(Settings { age: Some(Duration::from_hours(1)), ..paused });
    let finished = run(&aging, 500, Duration::ZERO, &|_| retry_from(None)).await;
    assert_eq!(finished, [[0; 0]; 0]);
    assert_eq!(discarded(&aging), [("RecordAgeExceeded", (0..500).collect())]);
}

#[test]
fn a_pause_of_twenty_hours_loses_no_alert() {
    let template = as_in_the_template();
    let mut waited = 0;
    for seed in 0..60 {
        let mut scenario = Scenario::draw(seed);
        for mapping in scenario.mappings.values_mut() {
            (mapping.retries, mapping.age, mapping.paused) = (template.retries, template.age, None);
        }
        scenario.mappings.notify.paused = Some(Duration::ZERO..Duration::from_hours(20));
        let outcome = simulate(&scenario, false);
        assert_eq!(outcome.broken, [""; 0], "seed {seed}");
        assert_eq!(outcome.tally.times("records discarded"), 0, "seed {seed}");
        waited += outcome.tally.times("batches that waited for the end of a pause");
    }
    assert!(waited > 60, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn outage_within_the_retention_needs_no_redrive() {
    let mapping = mapping(as_in_the_template());
    let end = Instant::now() + retention() - Duration::from_hours(1);
    let answer = |handed: &[u64]| retry_from((Instant::now() < end).then_some(handed[0]));
    // In an outage an attempt takes about the timeout of an invocation.
    let finished = run(&mapping, 1_500, Duration::from_mins(1), &answer).await;
    assert_eq!(discarded(&mapping), []);
    assert_eq!(finished.concat(), (0..1_500).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn record_that_crashes_the_function_expires_before_the_others() {
    let mapping = mapping(as_in_the_template());
    let begin = Instant::now();
    let answer =
        |handed: &[u64]| if handed.contains(&700) { Err("it ends".to_owned()) } else { retry_from(None) };
    let finished = run(&mapping, 1_500, Duration::from_secs(1), &answer).await;
    assert_eq!(discarded(&mapping), [("RetryAttemptsExhausted", vec![700])]);
    assert_eq!(finished.concat(), (0..1_500).filter(|position| *position != 700).collect::<Vec<_>>());
    assert!(begin.elapsed() < retention() * 3 / 5, "{} hours", begin.elapsed().as_secs() / 3_600);
}

#[test]
fn shards_cover_all_hash_keys_after_splits_and_merges() {
    let stream = Stream::new("s1", 3);
    let at = |hash_key: u128| {
        stream.put(&StreamRecord::placed("k", &hash_key.to_string(), Bytes::new()));
        let position = stream.records().len() as u64 - 1;
        let holds = |shard: &usize| stream.shard(*shard).iter().any(|record| record.position == position);
        (0..stream.shards()).find(holds).unwrap()
    };
    assert_eq!([0, u128::MAX / 3, u128::MAX / 2, u128::MAX].map(at), [0, 1, 1, 2]);
    assert!(stream.split(1));
    assert_eq!([0, u128::MAX / 3, u128::MAX / 3 * 2 - 1, u128::MAX].map(at), [0, 3, 4, 2]);
    assert!(stream.merge(0));
    assert_eq!([0, u128::MAX / 3, u128::MAX / 3 * 2 - 1, u128::MAX].map(at), [5, 5, 4, 2]);
    assert_eq!([stream.parents(3).to_vec(), stream.parents(5).to_vec()], [vec![1], vec![0, 3]]);
    assert!(stream.merge(0) && stream.merge(0) && !stream.merge(0));
}
