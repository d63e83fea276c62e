//! One fake for each port of the functions, and inputs that several tests use.

mod catalog;
mod repeated_object;
mod s3;
mod service;
mod tickets;

use std::{fs, io::Write as _, path::Path};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use flate2::{Compression, write::GzEncoder};
use md5::{Digest as _, Md5};
use serde_json::json;
use shared::{delivery::Limits, lambda::invocation::Invocation, stream::StreamRecord};

pub use catalog::{GLUE, Registry, catalog};
pub use repeated_object::{RepeatedDownload, RepeatedObject};
pub use s3::{BUCKET, Bucket, Download, Inbox};
pub use service::{Reply, Scripted, failure};
pub use tickets::{tickets, tickets_in_words};

/// The limits of the streams and delivery streams.
pub const LIMITS: Limits = Limits { entries: 500, request_bytes: 4 * 1024 * 1024, entry_bytes: 1024 * 1024 };
/// One entry in a request, of any size.
pub const ONE: Limits = Limits { entries: 1, request_bytes: usize::MAX, entry_bytes: usize::MAX };

/// A stream that accepts every record.
#[must_use]
pub fn stream() -> Scripted<StreamRecord> {
    Scripted::new(LIMITS, |record: &StreamRecord| record.data.len())
}

/// A delivery stream that accepts every line.
#[must_use]
pub fn firehose() -> Scripted<Bytes> {
    Scripted::new(LIMITS, Bytes::len)
}

/// The variables that the functions require, each with its name in lower case as the value. The others have their
/// defaults.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    let is_required = name.ends_with("_STREAM") || name.starts_with("GLUE_") || name == "TOPIC_ARN";
    is_required.then(|| name.to_lowercase())
}

/// When the invocations of the tests begin.
#[must_use]
pub fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap_or_default()
}

/// An invocation of 60 seconds.
#[must_use]
pub fn invocation() -> Invocation {
    let deadline = now().timestamp_millis().unsigned_abs() + 60_000;
    Invocation::begin("request-1", deadline, now(), 7)
}

/// The event in `events/<name>.json`.
///
/// # Panics
///
/// When it cannot be read.
#[must_use]
pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(format!("{name}.json"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A Kinesis event with one record for each of the data, with sequence numbers from 1.
#[must_use]
pub fn kinesis_event<D: AsRef<[u8]>>(data: &[D]) -> String {
    let record = |(number, data): (usize, &D)| {
        json!({
            "kinesis": {"sequenceNumber": number.to_string(), "data": base64_simd::STANDARD.encode_to_string(data)},
            "eventID": format!("shardId-000000000000:{number}"),
            "eventSourceARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/s1",
        })
    };
    json!({"Records": (1..).zip(data).map(record).collect::<Vec<_>>()}).to_string()
}

/// An aggregated record: the magic number, the protobuf and its digest.
#[must_use]
pub fn aggregate(protobuf: &[u8]) -> Vec<u8> {
    [b"\xf3\x89\x9a\xc2", protobuf, &Md5::digest(protobuf)[..]].concat()
}

/// An HTTP event: a POST of a body with its content type and encoding.
#[must_use]
pub fn post(body: &[u8], content_type: &str, encoding: &str) -> String {
    let body = base64_simd::STANDARD.encode_to_string(body);
    json!({
        "version": "2.0", "rawPath": "/", "rawQueryString": "", "isBase64Encoded": true, "body": body,
        "headers": {"content-type": content_type, "content-encoding": encoding},
        "requestContext": {"http": {"method": "POST", "path": "/"}},
    })
    .to_string()
}

/// One gzip member.
///
/// # Panics
///
/// Never: it writes to memory.
#[must_use]
pub fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.unwrap_or_else(|error| panic!("{error}"))
}
