//! Words an alert for e-mail, phones and machines; about one event, or as a digest of many.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    hash::Hash,
    iter,
    ops::Range,
    sync::OnceLock,
};

use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::data::dataset::{Dataset, Place, Template};
use tokio::time::Instant;

use crate::{
    chat,
    details::{self, filtered_cell, map_link, number},
    incident::{Incident, UNKNOWN, hash, hex},
    on_call::on_call,
    raise::{Raised, Reported},
    text::{self, sms, subject},
};

/// Bytes of a message with its subject and attributes, as SNS counts them. Base-64 and XML are not counted.
///
/// Source: SNS API reference, `Publish`.
pub const ALERT_BYTES: usize = 256 * 1024;
/// Characters of a text for people. An alert about one event then fits into [`ALERT_BYTES`], even with the longest
/// values, the 10 attributes that SNS delivers at most, and the worst JSON escapes.
const TEXT_CHARS: usize = 12_000;
/// How many ids, values and areas a digest names, for machines and for people.
pub(crate) const LISTED_IDS: usize = 50;
const LISTED_VALUES: usize = 30;
/// How many events of a digest have their details in the text for machines.
const DETAILED: usize = 10;
pub(crate) const NAMED_IDS: usize = 5;
const NAMED_VALUES: usize = 3;
const NAMED_AREAS: usize = 10;
/// The FIFO group of the digests over several areas.
const GROUP_OF_ALL: &str = "all";

/// An alert: one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The subject of an e-mail.
    pub subject: String,
    /// The texts, one for each protocol, as SNS expects them with `MessageStructure` `json`.
    pub message: String,
    /// Message attributes for filter policies.
    pub attributes: Vec<Attribute>,
    /// How many events it reports.
    pub count: usize,
    /// The area of the events; a FIFO topic keeps the order of messages of one group.
    pub group: String,
    /// What it is about.
    pub kind: Kind,
    /// When and under which id SNS accepted it, once it has.
    pub accepted: OnceLock<Accepted>,
    /// An id that is the same for the same events with the same severities. A FIFO topic drops messages with an id that
    /// it has just received, so an event that is raised has another id.
    pub id: String,
}

/// What a message is about, which selects its wording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One event.
    One,
    /// Several events of one area and severity.
    Digest,
    /// Events of several areas or severities.
    Storm,
}

/// The acceptance of a message by SNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The id of the message, if the response has one.
    pub message_id: Option<String>,
    /// When the response arrived.
    pub at: Instant,
}

/// A message attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its values, never blank: one, or the distinct values of a digest.
    pub values: Vec<String>,
    /// Whether its values are numbers, which filter policies can compare as such.
    pub numeric: bool,
}

impl Attribute {
    /// The type and the value as SNS expects them. Filter policies match any value of an array, and compare its numbers
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

/// The texts of a message for the protocols of SNS; protocols without a text get the default.
#[derive(Serialize)]
struct Message<'a> {
    default: &'a str,
    email: &'a str,
    sms: &'a str,
}

