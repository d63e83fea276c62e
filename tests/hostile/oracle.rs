//! The rows of a text, found in a slow and plain way: with the whole text in memory and any look-ahead.
//!
//! Shares no code with the reader, so that a test can compare the two. Both the fuzz targets and the reader's own tests
//! use this module.

use std::collections::HashSet;

use shared::data::dataset::Dataset;

use super::{Format, Position, RowContent, Rows};

/// The byte order mark.
const BOM: &[u8] = b"\xEF\xBB\xBF";

/// A row: its line, its text and its outcome.
type Read = (u64, Vec<u8>, String);

/// Checks that each byte of a text is in a header, in exactly one row or between two. Checks also that the reader finds
/// these rows in any chunks, and if it stops and resumes after each row and each chunk.
pub(crate) fn check(dataset: &Dataset, format: Format, text: &[u8], bound: usize, chunk: usize) {
    let pieces = pieces(format.name(), text, bound);
    let mut until = 0;
    let marks = marks(text);
    // A row that has only separators is blank, too.
    let mut headers = pieces.iter().filter(|piece| piece.what == "header");
    let declared = headers.find_map(|piece| Oracle { text, bound }.declared(piece));
    let may_be_between = |byte: &u8| is_between(format.name(), *byte) || Some(*byte) == declared;
    for piece in &pieces {
        assert!(until <= piece.begin && piece.begin < piece.end && piece.end <= piece.until, "{piece:?}");
        let between = &text[until.max(marks)..piece.begin];
        assert!(between.iter().all(may_be_between), "before {piece:?}");
        until = piece.until;
    }
    assert!(text[until.max(marks)..].iter().all(may_be_between), "at the end");
    let expected: Vec<Read> = pieces
        .into_iter()
        .filter(|piece| piece.what != "header")
        .map(|piece| (piece.line, text[piece.begin..piece.end].to_vec(), piece.what))
        .collect();
    for (chunk, is_left) in [(text.len().max(1), false), (chunk, false), (chunk, true)] {
        let found = read(dataset, format, text, bound, chunk, is_left);
        assert_eq!(found, expected, "{format:?} in chunks of {chunk}, left: {is_left}");
    }
}

fn read(
    dataset: &Dataset,
    format: Format,
    text: &[u8],
    bound: usize,
    chunk: usize,
    is_left: bool,
) -> Vec<Read> {
    let mut rows = Rows::new(dataset, format).with_row_bytes(bound);
    let (mut found, mut pushed) = (Vec::new(), 0);
    let resumed = |rows: &Rows<'_>, pushed: usize| {
        let position = serde_json::to_string(&rows.position().unwrap_or_default()).unwrap();
        let position: Position = serde_json::from_str(&position).unwrap();
        let mut rows = Rows::resume(dataset, format, &position).with_row_bytes(bound);
        rows.push(&text[usize::try_from(position.offset).unwrap()..pushed]);
        rows
    };
    loop {
        let end = text.len().min(pushed + chunk);
        rows.push(&text[pushed..end]);
        pushed = end;
        loop {
            if pushed == text.len() {
                rows.finish();
            }
            let Some(row) = rows.next() else { break };
            assert_eq!(row.index, found.len() as u64);
            let what = match row.content {
                RowContent::Cells(cells) => {
                    let cells: Vec<&str> = (0..cells.len()).map(|position| cells.get(position)).collect();
                    format!("{cells:?}")
                }
                RowContent::Json => "json".to_owned(),
                RowContent::Broken { reason, .. } => format!("!{reason}"),
            };
            found.push((row.line, row.text.to_vec(), what));
            if is_left {
                rows = resumed(&rows, pushed);
            }
        }
        if pushed == text.len() {
            assert_eq!(rows.no_rows().is_some(), found.is_empty());
            return found;
        }
        if is_left {
            rows = resumed(&rows, pushed);
        }
    }
}

/// A piece of a text that is not blank.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// Where its text begins.
    begin: usize,
    /// Where its text ends.
    end: usize,
    /// The end of its dropped bytes; its own end unless it is too large.
    until: usize,
    /// The line on which it begins.
    line: u64,
    /// `header`, the cells of a row, `json`, or the reason of a reject after an exclamation mark.
    what: String,
}

/// The pieces of a text, in order.
fn pieces(format: &str, text: &[u8], bound: usize) -> Vec<Piece> {
    let (oracle, begin) = (Oracle { text, bound }, marks(text));
    match format {
        "csv" => oracle.csv(begin),
        "ndjson" => oracle.ndjson(begin),
        _ => oracle.json(begin),
    }
}

