//! JSON strings, and the keys of objects.

use super::{scan::plain_run, writer::Writer};

/// Writes `text` as a JSON string, as compact as JSON allows.
pub fn write_string(text: &str, out: &mut Writer) {
    out.byte(b'"');
    let mut rest = text.as_bytes();
    // Runs without bytes to escape are copied whole.
    loop {
        let at = plain_run(rest);
        out.text(&rest[..at]);
        if at == rest.len() {
            break;
        }
        match rest[at] {
            b'"' => out.text(b"\\\""),
            b'\\' => out.text(b"\\\\"),
            b'\n' => out.text(b"\\n"),
            b'\r' => out.text(b"\\r"),
            b'\t' => out.text(b"\\t"),
            control => out.text(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[at + 1..];
    }
    out.byte(b'"');
}

/// The key of an entry of a JSON object, up to its value: `"name":`.
#[must_use]
pub fn key(name: &str) -> Vec<u8> {
    let mut key = Writer::default();
    write_string(name, &mut key);
    key.byte(b':');
    key.into_bytes()
}

/// The beginning of an entry of a JSON object that is not its first, up to its value: `,"name":`.
#[must_use]
pub fn entry(name: &str) -> Vec<u8> {
    [b",", &key(name)[..]].concat()
}