/// The messages for incidents that are reported together: one alert for one incident, otherwise a digest, split if it
/// exceeds SNS's size limit. Each message comes with the positions of its incidents.
#[must_use]
pub fn word(dataset: &Dataset, incidents: &[Reported<'_>]) -> Vec<(Range<usize>, Alert)> {
    let mut messages = Vec::new();
    // The next part is the last one in this list.
    let mut parts: Vec<_> = iter::once(0..incidents.len()).collect();
    while let Some(part) = parts.pop() {
        let together = &incidents[part.clone()];
        if together.is_empty() {
            continue;
        }
        let alert = Alert::about(dataset, together);
        match together {
            // The attributes have every value, because filter policies search in them. So a digest that is too large
            // is split instead of shortened.
            [_, _, ..] if alert.bytes() > ALERT_BYTES => {
                let middle = part.start + part.len() / 2;
                parts.extend([middle..part.end, part.start..middle]);
            }
            _ => messages.push((part, alert)),
        }
    }
    messages
}

impl Alert {
    /// Its bytes, as SNS counts them: including the subject, and the attributes with their names and types.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let attribute = |attribute: &Attribute| {
            let (kind, value) = attribute.typed();
            attribute.name.len() + kind.len() + value.len()
        };
        self.subject.len() + self.message.len() + self.attributes.iter().map(attribute).sum::<usize>()
    }

    fn about(dataset: &Dataset, reported: &[Reported<'_>]) -> Self {
        let incidents: Vec<&Incident> = reported.iter().map(|each| each.incident).collect();
        let incidents = incidents.as_slice();
        let first = incidents[0];
        let (kind, wording) = match incidents {
            [_] => (Kind::One, &dataset.alert.one),
            many if many.iter().all(|incident| incident.key == first.key) => {
                (Kind::Digest, &dataset.alert.digest)
            }
            _ => (Kind::Storm, &dataset.alert.storm),
        };
        let filled = |template: &Template| template.fill(UNKNOWN, |place| fill(dataset, incidents, place));
        let [mut title, mut text, mut short] = [&wording.subject, &wording.text, &wording.sms].map(filled);
        let raised = Raised::of(reported);
        if let Some(raised) = &raised {
            // First, so that nothing cuts it off.
            let phrase = raised.phrase(dataset);
            title = format!("{phrase}: {title}");
            text = raised.text(dataset) + &text;
            short = format!("{phrase}. {short}");
        }
        let text = text::cut(&text, TEXT_CHARS, |_| 1);
        let id = id(incidents);
        let attributes = attributes(dataset, incidents, &id);
        let subject = subject(&title);
        let mut machine = machine(dataset, incidents, &attributes, &text);
        machine.insert("on_call".to_owned(), on_call(dataset, incidents));
        // SNS has one text for all readers by HTTPS, and AWS's chat integration is one of them.
        machine.extend(chat::notification(&subject, &text));
        if let Some(raised) = &raised {
            machine.insert("raised".to_owned(), raised.machine(dataset));
            machine.insert("raised_count".to_owned(), json!(raised.count()));
        }
        let machine = Value::Object(machine).to_string();
        let message = Message { default: &machine, email: &text, sms: &sms(&short) };
        let one_area = incidents.iter().all(|incident| incident.key.area == first.key.area);
        Self {
            subject,
            message: serde_json::to_string(&message).unwrap_or_else(|error| unreachable!("{error}")),
            attributes,
            count: incidents.len(),
            kind,
            accepted: OnceLock::new(),
            group: if one_area { first.value(dataset.severe_partition_key) } else { GROUP_OF_ALL }.to_owned(),
            id,
        }
    }
}

/// The id of a message about these incidents: the id and severity of the only one, or a hash of those of all.
fn id(incidents: &[&Incident]) -> String {
    let parts = |incident: &Incident| [incident.name(), incident.key.severity.to_string()];
    match incidents {
        [one] => parts(one).join("/"),
        many => format!("digest-{}", hex(hash(many.iter().flat_map(|incident| parts(incident))))),
    }
}

/// The message attributes of an alert about one incident.
#[must_use]
pub fn attributes_of(dataset: &Dataset, incident: &Incident) -> Vec<Attribute> {
    attributes(dataset, &[incident], &id(&[incident]))
}

/// The message attributes of an alert about these incidents, with all of their values. One with numbers is left out if
/// no incident has such a number.
fn attributes(dataset: &Dataset, incidents: &[&Incident], id: &str) -> Vec<Attribute> {
    let attribute = |(name, column): &(String, usize)| {
        let texts =
            || different(dataset, incidents, *column).into_iter().map(Cow::into_owned).collect::<Vec<_>>();
        let values = match *column {
            column if column == dataset.id && incidents.len() > 1 => {
                vec![text::legible(id).unwrap_or_default()]
            }
            column if column == dataset.severity => levels(incidents).iter().map(i64::to_string).collect(),
            column if dataset.is_filtered_as_number(column) => {
                let mut seen = BTreeSet::new();
                let numbers =
                    incidents.iter().filter_map(|incident| filtered_cell(dataset, incident, column));
                numbers.filter(|number| seen.insert(number.clone())).collect()
            }
            _ => texts(),
        };
        let is_severity = *column == dataset.severity;
        // Filter policies can compare the level, and can match the text.
        let text = dataset.severity_text_attribute(name).filter(|_| is_severity);
        let text = text.map(|name| Attribute { name, values: texts(), numeric: false });
        let numeric = is_severity || dataset.is_filtered_as_number(*column);
        iter::once(Attribute { name: name.clone(), values, numeric }).chain(text)
    };
    let attributes = dataset.alert.attributes.iter().flat_map(attribute);
    attributes.filter(|attribute| !attribute.values.is_empty()).collect()
}