/// The bytes of the byte order marks before a text.
fn marks(text: &[u8]) -> usize {
    text.chunks(BOM.len()).take_while(|mark| *mark == BOM).count() * BOM.len()
}

/// Whether a byte may be between two pieces of a text.
fn is_between(format: &str, byte: u8) -> bool {
    let structure: &[u8] = match format {
        "csv" => b",;|\"",
        "ndjson" => b"",
        _ => b",[]",
    };
    is_blank(byte) || structure.contains(&byte)
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0c | 0x1a)
}

fn is_line_end(byte: u8) -> bool {
    byte == b'\n' || byte == b'\r'
}

struct Oracle<'a> {
    text: &'a [u8],
    bound: usize,
}

/// A CSV row with the places of its quoted cells and of their closing quotes, if any.
struct CsvRow {
    quoted: Vec<(usize, Option<usize>)>,
    cells: Vec<String>,
    /// Its end, unless a quote is wrong.
    end: Option<usize>,
}

/// Where an element ends, and how.
struct Element {
    end: usize,
    /// Its last bracket closes it.
    is_closed: bool,
    /// A bracket in it is not closed.
    is_open: bool,
}

impl Oracle<'_> {
    fn piece(&self, begin: usize, end: usize, what: &str) -> Piece {
        let mut line = 1;
        for at in 0..begin {
            let is_pair = self.text[at] == b'\r' && self.text.get(at + 1) == Some(&b'\n');
            // The two bytes of a pair are one end of a line, which counts after both.
            if is_line_end(self.text[at]) && !(is_pair && at + 1 < begin) {
                line += 1;
            }
        }
        Piece { begin, end, until: end, line, what: what.to_owned() }
    }

    fn too_large(&self, begin: usize, until: usize) -> Piece {
        let limit = begin + self.bound;
        let is_within_a_character =
            |at: &usize| self.text.get(*at).is_some_and(|byte| (0x80..0xc0).contains(byte));
        let mut ends = (begin + self.bound.saturating_sub(3)..=limit).rev();
        let end = ends.find(|at| !is_within_a_character(at)).unwrap_or(limit);
        Piece { until, ..self.piece(begin, end, "!too_large") }
    }

    fn line_end(&self, from: usize) -> usize {
        (from..self.text.len()).find(|at| is_line_end(self.text[*at])).unwrap_or(self.text.len())
    }

    fn csv(&self, mut at: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        // The least and the most cells of a row; `None` under an unusable header.
        let mut header: Option<Option<(usize, usize)>> = None;
        // The separator of cells, once it is known.
        let mut separator = None;
        while at < self.text.len() {
            if is_line_end(self.text[at]) {
                at += 1;
                continue;
            }
            let (now, row, mut piece) = self.csv_first(at, separator);
            at = piece.until;
            let is_whole = !piece.what.starts_with('!');
            if self.has_no_text(now, &row, &piece) {
                continue;
            }
            if separator.is_none()
                && is_whole
                && let Some(declared) = self.declared(&piece)
            {
                separator = Some(declared);
                piece.what = String::from("header");
                pieces.push(piece);
                continue;
            }
            separator = Some(now);
            match header {
                None => {
                    let shape = is_whole.then(|| header_shape(&row.cells)).flatten();
                    piece.what = String::from(if shape.is_some() { "header" } else { "!bad_header" });
                    header = Some(shape);
                }
                Some(_) if !is_whole => {}
                Some(None) => piece.what = String::from("!bad_header"),
                Some(Some((least, most))) => {
                    let extra = row.cells.iter().skip(most);
                    let is_blank = |cell: &String| {
                        cell.chars().all(|character| character.is_whitespace() || character == '\u{1a}')
                    };
                    if row.cells.len() < least || !extra.into_iter().all(is_blank) {
                        piece.what = String::from("!cell_count");
                    }
                }
            }
            pieces.push(piece);
        }
        pieces
    }

    /// The row at a place with the known separator, or else with the one that makes it a header.
    fn csv_first(&self, at: usize, separator: Option<u8>) -> (u8, CsvRow, Piece) {
        let read = |separator: u8| {
            let row = self.csv_row(at, separator);
            let piece = self.csv_piece(at, &row);
            (separator, row, piece)
        };
        if let Some(separator) = separator {
            return read(separator);
        }
        let is_header = |(_, row, piece): &(u8, CsvRow, Piece)| {
            let names: Vec<String> = row.cells.iter().map(|cell| cell.trim().to_ascii_lowercase()).collect();
            let has = |name: &str| names.iter().any(|other| other == name);
            !piece.what.starts_with('!') && has("id") && has("severity")
        };
        let commas = read(b',');
        let is_blank = |(now, row, piece): &(u8, CsvRow, Piece)| self.has_no_text(*now, row, piece);
        let declares = !commas.2.what.starts_with('!') && self.declared(&commas.2).is_some();
        if is_blank(&commas) || declares || is_header(&commas) {
            return commas;
        }
        let mut others: Vec<_> = [b';', b'\t', b'|'].into_iter().map(read).collect();
        if let Some(blank) = others.iter().position(is_blank) {
            return others.swap_remove(blank);
        }
        others.retain(is_header);
        if others.len() == 1 { others.remove(0) } else { commas }
    }

    fn has_no_text(&self, separator: u8, row: &CsvRow, piece: &Piece) -> bool {
        let text = &self.text[piece.begin..piece.end];
        let is_blank_byte = |byte: &u8| *byte == separator || matches!(byte, b'"' | b' ' | b'\t' | 0x1a);
        !piece.what.starts_with('!')
            && row.cells.iter().all(|cell| cell.bytes().all(is_blank))
            && text.iter().all(is_blank_byte)
    }

    /// The separator that a row declares: `sep=;`.
    fn declared(&self, piece: &Piece) -> Option<u8> {
        let text = std::str::from_utf8(&self.text[piece.begin..piece.end]).ok()?;
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let (name, separator) = text.split_once('=')?;
        let is_separator = separator == "\t" || separator.bytes().all(|byte| byte.is_ascii_punctuation());
        (name.eq_ignore_ascii_case("sep") && separator.len() == 1 && separator != "\"" && is_separator)
            .then(|| separator.as_bytes()[0])
    }

    fn csv_row(&self, begin: usize, separator: u8) -> CsvRow {
        let mut row = CsvRow { quoted: Vec::new(), cells: Vec::new(), end: None };
        let mut at = begin;
        loop {
            let mut cell = Vec::new();
            if self.text.get(at) == Some(&b'"') {
                let open = at;
                at += 1;
                loop {
                    match self.text.get(at) {
                        None => {
                            row.quoted.push((open, None));
                            return row;
                        }
                        Some(b'"') if self.text.get(at + 1) == Some(&b'"') => {
                            cell.push(b'"');
                            at += 2;
                        }
                        Some(b'"') => break,
                        Some(byte) => {
                            cell.push(*byte);
                            at += 1;
                        }
                    }
                }
                row.quoted.push((open, Some(at)));
                at += 1;
                if self.text.get(at).is_some_and(|byte| *byte != separator && !is_line_end(*byte)) {
                    return row;
                }
            } else {
                while self.text.get(at).is_some_and(|byte| *byte != separator && !is_line_end(*byte)) {
                    cell.push(self.text[at]);
                    at += 1;
                }
            }
            row.cells.push(String::from_utf8_lossy(&cell).into_owned());
            if self.text.get(at) != Some(&separator) {
                row.end = Some(at);
                return row;
            }
            at += 1;
        }
    }

    fn csv_piece(&self, begin: usize, row: &CsvRow) -> Piece {
        let limit = begin + self.bound;
        let wrong = |cell: usize, reason: &str| {
            let end = self.line_end(cell);
            (end <= limit).then(|| self.piece(begin, end, reason))
        };
        let found = match (row.end, row.quoted.last()) {
            (Some(end), _) if end <= limit => Some(self.piece(begin, end, &format!("{:?}", row.cells))),
            (None, Some((cell, Some(close)))) if *close < limit => wrong(*cell, "!bad_quote"),
            (None, Some((cell, None))) if self.text.len() <= limit => wrong(*cell, "!unclosed_quote"),
            _ => {
                let is_open = |(open, close): &&(usize, Option<usize>)| {
                    *open < limit && close.is_none_or(|close| close >= limit)
                };
                row.quoted.iter().find(is_open).and_then(|(cell, _)| wrong(*cell, "!unclosed_quote"))
            }
        };
        found.unwrap_or_else(|| self.too_large(begin, self.line_end(limit)))
    }

    fn ndjson(&self, mut at: usize) -> Vec<Piece> {
        let mut pieces = Vec::new();
        while at < self.text.len() {
            if is_blank(self.text[at]) {
                at += 1;
                continue;
            }
            let end = self.line_end(at);
            pieces.push(if end - at <= self.bound {
                self.piece(at, self.trimmed(end), "json")
            } else {
                self.too_large(at, end)
            });
            at = end;
        }
        pieces
    }

    fn trimmed(&self, end: usize) -> usize {
        self.text[..end].iter().rposition(|byte| !is_blank(*byte)).map_or(0, |last| last + 1)
    }

    fn json(&self, mut at: usize) -> Vec<Piece> {
        let (mut pieces, mut array) = (Vec::new(), false);
        while at < self.text.len() {
            match self.text[at] {
                b'[' if !array => array = true,
                b']' if array => array = false,
                b',' => {}
                byte if is_blank(byte) => {}
                _ => {
                    let element = self.element(at, array);
                    let what = if element.is_open { "!not_json" } else { "json" };
                    pieces.push(if element.end - at > self.bound {
                        self.too_large(at, element.end)
                    } else {
                        let end = if element.is_closed { element.end } else { self.trimmed(element.end) };
                        self.piece(at, end, what)
                    });
                    at = element.end;
                    continue;
                }
            }
            at += 1;
        }
        pieces
    }

    fn element(&self, begin: usize, array: bool) -> Element {
        let (mut stack, mut last, mut at) = (Vec::new(), None, begin);
        let unclosed = |end, stack: &Vec<u8>| Element { end, is_closed: false, is_open: !stack.is_empty() };
        while let Some(byte) = self.text.get(at) {
            let stray = stack.is_empty() && last.is_some();
            match byte {
                b'\n' | b'\r' | b'{' | b'[' | b']' | b',' if stray => return unclosed(at, &stack),
                b' ' | b'\t' | b'\n' | b'\r' => {
                    at += 1;
                    continue;
                }
                // Where no object can begin, a bracket begins the next element or nothing.
                b'{' if stack.last() == Some(&b'{') && last != Some(b':') && self.begins_object(at) => {
                    return unclosed(at, &stack);
                }
                b'{' if stack.last() == Some(&b'{') && last != Some(b':') => {}
                b'{' | b'[' => stack.push(*byte),
                b'}' | b']' => {
                    let opens = if *byte == b'}' { b'{' } else { b'[' };
                    match stack.iter().rposition(|open| *open == opens) {
                        Some(0) => return Element { end: at + 1, is_closed: true, is_open: false },
                        Some(open) => stack.truncate(open),
                        None if !stack.is_empty() && *byte == b']' && array => return unclosed(at, &stack),
                        None => {}
                    }
                }
                b'"' => match self.string(at) {
                    Err(next) => return unclosed(next, &stack),
                    Ok(end) => {
                        last = Some(b'"');
                        at = end;
                        continue;
                    }
                },
                _ => {}
            }
            last = Some(*byte);
            at += 1;
        }
        unclosed(self.text.len(), &stack)
    }

    fn begins_object(&self, at: usize) -> bool {
        self.text.get(at + 1).is_some_and(|byte| b"\"} \t\n\r".contains(byte))
    }

    /// The end of the string at `open`; as error the start of the next element if the string is not closed.
    fn string(&self, open: usize) -> Result<usize, usize> {
        let (mut at, mut content) = (open + 1, Vec::new());
        loop {
            match self.text.get(at) {
                None => return Ok(self.text.len()),
                Some(byte) if is_line_end(*byte) => return Ok(at),
                Some(b'\\') => {
                    match self.text.get(at + 1) {
                        Some(byte) if !is_line_end(*byte) => at += 2,
                        _ => at += 1,
                    }
                    content.push(None);
                }
                Some(b'"') => break,
                Some(byte) => {
                    content.push(Some(*byte));
                    at += 1;
                }
            }
        }
        let word = self.text.get(at + 1).is_some_and(|byte| !b" \t\n\r,:}]".contains(byte));
        let blank = |byte: &Option<u8>| matches!(byte, Some(b' ' | b'\t'));
        if word && content.pop() == Some(Some(b'{')) {
            while content.last().is_some_and(blank) {
                content.pop();
            }
            if content.last() == Some(&Some(b',')) {
                content.pop();
            }
            while content.last().is_some_and(blank) {
                content.pop();
            }
            if content.last() == Some(&Some(b'}')) {
                return Err(at - 1);
            }
        }
        Ok(at + 1)
    }
}

/// The least and the most cells of a row under a header; `None` if the header is unusable.
fn header_shape(cells: &[String]) -> Option<(usize, usize)> {
    let trimmed = cells.iter().map(|cell| cell.trim()).enumerate();
    let named: Vec<(usize, &str)> = trimmed.filter(|(_, cell)| !cell.is_empty()).collect();
    let names: HashSet<&str> = named.iter().map(|(_, name)| *name).collect();
    let has = |wanted: &str| names.iter().any(|name| name.eq_ignore_ascii_case(wanted));
    let is_usable = names.len() == named.len() && has("ID") && has("Severity");
    is_usable.then(|| (named.last().map_or(0, |(at, _)| at + 1), cells.len()))
}
