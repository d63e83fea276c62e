//! The rules of the event source mapping, checked on its model.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use shared::stream::StreamRecord;
use tests::{
    simulation::{
        mapping::{Answer, Batch, Mapping, Position, Settings},
        mapping_file,
        scenario::Scenario,
        simulate,
        stream::Stream,
        trace::Trace,
    },
    template_default,
};
use tokio::time::{Instant, sleep};

fn settings() -> Settings {
    Settings {
        position: Position::TrimHorizon,
        batch_size: 4,
        window: Duration::ZERO,
        parallelization: 1,
        bisect: false,
        retries: None,
        age: None,
        reports: true,
        throttled: 0.0,
        repeated: 0.0,
        paused: None,
    }
}

/// A function that answers by rule, and the batches that it received.
struct Function<'f> {
    handed: RefCell<Vec<Vec<u64>>>,
    at: RefCell<Vec<Instant>>,
    answer: &'f dyn Fn(&[u64]) -> Answer,
}

#[expect(clippy::unnecessary_wraps, reason = "it has the type of answers that may fail")]
fn done(_: &[u64]) -> Answer {
    Ok(json!({"batchItemFailures": []}).to_string())
}

/// The answer that asks for a retry from a position.
#[expect(clippy::unnecessary_wraps, reason = "it has the type of answers that may fail")]
fn from(position: u64) -> Answer {
    Ok(json!({"batchItemFailures": [{"itemIdentifier": format!("49{position:054}")}]}).to_string())
}

impl<'f> Function<'f> {
    fn new(answer: &'f dyn Fn(&[u64]) -> Answer) -> Self {
        Self { handed: RefCell::default(), at: RefCell::default(), answer }
    }

    fn invoke(&self, batch: &Batch<'_>) -> Answer {
        let positions: Vec<u64> = batch.records.iter().map(|record| record.position).collect();
        let event: Value = serde_json::from_str(batch.event).unwrap();
        assert_eq!(event["Records"].as_array().unwrap().len(), positions.len());
        self.at.borrow_mut().push(Instant::now());
        self.handed.borrow_mut().push(positions.clone());
        (self.answer)(&positions)
    }
}

fn put(stream: &Stream, key: &str, count: usize) {
    for number in 0..count {
        stream.put(&StreamRecord::new(key, Bytes::from(format!("{key} {number}"))));
    }
}

