//! Texts that mean "nothing" in the files of a data set, such as `NA` or `NULL`.

use crate::data::excerpt::excerpt;

/// The most texts that a data set may list, and the most characters of each.
const LISTED: usize = 100;
const CHARS: usize = 100;

/// The texts that mean that a cell is blank.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blanks(Vec<String>);

impl Blanks {
    /// The texts of a data set's file; an error names a text that is not allowed.
    pub(super) fn new(texts: Vec<String>) -> Result<Self, String> {
        if texts.len() > LISTED {
            return Err(format!("`blanks`: expected at most {LISTED} texts, found {}", texts.len()));
        }
        for (at, text) in texts.iter().enumerate() {
            if text.is_empty() || text.trim() != text || text.chars().count() > CHARS {
                return Err(format!(
                    "`blanks`: expected texts of 1 to {CHARS} characters without blanks around them, found `{}`",
                    excerpt(text)
                ));
            }
            if texts[..at].contains(text) {
                return Err(format!("`blanks`: expected each text once, found `{text}` twice"));
            }
        }
        Ok(Self(texts))
    }

    /// The texts, in the file's order.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.0
    }

    /// Whether the data set lists no texts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a cell with that text is blank. Blanks around the text are ignored; upper and lower case differ.
    #[must_use]
    pub fn hold(&self, text: &str) -> bool {
        let text = text.trim();
        self.0.iter().any(|blank| blank == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blanks(texts: &[&str]) -> Result<Blanks, String> {
        Blanks::new(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn texts_are_compared_without_the_blanks_around_them() {
        let blanks = blanks(&["NA", "\\N", "?", "nicht bekannt"]).unwrap();
        for text in ["NA", " NA\t", "\\N", "?", "nicht bekannt\u{a0}"] {
            assert!(blanks.hold(text), "{text}");
        }
        for text in ["na", "NAN", "N A", "", "\\n"] {
            assert!(!blanks.hold(text), "{text}");
        }
        assert!(Blanks::default().is_empty() && !Blanks::default().hold(""));
    }

    #[test]
    fn texts_that_no_cell_can_have_are_refused() {
        let long = "x".repeat(101);
        for (texts, expected) in [
            (&["NA", ""][..], "found ``"),
            (&[" NA"], "found ` NA`"),
            (&["NA", "NA"], "found `NA` twice"),
            (&[&long], "expected texts of 1 to 100 characters"),
        ] {
            let error = blanks(texts).unwrap_err();
            assert!(error.starts_with("`blanks`: expected ") && error.contains(expected), "{error}");
        }
        assert!(Blanks::new((0..101).map(|n| n.to_string()).collect()).is_err());
    }
}
