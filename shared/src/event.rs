//! Events in place: the top-level entries of a JSON object, borrowed from its text.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use chrono::{DateTime, Utc};
use serde::de::Error as _;
use serde_json::value::RawValue;

use crate::{
    cell,
    dataset::{Dataset, Type},
    json,
    reader::Reader,
    time::{DateOrder, Timestamp},
};

/// Unknown keys among which the next is looked for one by one; among more it is looked up.
const FEW: usize = 32;

/// The text of an event, with U+FFFD for what is not UTF-8.
///
/// Text that is UTF-8, as nearly all is, is checked by SIMD, in half the standard library's time.
#[must_use]
pub fn text(data: &[u8]) -> Cow<'_, str> {
    match simdutf8::basic::from_utf8(data) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(data),
    }
}

/// The entries of an event, those of the data set's columns by index.
#[derive(Debug)]
pub struct Event<'a> {
    /// The value of each column of the data set as JSON, where there is one.
    pub columns: Vec<Option<&'a str>>,
    /// Entries that the data set does not know, as JSON, in their order.
    pub unknown: Vec<(Cow<'a, str>, &'a str)>,
    /// Earlier values of keys that stand twice, the last of which counts.
    pub superseded: Vec<(Cow<'a, str>, &'a str)>,
}

/// A value as a cell of a file would hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell<'a> {
    /// Nothing: no entry, `null` or no text.
    Blank,
    /// A string's text, or a number or boolean as it is written.
    Text(Cow<'a, str>),
    /// An object or array, as it is written: no cell can hold it.
    Nested(&'a str),
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
            _ => Self::Text(Cow::Borrowed(json)),
        }
    }

    /// The text of the cell; empty where it is blank.
    #[must_use]
    pub fn into_text(self) -> Cow<'a, str> {
        match self {
            Self::Blank => Cow::Borrowed(""),
            Self::Text(text) => text,
            Self::Nested(json) => Cow::Borrowed(json),
        }
    }
}

/// The text of a valid JSON string.
fn unquote(json: &str) -> Cow<'_, str> {
    let inner = &json[1..json.len() - 1];
    // A lone surrogate is the one thing that a valid string can hold and text cannot.
    unescape(inner).unwrap_or(Cow::Borrowed(inner))
}

/// What stands between the quotes of a valid JSON string, its escapes resolved; nothing where they give no text.
fn unescape(inner: &str) -> Option<Cow<'_, str>> {
    if inner.contains('\\') {
        serde_json::from_str(&format!("\"{inner}\"")).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

impl<'a> Event<'a> {
    /// Reads the entries of a JSON object; an error says what is wrong with the text, and where.
    pub fn parse(dataset: &Dataset, json: &'a str) -> Result<Self, NotAnEvent> {
        let mut event =
            Self { columns: vec![None; dataset.columns.len()], unknown: Vec::new(), superseded: Vec::new() };
        let (mut next, mut places) = (0, HashMap::new());
        let whole = Reader::read(json, |reader| {
            reader.object(|reader, key| {
                let value = reader.value()?;
                let (key, value) = (reader.unescaped(key)?, reader.text(value));
                let earlier = match dataset.column_from(next, &key) {
                    Some(column) => {
                        next = column + 1;
                        event.columns[column].replace(value)
                    }
                    None => event.keep_unknown(&key, value, &mut places),
                };
                if let Some(earlier) = earlier {
                    event.superseded.push((key, earlier));
                }
                Some(())
            })
        });
        whole.map(|()| event).ok_or_else(|| NotAnEvent::of(json))
    }

    /// Keeps an entry that the data set does not know; gives the earlier value of its key. `places` are those of the
    /// unknown entries by their keys, once they are more than a few.
    fn keep_unknown(
        &mut self,
        key: &Cow<'a, str>,
        value: &'a str,
        places: &mut HashMap<Cow<'a, str>, usize>,
    ) -> Option<&'a str> {
        let many = self.unknown.len() >= FEW;
        if many && places.is_empty() {
            places.extend(self.unknown.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)));
        }
        let place = if many {
            places.get(key).copied()
        } else {
            self.unknown.iter().position(|(name, _)| name == key)
        };
        if let Some(place) = place {
            return Some(std::mem::replace(&mut self.unknown[place].1, value));
        }
        if many {
            places.insert(key.clone(), self.unknown.len());
        }
        self.unknown.push((key.clone(), value));
        None
    }

    /// The value of a column as a cell.
    #[must_use]
    pub fn cell(&self, column: usize) -> Cell<'a> {
        Cell::of(self.columns[column])
    }

    /// The value of a column as an integer, written as a number or as its text.
    #[must_use]
    pub fn integer(&self, column: usize) -> Option<i64> {
        integer(self.columns[column]?)
    }

    /// The instant of a column, if it holds a time.
    #[must_use]
    pub fn instant(&self, column: usize) -> Option<DateTime<Utc>> {
        instant(self.columns[column]?)
    }

    /// Writes the value of a column as JSON of the column's type; false where there is none that fits.
    pub fn write(&self, dataset: &Dataset, column: usize, out: &mut Vec<u8>) -> bool {
        let Some(value) = self.columns[column] else { return false };
        match (dataset.columns[column].kind, value.as_bytes()[0]) {
            // What is of its type already passes as it stands.
            (Type::String, b'"') if value != "\"\"" => out.extend_from_slice(value.as_bytes()),
            (kind, _) => match self.cell(column) {
                Cell::Text(text) => return cell::write(kind, &text, dataset.date_order, out).is_ok(),
                Cell::Blank | Cell::Nested(_) => return false,
            },
        }
        true
    }
}

