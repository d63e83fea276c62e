//! Mini-batches: the rows of a file, small enough for one invocation.

use ingest::{
    normalise::Normaliser,
    report::ReadingReport,
    rows::{Content, Format, NoRows, Row, Rows},
    unreadable::Tally,
};
use serde::Serialize;
use shared::data::{dataset::Dataset, time::DateOrder};

use crate::{
    error::Error,
    input::{Input, TextState},
};

/// The most rows in a batch: as many as one invocation ingests in about a second.
pub(crate) const ROWS: usize = 1_000;

/// The most bytes of a batch's rows, escaped as in the JSON of the request. The remaining bytes are for the rest of the
/// request.
///
/// Source: Lambda developer guide, "Lambda quotas": 6 MB for the payload of a synchronous invocation.
const BYTES: usize = 6 * 1_000 * 1_000 - 100_000;

/// A row of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileRow {
    /// The line of the file on which it begins, from 1.
    pub(crate) line: u64,
    /// In UTF-8, or the original bytes if they cannot be decoded in full.
    text: Vec<u8>,
    cut: Cut,
}

/// How ingest finds the end of the row in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Where it ends.
    Closed,
    /// Only at the end of a request: anything after it would be read as part of it.
    Open,
    /// Only by itself and within an array: it is an array, and its elements would be read as rows.
    Nested,
    /// Not at all: the beginning of a row that is too large is not a row.
    Nowhere,
}

impl FileRow {
    fn new(row: &Row<'_>, format: Format) -> Self {
        let cut = match row.content {
            _ if format == Format::Json && row.text.starts_with(b"[") => Cut::Nested,
            Content::Broken { reason, .. } if reason != "cell_count" => Cut::Open,
            _ => Cut::Closed,
        };
        let text = match row.charset.decode(row.text) {
            (text, false) => text.into_owned().into_bytes(),
            // The original bytes are sent, so ingest stores the original bytes.
            (_, true) => row.text.to_vec(),
        };
        Self { line: row.line, text, cut }
    }
}

/// Rows that are sent together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batch {
    format: &'static str,
    date_order: Option<DateOrder>,
    /// The header line of a CSV, which is repeated in each request.
    header: Option<String>,
    /// The rows, in the file's order.
    pub(crate) rows: Vec<FileRow>,
    bytes: usize,
}

#[derive(Serialize)]
struct BatchRequest<'a> {
    format: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date_order: Option<DateOrder>,
}

impl Batch {
    fn of(&self, rows: Vec<FileRow>) -> Self {
        let bytes =
            self.header.iter().map(String::as_bytes).chain(rows.iter().map(|row| &*row.text)).map(size).sum();
        Self { rows, bytes, header: self.header.clone(), ..*self }
    }

    /// The rows at those positions, as a batch.
    pub(crate) fn part(&self, positions: &[usize]) -> Self {
        self.of(positions.iter().filter_map(|position| self.rows.get(*position).cloned()).collect())
    }

    /// Whether it is too large to be sent; only a batch of a single row can be.
    pub(crate) fn is_too_large(&self) -> bool {
        self.bytes > BYTES || self.rows.iter().any(|row| row.cut == Cut::Nowhere)
    }

    /// The request to ingest, as JSON.
    pub(crate) fn request(&self) -> Vec<u8> {
        let body = self.body();
        let (text, base64) = match str::from_utf8(&body) {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(base64_simd::STANDARD.encode_to_string(&body))),
        };
        let date_order = self.date_order;
        let request = BatchRequest { format: self.format, body: text, body_base64: base64, date_order };
        serde_json::to_vec(&request)
            .unwrap_or_else(|error| unreachable!("text can be written as JSON: {error}"))
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(self.bytes);
        if self.rows.iter().any(|row| row.cut == Cut::Nested) {
            body.push(b'[');
        }
        let header = self.header.iter().map(String::as_bytes);
        for line in header.chain(self.rows.iter().map(|row| &*row.text)) {
            body.extend_from_slice(line);
            body.push(b'\n');
        }
        body
    }
}

/// The bytes of a line within a JSON string, including its line feed: as text or in base64. If a single line is not
/// UTF-8, all lines are sent in base64.
fn size(line: &[u8]) -> usize {
    let base64 = (line.len() + 1).div_ceil(3) * 4;
    base64.max(size_as_text(line))
}

fn size_as_text(line: &[u8]) -> usize {
    let escapes = line.iter().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' => 1,
        0..0x20 => 5,
        _ => 0,
    });
    line.len() + escapes.sum::<usize>() + "\\n".len()
}

