//! The part of CBOR that CloudWatch needs.
//!
//! Source: RFC 8949.

use serde_json::{Map, Value, json};

/// The value of a body.
pub(crate) fn decode(body: &[u8]) -> Value {
    let mut rest = body;
    let value = item(&mut rest);
    assert!(rest.is_empty(), "{} bytes follow the value", rest.len());
    value
}

/// A map of texts.
pub(crate) fn encode(entries: &[(&str, &str)]) -> Vec<u8> {
    fn text(text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        [&[0x78, length], text.as_bytes()].concat()
    }
    let head = 0xA0 | u8::try_from(entries.len()).unwrap();
    let entries = entries.iter().flat_map(|(name, value)| [text(name), text(value)].concat());
    std::iter::once(head).chain(entries).collect()
}

fn take<'b>(rest: &mut &'b [u8], length: usize) -> &'b [u8] {
    let (taken, after) = rest.split_at(length);
    *rest = after;
    taken
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Whether an item of indefinite length ends here.
fn ends(rest: &mut &[u8]) -> bool {
    let ends = rest[0] == 0xFF;
    if ends {
        take(rest, 1);
    }
    ends
}

fn item(rest: &mut &[u8]) -> Value {
    let head = take(rest, 1)[0];
    let (major, minor) = (head >> 5, head & 0x1F);
    let argument = match minor {
        0..24 => Some(u64::from(minor)),
        24..28 => Some(number(take(rest, 1 << (minor - 24)))),
        _ => None,
    };
    let length = || usize::try_from(argument.unwrap()).unwrap();
    match major {
        0 => json!(argument),
        1 => json!(-1 - i64::try_from(argument.unwrap()).unwrap()),
        3 => match argument {
            Some(_) => json!(std::str::from_utf8(take(rest, length())).unwrap()),
            None => {
                let mut whole = String::new();
                while !ends(rest) {
                    whole += item(rest).as_str().unwrap();
                }
                json!(whole)
            }
        },
        4 => {
            let mut items = Vec::new();
            while argument.map_or_else(|| !ends(rest), |count| items.len() < usize::try_from(count).unwrap())
            {
                items.push(item(rest));
            }
            Value::Array(items)
        }
        5 => {
            let mut entries = Map::new();
            while argument
                .map_or_else(|| !ends(rest), |count| entries.len() < usize::try_from(count).unwrap())
            {
                let name = item(rest).as_str().unwrap().to_owned();
                entries.insert(name, item(rest));
            }
            Value::Object(entries)
        }
        // A tag gives the meaning of the next item: 1 is a time in seconds.
        6 => item(rest),
        7 => match (minor, argument.unwrap()) {
            (20, _) => json!(false),
            (21, _) => json!(true),
            (22 | 23, _) => Value::Null,
            (26, bits) => json!(f32::from_bits(u32::try_from(bits).unwrap())),
            (27, bits) => json!(f64::from_bits(bits)),
            (other, _) => panic!("simple value {other}"),
        },
        other => panic!("major type {other}"),
    }
}