/// What decides whether an event is kept at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Its severity, if it has one.
    pub severity: Option<i64>,
    /// When ingest took it in, if it says so.
    pub received_at: Option<DateTime<Utc>>,
}

/// Reads an event's severity and time of receipt alone, the rest being checked for form but not kept.
pub fn glance(dataset: &Dataset, json: &str) -> Result<Glance, NotAnEvent> {
    let keys = [dataset.severity, dataset.received_at].map(|column| dataset.columns[column].name.as_str());
    let [severity, received_at] = few(json, keys)?;
    Ok(Glance { severity: severity.and_then(integer), received_at: received_at.and_then(instant) })
}

/// Reads an event's id alone, and no further: it stands first in most. Nothing where it has none.
#[must_use]
pub fn id<'a>(dataset: &Dataset, json: &'a str) -> Option<Cow<'a, str>> {
    let name = dataset.columns[dataset.id].name.as_str();
    let mut id = None;
    // Left at the id, a text is not read as a whole.
    let _ = Reader::read(json, |reader| {
        reader.object(|reader, key| {
            let value = reader.value()?;
            if reader.is(key, name) {
                id = Some(reader.text(value));
                return None;
            }
            Some(())
        })
    });
    match Cell::of(id) {
        Cell::Text(text) => Some(text),
        Cell::Blank | Cell::Nested(_) => None,
    }
}

/// The values of a few keys, the rest being checked for form but not kept; the last value of a key counts.
fn few<'a, const N: usize>(json: &'a str, keys: [&str; N]) -> Result<[Option<&'a str>; N], NotAnEvent> {
    let mut found = [None; N];
    let whole = Reader::read(json, |reader| {
        reader.object(|reader, key| {
            let value = reader.value()?;
            // Only an escape can make another text of it.
            let place = if reader.has_met_escapes() {
                let key = reader.unescaped(key)?;
                keys.iter().position(|wanted| *wanted == key)
            } else {
                keys.iter().position(|wanted| reader.is(key, wanted))
            };
            if let Some(place) = place {
                found[place] = Some(reader.text(value));
            }
            Some(())
        })
    });
    whole.map(|()| found).ok_or_else(|| NotAnEvent::of(json))
}

