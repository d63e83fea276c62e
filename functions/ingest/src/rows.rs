//! Rows in: text cut into rows as it comes, chunk by chunk, in memory that does not grow with the text.

use std::{borrow::Cow, collections::HashSet, mem, sync::Arc};

use memchr::{memchr, memchr_iter, memchr2, memchr3, memrchr};
use serde::{Deserialize, Serialize};
use shared::{dataset::Dataset, event, scan};

use crate::keys::Unknown;

/// The longest row that is looked at whole, in bytes. Kinesis takes records of 1 MiB, so that nothing longer could
/// be delivered; the bound keeps memory bounded where a quote is never closed.
pub const ROW_BYTES: usize = 4 * 1024 * 1024;
/// Lines among `ROW_BYTES` that are given up one by one because what begins on them is not closed. Each has cost a look
/// at all of these bytes; whoever opens more and closes none loses the bytes together.
const GIVEN_UP: u32 = 8;
/// Why no row is placed below a header that names no id or severity, or cannot be read.
const BAD_HEADER: &str = "bad_header";
/// Bytes that are kept of a first line that cannot be read as a header.
const HEADER_BEGIN: usize = 1024;
/// The byte order mark that some programs put before UTF-8.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// How the text holds its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated, with a header line, quoted as RFC 4180 has it.
    Csv,
    /// A JSON object on each line.
    Ndjson,
    /// A JSON array of objects, or objects one after the other.
    Json,
}

impl Format {
    /// The name by which a request declares it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
        }
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(Self::Csv),
            "ndjson" | "jsonl" => Ok(Self::Ndjson),
            "json" => Ok(Self::Json),
            other => Err(format!("format `{other}` is unknown: csv, ndjson or json is right")),
        }
    }
}

/// The header of a CSV, its cells matched with the data set's columns.
#[derive(Debug, Clone)]
pub struct Header {
    /// The line as it stands, without its end; its begin where it cannot be read.
    pub line: Arc<str>,
    /// For each column of the data set, the position of its cell in a row.
    pub columns: Vec<Option<usize>>,
    /// Cells that the data set does not know and that become entries of an event, with their names.
    pub unknown: Vec<(usize, String)>,
    /// Cells that the data set does not know and that go under `_invalid`: another name is the same ignoring case.
    pub aside: Vec<(usize, String)>,
    /// Cells in the header.
    pub len: usize,
    /// Why no row below it can be placed.
    pub problem: Option<String>,
}

/// A row, as the text holds it.
#[derive(Debug)]
pub struct Row<'a> {
    /// Position among the rows of the text, from 0; a header is not counted, unless it cannot be read and so is a row
    /// that cannot be placed.
    pub index: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its text, without the end of its line.
    pub text: &'a [u8],
    /// The header above it, in a CSV.
    pub header: Option<&'a Header>,
    /// What it holds.
    pub content: Content<'a>,
}

/// What a row holds.
#[derive(Debug)]
pub enum Content<'a> {
    /// The cells of a CSV row, as many as its header has.
    Cells(&'a Cells),
    /// A JSON text.
    Json,
    /// Nothing that can be placed.
    Broken {
        /// A short stable code.
        reason: &'static str,
        /// What is wrong, and what would be right.
        detail: String,
    },
}

/// The cells of a row, one after the other in one text.
#[derive(Debug, Default)]
pub struct Cells {
    text: String,
    ends: Vec<usize>,
    /// Bytes between two cells: the comma of a row that stands as it came, nothing where quotes were resolved.
    gap: usize,
}

