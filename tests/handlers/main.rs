//! The handlers over services that answer by script.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod ingest;
mod metrics;
mod notify;
mod objects;
mod storm;
mod transform;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde_json::Value;
use shared::{config::Common, dataset::Dataset, delivery::Limits, invocation::Invocation};
use tests::Scripted;

const LIMITS: Limits = Limits { entries: 500, request_bytes: 4_000_000, entry_bytes: 1_000_000 };

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

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

/// An invocation of 60 seconds.
fn invocation() -> Invocation {
    let deadline = u64::try_from(now().timestamp_millis()).unwrap() + 60_000;
    Invocation::begin("request-1", deadline, now(), 7)
}

/// A delivery stream that answers by script.
fn firehose() -> Scripted<Bytes> {
    Scripted::new(LIMITS, Bytes::len)
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

/// A Kinesis event with one record for each of the data, with sequence numbers from 1.
fn kinesis(data: &[&str]) -> String {
    kinesis_of(&data.iter().map(|data| data.as_bytes()).collect::<Vec<_>>())
}

/// The same of any bytes.
fn kinesis_of(data: &[&[u8]]) -> String {
    let records: Vec<_> = data
        .iter()
        .enumerate()
        .map(|(index, data)| {
            let data = base64_simd::STANDARD.encode_to_string(data);
            let number = index + 1;
            serde_json::json!({
                "kinesis": {"sequenceNumber": number.to_string(), "data": data},
                "eventID": format!("shardId-000000000000:{number}"),
                "eventSourceARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/s1",
            })
        })
        .collect();
    serde_json::json!({"Records": records}).to_string()
}
