//! The file that is read: plain or gzip by its first bytes, as ingest reads it, by name or from standard input.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use ingest::{
    charset::Charset,
    inflate::{Inflate, InflateError, OBJECT_BYTES},
    rows::Format,
};

use crate::{error::Error, progress::Progress};

/// Bytes read at a time, so few that the progress shows what was sent rather than what lies ready.
const CHUNK: usize = 16 * 1024;

/// A file opened for reading.
pub struct Input {
    /// The file as it was named.
    pub name: String,
    /// How it holds its rows.
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

/// What comes next of the text.
#[derive(Debug, PartialEq, Eq)]
pub enum Text<'a> {
    /// Some of it.
    Piece(&'a [u8]),
    /// Its end.
    End,
    /// Nothing: the data cannot be read to its end.
    Broken(InflateError),
}

impl Input {
    /// Opens the file, or standard input for `-`. Without a declared format the name tells it; standard input is CSV.
    /// The progress shows how far it has been read, if it is to be shown.
    ///
    /// # Errors
    ///
    /// When there is no such file, or its name does not tell its format.
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
        let Some(format) = declared.or_else(|| format_of(path)) else {
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
}

/// The format that the file's name tells, behind which `.gz` may stand.
fn format_of(path: &Path) -> Option<Format> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let (_, extension) = name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.')?;
    extension.parse().ok()
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

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(text).unwrap();
        gzip.finish().unwrap()
    }

    #[test]
    fn the_name_tells_the_format() {
        let cases = [
            ("a.csv", Some(Format::Csv)),
            ("dir.json/A.CSV.GZ", Some(Format::Csv)),
            ("a.b.ndjson", Some(Format::Ndjson)),
            ("a.jsonl.gz", Some(Format::Ndjson)),
            ("a.json", Some(Format::Json)),
            ("a.txt", None),
            ("csv", None),
            (".gz", None),
        ];
        for (name, expected) in cases {
            assert_eq!(format_of(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn gzip_is_read_as_what_it_holds_however_many_members_it_has() {
        let text = "ID,Severity\na,2\n".repeat(10_000);
        let packed = [gzip(text.as_bytes()), gzip(b"b,3\n")].concat();
        let expected = format!("{text}b,3\n").into_bytes();
        assert_eq!(whole(input(Format::Csv, &packed)), (expected, None));
        for plain in [text.as_bytes(), b""] {
            assert_eq!(whole(input(Format::Csv, plain)), (plain.to_vec(), None));
        }
    }

    #[test]
    fn a_gzip_cut_short_is_read_as_far_as_it_goes() {
        let text = "ID,Severity\na,2\n".repeat(1_000);
        let packed = gzip(text.as_bytes());
        let (read, error) = whole(input(Format::Csv, &packed[..packed.len() / 2]));
        assert!(!read.is_empty() && text.as_bytes().starts_with(&read));
        assert_eq!(error, Some(InflateError::Damaged));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Input::open(Path::new("/nowhere/a.csv"), None, false).err().unwrap().to_string();
        assert!(error.starts_with("cannot read /nowhere/a.csv: No such file"), "{error}");
        let error = Input::open(Path::new("Cargo.lock.txt"), None, false).err().unwrap().to_string();
        assert!(error.contains("Cargo.lock.txt"), "{error}");
    }
}
