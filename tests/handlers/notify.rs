//! The handler of notify.

mod recorded;
mod repeats;

use std::{collections::BTreeMap, sync::Mutex};

use bytes::Bytes;
use chrono::TimeDelta;
use fakes::{Reply, Scripted, fixture, variable};
use notify::{
    handler::{Config, Handler},
    pace::{NextTurn, Pace},
    plan::Digests,
    word::Alert,
};
use serde_json::Value;
use shared::{
    audit::latency::LatencySample,
    delivery::{Fault, Limits},
    lambda::invocation::Invocation,
};
use tests::simulation::unit::{Damage, aggregate};

use super::{
    assert_all_done, firehose, invocation, kinesis, kinesis_event, lines, logged, logged_counts, now,
    reasons, support_tickets, to_retry,
};

pub(super) type Notify = Handler<Scripted<Alert>, Scripted<LatencySample>, Scripted<Bytes>>;

pub(super) const SNS: Limits = Limits { entries: 10, request_bytes: 256 * 1024, entry_bytes: 256 * 1024 };

/// The configuration with the template's defaults.
pub(super) fn config() -> Config {
    let alerts = u32::try_from(template_default("AlertsPerSecond")).unwrap();
    Config {
        digests: Digests {
            above: template_default("DigestAbove"),
            window: TimeDelta::seconds(i64::try_from(template_default("DigestWindowSeconds")).unwrap()),
        },
        pace: Pace::new(alerts, 4),
        ..Config::read(&variable).unwrap()
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
    notify.config.common.dataset = support_tickets();
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
