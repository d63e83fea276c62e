//! The handler of notify.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use bytes::Bytes;
use chrono::TimeDelta;
use fakes::{Reply, Scripted, fixture};
use notify::{
    handler::{Config, Handler},
    pace::{NextTurn, Pace},
    plan::Digests,
    word::Alert,
};
use serde_json::{Value, json};
use shared::{
    audit::latency::LatencySample,
    data::time::stamp,
    delivery::{Fault, Limits},
    lambda::invocation::Invocation,
};
use tests::simulation::unit::{Damage, aggregate};

use super::{
    assert_all_done, common, common_of, firehose, invocation, kinesis, kinesis_event, lines, log::Log,
    logged, logged_counts, now, reasons, to_retry,
};

pub(super) type Notify = Handler<Scripted<Alert>, Scripted<LatencySample>, Scripted<Bytes>>;

pub(super) const SNS: Limits = Limits { entries: 10, request_bytes: 256 * 1024, entry_bytes: 256 * 1024 };

/// The configuration with the template's defaults.
pub(super) fn config() -> Config {
    let alerts = u32::try_from(template_default("AlertsPerSecond")).unwrap();
    Config {
        common: common(),
        alerts_delivery_stream: "alerts".to_owned(),
        topic_arn: "arn:aws:sns:eu-west-1:000000000000:t".to_owned(),
        namespace: "n".to_owned(),
        severity_above: 3,
        digests: Digests {
            above: template_default("DigestAbove"),
            window: TimeDelta::seconds(i64::try_from(template_default("DigestWindowSeconds")).unwrap()),
        },
        pace: Pace::new(alerts, 4),
    }
}

/// The handler with the template's defaults.
fn paced() -> Notify {
    Handler {
        config: config(),
        topic: Scripted::new(SNS, |alert| alert.message.len()),
        latency: Scripted::new(Limits { entries: 1, ..SNS }, |latency| latency.received.len()),
        alerts: firehose(),
        rejects: firehose(),
        memory: Mutex::default(),
        turn: NextTurn::default(),
    }
}

/// The handler without a bound on the messages in a second.
pub(super) fn notify() -> Notify {
    let notify = paced();
    Notify { config: Config { pace: None, ..notify.config }, ..notify }
}

pub(super) async fn handle(notify: &Notify, event: &str) -> Vec<String> {
    to_retry(notify.handle(event, &invocation()).await.unwrap())
}

fn subjects(notify: &Notify) -> Vec<String> {
    notify.topic.taken.borrow().iter().map(|alert| alert.subject.clone()).collect()
}

