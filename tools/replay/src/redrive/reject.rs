//! Reject objects read back: their lines, the parts of large payloads put together.

use std::{collections::HashMap, mem, ops::Range};

use ingest::inflate::{Inflate, InflateError, OBJECT_BYTES};
use serde::Deserialize;

use super::Place;

/// The longest line that can be a reject: Firehose takes no longer record.
///
/// Source: Firehose API reference, `PutRecordBatch`.
const LINE_BYTES: usize = 1_000 * 1024;
/// The most parts that a payload comes in: more than the longest header needs with the rows under it.
const PARTS: usize = 128;
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
    row_count: Option<u64>,
    row_index: Option<u64>,
    row_bytes: Option<String>,
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
    /// The row or record as it came, or several with a line feed between two of them.
    pub payload: Vec<u8>,
    /// How many rows or records the payload holds, without a header.
    pub row_count: u64,
    /// Position of the first row in its file or request, or of the record in its aggregate.
    pub row_index: Option<u64>,
    /// Where in the payload each row is, if they are not to be sent as one file.
    pub rows: Option<Vec<Range<usize>>>,
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
    /// A part that was read before, of the reject that has this place.
    Repeated(Place),
    /// No reject.
    Unreadable,
}

/// Reads lines, and keeps the parts of payloads until they are whole.
#[derive(Debug, Default)]
pub struct Reader {
    open: HashMap<Key, Parts>,
    /// Rejects that came in parts and are whole, each by one of its lines: Firehose may deliver a record twice.
    whole: HashMap<Key, Place>,
}

/// What the parts of one reject have in common: who refused it when, where it came from and its position there. Two
/// rows of one line have one source, but not one position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    function: String,
    reason: String,
    source: String,
    rejected_at: String,
    row_index: Option<u64>,
    parts: usize,
}

/// A payload or a part of it, and the bytes of the rows that end in it.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    row_bytes: Option<String>,
}

#[derive(Debug)]
struct Parts {
    pieces: Vec<Option<Piece>>,
    places: Vec<Place>,
}

impl Reader {
    /// Reads one line, which stands at `place`.
    pub fn read(&mut self, line: &[u8], place: Place) -> Read {
        let Ok(mut line) = serde_json::from_slice::<Line>(line) else { return Read::Unreadable };
        if !FUNCTIONS.contains(&line.function.as_str()) {
            return Read::Unreadable;
        }
        let Some(piece) = line.piece() else { return Read::Unreadable };
        let (piece, places) = match (line.part, line.parts) {
            (None, None) => (piece, vec![place]),
            (Some(part @ 1..), Some(parts)) if part <= parts && parts <= PARTS => {
                let key = line.key(parts);
                if let Some(whole) = self.whole.get(&key) {
                    return Read::Repeated(*whole);
                }
                match self.put(&key, part - 1, piece, place) {
                    Some(whole) => whole,
                    None => return Read::Part,
                }
            }
            _ => return Read::Unreadable,
        };
        match line.rejected(piece, places) {
            Some(rejected) => Read::Whole(Box::new(rejected)),
            None => Read::Unreadable,
        }
    }

    /// Payloads of which parts are missing.
    #[must_use]
    pub fn incomplete(&self) -> u64 {
        self.open.len() as u64
    }

    /// Puts a part to the others; gives the payload once it is whole. A part that comes twice counts once, but is
    /// settled with the others.
    fn put(&mut self, key: &Key, part: usize, piece: Piece, place: Place) -> Option<(Piece, Vec<Place>)> {
        let parts = self.open.entry(key.clone()).or_insert_with(|| Parts {
            pieces: std::iter::repeat_with(|| None).take(key.parts).collect(),
            places: Vec::new(),
        });
        parts.pieces[part] = Some(piece);
        parts.places.push(place);
        if parts.pieces.iter().any(Option::is_none) {
            return None;
        }
        let Parts { pieces, places } = self.open.remove(key)?;
        self.whole.insert(key.clone(), place);
        Some((Piece::joined(pieces.into_iter().flatten()), places))
    }
}

impl Piece {
    fn joined(pieces: impl Iterator<Item = Self>) -> Self {
        let mut joined = Self::default();
        for piece in pieces {
            joined.bytes.extend(piece.bytes);
            if let Some(row_bytes) = piece.row_bytes {
                let all = joined.row_bytes.get_or_insert_default();
                // No row ends in a part that holds the middle of a long one.
                if !all.is_empty() && !row_bytes.is_empty() {
                    all.push(',');
                }
                all.push_str(&row_bytes);
            }
        }
        joined
    }
}