impl Cells {
    /// The text of the cell at that position.
    #[must_use]
    pub fn get(&self, position: usize) -> &str {
        let start = if position == 0 { 0 } else { self.ends[position - 1] + self.gap };
        &self.text[start..self.ends[position]]
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Takes the cells of one row's text apart; `quoted` says whether a cell of it begins with a quote.
    fn read(&mut self, row: &str, quoted: bool) {
        self.text.clear();
        self.ends.clear();
        self.gap = usize::from(!quoted);
        if quoted {
            let mut rest = row;
            while let Some(next) = self.read_cell(rest) {
                rest = next;
            }
            return;
        }
        // Copied once and whole, not cell by cell.
        self.text.push_str(row);
        scan::commas(row.as_bytes(), &mut self.ends);
        self.ends.push(row.len());
    }

    /// Takes one cell off the front of `rest`; gives what stands behind its comma, if there is one.
    fn read_cell<'r>(&mut self, rest: &'r str) -> Option<&'r str> {
        let mut tail = rest;
        if let Some(mut quoted) = rest.strip_prefix('"') {
            // Inside the quotes a doubled quote is a quote; the first single one closes them.
            loop {
                let Some((text, behind)) = quoted.split_once('"') else {
                    self.text.push_str(quoted);
                    tail = "";
                    break;
                };
                self.text.push_str(text);
                match behind.strip_prefix('"') {
                    Some(behind) => {
                        self.text.push('"');
                        quoted = behind;
                    }
                    None => {
                        tail = behind;
                        break;
                    }
                }
            }
        }
        let (text, next) = match tail.split_once(',') {
            Some((text, next)) => (text, Some(next)),
            None => (tail, None),
        };
        self.text.push_str(text);
        self.ends.push(self.text.len());
        next
    }
}

/// Where the text can be read on: at the beginning of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Bytes of the text before it.
    pub offset: u64,
    /// The line that begins there, from 1.
    pub line: u64,
    /// Rows before it.
    pub index: u64,
    /// The header line above it, in a CSV.
    pub header: Option<String>,
    /// Why that line cannot be read, if it cannot.
    #[serde(default)]
    pub unreadable: Option<String>,
}

/// Cuts text into rows. Push chunks, take rows until there is none, push more; finish at the end.
#[derive(Debug)]
pub struct Rows<'d> {
    dataset: &'d Dataset,
    format: Format,
    buffer: Vec<u8>,
    /// Where the next row begins in the buffer.
    start: usize,
    /// Bytes of the text before the buffer.
    passed: u64,
    end: End,
    begun: bool,
    /// The rest of an overlong row is being dropped, up to its line's end.
    skipping: bool,
    /// Lines given up before `looked_at`, the end in the buffer of what was looked at for the first of them.
    given_up: u32,
    looked_at: usize,
    line: u64,
    index: u64,
    header: Option<Header>,
    cells: Cells,
    lossy: String,
}

/// What is known of the end of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// More may follow.
    Open,
    /// Everything was pushed.
    Whole,
    /// The text was cut, so that a last row without a line end is not whole.
    CutShort,
}

/// Where a row ends in the buffer.
struct Span {
    /// End of the row's text.
    end: usize,
    /// Begin of what follows.
    next: usize,
    /// Line feeds within and after the row.
    lines: u64,
    kind: SpanKind,
}

enum SpanKind {
    Plain,
    Quoted,
    Broken(&'static str, String),
}

enum Scan {
    Row(Span),
    /// The row may go on behind the buffer.
    More,
}

impl<'d> Rows<'d> {
    /// Rows of a text in that format.
    #[must_use]
    pub fn new(dataset: &'d Dataset, format: Format) -> Self {
        Self {
            dataset,
            format,
            buffer: Vec::new(),
            start: 0,
            passed: 0,
            end: End::Open,
            begun: false,
            skipping: false,
            given_up: 0,
            looked_at: 0,
            line: 1,
            index: 0,
            header: None,
            cells: Cells::default(),
            lossy: String::new(),
        }
    }

    /// Rows of a text that was read before, up to `position`, from where it is pushed.
    #[must_use]
    pub fn resume(dataset: &'d Dataset, format: Format, position: &Position) -> Self {
        let mut rows = Self::new(dataset, format);
        if position.offset > 0 {
            rows.begun = true;
            rows.passed = position.offset;
            rows.line = position.line;
            rows.index = position.index;
        }
        if let (Some(line), Some(problem)) = (&position.header, &position.unreadable) {
            rows.header = Some(Header::unreadable(dataset, line, problem.clone()));
        } else if let Some(line) = &position.header {
            rows.cells.read(line, line.starts_with('"') || line.contains(",\""));
            rows.header = Some(Header::read(dataset, line, &rows.cells));
        }
        rows
    }

    /// Where the text can be read on once the rows so far are done; nothing in the middle of an overlong row.
    #[must_use]
    pub fn position(&self) -> Option<Position> {
        (self.begun && !self.skipping).then(|| Position {
            offset: self.passed + self.start as u64,
            line: self.line,
            index: self.index,
            header: self.header.as_ref().map(|header| header.line.to_string()),
            // One that was read has a cell at least.
            unreadable: self
                .header
                .as_ref()
                .filter(|header| header.len == 0)
                .and_then(|header| header.problem.clone()),
        })
    }

