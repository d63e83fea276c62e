//! A cursor over JSON text. It checks values and returns where they are; no tree is built.
//!
//! It does what `serde_json` would do with a visitor for each entry. Events seldom have nested values, so `serde_json`
//! reads those.

use std::borrow::Cow;

use memchr::memchr2;
use serde::de::IgnoredAny;

use super::{
    scan::{BLOCK, marked_block},
    text::{plain_run, unescaped},
};

/// A cursor over JSON text. Every method returns `None` if the text is invalid JSON or not of the requested type.
///
/// Methods that are called for every value are inlined.
pub struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Begin and end of the block whose marks are known.
    block: usize,
    block_end: usize,
    marks: u64,
    /// Whether a string so far has escapes.
    escapes: bool,
}

/// Where a value is in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    begin: usize,
    end: usize,
}

impl Span {
    /// The value in the text that was read.
    #[inline(always)]
    #[must_use]
    pub fn of(self, text: &str) -> &str {
        &text[self.begin..self.end]
    }
}

impl<'a> Reader<'a> {
    /// A cursor at the beginning of a text.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, block: 0, block_end: 0, marks: 0, escapes: false }
    }

    /// Checks that nothing follows but blanks.
    pub fn end(&mut self) -> Option<()> {
        self.peek().is_none().then_some(())
    }

    /// Steps into an object, to its first key; returns false if it has none.
    #[inline(always)]
    pub fn begin_object(&mut self) -> Option<bool> {
        self.begin(b'{', b'}')
    }

    /// Steps from a value past the comma before the next entry of an object; returns false at the object's end.
    #[inline(always)]
    pub fn next_entry(&mut self) -> Option<bool> {
        self.next(b'}')
    }

    /// Steps into an array, to its first element; returns false if it has none.
    #[inline(always)]
    pub fn begin_array(&mut self) -> Option<bool> {
        self.begin(b'[', b']')
    }

    /// Steps from an element past the comma before the next one of an array; returns false at the array's end.
    #[inline(always)]
    pub fn next_element(&mut self) -> Option<bool> {
        self.next(b']')
    }

    /// Reads a key, up to its value; returns the text between its quotes.
    #[inline(always)]
    pub fn key(&mut self) -> Option<Span> {
        let key = self.string()?;
        self.expect(b':')?;
        Some(key)
    }

    /// The text from here on.
    #[inline(always)]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Skips that many known bytes, such as a key and its colon. They must not end inside a string.
    #[inline(always)]
    pub fn pass(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Reads a string; returns the text between its quotes.
    #[inline(always)]
    pub fn string(&mut self) -> Option<Span> {
        self.expect(b'"')?;
        let begin = self.at;
        let mut end = self.next_mark(begin);
        if self.bytes.get(end) == Some(&b'\\') {
            end = string_end(self.bytes, end)?;
            self.escapes = true;
        }
        if self.bytes.get(end) != Some(&b'"') {
            return None;
        }
        self.at = end + 1;
        Some(Span { begin, end })
    }

    /// Reads a long string without checking for control characters; the caller must check its bytes.
    pub fn long_string(&mut self) -> Option<Span> {
        if self.peek()? != b'"' {
            return None;
        }
        let begin = self.at + 1;
        let end = begin + memchr2(b'"', b'\\', self.bytes.get(begin..)?)?;
        if self.bytes[end] == b'\\' {
            return self.string();
        }
        self.at = end + 1;
        Some(Span { begin, end })
    }

    /// Skips a value of any type; returns all of its text.
    #[inline(always)]
    pub fn value(&mut self) -> Option<Span> {
        let first = self.peek()?;
        let begin = self.at;
        match first {
            b'"' => _ = self.string()?,
            b'-' | b'0'..=b'9' => self.at = number(self.bytes, begin)?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            b'{' | b'[' => self.at += nested(self.text.get(begin..)?)?,
            _ => return None,
        }
        Some(Span { begin, end: self.at })
    }

    /// The text of the span.
    #[inline(always)]
    #[must_use]
    pub fn text(&self, span: Span) -> &'a str {
        span.of(self.text)
    }

    /// The unescaped text of a key or string; nothing if its escapes are not valid text.
    #[inline(always)]
    #[must_use]
    pub fn unescaped(&self, span: Span) -> Option<Cow<'a, str>> {
        self.unescaped_in(span, self.text)
    }

    /// The same, from another text with the same strings in the same places.
    #[inline(always)]
    #[must_use]
    pub fn unescaped_in<'t>(&self, span: Span, text: &'t str) -> Option<Cow<'t, str>> {
        let text = span.of(text);
        if self.escapes { unescaped(text) } else { Some(Cow::Borrowed(text)) }
    }

    #[inline(always)]
    fn begin(&mut self, open: u8, close: u8) -> Option<bool> {
        self.expect(open)?;
        let is_empty = self.peek()? == close;
        self.at += usize::from(is_empty);
        Some(!is_empty)
    }

    #[inline(always)]
    fn next(&mut self, close: u8) -> Option<bool> {
        let mark = self.peek()?;
        self.at += 1;
        match mark {
            b',' => self.peek().map(|_| true),
            mark => (mark == close).then_some(false),
        }
    }

    /// The next byte that is not blank.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        // All blank bytes are below the printable characters.
        if self.bytes.get(self.at).is_none_or(|byte| *byte <= b' ') {
            self.at = after_blanks(self.bytes, self.at);
        }
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        self.rest().starts_with(literal.as_bytes()).then(|| self.at += literal.len())
    }

    /// The next position from `at` on of a byte that a JSON string cannot hold as it is: a quote, a backslash or a
    /// control character. The end of the text if there is none. From call to call, `at` must not decrease.
    ///
    /// One search finds all such bytes of a block. So most strings' ends take two instructions, whatever their length.
    #[inline(always)]
    fn next_mark(&mut self, at: usize) -> usize {
        if at < self.block_end {
            let marks = self.marks >> (at - self.block);
            if marks != 0 {
                return at + marks.trailing_zeros() as usize;
            }
        }
        let (block, marks) = marked_block(self.bytes, at.max(self.block_end));
        self.block = block;
        self.block_end = block + BLOCK;
        self.marks = marks;
        if marks == 0 { self.bytes.len() } else { block + marks.trailing_zeros() as usize }
    }
}

