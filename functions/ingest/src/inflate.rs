//! Text in chunks, inflated where it is gzip, never past a limit.

use std::io::{self, Write as _};

use flate2::write::MultiGzDecoder;

/// The most that the gzip body of a request or message may inflate to, in bytes: ten times the 6 MB that Lambda
/// takes, and little enough for the function's memory.
pub const BODY_BYTES: u64 = 64 * 1024 * 1024;
/// The most that a gzip object may inflate to, in bytes. It is read in passing, so that only time bounds it.
pub const OBJECT_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// Compressed bytes inflated at a time: deflate makes a byte 1,032 at most, so that 4 KiB stay below 5 MiB.
const STEP_BYTES: usize = 4 * 1024;

/// Text in chunks, plain or gzip.
#[derive(Debug)]
pub struct Inflate {
    decoder: Option<MultiGzDecoder<Vec<u8>>>,
    limit: u64,
    inflated: u64,
}

/// Why gzip cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// It is not gzip, or cut short.
    #[error("the gzip data is damaged or cut short: send it whole")]
    Damaged,
    /// It goes past the limit.
    #[error("the gzip data inflates to more than {0} bytes: send it in smaller pieces")]
    TooLarge(u64),
}

impl Inflate {
    /// Text that stands as it is.
    #[must_use]
    pub fn plain() -> Self {
        Self { decoder: None, limit: 0, inflated: 0 }
    }

    /// Gzip that may inflate to `limit` bytes.
    #[must_use]
    pub fn gzip(limit: u64) -> Self {
        Self { decoder: Some(MultiGzDecoder::new(Vec::new())), limit, inflated: 0 }
    }

    /// The bytes to push before what they became is looked at, so that it stays little, whatever they inflate to.
    #[must_use]
    pub fn step_bytes(&self) -> usize {
        if self.decoder.is_some() { STEP_BYTES } else { usize::MAX }
    }

    /// Hands the text of a chunk on, in pieces.
    pub fn push(&mut self, chunk: &[u8], mut text: impl FnMut(&[u8])) -> Result<(), InflateError> {
        if self.decoder.is_none() {
            text(chunk);
        }
        for step in chunk.chunks(STEP_BYTES) {
            self.step(|decoder| decoder.write_all(step), &mut text)?;
        }
        Ok(())
    }

    /// Says that no chunk follows, and hands the rest of the text on.
    pub fn finish(&mut self, mut text: impl FnMut(&[u8])) -> Result<(), InflateError> {
        self.step(MultiGzDecoder::try_finish, &mut text)
    }

    fn step(
        &mut self,
        advance: impl FnOnce(&mut MultiGzDecoder<Vec<u8>>) -> io::Result<()>,
        text: &mut impl FnMut(&[u8]),
    ) -> Result<(), InflateError> {
        let Some(decoder) = &mut self.decoder else { return Ok(()) };
        advance(decoder).map_err(|_| InflateError::Damaged)?;
        let inflated = decoder.get_mut();
        self.inflated += inflated.len() as u64;
        if self.inflated > self.limit {
            return Err(InflateError::TooLarge(self.limit));
        }
        text(inflated);
        inflated.clear();
        Ok(())
    }
}

/// The whole text of a gzip body of a request.
pub fn body(gzip: &[u8]) -> Result<Vec<u8>, InflateError> {
    let mut text = Vec::new();
    let mut inflate = Inflate::gzip(BODY_BYTES);
    inflate.push(gzip, |piece| text.extend_from_slice(piece))?;
    inflate.finish(|piece| text.extend_from_slice(piece))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_of_several_members_is_read_to_its_end() {
        let text = b"ID,Severity\n".repeat(10_000);
        assert_eq!(body(&gzip(&text)).unwrap(), text);
        assert_eq!(body(&[gzip(b"one "), gzip(b"two")].concat()).unwrap(), b"one two");
    }

    #[test]
    fn damaged_gzip_is_told() {
        let whole = gzip(&b"ID,Severity\n".repeat(1_000));
        assert_eq!(body(&whole[..whole.len() / 2]), Err(InflateError::Damaged));
        assert_eq!(body(b"ID,Severity\n"), Err(InflateError::Damaged));
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = gzip(&vec![0; usize::try_from(BODY_BYTES).unwrap() + 1]);
        assert_eq!(body(&bomb), Err(InflateError::TooLarge(BODY_BYTES)));
        let mut handed = 0;
        let mut inflate = Inflate::gzip(1_000_000);
        let result = inflate.push(&bomb, |piece| handed += piece.len());
        assert!(result.is_err() && handed <= 1_000_000);
    }
}
