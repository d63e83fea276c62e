//! The most memory that the functions hold and the most rejects that they write, for any input. The allocator of this
//! process counts the memory, so it runs only one test.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod streams;

use bytes::Bytes;
use chrono::DateTime;
use fakes::{LIMITS, RepeatedObject, Scripted, catalog, fixture, gzip, kinesis_event, post, variable};
use ingest::{
    handler::{Config, Handler, Response},
    inflate::BODY_BYTES,
};
use peak_alloc::PeakAlloc;
use serde_json::{Value, json};
use shared::{lambda::invocation::Invocation, stream::StreamRecord};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MEBIBYTE: u64 = 1024 * 1024;
/// The most that ingest may hold for an object of any size: the longest row, as much again for its reject in parts, and
/// the rows gathered for delivery.
const OBJECT_PEAK: u64 = 48 * MEBIBYTE;
/// The most that it may hold for a body that inflates to the limit. Short bodies are held whole, and long ones are
/// inflated while they are read.
const BODY_PEAK: u64 = 48 * MEBIBYTE;

/// A service that only counts accepted entries.
fn counter<E: Clone + 'static>(size: fn(&E) -> usize) -> Scripted<E> {
    Scripted::counting(LIMITS, size)
}

/// An object of `times` equal chunks.
fn chunks(chunk: Vec<u8>, times: u64) -> RepeatedObject {
    let chunk_bytes = chunk.len();
    RepeatedObject::new(Bytes::new(), chunk.into(), times, chunk_bytes)
}

/// An invocation of an hour.
fn invocation() -> Invocation {
    Invocation::begin("r", 3_600_000, DateTime::UNIX_EPOCH, 1)
}

/// Runs a closure; returns its result and the most bytes that it held in addition to those before.
fn peak<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = run();
    (result, MEMORY.peak_usage().saturating_sub(before) as u64)
}

