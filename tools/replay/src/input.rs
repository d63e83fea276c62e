//! The file that is read: plain or gzip, by name or from standard input.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use ingest::rows::Format;

use crate::{error::Error, progress::Progress};

/// Bytes read at a time, so few that the progress shows what was sent rather than what lies ready.
const CHUNK: usize = 16 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file opened for reading.
pub struct Input {
    /// The file as it was named.
    pub name: String,
    /// How it holds its rows.
    pub format: Format,
    reader: Box<dyn Read>,
    chunk: Vec<u8>,
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
            return Ok((Self::new(name, declared.unwrap_or(Format::Csv), reader)?, progress));
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
        Ok((Self::new(name, format, reader)?, progress))
    }

    fn new(name: String, format: Format, reader: impl Read + 'static) -> Result<Self, Error> {
        let mut reader = BufReader::with_capacity(CHUNK, reader);
        let gzip = match reader.fill_buf() {
            Ok(begin) => begin.starts_with(&GZIP_MAGIC),
            Err(source) => return Err(Error::Read { name, source }),
        };
        let reader: Box<dyn Read> =
            if gzip { Box::new(MultiGzDecoder::new(reader)) } else { Box::new(reader) };
        Ok(Self { name, format, reader, chunk: vec![0; CHUNK] })
    }

    /// The next bytes of the text; none at its end.
    ///
    /// # Errors
    ///
    /// When the file cannot be read any further.
    pub fn read(&mut self) -> Result<&[u8], Error> {
        loop {
            match self.reader.read(&mut self.chunk) {
                Ok(length) => return Ok(&self.chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Read { name: self.name.clone(), source }),
            }
        }
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
        Input::new("a test".to_owned(), format, io::Cursor::new(text.to_vec())).unwrap()
    }

    fn whole(mut input: Input) -> Result<Vec<u8>, Error> {
        let mut text = Vec::new();
        loop {
            match input.read()? {
                [] => return Ok(text),
                chunk => text.extend_from_slice(chunk),
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
        let read = whole(input(Format::Csv, &packed)).unwrap();
        assert_eq!(read, format!("{text}b,3\n").as_bytes());
        assert_eq!(whole(input(Format::Csv, text.as_bytes())).unwrap(), text.as_bytes());
        assert_eq!(whole(input(Format::Csv, b"")).unwrap(), b"");
    }

    #[test]
    fn a_gzip_cut_short_is_said_to_be() {
        let packed = gzip("ID,Severity\na,2\n".repeat(1_000).as_bytes());
        let error = whole(input(Format::Csv, &packed[..packed.len() / 2])).unwrap_err().to_string();
        assert!(error.starts_with("cannot read a test: "), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Input::open(Path::new("/nowhere/a.csv"), None, false).err().unwrap().to_string();
        assert!(error.starts_with("cannot read /nowhere/a.csv: No such file"), "{error}");
        let error = Input::open(Path::new("Cargo.lock.txt"), None, false).err().unwrap().to_string();
        assert!(error.contains("Cargo.lock.txt"), "{error}");
    }
}
