//! The handlers against services that answer from a script.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod ingest;
#[path = "../adapters/log.rs"]
mod log;
mod metrics;
mod notify;
mod objects;
mod storm;
mod transform;
mod words;

use std::cell::RefCell;

use bytes::Bytes;
use fakes::{LIMITS, Scripted, firehose, invocation, kinesis_event, now};
use serde_json::Value;
use shared::{data::dataset::Dataset, lambda::invocation::Invocation, stream::batch::BatchResponse};

fn support_tickets() -> Dataset {
    Dataset::named("support_tickets").unwrap()
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

/// The sequence numbers of the records to retry.
fn to_retry(response: BatchResponse) -> Vec<String> {
    response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect()
}

#[track_caller]
fn assert_all_done(to_retry: &[String]) {
    assert_eq!(to_retry, [""; 0], "every record is done");
}

/// A Kinesis event with one record for each text, with sequence numbers from 1. It also takes texts of several types.
fn kinesis(data: &[&str]) -> String {
    kinesis_event(data)
}

thread_local!(static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

/// An invocation whose log [`log_lines`] and [`logged_counts`] read.
fn logged() -> Invocation {
    Invocation { log: |line| LOG.with_borrow_mut(|lines| lines.push(line.to_owned())), ..invocation() }
}

/// The lines of the log since the last call.
fn log_lines() -> Vec<Value> {
    LOG.take().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The counts of those names that the last invocation logged.
fn logged_counts<const N: usize>(names: [&str; N]) -> [u64; N] {
    let lines = log_lines();
    let counts = lines.iter().find(|line| line["In"].is_u64()).unwrap();
    names.map(|name| counts[name].as_u64().unwrap())
}
