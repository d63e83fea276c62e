//! An alert in words: for e-mail, for phones and for machines; about one event, or a digest of many.

use std::{borrow::Cow, collections::BTreeSet};

use chrono::{DateTime, Utc};
use md5::{Digest as _, Md5};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    dataset::{Dataset, Place, Template, Wording},
    event::{self, Event},
    ledger::Owed,
};

/// Characters of a subject.
///
/// Source: SNS API reference, `Publish`: less than 100 characters, without line breaks or control characters.
const SUBJECT_CHARS: usize = 99;
/// Characters of a text for phones: one SMS in the GSM alphabet.
///
/// Source: SNS developer guide, "Mobile text messaging".
const SMS_CHARS: usize = 160;
/// Characters of a value in an alert: more cannot be read at a glance, and a message has 256 KiB in all.
const VALUE_CHARS: usize = 300;
/// What stands for a value that an event lacks.
const UNKNOWN: &str = "unknown";
/// What a digest names of its events' ids and of a column's different values: for machines, and for people.
const LISTED_IDS: usize = 50;
const LISTED_VALUES: usize = 30;
const NAMED_IDS: usize = 5;
const NAMED_VALUES: usize = 3;
/// Bytes that the values of a digest's attributes may take, twice over for the worst that JSON makes of them: with what is
/// named above, a message stays below its 256 KiB. Filter policies look for each of them, so that none may be left out.
const ATTRIBUTE_BYTES: usize = 48 * 1024;

/// An alert: one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The subject of an e-mail.
    pub subject: String,
    /// The texts, one for each protocol, as SNS takes them with `MessageStructure` `json`.
    pub message: String,
    /// Message attributes for filter policies.
    pub attributes: Vec<Attribute>,
    /// How many events it tells of.
    pub count: usize,
    /// What the events have in common, in whose order a FIFO topic keeps the messages.
    pub group: String,
    /// The same for the same events: the id of the one event, or one that the ids of all make up.
    pub id: String,
}

/// A message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its values, never blank: one, or the different ones of a digest.
    pub values: Vec<String>,
    /// Whether filter policies may compare it as a number.
    pub numeric: bool,
}

impl Attribute {
    /// The type and the value as SNS takes them. Filter policies match any of an array's values.
    ///
    /// Source: SNS developer guide, "Amazon SNS message attributes".
    #[must_use]
    pub fn typed(&self) -> (&'static str, Cow<'_, str>) {
        match self.values.as_slice() {
            [value] if self.numeric => ("Number", value.into()),
            [value] => ("String", value.into()),
            values => ("String.Array", json!(values).to_string().into()),
        }
    }
}

/// An event that is worth an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incident {
    /// Its id, whole; nothing where it has none.
    pub id: Option<String>,
    /// What it has in common with others that may be told together with it: its severity, and the value by which stream 2
    /// keeps the order.
    pub key: Key,
    /// When ingest took it in.
    pub received: Option<DateTime<Utc>>,
    /// The legible value of each column, where there is one.
    values: Vec<Option<String>>,
    /// Of the record, for an event without an id.
    hash: String,
}

/// What events have in common that may be told together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    severity: i64,
    area: String,
}

/// The texts of a message for the protocols of SNS: all but those for people get the default.
#[derive(Serialize)]
struct Message<'a> {
    default: &'a str,
    email: &'a str,
    sms: &'a str,
}

/// What the event in `data` is worth, if its severity is above `above`.
#[must_use]
pub fn worth(dataset: &Dataset, above: i64, data: &[u8]) -> Owed<Incident> {
    let reject = |reason, detail| Owed::Reject { reason, detail };
    let text = event::text(data);
    let event = match Event::parse(dataset, &text) {
        Ok(event) => event,
        Err(error) => return reject("not_json", format!("the record is not an event: {error}")),
    };
    let Some(severity) = event.integer(dataset.severity) else {
        let name = &dataset.columns[dataset.severity].name;
        return reject(
            "bad_severity",
            format!("`{name}` is missing or no integer: 3 or \"3\" would be right"),
        );
    };
    if severity <= above {
        return Owed::Nothing;
    }
    let whole =
        |column: usize| Some(event.cell(column).into_text().into_owned()).filter(|text| !text.is_empty());
    let value = |column: usize| {
        if column == dataset.severity {
            Some(severity.to_string())
        } else {
            legible(&event.cell(column).into_text())
        }
    };
    Owed::Output(Incident {
        id: whole(dataset.id),
        key: Key { severity, area: whole(dataset.severe_partition_key).unwrap_or_default() },
        received: event.instant(dataset.received_at),
        values: (0..dataset.columns.len()).map(value).collect(),
        hash: hash([text.as_ref()]),
    })
}

