//! Charsets: how the bytes of a text are decoded when its sender declares that it is not UTF-8.
//!
//! Only charsets with one byte for each character are supported. All of them contain ASCII unchanged. Rows can
//! therefore be cut from the raw bytes, and a position is a byte offset in any charset.

use std::{borrow::Cow, str::FromStr};

use encoding_rs::{Encoding, UTF_8, X_USER_DEFINED};
use shared::data::{event, excerpt::excerpt};

/// What is expected of a declared charset.
const EXPECTED: &str = "expected utf-8, windows-1252, iso-8859-1 or another one of one byte a character";

/// What a sentence about a rejected row adds if the row may have been read in the wrong charset.
pub(crate) const NOT_IN_CHARSET: &str = "; it has bytes that are not text in its charset: declare the charset in which it was written, such as windows-1252";

/// A charset; UTF-8 unless another is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Charset(&'static Encoding);

impl Default for Charset {
    fn default() -> Self {
        Self(UTF_8)
    }
}

impl Charset {
    /// Its name in the Encoding Standard, such as `windows-1252`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// Whether it is UTF-8.
    pub(crate) fn is_utf8(self) -> bool {
        self.0 == UTF_8
    }

    /// The text of some bytes, and whether any byte is not a character. Such bytes become U+FFFD.
    #[must_use]
    pub fn decode(self, bytes: &[u8]) -> (Cow<'_, str>, bool) {
        if self.is_utf8() {
            let text = event::lossy(bytes);
            let is_altered = matches!(text, Cow::Owned(_));
            return (text, is_altered);
        }
        self.0.decode_without_bom_handling(bytes)
    }

    /// The same, with text that differs from the bytes in `buffer`.
    pub(crate) fn decode_into<'a>(self, bytes: &'a [u8], buffer: &'a mut String) -> (&'a str, bool) {
        match self.decode(bytes) {
            (Cow::Borrowed(text), is_altered) => (text, is_altered),
            (Cow::Owned(text), is_altered) => {
                *buffer = text;
                (buffer, is_altered)
            }
        }
    }
}

impl FromStr for Charset {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let label = name.trim().to_ascii_lowercase();
        match encoding(&label) {
            Some(encoding) if encoding == UTF_8 => Ok(Self(UTF_8)),
            Some(encoding) if encoding.is_single_byte() && encoding != X_USER_DEFINED => Ok(Self(encoding)),
            Some(_) => Err(format!("charset `{}` is not supported: {EXPECTED}", excerpt(&label))),
            None => Err(format!("charset `{}` is unknown: {EXPECTED}", excerpt(&label))),
        }
    }
}

/// The encoding that a label names, also in the spellings of Python and of Windows.
fn encoding(label: &str) -> Option<&'static Encoding> {
    // The Encoding Standard reads ASCII as Windows-1252. UTF-8 contains ASCII, too, and is what most senders mean.
    if matches!(label, "ascii" | "us-ascii" | "utf-8-sig") {
        return Some(UTF_8);
    }
    Encoding::for_label(label.as_bytes()).or_else(|| {
        let plain = label.replace(['-', '_', ' '], "");
        match plain.strip_prefix("windows").or_else(|| plain.strip_prefix("win")) {
            Some(page) => Encoding::for_label(format!("windows-{page}").as_bytes()),
            None => Encoding::for_label(plain.as_bytes()),
        }
    })
}

/// The charset that a content type names, if it names one.
pub(crate) fn of_content_type(content_type: &str) -> Option<&str> {
    content_type.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn charsets_are_known_by_their_usual_names() {
        for (name, expected) in [
            ("utf-8", "UTF-8"),
            ("UTF8", "UTF-8"),
            ("utf-8-sig", "UTF-8"),
            ("us-ascii", "UTF-8"),
            ("Windows-1252", "windows-1252"),
            ("cp1252", "windows-1252"),
            ("WIN1252", "windows-1252"),
            ("iso-8859-1", "windows-1252"),
            ("latin-1", "windows-1252"),
            ("latin1", "windows-1252"),
            (" ISO_8859-15 ", "ISO-8859-15"),
            ("windows-1251", "windows-1251"),
            ("macintosh", "macintosh"),
        ] {
            assert_eq!(name.parse::<Charset>().map(Charset::name), Ok(expected), "{name}");
        }
    }

    #[test]
    fn charset_that_cannot_be_read_is_refused_by_name() {
        let long = "x".repeat(10_000);
        for (name, begin) in [
            ("utf-16", "charset `utf-16` is not supported: expected utf-8, windows-1252"),
            ("Shift_JIS", "charset `shift_jis` is not supported"),
            ("x-user-defined", "charset `x-user-defined` is not supported"),
            ("klingon", "charset `klingon` is unknown: expected utf-8"),
            ("", "charset `` is unknown"),
            (&long, "charset `xxx"),
        ] {
            let error = name.parse::<Charset>().unwrap_err();
            assert!(error.starts_with(begin) && error.len() < 300, "{error}");
        }
    }

    #[test]
    fn content_type_names_its_charset() {
        for (content_type, expected) in [
            ("text/csv", None),
            ("text/csv; charset=latin1", Some("latin1")),
            ("text/csv;header=present; Charset=\"ISO-8859-1\" ", Some("ISO-8859-1")),
            ("charset=latin1", None),
        ] {
            assert_eq!(of_content_type(content_type), expected, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_one_byte_charsets_are_read_one_by_one(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            name in proptest::sample::select(vec!["windows-1252", "iso-8859-2", "koi8-r", "ibm866", "windows-1253"]),
        ) {
            let charset: Charset = name.parse().unwrap();
            let (text, is_altered) = charset.decode(&bytes);
            prop_assert_eq!(text.chars().count(), bytes.len());
            for (character, byte) in text.chars().zip(&bytes) {
                prop_assert!(!byte.is_ascii() || character == char::from(*byte));
                prop_assert!(byte.is_ascii() || !character.is_ascii());
            }
            prop_assert_eq!(is_altered, text.contains('\u{fffd}'));
        }
    }
}
