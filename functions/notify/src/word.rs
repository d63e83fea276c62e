//! An alert in words: for e-mail, for phones and for machines; about one event, or a digest of many.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    hash::Hash,
    iter,
    ops::Range,
};

use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::dataset::{Dataset, Place, Template, Wording};

use crate::{
    incident::{Incident, hash, hex},
    text::{self, sms, subject},
};

/// Bytes of a message with its subject and attributes, as SNS counts them. Base-64 and XML are not counted.
///
/// Source: SNS API reference, `Publish`.
pub const ALERT_BYTES: usize = 256 * 1024;
/// Characters of a text for people. With the longest values and as many attributes as SNS delivers (10), an alert about
/// one event fits into [`ALERT_BYTES`] whatever JSON makes of its characters.
const TEXT_CHARS: usize = 12_000;
/// How many ids, values and areas a digest names: to machines, and to people.
const LISTED_IDS: usize = 50;
const LISTED_VALUES: usize = 30;
const NAMED_IDS: usize = 5;
const NAMED_VALUES: usize = 3;
const NAMED_AREAS: usize = 10;
/// The FIFO group of the digests over several severities or areas.
const GROUP_OF_ALL: &str = "all";

/// An alert: one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The subject of an e-mail.
    pub subject: String,
    /// The texts, one for each protocol, as SNS takes them with `MessageStructure` `json`.
    pub message: String,
    /// Message attributes for filter policies.
    pub attributes: Vec<Attribute>,
    /// How many events it reports.
    pub count: usize,
    /// What the events have in common: a FIFO topic keeps the order of the messages of one group.
    pub group: String,
    /// The same for the same events: the id of the only event, or a hash of all ids.
    pub id: String,
}

/// A message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its values, never blank: one, or the different ones of a digest.
    pub values: Vec<String>,
    /// Whether its values are integers, which filter policies may compare as numbers.
    pub numeric: bool,
}

impl Attribute {
    /// The type and the value as SNS takes them. Filter policies match any of an array's values, and compare its numbers
    /// as numbers.
    ///
    /// Source: SNS developer guide, "Amazon SNS message attributes" and "Numeric value matching".
    #[must_use]
    pub fn typed(&self) -> (&'static str, Cow<'_, str>) {
        match self.values.as_slice() {
            [value] if self.numeric => ("Number", value.into()),
            [value] => ("String", value.into()),
            values if self.numeric => ("String.Array", format!("[{}]", values.join(",")).into()),
            values => ("String.Array", json!(values).to_string().into()),
        }
    }
}

/// The texts of a message for the protocols of SNS: all others get the default.
#[derive(Serialize)]
struct Message<'a> {
    default: &'a str,
    email: &'a str,
    sms: &'a str,
}

/// The messages that report incidents together: an alert if there is one, else a digest, or as many as it takes to stay
/// within SNS's size. Each comes with the positions of the incidents that it reports.
#[must_use]
pub fn word(dataset: &Dataset, incidents: &[&Incident]) -> Vec<(Range<usize>, Alert)> {
    let mut messages = Vec::new();
    // The next part is the last.
    let mut parts: Vec<_> = iter::once(0..incidents.len()).collect();
    while let Some(part) = parts.pop() {
        if part.is_empty() {
            continue;
        }
        let alert = Alert::about(dataset, &incidents[part.clone()]);
        // Every value is in the attributes, since filter policies look for each. So a digest that is too large is split,
        // and nothing is left out of it.
        if part.len() > 1 && alert.bytes() > ALERT_BYTES {
            let middle = part.start + part.len() / 2;
            parts.extend([middle..part.end, part.start..middle]);
        } else {
            messages.push((part, alert));
        }
    }
    messages
}

