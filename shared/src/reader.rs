//! JSON in place: values read one after the other, checked and handed on as they stand in the text, nothing built.
//!
//! What `serde_json` would do with a visitor for each entry, where most is to be checked and little to be kept: the
//! better part of what transform has over the straightforward way (`make bench`). What lies deeper than is asked for,
//! which events hardly hold, is left to `serde_json`.

use std::{borrow::Cow, num::NonZeroUsize};

use serde::de::IgnoredAny;
use wide::u8x16;

/// Reads a text from its beginning on. Whatever gives nothing has met what is no JSON, or not what was asked for.
pub struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    marks: Marks,
    escapes: bool,
}

/// Where a value stands in the text.
///
/// Two words, so that it stays in registers: three went through memory, half the time of looking through an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    begin: usize,
    end: NonZeroUsize,
}

impl Span {
    #[inline]
    fn new(begin: usize, end: usize) -> Option<Self> {
        Some(Self { begin, end: NonZeroUsize::new(end)? })
    }
}

impl<'a> Reader<'a> {
    /// Reads a text as one value.
    pub fn read<T>(text: &'a str, value: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let mut reader =
            Self { text, bytes: text.as_bytes(), at: 0, marks: Marks::default(), escapes: false };
        reader.peek()?;
        let value = value(&mut reader)?;
        reader.skip_blank();
        (reader.at == reader.bytes.len()).then_some(value)
    }

    /// Reads an object. `entry` is handed each key, as it stands between its quotes, and reads its value.
    #[inline]
    pub fn object(&mut self, mut entry: impl FnMut(&mut Self, Span) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.peek()?;
            let key = self.string()?;
            self.expect(b':')?;
            self.peek()?;
            entry(self, key)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Reads an array. `element` reads each of its elements.
    pub fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.expect(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            self.peek()?;
            element(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// Reads a string; gives what stands between its quotes.
    #[inline]
    pub fn string(&mut self) -> Option<Span> {
        (self.bytes.get(self.at) == Some(&b'"')).then_some(())?;
        let begin = self.at + 1;
        let end = self.marks.next(self.bytes, begin);
        if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            return Span::new(begin, end);
        }
        self.string_with_escapes(begin, end)
    }

    /// Steps over a value of any type; gives all of its text.
    #[inline]
    pub fn value(&mut self) -> Option<Span> {
        let begin = self.at;
        match self.bytes.get(begin)? {
            b'"' => {
                self.string()?;
            }
            b'-' | b'0'..=b'9' => self.at = number(self.bytes, begin)?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            b'{' | b'[' => self.nested()?,
            _ => return None,
        }
        Span::new(begin, self.at)
    }

    /// What stands there.
    #[must_use]
    pub fn text(&self, span: Span) -> &'a str {
        &self.text[span.begin..span.end.get()]
    }

    /// Whether a string with escapes has been read.
    #[must_use]
    pub fn has_met_escapes(&self) -> bool {
        self.escapes
    }

    /// Whether a key or what stands in a string is that text; false where there are escapes in it.
    #[inline]
    #[must_use]
    pub fn is(&self, span: Span, text: &str) -> bool {
        &self.bytes[span.begin..span.end.get()] == text.as_bytes()
    }

    /// What a key or what stands in a string says; nothing where its escapes give no text.
    #[must_use]
    pub fn unescaped(&self, span: Span) -> Option<Cow<'a, str>> {
        let text = self.text(span);
        if self.escapes && text.contains('\\') {
            serde_json::from_str(&format!("\"{text}\"")).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(text))
        }
    }

    /// The next byte that is not blank.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        // All that is blank comes before the printable characters.
        match self.bytes.get(self.at) {
            Some(byte) if *byte > b' ' => Some(*byte),
            _ => {
                self.skip_blank();
                self.bytes.get(self.at).copied()
            }
        }
    }

    #[cold]
    fn skip_blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    #[inline]
    fn literal(&mut self, literal: &str) -> Option<()> {
        self.bytes[self.at..].starts_with(literal.as_bytes()).then(|| self.at += literal.len())
    }

    /// Reads the rest of a string that begins at `begin`, from the first mark at `at` on.
    #[cold]
    fn string_with_escapes(&mut self, begin: usize, mut at: usize) -> Option<Span> {
        loop {
            match self.bytes.get(at)? {
                b'"' => {
                    self.at = at + 1;
                    self.escapes = true;
                    return Span::new(begin, at);
                }
                b'\\' => at = self.escape(at)?,
                _ => return None,
            }
            at = self.marks.next(self.bytes, at);
        }
    }

    /// Where the escape ends that begins at `at`.
    fn escape(&self, at: usize) -> Option<usize> {
        match self.bytes.get(at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 2),
            b'u' => {
                let digits = self.bytes.get(at + 2..at + 6)?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 6)
            }
            _ => None,
        }
    }

    #[cold]
    fn nested(&mut self) -> Option<()> {
        let rest = self.text.get(self.at..)?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        values.next()?.ok()?;
        self.at += values.byte_offset();
        Some(())
    }
}