impl Incident {
    fn value(&self, column: usize) -> &str {
        self.values[column].as_deref().unwrap_or(UNKNOWN)
    }

    /// The id, or what stands for it.
    fn id(&self) -> &str {
        self.id.as_deref().unwrap_or(&self.hash)
    }
}

/// The messages that tell of incidents of one key together: an alert where there is one, else a digest, or as many as it
/// takes to name all values of their attributes. Each comes with the incidents that it tells of, by position.
#[must_use]
pub fn word(dataset: &Dataset, incidents: &[&Incident]) -> Vec<(Vec<usize>, Alert)> {
    let attributes = &dataset.alert.attributes;
    let mut messages = Vec::new();
    let (mut start, mut bytes, mut seen) = (0, 0, BTreeSet::new());
    for (index, incident) in incidents.iter().enumerate() {
        let new = attributes
            .iter()
            .filter(|(_, column)| *column != dataset.id)
            .map(|(_, column)| (*column, incident.value(*column)));
        let new: Vec<_> = new.filter(|value| !seen.contains(value)).collect();
        let size: usize = new.iter().map(|(_, value)| value.len()).sum();
        if bytes + size > ATTRIBUTE_BYTES {
            messages.push(start..index);
            (start, bytes, seen) = (index, 0, BTreeSet::new());
        }
        bytes += size;
        seen.extend(new);
    }
    messages.push(start..incidents.len());
    let told = |run: std::ops::Range<usize>| (run.clone().collect(), Alert::about(dataset, &incidents[run]));
    messages.into_iter().filter(|run| !run.is_empty()).map(told).collect()
}

impl Alert {
    fn about(dataset: &Dataset, incidents: &[&Incident]) -> Self {
        let first = incidents[0];
        let (wording, id) = match incidents {
            [one] => (&dataset.alert.one, one.id().to_owned()),
            many => {
                (&dataset.alert.digest, format!("digest-{}", hash(many.iter().map(|incident| incident.id()))))
            }
        };
        let Wording { subject, text, sms } = wording;
        let fill = |template: &Template| template.fill(|place| place_of(dataset, incidents, place));
        let text = fill(text);
        let attributes: Vec<Attribute> = dataset
            .alert
            .attributes
            .iter()
            .map(|(name, column)| Attribute {
                name: name.clone(),
                values: if *column == dataset.id && incidents.len() > 1 {
                    vec![id.clone()]
                } else {
                    different(incidents, *column).into_iter().map(str::to_owned).collect()
                },
                numeric: *column == dataset.severity,
            })
            .collect();
        let machine = machine(dataset, incidents, &attributes, &text).to_string();
        let message = Message { default: &machine, email: &text, sms: &cut(&fill(sms), SMS_CHARS) };
        Self {
            subject: cut(&fill(subject), SUBJECT_CHARS),
            message: serde_json::to_string(&message).unwrap_or_else(|error| unreachable!("{error}")),
            attributes,
            count: incidents.len(),
            group: format!("{}/{}", first.key.severity, first.value(dataset.severe_partition_key)),
            id,
        }
    }
}

/// What stands in a place of a text about these incidents.
fn place_of<'i>(dataset: &Dataset, incidents: &[&'i Incident], place: Place) -> Cow<'i, str> {
    match place {
        Place::Count => incidents.len().to_string().into(),
        Place::Ids => {
            let ids: Vec<_> = incidents.iter().map(|incident| incident.value(dataset.id)).collect();
            first(&ids, NAMED_IDS)
        }
        Place::Column(column) => first(&different(incidents, column), NAMED_VALUES),
    }
}

/// The first of some values, and how many more there are.
fn first<'v>(values: &[&'v str], most: usize) -> Cow<'v, str> {
    match values {
        [one] => Cow::Borrowed(one),
        many if many.len() <= most => many.join(", ").into(),
        many => format!("{} and {} more", many[..most].join(", "), many.len() - most).into(),
    }
}

/// The different values of a column, in the order in which they come first.
fn different<'i>(incidents: &[&'i Incident], column: usize) -> Vec<&'i str> {
    let mut seen = BTreeSet::new();
    incidents.iter().map(|incident| incident.value(column)).filter(|value| seen.insert(*value)).collect()
}

