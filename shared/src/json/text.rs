//! JSON strings, and the keys of objects.

use std::borrow::Cow;

use memchr::memchr;

/// Bytes before the first that a JSON string cannot hold as it is: a quote, a backslash or a control character.
///
/// Checks eight bytes at a time. Most of an event is such text, so this is twice as fast as byte by byte.
pub(super) fn plain_run(text: &[u8]) -> usize {
    let (words, tail) = text.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let found = special(u64::from_le_bytes(*word));
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    // The last word overlaps bytes that were already checked, and holds the tail.
    if let Some(last) = text.last_chunk::<8>()
        && special(u64::from_le_bytes(*last)) == 0
    {
        return text.len();
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

/// The content of a valid JSON string with its escapes resolved; nothing if they are not valid text.
pub(crate) fn unescaped(inner: &str) -> Option<Cow<'_, str>> {
    match memchr(b'\\', inner.as_bytes()) {
        None => Some(Cow::Borrowed(inner)),
        Some(_) => serde_json::from_str(&format!("\"{inner}\"")).ok().map(Cow::Owned),
    }
}

/// Writes `text` as a JSON string, as compact as JSON allows.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    // Runs without bytes to escape are copied whole.
    loop {
        let at = plain_run(rest);
        out.extend_from_slice(&rest[..at]);
        if at == rest.len() {
            break;
        }
        match rest[at] {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.push(b'"');
}

/// The key of an entry of a JSON object, up to its value: `"name":`.
#[must_use]
pub fn key(name: &str) -> Vec<u8> {
    let mut key = Vec::new();
    write_string(name, &mut key);
    key.push(b':');
    key
}

/// The beginning of an entry of a JSON object that is not its first, up to its value: `,"name":`.
#[must_use]
pub fn entry(name: &str) -> Vec<u8> {
    [b",", &key(name)[..]].concat()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plain_run_ends_at_the_first_byte_that_is_escaped(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            prop_assert_eq!(plain_run(&bytes), expected.unwrap_or(bytes.len()));
        }
    }
}
