//! Positions at which a text can be resumed.

use serde::{Deserialize, Serialize};

use super::json::Element;

/// Where a text can be resumed: at the beginning of a row, or within one that is dropped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Bytes of the text before it.
    pub offset: u64,
    /// The line that begins there, from 1.
    pub line: u64,
    /// Rows before it.
    pub index: u64,
    /// The header line of a CSV, after a line that declares the separator if that is not obvious.
    pub header: Option<String>,
    /// Why the header line cannot be read, if so.
    #[serde(default)]
    pub unreadable: Option<String>,
    /// The separator of a CSV, if it is known and not a comma. Earlier versions supported only commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<char>,
    /// Whether a byte order mark preceded the header, so that it is UTF-8 whatever is declared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_marked: bool,
    /// Whether the byte before it is a carriage return, so that a line feed there does not end another line.
    #[serde(default)]
    pub after_return: bool,
    /// Whether it is in the outer array of a JSON text. Positions of earlier versions do not say so. They are read as
    /// if they were, which is equivalent for objects.
    #[serde(default = "yes")]
    pub array: bool,
    /// The overlong row whose remaining bytes follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipping: Option<Skip>,
}

/// The part of an overlong row that is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skip {
    /// Everything up to the end of the line.
    Line,
    /// Everything up to the end of the element.
    Element(Element),
}

fn yes() -> bool {
    true
}

/// The current line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Whether the last byte was a carriage return.
    pub(super) after_return: bool,
}

impl Lines {
    /// Counts the line ends in a text: a line feed, a carriage return, or both in that order.
    pub(super) fn pass(&mut self, text: &[u8]) {
        for at in memchr::memchr2_iter(b'\n', b'\r', text) {
            let after_return = if at == 0 { self.after_return } else { text[at - 1] == b'\r' };
            if text[at] == b'\r' || !after_return {
                self.number += 1;
            }
        }
        if let Some(last) = text.last() {
            self.after_return = *last == b'\r';
        }
    }
}
