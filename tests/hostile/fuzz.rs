//! Random mutations of the corpus, each checked for what holds for any input.
//!
//! The stable toolchain has no fuzzing guided by coverage, so the corpus and tokens of the formats guide it. A failing
//! input is printed with its seed, which reproduces it: `FUZZ_SEED=… FUZZ_SECONDS=… cargo test --test hostile`.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use fakes::aggregate;
use ingest::{normalise::Normaliser, request::Request, unreadable::Tally};
use replay::redrive::{
    ItemPlace,
    reject::{ReadReject, RejectReader, lines},
};
use shared::{
    data::{event::Event, time::DateOrder},
    stream::batch::{Record, records},
};

use super::*;

/// How long each target is fuzzed in `make test`.
const SECONDS: f64 = 1.5;
/// The longest input.
const INPUT_BYTES: usize = 4_096;

/// Tokens of the formats, and bytes that break parsers.
const TOKENS: [&[u8]; 36] = [
    b"\"",
    b"\"\"",
    b",",
    b"\n",
    b"\r\n",
    b"\r",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-",
    b"1e999",
    b"3",
    b"3.0",
    b"9223372036854775808",
    b"ID",
    b"Severity",
    b"\"ID\":\"A\"",
    b"Start_Time",
    b"_invalid",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc0\xaf",
    b"\x00",
    b"\xf3\x89\x9a\xc2",
    b"\x1a\xff\xff\xff\xff\x0f",
    b"\"parts\":2",
    b"\"part\":1",
    b"\"Records\"",
    b"\"kinesis\"",
];

/// Every input of the corpus for every target: the text of one format is bad input for another.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = cases::<RowsCase>(ROWS).iter().map(|case| case.content.bytes()).collect();
    seeds.extend(cases::<AggregateCase>(AGGREGATES).iter().map(|case| case.content.bytes()));
    seeds.extend(cases::<RequestCase>(REQUESTS).into_iter().map(|case| case.event.into_bytes()));
    seeds.extend(cases::<RecordsCase>(RECORDS).into_iter().map(|case| case.event.into_bytes()));
    seeds.push(
        br#"{"rejected_at":"2023-11-14T22:13:20.000000Z","function":"ingest","reason":"r","detail":"d","source":"s:1","payload":"p","format":"csv","header":"ID","date_order":"mdy","part":1,"parts":2}"#
            .to_vec(),
    );
    seeds
}

fn mutate(random: &mut fastrand::Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[random.usize(..seeds.len())].clone();
    for _ in 0..random.usize(0..8) {
        let at = random.usize(..=input.len());
        let to = random.usize(at..=input.len());
        match random.u8(0..7) {
            0 if !input.is_empty() => {
                let at = random.usize(..input.len());
                input[at] = random.u8(..);
            }
            1 => drop(input.drain(at..to)),
            2 => drop(input.splice(at..at, TOKENS[random.usize(..TOKENS.len())].iter().copied())),
            3 => {
                let piece = input[at..to].to_vec();
                drop(input.splice(at..at, piece));
            }
            4 => {
                let other = &seeds[random.usize(..seeds.len())];
                let begin = random.usize(..=other.len());
                drop(input.splice(at..to, other[begin..].iter().copied()));
            }
            5 => input.truncate(at),
            _ => {
                let token = TOKENS[random.usize(..TOKENS.len())];
                drop(input.splice(at..at, token.repeat(random.usize(1..40))));
            }
        }
        input.truncate(INPUT_BYTES);
    }
    input
}

/// Runs a target with mutated inputs for its time, and prints how many there were.
fn fuzz(target: &str, check: impl Fn(&[u8], &mut fastrand::Rng)) {
    let variable = |name: &str| std::env::var(name).ok();
    let seconds = variable("FUZZ_SECONDS").map_or(SECONDS, |text| text.parse().unwrap());
    let seed: u64 = variable("FUZZ_SEED").map_or(1, |text| text.parse().unwrap());
    let seeds = seeds();
    let deadline = Instant::now() + Duration::from_secs_f64(seconds);
    let mut inputs = 0_u64;
    while inputs == 0 || Instant::now() < deadline {
        let case = seed + inputs;
        let mut random = fastrand::Rng::with_seed(case);
        let input = mutate(&mut random, &seeds);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(&input, &mut random))) {
            eprintln!("{target} fails; reproduce it with FUZZ_SEED={case}: {}", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
        inputs += 1;
    }
    eprintln!("{target}: {inputs} inputs in {seconds} s");
}

