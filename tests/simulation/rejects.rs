//! The rejects of a function, as a reader of the rejects table sees them.

use std::collections::BTreeSet;

use bytes::Bytes;
use memchr::memmem;
use serde_json::Value;

use super::{
    services::payload,
    unit::{Id, ids_in},
};

/// The rejects of a function.
#[derive(Debug, Default)]
pub struct Rejects {
    /// Events with at least one line.
    pub touched: BTreeSet<Id>,
    /// Events whose payloads can be assembled from the lines.
    pub whole: BTreeSet<Id>,
    /// The number of payloads in several parts.
    pub in_parts: usize,
    /// Lines with a payload that was never sent, each in a sentence.
    pub strange: Vec<String>,
}

/// A part of a payload that is too large for one line.
struct Part {
    number: u64,
    of: u64,
    payload: Vec<u8>,
}

impl Rejects {
    /// Reads the lines of a function; `known` are all payloads that it can have received.
    #[must_use]
    pub fn read(function: &str, lines: &[Bytes], known: &BTreeSet<Bytes>) -> Self {
        let mut rejects = Self::default();
        let mut parts = Vec::new();
        for line in lines {
            let line: Value = serde_json::from_slice(line).unwrap_or_default();
            let payload = payload(&line);
            let part = line["part"].as_u64().zip(line["parts"].as_u64());
            let is_known = match part {
                None => known.contains(payload.as_slice()),
                Some((number, of)) => known.iter().any(|known| is_part_of(known, number, of, &payload)),
            };
            if line["function"] != function || !is_known {
                rejects.strange.push(format!("a reject of {function} holds what was never sent: {line}"));
            }
            match part {
                None => rejects.whole.extend(ids_in(&payload)),
                Some((number, of)) => parts.push(Part { number, of, payload }),
            }
        }
        rejects.touched.clone_from(&rejects.whole);
        rejects.touched.extend(parts.iter().flat_map(|part| ids_in(&part.payload)));
        for payload in known.iter().filter(|known| is_complete(known, &parts)) {
            rejects.whole.extend(ids_in(payload));
            rejects.in_parts += 1;
        }
        rejects
    }
}

/// Whether a payload contains a part, one `of` several.
fn is_part_of(payload: &[u8], number: u64, of: u64, part: &[u8]) -> bool {
    if payload.len() <= part.len() {
        return false;
    }
    // A search is slow, and most parts have the same number of bytes.
    let before = usize::try_from(number - 1).unwrap_or(usize::MAX).saturating_mul(part.len());
    let at = if number == of { payload.len() - part.len() } else { before };
    payload.get(at..).is_some_and(|rest| rest.starts_with(part)) || memmem::find(payload, part).is_some()
}

/// Whether a payload can be assembled from parts.
fn is_complete(payload: &[u8], parts: &[Part]) -> bool {
    let firsts = parts.iter().filter(|part| part.number == 1 && payload.starts_with(&part.payload));
    firsts.into_iter().any(|first| {
        let mut rest = payload;
        let fits = (1..=first.of).all(|number| {
            let mut candidates = parts.iter().filter(|part| part.number == number && part.of == first.of);
            let next = candidates.find(|part| rest.starts_with(&part.payload));
            if let Some(part) = next {
                rest = &rest[part.payload.len()..];
            }
            next.is_some()
        });
        fits && rest.is_empty()
    })
}
