//! Finds the end of an element of a JSON text.
//!
//! Every element of a valid text is cut exactly, whatever its layout. An unclosed element is recognised at the first
//! byte that valid JSON could not have there. It ends before that byte, so that no other element is lost:
//!
//! - A line end within a string: the string is not closed.
//! - `{` in an object but not after a colon, followed by a quote, `}` or white space: the object is not closed, and the
//!   next element begins. Followed by anything else, it is part of the element.
//! - `]` that closes no array of the element: it closes the outer array.
//! - A string that ends in `},{` and is followed by a word: the string is not closed. The end of the string is really
//!   the quote that opens the next element's first key.
//!
//! The state of an [`Element`] has a fixed size, however long the element is.

use serde::{Deserialize, Serialize};

use super::{
    Skip,
    span::{RowKind, RowSpan, Scan, TextEnd},
};

/// Brackets whose kind is stored; deeper ones are only counted.
const KINDS: u64 = 64;

/// The state of the scan within an element.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// Open brackets; zero in a text without brackets.
    depth: u64,
    /// A bit for each of the outermost open brackets, set for an object; the lowest bit is the outermost bracket.
    objects: u64,
    /// The last byte outside strings that is not white space, if any; a quote for a string.
    last: Option<u8>,
    /// The position within a string, if the scan is in one.
    string: Option<Within>,
}

/// What comes before the next byte of a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Within {
    /// Nothing that changes its meaning.
    Text,
    /// A backslash.
    Escape,
    /// `}` and white space.
    Brace,
    /// `}`, a comma and white space.
    Comma,
}

/// How a byte belongs to the element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// A part of it.
    Part,
    /// Its last byte.
    Last,
    /// Not part of it: the element ended before.
    Next,
    /// The byte after it decides.
    Unknown,
}

impl Element {
    /// Reads a byte, given the byte after it. `array` says whether the element is in an outer array.
    fn step(&mut self, byte: u8, following: &[u8], end: TextEnd, array: bool) -> Step {
        match self.string {
            Some(within) => self.step_in_string(within, byte, following, end),
            None => self.step_outside(byte, following, end, array),
        }
    }

    fn step_in_string(&mut self, within: Within, byte: u8, following: &[u8], end: TextEnd) -> Step {
        let next = match (byte, within) {
            (b'\n' | b'\r', _) => {
                (self.string, self.last) = (None, Some(b'"'));
                return if self.depth == 0 { Step::Next } else { Step::Part };
            }
            (_, Within::Escape) => Within::Text,
            (b'\\', _) => Within::Escape,
            (b'"', _) => {
                (self.string, self.last) = (None, Some(b'"'));
                return Step::Part;
            }
            (b'{', Within::Brace | Within::Comma) => match begins_element(following, end) {
                None => return Step::Unknown,
                Some(true) => return Step::Next,
                Some(false) => Within::Text,
            },
            (b'}', _) | (b' ' | b'\t', Within::Brace) => Within::Brace,
            (b',', Within::Brace) | (b' ' | b'\t', Within::Comma) => Within::Comma,
            _ => Within::Text,
        };
        self.string = Some(next);
        Step::Part
    }

    fn step_outside(&mut self, byte: u8, following: &[u8], end: TextEnd, array: bool) -> Step {
        let bare = self.depth == 0 && self.last.is_some();
        match byte {
            b'\n' | b'\r' | b'{' | b'[' | b',' | b']' if bare => return Step::Next,
            b' ' | b'\t' | b'\n' | b'\r' => return Step::Part,
            b'{' if self.is_in_object() && self.last != Some(b':') => match begins_object(following, end) {
                None => return Step::Unknown,
                Some(true) => return Step::Next,
                // A bracket here does not open an element. Rows of one bracket each would need many times their size in
                // rejects.
                Some(false) => {}
            },
            b'{' | b'[' => self.open(byte == b'{'),
            b'}' | b']' if self.depth > 0 => {
                if !self.close(byte == b'}') {
                    if byte == b']' && array {
                        return Step::Next;
                    }
                } else if self.depth == 0 {
                    return Step::Last;
                }
            }
            b'"' => self.string = Some(Within::Text),
            _ => {}
        }
        self.last = Some(byte);
        Step::Part
    }

