//! Text in chunks, inflated if its first bytes are those of gzip, up to a limit.
//!
//! Gzip is recognised by its first bytes, not by a name or a header. All text before an error is passed on.

use std::{borrow::Cow, io::Write as _, mem};

use flate2::write::GzDecoder;

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
    pub(crate) fn cuts_rows(&self) -> bool {
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
    pub(crate) fn plain() -> Self {
        Self { encoding: Encoding::Plain, limit: 0, begin: Begin(None) }
    }

    /// Whether the data is gzip, as far as it is known.
    pub(crate) fn is_gzip(&self) -> bool {
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
            known = mem::take(first);
            chunk = &known;
            let gzip = chunk.starts_with(&MAGIC);
            self.encoding =
                if gzip { Encoding::Gzip(Box::new(Gzip::new(self.limit))) } else { Encoding::Plain };
        }
        let begin = &mut self.begin;
        match &mut self.encoding {
            Encoding::Gzip(gzip) => {
                let pushed = gzip.push(chunk, &mut |piece| begin.pass(piece, &mut text));
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
        let begin = &mut self.begin;
        let finished = match &mut self.encoding {
            Encoding::Unknown(first) => begin.pass(&mem::take(first), &mut text),
            Encoding::Plain => Ok(()),
            Encoding::Gzip(gzip) => gzip.finish(&mut |piece| begin.pass(piece, &mut text)),
        };
        begin.finish(&mut text)?;
        finished
    }
}

impl Begin {
    /// Passes on a piece of text, unless the format of the data is not known yet.
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
#[derive(Debug)]
struct Gzip {
    stage: Stage,
    limit: u64,
    inflated: u64,
}

#[derive(Debug)]
enum Stage {
    /// Before a member, or after the last one: padding, or the first bytes of a header.
    Between(Vec<u8>),
    /// In a member, whose decoder writes the text to a buffer.
    Member(Box<GzDecoder<Vec<u8>>>),
    /// Nothing more can be read after an error.
    Failed,
}

/// Takes text; an error says that it is the beginning of a format without rows.
type Take<'t> = dyn FnMut(&[u8]) -> Result<(), InflateError> + 't;

impl Gzip {
    fn new(limit: u64) -> Self {
        Self { stage: Stage::Between(Vec::new()), limit, inflated: 0 }
    }

    fn push(&mut self, mut chunk: &[u8], text: &mut Take<'_>) -> Result<(), InflateError> {
        while let [first, others @ ..] = chunk {
            match &mut self.stage {
                Stage::Between(mark) => {
                    // Zeros after a member are padding, as in gzip itself.
                    if *first != 0 || !mark.is_empty() {
                        mark.push(*first);
                    }
                    chunk = others;
                    if mark.len() == MEMBER.len() {
                        let mark = mem::take(mark);
                        self.begin_member(mark, chunk)?;
                    }
                }
                Stage::Member(decoder) => match decoder.write(chunk) {
                    // The decoder takes nothing after the end of its member.
                    Ok(0) | Err(_) => self.end_member(text)?,
                    Ok(taken) => {
                        chunk = &chunk[taken..];
                        let inflated = mem::take(decoder.get_mut());
                        self.pass_on(&inflated, text)?;
                    }
                },
                Stage::Failed => return Err(InflateError::Damaged),
            }
        }
        Ok(())
    }

    fn begin_member(&mut self, mut mark: Vec<u8>, following: &[u8]) -> Result<(), InflateError> {
        if mark == MEMBER {
            let mut decoder = Box::new(GzDecoder::new(Vec::new()));
            decoder.write_all(&mark).map_err(|_| InflateError::Damaged)?;
            self.stage = Stage::Member(decoder);
            return Ok(());
        }
        self.stage = Stage::Failed;
        // A header with one wrong byte begins a damaged member. The row before it may continue in that member.
        let alike = mark.iter().zip(MEMBER).filter(|(byte, expected)| **byte == *expected).count();
        if alike >= 2 {
            return Err(InflateError::Damaged);
        }
        mark.extend_from_slice(&following[..following.len().min(GZIP_STEP)]);
        Err(InflateError::Trailing(mark))
    }

    /// Passes on the last text of a member, and checks that the member is complete and undamaged.
    fn end_member(&mut self, text: &mut Take<'_>) -> Result<(), InflateError> {
        let Stage::Member(mut decoder) = mem::replace(&mut self.stage, Stage::Failed) else { return Ok(()) };
        let ended = decoder.try_finish();
        // The text inflated before an error is valid, too.
        self.pass_on(decoder.get_ref(), text)?;
        ended.map_err(|_| InflateError::Damaged)?;
        self.stage = Stage::Between(Vec::new());
        Ok(())
    }

    /// Passes on inflated text up to the limit.
    fn pass_on(&mut self, inflated: &[u8], text: &mut Take<'_>) -> Result<(), InflateError> {
        let room = usize::try_from(self.limit - self.inflated).unwrap_or(usize::MAX);
        let piece = &inflated[..inflated.len().min(room)];
        self.inflated += piece.len() as u64;
        if !piece.is_empty() {
            text(piece)?;
        }
        if piece.len() < inflated.len() {
            self.stage = Stage::Failed;
            return Err(InflateError::TooLarge(self.limit));
        }
        Ok(())
    }

    fn finish(&mut self, text: &mut Take<'_>) -> Result<(), InflateError> {
        if matches!(self.stage, Stage::Member(_)) {
            self.end_member(text)?;
        }
        match &mut self.stage {
            Stage::Between(mark) if mark.is_empty() => Ok(()),
            Stage::Between(mark) if !MEMBER.starts_with(mark) => Err(InflateError::Trailing(mem::take(mark))),
            _ => Err(InflateError::Damaged),
        }
    }
}

/// The body of a request; gzip or plain, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InflatedBody<'b> {
    /// The whole text.
    Text(Cow<'b, [u8]>),
    /// Valid gzip with more text than is held in memory.
    LongGzip {
        /// Whether the text is only white space.
        is_blank: bool,
    },
}

/// Reads the body of a request to its end, so that no row of a damaged body is ingested.
pub(crate) fn body(body: &[u8]) -> Result<InflatedBody<'_>, InflateError> {
    if !body.starts_with(&MAGIC) {
        return match signature::of(body) {
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
