//! Events: the top-level entries of a JSON object, borrowed from its text.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, hash_map::Entry},
    mem,
};

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde_json::value::RawValue;

use crate::{
    data::{
        cell,
        dataset::{Blanks, Dataset, Type},
        time::{DateOrder, Timestamp, is_stamp},
    },
    json::{self, Reader, Span, is_non_finite, masked, text::unescaped},
};

/// The byte order mark that some programs put before UTF-8.
pub const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The text of an event, without leading byte order marks and with U+FFFD for bytes that are not UTF-8.
#[must_use]
pub fn text(data: &[u8]) -> Cow<'_, str> {
    lossy(unmarked(data))
}

/// Data without leading byte order marks.
#[must_use]
pub fn unmarked(mut data: &[u8]) -> &[u8] {
    while let Some(rest) = data.strip_prefix(BOM) {
        data = rest;
    }
    data
}

/// Data as text, with U+FFFD for bytes that are not UTF-8.
///
/// Nearly all data is valid UTF-8. SIMD checks it in half the standard library's time.
#[must_use]
pub fn lossy(data: &[u8]) -> Cow<'_, str> {
    match simdutf8::basic::from_utf8(data) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(data),
    }
}

/// The entries of an event. Those of the data set's columns are found by index.
#[derive(Debug)]
pub struct Event<'a> {
    /// The value of each column of the data set as JSON, if there is one.
    pub columns: Vec<Option<&'a str>>,
    /// Entries that the data set does not know, as JSON, in their order.
    pub unknown: Vec<(Cow<'a, str>, &'a str)>,
    /// Earlier values of repeated keys, whose last value counts.
    pub superseded: Vec<(Cow<'a, str>, &'a str)>,
}

/// A value as a cell of a file would hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<'a> {
    /// No value: the entry is missing, `null` or an empty text.
    Blank,
    /// A string's text, or a number or boolean as it is written.
    Text(Cow<'a, str>),
    /// An object or array, as it is written: no cell can hold it.
    Nested(&'a str),
    /// `NaN` or an infinity, as it is written: a value, but of no column's type.
    NonFinite(&'a str),
}

impl<'a> Cell<'a> {
    /// A JSON value as a cell.
    #[must_use]
    pub fn of(value: Option<&'a str>) -> Self {
        let Some(json) = value else { return Self::Blank };
        match json.as_bytes().first() {
            Some(b'"') => match unquote(json) {
                text if text.is_empty() => Self::Blank,
                text => Self::Text(text),
            },
            Some(b'{' | b'[') => Self::Nested(json),
            Some(b'n') => Self::Blank,
            Some(b'N' | b'I' | b'-') if is_non_finite(json) => Self::NonFinite(json),
            _ => Self::Text(Cow::Borrowed(json)),
        }
    }

    /// Whether the cell is blank.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        *self == Self::Blank
    }

    /// The text of the cell; empty if it is blank.
    #[must_use]
    pub fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Blank => Cow::Borrowed(""),
            Self::Text(text) => text,
            Self::Nested(json) | Self::NonFinite(json) => Cow::Borrowed(json),
        }
    }

    /// The cell; blank if its text is one that the data set lists as blank.
    #[must_use]
    pub fn unless(self, blanks: &Blanks) -> Self {
        let means_nothing = match &self {
            Self::Text(text) => blanks.hold(text),
            Self::NonFinite(json) => blanks.hold(json),
            Self::Blank | Self::Nested(_) => false,
        };
        if means_nothing { Self::Blank } else { self }
    }
}

/// The text of a valid JSON string.
fn unquote(json: &str) -> Cow<'_, str> {
    let inner = &json[1..json.len() - 1];
    // Only a lone surrogate can be in a valid JSON string but not in text.
    unescaped(inner).unwrap_or(Cow::Borrowed(inner))
}

impl<'a> Event<'a> {
    /// Reads the entries of a JSON object; an error says what is wrong with the text, and where. A column that is
    /// blank has no value.
    pub fn parse(dataset: &Dataset, json: &'a str) -> Result<Self, NotAnEvent> {
        let mut event = Self::as_sent(dataset, json)?;
        for value in &mut event.columns {
            *value = value.filter(|value| !is_blank(dataset, value));
        }
        Ok(event)
    }

    /// Reads the entries of a JSON object with all their values, including those that mean "nothing".
    pub fn as_sent(dataset: &Dataset, json: &'a str) -> Result<Self, NotAnEvent> {
        let event = Self::read(dataset, json, json);
        event.or_else(|| Self::read(dataset, json, &masked(json)?)).ok_or_else(|| NotAnEvent::of(json))
    }

