//! The handler of notify.

use bytes::Bytes;
use notify::{
    handler::{Config, Handler},
    word::Alert,
};
use serde_json::value::RawValue;
use shared::delivery::{Fault, Limits};
use tests::{Reply, Scripted, fixture};

use super::{common, firehose, invocation, kinesis, reasons};

type Notify = Handler<Scripted<Alert>, Scripted<Bytes>>;

fn notify() -> Notify {
    let limits = Limits { entries: 10, request_bytes: 256 * 1024, entry_bytes: 256 * 1024 };
    Handler {
        config: Config {
            common: common(),
            topic_arn: "arn:aws:sns:eu-west-1:000000000000:t".to_owned(),
            severity_above: 3,
        },
        topic: Scripted::new(limits, |alert| alert.message.len()),
        rejects: firehose(),
    }
}

async fn handle(notify: &Notify, event: &RawValue) -> Vec<String> {
    let response = notify.handle(event, &invocation()).await.unwrap();
    response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}

fn subjects(notify: &Notify) -> Vec<String> {
    notify.topic.taken.borrow().iter().map(|alert| alert.subject.clone()).collect()
}

fn event(n: usize) -> String {
    format!(r#"{{"ID":"{n}","Severity":4,"City":"{n}","County":"c"}}"#)
}

#[tokio::test(start_paused = true)]
async fn the_most_severe_events_are_told_one_message_each() {
    let notify = notify();
    assert_eq!(handle(&notify, &fixture("notify-kinesis")).await, [""; 0]);
    assert_eq!(
        subjects(&notify),
        ["Severity 4 accident: Las Cruces, Doña Ana", "Severity 4 accident: unknown, Lucas"]
    );
}

#[tokio::test(start_paused = true)]
async fn messages_go_in_order_and_stop_at_the_first_that_fails() {
    let notify = notify();
    let events: Vec<_> = (1..=25).map(event).collect();
    let data: Vec<_> = events.iter().map(String::as_str).collect();
    notify.topic.reply([Reply::Taken, Reply::Failed(Fault::Permanent)]);
    assert_eq!(handle(&notify, &kinesis(&data)).await, ["11"]);
    assert_eq!(handle(&notify, &kinesis(&data[10..])).await, [""; 0]);
    assert_eq!(subjects(&notify).len(), 25, "nothing is told twice, and nothing left out");
}

#[tokio::test(start_paused = true)]
async fn a_reject_that_cannot_be_written_holds_up_what_stands_behind_it_alone() {
    let notify = notify();
    notify.rejects.always.set(Some(Fault::Throttled));
    assert_eq!(handle(&notify, &kinesis(&[&event(1), "poison", &event(2)])).await, ["2"]);
    assert_eq!(subjects(&notify), ["Severity 4 accident: 1, c"]);
    notify.rejects.always.set(None);
    assert_eq!(handle(&notify, &kinesis(&["poison", &event(2)])).await, [""; 0]);
    assert_eq!(subjects(&notify).len(), 2, "nothing is told twice, and nothing left out");
    assert_eq!(reasons(&notify.rejects), ["not_json"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_sns_will_never_take_is_a_reject() {
    let notify = notify();
    notify.topic.reply([Reply::Refused(vec![1], Fault::Permanent)]);
    assert_eq!(handle(&notify, &kinesis(&[&event(1), &event(2), &event(3), "poison"])).await, [""; 0]);
    assert_eq!(subjects(&notify).len(), 2);
    assert_eq!(reasons(&notify.rejects), ["not_json", "unacceptable"]);
}
