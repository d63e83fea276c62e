//! What the scanners of all formats return: where a row ends.

use super::{DOS_END, Skip};

/// The reason code of a last row whose text breaks off.
pub(super) const CUT_SHORT: &str = "cut_short";

/// How the text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextEnd {
    /// More text may be pushed.
    MoreMayFollow,
    /// The text is complete.
    Whole,
    /// The text was cut, so that a last row without a line end is incomplete.
    CutShort,
}

/// Where a row ends, counted from its first byte.
pub(super) struct RowSpan {
    /// End of the row's text.
    pub(super) end: usize,
    /// Beginning of what follows.
    pub(super) next: usize,
    pub(super) kind: RowKind,
}

/// How the text of a row is to be read.
pub(super) enum RowKind {
    /// As it is.
    Plain,
    /// As a CSV row with a quoted cell.
    Quoted,
    /// Not at all: the reason code, and what is wrong.
    Broken(&'static str, String),
}

/// What a scanner found.
pub(super) enum Scan {
    Row(RowSpan),
    /// The row is longer than the bound; its remaining bytes are to be dropped.
    TooLong(Skip),
    /// The row may continue in the next chunk.
    More,
}

impl RowSpan {
    /// A row that ends with its line at `end`.
    pub(super) fn line(text: &[u8], end: usize, kind: RowKind) -> Self {
        let has_both = text[end..].starts_with(b"\r\n");
        Self { end, next: end + 1 + usize::from(has_both), kind }
    }

    /// The beginning of an overlong row, cut at the end of a character.
    pub(super) fn too_large(text: &[u8], bound: usize) -> Self {
        let continues = |at: usize| text.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        let end = (bound.saturating_sub(3)..=bound).rev().find(|at| !continues(*at)).unwrap_or(bound);
        let detail = format!(
            "the row is longer than {bound} bytes, of which the first are kept: rows of up to 1 MiB can be delivered"
        );
        Self { end, next: bound, kind: RowKind::Broken("too_large", detail) }
    }

    /// The row without blank bytes at its end.
    pub(super) fn trimmed(mut self, text: &[u8]) -> Self {
        self.end = text[..self.end].iter().rposition(|byte| !is_blank(*byte)).map_or(0, |last| last + 1);
        self
    }
}

impl RowKind {
    pub(super) fn cut_short() -> Self {
        let detail = "the text breaks off within this row: send the whole text again";
        Self::Broken(CUT_SHORT, detail.to_owned())
    }
}

/// Whether a byte is blank between rows of JSON.
pub(super) fn is_blank(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == DOS_END
}

pub(super) fn line_end(text: &[u8]) -> Option<usize> {
    memchr::memchr2(b'\n', b'\r', text)
}
