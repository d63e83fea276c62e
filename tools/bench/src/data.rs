//! The inputs of the benchmarks: generated rows with new ids and the real shares of severities and places, and the
//! events that the functions make of them.

use std::{fmt::Write as _, ops::Range};

use base64_simd::STANDARD;
use chrono::{DateTime, Utc};
use ingest::{
    normalise::Normaliser,
    rows::{Format, Rows},
    unreadable::Tally,
};
use shared::data::{dataset::Dataset, time::stamp};

/// Generated rows, header first.
const ROWS: &str = include_str!("../../replay/golden/mar23-40-rows-of-seed-1.csv");
/// Places of the United States: state, county, city, zip and more.
const PLACES: &str = include_str!("../../replay/places.csv");
/// Severities of a thousand rows: 0.9, 79.6, 16.8 and 2.7 per cent, as in 386,716 published rows.
const SEVERITIES: [(u32, &str); 4] = [(9, "1"), (805, "2"), (973, "3"), (1_000, "4")];
/// A stride without a common divisor with a thousand, so that severities are spread over the rows.
const STRIDE: u32 = 619;

/// A CSV in the published layout with the rows of those numbers.
pub(crate) fn csv(numbers: Range<u32>) -> String {
    let rows = table(ROWS);
    let places = table(PLACES);
    let column = |name: &str| rows[0].iter().position(|cell| *cell == name).unwrap_or_default();
    let [id, severity, city, county, state] = ["ID", "Severity", "City", "County", "State"].map(column);
    let mut text = rows[0].join(",");
    for number in numbers {
        let mut cells = rows[1 + number as usize % (rows.len() - 1)].clone();
        let place = &places[1 + number as usize * 31 % (places.len() - 1)];
        let name = format!("A-{}", 2_716_600 + number);
        let rank = number * STRIDE % 1_000;
        cells[id] = &name;
        cells[severity] = SEVERITIES.iter().find(|(below, _)| rank < *below).map_or("4", |(_, text)| text);
        cells[state] = place[0];
        cells[county] = place[1];
        cells[city] = place[2];
        text.push('\n');
        text.push_str(&cells.join(","));
    }
    text.push('\n');
    text
}

/// The cells of a line without quotes.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

/// The raw events of a CSV, each with its line feed, as ingest writes them to stream 1.
pub(crate) fn raw_events(dataset: &Dataset, csv: &str, at: DateTime<Utc>) -> Vec<Vec<u8>> {
    let normaliser = Normaliser::new(dataset, dataset.date_order);
    let received = stamp(at);
    let mut rows = Rows::new(dataset, Format::Csv);
    rows.push(csv.as_bytes());
    rows.finish();
    let (mut events, mut tally) = (Vec::new(), Tally::default());
    while let Some(row) = rows.next() {
        let mut event = Vec::new();
        if normaliser.normalise(&row, &received, &mut event, &mut tally).is_ok() {
            events.push(event);
        }
    }
    events
}

/// The event of a Kinesis event source mapping with those records.
pub(crate) fn kinesis_event<D: AsRef<[u8]>>(stream: &str, records: &[D], at: DateTime<Utc>) -> String {
    let mut event = String::from("{\"Records\":[");
    for (index, data) in records.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let data = STANDARD.encode_to_string(data);
        let sequence = format!("49590338271490256608559692538361571095921575989{index:09}");
        let seconds = at.timestamp();
        let written = write!(
            event,
            "{comma}{{\"kinesis\":{{\"kinesisSchemaVersion\":\"1.0\",\"partitionKey\":\"A-{index}\",\
             \"sequenceNumber\":\"{sequence}\",\"data\":\"{data}\",\"approximateArrivalTimestamp\":{seconds}.125}},\
             \"eventSource\":\"aws:kinesis\",\"eventVersion\":\"1.0\",\"eventID\":\"shardId-000000000006:{sequence}\",\
             \"eventName\":\"aws:kinesis:record\",\"invokeIdentityArn\":\"arn:aws:iam::123456789012:role/lambda\",\
             \"awsRegion\":\"eu-west-1\",\
             \"eventSourceARN\":\"arn:aws:kinesis:eu-west-1:123456789012:stream/{stream}\"}}"
        );
        if let Err(error) = written {
            unreachable!("a string takes every text: {error}");
        }
    }
    event.push_str("]}");
    event
}

/// The event of an object created in the inbox.
pub(crate) fn object_event(key: &str) -> String {
    include_str!("../../../events/ingest-s3.json").replace("morning+rows/a%2Bb+%C3%B1.csv", key)
}
