//! Events in place: the top-level entries of a JSON object, borrowed from its text.

use std::{borrow::Cow, collections::HashMap, fmt};

use chrono::{DateTime, Utc};
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    cell,
    dataset::{Dataset, Type},
    json,
    time::{DateOrder, Timestamp},
};

/// Unknown keys among which the next is looked for one by one; among more it is looked up.
const FEW: usize = 32;

/// The entries of an event, those of the data set's columns by index.
#[derive(Debug)]
pub struct Event<'a> {
    /// The value of each column of the data set, where there is one.
    pub columns: Vec<Option<&'a RawValue>>,
    /// Entries that the data set does not know, in their order.
    pub unknown: Vec<(Cow<'a, str>, &'a RawValue)>,
    /// Earlier values of keys that stand twice, the last of which counts.
    pub superseded: Vec<(Cow<'a, str>, &'a RawValue)>,
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
    /// The value as a cell.
    #[must_use]
    pub fn of(value: Option<&'a RawValue>) -> Self {
        let Some(json) = value.map(RawValue::get) else { return Self::Blank };
        match json.as_bytes().first() {
            Some(b'"') => match unescape(json) {
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
fn unescape(json: &str) -> Cow<'_, str> {
    let inner = &json[1..json.len() - 1];
    if inner.contains('\\') {
        // A lone surrogate is the one thing that a valid string can hold and text cannot.
        Cow::Owned(serde_json::from_str(json).unwrap_or_else(|_| inner.to_owned()))
    } else {
        Cow::Borrowed(inner)
    }
}

impl<'a> Event<'a> {
    /// Reads the entries of a JSON object; an error says what is wrong with the text, and where.
    pub fn parse(dataset: &Dataset, json: &'a str) -> Result<Self, NotAnEvent> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let event = EventSeed(dataset).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(event)
    }

    /// Keeps an entry that the data set does not know; gives the earlier value of its key. `places` are those of the
    /// unknown entries by their keys, once they are more than a few.
    fn keep_unknown(
        &mut self,
        key: &Cow<'a, str>,
        value: &'a RawValue,
        places: &mut HashMap<Cow<'a, str>, usize>,
    ) -> Option<&'a RawValue> {
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
        let Some(value) = self.columns[column].map(RawValue::get) else { return false };
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
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let keys = [dataset.severity, dataset.received_at].map(|column| dataset.columns[column].name.as_str());
    let [severity, received_at] = FewSeed(keys).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Glance { severity: severity.and_then(integer), received_at: received_at.and_then(instant) })
}

/// Reads an event's id alone; nothing where it has none, or where the text is no event.
#[must_use]
pub fn id<'a>(dataset: &Dataset, json: &'a str) -> Option<Cow<'a, str>> {
    let key = dataset.columns[dataset.id].name.as_str();
    let [value] = FewSeed([key]).deserialize(&mut serde_json::Deserializer::from_str(json)).ok()?;
    match Cell::of(value) {
        Cell::Text(text) => Some(text),
        Cell::Blank | Cell::Nested(_) => None,
    }
}

fn instant(value: &RawValue) -> Option<DateTime<Utc>> {
    match Cell::of(Some(value)) {
        Cell::Text(text) => Some(Timestamp::parse(text.trim(), DateOrder::Mdy)?.instant()),
        Cell::Blank | Cell::Nested(_) => None,
    }
}

fn integer(value: &RawValue) -> Option<i64> {
    match Cell::of(Some(value)) {
        Cell::Text(text) => cell::integer(text.trim()),
        Cell::Blank | Cell::Nested(_) => None,
    }
}

/// The text is not a JSON object.
#[derive(Debug, thiserror::Error)]
#[error("{}: one JSON object per record is right", json::fault(.0))]
pub struct NotAnEvent(#[from] serde_json::Error);

/// A key, borrowed where it holds no escape.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl<'de> Visitor<'de> for KeyVisitor {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }
            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct EventSeed<'d>(&'d Dataset);

impl<'de> DeserializeSeed<'de> for EventSeed<'_> {
    type Value = Event<'de>;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Event<'de>, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventSeed<'_> {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Event<'de>, A::Error> {
        let mut event =
            Event { columns: vec![None; self.0.columns.len()], unknown: Vec::new(), superseded: Vec::new() };
        let mut places = HashMap::new();
        while let Some(Key(key)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            let earlier = match self.0.column(&key) {
                Some(column) => event.columns[column].replace(value),
                None => event.keep_unknown(&key, value, &mut places),
            };
            if let Some(earlier) = earlier {
                event.superseded.push((key, earlier));
            }
        }
        Ok(event)
    }
}

/// Keeps the values of a few keys.
struct FewSeed<'k, const N: usize>([&'k str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for FewSeed<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for FewSeed<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(Key(key)) = map.next_key()? {
            match self.0.iter().position(|wanted| *wanted == key) {
                Some(place) => found[place] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
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
        let earlier: Vec<_> = event.superseded.iter().map(|(key, value)| (&**key, value.get())).collect();
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
