//! Repeats of an event, and events whose severity rises.

use bytes::Bytes;
use fakes::Reply;
use notify::word::Alert;
use shared::delivery::Fault;

use super::{Notify, aggregated, alerted, config, event, handle, machine, notify, subjects};
use crate::{assert_all_done, kinesis_event, logged, logged_counts, reasons, to_retry};

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
async fn container_does_not_repeat_its_alerts() {
    let notify = notify();
    let events: Vec<_> = (0..5).map(event).collect();
    handle(&notify, &kinesis_event(&events[..3])).await;
    handle(&notify, &kinesis_event(&events)).await;
    assert_eq!((alerted(&notify), subjects(&notify).len()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn repeat_of_a_refused_event_is_alerted_by_itself() {
    for pace in [None, config().pace] {
        let mut notify = notify();
        notify.config.pace = pace;
        let events = ["bad", "worse", "good", "late"].map(|city| in_city("A-1", city));
        notify
            .topic
            .reply([Reply::Refused(vec![0], Fault::Permanent), Reply::Refused(vec![0], Fault::Permanent)]);
        assert_all_done(&handle(&notify, &kinesis_event(&events)).await);
        assert_eq!(subjects(&notify), ["Severity 4 accident: good, c"]);
        assert_eq!(reasons(&notify.rejects), ["unacceptable", "unacceptable"]);
        assert_eq!(notify.topic.requests.get(), 3, "the last repeats an event that was alerted");
    }
}

/// An event of severity 4 in a city of one county.
fn in_city(id: &str, city: &str) -> String {
    format!(r#"{{"ID":"{id}","Severity":4,"City":"{city}","County":"c"}}"#)
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
    let other = super::notify();
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
    let events = [in_city("1", "a"), in_city("2", "b"), in_city("1", "c"), in_city("2", "d")];
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
    // The first and the last are refused, and their rejects cannot be written.
    let events = [in_city("1", "a"), in_city("1", "b"), in_city("2", "c")];
    notify.topic.reply([Reply::Refused(vec![0, 1], Fault::Permanent)]);
    notify.rejects.always.set(Some(Fault::Throttled));
    assert_eq!(handle(&notify, &kinesis_event(&events)).await, ["1"]);
    assert_eq!((alerted(&notify), notify.topic.requests.get()), (0, 1));
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
