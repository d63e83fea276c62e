//! The readers of the streams with batches of very many user records.

use std::sync::Mutex;

use fakes::aggregate;
use metrics::aggregate::DataRequest;
use notify::{plan::Memory, word::Alert};
use shared::audit::latency::LatencySample;
use transform::partitions::Registered;

use super::{
    Bytes, MEBIBYTE, Scripted, StreamRecord, catalog, counter, invocation, kinesis_event, peak, runtime,
    variable,
};

/// The most that a function may hold for a batch, without the event and its idle memory: with them less than 96 MiB.
const BATCH_PEAK: u64 = 48 * MEBIBYTE;

/// A protobuf of `times` equal user records.
fn records(data: &str, times: usize) -> Vec<u8> {
    let length = u8::try_from(data.len()).unwrap();
    let record = [&[0x1a, length + 4, 8, 0, 0x1a, length], data.as_bytes()].concat();
    [b"\x0a\x01k", &record.repeat(times)[..]].concat()
}

/// A protobuf of about `bytes` bytes of severe events, each with its own id and area.
fn different(bytes: usize) -> Vec<u8> {
    let event = |n| format!(r#"{{"ID":"{n}","Severity":4,"County":"c{n}"}}"#);
    let record = |n| records(&event(n), 1)[3..].to_vec();
    let records: Vec<_> = (0..bytes / 50).map(record).collect();
    [b"\x0a\x01k", &records.concat()[..]].concat()
}

fn batches() -> Vec<(&'static str, String)> {
    let event = r#"{"ID":"a","Severity":4}"#;
    let mild = r#"{"ID":"a","Severity":2}"#;
    let four = |record: Vec<u8>| kinesis_event(&vec![record; 4]);
    vec![
        ("four aggregates of empty records", four(aggregate(&records("", 170_000)))),
        ("four aggregates of empty objects", four(aggregate(&records("{}", 125_000)))),
        ("four damaged aggregates", four(aggregate(&b"\x1a\x00".repeat(520_000)))),
        ("one aggregate of events", kinesis_event(&[aggregate(&records(event, 26_000))])),
        ("four aggregates of severe events", four(aggregate(&records(event, 34_000)))),
        (
            "four aggregates of the shortest severe events",
            four(aggregate(&records(r#"{"Severity":4}"#, 50_000))),
        ),
        ("four aggregates of different severe events", four(aggregate(&different(1_000_000)))),
        ("one aggregate of 4 MB of different events", kinesis_event(&[aggregate(&different(4_000_000))])),
        ("four aggregates of events that are filtered", four(aggregate(&records(mild, 34_000)))),
        ("ten thousand records that are not events", kinesis_event(&vec![vec![b'"'; 300]; 10_000])),
        ("four records of control characters", four(vec![1; 1_000_000])),
    ]
}

pub(crate) fn memory_is_bounded(check: &mut impl FnMut(&str, u64, u64)) {
    for (name, event) in batches() {
        assert!(event.len() < 6_000_000, "{name}: {} bytes", event.len());
        let mut check = |function: &str, rejects: &Scripted<Bytes>, peak: u64| {
            let (written, largest) = (rejects.bytes.get(), rejects.largest.get());
            assert!(written <= 3 * event.len() + 1_000_000, "{function}, {name}: {written} bytes");
            assert!(largest <= 1_000 * 1024, "{function}, {name}: a reject of {largest} bytes");
            check(&format!("{function}, {name}"), peak, BATCH_PEAK);
        };
        let transform = transform::handler::Handler {
            config: transform::handler::Config::read(&variable).unwrap(),
            severe: counter(|record: &StreamRecord| record.data.len()),
            analytical: counter(Bytes::len),
            rejects: counter(Bytes::len),
            catalog: catalog(),
            registered: Mutex::new(Registered::default()),
        };
        let (answer, most) = peak(|| runtime().block_on(transform.handle(&event, &invocation())).unwrap());
        assert!(answer.batch_item_failures.is_empty());
        check("transform", &transform.rejects, most);

        let metrics = metrics::handler::Handler {
            config: metrics::handler::Config::read(&variable).unwrap(),
            metric: counter(|request: &DataRequest| request.data.len()),
            rejects: counter(Bytes::len),
        };
        let (answer, most) = peak(|| runtime().block_on(metrics.handle(&event, &invocation())).unwrap());
        assert!(answer.batch_item_failures.is_empty());
        check("metrics", &metrics.rejects, most);

        let notify = notify::handler::Handler {
            config: notify::handler::Config::read(&variable).unwrap(),
            topic: counter(|alert: &Alert| alert.message.len()),
            latency: counter(|latency: &LatencySample| latency.received.len()),
            alerts: counter(Bytes::len),
            rejects: counter(Bytes::len),
            memory: Mutex::new(Memory::default()),
            turn: notify::pace::NextTurn::default(),
        };
        let (answer, most) = peak(|| runtime().block_on(notify.handle(&event, &invocation())).unwrap());
        assert!(answer.batch_item_failures.is_empty());
        check("notify", &notify.rejects, most);
    }
}
