//! Words an escalation: an incident whose id was alerted before, with a lower severity.

use std::borrow::Cow;

use serde_json::{Value, json};
use shared::data::dataset::Dataset;

use crate::{
    incident::Incident,
    word::{LISTED_IDS, NAMED_IDS, counts, first},
};

/// How many changes of severity a digest names.
const NAMED_CHANGES: usize = 3;

/// An incident that a message reports.
#[derive(Debug, Clone, Copy)]
pub struct Reported<'i> {
    /// The incident.
    pub incident: &'i Incident,
    /// The severity that was alerted of its id before, if it is raised.
    pub raised_from: Option<i64>,
}

/// The incidents of a message that are raised.
pub(crate) struct Raised<'i> {
    /// The incidents, each with the severity that was alerted before.
    incidents: Vec<(&'i Incident, i64)>,
    /// Whether the message reports no other incident, and only one.
    is_only: bool,
}

impl<'i> Raised<'i> {
    /// Those of a message that reports these incidents; `None` if there are none.
    pub(crate) fn of(reported: &[Reported<'i>]) -> Option<Self> {
        let incidents: Vec<_> =
            reported.iter().filter_map(|each| Some((each.incident, each.raised_from?))).collect();
        (!incidents.is_empty()).then_some(Self { incidents, is_only: reported.len() == 1 })
    }

    /// A phrase for a subject or a text message: `Severity raised from 3 to 4`, in a digest `2 raised from 3 to 4`.
    pub(crate) fn phrase(&self, dataset: &Dataset) -> String {
        if self.is_only {
            let (incident, from) = self.incidents[0];
            return format!("Severity {}", change(dataset, (from, incident.key.severity)));
        }
        let named = self.changes().into_iter();
        let named = named.map(|(levels, count)| format!("{count} {}", change(dataset, levels)).into());
        first(named, NAMED_CHANGES).into_owned()
    }

    /// A text for people: the phrase, in a digest a line with the first ids for each change of severity.
    pub(crate) fn text(&self, dataset: &Dataset) -> String {
        if self.is_only {
            return format!("{}.\n\n", self.phrase(dataset));
        }
        let mut changes = self.changes();
        let more = changes.split_off(changes.len().min(NAMED_CHANGES));
        let mut text = String::new();
        for (levels, count) in changes {
            let of_change = self.incidents.iter().filter(|each| levels_of(each) == levels);
            let ids = first(of_change.map(|(each, _)| each.value(dataset.id).into()), NAMED_IDS);
            text.push_str(&format!("{count} {}: {ids}\n", change(dataset, levels)));
        }
        let more: usize = more.iter().map(|(_, count)| count).sum();
        if more > 0 {
            text.push_str(&format!("{more} more raised\n"));
        }
        text + "\n"
    }

    /// The first of them for machines, with their severities as levels, and as texts if they differ from levels.
    pub(crate) fn machine(&self, dataset: &Dataset) -> Value {
        let each = |(incident, from): &(&Incident, i64)| {
            let to = incident.key.severity;
            let mut each = json!({"id": incident.known(dataset.id), "from": from, "to": to});
            for (name, level) in [("from", *from), ("to", to)] {
                if let Some(name) = dataset.severity_text_attribute(name) {
                    each[name] = json!(dataset.severities.text(level));
                }
            }
            each
        };
        self.incidents.iter().take(LISTED_IDS).map(each).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.incidents.len()
    }

    /// How many incidents have each change of severity, the most frequent first.
    fn changes(&self) -> Vec<((i64, i64), usize)> {
        counts(&self.incidents, levels_of)
    }
}

/// The severities before and after.
fn levels_of((incident, from): &(&Incident, i64)) -> (i64, i64) {
    (*from, incident.key.severity)
}

/// A change of severity in words: `raised from 3 to 4`.
fn change(dataset: &Dataset, (from, to): (i64, i64)) -> String {
    let text = |level| -> Cow<'_, str> { dataset.severities.text(level) };
    format!("raised from {} to {}", text(from), text(to))
}