    /// Reads the entries of `json`, of which `text` has the form.
    fn read(dataset: &Dataset, json: &'a str, text: &str) -> Option<Self> {
        let mut event =
            Self { columns: vec![None; dataset.columns.len()], unknown: Vec::new(), superseded: Vec::new() };
        // Where the entry of each unknown key is among those entries.
        let mut places: HashMap<_, usize> = HashMap::new();
        entries(dataset, json, text, |key, value| {
            let value = value.of(json);
            match key {
                Key::Column(column) => {
                    if let Some(earlier) = event.columns[column].replace(value) {
                        let key = dataset.columns[column].name.clone();
                        event.superseded.push((key.into(), earlier));
                    }
                }
                Key::Unknown(key) => match places.entry(key.clone()) {
                    Entry::Occupied(place) => {
                        let earlier = mem::replace(&mut event.unknown[*place.get()].1, value);
                        event.superseded.push((key, earlier));
                    }
                    Entry::Vacant(place) => {
                        place.insert(event.unknown.len());
                        event.unknown.push((key, value));
                    }
                },
            }
        })?;
        Some(event)
    }

    /// The value of a column as a cell.
    #[must_use]
    pub fn cell(&self, column: usize) -> Cell<'a> {
        Cell::of(self.columns[column])
    }

    /// The level of the event's severity.
    #[must_use]
    pub fn level(&self, dataset: &Dataset) -> Option<i64> {
        level(dataset, self.columns[dataset.severity]?)
    }

    /// The instant of a column, if it holds a time.
    #[must_use]
    pub fn instant(&self, column: usize) -> Option<DateTime<Utc>> {
        instant(self.columns[column]?)
    }
}

/// Writes a JSON value as JSON of the column's type; returns false if it cannot be read as that type.
pub fn write(dataset: &Dataset, column: usize, value: &str, out: &mut Vec<u8>) -> bool {
    match (dataset.columns[column].kind, value.as_bytes().first()) {
        // A value that already has the type is copied unchanged.
        (Type::String, Some(b'"')) if value.len() > 2 => out.extend_from_slice(value.as_bytes()),
        (Type::Boolean, Some(b't' | b'f')) => out.extend_from_slice(value.as_bytes()),
        (Type::Timestamp, Some(b'"')) if is_stamp(value) => out.extend_from_slice(value.as_bytes()),
        (kind, _) => match Cell::of(Some(value)) {
            Cell::Text(text) => return cell::write(kind, &text, dataset.date_order, out).is_ok(),
            Cell::Blank | Cell::Nested(_) | Cell::NonFinite(_) => return false,
        },
    }
    true
}

/// Where the values of an event's columns are in its text, by index. One pass finds them, so events without an output
/// need no copies.
#[derive(Debug, Default)]
pub struct Places(Vec<Option<Span>>);

impl Places {
    /// Finds the values of an event. If a column is repeated, its last value counts; other entries are only checked for
    /// form. A column that is blank has no value.
    pub fn find(&mut self, dataset: &Dataset, json: &str) -> Result<(), NotAnEvent> {
        if self.find_in(dataset, json).is_none() {
            return self.find_masked(dataset, json);
        }
        if !dataset.blanks.is_empty() {
            self.leave_out_blanks(dataset, json);
        }
        Ok(())
    }

    fn find_in(&mut self, dataset: &Dataset, text: &str) -> Option<()> {
        self.0.clear();
        self.0.resize(dataset.columns.len(), None);
        let places = &mut self.0[..];
        entries(dataset, text, text, |key, value| {
            if let Key::Column(column) = key {
                places[column] = Some(value);
            }
        })
    }

    /// The same for an event with numbers that may not be finite.
    #[cold]
    fn find_masked(&mut self, dataset: &Dataset, json: &str) -> Result<(), NotAnEvent> {
        let found = masked(json).and_then(|text| self.find_in(dataset, &text));
        found.ok_or_else(|| NotAnEvent::of(json))?;
        self.leave_out_blanks(dataset, json);
        Ok(())
    }

    #[cold]
    fn leave_out_blanks(&mut self, dataset: &Dataset, json: &str) {
        for place in &mut self.0 {
            *place = place.filter(|place| !is_blank(dataset, place.of(json)));
        }
    }

    /// The value of a column as JSON, if the event that was read last, `json`, has one.
    #[must_use]
    pub fn value<'a>(&self, json: &'a str, column: usize) -> Option<&'a str> {
        self.0[column].map(|place| place.of(json))
    }
}

/// The key of an entry.
enum Key<'a> {
    /// The key of a column of the data set, by index.
    Column(usize),
    /// One that the data set does not know.
    Unknown(Cow<'a, str>),
}