    /// Adds a chunk of text.
    pub fn push(&mut self, chunk: &[u8]) {
        self.looked_at = self.looked_at.saturating_sub(self.start);
        self.passed += self.start as u64;
        self.buffer.drain(..mem::take(&mut self.start));
        self.buffer.extend_from_slice(chunk);
    }

    /// Says that no chunk follows.
    pub fn finish(&mut self) {
        self.end = End::Whole;
    }

    /// Says that the text was cut here, as a stream that breaks off does. A last row that nothing ends is then a reject
    /// (`cut_short`) and never an event.
    pub fn finish_cut_short(&mut self) {
        self.end = End::CutShort;
    }

    /// The header line of a CSV, once it has been read.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The format of the text.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The next row that is whole. `None` asks for another chunk, or says that the text is at its end.
    #[expect(clippy::should_implement_trait, reason = "the rows are lent, which an iterator cannot do")]
    pub fn next(&mut self) -> Option<Row<'_>> {
        loop {
            if !self.begin() || (self.skipping && !self.skip_line()) {
                return None;
            }
            self.skip_blank();
            let Scan::Row(mut span) = self.scan()? else { return None };
            let begin = mem::replace(&mut self.start, span.next);
            let line = self.line;
            self.line += span.lines;
            if self.format == Format::Csv && self.header.is_none() && self.read_header(begin, &mut span) {
                continue;
            }
            let index = self.index;
            self.index += 1;
            let text = &self.buffer[begin..span.end];
            let content = match (span.kind, &self.header) {
                (SpanKind::Broken(reason, detail), _) => Content::Broken { reason, detail },
                (kind, Some(header)) => {
                    let text = lossy(text, &mut self.lossy);
                    self.cells.read(text, matches!(kind, SpanKind::Quoted));
                    check_cells(header, &self.cells)
                }
                (_, None) => Content::Json,
            };
            return Some(Row { index, line, text, header: self.header.as_ref(), content });
        }
    }

    /// Steps over a byte order mark; false where too little of the text is there to know.
    fn begin(&mut self) -> bool {
        if !self.begun {
            let text = &self.buffer[self.start..];
            if self.end == End::Open && text.len() < BOM.len() && BOM.starts_with(text) {
                return false;
            }
            if text.starts_with(BOM) {
                self.start += BOM.len();
            }
            self.begun = true;
        }
        true
    }

    /// Drops the rest of an overlong row; false where its end is not there yet.
    fn skip_line(&mut self) -> bool {
        match memchr(b'\n', &self.buffer[self.start..]) {
            Some(at) => {
                self.start += at + 1;
                self.line += 1;
                self.skipping = false;
            }
            None => self.start = self.buffer.len(),
        }
        !self.skipping
    }

    /// Steps over blank lines; in JSON also over the commas and brackets of the outer array.
    fn skip_blank(&mut self) {
        while let Some(byte) = self.buffer.get(self.start) {
            match byte {
                b'\n' => self.line += 1,
                b'\r' => {}
                b' ' | b'\t' if self.format != Format::Csv => {}
                b',' | b'[' | b']' if self.format == Format::Json => {}
                _ => break,
            }
            self.start += 1;
        }
    }

    /// Finds the end of the row that begins at `start`; `None` at the end of the text.
    fn scan(&mut self) -> Option<Scan> {
        let text = &self.buffer[self.start..];
        if text.is_empty() {
            return None;
        }
        let finished = self.end == End::Whole;
        let scan = match self.format {
            Format::Csv => scan_csv(text, finished),
            Format::Ndjson => scan_line(text, finished),
            Format::Json => scan_json(text, finished),
        };
        let overlong = match &scan {
            Scan::Row(span) => span.end > ROW_BYTES,
            Scan::More => text.len() > ROW_BYTES,
        };
        let mut span = match scan {
            _ if overlong => self.give_up(),
            Scan::Row(span) => span,
            Scan::More if self.end == End::CutShort => cut_short(text),
            Scan::More => return Some(Scan::More),
        };
        span.end += self.start;
        span.next += self.start;
        Some(Scan::Row(span))
    }