/// Every row of a text: its line, its text, and its event or reason.
fn read(dataset: &Dataset, format: Format, text: &[u8], chunk: usize) -> Vec<(u64, Vec<u8>, String)> {
    let normaliser = Normaliser::new(dataset, DateOrder::Mdy);
    let mut tally = Tally::default();
    let mut rows = Rows::new(dataset, format);
    let mut read = Vec::new();
    let mut chunks = text.chunks(chunk);
    loop {
        let chunk = chunks.next();
        match chunk {
            Some(chunk) => rows.push(chunk),
            None => rows.finish(),
        }
        while let Some(row) = rows.next() {
            assert_eq!(row.index, read.len() as u64);
            if let (RowContent::Cells(cells), Some(header)) = (&row.content, row.header) {
                assert!(cells.len() >= header.required_cells);
            }
            let mut out = Vec::new();
            let outcome =
                match normaliser.normalise(&row, "2023-11-14T22:13:20.000000Z", &mut out, &mut tally) {
                    Ok(key) => {
                        assert!(!key.is_empty(), "Kinesis takes no empty key");
                        String::from_utf8(out).unwrap()
                    }
                    Err(refused) => {
                        assert!(out.is_empty());
                        format!("{}: {}", refused.reason, refused.detail)
                    }
                };
            read.push((row.line, row.text.to_vec(), outcome));
        }
        if chunk.is_none() {
            return read;
        }
    }
}

/// The event of the only row.
fn one(mut rows: Vec<(u64, Vec<u8>, String)>) -> String {
    assert!(rows.len() == 1 && rows[0].2.starts_with('{'), "{rows:?}");
    rows.remove(0).2
}

#[test]
fn any_rows_are_read_alike_in_any_chunks_and_read_back() {
    let dataset = Dataset::named("us_accidents").unwrap();
    fuzz("rows", |input, random| {
        for format in [Format::Csv, Format::Ndjson, Format::Json] {
            let whole = read(&dataset, format, input, usize::MAX);
            let chunk = random.usize(1..20);
            // The oracle takes quadratic time.
            let begin = &input[..input.len().min(600)];
            oracle::check(&dataset, format, begin, random.usize(4..200), chunk);
            assert_eq!(read(&dataset, format, input, chunk), whole, "{format:?} in chunks of {chunk}");
            for (_, _, event) in whole.iter().filter(|(.., outcome)| outcome.starts_with('{')) {
                // An event is one line of JSON, and unchanged when it is sent again.
                assert_eq!(event.find('\n'), Some(event.len() - 1));
                assert_eq!(one(read(&dataset, Format::Ndjson, event.as_bytes(), usize::MAX)), *event);
            }
        }
    });
}

#[test]
fn any_request_is_recognised_or_refused_in_a_sentence() {
    fuzz("requests", |input, _| {
        let event = String::from_utf8_lossy(input);
        match Request::read(&event) {
            Ok(Request::Http(request)) => match ingest::http::read(*request) {
                Ok(posted) => assert!(!posted.body.is_empty()),
                Err(answer) => assert!((400..500).contains(&answer.status)),
            },
            Ok(_) => {}
            Err(error) => assert!(error.to_string().starts_with("the request is not understood: ")),
        }
    });
}

#[test]
fn any_batch_accounts_for_each_of_its_records() {
    let dataset = Dataset::named("us_accidents").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let transform = transform();
    fuzz("batches", |input, _| {
        let text = String::from_utf8_lossy(input).into_owned();
        let event = if records(&text).is_ok() {
            text
        } else {
            // Any other input is the data of a record.
            let data = base64_simd::STANDARD.encode_to_string(input);
            let record = json!({"kinesis": {"sequenceNumber": "1", "data": data}});
            json!({"Records": [record]}).to_string()
        };
        let users = |record: &Record<'_>| record.user_records(&mut Vec::new()).map_or(1, Iterator::count);
        let users: usize = records(&event).unwrap().iter().map(users).sum();
        let answer = runtime.block_on(transform.handle(&event, &invocation())).unwrap();
        assert!(answer.batch_item_failures.is_empty(), "no record blocks another");
        let (severe, analytical) = (transform.severe.take(), transform.analytical.take());
        assert_eq!(severe.len(), analytical.len());
        assert!(severe.len() + transform.rejects.take().len() <= users);
        for record in severe {
            // Metrics and notify can read it.
            let event = Event::parse(&dataset, std::str::from_utf8(&record.data).unwrap()).unwrap();
            assert!(event.level(&dataset).unwrap() > 2 && !record.partition_key().is_empty());
        }
    });
}

#[test]
fn any_aggregate_splits_into_at_most_its_bytes() {
    fuzz("aggregates", |input, _| {
        for data in [input.to_vec(), aggregate(input)] {
            let Ok(records) = kpl::deaggregate(Bytes::from(data.clone())) else { continue };
            assert!(records.iter().map(Bytes::len).sum::<usize>() <= data.len());
            if !data.starts_with(b"\xf3\x89\x9a\xc2") {
                assert_eq!(records, [data]);
            }
        }
    });
}

#[test]
fn any_object_of_rejects_is_read_line_by_line() {
    fuzz("rejects", |input, _| {
        let (mut reader, mut found) = (RejectReader::default(), 0);
        let read = lines(input, |line| {
            let place = ItemPlace { object: 0, item: found };
            found += 1;
            if let ReadReject::Whole(rejected) = reader.read(line, place) {
                assert!(rejected.places.contains(&place));
            }
        });
        let pieces = input.split(|byte| *byte == b'\n').count();
        assert!(found <= pieces || read.is_err() || input.starts_with(b"\x1f\x8b"));
    });
}