impl Alert {
    /// Its bytes, as SNS counts them: the subject and the attributes with their names and types count too.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let attribute = |attribute: &Attribute| {
            let (kind, value) = attribute.typed();
            attribute.name.len() + kind.len() + value.len()
        };
        self.subject.len() + self.message.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    fn about(dataset: &Dataset, incidents: &[&Incident]) -> Self {
        let first = incidents[0];
        let one_key = incidents.iter().all(|incident| incident.key == first.key);
        let id = match incidents {
            [one] => one.name(),
            many => format!("digest-{}", hex(hash(many.iter().map(|incident| incident.name())))),
        };
        let Wording { subject: title, text, sms: short } = match incidents {
            [_] => &dataset.alert.one,
            _ if one_key => &dataset.alert.digest,
            _ => &dataset.alert.storm,
        };
        let fill = |template: &Template| template.fill(|place| fill(dataset, incidents, place));
        let text = text::body(&fill(text), TEXT_CHARS);
        let attributes = attributes(dataset, incidents, &id);
        let machine = machine(dataset, incidents, &attributes, &text).to_string();
        let message = Message { default: &machine, email: &text, sms: &sms(&fill(short)) };
        Self {
            subject: subject(&fill(title)),
            message: serde_json::to_string(&message).unwrap_or_else(|error| unreachable!("{error}")),
            attributes,
            count: incidents.len(),
            group: if one_key {
                format!("{}/{}", first.key.severity, first.value(dataset.severe_partition_key))
            } else {
                GROUP_OF_ALL.to_owned()
            },
            id,
        }
    }
}

/// The message attributes of an alert about these incidents, with each of their values.
fn attributes(dataset: &Dataset, incidents: &[&Incident], id: &str) -> Vec<Attribute> {
    let attribute = |(name, column): &(String, usize)| {
        let texts =
            || different(dataset, incidents, *column).into_iter().map(Cow::into_owned).collect::<Vec<_>>();
        let values = match *column {
            column if column == dataset.id && incidents.len() > 1 => {
                vec![text::legible(id).unwrap_or_default()]
            }
            column if column == dataset.severity => levels(incidents).iter().map(i64::to_string).collect(),
            _ => texts(),
        };
        let numeric = *column == dataset.severity;
        // Filter policies compare the level, and may name the text.
        let text = dataset.severity_text_attribute(name).filter(|_| numeric);
        let text = text.map(|name| Attribute { name, values: texts(), numeric: false });
        iter::once(Attribute { name: name.clone(), values, numeric }).chain(text)
    };
    dataset.alert.attributes.iter().flat_map(attribute).collect()
}

/// The different levels of severity of the incidents, from the least.
fn levels(incidents: &[&Incident]) -> BTreeSet<i64> {
    incidents.iter().map(|incident| incident.key.severity).collect()
}

/// The text for a place in the wording about these incidents.
fn fill<'i>(dataset: &Dataset, incidents: &[&'i Incident], place: Place) -> Cow<'i, str> {
    match place {
        Place::Count => incidents.len().to_string().into(),
        Place::Ids => first(incidents.iter().map(|incident| incident.value(dataset.id).into()), NAMED_IDS),
        Place::Column(column) => first(different(dataset, incidents, column).into_iter(), NAMED_VALUES),
        Place::BySeverity => {
            let mut counts = counts(incidents, |incident| incident.key.severity);
            counts.sort_unstable_by_key(|(severity, _)| Reverse(*severity));
            let severities = &dataset.severities;
            let counts =
                counts.iter().map(|(severity, count)| format!("{}: {count}", severities.text(*severity)));
            first(counts.map(Cow::Owned), NAMED_AREAS)
        }
        Place::ByArea => {
            let counts = counts(incidents, |incident| incident.value(dataset.severe_partition_key));
            let named: Vec<_> =
                counts.iter().take(NAMED_AREAS).map(|(area, count)| format!("{area}: {count}")).collect();
            let others = &counts[named.len()..];
            match others.iter().map(|(_, count)| count).sum::<usize>() {
                0 => named.join(", ").into(),
                rest => format!("{}, and {rest} in {} others", named.join(", "), others.len()).into(),
            }
        }
    }
}

/// How many of the incidents have each value: the most frequent first, then in the order of the first of each.
fn counts<'i, K: Eq + Hash + Copy>(
    incidents: &[&'i Incident],
    value: impl Fn(&'i Incident) -> K,
) -> Vec<(K, usize)> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut counts: Vec<(K, usize)> = Vec::new();
    for incident in incidents {
        let value = value(incident);
        let place = *places.entry(value).or_insert_with(|| {
            counts.push((value, 0));
            counts.len() - 1
        });
        counts[place].1 += 1;
    }
    counts.sort_by_key(|(_, count)| Reverse(*count));
    counts
}

/// The first of some values, and how many more there are.
fn first<'v>(values: impl Iterator<Item = Cow<'v, str>>, most: usize) -> Cow<'v, str> {
    let (mut named, mut more) = (Vec::new(), 0);
    for value in values {
        if named.len() < most {
            named.push(value);
        } else {
            more += 1;
        }
    }
    match (named.len(), more) {
        (1, 0) => named.remove(0),
        (_, 0) => named.join(", ").into(),
        _ => format!("{} and {more} more", named.join(", ")).into(),
    }
}

