//! The floor: the least work that decides the outcome of a batch, with the fastest parsers available and without any
//! output.

use std::{collections::HashMap, error::Error, hint::black_box};

use csv_core::ReadRecordResult;
use serde::Deserialize;
use sonic_rs::{JsonValueTrait as _, LazyValue};

type Outcome = Result<u64, Box<dyn Error>>;

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "Records")]
    records: Vec<Record<'a>>,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    kinesis: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    data: &'a str,
}

/// Parses the event with SIMD, decodes each record's data, and counts the records of which `counts` says so.
fn count(event: &[u8], mut counts: impl FnMut(&[u8]) -> bool) -> Outcome {
    let event: Event<'_> = sonic_rs::from_slice(event)?;
    let mut data = Vec::new();
    let mut counted = 0;
    for record in &event.records {
        data.clear();
        base64_simd::STANDARD.decode_append(record.kinesis.data.as_bytes(), &mut data)?;
        counted += u64::from(counts(&data));
    }
    Ok(counted)
}

/// Counts events above a severity, which is read lazily.
pub(crate) fn severe(event: &[u8], above: i64) -> Outcome {
    count(event, |data| severity(data) > above)
}

fn severity(data: &[u8]) -> i64 {
    sonic_rs::get(data, ["Severity"]).ok().and_then(|value| value.as_i64()).unwrap_or_default()
}

/// Counts severe events by the dimensions of the metric, with each field read lazily.
pub(crate) fn metrics(event: &[u8]) -> Outcome {
    let mut counts: HashMap<[String; 3], u64> = HashMap::new();
    let counted = count(event, |data| {
        if severity(data) <= 2 {
            return false;
        }
        let key = ["City", "County", "Txn_Timestamp"].map(|name| {
            sonic_rs::get(data, [name]).map(|value| value.as_raw_str().to_owned()).unwrap_or_default()
        });
        *counts.entry(key).or_default() += 1;
        true
    });
    black_box(counts);
    counted
}

/// Reads the rows of a CSV with the parser of the `csv` crate and ignores them.
pub(crate) fn csv(text: &[u8]) -> Outcome {
    let mut rows = 0;
    csv_rows(text, |_, _| {
        rows += 1;
        Ok(())
    })?;
    Ok(rows - 1)
}

/// Passes on each record of a CSV, including the header: the text of its cells, and the end of each cell.
pub(crate) fn csv_rows(
    mut text: &[u8],
    mut row: impl FnMut(&[u8], &[usize]) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let mut reader = csv_core::Reader::new();
    let (mut cells, mut ends) = (vec![0; 64 * 1024], vec![0; 256]);
    loop {
        let (result, read, written, count) = reader.read_record(text, &mut cells, &mut ends);
        text = &text[read..];
        match result {
            ReadRecordResult::Record => row(&cells[..written], &ends[..count])?,
            ReadRecordResult::End => return Ok(()),
            // The empty input of the last round signals the end to the parser.
            ReadRecordResult::InputEmpty if written == 0 && count == 0 => {}
            ReadRecordResult::InputEmpty => {
                let (result, _, more, further) =
                    reader.read_record(&[], &mut cells[written..], &mut ends[count..]);
                if result == ReadRecordResult::Record {
                    row(&cells[..written + more], &ends[..count + further])?;
                }
            }
            ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                return Err("a row of the benchmark is longer than it can be".into());
            }
        }
    }
}

/// Checks lines of NDJSON with SIMD and ignores them.
pub(crate) fn ndjson(text: &str) -> Outcome {
    let mut rows = 0;
    for line in text.lines() {
        black_box(sonic_rs::from_str::<LazyValue<'_>>(line)?);
        rows += 1;
    }
    Ok(rows)
}

/// Checks elements of a JSON array with SIMD and ignores them.
pub(crate) fn json(text: &str) -> Outcome {
    let mut rows = 0;
    for element in sonic_rs::to_array_iter(text) {
        black_box(element?);
        rows += 1;
    }
    Ok(rows)
}
