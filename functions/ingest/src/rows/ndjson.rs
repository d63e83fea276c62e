//! Finds the end of a row of NDJSON: the end of its line.

use super::{
    Skip,
    span::{RowKind, RowSpan, Scan, TextEnd, line_end},
};

/// Finds the end of the row at the start of `text`. A line feed or a carriage return ends it: neither can be part of a
/// JSON string.
pub(super) fn scan(text: &[u8], bound: usize, end: TextEnd) -> Scan {
    // One byte more than the bound, because a row of exactly `bound` bytes is followed by its line end.
    let window = &text[..text.len().min(bound + 1)];
    if let Some(at) = line_end(window) {
        return Scan::Row(RowSpan::line(text, at, RowKind::Plain).trimmed(text));
    }
    if text.len() > bound {
        return Scan::TooLong(Skip::Line);
    }
    let kind = match end {
        TextEnd::MoreMayFollow => return Scan::More,
        TextEnd::Whole => RowKind::Plain,
        TextEnd::CutShort => RowKind::cut_short(),
    };
    Scan::Row(RowSpan { end: text.len(), next: text.len(), kind }.trimmed(text))
}