fn instant(value: &str) -> Option<DateTime<Utc>> {
    match Cell::of(Some(value)) {
        Cell::Text(text) => Some(Timestamp::parse(cell::trim(&text), DateOrder::Mdy)?.instant()),
        Cell::Blank | Cell::Nested(_) => None,
    }
}

fn integer(value: &str) -> Option<i64> {
    match Cell::of(Some(value)) {
        Cell::Text(text) => cell::integer(cell::trim(&text)),
        Cell::Blank | Cell::Nested(_) => None,
    }
}

/// The text is not a JSON object.
#[derive(Debug, thiserror::Error)]
#[error("{}: one JSON object per record is right", json::fault(.0))]
pub struct NotAnEvent(#[from] serde_json::Error);

impl NotAnEvent {
    /// What is wrong with a text that is no event, and where.
    fn of(json: &str) -> Self {
        let error = serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(json).err();
        Self(error.unwrap_or_else(|| serde_json::Error::custom("a key is no text")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> Dataset {
        Dataset::named("us_accidents").unwrap()
    }

    #[test]
    fn severity_is_read_as_a_number_or_as_its_text_wherever_it_stands() {
        let cases = [
            (r#"{"Severity":3}"#, Some(3)),
            (r#"{ "ID" : "A-1", "Severity" : "3" }"#, Some(3)),
            (r#"{"Severity":"4.0","ID":"A-1"}"#, Some(4)),
            (r#"{"Severity":2,"Severity":4}"#, Some(4)),
            (r#"{"Sev\u0065rity":4}"#, Some(4)),
            (r#"{"Severity":3.5}"#, None),
            (r#"{"Severity":null}"#, None),
            (r#"{"Severity":[4]}"#, None),
            (r#"{"ID":"A-1"}"#, None),
        ];
        for (json, expected) in cases {
            assert_eq!(glance(&dataset(), json).unwrap().severity, expected, "{json}");
            let event = dataset();
            assert_eq!(Event::parse(&event, json).unwrap().integer(event.severity), expected, "{json}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_no_event() {
        for json in [
            "",
            "[]",
            "3",
            "null",
            "{",
            r#"{"Severity":3"#,
            r#"{"Severity":3}{}"#,
            r#"{"Severity":03}"#,
            "nope",
        ] {
            assert!(glance(&dataset(), json).is_err(), "{json}");
            assert!(Event::parse(&dataset(), json).is_err(), "{json}");
        }
    }

    #[test]
    fn keys_that_stand_twice_count_as_the_last_and_keep_the_earlier() {
        let dataset = dataset();
        let event =
            Event::parse(&dataset, r#"{"City":"Dublin","Extra":1,"City":"Dayton","Extra":2}"#).unwrap();
        assert_eq!(event.cell(dataset.column("City").unwrap()), Cell::Text("Dayton".into()));
        let earlier: Vec<_> = event.superseded.iter().map(|(key, value)| (&**key, *value)).collect();
        assert_eq!(earlier, [("City", "\"Dublin\""), ("Extra", "1")]);
        assert_eq!(event.unknown.len(), 1);
    }

    #[test]
    fn values_are_written_in_the_type_of_their_column() {
        let dataset = dataset();
        let json = r#"{"City":"Do\u00f1a","Zipcode":43017,"Start_Lat":"39.928059000000005","Amenity":"True","Number":"x","Street":""}"#;
        let event = Event::parse(&dataset, json).unwrap();
        let written = |name: &str| {
            let mut out = Vec::new();
            let fits = event.write(&dataset, dataset.column(name).unwrap(), &mut out);
            assert_eq!(fits, !out.is_empty());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written("City"), r#""Do\u00f1a""#, "text passes as it is written");
        assert_eq!(written("Zipcode"), "\"43017\"");
        assert_eq!(written("Start_Lat"), "39.928059000000005");
        assert_eq!(written("Amenity"), "true");
        assert_eq!(written("Number"), "");
        assert_eq!(written("Street"), "");
        assert_eq!(written("County"), "");
    }
}