/// Where the number ends that begins at `at`.
#[inline]
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

/// Where the number ends that begins at `at`, leaving its exponent aside.
#[inline]
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

/// Where the digits end that begin at `at`, if there is one at least.
#[inline]
fn digits(bytes: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    while bytes.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    (end > at).then_some(end)
}

/// Whether a text is a number of JSON without an exponent: what nearly all numbers of a file are, and as such can be
/// copied.
pub(crate) fn is_plain_number(text: &str) -> bool {
    plain_number(text.as_bytes(), 0) == Some(text.len())
}

/// Bytes before the first that a JSON string cannot hold as it is: a quote, a backslash or a control character.
///
/// Looks at eight bytes at a time, where most of an event is such text: twice as fast as byte by byte.
pub(crate) fn plain_run(text: &[u8]) -> usize {
    let (words, tail) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let begin = words.len() * 8;
    begin + tail.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)).unwrap_or(tail.len())
}

/// A bit in the lowest byte of the word that is a quote, a backslash or a control character; bytes above it may have
/// one wrongly.
///
/// Source: "Bit Twiddling Hacks", "Determine if a word has a byte less than n".
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | is(b'"') | is(b'\\')) & HIGHS
}

/// Where the bytes stand that a JSON string cannot hold as they are, quotes, backslashes and control characters, for a
/// block of the text.
///
/// A string's end is a matter of two instructions then, whatever its length.
#[derive(Default)]
struct Marks {
    begin: usize,
    end: usize,
    /// A bit for each byte of the block, the lowest for the first.
    bits: u64,
}

impl Marks {
    const BYTES: usize = 64;

    /// The first mark at `at` or behind it, at the end of the text if there is none; `at` must not go back.
    #[inline]
    fn next(&mut self, text: &[u8], at: usize) -> usize {
        if at < self.end {
            let bits = self.bits >> (at - self.begin);
            if bits != 0 {
                return at + bits.trailing_zeros() as usize;
            }
        }
        self.next_block(text, at.max(self.end))
    }

    /// The first mark of the blocks from `at` on.
    #[inline(never)]
    fn next_block(&mut self, text: &[u8], mut at: usize) -> usize {
        while at < text.len() {
            *self = Self::of(&text[at..], at);
            if self.bits != 0 {
                return at + self.bits.trailing_zeros() as usize;
            }
            at = self.end;
        }
        text.len()
    }

    /// The marks of the block with which the rest of a text begins, `begin` bytes behind its own beginning.
    #[inline]
    fn of(rest: &[u8], begin: usize) -> Self {
        let bits = match rest.first_chunk() {
            Some(bytes) => Self::bits(bytes),
            None => {
                let mut bytes = [b' '; Self::BYTES];
                bytes[..rest.len()].copy_from_slice(rest);
                Self::bits(&bytes)
            }
        };
        Self { begin, end: begin + Self::BYTES, bits }
    }

    #[inline]
    fn bits(bytes: &[u8; Self::BYTES]) -> u64 {
        let [quote, backslash, control] = [b'"', b'\\', 0x1f].map(u8x16::splat);
        let (chunks, _) = bytes.as_chunks::<16>();
        chunks.iter().rev().fold(0, |bits, chunk| {
            let chunk = u8x16::from(*chunk);
            let marked = chunk.simd_eq(quote) | chunk.simd_eq(backslash) | chunk.min(control).simd_eq(chunk);
            bits << 16 | u64::from(marked.to_bitmask())
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// The entries, keys decoded.
    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let mut found = Vec::new();
        Reader::read(text, |reader| {
            reader.object(|reader, key| {
                let value = reader.value()?;
                found.push((reader.unescaped(key)?.into_owned(), reader.text(value).to_owned()));
                Some(())
            })
        })?;
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

        #[test]
        fn a_plain_run_ends_at_the_first_byte_that_is_escaped(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            prop_assert_eq!(plain_run(&bytes), expected.unwrap_or(bytes.len()));
        }
    }
}
