//! Rows, and the formats in which they arrive.

use super::{Cells, Header};
use crate::charset::Charset;

/// The format of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Rows of cells below a header line, quoted as in RFC 4180, separated by commas or another separator.
    Csv,
    /// A JSON object on each line.
    Ndjson,
    /// A JSON array of objects, or a sequence of objects.
    Json,
}

impl Format {
    /// The name of the format in a request.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Json => "json",
        }
    }

    /// The format that the suffix of a file's name or an object's key names, in any case; a final `.gz` is ignored.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let (_, extension) = name.strip_suffix(".gz").unwrap_or(&name).rsplit_once('.')?;
        extension.parse().ok()
    }
}

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "csv" => Ok(Self::Csv),
            "ndjson" | "jsonl" => Ok(Self::Ndjson),
            "json" => Ok(Self::Json),
            other => Err(format!("format `{other}` is unknown: expected csv, ndjson or json")),
        }
    }
}

/// A row of a text.
#[derive(Debug)]
pub struct Row<'a> {
    /// Position among the rows of the text, from 0. In a JSON array it is the position of the element. A header is not
    /// counted, unless it cannot be used and so becomes a rejected row.
    pub index: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its original text, without the line end.
    pub text: &'a [u8],
    /// The charset of the text.
    pub charset: Charset,
    /// Whether its cells have U+FFFD for bytes that are not text in that charset. For JSON it is not known yet.
    pub is_altered: bool,
    /// The header of a CSV.
    pub header: Option<&'a Header>,
    /// Its content.
    pub content: Content<'a>,
}

/// The content of a row.
#[derive(Debug)]
pub enum Content<'a> {
    /// The cells of a CSV row, at least as many as its header needs.
    Cells(&'a Cells),
    /// A JSON text.
    Json,
    /// A row that cannot be used.
    Broken {
        /// A short stable code.
        reason: &'static str,
        /// What is wrong, and what was expected.
        detail: String,
    },
}

/// Why a text has no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoRows {
    /// There is nothing but blank space.
    #[error("there is nothing but blank space: expected rows")]
    Blank,
    /// There is a header and nothing else.
    #[error("there is a header but no row below it")]
    OnlyHeader,
    /// There is an array without elements.
    #[error("the array has no elements: expected at least one object")]
    EmptyArray,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffix_names_the_format_in_any_case() {
        for (name, format) in [
            ("a.csv", Some(Format::Csv)),
            ("deep.json/A.CSV.GZ", Some(Format::Csv)),
            ("a.b.Json", Some(Format::Json)),
            ("a.ndjson.gz", Some(Format::Ndjson)),
            ("a.JSONL", Some(Format::Ndjson)),
            ("a.gz", None),
            ("a.txt", None),
            ("csv", None),
            ("deep.csv/a", None),
            ("", None),
        ] {
            assert_eq!(Format::of_name(name), format, "{name}");
        }
    }
}
