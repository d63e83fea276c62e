//! Text in chunks, inflated if its first bytes are those of gzip, up to a limit.
//!
//! Gzip is recognised by its first bytes, not by a name or a header. All text before an error is passed on.

use std::borrow::Cow;

use flate2::{Crc, Decompress, FlushDecompress, Status};

use crate::signature;

/// The most bytes to which a gzip request body or message may inflate. This is ten times the 6 MB that Lambda accepts,
/// and fits the function's memory.
pub const BODY_BYTES: u64 = 64 * 1024 * 1024;
/// The most bytes to which a gzip object may inflate. It is streamed, so only time limits it.
pub const OBJECT_BYTES: u64 = 64 * 1024 * 1024 * 1024;
/// The most text of a gzip body that is held in memory. For a longer text only the gzip is held, and inflated again
/// while it is read.
const HELD_BYTES: usize = 8 * 1024 * 1024;
/// The first bytes of gzip.
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The first bytes of each member: the magic bytes and deflate, the only defined method.
const MEMBER: [u8; 3] = [0x1f, 0x8b, 8];
/// Compressed bytes that are inflated at once. Deflate expands a byte to at most 1,032, so 4 KiB stay below 5 MiB.
const GZIP_STEP: usize = 4 * 1024;
/// Plain bytes that are passed on at once.
const PLAIN_STEP: usize = 1024 * 1024;
/// Inflated bytes that are passed on at once.
const OUTPUT: usize = 32 * 1024;
/// The checksum and the length after the data of a member.
const TRAILER: usize = 8;

/// Flags of a member's header.
///
/// Source: RFC 1952, section 2.3.1.
mod flag {
    pub(super) const CHECKSUM: u8 = 2;
    pub(super) const EXTRA: u8 = 4;
    pub(super) const NAME: u8 = 8;
    pub(super) const COMMENT: u8 = 16;
    pub(super) const RESERVED: u8 = 0xe0;
}

/// Why data cannot be read to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// The gzip data is damaged, or ends within a member.
    #[error("the gzip data is damaged or cut short: send it whole")]
    Damaged,
    /// Other bytes follow the last member; the first of them.
    #[error("something other than gzip follows the gzip data: remove it")]
    Trailing(Vec<u8>),
    /// The text exceeds the limit.
    #[error("the gzip data inflates to more than {0} bytes: send it in smaller pieces")]
    TooLarge(u64),
    /// The data is in a format that cannot contain rows.
    #[error("the data is {0}: send CSV, NDJSON or JSON in UTF-8, plain or gzip")]
    Foreign(&'static str),
}

impl InflateError {
    /// The reason code of the reject that the data becomes.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Foreign(_) => "unknown_format",
            Self::Damaged | Self::Trailing(_) | Self::TooLarge(_) => "bad_gzip",
        }
    }

    /// Whether the text before may end in the middle of a row.
    #[must_use]
    pub fn cuts_rows(&self) -> bool {
        matches!(self, Self::Damaged | Self::TooLarge(_))
    }
}

/// Text in chunks, plain or gzip.
#[derive(Debug)]
pub struct Inflate {
    encoding: Encoding,
    limit: u64,
    begin: Begin,
}

#[derive(Debug)]
enum Encoding {
    /// Too few bytes to decide.
    Unknown(Vec<u8>),
    Plain,
    Gzip(Box<Gzip>),
}

/// The beginning of the text, buffered until its format is known.
#[derive(Debug)]
struct Begin(Option<Vec<u8>>);

