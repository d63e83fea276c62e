//! Reads reject objects: their lines, and large payloads assembled from their parts.

use std::{collections::HashMap, mem, ops::Range};

use ingest::inflate::{Inflate, InflateError, OBJECT_BYTES};
use serde::Deserialize;

use super::ItemPlace;

/// The longest line that can be a reject: Firehose does not accept longer records.
///
/// Source: Firehose API reference, `PutRecordBatch`.
const LINE_BYTES: usize = 1_000 * 1024;
/// The most parts of a payload: more than the longest header needs with the rows under it.
const PARTS: usize = 128;
/// The functions that write rejects.
const FUNCTIONS: [&str; 4] = ["ingest", "transform", "metrics", "notify"];

/// A reject, as it is in the rejects table; a large payload is split over several lines.
#[derive(Debug, Deserialize)]
struct RejectLine {
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

/// A reject with a complete payload.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// When, as `2026-11-25T02:16:05.000000Z`.
    pub rejected_at: String,
    /// The function that rejected it.
    pub function: String,
    /// A short stable code.
    pub reason: String,
    /// Where it came from.
    pub source: String,
    /// The original row or record, or several with a line feed between them.
    pub payload: Vec<u8>,
    /// How many rows or records the payload has, not counting a header.
    pub row_count: u64,
    /// Position of the first row in its file or request, or of the record in its aggregate.
    pub row_index: Option<u64>,
    /// The position of each row in the payload, if they are not to be sent as one file.
    pub rows: Option<Vec<Range<usize>>>,
    /// How the file of a row was read: its format, header line and date order.
    pub file: Option<RejectedFile>,
    /// The lines that contain it.
    pub places: Vec<ItemPlace>,
}

/// How a file was read.
#[derive(Debug, PartialEq, Eq)]
pub struct RejectedFile {
    /// `csv`, `ndjson` or `json`.
    pub format: String,
    /// The header line of a CSV.
    pub header: Option<String>,
    /// The declared date order.
    pub date_order: Option<String>,
}

/// What a line is.
#[derive(Debug, PartialEq, Eq)]
pub enum ReadReject {
    /// A reject, or the last missing part of one.
    Whole(Box<Rejected>),
    /// A part of one; other parts are still missing.
    Part,
    /// A repeated part of the reject that has this place.
    Repeated(ItemPlace),
    /// Not a reject.
    Unreadable,
}

/// Reads lines, and stores the parts of payloads until they are complete.
#[derive(Debug, Default)]
pub struct RejectReader {
    open: HashMap<RejectKey, RejectParts>,
    /// Complete rejects that came in parts, each by one of its lines: Firehose may deliver a record twice.
    whole: HashMap<RejectKey, ItemPlace>,
}

/// What the parts of one reject have in common: the function, the time, its source and its position there. Two rows of
/// one line have one source, but different positions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RejectKey {
    function: String,
    reason: String,
    source: String,
    rejected_at: String,
    row_index: Option<u64>,
    parts: usize,
}

/// A payload or a part of it, and the sizes of the rows that end in it.
#[derive(Debug, Default)]
struct RejectPiece {
    bytes: Vec<u8>,
    row_bytes: Option<String>,
}

#[derive(Debug)]
struct RejectParts {
    pieces: Vec<Option<RejectPiece>>,
    places: Vec<ItemPlace>,
}

impl RejectReader {
    /// Reads one line at `place`.
    pub fn read(&mut self, line: &[u8], place: ItemPlace) -> ReadReject {
        let Ok(mut line) = serde_json::from_slice::<RejectLine>(line) else { return ReadReject::Unreadable };
        if !FUNCTIONS.contains(&line.function.as_str()) {
            return ReadReject::Unreadable;
        }
        let Some(piece) = line.piece() else { return ReadReject::Unreadable };
        let (piece, places) = match (line.part, line.parts) {
            (None, None) => (piece, vec![place]),
            (Some(part @ 1..), Some(parts)) if part <= parts && parts <= PARTS => {
                let key = line.key(parts);
                if let Some(whole) = self.whole.get(&key) {
                    return ReadReject::Repeated(*whole);
                }
                match self.put(&key, part - 1, piece, place) {
                    Some(whole) => whole,
                    None => return ReadReject::Part,
                }
            }
            _ => return ReadReject::Unreadable,
        };
        match line.rejected(piece, places) {
            Some(rejected) => ReadReject::Whole(Box::new(rejected)),
            None => ReadReject::Unreadable,
        }
    }