impl Line {
    fn piece(&mut self) -> Option<Piece> {
        let bytes = match (self.payload.take(), self.payload_base64.take()) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => base64_simd::STANDARD.decode_to_vec(base64.as_bytes()).ok()?,
            _ => return None,
        };
        Some(Piece { bytes, row_bytes: self.row_bytes.take() })
    }

    fn key(&self, parts: usize) -> Key {
        Key {
            function: self.function.clone(),
            reason: self.reason.clone(),
            source: self.source.clone(),
            rejected_at: self.rejected_at.clone(),
            row_index: self.row_index,
            parts,
        }
    }

    /// The reject of that payload; nothing where the bytes of its rows are not those of the payload.
    fn rejected(self, Piece { bytes: payload, row_bytes }: Piece, places: Vec<Place>) -> Option<Rejected> {
        let rows = match row_bytes {
            Some(row_bytes) => Some(ranges(&row_bytes, payload.len())?),
            None => None,
        };
        let (header, date_order) = (self.header, self.date_order);
        Some(Rejected {
            rejected_at: self.rejected_at,
            function: self.function,
            reason: self.reason,
            source: self.source,
            payload,
            row_count: self.row_count.unwrap_or(1),
            row_index: self.row_index,
            rows,
            file: self.format.map(|format| File { format, header, date_order }),
            places,
        })
    }
}

/// Where rows of those bytes are in a payload, with one byte between two of them.
fn ranges(row_bytes: &str, payload_bytes: usize) -> Option<Vec<Range<usize>>> {
    let mut begin = 0;
    let mut ranges = Vec::new();
    for bytes in row_bytes.split(',') {
        let end = bytes.parse::<usize>().ok().and_then(|bytes| bytes.checked_add(begin))?;
        ranges.push(begin..end);
        if end > payload_bytes {
            return None;
        }
        begin = end + 1;
    }
    (begin == payload_bytes + 1).then_some(ranges)
}

impl Rejected {
    /// What is sent again together: the rows in the payload if each must be sent by itself, else the payload. Rows of a CSV
    /// that can be read next to others come together, up to so many bytes.
    pub(super) fn sendings(&mut self, bytes: usize) -> Vec<Sending> {
        let payload = mem::take(&mut self.payload);
        let Some(rows) = self.rows.take() else {
            return vec![Sending { payload, rows: self.row_count }];
        };
        let csv = self.file.as_mut().filter(|file| file.format == "csv");
        let mut rows = rows.into_iter().map(|row| &payload[row]);
        let is_csv = csv.is_some();
        if let Some(file) = csv
            && file.header.is_none()
            && let Some(header) = rows.next()
        {
            file.header = Some(String::from_utf8_lossy(header).into_owned());
        }
        let mut sendings: Vec<Sending> = Vec::new();
        let mut joinable = false;
        for row in rows {
            let is_plain = is_csv && !row.iter().any(|byte| matches!(byte, b'"' | b'\n' | b'\r'));
            match sendings.last_mut() {
                Some(last) if joinable && is_plain && last.payload.len() + row.len() < bytes => {
                    last.payload.push(b'\n');
                    last.payload.extend_from_slice(row);
                    last.rows += 1;
                }
                _ => sendings.push(Sending { payload: row.to_vec(), rows: 1 }),
            }
            joinable = is_plain;
        }
        sendings
    }
}