impl Inflate {
    /// Data that is gzip or plain, by its first bytes. Gzip may inflate to `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self { encoding: Encoding::Unknown(Vec::new()), limit, begin: Begin(Some(Vec::new())) }
    }

    /// The continuation of a plain text, from any position.
    #[must_use]
    pub fn plain() -> Self {
        Self { encoding: Encoding::Plain, limit: 0, begin: Begin(None) }
    }

    /// Whether the data is gzip, as far as it is known.
    #[must_use]
    pub fn is_gzip(&self) -> bool {
        matches!(self.encoding, Encoding::Gzip(_))
    }

    /// The most bytes to push before the rows in them are taken. This keeps memory small whatever they inflate to.
    #[must_use]
    pub fn step_bytes(&self) -> usize {
        if matches!(self.encoding, Encoding::Plain) { PLAIN_STEP } else { GZIP_STEP }
    }

    /// Passes on the text of a chunk, in pieces. All text before an error is passed on.
    pub fn push(&mut self, chunk: &[u8], mut text: impl FnMut(&[u8])) -> Result<(), InflateError> {
        let known;
        let mut chunk = chunk;
        if let Encoding::Unknown(first) = &mut self.encoding {
            first.extend_from_slice(chunk);
            if first.len() < MAGIC.len() && MAGIC.starts_with(first) {
                return Ok(());
            }
            known = std::mem::take(first);
            chunk = &known;
            let gzip = chunk.starts_with(&MAGIC);
            self.encoding =
                if gzip { Encoding::Gzip(Box::new(Gzip::new(self.limit))) } else { Encoding::Plain };
        }
        let begin = &mut self.begin;
        match &mut self.encoding {
            Encoding::Gzip(gzip) => {
                let pushed = gzip.push(chunk, &mut |piece: &[u8]| begin.pass(piece, &mut text));
                if pushed.is_err() {
                    begin.finish(&mut text)?;
                }
                pushed
            }
            _ => begin.pass(chunk, &mut text),
        }
    }

    /// Ends the data and passes on the remaining text.
    pub fn finish(&mut self, mut text: impl FnMut(&[u8])) -> Result<(), InflateError> {
        let mut finished = Ok(());
        match &mut self.encoding {
            Encoding::Unknown(first) => {
                let first = std::mem::take(first);
                self.begin.pass(&first, &mut text)?;
            }
            Encoding::Plain => {}
            Encoding::Gzip(gzip) => finished = gzip.finish(),
        }
        self.begin.finish(&mut text)?;
        finished
    }
}

impl Begin {
    /// Passes on a piece of text, unless the format of the data is not known yet.
    #[inline]
    fn pass(&mut self, piece: &[u8], text: &mut impl FnMut(&[u8])) -> Result<(), InflateError> {
        if let Some(begin) = &mut self.0 {
            begin.extend_from_slice(piece);
            if begin.len() < signature::BYTES { Ok(()) } else { self.finish(text) }
        } else {
            text(piece);
            Ok(())
        }
    }

    /// Passes on the beginning, if it is text.
    fn finish(&mut self, text: &mut impl FnMut(&[u8])) -> Result<(), InflateError> {
        let Some(begin) = self.0.take() else { return Ok(()) };
        if let Some(format) = signature::of(&begin) {
            return Err(InflateError::Foreign(format));
        }
        if !begin.is_empty() {
            text(&begin);
        }
        Ok(())
    }
}

/// Gzip: a sequence of members.
struct Gzip {
    stage: Stage,
    deflate: Decompress,
    crc: Crc,
    output: Vec<u8>,
    limit: u64,
    inflated: u64,
}

#[derive(Debug)]
enum Stage {
    /// Before a member, or after the last one: padding, or the first bytes of a header.
    Between(Vec<u8>),
    Header(MemberHeader),
    Data,
    Trailer(Vec<u8>),
    /// Nothing more can be read after an error.
    Failed,
}

/// The header of a member, read byte by byte.
#[derive(Debug)]
struct MemberHeader {
    part: HeaderPart,
    /// Bytes of the current part that were read.
    at: usize,
    flags: u8,
    extra: usize,
}

#[derive(Debug, Clone, Copy)]
enum HeaderPart {
    Fixed,
    ExtraLength,
    Extra,
    Name,
    Comment,
    Checksum,
}

impl std::fmt::Debug for Gzip {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Gzip").field("stage", &self.stage).finish_non_exhaustive()
    }
}

impl Gzip {
    fn new(limit: u64) -> Self {
        Self {
            stage: Stage::Between(Vec::new()),
            deflate: Decompress::new(false),
            crc: Crc::new(),
            output: vec![0; OUTPUT],
            limit,
            inflated: 0,
        }
    }

