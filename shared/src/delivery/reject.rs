//! Rejects: refused rows and records, kept with the reason and with everything needed to send them again.
//!
//! A reject is one JSON line, or several if its payload is long. The size of its input bounds its own: see
//! [`collector`].

pub mod collector;

use std::{fmt, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use crate::{
    data::time::DateOrder,
    delivery::{self, Deadline, Order, Outcome, Service},
};

pub use self::collector::{Collector, Finished, Owners, RefusedRow};

/// Bytes of a payload in one reject record; longer payloads are split into parts. Encoding at most doubles them, so
/// the record stays below Firehose's limit of 1,000 KiB.
const PART_BYTES: usize = 160 * 1024;
/// Bytes by which a text as JSON may exceed twice its own length. So a short text stays readable, whatever it holds.
const SHORT_BYTES: usize = 1_024;
/// The longest header that each reject repeats, in bytes as JSON.
const HEADER_BYTES: usize = 64 * 1024;
/// Characters of a detail at most. It may quote the sender's text, whose length has no limit.
const DETAIL_CHARS: usize = 200;
/// Characters of a source at most: more than the longest key of an object with its bucket and line.
const SOURCE_CHARS: usize = 1_500;
/// Bytes of lines in one portion. Only these are held a second time, as requests.
const PORTION_BYTES: usize = 2 * 1024 * 1024;

/// A sentence that says what is wrong with a row and what was expected. It has at most 200 characters and no control
/// characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Detail(String);

impl Detail {
    /// The sentence.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<String> for Detail {
    fn from(mut text: String) -> Self {
        cut(&mut text, DETAIL_CHARS);
        if text.contains(char::is_control) {
            text = text.replace(char::is_control, "\u{fffd}");
        }
        Self(text)
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

/// Cuts a text to `chars` characters. The last character of a cut text is an ellipsis.
fn cut(text: &mut String, chars: usize) {
    // A text has at most as many characters as bytes.
    if text.len() > chars
        && let Some((end, _)) = text.char_indices().nth(chars - 1)
        && text[end..].chars().nth(1).is_some()
    {
        text.truncate(end);
        text.push('…');
    }
}

/// How a row's file was read.
#[derive(Debug, Clone, Serialize)]
pub struct FileContext {
    /// `csv`, `ndjson` or `json`.
    pub format: &'static str,
    /// The header line of a CSV. If there is none, the first row of the payload is the header.
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<Arc<str>>,
    /// The declared date order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub date_order: Option<DateOrder>,
    /// Length of the header as JSON, in bytes.
    #[serde(skip)]
    header_json: usize,
}

impl FileContext {
    /// A file of a format, with its header line if it has one.
    #[must_use]
    pub fn new(format: &'static str, header: Option<Arc<str>>, date_order: Option<DateOrder>) -> Self {
        let header_json = json_bytes(header.as_deref().unwrap_or_default());
        Self { format, header, date_order, header_json }
    }

    /// The header line of a CSV.
    #[must_use]
    pub fn header(&self) -> Option<&Arc<str>> {
        self.header.as_ref()
    }

    /// Whether the header is too long to repeat in each reject.
    fn has_long_header(&self) -> bool {
        self.header_json > HEADER_BYTES
    }

    /// Whether it is the same. Rows of one file share their header in memory, so its text is seldom compared.
    fn is_that_of(&self, other: &Self) -> bool {
        let same_header = match (&self.header, &other.header) {
            (Some(own), Some(other)) => Arc::ptr_eq(own, other) || own == other,
            (own, other) => own == other,
        };
        same_header && (self.format, self.date_order) == (other.format, other.date_order)
    }
}

/// The columns of the rejects table: name, type in Glue, and what it holds.
pub const COLUMNS: [(&str, &str, &str); 15] = [
    ("rejected_at", "string", "When it was rejected, UTC, microseconds."),
    ("function", "string", "Function that rejected it: ingest, transform, metrics or notify."),
    (
        "reason",
        "string",
        "Short stable code of what is wrong; several if the rows of the payload have different ones.",
    ),
    ("detail", "string", "A sentence that says what is wrong, where, and what was expected."),
    ("source", "string", "Object key and line or lines, or stream, shard and sequence number."),
    ("payload", "string", "The payload as it arrived; several rows are separated by line feeds."),
    (
        "payload_base64",
        "string",
        "The payload in base64 if it is not UTF-8, or would be much longer as JSON.",
    ),
    ("format", "string", "Format of the file that has the row."),
    (
        "header",
        "string",
        "Header line of the CSV file that has the row; a CSV payload without one begins with its header.",
    ),
    ("date_order", "string", "Date order that was declared for the file."),
    ("part", "int", "Number of this part, from 1, of a payload too large for one record."),
    ("parts", "int", "Number of parts of the payload."),
    ("row_count", "int", "Number of rows or records in the payload, if there are several."),
    (
        "row_index",
        "int",
        "Position, from 0, of the first row in its file or request, or of the record in its aggregate.",
    ),
    (
        "row_bytes",
        "string",
        "Bytes of each row, separated by commas, if the rows of the payload are not sent again as one file.",
    ),
];

/// A reject: one row or record, or several that are refused for the same reason.
#[derive(Debug, Clone, Copy)]
struct Reject<'a> {
    function: &'static str,
    reason: &'static str,
    detail: &'a Detail,
    source: &'a str,
    row_index: Option<u64>,
    rows: u64,
    /// The rows as they arrived, separated by line feeds.
    payload: &'a [u8],
    /// The length of each row in bytes, if readers need it to separate the rows.
    row_bytes: Option<&'a [u32]>,
    file: Option<&'a FileContext>,
}

/// A reject, or a part of one, as it is in the rejects table.
#[derive(Serialize)]
struct RejectLine<'a> {
    rejected_at: &'a str,
    function: &'a str,
    reason: &'a str,
    detail: &'a Detail,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    row_index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    row_bytes: Option<String>,
    #[serde(flatten)]
    file: Option<&'a FileContext>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
}

impl Reject<'_> {
    /// The JSON lines of the reject: one for each part of its payload.
    fn encode(&self, rejected_at: &str) -> Vec<Bytes> {
        let text = self.text();
        let pieces = pieces(self.payload, text);
        let parts = (pieces.len() > 1).then_some(pieces.len());
        let mut lengths = Lengths { rest: self.row_bytes.unwrap_or_default(), begin: 0 };
        let mut end = 0;
        let encode = |(part, piece): (usize, &[u8])| {
            end += piece.len();
            let line = RejectLine {
                rejected_at,
                function: self.function,
                reason: self.reason,
                detail: self.detail,
                source: self.source,
                row_index: self.row_index,
                row_count: (self.rows > 1).then_some(self.rows),
                // Text is cut between characters, so each piece is valid text.
                payload: text.and(std::str::from_utf8(piece).ok()),
                payload_base64: text.is_none().then(|| base64_simd::STANDARD.encode_to_string(piece)),
                row_bytes: self.row_bytes.map(|_| lengths.up_to(end)),
                file: self.file,
                part: parts.map(|_| part + 1),
                parts,
            };
            let mut json = serde_json::to_vec(&line).unwrap_or_else(|error| unreachable!("{error}"));
            json.push(b'\n');
            Bytes::from(json)
        };
        pieces.into_iter().enumerate().map(encode).collect()
    }

    /// The payload as text, or nothing if it must be base64: it is not UTF-8, or JSON would more than double it.
    /// With row lengths, base64 is used as soon as it is shorter.
    fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(self.payload).ok()?;
        let (json, bytes) = (json_bytes(text), text.len());
        let is_short =
            if self.row_bytes.is_some() { 3 * json <= 4 * bytes } else { json <= 2 * bytes + SHORT_BYTES };
        (is_short || bytes < 3).then_some(text)
    }
}

