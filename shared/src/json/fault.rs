//! Errors of JSON texts, reported without repeating any of the text.

use serde_json::{Error, error::Category};

/// Says what is wrong with a text that is not JSON, or not the expected JSON, and where.
///
/// The parser's own sentence about a value of another type quotes that value. It may be anybody's data, which must not
/// get into logs and answers. So only the expected type is reported.
#[must_use]
pub fn fault(error: &Error) -> String {
    let text = error.to_string();
    if error.classify() != Category::Data || text.starts_with("missing field ") {
        return text;
    }
    // The value comes first in the sentence, so the last "expected" is the parser's.
    match text.rsplit_once(", expected ") {
        Some((_, expected)) if expected.starts_with("struct ") => {
            format!("expected an object at line {} column {}", error.line(), error.column())
        }
        Some((_, expected)) => format!("expected {expected}"),
        None => format!("a value that does not fit at line {} column {}", error.line(), error.column()),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is read alone")]
    struct Shape {
        count: u8,
        kind: Kind,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Good,
    }

    #[test]
    fn error_has_the_position_and_not_the_value() {
        for (text, expected) in [
            (r#"{"count":"secret"}"#, "expected u8 at line 1 column 17"),
            (r#"{"count":", expected secret"}"#, "expected u8 at line 1 column 28"),
            (r#"{"count":4242}"#, "expected u8 at line 1 column 13"),
            (r#"{"count":1,"kind":"secret"}"#, "expected `good` at line 1 column 26"),
            ("[]", "expected an object at line 1 column 2"),
            (r#""secret""#, "expected an object at line 1 column 8"),
            (r#"{"kind":"good"}"#, "missing field `count` at line 1 column 15"),
            ("{\n\"count\":secret}", "expected value at line 2 column 9"),
            (r#"{"count":1"#, "EOF while parsing an object at line 1 column 10"),
        ] {
            assert_eq!(fault(&serde_json::from_str::<Shape>(text).unwrap_err()), expected, "{text}");
        }
    }

    #[test]
    fn a_message_of_a_types_own_is_not_repeated() {
        #[derive(Debug)]
        struct Even;
        impl<'de> Deserialize<'de> for Even {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let number = u8::deserialize(deserializer)?;
                Err(serde::de::Error::custom(format!("{number} is odd")))
            }
        }
        let error = serde_json::from_str::<Vec<Even>>("[77]").unwrap_err();
        assert_eq!(fault(&error), "a value that does not fit at line 1 column 4");
    }
}
