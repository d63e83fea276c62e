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
    Skip,
    span::{RowKind, RowSpan, Scan, TextEnd},
};

/// How far a row was scanned, so that the scan continues there when more text is pushed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Scanned {
    /// Bytes of the row that were scanned.
    bytes: usize,
    /// Whether any of its cells is quoted.
    is_quoted: bool,
    /// Where the cell begins whose closing quote is not found yet.
    open_quote: Option<usize>,
}

impl Scanned {
    /// The kind of the row if it ends here without a fault.
    fn kind(self) -> RowKind {
        if self.is_quoted { RowKind::Quoted } else { RowKind::Plain }
    }
}

/// Whether a quoted cell is closed.
enum Closing {
    /// The cell is closed correctly.
    Closed,
    /// Text follows the closing quote.
    TextAfterQuote,
    /// The closing quote, or the byte after it, is not in the text yet.
    NotFound,
}

/// Why the quote at the start of a cell is wrong.
#[derive(Clone, Copy)]
enum QuoteError {
    TextAfterQuote,
    NotClosed,
}

impl QuoteError {
    fn reason(self) -> &'static str {
        match self {
            Self::TextAfterQuote => "bad_quote",
            Self::NotClosed => "unclosed_quote",
        }
    }

    fn detail(self) -> &'static str {
        match self {
            Self::TextAfterQuote => {
                "text follows the quote that closes a cell: expected a separator or the end of the line; double a quote that is part of a quoted cell"
            }
            Self::NotClosed => {
                "a quote is opened that is never closed: a cell that begins with a quote must end with one"
            }
        }
    }
}

/// Finds the end of the row at the start of `text`.
pub(super) fn scan(text: &[u8], scanned: &mut Scanned, bound: usize, end: TextEnd, separator: u8) -> Scan {
    // One byte more than the bound, because a row of exactly `bound` bytes is followed by its line end.
    let window = &text[..text.len().min(bound + 1)];
    let end_of_window = if text.len() > bound { TextEnd::MoreMayFollow } else { end };
    let mut scan = *scanned;
    let row_end = loop {
        if scan.open_quote.is_none()
            && let Some(line_end) = scan_unquoted(window, &mut scan, bound, separator)
        {
            break Some(RowSpan::line(text, line_end, scan.kind()));
        }
        let Some(open) = scan.open_quote else { break None };
        match find_closing_quote(window, &mut scan, open, bound, separator) {
            Closing::Closed => {}
            Closing::TextAfterQuote => {
                break end_broken_row(window, open, QuoteError::TextAfterQuote, end_of_window);
            }
            Closing::NotFound => break None,
        }
    };
    match row_end {
        Some(span) => Scan::Row(span),
        None => {
            *scanned = scan;
            unfinished(text, scan, bound, end)
        }
    }
}

/// Searches for the line end of the row, outside quoted cells. `None` if a quote opens a cell before it, which `scan`
/// then has, or if the line end is not in the text yet.
fn scan_unquoted(window: &[u8], scan: &mut Scanned, bound: usize, separator: u8) -> Option<usize> {
    while let Some(found) = memchr3(b'"', b'\n', b'\r', window.get(scan.bytes..).unwrap_or_default()) {
        let at = scan.bytes + found;
        if window[at] != b'"' {
            return Some(at);
        }
        scan.bytes = at + 1;
        // Within a cell that does not begin with a quote, a quote is text.
        let begins_cell = at == 0 || window[at - 1] == separator;
        if begins_cell && at < bound {
            (scan.open_quote, scan.is_quoted) = (Some(at), true);
            return None;
        }
    }
    scan.bytes = window.len();
    None
}

/// Searches for the quote that closes the cell at `open`.
fn find_closing_quote(
    window: &[u8],
    scan: &mut Scanned,
    open: usize,
    bound: usize,
    separator: u8,
) -> Closing {
    scan.bytes = scan.bytes.max(open + 1);
    while let Some(found) = memchr(b'"', window.get(scan.bytes..).unwrap_or_default()) {
        let quote = scan.bytes + found;
        // A closing quote beyond the bound comes too late.
        if quote == bound {
            break;
        }
        match window.get(quote + 1) {
            // A doubled quote is part of the cell.
            Some(b'"') => scan.bytes = quote + 2,
            Some(byte) if *byte == separator || matches!(byte, b'\n' | b'\r') => {
                (scan.bytes, scan.open_quote) = (quote + 1, None);
                return Closing::Closed;
            }
            Some(_) => {
                scan.bytes = quote;
                return Closing::TextAfterQuote;
            }
            None => {
                scan.bytes = quote;
                return Closing::NotFound;
            }
        }
    }
    scan.bytes = scan.bytes.max(window.len());
    Closing::NotFound
}

/// Ends a row with the line on which the cell with the wrong quote begins; `None` if the line end is not in the text
/// yet.
fn end_broken_row(window: &[u8], open: usize, error: QuoteError, end: TextEnd) -> Option<RowSpan> {
    let kind = RowKind::Broken(error.reason(), error.detail().to_owned());
    match memchr2(b'\n', b'\r', &window[open..]) {
        Some(found) => Some(RowSpan::line(window, open + found, kind)),
        None if end == TextEnd::Whole => Some(RowSpan { end: window.len(), next: window.len(), kind }),
        None => None,
    }
}

/// What a row is if its end is not in the available bytes.
fn unfinished(text: &[u8], scan: Scanned, bound: usize, end: TextEnd) -> Scan {
    if text.len() > bound {
        let window = &text[..=bound];
        let broken = scan
            .open_quote
            .and_then(|open| end_broken_row(window, open, QuoteError::NotClosed, TextEnd::MoreMayFollow));
        return broken.map_or(Scan::TooLong(Skip::Line), Scan::Row);
    }
    let whole = |kind| Scan::Row(RowSpan { end: text.len(), next: text.len(), kind });
    match (end, scan.open_quote) {
        (TextEnd::MoreMayFollow, _) => Scan::More,
        (TextEnd::CutShort, _) => whole(RowKind::cut_short()),
        (TextEnd::Whole, None) => whole(scan.kind()),
        // A quote at the very end closes the cell.
        (TextEnd::Whole, Some(open)) if scan.bytes + 1 == text.len() && scan.bytes > open => {
            whole(RowKind::Quoted)
        }
        (TextEnd::Whole, Some(open)) => {
            match end_broken_row(text, open, QuoteError::NotClosed, TextEnd::Whole) {
                Some(span) => Scan::Row(span),
                None => whole(RowKind::Quoted),
            }
        }
    }
}
