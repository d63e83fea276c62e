//! The handlers over services that answer by script.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ingest;
mod metrics;
mod notify;
mod objects;
mod storm;
mod transform;
mod words;

use bytes::Bytes;
use fakes::{LIMITS, Scripted, firehose, invocation, kinesis_event, now};
use serde_json::Value;
use shared::{data::dataset::Dataset, lambda::config::Common};

fn common() -> Common {
    common_of("us_accidents")
}

fn common_of(dataset: &str) -> Common {
    Common {
        dataset: Dataset::named(dataset).unwrap(),
        rejects_delivery_stream: "rejects".to_owned(),
        environment: "dev".to_owned(),
        log_event_ids: true,
    }
}

fn lines(entries: &[Bytes]) -> Vec<Value> {
    entries
        .iter()
        .map(|entry| {
            assert!(entry.ends_with(b"\n"), "every record ends with a line feed");
            serde_json::from_slice(entry).unwrap()
        })
        .collect()
}

fn reasons(rejects: &Scripted<Bytes>) -> Vec<String> {
    let taken = rejects.taken.borrow();
    lines(&taken).iter().map(|line| line["reason"].as_str().unwrap().to_owned()).collect()
}

/// A Kinesis event with one record for each text, with sequence numbers from 1.
fn kinesis(data: &[&str]) -> String {
    kinesis_event(data)
}
