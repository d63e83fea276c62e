//! Cuts text into rows as it arrives, chunk by chunk, in bounded memory.
//!
//! Every byte of a text is part of a header, of blank space or of exactly one row. Rows do not depend on where the text
//! was cut into chunks, nor on other rows. Blank space separates rows: line ends, and CSV rows with only blank cells.
//! In JSON it is also white space, and the commas and brackets of the outer array.

use std::{mem, ops::Range};

use shared::data::{dataset::Dataset, event::BOM};

use crate::{charset::Charset, inflate::InflateError};

mod cells;
mod csv;
mod header;
mod json;
mod ndjson;
mod position;
mod row;
mod separator;
mod span;
#[cfg(test)]
mod tests;

pub(crate) use self::header::column_in_another_case;
pub use self::{
    cells::Cells,
    header::Header,
    json::Element,
    position::{Position, Skip},
    row::{Content, Format, NoRows, Row},
};
use self::{
    cells::has_no_text,
    header::{BAD_HEADER, HEADER_EXCERPT_BYTES},
    position::Lines,
    separator::{COMMA, Search},
    span::{CUT_SHORT, RowKind, RowSpan, Scan, TextEnd, is_blank, line_end},
};

/// The longest row that is read whole, in bytes. Kinesis accepts records of 1 MiB, so nothing longer could be
/// delivered, and memory needs a bound. The first bytes of a longer row become a reject. The others are dropped, up to
/// the end of its line or element.
pub const ROW_BYTES: usize = 4 * 1024 * 1024;
/// The byte with which DOS programs mark the end of a text.
const DOS_END: u8 = 0x1a;

/// Cuts text into rows. Push a chunk, take rows until there is none, push the next chunk; call finish at the end.
#[derive(Debug)]
pub struct Rows<'d> {
    dataset: &'d Dataset,
    format: Format,
    /// The declared charset.
    charset: Charset,
    /// Whether byte order marks preceded the text or its header, so that it is UTF-8 whatever is declared.
    is_marked: bool,
    /// The longest row.
    bound: usize,
    buffer: Vec<u8>,
    /// The start of the next row in the buffer.
    start: usize,
    /// Bytes of the text before the buffer.
    passed: u64,
    end: TextEnd,
    begun: bool,
    /// The separator of the cells of a CSV.
    separator: u8,
    /// Whether a line declares it.
    is_declared: bool,
    search: Search,
    /// How far the next row was scanned, by format.
    csv: csv::Scanned,
    json: json::Scanned,
    /// The remainder of an overlong row, which is being dropped.
    skipping: Option<Skip>,
    /// The outer array of a JSON text, once it has begun.
    array: Option<Array>,
    lines: Lines,
    index: u64,
    header: Option<Header>,
    cells: Cells,
    lossy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Array {
    Open,
    Closed,
}

/// A row in the buffer.
struct FoundRow {
    text: Range<usize>,
    line: u64,
    kind: RowKind,
    /// Whether it is a first line that cannot be used as a header.
    is_first_line: bool,
}

impl<'d> Rows<'d> {
    /// Rows of a text in that format.
    #[must_use]
    pub fn new(dataset: &'d Dataset, format: Format) -> Self {
        Self {
            dataset,
            format,
            charset: Charset::default(),
            is_marked: false,
            bound: ROW_BYTES,
            buffer: Vec::new(),
            start: 0,
            passed: 0,
            end: TextEnd::MoreMayFollow,
            begun: false,
            separator: COMMA,
            is_declared: false,
            search: Search::default(),
            csv: csv::Scanned::default(),
            json: json::Scanned::default(),
            skipping: None,
            array: None,
            lines: Lines { number: 1, after_return: false },
            index: 0,
            header: None,
            cells: Cells::default(),
            lossy: String::new(),
        }
    }

    /// The same rows with a bound other than [`ROW_BYTES`], which tests reach with a few bytes.
    #[must_use]
    pub fn with_row_bytes(mut self, bound: usize) -> Self {
        self.bound = bound;
        self
    }

    /// The same rows in a declared charset.
    #[must_use]
    pub fn with_charset(mut self, charset: Charset) -> Self {
        self.charset = charset;
        self
    }

    /// The charset in which the text is decoded.
    #[must_use]
    pub fn charset(&self) -> Charset {
        if self.is_marked { Charset::default() } else { self.charset }
    }