    fn is_in_object(&self) -> bool {
        (1..=KINDS).contains(&self.depth) && self.objects >> (self.depth - 1) & 1 == 1
    }

    fn open(&mut self, object: bool) {
        if self.depth < KINDS {
            self.objects = self.objects & !(1 << self.depth) | u64::from(object) << self.depth;
        }
        self.depth += 1;
    }

    /// Closes the innermost bracket of that kind with all in it; false if none is open.
    fn close(&mut self, object: bool) -> bool {
        if self.depth > KINDS {
            self.depth -= 1;
            return true;
        }
        let open = u64::MAX >> (KINDS - self.depth);
        let same = if object { self.objects & open } else { !self.objects & open };
        match same.checked_ilog2() {
            Some(innermost) => self.depth = u64::from(innermost),
            None => return false,
        }
        true
    }
}

/// Whether a key follows a bracket: a quote with a word right after it, not the end of a string.
fn begins_element(following: &[u8], end: TextEnd) -> Option<bool> {
    match following {
        [b'"', word, ..] => Some(!matches!(word, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'}' | b']')),
        [b'"'] | [] if end == TextEnd::MoreMayFollow => None,
        _ => Some(false),
    }
}

/// Whether the next byte can begin the content of an object.
fn begins_object(following: &[u8], end: TextEnd) -> Option<bool> {
    match following.first() {
        None if end == TextEnd::MoreMayFollow => None,
        following => {
            Some(following.is_some_and(|byte| matches!(byte, b'"' | b'}' | b' ' | b'\t' | b'\n' | b'\r')))
        }
    }
}

/// Bytes at the beginning of a text that can only be text within a string.
fn plain(text: &[u8]) -> usize {
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'}' | b'\n' | b'\r');
    text.iter().position(special).unwrap_or(text.len())
}

/// How far an element was scanned, so that the scan continues there when more text is pushed.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Scanned {
    /// Bytes of the element that were scanned.
    bytes: usize,
    element: Element,
}

/// Finds the end of the element at the start of `text`.
pub(super) fn scan(text: &[u8], scanned: &mut Scanned, bound: usize, end: TextEnd, array: bool) -> Scan {
    let Scanned { bytes: mut at, mut element } = *scanned;
    while at < text.len() {
        if element.string == Some(Within::Text) {
            at += plain(&text[at..text.len().min(bound).max(at)]);
            if at == text.len() {
                break;
            }
        }
        let before = element;
        match element.step(text[at], &text[at + 1..], end, array) {
            Step::Next => return Scan::Row(RowSpan { end: at, next: at, kind: cut(before) }.trimmed(text)),
            Step::Unknown => break,
            Step::Part | Step::Last if at == bound => return Scan::TooLong(Skip::Element(before)),
            Step::Last => return Scan::Row(RowSpan { end: at + 1, next: at + 1, kind: RowKind::Plain }),
            Step::Part => at += 1,
        }
    }
    let kind = match end {
        TextEnd::MoreMayFollow => {
            *scanned = Scanned { bytes: at, element };
            return Scan::More;
        }
        TextEnd::Whole => cut(element),
        TextEnd::CutShort => RowKind::cut_short(),
    };
    Scan::Row(RowSpan { end: text.len(), next: text.len(), kind }.trimmed(text))
}

/// The content of an element that ends here without its closing bracket.
fn cut(element: Element) -> RowKind {
    if element.depth == 0 {
        return RowKind::Plain;
    }
    let detail = "the element is not closed: close each bracket and quote of an element before the next one";
    RowKind::Broken("not_json", detail.to_owned())
}

/// Skips the remaining bytes of an overlong element; returns how many and whether it ends there.
pub(super) fn skip(text: &[u8], element: &mut Element, end: TextEnd, array: bool) -> (usize, bool) {
    let mut at = 0;
    while at < text.len() {
        if element.string == Some(Within::Text) {
            at += plain(&text[at..]);
            if at == text.len() {
                break;
            }
        }
        match element.step(text[at], &text[at + 1..], end, array) {
            Step::Next => return (at, true),
            Step::Last => return (at + 1, true),
            Step::Unknown => return (at, false),
            Step::Part => at += 1,
        }
    }
    (at, false)
}