/// Rows that are sent together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sending {
    /// The rows, with a line feed between two of them.
    pub payload: Vec<u8>,
    /// How many.
    pub rows: u64,
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
    use proptest::{collection::vec, prelude::*};
    use shared::{
        reject::{Collector, Detail, FileContext, Refused},
        time::DateOrder,
    };

    use super::*;

    const AT: &str = "1970-01-01T00:00:00.000000Z";

    fn place(item: usize) -> Place {
        Place { object: 0, item }
    }

    fn csv(header: &str) -> FileContext {
        FileContext::new("csv", Some(header.into()), Some(DateOrder::Dmy))
    }

    /// The lines of rejects of a CSV's rows, each with whether it must be read by itself; `account` bytes came in before.
    fn written(header: &str, rows: &[(Vec<u8>, bool)], account: usize) -> Vec<Bytes> {
        let mut collector = Collector::new("ingest", AT.to_owned());
        collector.came_in(account);
        let (file, detail) = (csv(header), Detail::from("…"));
        for (index, (row, alone)) in (0..).zip(rows) {
            collector.add(Refused {
                owner: (0, index),
                reason: "cell_count",
                detail: &detail,
                name: "inbox/a.csv",
                line: Some(7),
                row_index: Some(index),
                payload: row,
                alone: *alone,
                file: Some(&file),
            });
        }
        collector.finish();
        collector.take().lines().to_vec()
    }

    fn one(payload: &[u8]) -> Vec<Bytes> {
        written("ID,Severity", &[(payload.to_vec(), false)], 1_000_000_000)
    }

    fn read_all(lines: &[Bytes]) -> Vec<Rejected> {
        let mut reader = Reader::default();
        let mut rejected = Vec::new();
        for (item, line) in lines.iter().enumerate() {
            match reader.read(line, place(item)) {
                Read::Whole(whole) => rejected.push(*whole),
                Read::Part => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(reader.incomplete(), 0);
        rejected
    }

    #[test]
    fn a_reject_is_read_as_it_was_written() {
        for payload in [&b"A-1,\"x\""[..], b"\xff\x00"] {
            let [read] = &read_all(&one(payload))[..] else { panic!() };
            assert_eq!(
                *read,
                Rejected {
                    rejected_at: AT.to_owned(),
                    function: "ingest".to_owned(),
                    reason: "cell_count".to_owned(),
                    source: "inbox/a.csv:7".to_owned(),
                    payload: payload.to_vec(),
                    row_count: 1,
                    row_index: Some(0),
                    rows: None,
                    file: Some(File {
                        format: "csv".to_owned(),
                        header: Some("ID,Severity".to_owned()),
                        date_order: Some("dmy".to_owned())
                    }),
                    places: vec![place(0)],
                }
            );
        }
    }

    #[test]
    fn parts_make_a_whole_in_whatever_order_they_come() {
        for payload in ["é".repeat(400_000).into_bytes(), vec![0xff; 500_000]] {
            let written = one(&payload);
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
            assert_eq!(reader.read(&written[2], place(100)), Read::Repeated(place(0)));
            assert_eq!(reader.incomplete(), 0);
        }
    }

    #[test]
    fn the_parts_of_two_rejects_of_one_line_are_not_mixed() {
        let rows = [(vec![b'a'; 400_000], false), (vec![b'b'; 400_000], false)];
        let written = written("ID,Severity", &rows, 1_000_000_000);
        let [a1, a2, a3, b1, b2, b3] = &written[..] else { panic!("{} lines", written.len()) };
        let lines: Vec<_> = [a3, b1, b2, b3, a1, a2].into_iter().cloned().collect();
        let payloads: Vec<_> = read_all(&lines).into_iter().map(|read| read.payload).collect();
        assert_eq!(payloads, [vec![b'b'; 400_000], vec![b'a'; 400_000]]);
    }

    /// The rows that are sent again, each under its header, as ingest reads them.
    fn sent(rejected: Vec<Rejected>) -> Vec<(String, Vec<u8>)> {
        let mut sent = Vec::new();
        for mut rejected in rejected {
            let count = rejected.row_count;
            let sendings = rejected.sendings(50_000);
            assert_eq!(sendings.iter().map(|sending| sending.rows).sum::<u64>(), count);
            let header = rejected.file.unwrap().header.unwrap();
            for Sending { payload, rows } in sendings {
                let split: Vec<_> = payload.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let rows = if rows == 1 { vec![payload] } else { split };
                sent.extend(rows.into_iter().map(|row| (header.clone(), row)));
            }
        }
        sent
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

        #[test]
        fn every_row_is_sent_again_under_its_header(
            header in prop_oneof![Just(10_usize), Just(70_000), Just(200_000)],
            rows in vec(
                (
                    prop_oneof![
                        4 => vec(prop::sample::select(b"ab,".to_vec()), 0..9),
                        2 => vec(any::<u8>(), 0..30),
                        1 => (0..400_000_usize).prop_map(|bytes| vec![b'l'; bytes]),
                    ],
                    any::<bool>(),
                ),
                1..40,
            ),
            many in 1..200_usize,
        ) {
            let header = format!("ID,{}", "h".repeat(header));
            // What must not be joined is alone; what is not alone has one line, as the payload is split here.
            let rows: Vec<(Vec<u8>, bool)> = rows
                .into_iter()
                .map(|(row, alone)| { let alone = alone || row.contains(&b'\n'); (row, alone) })
                .collect();
            let small: Vec<_> = rows.iter().filter(|(row, _)| row.len() < 40).cloned().collect();
            let repeated = (0..many).flat_map(|_| small.iter().cloned());
            let rows: Vec<_> = rows.iter().cloned().chain(repeated).collect();
            let written = written(&header, &rows, 0);
            prop_assert!(written.iter().all(|line| line.len() <= LINE_BYTES));
            let mut sent = sent(read_all(&written));
            let mut expected: Vec<_> = rows.into_iter().map(|(row, _)| (header.clone(), row)).collect();
            sent.sort();
            expected.sort();
            prop_assert!(sent == expected);
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
            format!(r#"{start},"payload":"a,b","row_bytes":"1,2"}}"#),
            format!(r#"{start},"payload":"a,b","row_bytes":"1"}}"#),
            format!(r#"{start},"payload":"a,b","row_bytes":"1,x"}}"#),
            format!(r#"{start},"payload":"a","row_bytes":"18446744073709551615,1"}}"#),
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
