//! The handler of transform.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use fakes::{Reply, Scripted, fixture};
use shared::{
    delivery::{Fault, Limits},
    lambda::invocation::Invocation,
    stream::{StreamRecord, kpl, pack::Packing},
};
use tests::scripted::{Transform, transform};
use transform::partitions::Partition;

use super::{
    LIMITS, assert_all_done, invocation, kinesis, kinesis_event, lines, log::Log, logged, logged_counts, now,
    reasons, support_tickets, to_retry,
};

/// The prefixes of the registered partitions.
pub(super) fn registered(transform: &Transform) -> Vec<String> {
    transform.catalog.0.taken.borrow().iter().map(Partition::prefix).collect()
}

/// The sequence numbers to retry.
pub(super) async fn handle(transform: &Transform, event: &str) -> Vec<String> {
    to_retry(transform.handle(event, &invocation()).await.unwrap())
}

fn severe_ids(transform: &Transform) -> Vec<String> {
    let taken: Vec<Bytes> =
        transform.severe.taken.borrow().iter().map(|record| record.data.clone()).collect();
    lines(&taken).iter().map(|event| event["ID"].as_str().unwrap().to_owned()).collect()
}

fn analytical_ids(transform: &Transform) -> Vec<String> {
    let taken = transform.analytical.taken.borrow();
    lines(&taken).iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

fn event(id: &str, severity: u8) -> String {
    format!(r#"{{"ID":"{id}","Severity":{severity},"City":"c","County":"Lucas"}}"#)
}

#[tokio::test(start_paused = true)]
async fn unlisted_severity_shares_a_registered_partition() {
    let transform = transform();
    let batch = [5, 99, 4, 0].map(|severity| event(&format!("A-{severity}"), severity));
    let batch = kinesis_event(&batch);
    assert_all_done(&handle(&transform, &batch).await);
    assert_eq!(severe_ids(&transform), ["A-5", "A-99", "A-4"]);
    let analytical: Vec<_> = lines(&transform.analytical.taken.borrow())
        .iter()
        .map(|record| (record["severity"].as_i64(), record["unlisted_severity"].as_i64()))
        .collect();
    assert_eq!(analytical, [(Some(5), Some(5)), (Some(5), Some(99)), (Some(4), None)]);
    let registered = registered(&transform);
    let severities: Vec<_> = registered.iter().map(|prefix| prefix.split('/').next().unwrap()).collect();
    assert_eq!(severities, ["severity=4", "severity=5"], "an unlisted severity has no partition of its own");
}

#[tokio::test(start_paused = true)]
async fn only_severe_events_reach_both_outputs() {
    let transform = transform();
    assert_all_done(&handle(&transform, &fixture("transform-kinesis")).await);
    assert_eq!(severe_ids(&transform), ["P-41", "P-43"]);
    assert_eq!(analytical_ids(&transform), ["P-41", "P-43"]);
    let keys: Vec<_> =
        transform.severe.taken.borrow().iter().map(|record| record.partition_key().to_owned()).collect();
    assert_eq!(keys, ["Doña Ana", "Montgomery"]);
    assert_eq!(
        registered(&transform),
        ["severity=3/year=2023/month=11/day=14/", "severity=4/year=2023/month=11/day=14/"]
    );
}

#[tokio::test(start_paused = true)]
async fn record_of_the_reference_aggregator_is_deaggregated() {
    let transform = transform();
    assert_all_done(&handle(&transform, &fixture("transform-kpl")).await);
    assert_eq!(severe_ids(&transform), ["P-52", "P-53"]);
}

#[tokio::test(start_paused = true)]
async fn poison_record_goes_to_rejects_and_blocks_no_other() {
    let transform = transform();
    assert_all_done(&handle(&transform, &fixture("transform-poison")).await);
    assert_eq!(severe_ids(&transform), ["P-44"]);
    let rejects = lines(&transform.rejects.take());
    assert_eq!(rejects.len(), 1);
    assert_eq!((&rejects[0]["function"], &rejects[0]["reason"]), (&"transform".into(), &"not_json".into()));
    assert_eq!(rejects[0]["payload"], "this is no event\n");
    let source = rejects[0]["source"].as_str().unwrap();
    assert!(source.starts_with("us-accidents-data-stream-1-dev/shardId-000000000000:4959"), "{source}");
}

#[tokio::test(start_paused = true)]
async fn refused_entries_are_retried_until_accepted() {
    let transform = transform();
    transform.severe.reply([Reply::Refused(vec![0], Fault::Throttled), Reply::Failed(Fault::Transient)]);
    transform.analytical.reply([Reply::Refused(vec![1], Fault::Throttled)]);
    assert_all_done(&handle(&transform, &kinesis(&[&event("1", 3), &event("2", 4)])).await);
    assert_eq!(severe_ids(&transform), ["2", "1"], "a refused entry arrives later");
    assert_eq!(analytical_ids(&transform), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn batch_is_retried_from_the_first_record_an_output_refused() {
    let batch = kinesis(&[&event("1", 2), &event("2", 3), &event("3", 4)]);
    for output in ["severe", "analytical"] {
        let transform = transform();
        match output {
            "severe" => transform.severe.always.set(Some(Fault::Permanent)),
            _ => transform.analytical.always.set(Some(Fault::Throttled)),
        }
        assert_eq!(handle(&transform, &batch).await, ["2"], "{output}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_reject_is_reported_like_any_failure() {
    let transform = transform();
    transform.rejects.always.set(Some(Fault::Transient));
    assert_eq!(handle(&transform, &kinesis(&[&event("1", 3), "poison", &event("2", 3)])).await, ["2"]);
    assert_eq!(severe_ids(&transform), ["1", "2"]);
}

#[tokio::test(start_paused = true)]
async fn second_of_two_rejects_is_reported_by_itself() {
    let transform = transform();
    transform.rejects.reply([Reply::Refused(vec![1], Fault::Throttled)]);
    transform.rejects.reply((0..1_000).map(|_| Reply::Failed(Fault::Throttled)));
    let batch = kinesis(&["poison 1", "poison 2", &event("1", 3)]);
    assert_eq!(handle(&transform, &batch).await, ["2"]);
    assert_eq!(reasons(&transform.rejects), ["not_json"]);
}

#[tokio::test(start_paused = true)]
async fn reject_with_one_failed_part_is_reported() {
    let transform = transform();
    let large = "no event ".repeat(60_000);
    transform.rejects.reply([Reply::Refused(vec![1], Fault::Throttled)]);
    transform.rejects.reply((0..1_000).map(|_| Reply::Failed(Fault::Throttled)));
    assert_eq!(
        handle(&transform, &kinesis(&[&event("1", 3), &large, "poison", &event("2", 3)])).await,
        ["2"]
    );
    let parts: Vec<u64> =
        lines(&transform.rejects.take()).iter().filter_map(|line| line["part"].as_u64()).collect();
    assert!(parts.contains(&1) && !parts.contains(&2), "{parts:?}");
}

#[tokio::test(start_paused = true)]
async fn log_counts_retries_late_events_and_unlisted_severities() {
    let transform = transform();
    transform.severe.reply([Reply::Refused(vec![0], Fault::Throttled)]);
    transform.analytical.reply([Reply::Refused(vec![0, 1], Fault::Throttled)]);
    transform.rejects.reply([Reply::Failed(Fault::Transient)]);
    let stamped = |id: &str, severity: u8, seconds: i64| {
        let at = shared::data::time::stamp(now() - TimeDelta::seconds(seconds));
        format!(r#"{{"ID":"{id}","Severity":{severity},"County":"c","Txn_Timestamp":"{at}"}}"#)
    };
    // The watermark is five seconds behind.
    let events = [stamped("1", 3, 6), stamped("2", 99, 5), stamped("3", 3, 3_600), stamped("4", 2, 0)];
    let mut batch: Vec<&str> = events.iter().map(String::as_str).collect();
    batch.push("poison");
    let response = transform.handle(&kinesis(&batch), &logged()).await.unwrap();
    assert_eq!(response.batch_item_failures, []);
    let names = ["In", "Delivered", "Filtered", "Rejected", "Failed", "Retried", "Late", "UnknownSeverity"];
    assert_eq!(logged_counts(names), [5, 3, 1, 1, 0, 4, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn event_refused_by_one_output_and_throttled_by_another_is_retried() {
    let batch = kinesis(&[&event("1", 3)]);
    for output in ["severe", "analytical"] {
        let transform = transform();
        let never = [Reply::Refused(vec![0], Fault::Permanent)];
        if output == "severe" {
            transform.severe.reply(never);
            transform.analytical.always.set(Some(Fault::Throttled));
        } else {
            transform.analytical.reply(never);
            transform.severe.always.set(Some(Fault::Throttled));
        }
        assert_eq!(handle(&transform, &batch).await, ["1"], "{output}");
        assert_eq!(reasons(&transform.rejects), [""; 0], "{output}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_permanently_refused_event_is_a_reject_with_its_place() {
    let transform = transform();
    transform.analytical.reply([Reply::Refused(vec![0, 2, 3, 4], Fault::Permanent)]);
    let packed = |ids: [&str; 3]| {
        let events = ids.map(|id| Bytes::from(event(id, 3)));
        kpl::aggregate("0", events.iter().map(|event| ("k", event)))
    };
    let batch = [packed(["1", "2", "3"]), event("4", 3).into_bytes(), packed(["5", "6", "7"])];
    let response = transform.handle(&kinesis_event(&batch), &invocation()).await.unwrap();
    assert_eq!(response.batch_item_failures, []);
    assert_eq!(analytical_ids(&transform), ["2", "6", "7"]);
    let rejects: Vec<_> = lines(&transform.rejects.take())
        .iter()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line["payload"].as_str().unwrap()).unwrap();
            let number = line["source"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
            (event["ID"].as_str().unwrap().to_owned(), number, line["row_index"].as_u64())
        })
        .collect();
    let expected = [("1", "1", Some(0)), ("3", "1", Some(2)), ("4", "2", None), ("5", "3", Some(0))];
    assert_eq!(rejects, expected.map(|(id, number, place)| (id.to_owned(), number.to_owned(), place)));
}

#[tokio::test(start_paused = true)]
async fn glue_is_asked_again_only_after_half_of_its_time() {
    for (takes, asked) in [(1_400, 1), (1_600, 2)] {
        let transform = transform();
        transform.catalog.0.takes.set(Duration::from_millis(takes));
        assert_all_done(&handle(&transform, &kinesis(&[&event("1", 3)])).await);
        assert_eq!(transform.catalog.0.requests.get(), asked, "{takes} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn glue_gets_no_more_time_than_deliveries() {
    let batch = kinesis(&[&event("1", 3)]);
    // Of an invocation with four seconds left, two are for deliveries; of longer ones Glue gets three.
    for (left, longest) in [(4_000, 2_000), (60_000, 3_000)] {
        let transform = transform();
        transform.catalog.0.takes.set(Duration::from_hours(1));
        let began = tokio::time::Instant::now();
        let deadline = now().timestamp_millis().unsigned_abs() + left;
        let response = transform.handle(&batch, &Invocation::begin("r", deadline, now(), 7)).await.unwrap();
        assert_eq!(response.batch_item_failures, []);
        assert_eq!(began.elapsed().as_millis(), longest);
    }
}

#[tokio::test(start_paused = true)]
async fn record_too_large_for_an_output_is_a_reject() {
    let mut transform = transform();
    transform.analytical = Scripted::new(Limits { entry_bytes: 200, ..LIMITS }, Bytes::len);
    let large = format!(r#"{{"ID":"1","Severity":3,"Description":"{}"}}"#, "x".repeat(300));
    assert_all_done(&handle(&transform, &kinesis(&[&large, &event("2", 3)])).await);
    assert_eq!(analytical_ids(&transform), ["2"]);
    assert_eq!(reasons(&transform.rejects), ["unacceptable"]);
}

#[tokio::test(start_paused = true)]
async fn partitions_are_registered_once_and_glue_failures_block_nothing() {
    let transform = transform();
    let batch = kinesis(&[&event("1", 3)]);
    let fails = vec![Reply::Failed(Fault::Permanent)];
    let hangs = vec![Reply::Silent, Reply::Silent];
    for (way, replies, after) in [("fails", fails, 0), ("hangs", hangs, 60)] {
        transform.catalog.0.reply(replies);
        let began = tokio::time::Instant::now();
        let response = transform.handle(&batch, &seconds_later(after)).await.unwrap();
        assert!(response.batch_item_failures.is_empty(), "{way}");
        assert!(began.elapsed() <= Duration::from_secs(3), "{way}");
        assert_eq!(severe_ids(&transform).len(), 1, "{way}");
        transform.severe.take();
    }
    for after in [60, 121, 122] {
        let _response = transform.handle(&batch, &seconds_later(after)).await.unwrap();
    }
    assert_eq!(registered(&transform).len(), 1, "registered once, when Glue has recovered");
    assert_eq!(transform.catalog.0.requests.get(), 4, "not asked again for a minute after it failed");
}

#[tokio::test(start_paused = true)]
async fn stale_connection_to_glue_is_retried_once() {
    let batch = kinesis(&[&event("1", 3)]);
    for (first, asked, expected) in [
        (Reply::Failed(Fault::Transient), 2, 1),
        (Reply::Silent, 2, 1),
        (Reply::Failed(Fault::Permanent), 1, 0),
        (Reply::Failed(Fault::Misconfigured), 1, 0),
        (Reply::Failed(Fault::Throttled), 1, 0),
    ] {
        let transform = transform();
        let case = format!("{first:?}");
        transform.catalog.0.reply([first]);
        let began = tokio::time::Instant::now();
        assert!(handle(&transform, &batch).await.is_empty(), "{case}");
        assert!(began.elapsed() <= Duration::from_secs(3), "{case}");
        let found = (transform.catalog.0.requests.get(), registered(&transform).len());
        assert_eq!(found, (asked, expected), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn failed_call_to_glue_is_logged() {
    let transform = transform();
    transform.catalog.0.reply([Reply::Failed(Fault::Misconfigured)]);
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    assert_all_done(&handle(&transform, &kinesis(&[&event("1", 3)])).await);
    drop(guard);
    let warnings = log.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("could not register partitions"), "{}", warnings[0]);
    assert!(warnings[0].contains("a scripted fault: Misconfigured"), "{}", warnings[0]);
}

#[tokio::test(start_paused = true)]
async fn refused_partition_is_retried_after_a_minute() {
    let transform = transform();
    transform.catalog.0.reply([Reply::Refused(vec![0], Fault::Permanent)]);
    let batch = kinesis(&[&event("1", 3), &event("2", 4)]);
    for after in [0, 59, 60] {
        let response = transform.handle(&batch, &seconds_later(after)).await.unwrap();
        assert_eq!(response.batch_item_failures, []);
    }
    let four = "severity=4/year=2023/month=11/day=14/";
    let three = "severity=3/year=2023/month=11/day=14/";
    assert_eq!(registered(&transform), [four, three]);
    assert_eq!(transform.catalog.0.requests.get(), 2);
}

/// An invocation that begins `seconds` seconds after the others.
fn seconds_later(seconds: i64) -> Invocation {
    Invocation { now: now() + TimeDelta::seconds(seconds), ..invocation() }
}

#[tokio::test(start_paused = true)]
async fn tickets_are_selected_and_partitioned_by_priority() {
    let mut transform = transform();
    transform.config.common.dataset = support_tickets();
    let _response =
        transform.handle(&fixture("support_tickets/transform-kinesis"), &invocation()).await.unwrap();
    let severe = transform.severe.taken.borrow();
    let keys: Vec<_> = severe.iter().map(|record| record.partition_key().to_owned()).collect();
    assert_eq!(keys, ["Network", "Claims"]);
    let rows = lines(&transform.analytical.taken.borrow());
    assert_eq!(rows[0]["opened_at"], "2026-01-13 09:41:00");
    assert_eq!((&rows[0]["priority"], &rows[0]["severity"]), (&4.into(), &4.into()));
    assert_eq!((&rows[1]["priority"], &rows[1]["severity"]), (&3.into(), &3.into()));
}

/// The ids in a record of stream 2, packed or not.
fn ids_in(record: &StreamRecord) -> Vec<String> {
    let events = kpl::deaggregate(record.data.clone()).unwrap();
    lines(&events).iter().map(|event| event["ID"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn packed_severe_events_are_unchanged_in_fewer_records() {
    let mut transform = transform();
    transform.config.packing = Packing::into_ranges(4);
    let events: Vec<String> = (0..100).map(|id| event(&id.to_string(), 3)).collect();
    assert_all_done(&handle(&transform, &kinesis_event(&events)).await);
    let taken = transform.severe.take();
    let expected: Vec<String> = (0..100).map(|id| id.to_string()).collect();
    assert_eq!(taken.len(), 1, "all have one county, and so one range");
    assert_eq!(ids_in(&taken[0]), expected);
    assert_eq!(analytical_ids(&transform), expected, "the analytical layer gets each by itself");
}

#[tokio::test(start_paused = true)]
async fn refused_pack_fails_every_event_in_it() {
    let mut transform = transform();
    transform.config.packing = Packing::into_ranges(4);
    transform.severe.always.set(Some(Fault::Permanent));
    let batch = kinesis(&[&event("1", 2), &event("2", 3), &event("3", 3)]);
    assert_eq!(handle(&transform, &batch).await, ["2"]);
}

#[tokio::test(start_paused = true)]
async fn packed_record_with_one_failed_event_is_retried_whole() {
    let transform = transform();
    transform.analytical.reply([Reply::Refused(vec![1], Fault::Permanent)]);
    let members = [("a", event("1", 3)), ("b", event("2", 3))].map(|(key, event)| (key, Bytes::from(event)));
    let packed = kpl::aggregate("0", members.iter().map(|(key, data)| (*key, data)));
    // The record that Firehose refuses is a reject. Since its reject fails too, the whole pack is retried.
    transform.rejects.always.set(Some(Fault::Permanent));
    assert_eq!(handle(&transform, &kinesis_event(&[packed])).await, ["1"]);
    assert_eq!(severe_ids(&transform), ["1", "2"]);
}
