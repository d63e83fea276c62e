//! Finds the end of a CSV row: the end of its line, unless a quoted cell is still open.
//!
//! The quote at the start of a cell is wrong if it is not closed within the bound. It is also wrong if its closing
//! quote is followed by anything but a separator or a line end. The row then ends with the line on which that cell
//! begins, and what follows is read as rows again.
//!
//! No byte is scanned more than a few times: the bytes scanned for the end of a wrong quote contain no quote that could
//! open another such cell.

use memchr::{memchr, memchr2, memchr3};

use super::{
    Cells, DOS_END, Skip,
    span::{RowKind, RowSpan, Scan, TextEnd, line_end},
};

/// The reason code for text after a closing quote.
const BAD_QUOTE: &str = "bad_quote";

/// How far a row was scanned, so that the scan continues there when more text is pushed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Scanned {
    /// Bytes of the row that were scanned.
    at: usize,
    /// Whether any of its cells is quoted.
    quoted: bool,
    /// The beginning of the cell whose quote is open.
    open: Option<usize>,
}

/// Finds the end of the row at the start of `text`.
pub(super) fn scan(text: &[u8], scanned: &mut Scanned, bound: usize, end: TextEnd, separator: u8) -> Scan {
    // A row of `bound` bytes ends with the byte after them.
    let view = &text[..text.len().min(bound + 1)];
    let end_of_view = if text.len() > bound { TextEnd::Open } else { end };
    let mut state = *scanned;
    loop {
        let step = match state.open {
            Some(open) => match close(view, &mut state, open, bound, separator) {
                Closing::Closed => continue,
                Closing::Wrong => wrong_quote(view, open, BAD_QUOTE, end_of_view),
                Closing::Open => None,
            },
            None => match memchr3(b'"', b'\n', b'\r', view.get(state.at..).unwrap_or_default()) {
                Some(found) if view[state.at + found] == b'"' => {
                    let at = state.at + found;
                    state.at = at + 1;
                    if (at == 0 || view[at - 1] == separator) && at < bound {
                        (state.open, state.quoted) = (Some(at), true);
                    }
                    continue;
                }
                Some(found) => {
                    let kind = if state.quoted { RowKind::Quoted } else { RowKind::Plain };
                    Some(RowSpan::line(text, state.at + found, kind))
                }
                None => {
                    state.at = view.len();
                    None
                }
            },
        };
        return match step {
            Some(span) => Scan::Row(span),
            None => {
                *scanned = state;
                unfinished(text, state, bound, end)
            }
        };
    }
}

enum Closing {
    /// The cell is closed correctly.
    Closed,
    /// Text follows the closing quote.
    Wrong,
    /// The closing quote, or the byte after it, is not in the text yet.
    Open,
}

/// Searches the quote that closes the cell at `open`.
fn close(view: &[u8], state: &mut Scanned, open: usize, bound: usize, separator: u8) -> Closing {
    state.at = state.at.max(open + 1);
    while let Some(found) = memchr(b'"', view.get(state.at..).unwrap_or_default()) {
        let quote = state.at + found;
        if quote == bound {
            break;
        }
        match view.get(quote + 1) {
            Some(b'"') => state.at = quote + 2,
            Some(byte) if *byte == separator || matches!(byte, b'\n' | b'\r') => {
                (state.at, state.open) = (quote + 1, None);
                return Closing::Closed;
            }
            Some(_) => {
                state.at = quote;
                return Closing::Wrong;
            }
            None => {
                state.at = quote;
                return Closing::Open;
            }
        }
    }
    state.at = state.at.max(view.len());
    Closing::Open
}

/// The row that ends with the line on which a cell with a wrong quote begins; `None` if the line end is not in the text
/// yet.
fn wrong_quote(view: &[u8], open: usize, reason: &'static str, end: TextEnd) -> Option<RowSpan> {
    let detail = match reason {
        BAD_QUOTE => {
            "text follows the quote that closes a cell: expected a separator or the end of the line; double a quote that is part of a quoted cell"
        }
        _ => "a quote is opened that is never closed: a cell that begins with a quote must end with one",
    };
    let kind = RowKind::Broken(reason, detail.to_owned());
    match memchr2(b'\n', b'\r', &view[open..]) {
        Some(found) => Some(RowSpan::line(view, open + found, kind)),
        None if end == TextEnd::Whole => Some(RowSpan { end: view.len(), next: view.len(), kind }),
        None => None,
    }
}

/// What a row is if its end is not in the available bytes.
fn unfinished(text: &[u8], state: Scanned, bound: usize, end: TextEnd) -> Scan {
    if text.len() > bound {
        let view = &text[..=bound];
        let wrong = state.open.and_then(|open| wrong_quote(view, open, "unclosed_quote", TextEnd::Open));
        return wrong.map_or(Scan::TooLong(Skip::Line), Scan::Row);
    }
    let whole = |kind| Scan::Row(RowSpan { end: text.len(), next: text.len(), kind });
    match (end, state.open) {
        (TextEnd::Open, _) => Scan::More,
        (TextEnd::CutShort, _) => whole(RowKind::cut_short()),
        (TextEnd::Whole, None) => whole(if state.quoted { RowKind::Quoted } else { RowKind::Plain }),
        // A quote at the very end closes the cell.
        (TextEnd::Whole, Some(open)) if state.at + 1 == text.len() && state.at > open => {
            whole(RowKind::Quoted)
        }
        (TextEnd::Whole, Some(open)) => match wrong_quote(text, open, "unclosed_quote", TextEnd::Whole) {
            Some(span) => Scan::Row(span),
            None => whole(RowKind::Quoted),
        },
    }
}

/// Finds the end of a line of NDJSON. A line feed or a carriage return ends it: neither can be part of a JSON string.
pub(super) fn scan_line(text: &[u8], bound: usize, end: TextEnd) -> Scan {
    let view = &text[..text.len().min(bound + 1)];
    if let Some(at) = line_end(view) {
        return Scan::Row(RowSpan::line(text, at, RowKind::Plain).trimmed(text));
    }
    if text.len() > bound {
        return Scan::TooLong(Skip::Line);
    }
    let kind = match end {
        TextEnd::Open => return Scan::More,
        TextEnd::Whole => RowKind::Plain,
        TextEnd::CutShort => RowKind::cut_short(),
    };
    Scan::Row(RowSpan { end: text.len(), next: text.len(), kind }.trimmed(text))
}

/// Whether a CSV row has only blank cells, as spreadsheets write below a table.
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