    /// Resumes the rows of a text at `position`; the text is pushed from there on.
    #[must_use]
    pub fn resume(dataset: &'d Dataset, format: Format, position: &Position) -> Self {
        let mut rows = Self::new(dataset, format);
        if position.offset > 0 {
            rows.begun = true;
            rows.is_marked = position.is_marked;
            rows.passed = position.offset;
            rows.lines = Lines { number: position.line, after_return: position.after_return };
            rows.index = position.index;
            rows.array = position.array.then_some(Array::Open);
            rows.skipping = position.skipping;
        }
        if let Some(separator) = position.separator.and_then(|separator| u8::try_from(separator).ok()) {
            (rows.separator, rows.is_declared) = (separator, true);
        }
        if let (Some(line), Some(problem)) = (&position.header, &position.unreadable) {
            rows.header = Some(Header::unreadable(dataset, line, problem.clone()));
        } else if let Some(stored) = &position.header {
            let (declared, line) = separator::without_declaration(stored);
            rows.separator = declared.unwrap_or(rows.separator);
            let quoted = [char::from(rows.separator), '"'];
            let is_quoted = line.starts_with('"') || line.contains(&String::from_iter(quoted));
            rows.cells.read(line, is_quoted, rows.separator);
            rows.header = Some(Header::read(dataset, stored, &rows.cells, rows.separator));
        }
        rows
    }

