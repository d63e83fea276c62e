//! What notify records of its alerts: the rows of the alerts table, and latency.

use std::time::Duration;

use chrono::TimeDelta;
use fakes::Reply;
use serde_json::{Value, json};
use shared::{data::time::stamp, delivery::Fault};

use super::{Notify, aggregated, alerted, event, handle, notify, subjects};
use crate::{assert_all_done, kinesis, kinesis_event, log::Log, logged, logged_counts, now, to_retry};

/// The rows of the alerts table.
fn rows(notify: &Notify) -> Vec<Value> {
    notify.alerts.taken.borrow().iter().map(|row| serde_json::from_slice(row).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_published_message_is_a_row() {
    let notify = notify();
    notify.topic.reply([Reply::Refused(vec![1], Fault::Permanent)]);
    let received = stamp(now() - TimeDelta::milliseconds(412));
    let of = |id: &str, severity: u8, county: &str| {
        format!(
            r#"{{"ID":"{id}","Severity":{severity},"County":"{county}","City":"c","Txn_Timestamp":"{received}"}}"#
        )
    };
    let mut events = vec![of("1", 4, "a"), of("2", 4, "b"), of("1", 5, "a"), of("3", 3, "a")];
    events.extend((10..30).map(|n| of(&n.to_string(), 4, "d")));
    assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
    let rows = rows(&notify);
    let texts =
        |name: &str| -> Vec<&str> { rows.iter().map(|row| row[name].as_str().unwrap_or("-")).collect() };
    assert_eq!(texts("kind"), ["alert", "raised", "digest"]);
    assert_eq!(texts("area"), ["a", "a", "d"]);
    assert_eq!(texts("subject"), subjects(&notify));
    assert_eq!(rows[1]["ids"], json!(["1"]));
    assert_eq!(rows[1]["severities"], json!([5]));
    let counts: Vec<_> = rows.iter().map(|row| row["event_count"].as_u64().unwrap()).collect();
    assert_eq!(counts, [1, 1, 20]);
    assert!(rows.iter().all(|row| row["latency_ms"].as_i64().is_some_and(|ms| ms >= 412)), "{rows:?}");
}

#[tokio::test(start_paused = true)]
async fn row_that_is_not_delivered_is_counted_and_blocks_no_alert() {
    for fault in [Fault::Permanent, Fault::Throttled, Fault::Misconfigured] {
        let notify = notify();
        notify.alerts.always.set(Some(fault));
        let began = tokio::time::Instant::now();
        let batch = kinesis(&[&event(1), &event(2)]);
        assert_eq!(notify.handle(&batch, &logged()).await.unwrap().batch_item_failures, []);
        assert!(began.elapsed().as_secs() < 5, "the next batch does not wait: {:?}", began.elapsed());
        assert_eq!(logged_counts(["In", "Delivered", "Failed", "Unrecorded"]), [2, 2, 0, 2], "{fault:?}");
        assert_eq!((subjects(&notify).len(), rows(&notify).len()), (2, 0));
        notify.alerts.always.set(None);
        assert_eq!(notify.handle(&kinesis(&[&event(3)]), &logged()).await.unwrap().batch_item_failures, []);
        assert_eq!(logged_counts(["Unrecorded"]), [0]);
        assert_eq!(rows(&notify).len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn single_refused_row_is_retried_or_counted() {
    for (fault, unrecorded, ids) in
        [(Fault::Transient, 0, vec!["1", "3", "2"]), (Fault::Permanent, 1, vec!["1", "3"])]
    {
        let notify = notify();
        notify.alerts.reply([Reply::Refused(vec![1], fault)]);
        let batch = kinesis(&[&event(1), &event(2), &event(3)]);
        assert_eq!(notify.handle(&batch, &logged()).await.unwrap().batch_item_failures, []);
        assert_eq!(logged_counts(["In", "Delivered", "Unrecorded"]), [3, 3, unrecorded]);
        let rows = rows(&notify);
        assert_eq!(rows.iter().map(|row| row["ids"][0].as_str().unwrap()).collect::<Vec<_>>(), ids);
    }
}

#[tokio::test(start_paused = true)]
async fn rows_of_each_portion_of_a_batch_are_delivered_or_counted() {
    let events: Vec<_> = (0..18_000).map(|n| format!(r#"{{"ID":"{n}","Severity":4}}"#)).collect();
    let records = events.chunks(6_000);
    let records = records.map(|events| aggregated(&events.iter().map(String::as_str).collect::<Vec<_>>()));
    let batch = kinesis_event(&records.collect::<Vec<_>>());
    for fault in [None, Some(Fault::Permanent)] {
        let notify = notify();
        notify.alerts.always.set(fault);
        let response = notify.handle(&batch, &logged()).await.unwrap();
        assert_all_done(&to_retry(response));
        let unrecorded = logged_counts(["Unrecorded"]);
        let counts: Vec<_> = rows(&notify).iter().map(|row| row["event_count"].as_u64().unwrap()).collect();
        match fault {
            None => assert_eq!((counts, unrecorded), (vec![12_000, 6_000], [0])),
            Some(_) => assert_eq!((counts, unrecorded), (vec![], [2])),
        }
        assert_eq!((alerted(&notify), notify.alerts.requests.get()), (18_000, 2));
    }
}

#[tokio::test(start_paused = true)]
async fn latency_of_each_alerted_event_is_reported_once() {
    let notify = notify();
    let at = |seconds: i64| now() - TimeDelta::seconds(seconds);
    let stamped = |id: &str, severity: u8, seconds: i64| {
        let at = stamp(at(seconds));
        format!(r#"{{"ID":"{id}","Severity":{severity},"Txn_Timestamp":"{at}"}}"#)
    };
    let events = [stamped("1", 4, 3), stamped("2", 3, 9), stamped("3", 4, 5), stamped("1", 4, 3)];
    notify.topic.takes.set(Duration::from_secs(2));
    handle(&notify, &kinesis_event(&events)).await;
    let latency = notify.latency.take();
    assert_eq!(latency.len(), 1);
    assert_eq!(latency[0].received, [at(3), at(5)]);
    let alerted = now() + TimeDelta::seconds(2);
    assert_eq!(latency[0].at, alerted);
    for row in rows(&notify) {
        assert_eq!(row["alerted_at"], alerted.format("%Y-%m-%d %H:%M:%S%.3f").to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn latency_of_each_event_of_a_digest_is_reported() {
    let notify = notify();
    let at = |n: i64| now() - TimeDelta::seconds(n);
    let event = |n: i64| format!(r#"{{"ID":"{n}","Severity":4,"Txn_Timestamp":"{}"}}"#, stamp(at(n)));
    let events: Vec<_> = (1..=20).map(event).collect();
    assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
    assert_eq!(subjects(&notify).len(), 1);
    let latency = notify.latency.take();
    assert_eq!(latency[0].received, (1..=20).map(at).collect::<Vec<_>>());
    assert_eq!(rows(&notify)[0]["latency_ms"], 20_000, "that of the oldest");
}

#[tokio::test(start_paused = true)]
async fn unreported_latency_does_not_fail_the_batch() {
    let notify = notify();
    notify.latency.always.set(Some(Fault::Throttled));
    let began = tokio::time::Instant::now();
    let event = format!(r#"{{"ID":"1","Severity":4,"Txn_Timestamp":"{}"}}"#, stamp(now()));
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    assert_all_done(&handle(&notify, &kinesis(&[&event])).await);
    drop(guard);
    let warnings = log.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("could not publish the latency of the alerts"), "{}", warnings[0]);
    assert_eq!(alerted(&notify), 1);
    assert!(notify.latency.requests.get() > 0);
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
}