/// The outcome of an input.
struct Taken {
    /// Accepted events.
    accepted: u64,
    /// Rows that the answer counts as rejected; none in an answer to HTTP.
    rejected: u64,
    /// The entries of the rejects delivery stream, their bytes, and the bytes of the largest.
    rejects: u64,
    written: usize,
    largest: usize,
    /// The most memory that the invocation held.
    peak: u64,
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// Invokes ingest with an event.
fn take(event: &str, objects: RepeatedObject) -> Taken {
    let handler = Handler {
        config: Config::read(&variable).unwrap(),
        stream: counter(|record: &StreamRecord| record.data.len()),
        rejects: counter(Bytes::len),
        objects,
    };
    let (response, peak) = peak(|| runtime().block_on(handler.handle(event, &invocation())).unwrap());
    let rejected = match response {
        Response::Summary(summary) => summary.rejected,
        Response::Http(_) | Response::Queue(_) => 0,
    };
    let Scripted { entries, bytes, largest, .. } = &handler.rejects;
    Taken {
        accepted: handler.stream.entries.get(),
        rejected,
        rejects: entries.get(),
        written: bytes.get(),
        largest: largest.get(),
        peak,
    }
}

/// Ingests an object of `times` equal chunks.
fn object(key: &str, chunk: Vec<u8>, times: u64) -> Taken {
    let mut event: Value = serde_json::from_str(&fixture("ingest-s3")).unwrap();
    event["Records"][0]["s3"]["object"]["key"] = json!(key);
    take(&event.to_string(), chunks(chunk, times))
}

/// Ingests the gzip body of a request.
fn posted(gzip: &[u8]) -> Taken {
    take(&post(gzip, "text/csv", "gzip"), chunks(Vec::new(), 0))
}

#[test]
fn memory_is_bounded_for_any_input() {
    let mut held = Vec::new();
    let mut check = |what: &str, peak: u64, bound: u64| {
        eprintln!("{what}: {} MiB at most", peak / MEBIBYTE);
        held.push((what.to_owned(), peak <= bound));
    };

    // A body that would inflate to twice the limit is refused; one that inflates to the limit is accepted.
    let limit = usize::try_from(BODY_BYTES).unwrap();
    let taken = posted(&gzip(&vec![b'\n'; limit / 8]).repeat(16));
    assert_eq!((taken.accepted, taken.rejects), (0, 0));
    check("a bomb in a body", taken.peak, BODY_PEAK);
    let rows = format!("A,2,{}\n", "x".repeat(500)).repeat(limit / 8 / 505);
    let body = [gzip(b"ID,Severity,City\n"), gzip(rows.as_bytes()).repeat(8)].concat();
    drop(rows);
    let taken = posted(&body);
    assert!(taken.accepted > 130_000, "{}", taken.accepted);
    check("a body that inflates to the limit", taken.peak, BODY_PEAK);

    // An object of any size is inflated while it is read, for any compression.
    let line = gzip(&vec![b'x'; limit / 8]).repeat(8);
    let taken = object("line.ndjson.gz", line, 2);
    assert!(taken.rejects > 0);
    check("one line of 128 MiB", taken.peak, OBJECT_PEAK);
    let rows = "A,2\n".repeat(128 * 1024).into_bytes();
    let Taken { accepted, rejects, peak, .. } = object("rows.ndjson", rows, 4);
    assert_eq!(accepted, 0);
    assert!((2_000..20_000).contains(&rejects), "{rejects}: a few thousand singly, the others together");
    check("half a million rejects", peak, OBJECT_PEAK);
    rejects_are_bounded(&mut check);
    streams::memory_is_bounded(&mut check);

    assert!(held.iter().all(|(_, bounded)| *bounded), "{held:?}");
}

/// Texts with many or large rejects: name, key, text and rows.
fn texts() -> Vec<(&'static str, &'static str, Vec<u8>, u64)> {
    let names =
        |count: usize, name: &str| (0..count).map(|n| format!(",{name}{n}")).collect::<Vec<_>>().concat();
    let csv = |header: &str, row: &str, times: usize| format!("{header}\n{}", row.repeat(times)).into_bytes();
    let genes = format!("ID,Severity{}", names(5_000, "gene_"));
    let million = format!("ID,Severity{}", names(150_000, "c"));
    let long = format!("ID,Severity,{}", "n".repeat(300_000));
    let controls = format!("ID,Severity,{}", "\u{1}".repeat(30_000));
    vec![
        ("long header, good rows between", "a.csv", csv(&long, "A,3,\nA\n", 100_000), 100_000),
        ("wide header, bad rows of several kinds", "a.csv", csv(&genes, "A,3,1\nA,x\",\n", 100_000), 200_000),
        ("wide header, short rows", "a.csv", csv(&genes, "A-1,3,1\n", 2_000), 2_000),
        ("unusable header of 304 kB", "a.csv", csv(&"x,".repeat(150_000), "1\n", 2_000), 2_000),
        ("header over 1 MB", "a.csv", csv(&million, "A,3\n", 10), 10),
        ("header over 1 MB, many rows", "a.csv", csv(&million, "A,3\n", 1_000_000), 1_000_000),
        ("header of control characters", "a.csv", csv(&controls, "A,high,\n", 20_000), 20_000),
        ("a million bad rows", "a.csv", csv("ID,Severity", "A,3,1\n", 1_000_000), 1_000_000),
        ("bad rows between good ones", "a.csv", csv("ID,Severity", "A\nA,3\n", 400_000), 400_000),
        ("a wrong quote in each row", "a.csv", csv("ID,Severity", "x\"\n", 500_000), 500_000),
        ("lines of x", "a.ndjson", b"x\n".repeat(1_000_000), 1_000_000),
        ("one bad line", "a.ndjson", b"x".repeat(3_900_000), 1),
        ("one line of control characters", "a.ndjson", b"\x01".repeat(3_900_000), 1),
        ("brackets that open no object", "a.json", b"{".repeat(2_000_000), 1),
        ("empty objects, one right after the other", "a.json", b"{}".repeat(4_000_000), 4_000_000),
        ("numbers in an array", "a.json", [b"[", &b"1,".repeat(500_000)[..], b"1]"].concat(), 500_001),
    ]
}

fn rejects_are_bounded(check: &mut impl FnMut(&str, u64, u64)) {
    for (name, key, text, rows) in texts() {
        let bytes = text.len();
        let taken = object(key, text, 1);
        assert!(taken.rejected.abs_diff(rows) <= 1, "{name}: {} of {rows}", taken.rejected);
        assert!(taken.written <= 3 * bytes + 1_000_000, "{name}: {} bytes", taken.written);
        assert!(taken.largest <= 1_000 * 1024, "{name}: a reject of {} bytes", taken.largest);
        check(name, taken.peak, OBJECT_PEAK);
    }
}
