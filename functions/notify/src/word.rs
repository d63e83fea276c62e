//! An alert in words: for e-mail, for phones and for machines.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    dataset::{Dataset, Template},
    event::Event,
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

/// An alert about one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The subject of an e-mail.
    pub subject: String,
    /// The texts, one for each protocol, as SNS takes them with `MessageStructure` `json`.
    pub message: String,
    /// Message attributes for filter policies.
    pub attributes: Vec<Attribute>,
}

/// A message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value; never blank.
    pub value: String,
    /// Whether filter policies may compare it as a number.
    pub numeric: bool,
}

/// Whether an event is worth an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Worded {
    /// It is not severe enough.
    Nothing,
    /// It is, and this is its alert.
    Alert(Alert),
    /// It is a reject.
    Reject {
        /// A short stable code.
        reason: &'static str,
        /// What is wrong, and what would be right.
        detail: String,
    },
}

/// The texts of a message for the protocols of SNS.
#[derive(Serialize)]
struct Message<'a> {
    default: &'a str,
    email: &'a str,
    sms: &'a str,
    sqs: &'a str,
    lambda: &'a str,
    http: &'a str,
    https: &'a str,
    firehose: &'a str,
}

/// Words the alert about the event in `data`, if its severity is above `above`.
#[must_use]
pub fn word(dataset: &Dataset, above: i64, data: &Bytes) -> Worded {
    let reject = |reason, detail| Worded::Reject { reason, detail };
    let text = String::from_utf8_lossy(data);
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
        return Worded::Nothing;
    }
    Worded::Alert(Alert::about(dataset, &event, severity))
}

impl Alert {
    fn about(dataset: &Dataset, event: &Event<'_>, severity: i64) -> Self {
        let value = |column: usize| -> Cow<'_, str> {
            if column == dataset.severity {
                severity.to_string().into()
            } else {
                legible(event, column).into()
            }
        };
        let fill = |template: &Template| template.fill(value);
        let text = fill(&dataset.alert.text);
        let machine = machine(dataset, event, severity, &text).to_string();
        let message = Message {
            default: &text,
            email: &text,
            sms: &cut(&fill(&dataset.alert.sms), SMS_CHARS),
            sqs: &machine,
            lambda: &machine,
            http: &machine,
            https: &machine,
            firehose: &machine,
        };
        let attributes = dataset.alert.attributes.iter().map(|(name, column)| Attribute {
            name: name.clone(),
            value: value(*column).into_owned(),
            numeric: *column == dataset.severity,
        });
        Self {
            subject: cut(&fill(&dataset.alert.subject), SUBJECT_CHARS),
            message: serde_json::to_string(&message).unwrap_or_else(|error| unreachable!("{error}")),
            attributes: attributes.collect(),
        }
    }
}

/// The alert for machines: how many events it tells of, their ids, the values of the attributes, and the text for
/// people.
fn machine(dataset: &Dataset, event: &Event<'_>, severity: i64, words: &str) -> Value {
    let text = |column: usize| match event.cell(column).into_text() {
        text if text.is_empty() => Value::Null,
        _ => Value::String(legible(event, column)),
    };
    let mut message = Map::new();
    message.insert("dataset".to_owned(), json!(dataset.name));
    message.insert("count".to_owned(), json!(1));
    message.insert("ids".to_owned(), json!([text(dataset.id)]));
    for (name, column) in &dataset.alert.attributes {
        let value = if *column == dataset.severity { json!(severity) } else { text(*column) };
        message.insert(name.clone(), value);
    }
    message.insert("at".to_owned(), text(dataset.received_at));
    message.insert("text".to_owned(), json!(words));
    Value::Object(message)
}

/// A value on one line, short enough to be read; never blank.
fn legible(event: &Event<'_>, column: usize) -> String {
    let text = event.cell(column).into_text();
    let line: String = text
        .chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect();
    match line.trim() {
        "" => UNKNOWN.to_owned(),
        line => cut(line, VALUE_CHARS),
    }
}

fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars - 1).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(json: &str) -> Alert {
        let dataset = Dataset::named("us_accidents").unwrap();
        match word(&dataset, 3, &Bytes::copy_from_slice(json.as_bytes())) {
            Worded::Alert(alert) => alert,
            other => panic!("{other:?}"),
        }
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
        assert_eq!(message["default"], message["email"]);
        assert_eq!(
            message["sms"],
            "Severity 4 accident in Las Cruces, Doña Ana county. Id A-1, received 2022-12-24T04:53:57.450051Z."
        );
        let machine: Value = serde_json::from_str(message["sqs"].as_str().unwrap()).unwrap();
        assert_eq!(
            machine,
            json!({"dataset": "us_accidents", "count": 1, "ids": ["A-1"], "severity": 4, "city": "Las Cruces",
                "county": "Doña Ana", "id": "A-1", "at": "2022-12-24T04:53:57.450051Z", "text": message["email"]})
        );
        let attributes: Vec<_> =
            alert.attributes.iter().map(|a| (a.name.as_str(), a.value.as_str(), a.numeric)).collect();
        assert_eq!(
            attributes,
            [
                ("severity", "4", true),
                ("city", "Las Cruces", false),
                ("county", "Doña Ana", false),
                ("id", "A-1", false)
            ]
        );
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
            assert!(alert.attributes.iter().all(|attribute| !attribute.value.trim().is_empty()), "{alert:?}");
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
        let worded = |json: &str| word(&dataset, 3, &Bytes::copy_from_slice(json.as_bytes()));
        assert_eq!(worded(&EVENT.replace(":4", ":3")), Worded::Nothing);
        assert!(matches!(worded(&EVENT.replace(":4", ":\"4\"")), Worded::Alert(_)));
        assert!(matches!(worded("nope"), Worded::Reject { reason: "not_json", .. }));
        assert!(matches!(worded("{}"), Worded::Reject { reason: "bad_severity", .. }));
    }
}
