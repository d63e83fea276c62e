//! The most memory that ingest holds at once, whatever comes: counted by the allocator of this process, which
//! therefore runs one test alone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{cell::Cell, io::Write as _};

use bytes::Bytes;
use chrono::DateTime;
use flate2::{Compression, write::GzEncoder};
use ingest::{
    checkpoint::Checkpoints,
    handler::{Config, Handler},
    inflate::BODY_BYTES,
    s3::{Object, ObjectVersion, Objects},
};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use shared::{
    aws::StreamRecord,
    delivery::{Answer, Failure, Limits, Service},
    invocation::Invocation,
};
use tests::fixture;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MEBIBYTE: u64 = 1024 * 1024;
/// What ingest may hold while it reads an object of any size: the longest row that it looks at, as much again while
/// that row becomes a reject in parts, and what is gathered for delivery.
const OBJECT_PEAK: u64 = 48 * MEBIBYTE;
/// What it may hold for a request whose body inflates to the limit: little enough for the 256 MiB that the function
/// has by default.
const BODY_PEAK: u64 = 224 * MEBIBYTE;

/// Takes everything and keeps nothing but its count.
struct Counter<E> {
    size: fn(&E) -> usize,
    taken: Cell<usize>,
}

impl<E> Service for Counter<E> {
    type Entry = E;

    fn limits(&self) -> Limits {
        Limits { entries: 500, request_bytes: 4 * 1024 * 1024, entry_bytes: 1024 * 1024 }
    }

    fn size(&self, entry: &E) -> usize {
        (self.size)(entry)
    }

    async fn send(&self, entries: &[&E]) -> Answer {
        self.taken.set(self.taken.get() + entries.len());
        Ok(Vec::new())
    }
}

/// An object that is one chunk, again and again, with something behind it.
struct Endless {
    chunk: Bytes,
    times: Cell<u32>,
}

struct Reading<'a>(&'a Endless);

impl Checkpoints for &Endless {
    async fn load(&self, _: &str, _: &str) -> Result<Option<Bytes>, Failure> {
        Ok(None)
    }

    async fn save(&self, _: &str, _: &str, _: Bytes) -> Result<(), Failure> {
        Ok(())
    }
}

impl<'a> Objects for &'a Endless {
    type Object = Reading<'a>;

    async fn open(&self, _: &ObjectVersion, _: u64) -> Result<Reading<'a>, Failure> {
        Ok(Reading(self))
    }
}

impl Object for Reading<'_> {
    fn metadata(&self, _: &str) -> Option<&str> {
        None
    }

    fn size(&self) -> Option<u64> {
        None
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let left = self.0.times.get();
        self.0.times.set(left.saturating_sub(1));
        Ok((left > 0).then(|| self.0.chunk.clone()))
    }
}

/// Runs something and gives the most bytes that it held beyond those held before.
fn peak<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = run();
    (result, MEMORY.peak_usage().saturating_sub(before) as u64)
}

/// Gives an event to ingest; gives what was accepted and rejected, and the peak.
fn ingest(event: &Value, objects: &Endless) -> (usize, usize, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let variable = |name: &str| name.ends_with("STREAM").then(|| name.to_lowercase());
    let handler = Handler {
        config: Config::read(&variable).unwrap(),
        stream: Counter { size: |record: &StreamRecord| record.data.len(), taken: Cell::new(0) },
        rejects: Counter { size: Bytes::len, taken: Cell::new(0) },
        objects,
    };
    let event = event.to_string();
    let (_, peak) = peak(|| {
        runtime.block_on(async {
            let invocation = Invocation::begin("r", 3_600_000, DateTime::UNIX_EPOCH, 1);
            handler.handle(&event, &invocation).await.unwrap()
        })
    });
    (handler.stream.taken.get(), handler.rejects.taken.get(), peak)
}

/// Ingests an object of so many equal chunks.
fn object(key: &str, chunk: Vec<u8>, times: u32) -> (usize, usize, u64) {
    let mut event: Value = serde_json::from_str(&fixture("ingest-s3")).unwrap();
    event["Records"][0]["s3"]["object"]["key"] = json!(key);
    ingest(&event, &Endless { chunk: chunk.into(), times: Cell::new(times) })
}

/// Ingests the gzip body of a request.
fn posted(gzip: &[u8]) -> (usize, usize, u64) {
    let event = json!({
        "version": "2.0", "rawPath": "/", "rawQueryString": "", "isBase64Encoded": true,
        "body": base64_simd::STANDARD.encode_to_string(gzip),
        "headers": {"content-type": "text/csv", "content-encoding": "gzip"},
        "requestContext": {"http": {"method": "POST", "path": "/"}},
    });
    ingest(&event, &Endless { chunk: Bytes::new(), times: Cell::new(0) })
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn memory_is_bounded_whatever_comes() {
    let mut held = Vec::new();
    let mut check = |what: &str, peak: u64, bound: u64| {
        eprintln!("{what}: {} MiB at most", peak / MEBIBYTE);
        held.push((what.to_owned(), peak <= bound));
    };

    // A body that would inflate to twice its limit stops there; one that inflates to just that is taken.
    let limit = usize::try_from(BODY_BYTES).unwrap();
    let (accepted, rejected, peak) = posted(&gzip(&vec![b'\n'; limit / 8]).repeat(16));
    assert_eq!((accepted, rejected), (0, 0));
    check("a bomb in a body", peak, BODY_PEAK);
    let rows = format!("A,2,{}\n", "x".repeat(500)).repeat(limit / 8 / 505);
    let body = [gzip(b"ID,Severity,City\n"), gzip(rows.as_bytes()).repeat(8)].concat();
    drop(rows);
    let (accepted, _, peak) = posted(&body);
    assert!(accepted > 130_000, "{accepted}");
    check("a body that inflates to the limit", peak, BODY_PEAK);

    // An object inflates in passing, however large it is and however much a chunk of it holds.
    let line = gzip(&vec![b'x'; limit / 8]).repeat(8);
    let (_, rejected, peak) = object("line.ndjson.gz", line, 2);
    assert!(rejected > 0);
    check("one line of 128 MiB", peak, OBJECT_PEAK);
    let rows = "A,2\n".repeat(128 * 1024).into_bytes();
    let (accepted, rejected, peak) = object("rows.ndjson", rows, 4);
    assert_eq!((accepted, rejected), (0, 512 * 1024));
    check("half a million rejects", peak, OBJECT_PEAK);

    assert!(held.iter().all(|(_, bounded)| *bounded), "{held:?}");
}