    /// Cuts an overlong row at the end of its first line, or at the bound if that is overlong itself.
    fn give_up(&mut self) -> Span {
        let text = &self.buffer[self.start..];
        let text = &text[..ROW_BYTES.min(text.len())];
        if self.start >= self.looked_at {
            (self.given_up, self.looked_at) = (0, self.start + text.len());
        }
        self.given_up += 1;
        let line_end = if self.given_up < GIVEN_UP { memchr(b'\n', text) } else { memrchr(b'\n', text) };
        match line_end {
            Some(at) => Span {
                end: text[..at].strip_suffix(b"\r").map_or(at, <[u8]>::len),
                next: at + 1,
                lines: count_lines(&text[..=at]),
                kind: SpanKind::Broken(
                    "unclosed",
                    format!(
                        "what begins here is not closed within {ROW_BYTES} bytes: close the quote or bracket"
                    ),
                ),
            },
            None => {
                self.skipping = true;
                Span {
                    end: ROW_BYTES,
                    next: ROW_BYTES,
                    lines: 0,
                    kind: SpanKind::Broken(
                        "too_large",
                        format!(
                            "the line is longer than {ROW_BYTES} bytes, of which the first are kept: rows of up to 1 MiB can be delivered"
                        ),
                    ),
                }
            }
        }
    }

    /// Reads the first line; false where it cannot be read, so that it is a row that cannot be placed, as are all below.
    fn read_header(&mut self, begin: usize, span: &mut Span) -> bool {
        if let SpanKind::Broken(reason, detail) = &mut span.kind {
            *reason = BAD_HEADER;
            detail.insert_str(0, "the first line, which must name the columns, cannot be read: ");
            let line = &self.buffer[begin..span.end.min(begin + HEADER_BEGIN)];
            self.header =
                Some(Header::unreadable(self.dataset, lossy(line, &mut self.lossy), detail.clone()));
            return false;
        }
        let text = lossy(&self.buffer[begin..span.end], &mut self.lossy);
        self.cells.read(text, matches!(span.kind, SpanKind::Quoted));
        self.header = Some(Header::read(self.dataset, text, &self.cells));
        true
    }
}

impl Header {
    fn unreadable(dataset: &Dataset, begin: &str, problem: String) -> Self {
        Self {
            line: begin.into(),
            columns: vec![None; dataset.columns.len()],
            unknown: Vec::new(),
            aside: Vec::new(),
            len: 0,
            problem: Some(problem),
        }
    }

    fn read(dataset: &Dataset, line: &str, cells: &Cells) -> Self {
        let mut header = Self {
            line: line.into(),
            columns: vec![None; dataset.columns.len()],
            unknown: Vec::new(),
            aside: Vec::new(),
            len: cells.len(),
            problem: None,
        };
        let (mut twice, mut unknown) = (None, HashSet::new());
        for position in 0..cells.len() {
            let name = cells.get(position).trim();
            let earlier = match dataset.column(name) {
                Some(column) => header.columns[column].replace(position).is_some(),
                None => {
                    header.unknown.push((position, name.to_owned()));
                    !unknown.insert(name)
                }
            };
            if earlier {
                twice.get_or_insert_with(|| name.to_owned());
            }
        }
        let mut keys = Unknown::new(dataset);
        (header.unknown, header.aside) = header.unknown.into_iter().partition(|(_, name)| keys.admits(name));
        let missing =
            [dataset.id, dataset.severity].into_iter().find(|column| header.columns[*column].is_none());
        header.problem = match (missing, twice) {
            (Some(column), _) => Some(format!(
                "the header has no column `{}`: the first line must name the columns of the data set {}",
                dataset.columns[column].name, dataset.name
            )),
            (None, Some(name)) => {
                Some(format!("the header names `{name}` twice: each column may stand once"))
            }
            (None, None) => None,
        };
        header
    }
}

fn check_cells<'a>(header: &Header, cells: &'a Cells) -> Content<'a> {
    if let Some(problem) = &header.problem {
        return Content::Broken { reason: BAD_HEADER, detail: problem.clone() };
    }
    if cells.len() != header.len {
        let detail = format!("the row has {} cells where the header has {}", cells.len(), header.len);
        return Content::Broken { reason: "cell_count", detail };
    }
    Content::Cells(cells)
}