/// Distributes the lengths of rows over the parts: each goes to the part in which its row ends.
struct Lengths<'a> {
    rest: &'a [u32],
    /// Where the next row begins.
    begin: usize,
}

impl Lengths<'_> {
    /// The lengths of the rows that end at or before that byte of the payload.
    fn up_to(&mut self, byte: usize) -> String {
        let mut lengths = Vec::new();
        while let [length, rest @ ..] = self.rest
            && self.begin + *length as usize <= byte
        {
            lengths.push(length.to_string());
            // A line feed follows.
            self.begin += *length as usize + 1;
            self.rest = rest;
        }
        lengths.join(",")
    }
}

/// Length of a text as JSON in bytes, without its quotes.
fn json_bytes(text: &str) -> usize {
    let escapes = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 8 | 12 => 1,
        0..0x20 => 5,
        _ => 0,
    });
    text.len() + escapes.sum::<usize>()
}

/// Splits the payload into pieces of at most `PART_BYTES`. Pieces of a text end between characters.
fn pieces<'a>(payload: &'a [u8], text: Option<&str>) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut start = 0;
    while payload.len() - start > PART_BYTES {
        let end = text.map_or(start + PART_BYTES, |text| text.floor_char_boundary(start + PART_BYTES));
        pieces.push(&payload[start..end]);
        start = end;
    }
    pieces.push(&payload[start..]);
    pieces
}

/// The outcome of writing rejects.
#[must_use]
#[derive(Debug, Default)]
pub struct Written {
    /// The rows of each reject. If it could not be written, a sentence says why.
    pub outcomes: Vec<(Owners, Option<String>)>,
    /// How many times an entry was retried.
    pub resent: u64,
}

/// Writes rejects to the rejects delivery stream, in portions.
pub async fn write<S: Service<Entry = Bytes>>(
    service: &S,
    finished: Finished,
    deadline: Deadline,
) -> Written {
    let Finished { lines, rejects } = finished;
    let mut outcomes = Vec::with_capacity(lines.len());
    let mut resent = 0;
    let mut rest = lines.as_slice();
    while !rest.is_empty() {
        let (portion, after) = rest.split_at(portion(rest));
        let report = delivery::deliver(service, portion, Order::Free, deadline).await;
        outcomes.extend(report.outcomes);
        resent += report.resent;
        rest = after;
    }
    let mut outcomes = outcomes.into_iter();
    let outcomes = rejects
        .into_iter()
        .map(|(owners, parts)| {
            let failures = outcomes.by_ref().take(parts).filter_map(|outcome| match outcome {
                Outcome::Delivered => None,
                Outcome::Failed(why) | Outcome::Unacceptable(why) => Some(why),
            });
            (owners, failures.last())
        })
        .collect();
    Written { outcomes, resent }
}

/// How many lines form the next portion: at least one.
fn portion(lines: &[Bytes]) -> usize {
    let mut bytes = 0;
    let fitting = lines.iter().take_while(|line| {
        bytes += line.len();
        bytes <= PORTION_BYTES
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests;