    /// Inflates a chunk in small steps.
    fn push<F>(&mut self, mut chunk: &[u8], text: &mut F) -> Result<(), InflateError>
    where
        F: FnMut(&[u8]) -> Result<(), InflateError>,
    {
        while let [first, others @ ..] = chunk {
            match &mut self.stage {
                Stage::Between(mark) => {
                    // Zeros after a member are padding, as in gzip itself.
                    if *first != 0 || !mark.is_empty() {
                        mark.push(*first);
                    }
                    chunk = others;
                    if mark.len() == MEMBER.len() {
                        let mark = std::mem::take(mark);
                        self.begin_member(mark, chunk)?;
                    }
                }
                Stage::Header(header) => {
                    chunk = others;
                    match header.read(*first) {
                        Some(true) => self.stage = Stage::Data,
                        Some(false) => {}
                        None => return self.fail(InflateError::Damaged),
                    }
                }
                Stage::Data => chunk = self.inflate(chunk, text)?,
                Stage::Trailer(trailer) => {
                    trailer.push(*first);
                    chunk = others;
                    if trailer.len() == TRAILER {
                        self.check_member()?;
                    }
                }
                Stage::Failed => return Err(InflateError::Damaged),
            }
        }
        Ok(())
    }

    fn begin_member(&mut self, mut mark: Vec<u8>, following: &[u8]) -> Result<(), InflateError> {
        if mark == MEMBER {
            self.deflate.reset(false);
            self.crc = Crc::new();
            self.stage =
                Stage::Header(MemberHeader { part: HeaderPart::Fixed, at: mark.len(), flags: 0, extra: 0 });
            return Ok(());
        }
        // A header with one wrong byte begins a damaged member. The row before it may continue in that member.
        let alike = mark.iter().zip(MEMBER).filter(|(byte, expected)| **byte == *expected).count();
        if alike >= 2 {
            return self.fail(InflateError::Damaged);
        }
        mark.extend_from_slice(&following[..following.len().min(GZIP_STEP)]);
        self.fail(InflateError::Trailing(mark))
    }

    /// Inflates data of a member; returns the bytes after it in the chunk.
    fn inflate<'c, F>(&mut self, mut chunk: &'c [u8], text: &mut F) -> Result<&'c [u8], InflateError>
    where
        F: FnMut(&[u8]) -> Result<(), InflateError>,
    {
        loop {
            let (taken, made) = (self.deflate.total_in(), self.deflate.total_out());
            let status = self.deflate.decompress(chunk, &mut self.output, FlushDecompress::None);
            let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
            let (taken, made) =
                (count(self.deflate.total_in() - taken), count(self.deflate.total_out() - made));
            chunk = &chunk[taken.min(chunk.len())..];
            // The text inflated before an error is valid, too.
            let room = count(self.limit - self.inflated);
            let piece = &self.output[..made.min(room)];
            self.crc.update(piece);
            self.inflated += piece.len() as u64;
            if !piece.is_empty() {
                text(piece)?;
            }
            if made > room {
                return self.fail(InflateError::TooLarge(self.limit)).map(|()| chunk);
            }
            match status {
                Ok(Status::StreamEnd) => {
                    self.stage = Stage::Trailer(Vec::with_capacity(TRAILER));
                    return Ok(chunk);
                }
                // If the output is full, there may be more of it.
                Ok(_) if made == self.output.len() => {}
                Ok(_) if chunk.is_empty() => return Ok(chunk),
                Ok(_) if taken + made > 0 => {}
                Ok(_) | Err(_) => return self.fail(InflateError::Damaged).map(|()| chunk),
            }
        }
    }

    fn check_member(&mut self) -> Result<(), InflateError> {
        let Stage::Trailer(trailer) = std::mem::replace(&mut self.stage, Stage::Between(Vec::new())) else {
            return Ok(());
        };
        let expected = [self.crc.sum().to_le_bytes(), self.crc.amount().to_le_bytes()].concat();
        if trailer == expected { Ok(()) } else { self.fail(InflateError::Damaged) }
    }

    fn fail(&mut self, error: InflateError) -> Result<(), InflateError> {
        self.stage = Stage::Failed;
        Err(error)
    }

    fn finish(&mut self) -> Result<(), InflateError> {
        match &mut self.stage {
            Stage::Between(mark) if mark.is_empty() => Ok(()),
            Stage::Between(mark) if !MEMBER.starts_with(mark) => {
                let mark = std::mem::take(mark);
                self.fail(InflateError::Trailing(mark))
            }
            _ => self.fail(InflateError::Damaged),
        }
    }
}