/// The text, with U+FFFD for what is not UTF-8.
fn lossy<'a>(text: &'a [u8], scratch: &'a mut String) -> &'a str {
    match event::text(text) {
        Cow::Borrowed(text) => text,
        Cow::Owned(text) => {
            *scratch = text;
            scratch
        }
    }
}

/// A row of a CSV ends with its line, unless a quote that begins a cell is open.
fn scan_csv(text: &[u8], finished: bool) -> Scan {
    let (mut at, mut quoted, mut lines) = (0, false, 0);
    let kind = |quoted| if quoted { SpanKind::Quoted } else { SpanKind::Plain };
    while let Some(found) = memchr3(b'"', b'\n', b'\r', &text[at..]) {
        at += found;
        match text[at] {
            b'"' if at == 0 || text[at - 1] == b',' => {
                quoted = true;
                match close_quote(text, at + 1) {
                    Some(close) => {
                        lines += count_lines(&text[at..close]);
                        at = close;
                    }
                    None if finished => return unclosed_quote(text),
                    None => return Scan::More,
                }
            }
            b'"' => at += 1,
            b'\r' if at + 1 == text.len() && !finished => return Scan::More,
            b'\r' if text.get(at + 1) == Some(&b'\n') => {
                return Scan::Row(Span { end: at, next: at + 2, lines: lines + 1, kind: kind(quoted) });
            }
            _ => return Scan::Row(Span { end: at, next: at + 1, lines: lines + 1, kind: kind(quoted) }),
        }
    }
    if finished {
        return Scan::Row(Span { end: text.len(), next: text.len(), lines, kind: kind(quoted) });
    }
    Scan::More
}

/// Where the text goes on behind the quote that closes the one before `at`.
fn close_quote(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr(b'"', &text[at..])? + 1;
        if text.get(at) != Some(&b'"') {
            return Some(at);
        }
        at += 1;
    }
}

/// A quote that is never closed costs its own line alone: what follows is read as rows again.
fn unclosed_quote(text: &[u8]) -> Scan {
    let end = memchr2(b'\n', b'\r', text).unwrap_or(text.len());
    let next = match text[end..] {
        [b'\r', b'\n', ..] => end + 2,
        [] => end,
        _ => end + 1,
    };
    let detail = "a quote is opened that is never closed: a cell that begins with a quote must end with one";
    Scan::Row(Span { end, next, lines: 1, kind: SpanKind::Broken("unclosed_quote", detail.to_owned()) })
}

/// What follows the last row that is whole.
fn cut_short(text: &[u8]) -> Span {
    let detail = "the text breaks off within this row: send the whole text again";
    Span {
        end: text.len(),
        next: text.len(),
        lines: count_lines(text),
        kind: SpanKind::Broken("cut_short", detail.to_owned()),
    }
}