/// The end of the blanks that begin at `at`.
#[cold]
fn after_blanks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The end of a string with a backslash at `at`: its quote, or the first byte that a string cannot hold.
#[cold]
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(b'\\') = bytes.get(at) {
        at = match bytes.get(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => at + 2,
            b'u' => {
                let digits = bytes.get(at + 2..at + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 6)?
            }
            _ => return None,
        };
        at += plain_run(bytes.get(at..)?);
    }
    Some(at)
}

/// Length in bytes of the object or array at the beginning of a text.
#[cold]
fn nested(text: &str) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

/// The end of the number that begins at `at`.
#[inline(always)]
fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = plain_number(bytes, at)?;
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Some(at)
}

/// The end of the number that begins at `at`, without its exponent.
#[inline(always)]
fn plain_number(bytes: &[u8], mut at: usize) -> Option<usize> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(bytes, at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    Some(at)
}

/// The end of the digits that begin at `at`, if there is at least one.
fn digits(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    while bytes.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    (end > at).then_some(end)
}

/// Whether a text is a JSON number without an exponent. Nearly all numbers of a file are, and such numbers can be
/// copied.
pub(crate) fn is_plain_number(text: &str) -> bool {
    plain_number(text.as_bytes(), 0) == Some(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// The entries, keys decoded.
    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let (mut found, mut reader) = (Vec::new(), Reader::new(text));
        let mut more = reader.begin_object()?;
        while more {
            let key = reader.key()?;
            let value = reader.value()?;
            found.push((reader.unescaped(key)?.into_owned(), reader.text(value).to_owned()));
            more = reader.next_entry()?;
        }
        reader.end()?;
        Some(found)
    }

    /// The entries as `serde_json` finds them, keys decoded.
    fn parsed(text: &str) -> Option<Vec<(String, String)>> {
        struct Entries;
        impl<'de> serde::de::Visitor<'de> for Entries {
            type Value = Vec<(String, String)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, &RawValue>()? {
                    entries.push((key, value.get().to_owned()));
                }
                Ok(entries)
            }
        }
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let entries = serde::Deserializer::deserialize_map(&mut deserializer, Entries).ok()?;
        deserializer.end().ok()?;
        Some(entries)
    }

    fn check(text: &str) {
        assert_eq!(read(text), parsed(text), "{text:?}");
    }

    #[test]
    fn entries_are_those_that_serde_json_finds() {
        for text in [
            "{}",
            " { } ",
            r#"{"a":1}"#,
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"b":1,"a": 2,"b":{}}"#,
            "{\"a\" :\t-0.5e+10 ,\r\n\"b\": \"x\\\"y\\u00e9\\\\\" , \"a\":null}",
            r#"{"a":{"b":[1,{"c":"}"}]},"d":[],"e":true,"f":false}"#,
            "{\"long text that goes on for more than a word\":\"Doña Ana \u{1f697} and more\"}",
            "{\"a\":",
            "{\"a\":1,\"b\":",
            r#"{"a":1e400,"b":123456789012345678901234567890}"#,
            // No objects.
            "",
            "[]",
            "3",
            "{",
            "}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{,\"a\":1}",
            "{\"a\":1 \"b\":2}",
            "{\"a\":1}{}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":.5}",
            "{\"a\":-}",
            "{\"a\":1e}",
            "{\"a\":+1}",
            "{\"a\":tru}",
            "{\"a\":True}",
            "{\"a\":\"x}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12g4\"}",
            "{\"a\":\"a\nb\"}",
            "{\"a\":\"a\u{1f}b\"}",
            "{\"a\":[1}",
            "{\"a\":{\"b\"}}",
            "{a:1}",
            "{'a':1}",
        ] {
            check(text);
        }
    }

    proptest! {
        #[test]
        fn entries_of_any_text_like_json_are_those_that_serde_json_finds(
            text in r#"\{("[a-z\\"u0é]{0,9}" ?[:,] ?("[ -~é\n]{0,20}"|-?[0-9.eE+]{0,6}|true|null|\{\}|\[1,2\])[,}]? ?){0,4}\}?"#
        ) {
            check(&text);
        }
    }
}
