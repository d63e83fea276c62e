//! The input file: by name or from standard input, plain or gzip by its first bytes, as for ingest.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read},
    path::Path,
};

use ingest::{
    charset::Charset,
    inflate::{Inflate, InflateError, OBJECT_BYTES},
    rows::{Format, Rows},
};

use crate::{error::Error, progress::Progress};

/// Bytes read at once; few, so that the progress shows what was sent rather than what was buffered.
const CHUNK: usize = 16 * 1024;

/// A file opened for reading.
pub struct Input {
    /// The name of the file.
    pub name: String,
    /// Its format.
    pub format: Format,
    /// The charset of its text.
    pub charset: Charset,
    reader: Box<dyn Read>,
    inflate: Inflate,
    chunk: Vec<u8>,
    text: Vec<u8>,
    ended: bool,
    failed: Option<InflateError>,
}

/// The next part of the text.
#[derive(Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// Some of it.
    Piece(&'a [u8]),
    /// The end.
    End,
    /// The error that ends it: the data cannot be read further.
    Broken(InflateError),
}

/// Whether more rows may follow.
#[derive(Debug)]
pub enum TextState {
    /// They may.
    More,
    /// The rows are complete.
    Ended,
    /// The data cannot be read further.
    Broken(InflateError),
}

impl Input {
    /// Opens the file, or standard input for `-`. Without a declared format, the file's name decides; standard input is
    /// CSV. The progress shows how far the file has been read, if it is displayed.
    ///
    /// # Errors
    ///
    /// When there is no such file, or its name does not say its format.
    pub fn open(path: &Path, declared: Option<Format>, show: bool) -> Result<(Self, Progress), Error> {
        let progress = |bytes| if show { Progress::of_bytes(bytes) } else { Progress::hidden() };
        if path.as_os_str() == "-" {
            let name = "standard input".to_owned();
            let progress = progress(None);
            let reader = progress.reading(io::stdin());
            return Ok((Self::new(name, declared.unwrap_or(Format::Csv), reader), progress));
        }
        let name = path.display().to_string();
        let read = |source| Error::Read { name: name.clone(), source };
        let file = File::open(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        let by_name = || path.file_name().and_then(OsStr::to_str).and_then(Format::of_name);
        let Some(format) = declared.or_else(by_name) else {
            return Err(Error::UnknownFormat(name));
        };
        let progress = progress(metadata.is_file().then_some(metadata.len()));
        let reader = progress.reading(file);
        Ok((Self::new(name, format, reader), progress))
    }

    fn new(name: String, format: Format, reader: impl Read + 'static) -> Self {
        Self {
            name,
            format,
            charset: Charset::default(),
            reader: Box::new(reader),
            inflate: Inflate::new(OBJECT_BYTES),
            chunk: vec![0; CHUNK],
            text: Vec::new(),
            ended: false,
            failed: None,
        }
    }

    /// The next bytes of the text, or why there are no more.
    ///
    /// # Errors
    ///
    /// When the file cannot be read any further.
    pub fn read(&mut self) -> Result<Text<'_>, Error> {
        self.text.clear();
        while self.text.is_empty() {
            if let Some(error) = self.failed.take() {
                return Ok(Text::Broken(error));
            }
            if self.ended {
                return Ok(Text::End);
            }
            let most = CHUNK.min(self.inflate.step_bytes());
            let text = &mut self.text;
            let inflated = match self.reader.read(&mut self.chunk[..most]) {
                Ok(0) => {
                    self.ended = true;
                    self.inflate.finish(|piece| text.extend_from_slice(piece))
                }
                Ok(length) => self.inflate.push(&self.chunk[..length], |piece| text.extend_from_slice(piece)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
                Err(source) => return Err(Error::Read { name: self.name.clone(), source }),
            };
            if let Err(error) = inflated {
                self.ended = true;
                self.failed = Some(error);
            }
        }
        Ok(Text::Piece(&self.text))
    }

    /// Adds the next bytes of the text to the rows, or ends them.
    ///
    /// # Errors
    ///
    /// When the file cannot be read any further.
    pub fn feed(&mut self, rows: &mut Rows<'_>) -> Result<TextState, Error> {
        Ok(match self.read()? {
            Text::Piece(piece) => {
                rows.push(piece);
                TextState::More
            }
            Text::End => {
                rows.finish();
                TextState::Ended
            }
            Text::Broken(error) => {
                rows.finish_damaged(&error);
                TextState::Broken(error)
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use super::*;

    /// An input of that text.
    pub(crate) fn input(format: Format, text: &[u8]) -> Input {
        Input::new("a test".to_owned(), format, io::Cursor::new(text.to_vec()))
    }

    fn whole(mut input: Input) -> (Vec<u8>, Option<InflateError>) {
        let mut text = Vec::new();
        loop {
            match input.read().unwrap() {
                Text::Piece(piece) => text.extend_from_slice(piece),
                Text::End => return (text, None),
                Text::Broken(error) => return (text, Some(error)),
            }
        }
    }

    /// Gzip without compression, so that a cut leaves the text before it.
    pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn gzip_with_any_number_of_members_is_inflated() {
        let text = "ID,Severity\na,2\n".repeat(10_000);
        let packed = [gzip(text.as_bytes()), gzip(b"b,3\n")].concat();
        let expected = format!("{text}b,3\n").into_bytes();
        assert_eq!(whole(input(Format::Csv, &packed)), (expected, None));
        for plain in [text.as_bytes(), b""] {
            assert_eq!(whole(input(Format::Csv, plain)), (plain.to_vec(), None));
        }
    }

    #[test]
    fn truncated_gzip_is_read_up_to_its_end() {
        let text = "ID,Severity\na,2\n".repeat(1_000);
        let packed = gzip(text.as_bytes());
        let (read, error) = whole(input(Format::Csv, &packed[..packed.len() / 2]));
        assert!(!read.is_empty() && text.as_bytes().starts_with(&read));
        assert_eq!(error, Some(InflateError::Damaged));
    }

    #[test]
    fn missing_file_is_named() {
        let error = Input::open(Path::new("/nowhere/a.csv"), None, false).err().unwrap().to_string();
        assert!(error.starts_with("could not read /nowhere/a.csv: No such file"), "{error}");
        let error = Input::open(Path::new("Cargo.lock.txt"), None, false).err().unwrap().to_string();
        assert!(error.contains("Cargo.lock.txt"), "{error}");
    }
}