/// An event in a county of its own.
fn event(n: usize) -> String {
    format!(r#"{{"ID":"{n}","Severity":4,"City":"{n}","County":"county {n}"}}"#)
}

/// The batch size of notify's mapping in template.yaml.
pub(super) const BATCH_SIZE: usize = 1000;

/// The default of a parameter in the template.
pub(super) fn template_default(parameter: &str) -> usize {
    usize::try_from(tests::template_default(parameter)).unwrap()
}

/// The machine-readable part of a message.
pub(super) fn machine(alert: &Alert) -> Value {
    let message: Value = serde_json::from_str(&alert.message).unwrap();
    serde_json::from_str(message["default"].as_str().unwrap()).unwrap()
}

/// How many events all messages report.
fn alerted(notify: &Notify) -> u64 {
    notify.topic.taken.borrow().iter().map(|alert| machine(alert)["count"].as_u64().unwrap()).sum()
}

#[tokio::test(start_paused = true)]
async fn most_severe_events_get_one_message_each() {
    let notify = notify();
    assert_all_done(&handle(&notify, &fixture("notify-kinesis")).await);
    assert_eq!(
        subjects(&notify),
        ["Severity 4 accident: Las Cruces, Doña Ana", "Severity 4 accident: unknown, Lucas"]
    );
}

#[tokio::test(start_paused = true)]
async fn messages_go_in_order_and_stop_at_the_first_that_fails() {
    let notify = notify();
    let events: Vec<_> = (1..=25).map(event).collect();
    notify.topic.reply([Reply::Taken, Reply::Failed(Fault::Permanent)]);
    assert_eq!(handle(&notify, &kinesis_event(&events)).await, ["11"]);
    assert_all_done(&handle(&notify, &kinesis_event(&events[10..])).await);
    assert_eq!(subjects(&notify).len(), 25, "each event is alerted once");
}

#[tokio::test(start_paused = true)]
async fn failed_reject_only_delays_later_events() {
    let notify = notify();
    notify.rejects.always.set(Some(Fault::Throttled));
    assert_eq!(handle(&notify, &kinesis(&[&event(1), "poison", &event(2)])).await, ["2"]);
    assert_eq!(subjects(&notify), ["Severity 4 accident: 1, county 1"]);
    notify.rejects.always.set(None);
    assert_all_done(&handle(&notify, &kinesis(&["poison", &event(2)])).await);
    assert_eq!(subjects(&notify).len(), 2, "each event is alerted once");
    assert_eq!(reasons(&notify.rejects), ["not_json"]);
}

#[tokio::test(start_paused = true)]
async fn permanently_refused_message_is_a_reject() {
    let notify = notify();
    notify.topic.reply([Reply::Refused(vec![1], Fault::Permanent)]);
    assert_all_done(&handle(&notify, &kinesis(&[&event(1), &event(2), &event(3), "poison"])).await);
    assert_eq!(subjects(&notify).len(), 2);
    assert_eq!(reasons(&notify.rejects), ["not_json", "unacceptable"]);
}

#[tokio::test(start_paused = true)]
async fn log_counts_retries_and_repeats() {
    let notify = notify();
    notify.topic.reply([Reply::Failed(Fault::Transient), Reply::Failed(Fault::Throttled)]);
    notify.rejects.reply([Reply::Failed(Fault::Transient)]);
    let batch = kinesis(&[&event(1), &event(1), "poison", &event(2)]);
    assert_eq!(notify.handle(&batch, &logged()).await.unwrap().batch_item_failures, []);
    let names = ["In", "Delivered", "Filtered", "Rejected", "Retried"];
    assert_eq!(logged_counts(names), [4, 2, 1, 1, 3]);
    // A container that has alerted both filters both.
    assert_eq!(
        notify.handle(&kinesis(&[&event(1), &event(2)]), &logged()).await.unwrap().batch_item_failures,
        []
    );
    assert_eq!(logged_counts(names), [2, 0, 2, 0, 0]);
}

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
async fn failed_alert_is_sent_when_the_same_container_retries_it() {
    let notify = notify();
    notify.topic.reply([Reply::Failed(Fault::Permanent)]);
    let batch = kinesis(&[&event(1), &event(2)]);
    assert_eq!(handle(&notify, &batch).await, ["1"]);
    assert_all_done(&handle(&notify, &batch).await);
    assert_eq!(alerted(&notify), 2);
    let latency = notify.latency.take();
    assert_eq!(latency.len(), 0, "the events do not say when they were received");
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
async fn repeat_of_a_refused_event_is_alerted_before_events_after_a_reject() {
    let notify = notify();
    let event =
        |id: &str, city: &str| format!(r#"{{"ID":"{id}","Severity":4,"City":"{city}","County":"{id}"}}"#);
    let events = [event("1", "bad"), event("1", "good"), "poison".to_owned(), event("2", "next")];
    notify.topic.reply([Reply::Refused(vec![0], Fault::Permanent)]);
    assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
    assert_eq!(subjects(&notify), ["Severity 4 accident: good, 1", "Severity 4 accident: next, 2"]);
    assert_eq!(reasons(&notify.rejects).len(), 2);
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

#[tokio::test(start_paused = true)]
async fn container_does_not_repeat_its_alerts() {
    let notify = notify();
    let events: Vec<_> = (0..5).map(event).collect();
    handle(&notify, &kinesis_event(&events[..3])).await;
    handle(&notify, &kinesis_event(&events)).await;
    assert_eq!((alerted(&notify), subjects(&notify).len()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn failed_digest_is_retried_whole_without_repeats() {
    let notify = notify();
    let events: Vec<_> =
        (0..40)
            .map(|n| {
                if n % 2 == 0 { event(n) } else { format!(r#"{{"ID":"{n}","Severity":4,"County":"storm"}}"#) }
            })
            .collect();
    notify.topic.reply([Reply::Failed(Fault::Permanent)]);
    assert_eq!(handle(&notify, &kinesis_event(&events)).await, ["1"]);
    assert_eq!(alerted(&notify), 0);
    // The first request holds the digest and nine others; the second fails.
    notify.topic.reply([Reply::Taken, Reply::Failed(Fault::Permanent)]);
    let again: usize = handle(&notify, &kinesis_event(&events)).await[0].parse().unwrap();
    assert!(again > 10, "{again}");
    handle(&notify, &kinesis_event(&events[again - 1..])).await;
    assert_eq!(alerted(&notify), 40, "the digest is not repeated");
    assert_eq!(subjects(&notify).len(), 21);
}

/// Ten thousand events of one county within a minute, batched by a mapping with the template's defaults. A batch ends
/// when its window ends or when it is full.
#[tokio::test(start_paused = true)]
async fn ten_thousand_events_of_a_county_are_at_most_sixty_messages() {
    let (size, window) = (BATCH_SIZE, template_default("NotifyWindowSeconds"));
    let arrivals: BTreeMap<&str, fn(usize) -> usize> = BTreeMap::from([
        ("evenly", (|n| n * 60_000 / 10_000) as fn(usize) -> usize),
        ("all at once", |_| 0),
        ("in bursts of ten seconds", |n| n / 1_667 * 10_000),
        ("first a few, then all", |n| if n < 60 { n * 1_000 } else { 59_999 }),
        ("at a growing rate", |n| (n * 10_000).isqrt() * 6),
    ]);
    for (how, at) in arrivals {
        let notify = notify();
        let event =
            |n: usize| format!(r#"{{"ID":"A-{n}","Severity":4,"City":"{}","County":"Franklin"}}"#, n % 7);
        let (mut next, mut batches) = (0, 0);
        while next < 10_000 {
            let until = at(next) + window * 1_000;
            let end = (next..10_000).take(size).take_while(|n| at(*n) <= until).last().unwrap() + 1;
            let events: Vec<_> = (next..end).map(event).collect();
            let batch = kinesis_event(&events);
            let begins = now() + TimeDelta::milliseconds(i64::try_from(until).unwrap());
            let deadline = u64::try_from(begins.timestamp_millis()).unwrap() + 60_000;
            let response = notify.handle(&batch, &Invocation::begin("r", deadline, begins, 7)).await.unwrap();
            assert_eq!(response.batch_item_failures, []);
            (next, batches) = (end, batches + 1);
        }
        let messages = subjects(&notify).len();
        assert!(messages <= 60, "{how}: {messages} messages for {batches} batches");
        assert_eq!(alerted(&notify), 10_000, "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn ticket_alerts_use_their_own_words() {
    let mut notify = notify();
    notify.config.common = common_of("support_tickets");
    let _response = notify.handle(&fixture("support_tickets/notify-kinesis"), &invocation()).await.unwrap();
    let alerts = notify.topic.taken.borrow();
    let subjects: Vec<_> = alerts.iter().map(|alert| alert.subject.as_str()).collect();
    assert_eq!(subjects, ["Priority 4 ticket for Network: T-1"]);
}

/// A KPL record of these events.
fn aggregated(events: &[&str]) -> Bytes {
    let records: Vec<Bytes> = events.iter().map(|event| Bytes::copy_from_slice(event.as_bytes())).collect();
    aggregate(&records, Damage::None)
}

#[tokio::test(start_paused = true)]
async fn repeat_of_a_refused_event_is_alerted_by_itself() {
    for pace in [None, config().pace] {
        let mut notify = notify();
        notify.config.pace = pace;
        let event = |city: &str| format!(r#"{{"ID":"A-1","Severity":4,"City":"{city}","County":"c"}}"#);
        let events = [event("bad"), event("worse"), event("good"), event("late")];
        notify
            .topic
            .reply([Reply::Refused(vec![0], Fault::Permanent), Reply::Refused(vec![0], Fault::Permanent)]);
        assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
        assert_eq!(subjects(&notify), ["Severity 4 accident: good, c"]);
        assert_eq!(reasons(&notify.rejects), ["unacceptable", "unacceptable"]);
        assert_eq!(notify.topic.requests.get(), 3, "the last repeats an event that was alerted");
    }
}

/// An event of a severity in a county.
fn severe(id: &str, severity: u8, county: &str) -> String {
    format!(r#"{{"ID":"{id}","Severity":{severity},"City":"{severity}","County":"{county}"}}"#)
}

#[tokio::test(start_paused = true)]
async fn higher_severity_is_alerted_at_once() {
    let notify = notify();
    let of = |severities: &[u8]| severities.iter().map(|each| severe("A-1", *each, "c")).collect::<Vec<_>>();
    // In one batch.
    assert_all_done(&handle(&notify, &kinesis_event(&of(&[4, 4, 6, 5, 6]))).await);
    let raised = "Severity raised from 4 to 6: Severity 6 accident: 6, c";
    assert_eq!(subjects(&notify), ["Severity 4 accident: 4, c", raised]);
    // In a later batch.
    assert_all_done(&handle(&notify, &kinesis_event(&of(&[6, 5, 8, 4]))).await);
    assert_eq!(subjects(&notify)[2..], ["Severity raised from 6 to 8: Severity 8 accident: 8, c"]);
    let ids: Vec<_> = notify.topic.take().into_iter().map(|alert| alert.id).collect();
    assert_eq!(ids, ["A-1/4", "A-1/6", "A-1/8"], "a FIFO topic drops none of them");
    // One that was not alerted is not a raise.
    assert_all_done(&handle(&notify, &kinesis_event(&[severe("A-2", 3, "c"), severe("A-2", 4, "c")])).await);
    assert_eq!(subjects(&notify), ["Severity 4 accident: 4, c"]);
}

/// The keys by which on-call services deduplicate the messages.
fn dedup_keys(notify: &Notify) -> Vec<String> {
    let key = |alert: Alert| machine(&alert)["on_call"]["dedup_key"].as_str().unwrap().to_owned();
    notify.topic.take().into_iter().map(key).collect()
}

#[tokio::test(start_paused = true)]
async fn on_call_services_get_one_key_for_an_id() {
    let notify = notify();
    let of = |severities: &[u8]| severities.iter().map(|each| severe("A-1", *each, "c")).collect::<Vec<_>>();
    // Raised, lowered and repeated, in one batch and in a later one.
    for (severities, messages) in [(&[4, 4, 6, 5, 6][..], 2), (&[6, 5, 8, 4], 1), (&[4, 8], 0)] {
        assert_all_done(&handle(&notify, &kinesis_event(&of(severities))).await);
        assert_eq!(dedup_keys(&notify), vec!["us_accidents/A-1"; messages]);
    }
    // Another container, whose messages a FIFO topic distinguishes by the severity, and another event.
    let other = super::notify::notify();
    assert_all_done(&handle(&other, &kinesis_event(&[severe("A-1", 5, "c"), severe("A-2", 5, "c")])).await);
    let ids: Vec<_> = other.topic.taken.borrow().iter().map(|alert| alert.id.clone()).collect();
    assert_eq!(ids, ["A-1/5", "A-2/5"]);
    assert_eq!(dedup_keys(&other), ["us_accidents/A-1", "us_accidents/A-2"]);
}

#[tokio::test(start_paused = true)]
async fn on_call_services_get_a_key_for_each_digest() {
    let of = |severity: u8, ids: std::ops::Range<usize>| {
        kinesis_event(&ids.map(|n| severe(&n.to_string(), severity, "c")).collect::<Vec<_>>())
    };
    let notify = notify();
    // The same digest again, after a failure; then all of its events raised, and other events.
    notify.topic.reply([Reply::Failed(Fault::Permanent)]);
    assert_eq!(handle(&notify, &of(4, 0..20)).await, ["1"]);
    for batch in [of(4, 0..20), of(5, 0..20), of(5, 20..40)] {
        assert_all_done(&handle(&notify, &batch).await);
    }
    let [first, raised, other] = dedup_keys(&notify).try_into().unwrap();
    assert!(
        first == raised && first != other && first.starts_with("us_accidents/digest-"),
        "{first} {other}"
    );
}

#[tokio::test(start_paused = true)]
async fn raised_event_in_a_digest_is_named() {
    for pace in [None, config().pace] {
        let mut notify = notify();
        notify.config.pace = pace;
        assert_all_done(&handle(&notify, &kinesis_event(&[severe("A-1", 4, "c")])).await);
        let others = (0..30).map(|n| severe(&n.to_string(), 5, "c"));
        let events: Vec<_> = others.chain([severe("A-1", 5, "c"), severe("3", 4, "c")]).collect();
        assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
        let subject = "1 raised from 4 to 5: 31 accidents of severity 5 in c county";
        assert_eq!(subjects(&notify)[1..], [subject]);
        let digest = notify.topic.take().remove(1);
        assert!(digest.message.contains("1 raised from 4 to 5: A-1"), "{}", digest.message);
        // The digest counts for each of its events.
        assert_all_done(&handle(&notify, &kinesis_event(&[severe("7", 5, "c"), severe("8", 6, "c")])).await);
        assert_eq!(subjects(&notify), ["Severity raised from 5 to 6: Severity 6 accident: 6, c"]);
    }
}

#[tokio::test(start_paused = true)]
async fn lower_severity_is_alerted_if_the_higher_one_is_refused() {
    for pace in [None, config().pace] {
        let mut notify = notify();
        notify.config.pace = pace;
        let events = [severe("A-1", 4, "c"), severe("A-1", 6, "c"), severe("A-1", 5, "c")];
        notify.topic.reply(match pace {
            None => vec![Reply::Refused(vec![1], Fault::Permanent)],
            Some(_) => vec![Reply::Taken, Reply::Refused(vec![0], Fault::Permanent)],
        });
        assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
        let raised = "Severity raised from 4 to 5: Severity 5 accident: 5, c";
        assert_eq!(subjects(&notify), ["Severity 4 accident: 4, c", raised]);
        assert_eq!(reasons(&notify.rejects), ["unacceptable"]);
    }
}

#[tokio::test(start_paused = true)]
async fn raised_event_that_fails_is_retried_with_its_repeats() {
    let mut notify = notify();
    notify.config.pace = config().pace;
    let events = [severe("A-1", 4, "c"), severe("A-1", 5, "c"), severe("A-1", 4, "c")];
    notify.topic.reply([Reply::Taken, Reply::Failed(Fault::Permanent)]);
    assert_eq!(handle(&notify, &kinesis_event(&events)).await, ["2"]);
    assert_all_done(&handle(&notify, &kinesis_event(&events[1..])).await);
    let raised = "Severity raised from 4 to 5: Severity 5 accident: 5, c";
    assert_eq!(subjects(&notify), ["Severity 4 accident: 4, c", raised]);
}

#[tokio::test(start_paused = true)]
async fn repeat_of_a_failed_event_is_retried_with_it() {
    let notify = notify();
    let event =
        |id: &str, city: &str| format!(r#"{{"ID":"{id}","Severity":4,"City":"{city}","County":"c"}}"#);
    let events = [event("1", "a"), event("2", "b"), event("1", "c"), event("2", "d")];
    notify.topic.reply([Reply::Failed(Fault::Permanent)]);
    let response = notify.handle(&kinesis_event(&events), &logged()).await.unwrap();
    assert_eq!(to_retry(response), ["1"]);
    assert_eq!(logged_counts(["In", "Filtered", "Failed"]), [4, 0, 4]);
    assert_eq!(subjects(&notify).len(), 0);
    assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
    assert_eq!(subjects(&notify), ["Severity 4 accident: a, c", "Severity 4 accident: b, c"]);
}

#[tokio::test(start_paused = true)]
async fn repeat_of_a_refused_event_waits_for_its_reject() {
    let notify = notify();
    let event =
        |id: &str, city: &str| format!(r#"{{"ID":"{id}","Severity":4,"City":"{city}","County":"c"}}"#);
    // The first and the last are refused, and their rejects cannot be written.
    let events = [event("1", "a"), event("1", "b"), event("2", "c")];
    notify.topic.reply([Reply::Refused(vec![0, 1], Fault::Permanent)]);
    notify.rejects.always.set(Some(Fault::Throttled));
    assert_eq!(handle(&notify, &kinesis_event(&events)).await, ["1"]);
    assert_eq!((alerted(&notify), notify.topic.requests.get()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn each_event_of_refused_messages_is_a_reject() {
    let mut notify = notify();
    notify.config.digests.above = 1;
    let event = |id: &str, county: &str| format!(r#"{{"ID":"{id}","Severity":4,"County":"{county}"}}"#);
    // The first and the third event share a message, so that the order of the messages is not that of the events.
    let events = [event("1", "a"), event("2", "b"), event("3", "a")];
    let batch = kinesis_event(&[aggregated(&events.each_ref().map(String::as_str))]);
    notify.topic.reply([Reply::Refused(vec![0, 1], Fault::Permanent)]);
    let response = notify.handle(&batch, &logged()).await.unwrap();
    assert_all_done(&to_retry(response));
    assert_eq!(logged_counts(["In", "Rejected", "Unaccounted"]), [3, 3, 0]);
    let payloads: Vec<_> = lines(&notify.rejects.take()).iter().map(|line| line["payload"].clone()).collect();
    assert_eq!(payloads, events);
}

#[tokio::test(start_paused = true)]
async fn each_part_of_a_large_digest_has_its_own_outcome() {
    let notify = notify();
    let event = |n: usize| {
        let city = format!("{n} {}", "x".repeat(290));
        format!(r#"{{"ID":"{n}","Severity":4,"City":"{city}","County":"c"}}"#)
    };
    let events: Vec<_> = (0..1_200).map(event).collect();
    notify.topic.reply([Reply::Refused(vec![1], Fault::Permanent)]);
    let response = notify.handle(&kinesis_event(&events), &logged()).await.unwrap();
    assert_all_done(&to_retry(response));
    let counts = logged_counts(["Delivered", "Rejected", "Unaccounted"]);
    assert_eq!((counts[0], counts[0] + counts[1], counts[2]), (alerted(&notify), 1_200, 0));
    assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn messages_before_a_reject_count_towards_the_burst() {
    let notify = paced();
    let mut events: Vec<_> = (0..10).map(event).collect();
    events.insert(3, "poison".to_owned());
    assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
    let counts: Vec<_> = notify.topic.take().iter().map(|alert| alert.count).collect();
    assert_eq!(counts, [1, 1, 1, 7]);
}

#[tokio::test(start_paused = true)]
async fn alerts_before_the_window_do_not_make_a_digest() {
    let notify = notify();
    let event = |id: usize| format!(r#"{{"ID":"{id}","Severity":4,"County":"c"}}"#);
    let first: Vec<_> = (0..11).map(event).collect();
    let second: Vec<_> = (11..13).map(event).collect();
    let third: Vec<_> = (13..15).map(event).collect();
    for (events, seconds, counts) in [(first, 0, vec![11]), (second, 60, vec![2]), (third, 121, vec![1, 1])] {
        let later = Invocation { now: now() + TimeDelta::seconds(seconds), ..invocation() };
        let response = notify.handle(&kinesis_event(&events), &later).await.unwrap();
        assert_all_done(&to_retry(response));
        let found: Vec<_> = notify.topic.take().iter().map(|alert| alert.count).collect();
        assert_eq!(found, counts, "after {seconds} seconds");
    }
}

#[tokio::test(start_paused = true)]
async fn repeat_after_a_failure_is_not_sent_before_it() {
    let mut notify = notify();
    // One message in a request, so that the first is refused and the second fails.
    notify.config.pace = config().pace;
    let event =
        |id: &str, city: &str| format!(r#"{{"ID":"{id}","Severity":4,"City":"{city}","County":"{city}"}}"#);
    let events = [event("1", "a"), event("2", "b"), event("1", "c")];
    notify.topic.reply([Reply::Refused(vec![0], Fault::Permanent), Reply::Failed(Fault::Permanent)]);
    assert_eq!(handle(&notify, &kinesis_event(&events)).await, ["2"]);
    assert_eq!((subjects(&notify).len(), notify.topic.requests.get()), (0, 2));
    assert_all_done(&handle(&notify, &kinesis_event(&events[1..])).await);
    assert_eq!(subjects(&notify), ["Severity 4 accident: b, b", "Severity 4 accident: c, c"]);
}

#[tokio::test(start_paused = true)]
async fn event_in_the_record_of_a_failed_reject_is_not_alerted() {
    let notify = notify();
    notify.rejects.always.set(Some(Fault::Throttled));
    let batch = [Bytes::from(event(1)), aggregated(&[&event(2), "poison", &event(3)]), Bytes::from(event(4))];
    assert_eq!(handle(&notify, &kinesis_event(&batch)).await, ["2"]);
    assert_eq!(subjects(&notify), ["Severity 4 accident: 1, county 1"]);
    notify.rejects.always.set(None);
    assert_all_done(&handle(&notify, &kinesis_event(&batch[1..])).await);
    assert_eq!((alerted(&notify), subjects(&notify).len()), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn event_in_the_record_of_a_failed_event_fails_with_it() {
    let mut notify = notify();
    notify.config.pace = config().pace;
    let twice = |n: usize| [event(n), event(n).replace("City", "Nowhere")];
    let [one, again] = twice(1);
    // The first is refused permanently and its reject fails, so its repeat must not be sent.
    notify.topic.reply([Reply::Refused(vec![0], Fault::Permanent)]);
    notify.rejects.always.set(Some(Fault::Throttled));
    let batch = [Bytes::from(event(2)), aggregated(&[&one, &again])];
    notify.topic.reply([Reply::Taken]);
    let answer = handle(&notify, &kinesis_event(&batch[1..])).await;
    assert_eq!((answer, alerted(&notify)), (vec!["1".to_owned()], 0));
}

#[tokio::test(start_paused = true)]
async fn batch_with_more_keys_than_turns_ends_with_a_digest() {
    let notify = paced();
    let events: Vec<_> =
        (0..500).map(|n| event(n % 250).replace(r#""ID":""#, &format!(r#""ID":"{n}-"#))).collect();
    assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
    let alerts = notify.topic.take();
    assert_eq!(alerts.iter().map(|alert| alert.count).collect::<Vec<_>>(), [1, 1, 1, 497]);
    let storm = &alerts[3];
    assert_eq!(storm.subject, "497 accidents of severity 4 in many counties");
    let machine = machine(storm);
    let counts: Vec<_> =
        machine["counts"].as_array().unwrap().iter().map(|each| each["count"].as_u64().unwrap()).collect();
    assert_eq!((machine["count"].as_u64(), counts.len(), counts.iter().sum::<u64>()), (Some(497), 250, 497));
    assert_eq!(storm.attributes.iter().find(|each| each.name == "county").unwrap().values.len(), 250);
}

#[tokio::test(start_paused = true)]
async fn message_whose_turn_comes_too_late_is_retried() {
    let mut notify = paced();
    // One message in ten seconds. A pause takes at most a quarter of the four seconds left, so two messages fit.
    notify.config.pace = Pace::new(1, 10);
    let events = [event(1), event(2), "poison".to_owned(), event(3), event(4)];
    let deadline = u64::try_from(now().timestamp_millis()).unwrap() + 6_000;
    let began = tokio::time::Instant::now();
    let batch = kinesis_event(&events);
    let response = notify.handle(&batch, &Invocation::begin("r", deadline, now(), 7)).await.unwrap();
    assert_eq!(response.batch_item_failures[0].item_identifier, "4");
    assert_eq!((alerted(&notify), notify.topic.requests.get()), (2, 2));
    assert!(began.elapsed().as_millis() < 4_000, "{:?}", began.elapsed());
    assert_all_done(&handle(&notify, &kinesis_event(&events[3..])).await);
    assert_eq!(alerted(&notify), 4);
}