/// Cuts a file into batches.
pub(crate) struct Batches<'d> {
    dataset: &'d Dataset,
    input: Input,
    rows: Rows<'d>,
    date_order: Option<DateOrder>,
    finished: bool,
    /// Why the file could not be read to its end; reported after the rows before.
    broken: Option<Error>,
    /// A row that did not fit into the previous batch.
    held: Option<FileRow>,
    reading: RowReading<'d>,
}

/// Reads the rows as ingest does, to report the unreadable cells of the whole file. A response covers only its own
/// rows.
struct RowReading<'d> {
    normaliser: Normaliser<'d>,
    event: Vec<u8>,
    tally: Tally,
}

impl RowReading<'_> {
    fn read(&mut self, row: &Row<'_>) {
        self.event.truncate(0);
        // Ingest reports the rows that it rejects.
        _ = self.normaliser.normalise(row, "", &mut self.event, &mut self.tally);
    }
}

impl<'d> Batches<'d> {
    /// The batches of that file. Without a declared date order, the data set's applies.
    pub(crate) fn new(dataset: &'d Dataset, input: Input, date_order: Option<DateOrder>) -> Self {
        let rows = Rows::new(dataset, input.format).with_charset(input.charset);
        let normaliser = Normaliser::new(dataset, date_order);
        let reading = RowReading { normaliser, event: Vec::new(), tally: Tally::default() };
        Self { dataset, input, rows, date_order, finished: false, broken: None, held: None, reading }
    }

    /// What could not be read of the rows so far.
    pub(crate) fn report(&self) -> ReadingReport {
        ReadingReport::new(self.dataset, &self.reading.tally)
    }

    /// The name of the file.
    pub(crate) fn name(&self) -> &str {
        &self.input.name
    }

    /// Why there was no row so far, if there was none.
    pub(crate) fn no_rows(&self) -> Option<NoRows> {
        self.rows.no_rows()
    }

    /// The plural name of the separator of a CSV, unless it is the comma.
    pub(crate) fn separator(&self) -> Option<String> {
        self.rows.separator()
    }

    /// The next batch, of at most so many rows; `None` at the end of the file.
    pub(crate) fn next(&mut self, most: usize) -> Result<Option<Batch>, Error> {
        let Some(first) = self.next_row()? else { return self.broken.take().map_or(Ok(None), Err) };
        let mut batch = Batch {
            format: self.rows.format().name(),
            date_order: self.date_order,
            header: self.rows.header().map(|header| header.line.to_string()),
            rows: Vec::new(),
            bytes: 0,
        };
        batch = batch.of(vec![first]);
        if batch.rows[0].cut != Cut::Closed && !self.is_one_row(&batch) {
            batch.rows[0].cut = Cut::Nowhere;
        }
        while batch.rows.len() < most && batch.rows.last().is_some_and(|row| row.cut == Cut::Closed) {
            let Some(row) = self.next_row()? else { break };
            let bytes = size(&row.text);
            if batch.bytes + bytes > BYTES || row.cut != Cut::Closed {
                self.held = Some(row);
                break;
            }
            batch.bytes += bytes;
            batch.rows.push(row);
        }
        Ok(Some(batch))
    }

    /// Whether ingest reads a batch of a single row as one row.
    fn is_one_row(&self, batch: &Batch) -> bool {
        let mut rows = Rows::new(self.dataset, self.rows.format());
        rows.push(&batch.body());
        rows.finish();
        rows.next().is_some() && rows.next().is_none()
    }

    fn next_row(&mut self) -> Result<Option<FileRow>, Error> {
        if let Some(row) = self.held.take() {
            return Ok(Some(row));
        }
        let format = self.rows.format();
        loop {
            if let Some(row) = self.rows.next() {
                // A row that was cut must not be sent, because it would look complete.
                if matches!(row.content, Content::Broken { reason: "cut_short", .. }) {
                    continue;
                }
                self.reading.read(&row);
                let row = FileRow::new(&row, format);
                return match self.rows.header().and_then(|header| header.problem.clone()) {
                    Some(problem) => Err(Error::BadHeader { name: self.input.name.clone(), problem }),
                    None => Ok(Some(row)),
                };
            }
            if self.finished {
                return Ok(None);
            }
            self.read();
        }
    }

    /// Reads more of the file, or records why there is no more.
    fn read(&mut self) {
        match self.input.feed(&mut self.rows) {
            Ok(TextState::More) => return,
            Ok(TextState::Ended) => {}
            Ok(TextState::Broken(source)) => {
                self.broken = Some(Error::Broken { name: self.input.name.clone(), source });
            }
            Err(error) => {
                self.rows.finish_cut_short();
                self.broken = Some(error);
            }
        }
        self.finished = true;
    }
}

#[cfg(test)]
pub(crate) mod tests;