/// The different values of a column, in the order of the first of each.
fn different<'i>(dataset: &Dataset, incidents: &[&'i Incident], column: usize) -> Vec<Cow<'i, str>> {
    if column == dataset.severity {
        let text = |level| dataset.severities.text(level).into_owned().into();
        return levels(incidents).into_iter().map(text).collect();
    }
    let mut seen = BTreeSet::new();
    let values = incidents.iter().map(|incident| incident.value(column));
    values.filter(|value| seen.insert(*value)).map(Cow::Borrowed).collect()
}

/// The alert for machines: how many events it reports, the ids of the first of them, the values of the attributes, and the
/// text for people. What differs among the events of a digest is a list. A digest over several severities or areas says how
/// many events each has.
fn machine(dataset: &Dataset, incidents: &[&Incident], attributes: &[Attribute], text: &str) -> Value {
    let mut message = Map::new();
    let ids: Vec<_> = incidents.iter().take(LISTED_IDS).map(|incident| incident.known(dataset.id)).collect();
    message.insert("dataset".to_owned(), json!(dataset.name));
    message.insert("count".to_owned(), json!(incidents.len()));
    message.insert("ids".to_owned(), json!(ids));
    for (name, column) in &dataset.alert.attributes {
        let values = |name: &str| {
            let found = attributes.iter().find(|attribute| attribute.name == name);
            found.map(|attribute| attribute.values.as_slice()).unwrap_or_default()
        };
        let value = match values(name) {
            _ if *column == dataset.severity => one_or_list(&Vec::from_iter(levels(incidents))),
            [_] if incidents.iter().all(|incident| incident.known(*column).is_none()) => Value::Null,
            values => one_or_list(&values[..values.len().min(LISTED_VALUES)]),
        };
        message.insert(name.clone(), value);
        if let Some(text) = dataset.severity_text_attribute(name).filter(|_| *column == dataset.severity) {
            let value = one_or_list(values(&text));
            message.insert(text, value);
        }
    }
    let by_key =
        counts(incidents, |incident| (incident.key.severity, incident.known(dataset.severe_partition_key)));
    if by_key.len() > 1 {
        let each = |((severity, area), count)| {
            let mut each = json!({"severity": severity, "area": area, "count": count});
            if let Some(name) = dataset.severity_text_attribute("severity") {
                each[name] = json!(dataset.severities.text(severity));
            }
            each
        };
        message.insert("counts".to_owned(), by_key.into_iter().map(each).collect());
    }
    message.insert("at".to_owned(), json!(incidents[0].known(dataset.received_at)));
    message.insert("text".to_owned(), json!(text));
    Value::Object(message)
}