fn count_lines(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

/// A row of NDJSON ends with its line.
fn scan_line(text: &[u8], finished: bool) -> Scan {
    let (line, next, lines) = match memchr(b'\n', text) {
        Some(at) => (&text[..at], at + 1, 1),
        None if finished => (text, text.len(), 0),
        None => return Scan::More,
    };
    Scan::Row(Span { end: line.trim_ascii_end().len(), next, lines, kind: SpanKind::Plain })
}

/// An element ends where the bracket that opens it is closed; anything else at the next comma, bracket or line.
fn scan_json(text: &[u8], finished: bool) -> Scan {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match text[at] {
            b'"' => match close_string(text, at + 1) {
                Some(close) => {
                    at = close;
                    continue;
                }
                None if finished => at = text.len() - 1,
                None => return Scan::More,
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 1 => return element(text, at + 1),
            b'}' | b']' if depth > 1 => depth -= 1,
            b',' | b']' | b'\n' if depth == 0 => return element(text, at),
            _ => {}
        }
        at += 1;
    }
    if finished { element(text, text.len()) } else { Scan::More }
}

fn element(text: &[u8], end: usize) -> Scan {
    let trimmed = text[..end].trim_ascii_end().len();
    Scan::Row(Span { end: trimmed, next: end, lines: count_lines(&text[..end]), kind: SpanKind::Plain })
}

/// Where the text goes on behind the end of the string that was opened before `at`.
fn close_string(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', &text[at..])?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
        if at > text.len() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dataset() -> Dataset {
        Dataset::named("us_accidents").unwrap()
    }

    /// Every row as line, text and cells or the code of what is wrong, the text being pushed in chunks.
    fn read(format: Format, text: &[u8], chunk: usize) -> Vec<(u64, String, Vec<String>)> {
        let dataset = dataset();
        let mut rows = Rows::new(&dataset, format);
        let mut read = Vec::new();
        let mut chunks = text.chunks(chunk.max(1));
        loop {
            match chunks.next() {
                Some(chunk) => rows.push(chunk),
                None => rows.finish(),
            }
            while let Some(row) = rows.next() {
                assert_eq!(row.index, read.len() as u64);
                let cells = match row.content {
                    Content::Cells(cells) => (0..cells.len()).map(|at| cells.get(at).to_owned()).collect(),
                    Content::Json => vec!["json".to_owned()],
                    Content::Broken { reason, .. } => vec![format!("!{reason}")],
                };
                read.push((row.line, String::from_utf8_lossy(row.text).into_owned(), cells));
            }
            if rows.end != End::Open {
                return read;
            }
        }
    }

    #[test]
    fn a_text_is_read_on_at_every_row_as_if_it_had_not_been_left() {
        for (format, text) in [
            (Format::Csv, "\u{feff}ID,\"Severity\"\r\nA-1,3\r\n\r\n\"A\n2\",4\nA-3\nA-4,\"2\"\n"),
            (Format::Ndjson, "{\"ID\":\"1\"}\n\n {\"ID\":\"2\"} \nnope\n{\"ID\":\"3\"}"),
            (Format::Json, "[{\"ID\":\"1\"},\n{\"ID\":[\"2\"]}\n, 7, {\"ID\":\"3\"}]"),
        ] {
            let dataset = dataset();
            let whole = read(format, text.as_bytes(), usize::MAX);
            for left_at in 0..whole.len() {
                let mut rows = Rows::new(&dataset, format);
                rows.push(text.as_bytes());
                for _ in 0..left_at {
                    rows.next().unwrap();
                }
                // Before its first row nothing of a text may have been looked at.
                let position = rows.position().unwrap_or_default();
                let mut rows = Rows::resume(&dataset, format, &position);
                rows.push(&text.as_bytes()[usize::try_from(position.offset).unwrap()..]);
                rows.finish();
                let mut rest = Vec::new();
                while let Some(row) = rows.next() {
                    assert_eq!(row.index, (left_at + rest.len()) as u64);
                    rest.push((row.line, String::from_utf8_lossy(row.text).into_owned()));
                }
                let expected: Vec<_> =
                    whole[left_at..].iter().map(|(line, text, _)| (*line, text.clone())).collect();
                assert_eq!(rest, expected, "{text:?} left at {left_at}");
            }
        }
    }

    fn check(format: Format, text: impl AsRef<[u8]>, expected: &[(u64, &str, &[&str])]) {
        let text = text.as_ref();
        for chunk in [1, 2, 3, 7, 64, usize::MAX] {
            let read = read(format, text, chunk);
            let read: Vec<_> = read
                .iter()
                .map(|(line, text, cells)| {
                    (*line, text.as_str(), cells.iter().map(String::as_str).collect::<Vec<_>>())
                })
                .collect();
            let expected: Vec<_> =
                expected.iter().map(|(line, text, cells)| (*line, *text, cells.to_vec())).collect();
            assert_eq!(read, expected, "in chunks of {chunk}: {:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn csv_rows_end_with_their_line_whatever_ends_it() {
        let expected: &[(u64, &str, &[&str])] = &[(2, "a,1", &["a", "1"]), (3, "b,2", &["b", "2"])];
        for text in [
            "ID,Severity\na,1\nb,2\n",
            "ID,Severity\na,1\nb,2",
            "ID,Severity\r\na,1\r\nb,2\r\n",
            "ID,Severity\ra,1\rb,2\r",
            "\u{feff}ID,Severity\na,1\nb,2\n",
        ] {
            check(Format::Csv, text.replace("\ra", "\r\na").replace("\rb", "\r\nb"), expected);
        }
        check(Format::Csv, "ID,Severity\n\n\na,1\n\n", &[(4, "a,1", &["a", "1"])]);
        check(Format::Csv, "", &[]);
        check(Format::Csv, "ID,Severity\n", &[]);
    }

    #[test]
    fn quoted_cells_may_hold_commas_quotes_and_lines() {
        check(
            Format::Csv,
            "ID,Severity,City\n\"a,\"\"x\"\"\n\n\",3,\"\"\nb,5\" pipe,\"c\"d\nc,\"2\",\"\"\"\"\n",
            &[
                (2, "\"a,\"\"x\"\"\n\n\",3,\"\"", &["a,\"x\"\n\n", "3", ""]),
                (5, "b,5\" pipe,\"c\"d", &["b", "5\" pipe", "cd"]),
                (6, "c,\"2\",\"\"\"\"", &["c", "2", "\""]),
            ],
        );
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_its_own_line_alone() {
        check(
            Format::Csv,
            "ID,Severity\na,\"1\r\nb,2\n",
            &[(2, "a,\"1", &["!unclosed_quote"]), (3, "b,2", &["b", "2"])],
        );
    }

    #[test]
    fn a_row_that_the_end_of_a_broken_stream_cuts_is_never_an_event() {
        let dataset = dataset();
        for (format, whole, cut) in [
            (Format::Csv, "ID,Severity\na,1\n", "b,2"),
            (Format::Csv, "ID,Severity\na,1\n", "b,\"2\n3,\n"),
            (Format::Ndjson, "{\"ID\":1}\n", "{\"ID\":2}"),
            (Format::Json, "[{\"ID\":1},", "{\"ID\":2"),
        ] {
            let mut rows = Rows::new(&dataset, format);
            rows.push(format!("{whole}{cut}").as_bytes());
            rows.finish_cut_short();
            assert!(!matches!(rows.next().unwrap().content, Content::Broken { .. }));
            let row = rows.next().unwrap();
            assert_eq!(row.text, cut.as_bytes());
            assert!(matches!(row.content, Content::Broken { reason: "cut_short", .. }), "{row:?}");
            assert!(rows.next().is_none());
        }
    }

    #[test]
    fn a_row_cut_short_and_a_row_too_long_are_told() {
        check(
            Format::Csv,
            "ID,Severity\na\nb,2,3\nc,3",
            &[(2, "a", &["!cell_count"]), (3, "b,2,3", &["!cell_count"]), (4, "c,3", &["c", "3"])],
        );
    }

    #[test]
    fn a_header_that_names_no_id_or_a_column_twice_places_no_row() {
        check(Format::Csv, "A-1,3\nA-2,4\n", &[(2, "A-2,4", &["!bad_header"])]);
        check(Format::Csv, "ID,Severity,City,City\na,1,b,c\n", &[(2, "a,1,b,c", &["!bad_header"])]);
    }

    #[test]
    fn a_first_line_that_cannot_be_read_is_a_row_that_cannot_be_placed() {
        check(Format::Csv, "ID,\"Severity", &[(1, "ID,\"Severity", &["!bad_header"])]);
        check(
            Format::Csv,
            "ID,\"Severity\na,1\n",
            &[(1, "ID,\"Severity", &["!bad_header"]), (2, "a,1", &["!bad_header"])],
        );
        let long = format!("ID,Severity,{}", "x".repeat(ROW_BYTES));
        for (text, rows) in [(long.clone(), 1), (format!("{long}\na,1,\n"), 2)] {
            let read = read(Format::Csv, text.as_bytes(), 1 << 20);
            assert_eq!((read[0].0, read[0].1.len()), (1, ROW_BYTES));
            assert_eq!(read.len(), rows);
            assert!(read.iter().all(|(_, _, cells)| cells == &["!bad_header"]), "{rows} rows");
        }
    }

    #[test]
    fn a_first_line_that_cannot_be_read_is_none_the_better_for_reading_on() {
        let dataset = dataset();
        let mut rows = Rows::new(&dataset, Format::Csv);
        rows.push(b"ID,\"Severity\na,1\n");
        rows.finish();
        assert!(matches!(rows.next().unwrap().content, Content::Broken { reason: BAD_HEADER, .. }));
        let position = rows.position().unwrap();
        let mut rows = Rows::resume(&dataset, Format::Csv, &position);
        rows.push(b"a,1\n");
        rows.finish();
        assert!(matches!(rows.next().unwrap().content, Content::Broken { reason: BAD_HEADER, .. }));
    }

    #[test]
    fn what_is_kept_of_a_first_line_that_cannot_be_read_fits_into_a_reject() {
        let dataset = dataset();
        let mut rows = Rows::new(&dataset, Format::Csv);
        rows.push("é".repeat(ROW_BYTES).as_bytes());
        rows.finish();
        let row = rows.next().unwrap();
        let header = row.header.unwrap();
        assert!(header.line.len() <= HEADER_BEGIN + 2, "{}", header.line.len());
        let problem = header.problem.as_deref().unwrap();
        assert!(
            problem.starts_with(
                "the first line, which must name the columns, cannot be read: the line is longer"
            )
        );
        let Content::Broken { detail, .. } = row.content else { panic!("it cannot be placed") };
        assert_eq!(detail, problem);
    }

    #[test]
    fn text_that_is_not_utf_8_becomes_u_fffd() {
        check(
            Format::Csv,
            b"ID,Severity,City\na,1,Do\xf1a\n",
            &[(2, "a,1,Do\u{fffd}a", &["a", "1", "Do\u{fffd}a"])],
        );
    }

    #[test]
    fn ndjson_has_a_row_on_each_line() {
        check(
            Format::Ndjson,
            "{\"a\":1}\r\n\n  \n{\"b\":\n [2]",
            &[(1, "{\"a\":1}", &["json"]), (4, "{\"b\":", &["json"]), (5, "[2]", &["json"])],
        );
    }

    #[test]
    fn json_has_a_row_for_each_element_wherever_it_stands() {
        let expected: &[(u64, &str, &[&str])] =
            &[(1, "{\"a\":\"}\\\"]\"}", &["json"]), (1, "{\"b\":[{}]}", &["json"])];
        check(Format::Json, "[{\"a\":\"}\\\"]\"},{\"b\":[{}]}]", expected);
        check(Format::Json, "{\"a\":\"}\\\"]\"}{\"b\":[{}]}", expected);
        check(
            Format::Json,
            "[\n{\"a\":1},\n7, nope\n]",
            &[(2, "{\"a\":1}", &["json"]), (3, "7", &["json"]), (3, "nope", &["json"])],
        );
        check(
            Format::Json,
            "[{\"a\":1},{\"b\":\"2",
            &[(1, "{\"a\":1}", &["json"]), (1, "{\"b\":\"2", &["json"])],
        );
        check(Format::Json, "[]", &[]);
    }

    #[test]
    fn an_overlong_row_is_cut_and_what_follows_is_read() {
        let long = "x".repeat(2 * ROW_BYTES);
        let text = format!("ID,Severity\na,{long}\nb,2\n");
        let read = read(Format::Csv, text.as_bytes(), 1 << 16);
        assert_eq!(read.len(), 2);
        assert_eq!(
            (read[0].0, read[0].1.len(), read[0].2.as_slice()),
            (2, ROW_BYTES, &["!too_large".to_owned()][..])
        );
        assert_eq!((read[1].0, read[1].1.as_str()), (3, "b,2"));

        let text = format!("ID,Severity\na,\"{}\nb,2\n", "y\n".repeat(ROW_BYTES));
        let read = super::tests::read(Format::Csv, text.as_bytes(), 1 << 20);
        assert_eq!(read[0].2, ["!unclosed"], "a quote that is open for too long costs its own line alone");
        assert_eq!(read.last().unwrap().2, ["b", "2"]);
    }

    proptest! {
        #[test]
        fn rows_equal_those_of_the_csv_crate(
            cells in proptest::collection::vec(proptest::collection::vec("[a,\"\n\r é]{0,4}", 2), 1..6),
            crlf in any::<bool>(),
            chunk in 1_usize..9,
        ) {
            let mut writer = csv::WriterBuilder::new()
                .terminator(if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
                .from_writer(Vec::new());
            writer.write_record(["ID", "Severity"]).unwrap();
            for row in &cells {
                writer.write_record(row).unwrap();
            }
            let text = writer.into_inner().unwrap();
            let read: Vec<_> = read(Format::Csv, &text, chunk).into_iter().map(|(_, _, cells)| cells).collect();
            prop_assert_eq!(read, cells);
        }

        #[test]
        fn any_text_at_all_is_read_alike_in_any_chunks(text in "[a,\"\n\r{}\\[\\]:]{0,40}", chunk in 1_usize..5) {
            for format in [Format::Csv, Format::Ndjson, Format::Json] {
                let text = format!("ID,Severity\n{text}");
                prop_assert_eq!(read(format, text.as_bytes(), chunk), read(format, text.as_bytes(), usize::MAX));
            }
        }
    }
}
