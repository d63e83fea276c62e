//! Searches texts many bytes at a time: for the end of a JSON string, and for separators.

use wide::u8x16;

/// Bytes in a block: as many as a word has bits.
pub(crate) const BLOCK: usize = 64;

/// Bytes before the first that a JSON string cannot hold as it is: a quote, a backslash or a control character.
///
/// Checks eight bytes at a time. Most of an event is such text, so this is twice as fast as byte by byte.
#[inline]
pub(crate) fn plain_run(text: &[u8]) -> usize {
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
#[inline]
fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let is = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    (below(word, 0x20) | is(b'"') | is(b'\\')) & HIGHS
}

/// The first block from `at` on that holds marks, with a bit for each mark. The lowest bit is for the block's first
/// byte. No bit is set at the end of the text.
#[inline(never)]
pub(crate) fn marked_block(text: &[u8], mut at: usize) -> (usize, u64) {
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let marks = match rest.first_chunk() {
            Some(block) => marks(block),
            None => {
                let mut block = [b' '; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                marks(&block)
            }
        };
        if marks != 0 {
            return (at, marks);
        }
        at += BLOCK;
    }
    (at, 0)
}

/// A bit for each byte that a JSON string cannot hold as it is; the lowest bit is for the first byte.
#[inline]
fn marks(block: &[u8; BLOCK]) -> u64 {
    let [quote, backslash, control] = [b'"', b'\\', 0x1f].map(u8x16::splat);
    let (chunks, _) = block.as_chunks::<16>();
    chunks.iter().rev().fold(0, |bits, chunk| {
        let chunk = u8x16::from(*chunk);
        let marked = chunk.simd_eq(quote) | chunk.simd_eq(backslash) | chunk.min(control).simd_eq(chunk);
        bits << 16 | u64::from(marked.to_bitmask())
    })
}

/// Appends the positions of a byte in a text.
///
/// Searches a block at a time, since cells are short: one search for each cell takes ingest 5 % more instructions.
pub fn positions(byte: u8, text: &[u8], found: &mut Vec<usize>) {
    let wanted = u8x16::splat(byte);
    let (blocks, tail) = text.as_chunks::<BLOCK>();
    let mut begin = 0;
    for block in blocks {
        let (chunks, _) = block.as_chunks::<16>();
        let mut bits = chunks.iter().rev().fold(0, |bits: u64, chunk| {
            bits << 16 | u64::from(u8x16::from(*chunk).simd_eq(wanted).to_bitmask())
        });
        while bits != 0 {
            found.push(begin + bits.trailing_zeros() as usize);
            bits &= bits - 1;
        }
        begin += BLOCK;
    }
    let tail = tail.iter().enumerate().filter(|(_, found)| **found == byte);
    found.extend(tail.map(|(at, _)| begin + at));
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

        #[test]
        fn marks_are_found_block_by_block(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..200) {
            let at = at.min(bytes.len());
            let expected = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            let (block, marks) = marked_block(&bytes, at);
            let first = (marks != 0).then(|| block + marks.trailing_zeros() as usize - at);
            prop_assert_eq!(first, expected);
        }

        #[test]
        fn all_separators_are_found(text in "[a,;é]{0,200}") {
            for separator in [',', ';'] {
                let mut found = Vec::new();
                positions(separator as u8, text.as_bytes(), &mut found);
                prop_assert_eq!(found, text.match_indices(separator).map(|(at, _)| at).collect::<Vec<_>>());
            }
        }
    }
}