/// The only value, or a list of several.
fn one_or_list<T: Serialize>(values: &[T]) -> Value {
    match values {
        [value] => json!(value),
        values => json!(values),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::incident::tests::{incident, us_accidents};

    fn words(incidents: &[Incident]) -> Vec<(Range<usize>, Alert)> {
        word(us_accidents(), &incidents.iter().collect::<Vec<_>>())
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
    fn digest_names_every_value_that_a_filter_may_look_for() {
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
        for (part, alert) in &messages {
            assert_eq!((alert.attributes[1].values.len(), alert.count), (part.len(), part.len()));
            assert_eq!(alert.attributes[1].typed().0, "String.Array");
        }
        assert_each_in_one_message(&messages, 2_000);
    }

    /// Each incident is in one message, in order, and the messages are within SNS's size.
    fn assert_each_in_one_message(messages: &[(Range<usize>, Alert)], incidents: usize) {
        let mut next = 0;
        for (part, alert) in messages {
            assert_eq!((part.start, part.len()), (next, alert.count));
            assert!(bytes(alert) <= 256 * 1024, "{}", bytes(alert));
            next = part.end;
        }
        assert_eq!(next, incidents);
    }

    /// The bytes of a message as SNS counts them, from what is sent.
    fn bytes(alert: &Alert) -> usize {
        let texts = alert.attributes.iter().flat_map(|attribute| {
            let (kind, value) = attribute.typed();
            [attribute.name.clone(), kind.to_owned(), value.into_owned()]
        });
        texts.chain([alert.subject.clone(), alert.message.clone()]).map(|text| text.len()).sum()
    }

    #[test]
    fn storm_counts_by_severity_and_area() {
        let incidents: Vec<_> = (0..400)
            .map(|n| {
                let area = if n < 100 { 0 } else { n % 40 };
                incident(&format!(
                    r#"{{"ID":"A-{n}","Severity":{},"City":"City {n}","County":"County {area}"}}"#,
                    if n % 4 == 0 { 5 } else { 4 },
                ))
            })
            .collect();
        let messages = words(&incidents);
        assert_each_in_one_message(&messages, 400);
        assert_eq!(messages.len(), 1);
        let alert = &messages[0].1;
        assert_eq!(alert.subject, "400 accidents of severity 4, 5 in many counties");
        assert_eq!(alert.group, "all");
        let message: Value = serde_json::from_str(&alert.message).unwrap();
        let text = message["email"].as_str().unwrap();
        assert!(text.contains("By severity:  5: 100, 4: 300\n"), "{text}");
        assert!(text.contains("By county:    County 0: 107, County 20: 8, "), "{text}");
        assert!(text.contains(", and 221 in 30 others\n"), "{text}");
        let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
        assert_eq!((&machine["count"], &machine["severity"]), (&json!(400), &json!([4, 5])));
        assert_eq!(machine["counts"][0], json!({"severity": 4, "area": "County 0", "count": 75}));
        let counts = machine["counts"].as_array().unwrap();
        assert_eq!(counts.iter().map(|each| each["count"].as_u64().unwrap()).sum::<u64>(), 400);
        // A filter policy may look for either severity as a number, and for any county.
        assert_eq!(alert.attributes[0].typed(), ("String.Array", "[4,5]".into()));
        assert_eq!(alert.attributes[2].values.len(), 40);
    }

    #[test]
    fn message_as_large_as_sns_takes_is_not_split() {
        let incidents: Vec<_> = (0..1_200)
            .map(|n| {
                let city = format!("{n:04}{}", "x".repeat(285));
                incident(&EVENT.replace("A-1", &format!("A-{n:04}")).replace("Las Cruces", &city))
            })
            .collect();
        // The most cities that fit, and one more.
        let most =
            (1..1_200).collect::<Vec<_>>().partition_point(|cities| words(&incidents[..*cities]).len() == 1);
        let largest = bytes(&words(&incidents[..most])[0].1);
        assert!(most < 1_199 && largest <= ALERT_BYTES && ALERT_BYTES - largest < 1_000, "{most}: {largest}");
        assert_eq!(words(&incidents[..=most]).len(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn messages_fit_whatever_the_values_hold(
            patterns in proptest::collection::vec("[\"\\\\]{1,4}|\\PC{1,6}|[🚒\u{1}\u{7f}é]{1,5}|[a-z]{1,9}", 1..5),
            repeat in 1_usize..90,
            count in 1_usize..400,
        ) {
            let incidents: Vec<_> = (0..count)
                .map(|n| {
                    let text = |salt: usize| format!("{}{n}", patterns[(n + salt) % patterns.len()].repeat(repeat));
                    let event = json!({"ID": text(0), "Severity": 4 + n % 3, "City": text(1), "County": text(2), "Txn_Timestamp": text(3)});
                    incident(&event.to_string())
                })
                .collect();
            assert_each_in_one_message(&words(&incidents), count);
        }

        #[test]
        fn one_alert_fits_whatever_the_data_set_puts_into_it(text in "[\"\\\\🚒]{300}", columns in 1_usize..11) {
            // As many attributes as SNS delivers, and every column of the data set in the text.
            let mut dataset = us_accidents().clone();
            let city = dataset.column("City").unwrap();
            dataset.alert.attributes = (0..columns).map(|n| (format!("{n}{}", "n".repeat(200)), city)).collect();
            let event = json!({"ID": text, "Severity": 4, "City": text, "County": text, "Txn_Timestamp": text});
            let incident = incident(&event.to_string());
            for count in [1, 2] {
                let together = vec![&incident; count];
                let messages = word(&dataset, &together);
                prop_assert!(messages.iter().all(|(_, alert)| bytes(alert) <= ALERT_BYTES));
                prop_assert_eq!(messages.len(), 1);
            }
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
                alert.subject.encode_utf16().count() < 100 && !alert.subject.contains(char::is_control),
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
}
