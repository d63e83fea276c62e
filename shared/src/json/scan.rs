//! Finds the ends of JSON strings many bytes at a time.

use wide::u8x16;

/// Bytes in a block: as many as a word has bits.
pub(super) const BLOCK: usize = 64;

/// The first block from `at` on that holds marks, with a bit for each mark. The lowest bit is for the block's first
/// byte. No bit is set at the end of the text.
#[inline(never)]
pub(super) fn marked_block(text: &[u8], mut at: usize) -> (usize, u64) {
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
fn marks(block: &[u8; BLOCK]) -> u64 {
    let [quote, backslash, control] = [b'"', b'\\', 0x1f].map(u8x16::splat);
    let (chunks, _) = block.as_chunks::<16>();
    chunks.iter().rev().fold(0, |bits, chunk| {
        let chunk = u8x16::from(*chunk);
        let marked = chunk.simd_eq(quote) | chunk.simd_eq(backslash) | chunk.min(control).simd_eq(chunk);
        bits << 16 | u64::from(marked.to_bitmask())
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn marks_are_found_block_by_block(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..200) {
            let at = at.min(bytes.len());
            let expected = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
            let (block, marks) = marked_block(&bytes, at);
            let first = (marks != 0).then(|| block + marks.trailing_zeros() as usize - at);
            prop_assert_eq!(first, expected);
        }
    }
}
