//! Reject objects read back: their lines, the parts of large payloads put together.

use std::collections::HashMap;

use ingest::inflate::{Inflate, InflateError, OBJECT_BYTES};
use serde::Deserialize;

use super::Place;

/// The longest line that can be a reject: Firehose takes no longer record.
///
/// Source: Firehose API reference, `PutRecordBatch`.
const LINE_BYTES: usize = 1_000 * 1024;
/// The most parts that a payload comes in: more than the longest row that ingest looks at needs.
const PARTS: usize = 64;
/// Who refuses.
const FUNCTIONS: [&str; 4] = ["ingest", "transform", "metrics", "notify"];

/// A reject, as it stands in the rejects table; a large payload is spread over several lines.
#[derive(Debug, Deserialize)]
struct Line {
    rejected_at: String,
    function: String,
    reason: String,
    source: String,
    payload: Option<String>,
    payload_base64: Option<String>,
    format: Option<String>,
    header: Option<String>,
    date_order: Option<String>,
    part: Option<usize>,
    parts: Option<usize>,
}

/// A reject whose payload is whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When, as `2026-11-25T02:16:05.000000Z`.
    pub rejected_at: String,
    /// The function that refused it.
    pub function: String,
    /// A short stable code.
    pub reason: String,
    /// Where it came from.
    pub source: String,
    /// The row or record as it came.
    pub payload: Vec<u8>,
    /// How the file was read that a row came from: its format, header line and date order.
    pub file: Option<File>,
    /// The lines that hold it.
    pub places: Vec<Place>,
}

/// How a file was read.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// `csv`, `ndjson` or `json`.
    pub format: String,
    /// The header line of a CSV.
    pub header: Option<String>,
    /// The date order that was declared.
    pub date_order: Option<String>,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    /// A reject, or the last part of one that was missing.
    Whole(Box<Rejected>),
    /// A part of one; others are missing yet.
    Part,
    /// No reject.
    Unreadable,
}

/// Reads lines, and keeps the parts of payloads until they are whole.
#[derive(Debug, Default)]
pub struct Reader {
    open: HashMap<Key, Parts>,
}

/// What the parts of one reject have in common.
type Key = (String, String, String, String, usize);

#[derive(Debug)]
struct Parts {
    pieces: Vec<Option<Vec<u8>>>,
    places: Vec<Place>,
}

impl Reader {
    /// Reads one line, which stands at `place`.
    pub fn read(&mut self, line: &[u8], place: Place) -> Read {
        let Ok(line) = serde_json::from_slice::<Line>(line) else { return Read::Unreadable };
        if !FUNCTIONS.contains(&line.function.as_str()) {
            return Read::Unreadable;
        }
        let piece = match (line.payload, line.payload_base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => match base64_simd::STANDARD.decode_to_vec(base64.as_bytes()) {
                Ok(piece) => piece,
                Err(_) => return Read::Unreadable,
            },
            _ => return Read::Unreadable,
        };
        let (payload, places) = match (line.part, line.parts) {
            (None, None) => (piece, vec![place]),
            (Some(part @ 1..), Some(parts)) if part <= parts && parts <= PARTS => {
                let key = (
                    line.function.clone(),
                    line.reason.clone(),
                    line.source.clone(),
                    line.rejected_at.clone(),
                    parts,
                );
                match self.put(&key, part - 1, piece, place) {
                    Some(whole) => whole,
                    None => return Read::Part,
                }
            }
            _ => return Read::Unreadable,
        };
        let (header, date_order) = (line.header, line.date_order);
        Read::Whole(Box::new(Rejected {
            rejected_at: line.rejected_at,
            function: line.function,
            reason: line.reason,
            source: line.source,
            payload,
            file: line.format.map(|format| File { format, header, date_order }),
            places,
        }))
    }

    /// Payloads of which parts are missing.
    #[must_use]
    pub fn incomplete(&self) -> u64 {
        self.open.len() as u64
    }

    /// Puts a part to the others; gives the payload once it is whole. A part that comes twice counts once, but is
    /// settled with the others.
    fn put(&mut self, key: &Key, part: usize, piece: Vec<u8>, place: Place) -> Option<(Vec<u8>, Vec<Place>)> {
        let parts = self
            .open
            .entry(key.clone())
            .or_insert_with(|| Parts { pieces: vec![None; key.4], places: Vec::new() });
        parts.pieces[part] = Some(piece);
        parts.places.push(place);
        if parts.pieces.iter().any(Option::is_none) {
            return None;
        }
        let Parts { pieces, places } = self.open.remove(key)?;
        Some((pieces.into_iter().flatten().flatten().collect(), places))
    }
}

