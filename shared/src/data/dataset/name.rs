//! Names of keys, compared as readers that ignore case do.

use std::borrow::Cow;

/// The form in which names are compared without regard to case. Two names have the same form if any reader makes them
/// equal by converting case, as a whole or letter by letter.
///
/// Athena's reader of JSON converts keys to lower case. It does not accept a line with two equal keys as an object, so
/// all columns of the line read as null. Readers differ in rare cases (`\u{130}`, the Kelvin sign, a final sigma).
/// Converting to lower, upper and lower case again treats names as equal when in doubt.
/// Source: Athena user guide, OpenX JSON, `case.insensitive` and duplicate keys.
#[must_use]
pub fn fold(name: &str) -> Cow<'_, str> {
    if !name.is_ascii() {
        return Cow::Owned(name.to_lowercase().to_uppercase().to_lowercase());
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Borrowed(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_differ_in_case_only_are_equal() {
        for (one, other) in [
            ("City", "cITY"),
            ("\u{212a}ey", "key"),     // the Kelvin sign
            ("\u{130}d", "i\u{307}d"), // a capital i with its dot
            ("STRA\u{1e9e}E", "stra\u{df}e"),
            ("\u{39f}\u{394}\u{39f}\u{3a3}", "\u{3bf}\u{3b4}\u{3bf}\u{3c2}"), // a final sigma
            ("\u{39f}\u{394}\u{39f}\u{3a3}", "\u{3bf}\u{3b4}\u{3bf}\u{3c3}"),
            ("\u{17f}", "S"), // a long s
        ] {
            assert_eq!(fold(one), fold(other), "{one} {other}");
        }
        for (one, other) in [("City", "Cities"), ("city", "city "), ("e", "\u{e9}"), ("", "_")] {
            assert_ne!(fold(one), fold(other), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn equal_names_are_found_in_any_case_mapping(one in "\\PC{0,6}", other in "\\PC{0,6}") {
            for other in [other, one.to_lowercase(), one.to_uppercase(), one.to_ascii_uppercase()] {
                let letters = |name: &str| name.chars().flat_map(char::to_lowercase).collect::<String>();
                let same = one.to_lowercase() == other.to_lowercase()
                    || one.to_uppercase() == other.to_uppercase()
                    || letters(&one) == letters(&other);
                prop_assert!(!same || fold(&one) == fold(&other), "{} {}", one, other);
            }
        }
    }
}