    /// The number of payloads with missing parts.
    #[must_use]
    pub fn incomplete(&self) -> u64 {
        self.open.len() as u64
    }

    /// Adds a part to the others; returns the payload once it is complete. A repeated part counts once, but is settled
    /// with the others.
    fn put(
        &mut self,
        key: &RejectKey,
        part: usize,
        piece: RejectPiece,
        place: ItemPlace,
    ) -> Option<(RejectPiece, Vec<ItemPlace>)> {
        let parts = self.open.entry(key.clone()).or_insert_with(|| RejectParts {
            pieces: std::iter::repeat_with(|| None).take(key.parts).collect(),
            places: Vec::new(),
        });
        parts.pieces[part] = Some(piece);
        parts.places.push(place);
        if parts.pieces.iter().any(Option::is_none) {
            return None;
        }
        let RejectParts { pieces, places } = self.open.remove(key)?;
        self.whole.insert(key.clone(), place);
        Some((RejectPiece::joined(pieces.into_iter().flatten()), places))
    }
}

impl RejectPiece {
    fn joined(pieces: impl Iterator<Item = Self>) -> Self {
        let mut joined = Self::default();
        for piece in pieces {
            joined.bytes.extend(piece.bytes);
            if let Some(row_bytes) = piece.row_bytes {
                let all = joined.row_bytes.get_or_insert_default();
                // No row ends in a part from the middle of a long one.
                if !all.is_empty() && !row_bytes.is_empty() {
                    all.push(',');
                }
                all.push_str(&row_bytes);
            }
        }
        joined
    }
}

impl RejectLine {
    fn piece(&mut self) -> Option<RejectPiece> {
        let bytes = match (self.payload.take(), self.payload_base64.take()) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(base64)) => base64_simd::STANDARD.decode_to_vec(base64.as_bytes()).ok()?,
            _ => return None,
        };
        Some(RejectPiece { bytes, row_bytes: self.row_bytes.take() })
    }

    fn key(&self, parts: usize) -> RejectKey {
        RejectKey {
            function: self.function.clone(),
            reason: self.reason.clone(),
            source: self.source.clone(),
            rejected_at: self.rejected_at.clone(),
            row_index: self.row_index,
            parts,
        }
    }

    /// The reject of that payload; `None` if the sizes of its rows do not match the payload.
    fn rejected(
        self,
        RejectPiece { bytes: payload, row_bytes }: RejectPiece,
        places: Vec<ItemPlace>,
    ) -> Option<Rejected> {
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
            file: self.format.map(|format| RejectedFile { format, header, date_order }),
            places,
        })
    }
}

/// The positions of rows of those sizes in a payload, with one byte between two of them.
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
    /// What is sent in one message: the single rows if each must be sent by itself, otherwise the payload. CSV rows
    /// that can be read next to each other are sent together, up to so many bytes.
    pub(super) fn sendings(&mut self, bytes: usize) -> Vec<ResentPayload> {
        let payload = mem::take(&mut self.payload);
        let Some(rows) = self.rows.take() else {
            return vec![ResentPayload { payload, rows: self.row_count }];
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
        let mut sendings: Vec<ResentPayload> = Vec::new();
        let mut joinable = false;
        for row in rows {
            let is_plain = is_csv && !row.iter().any(|byte| matches!(byte, b'"' | b'\n' | b'\r'));
            match sendings.last_mut() {
                Some(last) if joinable && is_plain && last.payload.len() + row.len() < bytes => {
                    last.payload.push(b'\n');
                    last.payload.extend_from_slice(row);
                    last.rows += 1;
                }
                _ => sendings.push(ResentPayload { payload: row.to_vec(), rows: 1 }),
            }
            joinable = is_plain;
        }
        sendings
    }
}

/// Rows that are sent together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ResentPayload {
    /// The rows, with a line feed between two of them.
    pub payload: Vec<u8>,
    /// Their number.
    pub rows: u64,
}

/// Passes on the lines of an object, gzip or plain, without their line ends. A line that is too long for a reject is
/// passed on empty.
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
            // One byte above the bound shows that the line is too long; the remaining bytes are not needed.
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
mod tests;
