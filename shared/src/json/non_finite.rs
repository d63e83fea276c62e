//! `NaN`, `Infinity` and `-Infinity`: numbers that JSON does not have, but that Python writes.
//!
//! An event is read as JSON first. If that fails, it is read again with each of them replaced by an ordinary number of
//! the same length. So all values keep their places, and the reader need not support these numbers.

use memchr::{memchr2, memchr3};

/// What Python's `json.dumps` writes for floats that are not finite.
///
/// Source: Python documentation, `json`, "Infinite and NaN Number Values".
const TOKENS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Whether a value is one of them, as it is written in a JSON text.
#[must_use]
pub fn is_non_finite(json: &str) -> bool {
    matches!(json, "NaN" | "Infinity" | "-Infinity")
}

/// The text with each such number replaced by a finite one of the same length; nothing if it has none.
///
/// Only whole values are replaced, so a text that is not JSON for another reason stays invalid.
#[must_use]
pub fn masked(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut masked = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(found) = memchr3(b'"', b'N', b'I', &bytes[at..]) {
        at += found;
        if bytes[at] == b'"' {
            at = string_end(bytes, at);
            continue;
        }
        let begin = if bytes[..at].ends_with(b"-") { at - 1 } else { at };
        match token(bytes, begin) {
            Some(length) => {
                masked.push_str(&text[copied..begin]);
                masked.extend(std::iter::repeat_n('1', length));
                copied = begin + length;
                at = copied;
            }
            None => at += 1,
        }
    }
    (copied > 0).then(|| masked + &text[copied..])
}

/// The length of the token at `begin`, if it is a whole value.
fn token(bytes: &[u8], begin: usize) -> Option<usize> {
    let (before, from) = bytes.split_at(begin);
    let token = TOKENS.iter().find(|token| from.starts_with(token.as_bytes()))?;
    let begins = before.last().is_none_or(|byte| b" \t\r\n:,[".contains(byte));
    let ends = from.get(token.len()).is_none_or(|byte| b" \t\r\n,]}".contains(byte));
    (begins && ends).then_some(token.len())
}

/// The end of the string whose opening quote is at `at`.
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    at += 1;
    while let Some(found) = memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found;
        if bytes[at] == b'"' {
            return at + 1;
        }
        at += 2;
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn tokens_become_numbers_of_the_same_length() {
        for (text, expected) in [
            (r#"{"a":NaN}"#, Some(r#"{"a":111}"#)),
            (r#"{"a":Infinity,"b":[-Infinity, NaN ]}"#, Some(r#"{"a":11111111,"b":[111111111, 111 ]}"#)),
            ("NaN", Some("111")),
            (r#"{"NaN":"Infinity","I":"\"NaN"}"#, None),
            (r#"{"a":"\\","b":NaN}"#, Some(r#"{"a":"\\","b":111}"#)),
            // These are not values, and stay what they are.
            (r#"{"a":1NaN}"#, None),
            (r#"{"a":NaNNaN}"#, None),
            (r#"{"a":--Infinity}"#, None),
            (r#"{"a":"x"NaN}"#, None),
            (r#"{"a":-NaN}"#, None),
            (r#"{"a":nan}"#, None),
            (r#"{"a":NaN"#, Some(r#"{"a":111"#)),
            (r#"{"a":"NaN"#, None),
            (r#"{"a":"\"#, None),
        ] {
            assert_eq!(masked(text).as_deref(), expected, "{text}");
        }
    }

    /// JSON without the tokens, and the places of its scalars.
    fn json() -> impl Strategy<Value = String> {
        let scalar = prop_oneof![
            Just("\u{1}".to_owned()),
            Just("1".to_owned()),
            "\"(NaN|[a-zé,:]|\\\\\"|\\\\\\\\){0,4}\"".prop_map(|text| text),
        ];
        scalar.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4)
                    .prop_map(|values| format!("[{}]", values.join(", "))),
                proptest::collection::vec(inner, 0..4).prop_map(|values| {
                    let entries: Vec<_> =
                        values.iter().enumerate().map(|(n, value)| format!("\"N{n}\":{value}")).collect();
                    format!("{{{}}}", entries.join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_value_may_be_a_token_at_any_depth(json in json(), token in proptest::sample::select(TOKENS.to_vec())) {
            let text = json.replace('\u{1}', token);
            let plain = json.replace('\u{1}', &"1".repeat(token.len()));
            let is_replaced = text != plain;
            prop_assert_eq!(masked(&text), is_replaced.then(|| plain.clone()));
            prop_assert!(serde_json::from_str::<Value>(&plain).is_ok());
        }

        #[test]
        fn masking_keeps_positions_in_any_text(text in "(NaN|-?Infinity|[\"\\\\:,{}\\[\\] 1é]){0,20}") {
            if let Some(masked) = masked(&text) {
                prop_assert_eq!(masked.len(), text.len());
                let differs = text.bytes().zip(masked.bytes()).filter(|(one, other)| one != other);
                prop_assert!(differs.clone().all(|(_, other)| other == b'1') && differs.count() > 0);
            }
        }
    }
}