    /// Where the text can be resumed once all rows so far are finished; `None` before its first row or line.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        self.begun.then(|| Position {
            offset: self.passed + self.start as u64,
            line: self.lines.number,
            index: self.index,
            header: self.header.as_ref().map(|header| header.line.to_string()),
            // A header that was read has at least one named cell.
            unreadable: self
                .header
                .as_ref()
                .filter(|header| header.required_cells == 0)
                .and_then(|header| header.problem.clone()),
            separator: (self.separator != COMMA || self.is_declared && self.header.is_none())
                .then_some(char::from(self.separator)),
            is_marked: self.is_marked,
            after_return: self.lines.after_return,
            array: self.array == Some(Array::Open),
            skipping: self.skipping,
        })
    }

    /// Adds a chunk of text.
    pub fn push(&mut self, chunk: &[u8]) {
        self.passed += self.start as u64;
        self.buffer.drain(..mem::take(&mut self.start));
        self.buffer.extend_from_slice(chunk);
    }

    /// Ends the text.
    pub fn finish(&mut self) {
        self.end = TextEnd::Whole;
    }

    /// Ends a text that was cut, as a stream that breaks off. A last row without a line end then becomes a `cut_short`
    /// reject and never an event.
    pub fn finish_cut_short(&mut self) {
        self.end = TextEnd::CutShort;
    }

    /// Ends a text at an error in its data.
    pub fn finish_damaged(&mut self, error: &InflateError) {
        self.end = if error.cuts_rows() { TextEnd::CutShort } else { TextEnd::Whole };
    }

    /// The header line of a CSV, if it has been read.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The plural name of the separator of a CSV, unless it is the comma.
    #[must_use]
    pub fn separator(&self) -> Option<String> {
        (self.separator != COMMA).then(|| separator::name(self.separator))
    }

    /// The names in the header, for each way to separate them, the most names first. They do not depend on the data
    /// set.
    #[must_use]
    pub fn names(&self) -> Vec<Vec<String>> {
        let declared = self.is_declared.then_some(self.separator);
        self.header.as_ref().map(|header| separator::names(&header.line, declared)).unwrap_or_default()
    }

    /// The format of the text.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Why there was no row so far; `None` once there was one, accepted or not.
    #[must_use]
    pub fn no_rows(&self) -> Option<NoRows> {
        match (self.index, &self.header, self.array) {
            (1.., _, _) => None,
            (0, Some(_), _) => Some(NoRows::OnlyHeader),
            (0, None, None) if self.is_declared => Some(NoRows::OnlyHeader),
            (0, None, Some(_)) => Some(NoRows::EmptyArray),
            (0, None, None) => Some(NoRows::Blank),
        }
    }

    /// The next complete row. `None` asks for another chunk, or means the end of the text.
    #[expect(clippy::should_implement_trait, reason = "the rows are lent, which an iterator cannot do")]
    pub fn next(&mut self) -> Option<Row<'_>> {
        let FoundRow { text, line, kind, is_first_line } = self.find()?;
        let charset = self.charset();
        let text = &self.buffer[text];
        let (index, mut is_altered) = (self.index, false);
        self.index += 1;
        let content = match (kind, &self.header) {
            (RowKind::Broken(reason, detail), _) => Content::Broken { reason, detail },
            (kind, Some(header)) => {
                let decoded;
                (decoded, is_altered) = charset.decode_into(text, &mut self.lossy);
                self.cells.read(decoded, matches!(kind, RowKind::Quoted), self.separator);
                header.content_of(&self.cells)
            }
            (_, None) => Content::Json,
        };
        // An unusable first line is not stored as its own header: sent again, it would become two rows.
        let header = self.header.as_ref().filter(|_| !is_first_line);
        Some(Row { index, line, text, charset, is_altered, header, content })
    }

    /// Finds the next row and moves past it.
    fn find(&mut self) -> Option<FoundRow> {
        loop {
            if !self.skip_first_marks() || !self.skip_rest() {
                return None;
            }
            self.skip_blank();
            if !self.skip_marks_before_header() {
                return None;
            }
            let mut span = self.scan()?;
            if self.format == Format::Csv && self.awaits_separator() {
                span = self.find_separator(span)?;
            }
            let (begin, line) = (self.start, self.lines.number);
            self.move_past(&span);
            let text = begin..begin + span.end;
            let found = FoundRow { text, line, kind: span.kind, is_first_line: false };
            if self.format != Format::Csv {
                return Some(found);
            }
            if let Some(row) = self.read_csv_row(found) {
                return Some(row);
            }
        }
    }

    /// Reads a row of a CSV. `None` for a blank row, a line that declares the separator, and the header.
    fn read_csv_row(&mut self, mut found: FoundRow) -> Option<FoundRow> {
        let text = &self.buffer[found.text.clone()];
        if has_no_text(text, &found.kind, self.separator, &mut self.cells) {
            if self.awaits_separator() {
                self.separator = COMMA;
            }
            return None;
        }
        if self.awaits_separator()
            && let Some(separator) = separator::declared(text, &found.kind)
        {
            (self.separator, self.is_declared) = (separator, true);
            return None;
        }
        if self.header.is_none() {
            found.kind = self.read_header(&found)?;
            found.is_first_line = true;
        }
        Some(found)
    }

    /// Whether the separator of the cells is still to be found, from the header or a line before it.
    fn awaits_separator(&self) -> bool {
        self.header.is_none() && !self.is_declared
    }

    /// Finds the separator of the first row, whose end was found assuming commas; `None` if that needs more text.
    fn find_separator(&mut self, span: RowSpan) -> Option<RowSpan> {
        let charset = self.charset();
        let Self { dataset, bound, end, cells, .. } = self;
        let text = &self.buffer[self.start..];
        let row = &text[..span.end];
        if has_no_text(row, &span.kind, COMMA, cells)
            || separator::declared(row, &span.kind).is_some()
            || separator::is_header(dataset, row, &span.kind, (charset, COMMA), cells)
        {
            return Some(span);
        }
        let found = self.search.find(dataset, text, charset, (*bound, *end), cells);
        let (separator, span) = match found {
            separator::FirstRow::More => return None,
            separator::FirstRow::Nothing => (COMMA, span),
            separator::FirstRow::Blank(separator, other) | separator::FirstRow::Header(separator, other) => {
                // A row that is too long with commas may end earlier with another separator.
                self.skipping = None;
                (separator, other)
            }
        };
        self.search = Search::default();
        self.separator = separator;
        Some(span)
    }

    /// Reads the first line as the header; returns the kind of row that it is if it cannot be used.
    fn read_header(&mut self, found: &FoundRow) -> Option<RowKind> {
        let charset = self.charset();
        let text = &self.buffer[found.text.clone()];
        let (header, reason) = match &found.kind {
            RowKind::Broken(reason, detail) => {
                let problem =
                    format!("the first line, which must name the columns, cannot be read: {detail}");
                let excerpt = &text[..text.len().min(HEADER_EXCERPT_BYTES)];
                let (excerpt, _) = charset.decode_into(excerpt, &mut self.lossy);
                let reason = if *reason == CUT_SHORT { CUT_SHORT } else { BAD_HEADER };
                (Header::unreadable(self.dataset, excerpt, problem), reason)
            }
            kind => {
                let (text, _) = charset.decode_into(text, &mut self.lossy);
                let line = separator::with_declaration(self.dataset, text, self.separator, &mut self.cells);
                self.cells.read(text, matches!(kind, RowKind::Quoted), self.separator);
                (Header::read(self.dataset, &line, &self.cells, self.separator), BAD_HEADER)
            }
        };
        let problem = header.problem.clone();
        self.header = Some(header);
        problem.map(|detail| RowKind::Broken(reason, detail))
    }

    /// Skips byte order marks at the beginning of the text; false if more text is needed to decide.
    fn skip_first_marks(&mut self) -> bool {
        while !self.begun {
            let text = &self.buffer[self.start..];
            if text.starts_with(BOM) {
                self.start += BOM.len();
                self.is_marked = true;
            } else if self.end == TextEnd::MoreMayFollow && BOM.starts_with(text) {
                return false;
            } else {
                self.begun = true;
            }
        }
        true
    }

    /// Drops the remaining bytes of an overlong row; false if its end is not in the text yet.
    fn skip_rest(&mut self) -> bool {
        let array = self.array == Some(Array::Open);
        let Some(skip) = &mut self.skipping else { return true };
        let text = &self.buffer[self.start..];
        let (dropped, ends) = match skip {
            Skip::Line => line_end(text).map_or((text.len(), false), |at| (at + 1, true)),
            Skip::Element(element) => json::skip(text, element, self.end, array),
        };
        self.lines.pass(&text[..dropped]);
        self.start += dropped;
        if ends || self.end != TextEnd::MoreMayFollow {
            self.skipping = None;
        }
        self.skipping.is_none()
    }

    /// Skips blank space; in JSON also the commas and brackets of the outer array.
    fn skip_blank(&mut self) {
        let json = self.format == Format::Json;
        let begin = self.start;
        while let Some(byte) = self.buffer.get(self.start) {
            match byte {
                b'\n' | b'\r' => {}
                byte if self.format != Format::Csv && is_blank(*byte) => {}
                b',' if json => {}
                b'[' if json && self.array != Some(Array::Open) => self.array = Some(Array::Open),
                b']' if json && self.array == Some(Array::Open) => self.array = Some(Array::Closed),
                _ => break,
            }
            self.start += 1;
        }
        self.lines.pass(&self.buffer[begin..self.start]);
    }

    /// Skips byte order marks directly before the header of a CSV: programs write a line such as `sep=;` before them.
    /// False if more text is needed to decide.
    fn skip_marks_before_header(&mut self) -> bool {
        if self.format != Format::Csv || self.header.is_some() {
            return true;
        }
        loop {
            let text = &self.buffer[self.start..];
            if !text.starts_with(BOM) {
                return self.end != TextEnd::MoreMayFollow || !BOM.starts_with(text);
            }
            self.start += BOM.len();
            self.is_marked = true;
            self.skip_blank();
        }
    }

    /// Finds the end of the row that begins at `start`; `None` if that needs more text.
    fn scan(&mut self) -> Option<RowSpan> {
        let text = &self.buffer[self.start..];
        if text.is_empty() {
            return None;
        }
        let scan = match self.format {
            Format::Csv => csv::scan(text, &mut self.csv, self.bound, self.end, self.separator),
            Format::Ndjson => ndjson::scan(text, self.bound, self.end),
            Format::Json => {
                let array = self.array == Some(Array::Open);
                json::scan(text, &mut self.json, self.bound, self.end, array)
            }
        };
        let span = match scan {
            Scan::More => return None,
            Scan::Row(span) => span,
            Scan::TooLong(skip) => {
                self.skipping = Some(skip);
                RowSpan::too_large(text, self.bound)
            }
        };
        (self.csv, self.json) = Default::default();
        Some(span)
    }

    /// Moves past a row that was found.
    fn move_past(&mut self, span: &RowSpan) {
        let text = &self.buffer[self.start..self.start + span.next];
        match (self.format, &span.kind) {
            // It contains no line end.
            (Format::Csv | Format::Ndjson, RowKind::Plain) => {
                let last = text.last().copied();
                self.lines.number += u64::from(matches!(last, Some(b'\n' | b'\r')));
                self.lines.after_return = last == Some(b'\r');
            }
            _ => self.lines.pass(text),
        }
        self.start += span.next;
    }
}
