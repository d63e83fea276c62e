//! Bad input of every kind, each with its exact answer, and random mutations of it.
//!
//! The small inputs are in the JSON files of this folder, under names that say what is wrong with them. The module
//! [`large`] makes the large ones, and [`fuzz`] mutates them all.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![expect(clippy::print_stderr, reason = "a fuzz target reports its inputs and failures")]

use std::{fmt::Debug, fs, path::Path};

use bytes::Bytes;
use fakes::{Scripted, gzip, invocation, post};
use ingest::rows::{Content as RowContent, Format, Position, Rows};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use shared::{
    data::dataset::Dataset,
    stream::{StreamRecord, kpl},
};
use tests::scripted::{Ingest, Transform, body, handle, ingest, transform};

mod fuzz;
mod large;
mod oracle;

/// The time stamp of every accepted event.
const STAMP: &str = r#","Txn_Timestamp":"2023-11-14T22:13:20.000000Z""#;

/// The events that ingest put on its stream, without their stamp and line feed.
fn events(ingest: &Ingest) -> Vec<String> {
    let events = ingest.stream.take().into_iter().map(|record| {
        let event = String::from_utf8(record.data.to_vec()).unwrap();
        event.strip_suffix('\n').unwrap().replacen(STAMP, "", 1)
    });
    events.collect()
}

/// The reasons of the rejects, in order.
fn reasons(rejects: &Scripted<Bytes>) -> Vec<String> {
    let lines = rejects.take();
    let text =
        |line: &Bytes| serde_json::from_slice::<Value>(line).unwrap()["reason"].as_str().unwrap().to_owned();
    lines.iter().map(text).collect()
}

/// The ids on stream 2.
fn severe_ids(transform: &Transform) -> Vec<String> {
    let id = |record: StreamRecord| {
        serde_json::from_slice::<Value>(&record.data).unwrap()["ID"].as_str().unwrap().to_owned()
    };
    transform.severe.take().into_iter().map(id).collect()
}

/// The cases of a file in this folder.
fn cases<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

const ROWS: &str = "rows.json";
const REQUESTS: &str = "requests.json";
const RECORDS: &str = "records.json";
const AGGREGATES: &str = "aggregates.json";

/// The wrong results of the cases of a file, reported together at the end.
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn check<T: PartialEq + Debug>(&mut self, name: &str, found: &T, expected: &T) {
        if found != expected {
            self.0.push(format!("{name}: expected {expected:?}, found {found:?}"));
        }
    }
}

impl Drop for Differences {
    fn drop(&mut self) {
        assert!(self.0.is_empty() || std::thread::panicking(), "{:#?}", self.0);
    }
}

/// A text, or bytes as base64.
#[derive(Deserialize)]
struct Content {
    body: Option<String>,
    base64: Option<String>,
}

impl Content {
    fn bytes(&self) -> Vec<u8> {
        match (&self.body, &self.base64) {
            (Some(text), None) => text.clone().into_bytes(),
            (None, Some(base64)) => base64_simd::STANDARD.decode_to_vec(base64.as_bytes()).unwrap(),
            _ => panic!("a case has either a body or base64"),
        }
    }
}

/// A text of rows, its events, and its rejects with their lines.
#[derive(Deserialize)]
struct RowsCase {
    name: String,
    format: String,
    #[serde(flatten)]
    content: Content,
    events: Vec<String>,
    rejects: Vec<(u64, String)>,
}

#[tokio::test(start_paused = true)]
async fn every_text_of_rows_gets_its_expected_answer() {
    let mut differences = Differences::default();
    for case in cases::<RowsCase>(ROWS) {
        let RowsCase { name, format, content, .. } = case;
        let ingest = ingest();
        // As an object in small chunks, which may hold any bytes.
        ingest.objects.chunk_bytes.set(7);
        let put = ingest.objects.put(&format!("a.{format}"), content.bytes());
        let answer = handle(&ingest, &put).await.unwrap();
        differences.check(&name, &events(&ingest), &case.events);
        let listed = answer["rejects"].as_array().unwrap().iter();
        let listed: Vec<(u64, String)> = listed
            .map(|reject| (reject["line"].as_u64().unwrap(), reject["reason"].as_str().unwrap().to_owned()))
            .collect();
        differences.check(&name, &listed, &case.rejects);
        differences.check(&name, &reasons(&ingest.rejects).len(), &case.rejects.len());
        let counts = [&answer["accepted"], &answer["rejected"], &answer["failed"]].map(Value::as_u64);
        let expected = [case.events.len(), case.rejects.len(), 0].map(|count| Some(count as u64));
        differences.check(&name, &counts, &expected);
    }
}