/// The batches of a function from a stream of `records` records, and the discarded records.
async fn run(
    settings: Settings,
    records: usize,
    answer: &dyn Fn(&[u64]) -> Answer,
) -> (Vec<Vec<u64>>, Vec<(&'static str, Vec<u64>)>) {
    let stream = Stream::new("s1", 1);
    put(&stream, "k", records);
    stream.close();
    read(settings, &stream, answer).await
}

/// The batches of a function from a stream, and the discarded records.
async fn read(
    settings: Settings,
    stream: &Stream,
    answer: &dyn Fn(&[u64]) -> Answer,
) -> (Vec<Vec<u64>>, Vec<(&'static str, Vec<u64>)>) {
    let mapping = Mapping::new("f", settings, 0, &Trace::begin(false));
    let function = Function::new(answer);
    mapping.run(stream, &async |batch: Batch<'_>| function.invoke(&batch)).await;
    let discarded = mapping.destination.take().into_iter().map(|discarded| {
        let positions: Vec<u64> = discarded.records.iter().map(|record| record.position).collect();
        let event: Value = serde_json::from_str(&discarded.event).unwrap();
        for (record, sent) in event["Records"].as_array().unwrap().iter().zip(&discarded.records) {
            let data =
                base64_simd::STANDARD.decode_to_vec(record["kinesis"]["data"].as_str().unwrap()).unwrap();
            assert_eq!(data, sent.data, "the destination holds the whole record");
        }
        (discarded.condition, positions)
    });
    (function.handed.take(), discarded.collect())
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
async fn batch_holds_at_most_its_size() {
    let (handed, discarded) = run(settings(), 10, &done).await;
    assert_eq!(handed, [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    assert_eq!(discarded, []);
}

#[tokio::test(start_paused = true)]
async fn batch_waits_for_its_window_unless_full() {
    let stream = Stream::new("s1", 1);
    let window = Duration::from_secs(10);
    let mapping = Mapping::new("f", Settings { window, ..settings() }, 0, &Trace::begin(false));
    let function = Function::new(&done);
    let begin = Instant::now();
    let produce = async {
        put(&stream, "k", 1);
        sleep(Duration::from_secs(4)).await;
        put(&stream, "k", 1);
        sleep(Duration::from_secs(20)).await;
        put(&stream, "k", 4);
        sleep(Duration::from_secs(1)).await;
        stream.close();
    };
    let invoke = async |batch: Batch<'_>| function.invoke(&batch);
    tokio::join!(mapping.run(&stream, &invoke), produce);
    assert_eq!(*function.handed.borrow(), [vec![0, 1], vec![2, 3, 4, 5]]);
    let at: Vec<u64> = function.at.borrow().iter().map(|at| (*at - begin).as_secs()).collect();
    assert_eq!(at, [10, 24], "the second batch was full at once");
}

#[tokio::test(start_paused = true)]
async fn retry_starts_at_the_lowest_reported_number() {
    let answer = |handed: &[u64]| match handed {
        [0, ..] => {
            let failures = [2, 1, 3].map(|position| json!({"itemIdentifier": format!("49{position:054}")}));
            Ok(json!({"batchItemFailures": failures}).to_string())
        }
        _ => done(handed),
    };
    let (handed, _) = run(settings(), 6, &answer).await;
    assert_eq!(handed, [vec![0, 1, 2, 3], vec![1, 2, 3], vec![4, 5]]);
}

#[tokio::test(start_paused = true)]
async fn unknown_identifier_fails_the_batch() {
    for answer in ["null", "{}", "\"text\"", r#"{"batchItemFailures":null}"#, r#"{"batchItemFailures":[]}"#] {
        let (handed, _) = run(settings(), 2, &|_| Ok(answer.to_owned())).await;
        assert_eq!(handed, [vec![0, 1]], "{answer}");
    }
    let failures = ["null", "\"\"", "\"7\""]
        .map(|identifier| format!(r#"{{"batchItemFailures":[{{"itemIdentifier":{identifier}}}]}}"#));
    for answer in failures.into_iter().chain([r#"{"batchItemFailures":[{"itemidentifier":"1"}]}"#.to_owned()])
    {
        let limited = Settings { retries: Some(1), ..settings() };
        let (handed, discarded) = run(limited, 2, &|_| Ok(answer.clone())).await;
        assert_eq!(handed, [vec![0, 1], vec![0, 1]], "{answer}");
        assert_eq!(discarded, [("RetryAttemptsExhausted", vec![0, 1])], "{answer}");
    }
    let ignores = Settings { reports: false, ..settings() };
    assert_eq!(run(ignores, 2, &|_| from(1)).await.0, [vec![0, 1]], "the mapping does not read the answer");
}

#[tokio::test(start_paused = true)]
async fn exhausted_batch_goes_to_the_destination_and_the_next_follows() {
    let answer = |handed: &[u64]| if handed[0] < 4 { Err("it fails".to_owned()) } else { done(handed) };
    let (handed, discarded) = run(Settings { retries: Some(2), ..settings() }, 6, &answer).await;
    assert_eq!(handed, [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![4, 5]]);
    assert_eq!(discarded, [("RetryAttemptsExhausted", vec![0, 1, 2, 3])]);
}

#[tokio::test(start_paused = true)]
async fn bisection_isolates_poison_without_using_retries() {
    let answer = |handed: &[u64]| if handed.contains(&2) { Err("it fails".to_owned()) } else { done(handed) };
    let bisecting = Settings { bisect: true, retries: Some(1), ..settings() };
    let (handed, discarded) = run(bisecting, 4, &answer).await;
    assert_eq!(handed, [vec![0, 1, 2, 3], vec![0, 1], vec![2, 3], vec![2], vec![2], vec![3]]);
    assert_eq!(discarded, [("RetryAttemptsExhausted", vec![2])]);
}

#[tokio::test(start_paused = true)]
async fn bisection_at_the_reported_number_uses_no_retry() {
    let answer = |handed: &[u64]| {
        if handed == [3] { done(handed) } else { from(handed[0].max(1) + u64::from(handed[0] > 0)) }
    };
    let bisecting = Settings { bisect: true, retries: Some(0), ..settings() };
    let (handed, discarded) = run(bisecting, 4, &answer).await;
    assert_eq!(handed, [vec![0, 1, 2, 3], vec![1, 2, 3], vec![2, 3], vec![3]]);
    assert_eq!(discarded, []);
}

#[tokio::test(start_paused = true)]
async fn expired_records_go_to_the_destination() {
    let aging = Settings { age: Some(Duration::from_secs(30)), ..settings() };
    let (handed, discarded) = run(aging, 2, &|_| from(1)).await;
    assert!(handed.len() > 3, "it is retried until it expires: {handed:?}");
    assert_eq!(discarded, [("RecordAgeExceeded", vec![1])]);
}

#[tokio::test(start_paused = true)]
async fn parallel_batches_of_a_shard_share_no_key() {
    let stream = Stream::new("s1", 1);
    let keys: Vec<String> = (0..8).map(|key| format!("k{key}")).collect();
    for _ in 0..3 {
        for key in &keys {
            put(&stream, key, 1);
        }
    }
    stream.close();
    let mapping = Mapping::new("f", Settings { parallelization: 2, ..settings() }, 0, &Trace::begin(false));
    let running = RefCell::new((0, 0));
    let handed: RefCell<Vec<(String, u64)>> = RefCell::default();
    let invoke = async |batch: Batch<'_>| {
        let now = running.borrow().0 + 1;
        running.replace_with(|(_, most)| (now, now.max(*most)));
        sleep(Duration::from_secs(1)).await;
        running.borrow_mut().0 -= 1;
        handed
            .borrow_mut()
            .extend(batch.records.iter().map(|record| (record.partition_key.clone(), record.position)));
        done(&[])
    };
    mapping.run(&stream, &invoke).await;
    assert_eq!(running.borrow().1, 2);
    for key in &keys {
        let positions: Vec<u64> =
            handed.borrow().iter().filter(|(of, _)| of == key).map(|(_, position)| *position).collect();
        assert_eq!(positions.len(), 3);
        assert!(positions.is_sorted(), "{key}: {positions:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn blocked_shard_does_not_block_others() {
    let stream = Stream::new("s1", 4);
    for key in 0..16 {
        put(&stream, &format!("k{key}"), 1);
    }
    stream.close();
    let stuck = stream.shard(0)[0].position;
    let answer =
        move |handed: &[u64]| if handed.contains(&stuck) { Err("it fails".to_owned()) } else { done(handed) };
    let mapping = Mapping::new("f", Settings { retries: Some(5), ..settings() }, 0, &Trace::begin(false));
    let function = Function::new(&answer);
    let begin = Instant::now();
    mapping.run(&stream, &async |batch: Batch<'_>| function.invoke(&batch)).await;
    let handed = function.handed.borrow();
    for (batch, at) in handed.iter().zip(function.at.borrow().iter()) {
        let shards: Vec<usize> = (0..4)
            .filter(|shard| stream.shard(*shard).iter().any(|record| batch.contains(&record.position)))
            .collect();
        assert_eq!(shards.len(), 1, "a batch is of one shard");
        assert!(shards == [0] || *at == begin, "shard {shards:?} does not wait");
    }
}

#[tokio::test(start_paused = true)]
async fn it_begins_at_its_position() {
    let cases = [
        (Position::TrimHorizon, vec![0, 1, 2]),
        (Position::AtTimestamp(Duration::from_secs(5)), vec![1, 2]),
        (Position::AtTimestamp(Duration::from_secs(6)), vec![2]),
        (Position::Latest, vec![2]),
    ];
    for (position, expected) in cases {
        let trace = Trace::begin(false);
        let stream = Stream::new("s1", 1);
        put(&stream, "k", 1);
        sleep(Duration::from_secs(5)).await;
        put(&stream, "k", 1);
        sleep(Duration::from_secs(5)).await;
        let mapping = Mapping::new("f", Settings { position, ..settings() }, 0, &trace);
        let function = Function::new(&done);
        let later = async {
            sleep(Duration::from_secs(1)).await;
            put(&stream, "k", 1);
            stream.close();
        };
        let invoke = async |batch: Batch<'_>| function.invoke(&batch);
        tokio::join!(mapping.run(&stream, &invoke), later);
        assert_eq!(function.handed.borrow().concat(), expected, "{position:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn child_shard_is_read_after_its_parents() {
    for is_split in [true, false] {
        let stream = Stream::new("s1", 2);
        let keys: Vec<String> = (0..8).map(|key| format!("k{key}")).collect();
        let put_each = || {
            for key in &keys {
                put(&stream, key, 1);
            }
        };
        put_each();
        assert!(if is_split { stream.split(0) && stream.split(2) } else { stream.merge(0) });
        put_each();
        stream.close();
        let attempts = RefCell::new(BTreeMap::new());
        // Each batch fails twice before it is done.
        let answer = |handed: &[u64]| {
            let mut attempts = attempts.borrow_mut();
            let attempts = attempts.entry(handed[0]).or_insert(0);
            *attempts += 1;
            if *attempts < 3 { Err("it fails".to_owned()) } else { done(handed) }
        };
        let (handed, discarded) = read(Settings { parallelization: 2, ..settings() }, &stream, &answer).await;
        assert_eq!(discarded, []);
        let last = |position: u64| handed.iter().rposition(|batch| batch.contains(&position)).unwrap();
        let first = |position: u64| handed.iter().position(|batch| batch.contains(&position)).unwrap();
        for child in 0..stream.shards() {
            for parent in stream.parents(child).iter() {
                for before in stream.shard(*parent).iter() {
                    for after in stream.shard(child).iter() {
                        assert!(last(before.position) < first(after.position), "{is_split}: {handed:?}");
                    }
                }
            }
        }
        let all: BTreeSet<u64> = handed.concat().into_iter().collect();
        assert_eq!(all, (0..16).collect());
    }
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

#[tokio::test(start_paused = true)]
async fn latest_position_skips_no_record_of_a_later_shard() {
    let trace = Trace::begin(false);
    let stream = Stream::new("s1", 1);
    put(&stream, "k", 1);
    let mapping = Mapping::new("f", Settings { position: Position::Latest, ..settings() }, 0, &trace);
    let function = Function::new(&done);
    let produce = async {
        sleep(Duration::from_secs(1)).await;
        put(&stream, "k", 1);
        assert!(stream.split(0));
        put(&stream, "k", 1);
        stream.close();
    };
    let invoke = async |batch: Batch<'_>| function.invoke(&batch);
    tokio::join!(mapping.run(&stream, &invoke), produce);
    assert_eq!(*function.handed.borrow(), [[1], [2]]);
}

#[tokio::test(start_paused = true)]
async fn throttled_invocation_is_not_an_attempt_and_ends_only_by_age() {
    let throttled = Settings { throttled: 0.9, retries: Some(0), ..settings() };
    let (handed, discarded) = run(throttled.clone(), 6, &done).await;
    assert_eq!(handed, [vec![0, 1, 2, 3], vec![4, 5]]);
    assert_eq!(discarded, []);
    let never = Settings { throttled: 1.0, age: Some(Duration::from_mins(1)), ..throttled };
    let (handed, discarded) = run(never, 2, &done).await;
    assert_eq!(handed, [[0; 0]; 0]);
    assert_eq!(discarded, [("RecordAgeExceeded", vec![0, 1])]);
}

#[tokio::test(start_paused = true)]
async fn finished_batch_may_be_delivered_again() {
    let repeating = Settings { repeated: 1.0, ..settings() };
    let (handed, _) = run(repeating.clone(), 6, &done).await;
    assert_eq!(handed, [vec![0, 1, 2, 3], vec![0, 1, 2, 3], vec![4, 5], vec![4, 5]]);
    let stream = Stream::new("s1", 1);
    put(&stream, "k", 2);
    stream.close();
    let mapping = Mapping::new("f", repeating, 0, &Trace::begin(false));
    let function = Function::new(&done);
    mapping.run(&stream, &async |batch: Batch<'_>| function.invoke(&batch)).await;
    assert_eq!(mapping.repeated.take(), BTreeMap::from([(0, 1), (1, 1)]));
}

/// The template's default settings of the mappings of the streams.
fn as_in_the_template() -> Settings {
    let age = u64::try_from(template_default("MaximumRecordAgeSeconds")).ok();
    Settings {
        batch_size: 1_000,
        parallelization: usize::try_from(template_default("ParallelizationFactor")).unwrap(),
        bisect: true,
        retries: Some(u32::try_from(template_default("MaximumRetryAttempts")).unwrap()),
        // -1 means unlimited.
        age: age.map(Duration::from_secs),
        ..settings()
    }
}

fn retention() -> Duration {
    Duration::from_hours(u64::try_from(template_default("StreamRetentionHours")).unwrap())
}

#[tokio::test(start_paused = true)]
async fn backlog_of_a_pause_is_processed_afterwards() {
    let twenty_hours = Duration::from_hours(20);
    let paused = Settings { paused: Some(Duration::ZERO..twenty_hours), ..as_in_the_template() };
    let begin = Instant::now();
    let (handed, discarded) = run(paused.clone(), 2_500, &done).await;
    assert_eq!(handed.concat(), (0..2_500).collect::<Vec<_>>());
    assert_eq!(discarded, []);
    assert_eq!(begin.elapsed(), twenty_hours);
    // A maximum age would discard it.
    let (handed, discarded) =
        run(Settings { age: Some(Duration::from_hours(1)), ..paused }, 500, &done).await;
    assert_eq!(handed, [[0; 0]; 0]);
    assert_eq!(discarded, [("RecordAgeExceeded", (0..500).collect())]);
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

/// Reads a stream with a slow function; returns the batches, the discarded records and the time.
async fn read_slowly(
    records: usize,
    takes: Duration,
    answer: &dyn Fn(&[u64]) -> Answer,
) -> (BTreeSet<u64>, Vec<(&'static str, Vec<u64>)>, Duration) {
    let stream = Stream::new("s1", 1);
    put(&stream, "k", records);
    stream.close();
    let mapping = Mapping::new("f", as_in_the_template(), 0, &Trace::begin(false));
    let begin = Instant::now();
    let handed = RefCell::new(BTreeSet::new());
    let invoke = async |batch: Batch<'_>| {
        sleep(takes).await;
        let positions: Vec<u64> = batch.records.iter().map(|record| record.position).collect();
        let answer = answer(&positions);
        if answer == done(&positions) {
            handed.borrow_mut().extend(positions);
        }
        answer
    };
    mapping.run(&stream, &invoke).await;
    let discarded = mapping.destination.take().into_iter().map(|discarded| {
        (discarded.condition, discarded.records.iter().map(|record| record.position).collect())
    });
    (handed.take(), discarded.collect(), begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn outage_within_the_retention_needs_no_redrive() {
    let end = Instant::now() + retention() - Duration::from_hours(1);
    let answer = |handed: &[u64]| if Instant::now() < end { from(handed[0]) } else { done(handed) };
    // In an outage an attempt takes about the timeout of an invocation.
    let (handed, discarded, _) = read_slowly(1_500, Duration::from_mins(1), &answer).await;
    assert_eq!(discarded, []);
    assert_eq!(handed.len(), 1_500);
}

#[tokio::test(start_paused = true)]
async fn record_that_crashes_the_function_expires_before_the_others() {
    let answer =
        |handed: &[u64]| if handed.contains(&700) { Err("it ends".to_owned()) } else { done(handed) };
    let (handed, discarded, elapsed) = read_slowly(1_500, Duration::from_secs(1), &answer).await;
    assert_eq!(discarded, [("RetryAttemptsExhausted", vec![700])]);
    assert_eq!(handed, (0..1_500).filter(|position| *position != 700).collect());
    assert!(elapsed < retention() * 3 / 5, "{} hours", elapsed.as_secs() / 3_600);
}
