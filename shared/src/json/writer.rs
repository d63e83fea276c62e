//! Writes text piece by piece. An event consists mostly of short pieces, which are written by copies of fixed size.

use wide::u8x16;

/// Bytes that one copy of fixed size writes: a stroke.
const STROKE: usize = 32;

/// Text that is being written.
///
/// A piece of up to 32 bytes is copied by one or two words of fixed size; a `Vec` calls `memcpy`, with which transform
/// takes 4 % more instructions, and ingest 5 %.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    len: usize,
}

impl Writer {
    /// A writer that overwrites an earlier text and reuses its memory.
    #[must_use]
    pub fn over(bytes: Vec<u8>) -> Self {
        Self { bytes, len: 0 }
    }

    /// Bytes written.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The written text.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The written text from `begin` on, for changes.
    #[must_use]
    pub fn written_from(&mut self, begin: usize) -> &mut [u8] {
        &mut self.bytes[begin..self.len]
    }

    /// Removes the written text after `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Ends writing.
    #[must_use]
    pub fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        self.bytes
    }

    /// Writes a byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.room()[0] = byte;
        self.len += 1;
    }

    /// Writes a text.
    #[inline]
    pub fn text(&mut self, text: &[u8]) {
        let room = self.room();
        // Two words that overlap cover every length between theirs and twice theirs.
        match text.len() {
            0 => {}
            1..4 => {
                room[0] = text[0];
                room[text.len() / 2] = text[text.len() / 2];
                room[text.len() - 1] = text[text.len() - 1];
            }
            4..8 => overlapping::<4>(text, room),
            8..16 => overlapping::<8>(text, room),
            16..=STROKE => overlapping::<16>(text, room),
            _ => return self.long(text),
        }
        self.len += text.len();
    }

    /// Writes a literal.
    #[inline]
    pub fn literal(&mut self, literal: &Literal) {
        if literal.text.len() > STROKE {
            return self.long(&literal.text);
        }
        self.room().copy_from_slice(&literal.stroke);
        self.len += literal.text.len();
    }

    /// Memory for the next stroke.
    #[inline]
    fn room(&mut self) -> &mut [u8] {
        if self.bytes.len() < self.len + STROKE {
            self.grow(STROKE);
        }
        &mut self.bytes[self.len..self.len + STROKE]
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self, more: usize) {
        let bytes = (self.len + more + STROKE).max(2 * self.bytes.len());
        self.bytes.resize(bytes, 0);
    }

    #[inline(never)]
    fn long(&mut self, text: &[u8]) {
        if self.bytes.len() < self.len + text.len() {
            self.grow(text.len());
        }
        self.bytes[self.len..self.len + text.len()].copy_from_slice(text);
        self.len += text.len();
    }
}

#[inline(always)]
fn halves(stroke: &[u8; STROKE]) -> [u8x16; 2] {
    let (halves, _) = stroke.as_chunks::<16>();
    [u8x16::from(halves[0]), u8x16::from(halves[1])]
}

/// Copies a text of `N` to twice as many bytes.
#[inline]
fn overlapping<const N: usize>(text: &[u8], room: &mut [u8]) {
    if let (Some(first), Some(last)) = (text.first_chunk::<N>(), text.last_chunk::<N>()) {
        room[..N].copy_from_slice(first);
        room[text.len() - N..text.len()].copy_from_slice(last);
    }
}

/// A text known in advance that is compared and written many times, such as the beginning of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    text: Box<[u8]>,
    /// The text padded with zeros, if it is short enough.
    stroke: [u8; STROKE],
    /// A mask with ones after the text.
    free: [u8; STROKE],
}

impl Literal {
    /// A literal with that text.
    #[must_use]
    pub fn new(text: &[u8]) -> Self {
        let mut literal = Self { text: text.into(), stroke: [0; STROKE], free: [0xff; STROKE] };
        if let Some(stroke) = literal.stroke.get_mut(..text.len()) {
            stroke.copy_from_slice(text);
            literal.free[..text.len()].fill(0);
        }
        literal
    }

    /// Its length in bytes.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Whether `text` begins with it.
    #[inline(always)]
    #[must_use]
    pub fn begins(&self, text: &[u8]) -> bool {
        match text.first_chunk::<STROKE>() {
            Some(begin) if self.text.len() <= STROKE => {
                let [text, stroke, free] = [begin, &self.stroke, &self.free].map(halves);
                let same = |half: usize| text[half].simd_eq(stroke[half]) | free[half];
                (same(0) & same(1)).all()
            }
            _ => text.starts_with(&self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_of_any_length_are_written(
            pieces in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..80), any::<bool>()), 0..40)
        ) {
            let (mut writer, mut expected) = (Writer::default(), Vec::new());
            for (piece, known) in pieces {
                if known {
                    writer.literal(&Literal::new(&piece));
                } else {
                    writer.text(&piece);
                }
                writer.byte(b',');
                expected.extend_from_slice(&piece);
                expected.push(b',');
                prop_assert_eq!(writer.written(), &expected);
            }
            prop_assert_eq!(writer.into_bytes(), expected);
        }

        #[test]
        fn a_text_begins_with_a_literal_that_is_its_beginning(
            text in "[ab]{0,70}", literal in "[ab]{0,40}", end in 0_usize..70
        ) {
            let begin = &text[..end.min(text.len())];
            prop_assert!(Literal::new(begin.as_bytes()).begins(text.as_bytes()));
            prop_assert_eq!(Literal::new(literal.as_bytes()).begins(text.as_bytes()), text.starts_with(&literal));
        }
    }

    #[test]
    fn truncated_text_is_overwritten() {
        let mut writer = Writer::default();
        writer.text(b"abcdef");
        writer.truncate(2);
        writer.text(b"xy");
        assert_eq!(writer.written(), b"abxy");
        assert_eq!(writer.written_from(3), b"y");
        assert_eq!(writer.len(), 4);
    }
}
