//! The cells of a CSV row.

use super::{DOS_END, span::RowKind};

/// The cells of a row, joined in one text.
#[derive(Debug, Default)]
pub struct Cells {
    text: String,
    ends: Vec<usize>,
    /// Bytes between two cells: the separator if the row is unchanged, zero if its quotes were resolved.
    gap: usize,
}

impl Cells {
    /// The text of the cell at that position; blank if the row has fewer cells.
    #[must_use]
    pub fn get(&self, position: usize) -> &str {
        let Some(end) = self.ends.get(position) else { return "" };
        let start = if position == 0 { 0 } else { self.ends[position - 1] + self.gap };
        &self.text[start..*end]
    }

    /// The number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether all cells from that position on contain only white space or the end-of-text mark of DOS programs.
    #[must_use]
    pub fn are_blank_from(&self, position: usize) -> bool {
        let is_blank = |character: char| character.is_whitespace() || character == char::from(DOS_END);
        (position..self.len()).all(|position| self.get(position).chars().all(is_blank))
    }

    /// Splits the text of a row into its cells; `quoted` says whether a cell in it begins with a quote.
    pub(super) fn read(&mut self, row: &str, quoted: bool, separator: u8) {
        self.text.clear();
        self.ends.clear();
        self.gap = usize::from(!quoted);
        if quoted {
            let mut rest = row;
            while let Some(next) = self.read_cell(rest, char::from(separator)) {
                rest = next;
            }
            return;
        }
        // Copying the row once is faster than copying each cell.
        self.text.push_str(row);
        let separators = row.bytes().enumerate().filter(|(_, byte)| *byte == separator);
        self.ends.extend(separators.map(|(at, _)| at));
        self.ends.push(row.len());
    }

    /// Takes the first cell off `rest`. Returns what follows its separator, if there is one.
    fn read_cell<'r>(&mut self, rest: &'r str, separator: char) -> Option<&'r str> {
        let mut tail = rest;
        if let Some(mut quoted) = rest.strip_prefix('"') {
            // Inside the quotes, a doubled quote is a quote; the first single one closes them.
            loop {
                let Some((text, after)) = quoted.split_once('"') else {
                    self.text.push_str(quoted);
                    tail = "";
                    break;
                };
                self.text.push_str(text);
                match after.strip_prefix('"') {
                    Some(after) => {
                        self.text.push('"');
                        quoted = after;
                    }
                    None => {
                        tail = after;
                        break;
                    }
                }
            }
        }
        let (text, next) = match tail.split_once(separator) {
            Some((text, next)) => (text, Some(next)),
            None => (tail, None),
        };
        self.text.push_str(text);
        self.ends.push(self.text.len());
        next
    }
}

/// Whether a CSV row has only blank cells, as spreadsheets write below a table. Its text may be read into `cells`.
pub(super) fn has_no_text(row: &[u8], kind: &RowKind, separator: u8, cells: &mut Cells) -> bool {
    let is_blank = |byte: &u8| *byte == separator || matches!(byte, b' ' | b'\t' | b'"' | &DOS_END);
    if !row.first().is_some_and(is_blank) || !row.iter().all(is_blank) {
        return false;
    }
    match kind {
        RowKind::Plain => !row.contains(&b'"'),
        RowKind::Quoted => {
            cells.read(&String::from_utf8_lossy(row), true, separator);
            cells.are_blank_from(0)
        }
        RowKind::Broken(..) => false,
    }
}