/// The alert for machines: how many events it tells of, the ids of the first of them, the values of the attributes, and
/// the text for people. What differs among the events of a digest is a list.
fn machine(dataset: &Dataset, incidents: &[&Incident], attributes: &[Attribute], words: &str) -> Value {
    let mut message = Map::new();
    let ids: Vec<_> =
        incidents.iter().take(LISTED_IDS).map(|incident| &incident.values[dataset.id]).collect();
    message.insert("dataset".to_owned(), json!(dataset.name));
    message.insert("count".to_owned(), json!(incidents.len()));
    message.insert("ids".to_owned(), json!(ids));
    for ((name, column), attribute) in dataset.alert.attributes.iter().zip(attributes) {
        let value = match attribute.values.as_slice() {
            _ if *column == dataset.severity => json!(incidents[0].key.severity),
            [_] if incidents.iter().all(|incident| incident.values[*column].is_none()) => Value::Null,
            [value] => json!(value),
            values => json!(values[..values.len().min(LISTED_VALUES)]),
        };
        message.insert(name.clone(), value);
    }
    message.insert("at".to_owned(), json!(incidents[0].values[dataset.received_at]));
    message.insert("text".to_owned(), json!(words));
    Value::Object(message)
}

/// A value on one line, short enough to be read; nothing where it is blank.
fn legible(text: &str) -> Option<String> {
    let line: String = text
        .chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect();
    Some(line.trim()).filter(|line| !line.is_empty()).map(|line| cut(line, VALUE_CHARS))
}

fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars - 1).collect();
    cut.push('…');
    cut
}