/// The distinct levels of severity of the incidents, lowest first.
fn levels(incidents: &[&Incident]) -> BTreeSet<i64> {
    incidents.iter().map(|incident| incident.key.severity).collect()
}

/// The text for a placeholder in the wording of these incidents; `None` for a detail that none of them has.
fn fill<'i>(dataset: &Dataset, incidents: &[&'i Incident], place: Place) -> Option<Cow<'i, str>> {
    Some(match place {
        Place::Count => incidents.len().to_string().into(),
        Place::Ids => first(incidents.iter().map(|incident| incident.value(dataset.id).into()), NAMED_IDS),
        Place::Column(column) => first(different(dataset, incidents, column).into_iter(), NAMED_VALUES),
        Place::Detail(column) => {
            let mut seen = BTreeSet::new();
            let known = incidents.iter().filter_map(|incident| incident.known(column));
            let known: Vec<_> = known.filter(|value| seen.insert(*value)).map(Cow::Borrowed).collect();
            return (!known.is_empty()).then(|| first(known.into_iter(), NAMED_VALUES));
        }
        Place::Map => incidents.iter().find_map(|incident| map_link(dataset, incident))?.into(),
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
    })
}

/// How many incidents have each value: the most frequent first, then in the order of first appearance.
pub(crate) fn counts<'i, T, K: Eq + Hash + Copy>(
    incidents: &'i [T],
    value: impl Fn(&'i T) -> K,
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

/// The first few values, and how many more there are.
pub(crate) fn first<'v>(values: impl Iterator<Item = Cow<'v, str>>, most: usize) -> Cow<'v, str> {
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

/// The distinct values of a column, in the order of first appearance.
fn different<'i>(dataset: &Dataset, incidents: &[&'i Incident], column: usize) -> Vec<Cow<'i, str>> {
    if column == dataset.severity {
        let text = |level| dataset.severities.text(level).into_owned().into();
        return levels(incidents).into_iter().map(text).collect();
    }
    let mut seen = BTreeSet::new();
    let values = incidents.iter().map(|incident| incident.value(column));
    values.filter(|value| seen.insert(*value)).map(Cow::Borrowed).collect()
}

/// The alert for machines: the number of events, the ids of the first of them, the values of the attributes, and the
/// text for people. A value that differs among the events of a digest is a list. A digest over several severities or
/// areas has the number of events of each.
fn machine(
    dataset: &Dataset,
    incidents: &[&Incident],
    attributes: &[Attribute],
    text: &str,
) -> Map<String, Value> {
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
            [] => Value::Null,
            values if dataset.is_filtered_as_number(*column) => {
                let listed = values.iter().take(LISTED_VALUES).filter_map(|value| number(value));
                one_or_list(&listed.collect::<Vec<_>>())
            }
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
    insert_details(dataset, incidents, &mut message);
    message.insert("at".to_owned(), json!(incidents[0].known(dataset.received_at)));
    message.insert("text".to_owned(), json!(text));
    message
}

/// The details for machines: those of the only event, or of the first of a digest with their ids.
fn insert_details(dataset: &Dataset, incidents: &[&Incident], message: &mut Map<String, Value>) {
    if dataset.details.is_empty() {
        return;
    }
    let details = |incident: &Incident| {
        let link = map_link(dataset, incident);
        (Value::Object(details::machine(dataset, incident)), json!(link))
    };
    if let [one] = incidents {
        let (details, map) = details(one);
        message.insert("details".to_owned(), details);
        message.insert("map".to_owned(), map);
        return;
    }
    let each = |incident: &&Incident| {
        let (details, map) = details(incident);
        json!({"id": incident.known(dataset.id), "details": details, "map": map})
    };
    message.insert("events".to_owned(), incidents.iter().take(DETAILED).map(each).collect());
}

/// The only value, or a list of several.
fn one_or_list<T: Serialize>(values: &[T]) -> Value {
    match values {
        [value] => json!(value),
        values => json!(values),
    }
}

#[cfg(test)]
mod tests;
