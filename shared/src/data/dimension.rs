//! Values of a metric's dimensions, as CloudWatch accepts them.

use deunicode::deunicode_with_tofu;

/// Characters of a dimension's value.
///
/// Source: CloudWatch API reference, `Dimension`.
const VALUE_CHARS: usize = 1024;
/// The value of a dimension that an event lacks.
const UNKNOWN: &str = "unknown";

/// A text in the form that CloudWatch accepts in a dimension: short ASCII without control characters, not blank, and
/// without a colon at its beginning.
#[must_use]
pub fn dimension(text: &str) -> String {
    // The transliteration drops control characters, which would join the words around them.
    let spaced = text.replace(char::is_control, " ");
    let ascii = deunicode_with_tofu(&spaced, "?");
    let printable = ascii.replace(|c: char| !c.is_ascii_graphic(), " ");
    let value = printable.trim_start_matches([' ', ':']).trim_end();
    match value.get(..VALUE_CHARS).unwrap_or(value).trim_end() {
        "" => UNKNOWN.to_owned(),
        value => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_made_fit_for_cloudwatch() {
        let cases = [
            ("Doña Ana", "Dona Ana"),
            ("Do\u{fffd}a Ana", "Do?a Ana"),
            ("", "unknown"),
            (" \u{a0} ", "unknown"),
            ("::x", "x"),
            (": ", "unknown"),
            ("a\r\nb\u{0}c", "a  b c"),
            ("Île-de-France", "Ile-de-France"),
            ("a\u{fffe}b\u{ffff}", "ab?"),
            ("🚑", "ambulance"),
            ("\u{7f}:x", "x"),
        ];
        for (text, expected) in cases {
            assert_eq!(dimension(text), expected, "{text:?}");
        }
        assert_eq!(dimension(&"é".repeat(2_000)), "e".repeat(1024));
    }

    #[test]
    fn a_control_character_never_joins_two_words() {
        for (text, expected) in [
            ("Do\u{f1}a\tAna", "Dona Ana"),
            ("Las\nCruces \u{e9}", "Las Cruces e"),
            ("Las\nCruces", "Las Cruces"),
        ] {
            assert_eq!(dimension(text), expected);
        }
    }
}