/// Tells texts apart in 32 characters.
pub(crate) fn hash<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut hash = Md5::new();
    for text in texts {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    format!("{:032x}", u128::from_be_bytes(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(json: &str) -> Incident {
        let dataset = Dataset::named("us_accidents").unwrap();
        match worth(&dataset, 3, json.as_bytes()) {
            Owed::Output(incident) => incident,
            other => panic!("{other:?}"),
        }
    }

    fn words(incidents: &[Incident]) -> Vec<(Vec<usize>, Alert)> {
        word(&Dataset::named("us_accidents").unwrap(), &incidents.iter().collect::<Vec<_>>())
    }

    fn alert(json: &str) -> Alert {
        words(&[incident(json)]).remove(0).1
    }

    fn attributes(alert: &Alert) -> Vec<(&str, String, bool)> {
        let attribute = |a: &'_ Attribute| a.values.join("|");
        alert.attributes.iter().map(|a| (a.name.as_str(), attribute(a), a.numeric)).collect()
    }

    const EVENT: &str = r#"{"ID":"A-1","Severity":4,"City":"Las Cruces","County":"Doña Ana","Txn_Timestamp":"2022-12-24T04:53:57.450051Z"}"#;

    #[test]
    fn an_alert_is_worded_for_people_phones_and_machines() {
        let alert = alert(EVENT);
        assert_eq!(alert.subject, "Severity 4 accident: Las Cruces, Doña Ana");
        let message: Value = serde_json::from_str(&alert.message).unwrap();
        assert_eq!(
            message["email"],
            "A severity 4 accident was reported in Las Cruces, Doña Ana county.\n\n\
             Id:        A-1\nReceived:  2022-12-24T04:53:57.450051Z\n"
        );
        assert_eq!(
            message["sms"],
            "Severity 4 accident in Las Cruces, Doña Ana county. Id A-1, received 2022-12-24T04:53:57.450051Z."
        );
        let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        assert_eq!(
            machine,
            json!({"dataset": "us_accidents", "count": 1, "ids": ["A-1"], "severity": 4, "city": "Las Cruces",
                "county": "Doña Ana", "id": "A-1", "at": "2022-12-24T04:53:57.450051Z", "text": message["email"]})
        );
        assert_eq!(
            attributes(&alert),
            [
                ("severity", "4".to_owned(), true),
                ("city", "Las Cruces".to_owned(), false),
                ("county", "Doña Ana".to_owned(), false),
                ("id", "A-1".to_owned(), false)
            ]
        );
        assert_eq!((alert.count, alert.group.as_str(), alert.id.as_str()), (1, "4/Doña Ana", "A-1"));
    }

    #[test]
    fn a_digest_counts_the_events_names_the_first_and_says_where_the_rest_is() {
        let incidents: Vec<_> = (0..250)
            .map(|n| {
                incident(
                    &EVENT
                        .replace("A-1", &format!("A-{n}"))
                        .replace("Las Cruces", &format!("City {}", n % 4)),
                )
            })
            .collect();
        let messages = words(&incidents);
        assert_eq!(messages.len(), 1);
        let (told, alert) = &messages[0];
        assert_eq!((told.len(), alert.count), (250, 250));
        assert_eq!(alert.subject, "250 accidents of severity 4 in Doña Ana county");
        let message: Value = serde_json::from_str(&alert.message).unwrap();
        let text = message["email"].as_str().unwrap();
        assert!(text.contains("First ids:  A-0, A-1, A-2, A-3, A-4 and 245 more\n"), "{text}");
        assert!(text.contains("Cities:     City 0, City 1, City 2 and 1 more\n"), "{text}");
        assert!(
            text.contains(
                "stand in the table us_accidents_analytical, under severity 4 and county Doña Ana."
            ),
            "{text}"
        );
        let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        assert_eq!(machine["count"], 250);
        assert_eq!(machine["ids"].as_array().unwrap().len(), LISTED_IDS);
        assert_eq!(machine["city"], json!(["City 0", "City 1", "City 2", "City 3"]));
        assert_eq!((&machine["severity"], &machine["county"]), (&json!(4), &json!("Doña Ana")));
        assert_eq!(
            attributes(alert)[..3],
            [
                ("severity", "4".to_owned(), true),
                ("city", "City 0|City 1|City 2|City 3".to_owned(), false),
                ("county", "Doña Ana".to_owned(), false),
            ]
        );
        assert_eq!(words(&incidents)[0].1.id, alert.id, "the same events have the same id");
        assert_ne!(words(&incidents[1..])[0].1.id, alert.id, "others have another");
    }

    #[test]
    fn a_digest_names_every_value_that_a_filter_may_look_for() {
        let incidents: Vec<_> = (0..2_000)
            .map(|n| {
                incident(
                    &EVENT
                        .replace("A-1", &format!("A-{n}"))
                        .replace("Las Cruces", &format!("{n} {}", "x".repeat(400))),
                )
            })
            .collect();
        let messages = words(&incidents);
        assert!((2..20).contains(&messages.len()), "{}", messages.len());
        assert_eq!(
            messages.iter().flat_map(|(told, _)| told.clone()).collect::<Vec<_>>(),
            (0..2_000).collect::<Vec<_>>()
        );
        for (told, alert) in &messages {
            assert_eq!((alert.attributes[1].values.len(), alert.count), (told.len(), told.len()));
            let size = alert.message.len() + alert.attributes[1].typed().1.len();
            assert!(size < 256 * 1024, "{size}");
            assert_eq!(alert.attributes[1].typed().0, "String.Array");
        }
    }

    #[test]
    fn nothing_in_a_value_breaks_the_subject_or_leaves_an_attribute_blank() {
        let city = format!("{}\\r\\nBcc: x\\u0000\\u2028", "x".repeat(2_000));
        for json in [
            EVENT.replace("Las Cruces", &city),
            EVENT.replace("Las Cruces", "a\\nb"),
            EVENT.replace("\"Las Cruces\"", "null").replace("Doña Ana", " "),
        ] {
            let alert = alert(&json);
            assert!(
                alert.subject.chars().count() < 100 && !alert.subject.contains(char::is_control),
                "{alert:?}"
            );
            assert!(
                alert
                    .attributes
                    .iter()
                    .all(|attribute| attribute.values.iter().all(|value| !value.trim().is_empty())),
                "{alert:?}"
            );
            assert!(alert.message.len() < 16 * 1024);
        }
        assert_eq!(
            alert(&EVENT.replace("\"Las Cruces\"", "null")).subject,
            "Severity 4 accident: unknown, Doña Ana"
        );
    }

    #[test]
    fn only_events_above_the_threshold_are_worth_an_alert() {
        let dataset = Dataset::named("us_accidents").unwrap();
        let worth = |json: &str| worth(&dataset, 3, json.as_bytes());
        assert_eq!(worth(&EVENT.replace(":4", ":3")), Owed::Nothing);
        assert!(matches!(worth(&EVENT.replace(":4", ":\"4\"")), Owed::Output(_)));
        assert!(matches!(worth("nope"), Owed::Reject { reason: "not_json", .. }));
        assert!(matches!(worth("{}"), Owed::Reject { reason: "bad_severity", .. }));
    }
}
