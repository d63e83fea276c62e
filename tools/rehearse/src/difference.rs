//! What differs between two settings: the events that only one of them alerts.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use notify::incident::Incident;
use serde::Serialize;
use shared::data::dataset::Dataset;

use crate::tables::{Names, instant};

/// Examples of a kind.
const EXAMPLES: usize = 10;

/// An event that was alerted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alerted {
    id: String,
    severity: String,
    area: String,
    at: DateTime<Utc>,
}

impl Alerted {
    /// An incident at a time in microseconds since 1970.
    #[must_use]
    pub fn new(dataset: &Dataset, incident: &Incident, time: i64) -> Self {
        Self {
            id: incident.value(dataset.id).to_owned(),
            severity: dataset.severities.text(incident.key.severity).into_owned(),
            area: incident.value(dataset.severe_partition_key).to_owned(),
            at: instant(time),
        }
    }
}

/// Events that only one of two settings alerts.
#[derive(Debug, Default, Serialize)]
pub struct OnlyOne {
    /// How many there are.
    pub events: u64,
    /// By severity.
    pub by_severity: Names,
    /// By area.
    pub by_area: Names,
    /// The first of them.
    pub examples: Vec<Alerted>,
}

/// Compares two settings event by event.
#[derive(Debug, Default, Serialize)]
pub struct Difference {
    /// Alerted by the first setting only, and by the second only.
    pub only: [OnlyOne; 2],
    /// Alerted by both.
    pub both: u64,
    /// Events that one setting has decided about, by their numbers: which one, and what it alerted.
    #[serde(skip)]
    waiting: HashMap<u64, (usize, Option<Alerted>)>,
}

impl Difference {
    /// Records what a setting, the first or the second, decided about events.
    pub fn add(&mut self, setting: usize, decided: Vec<(u64, Option<Alerted>)>) {
        for (event, alerted) in decided {
            match self.waiting.remove(&event) {
                Some((other, earlier)) if other != setting => match (alerted, earlier) {
                    (Some(_), Some(_)) => self.both += 1,
                    (Some(alerted), None) => self.only[setting].add(alerted),
                    (None, Some(alerted)) => self.only[other].add(alerted),
                    (None, None) => {}
                },
                _ => {
                    self.waiting.insert(event, (setting, alerted));
                }
            }
        }
    }
}

impl OnlyOne {
    fn add(&mut self, alerted: Alerted) {
        self.events += 1;
        self.by_severity.add(&alerted.severity, 1);
        self.by_area.add(&alerted.area, 1);
        if self.examples.len() < EXAMPLES {
            self.examples.push(alerted);
        }
    }
}