/// An event and its answer: an error, a summary, an HTTP answer or the messages to retry.
#[derive(Deserialize)]
struct RequestCase {
    name: String,
    event: String,
    error: Option<String>,
    summary: Option<Value>,
    status: Option<u64>,
    body: Option<Value>,
    items: Option<Value>,
    #[serde(default)]
    rejects: Vec<String>,
}

#[tokio::test(start_paused = true)]
async fn every_request_gets_its_answer() {
    let mut differences = Differences::default();
    for case in cases::<RequestCase>(REQUESTS) {
        let name = case.name;
        let ingest = ingest();
        let answer = match handle(&ingest, &case.event).await {
            Err(error) => {
                differences.check(&name, &Some(error.to_string()), &case.error);
                continue;
            }
            Ok(answer) => answer,
        };
        differences.check(&name, &None, &case.error);
        for (key, expected) in case.summary.iter().flat_map(|summary| summary.as_object().unwrap()) {
            differences.check(&name, &answer[key], expected);
        }
        if let Some(status) = case.status {
            differences.check(&name, &answer["statusCode"].as_u64(), &Some(status));
            let mut body = body(&answer);
            if let Some(fields) = body.as_object_mut() {
                // Few of these headers have all columns of the data set.
                fields.retain(|name, _| {
                    !["missing_columns", "more_unknown_columns", "unknown_columns", "warnings"]
                        .contains(&name.as_str())
                });
            }
            differences.check(&name, &Some(body), &case.body);
        }
        if let Some(items) = case.items {
            differences.check(&name, &answer["batchItemFailures"], &items);
        }
        if !case.rejects.is_empty() {
            differences.check(&name, &reasons(&ingest.rejects), &case.rejects);
        }
    }
}

/// A batch of a stream, with its severe events and rejects.
#[derive(Deserialize)]
struct RecordsCase {
    name: String,
    event: String,
    error: Option<String>,
    #[serde(default)]
    severe: Vec<String>,
    #[serde(default)]
    rejects: Vec<String>,
}

#[tokio::test(start_paused = true)]
async fn every_batch_gets_its_answer() {
    let mut differences = Differences::default();
    for case in cases::<RecordsCase>(RECORDS) {
        let name = case.name;
        let transform = transform();
        let event = case.event;
        match transform.handle(&event, &invocation()).await {
            Err(error) => {
                differences.check(&name, &Some(error.to_string()), &case.error);
                continue;
            }
            Ok(answer) => differences.check(&name, &answer.batch_item_failures, &Vec::new()),
        }
        differences.check(&name, &None, &case.error);
        differences.check(&name, &severe_ids(&transform), &case.severe);
        differences.check(&name, &reasons(&transform.rejects), &case.rejects);
    }
}

/// A record of a stream, and its user records.
#[derive(Deserialize)]
struct AggregateCase {
    name: String,
    #[serde(flatten)]
    content: Content,
    /// It is read as one record.
    #[serde(default)]
    plain: bool,
    /// It holds another aggregate, which is not split.
    #[serde(default)]
    nested: bool,
    records: Option<Vec<String>>,
    damaged: Option<String>,
}

#[test]
fn every_aggregate_is_split_or_reported() {
    let mut differences = Differences::default();
    for case in cases::<AggregateCase>(AGGREGATES) {
        let AggregateCase { name, content, plain, nested, records, damaged } = case;
        let data = Bytes::from(content.bytes());
        match kpl::deaggregate(data.clone()) {
            Err(error) => {
                let damaged = damaged.map(|why| format!("the aggregated record cannot be split: {why}"));
                differences.check(&name, &Some(error.to_string()), &damaged);
            }
            Ok(found) if plain => differences.check(&name, &found, &vec![data]),
            Ok(found) if nested => {
                let inner = kpl::deaggregate(found[0].clone()).unwrap();
                differences.check(&name, &inner, &vec!["one".into(), "two".into()]);
            }
            Ok(found) => {
                let expected = records.map(|records| records.into_iter().map(Bytes::from).collect());
                differences.check(&name, &Some(found), &expected);
            }
        }
    }
}