impl MemberHeader {
    /// Reads a byte. Returns whether it was the last one of the header; `None` if a header cannot contain it.
    fn read(&mut self, byte: u8) -> Option<bool> {
        let at = self.at;
        self.at += 1;
        let part_ends = match self.part {
            HeaderPart::Fixed => {
                if at == 3 {
                    self.flags = byte;
                }
                at == 9
            }
            HeaderPart::ExtraLength => {
                self.extra |= usize::from(byte) << (8 * at);
                at == 1
            }
            HeaderPart::Extra => at + 1 == self.extra,
            HeaderPart::Name | HeaderPart::Comment => byte == 0,
            HeaderPart::Checksum => at == 1,
        };
        if self.flags & flag::RESERVED != 0 {
            return None;
        }
        Some(part_ends && self.is_last_part())
    }

    /// Moves to the next part that the flags announce; true if there is none.
    fn is_last_part(&mut self) -> bool {
        self.at = 0;
        loop {
            let (part, announced) = match self.part {
                HeaderPart::Fixed => (HeaderPart::ExtraLength, self.flags & flag::EXTRA != 0),
                HeaderPart::ExtraLength => (HeaderPart::Extra, self.extra > 0),
                HeaderPart::Extra => (HeaderPart::Name, self.flags & flag::NAME != 0),
                HeaderPart::Name => (HeaderPart::Comment, self.flags & flag::COMMENT != 0),
                HeaderPart::Comment => (HeaderPart::Checksum, self.flags & flag::CHECKSUM != 0),
                HeaderPart::Checksum => return true,
            };
            self.part = part;
            if announced {
                return false;
            }
        }
    }
}

/// The body of a request; gzip or plain, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum InflatedBody<'b> {
    /// The whole text.
    Text(Cow<'b, [u8]>),
    /// Valid gzip with more text than is held in memory.
    LongGzip {
        /// Whether the text is only white space.
        is_blank: bool,
    },
}

/// Reads the body of a request to its end, so that no row of a damaged body is ingested.
pub fn body(body: &[u8]) -> Result<InflatedBody<'_>, InflateError> {
    if !body.starts_with(&MAGIC) {
        return match signature::of(&body[..body.len().min(signature::BYTES)]) {
            Some(format) => Err(InflateError::Foreign(format)),
            None => Ok(InflatedBody::Text(Cow::Borrowed(body))),
        };
    }
    let mut held = Held { text: Some(Vec::new()), is_blank: true };
    let mut inflate = Inflate::new(BODY_BYTES);
    inflate.push(body, |piece| held.add(piece))?;
    inflate.finish(|piece| held.add(piece))?;
    let Held { text, is_blank } = held;
    Ok(text.map_or(InflatedBody::LongGzip { is_blank }, |text| InflatedBody::Text(Cow::Owned(text))))
}

/// The text of a body, unless it is too long to hold in memory.
struct Held {
    text: Option<Vec<u8>>,
    is_blank: bool,
}

impl Held {
    fn add(&mut self, piece: &[u8]) {
        self.is_blank = self.is_blank && piece.trim_ascii().is_empty();
        let fits = |text: &Vec<u8>| text.len() + piece.len() <= HELD_BYTES;
        self.text = self.text.take().filter(fits);
        if let Some(text) = &mut self.text {
            text.extend_from_slice(piece);
        }
    }
}

#[cfg(test)]
mod tests;