/// Passes on the entries of a JSON object, in their order. `text` has the object's form: it is `json`, or `json` with
/// masked numbers.
#[inline(always)]
fn entries<'a>(
    dataset: &Dataset,
    json: &'a str,
    text: &str,
    mut entry: impl FnMut(Key<'a>, Span),
) -> Option<()> {
    let (mut reader, mut next) = (Reader::new(text), 0);
    let mut more = reader.begin_object()?;
    while more {
        let key = match dataset.key_from(next, reader.rest()) {
            Some((column, bytes)) => {
                reader.pass(bytes);
                Key::Column(column)
            }
            None => {
                let key = reader.key()?;
                let key = reader.unescaped_in(key, json)?;
                dataset.column(&key).map_or(Key::Unknown(key), Key::Column)
            }
        };
        if let Key::Column(column) = key {
            next = column + 1;
        }
        let value = reader.value()?;
        entry(key, value);
        more = reader.next_entry()?;
    }
    reader.end()
}

/// The entries of a JSON object in their order, including repeated keys; nothing if the text is not an object.
#[must_use]
pub fn pairs(json: &str) -> Option<Vec<(Cow<'_, str>, &str)>> {
    pairs_in(json, json).or_else(|| pairs_in(json, &masked(json)?))
}

/// The entries of `json`, of which `text` has the form.
fn pairs_in<'a>(json: &'a str, text: &str) -> Option<Vec<(Cow<'a, str>, &'a str)>> {
    let (mut pairs, mut reader) = (Vec::new(), Reader::new(text));
    let mut more = reader.begin_object()?;
    while more {
        let key = reader.key()?;
        let key = unescaped(key.of(json))?;
        pairs.push((key, reader.value()?.of(json)));
        more = reader.next_entry()?;
    }
    reader.end()?;
    Some(pairs)
}

/// The text up to the first byte that is not UTF-8.
fn valid_begin(data: &[u8]) -> &str {
    std::str::from_utf8(data).unwrap_or_else(|error| valid_begin(&data[..error.valid_up_to()]))
}

/// The bytes of an event in which its id usually is, because it comes first.
const ID_WITHIN: usize = 64;

/// Reads only an event's id. Nothing if it has none, or if the text up to there is not an event.
#[must_use]
pub fn id<'a>(dataset: &Dataset, data: &'a [u8]) -> Option<Cow<'a, str>> {
    let data = unmarked(data);
    let begin = valid_begin(&data[..data.len().min(ID_WITHIN)]);
    if let Some(id) = id_in(dataset, begin, begin) {
        return Some(id);
    }
    let json = valid_begin(data);
    id_in(dataset, json, json).or_else(|| id_in(dataset, json, &masked(json)?))
}

/// The id of `json`, of which `text` has the form.
fn id_in<'a>(dataset: &Dataset, json: &'a str, text: &str) -> Option<Cow<'a, str>> {
    let id = id_place(&dataset.columns[dataset.id].name, text)?;
    match Cell::of(Some(id.of(json))) {
        Cell::Text(text) if !dataset.blanks.hold(&text) => Some(text),
        _ => None,
    }
}

/// Where the value of the first entry of that name is. Reading stops there, so the text is not read as a whole.
fn id_place(name: &str, text: &str) -> Option<Span> {
    let mut reader = Reader::new(text);
    let mut more = reader.begin_object()?;
    while more {
        let key = reader.key()?;
        let value = reader.value()?;
        // The text may end within the value.
        more = reader.next_entry()?;
        if reader.text(key) == name {
            return Some(value);
        }
    }
    None
}

/// Whether a value of an event means nothing: `NaN`, an infinity, or a text that the data set lists.
fn is_blank(dataset: &Dataset, value: &str) -> bool {
    is_non_finite(value)
        || !dataset.blanks.is_empty() && Cell::of(Some(value)).unless(&dataset.blanks).is_blank()
}

/// The instant of a JSON value, if it holds a time.
#[must_use]
pub fn instant(value: &str) -> Option<DateTime<Utc>> {
    match Cell::of(Some(value)) {
        Cell::Text(text) => Some(Timestamp::parse(text.trim(), DateOrder::Mdy)?.instant()),
        Cell::Blank | Cell::Nested(_) | Cell::NonFinite(_) => None,
    }
}

/// The level of a severity, written as a number or as its text.
#[must_use]
pub fn level(dataset: &Dataset, value: &str) -> Option<i64> {
    match Cell::of(Some(value)) {
        Cell::Text(text) => dataset.severities.level(&text),
        Cell::Blank | Cell::Nested(_) | Cell::NonFinite(_) => None,
    }
}

/// The text is not a JSON object.
#[derive(Debug, thiserror::Error)]
#[error("{}; expected one JSON object in each record", json::fault(.0))]
pub struct NotAnEvent(#[from] serde_json::Error);

impl NotAnEvent {
    /// What is wrong with a text that is not an event, and where.
    fn of(json: &str) -> Self {
        let masked = masked(json);
        let text = masked.as_deref().unwrap_or(json);
        let error = serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(text).err();
        Self(error.unwrap_or_else(|| serde_json::Error::custom("a key is not valid text")))
    }
}

#[cfg(test)]
mod tests;