/// Hands over the lines of an object, gzip or plain, without their ends; of one that is too long for a reject nothing.
///
/// # Errors
///
/// When the gzip is damaged.
pub fn lines(object: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), InflateError> {
    let mut inflate = Inflate::new(OBJECT_BYTES);
    let mut line = Vec::new();
    let mut split = |text: &[u8]| {
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            let (piece, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |piece| (piece, true));
            // A byte beyond the bound says that the line is too long; more of it need not be kept.
            let room = (LINE_BYTES + 1).saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if ended {
                give(&mut line, &mut take);
            }
        }
    };
    inflate.push(object, &mut split)?;
    inflate.finish(&mut split)?;
    give(&mut line, &mut take);
    Ok(())
}

fn give(line: &mut Vec<u8>, take: &mut impl FnMut(&[u8])) {
    if line.len() > LINE_BYTES {
        take(b"");
    } else if !line.trim_ascii().is_empty() {
        take(line);
    }
    line.clear();
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use bytes::Bytes;
    use chrono::DateTime;
    use shared::{
        reject::{FileContext, Reject},
        time::DateOrder,
    };

    use super::*;

    fn place(item: usize) -> Place {
        Place { object: 0, item }
    }

    fn reject(payload: impl Into<Bytes>) -> Reject {
        Reject {
            function: "ingest",
            reason: "cell_count",
            detail: "…".to_owned(),
            source: "inbox/a.csv:7".to_owned(),
            payload: payload.into(),
            file: Some(FileContext {
                format: "csv",
                header: Some("ID,Severity".into()),
                date_order: DateOrder::Dmy,
            }),
        }
    }

    #[test]
    fn a_reject_is_read_as_it_was_written() {
        for payload in [&b"A-1,\"x\""[..], b"\xff\x00"] {
            let written = reject(Bytes::copy_from_slice(payload)).encode(DateTime::UNIX_EPOCH);
            let Read::Whole(read) = Reader::default().read(&written[0], place(3)) else { panic!() };
            assert_eq!(
                *read,
                Rejected {
                    rejected_at: "1970-01-01T00:00:00.000000Z".to_owned(),
                    function: "ingest".to_owned(),
                    reason: "cell_count".to_owned(),
                    source: "inbox/a.csv:7".to_owned(),
                    payload: payload.to_vec(),
                    file: Some(File {
                        format: "csv".to_owned(),
                        header: Some("ID,Severity".to_owned()),
                        date_order: Some("dmy".to_owned())
                    }),
                    places: vec![place(3)],
                }
            );
        }
    }

    #[test]
    fn parts_make_a_whole_in_whatever_order_they_come() {
        for payload in ["é".repeat(400_000).into_bytes(), vec![0xff; 500_000]] {
            let written = reject(payload.clone()).encode(DateTime::UNIX_EPOCH);
            assert!(written.len() > 3);
            let mut reader = Reader::default();
            for (item, line) in written.iter().enumerate().skip(1).rev() {
                assert_eq!(reader.read(line, place(item)), Read::Part);
            }
            // Firehose may deliver a record twice.
            assert_eq!(reader.read(&written[1], place(99)), Read::Part);
            assert_eq!(reader.incomplete(), 1);
            let Read::Whole(read) = reader.read(&written[0], place(0)) else { panic!() };
            assert_eq!(read.payload, payload);
            assert_eq!(read.places.len(), written.len() + 1);
            assert_eq!(reader.incomplete(), 0);
        }
    }

    #[test]
    fn what_is_no_reject_is_told_from_one() {
        let start = r#"{"rejected_at":"","function":"ingest","reason":"","source":"""#;
        for line in [
            String::new(),
            "{".to_owned(),
            "[]".to_owned(),
            "{}".to_owned(),
            r#"{"rejected_at":"","function":"other","reason":"","source":"","payload":""}"#.to_owned(),
            format!("{start}}}"),
            format!(r#"{start},"payload":"a","payload_base64":"YQ=="}}"#),
            format!(r#"{start},"payload_base64":"***"}}"#),
            format!(r#"{start},"payload":"a","part":0,"parts":2}}"#),
            format!(r#"{start},"payload":"a","part":3,"parts":2}}"#),
            format!(r#"{start},"payload":"a","part":1}}"#),
            format!(r#"{start},"payload":"a","part":1,"parts":18446744073709551615}}"#),
        ] {
            assert_eq!(Reader::default().read(line.as_bytes(), place(0)), Read::Unreadable, "{line}");
        }
    }

    fn split(object: &[u8]) -> Result<Vec<Vec<u8>>, InflateError> {
        let mut found = Vec::new();
        lines(object, |line| found.push(line.to_vec()))?;
        Ok(found)
    }

    #[test]
    fn lines_are_found_in_gzip_and_plain_text() {
        let text = b"one\n\ntwo\nthree";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        let gzip = gzip.finish().unwrap();
        for object in [&text[..], &gzip] {
            assert_eq!(split(object).unwrap(), [&b"one"[..], b"two", b"three"]);
        }
        assert_eq!(split(&gzip[..gzip.len() / 2]), Err(InflateError::Damaged));
        let long = [&b"x".repeat(3 * LINE_BYTES)[..], b"\nnext"].concat();
        assert_eq!(split(&long).unwrap(), [&b""[..], b"next"]);
    }
}
