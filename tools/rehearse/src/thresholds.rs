//! The same stack with other thresholds, so that one can be chosen.

use serde::Serialize;
use shared::data::dataset::Dataset;

use crate::{
    alerts::Alerts,
    settings::Thresholds,
    tables::{Received, Window, Worst},
};

/// What is alerted with a threshold.
#[derive(Debug, Serialize)]
pub struct AtThreshold {
    /// Events of a severity above it are alerted.
    pub above: i64,
    /// The severities that the data set lists above it, from the least.
    pub severities: Vec<String>,
    /// What a subscriber to every alert receives.
    pub every: Load,
    /// What each department receives.
    pub departments: Vec<(String, Load)>,
}

/// How many messages somebody receives.
#[derive(Debug, Serialize)]
pub struct Load {
    /// Events in the messages.
    pub events: u64,
    /// Messages.
    pub messages: u64,
    /// Days with messages.
    pub days: u64,
    /// The worst minute.
    pub minute: Window,
    /// The worst hour.
    pub hour: Window,
    /// The worst day.
    pub day: Window,
}

impl AtThreshold {
    /// A threshold, and what is alerted with it.
    #[must_use]
    pub fn new(dataset: &Dataset, above: i64, alerts: &Alerts) -> Self {
        let levels = dataset.severities.levels().iter().filter(|level| level.level > above);
        let of_department = |(name, received): (&str, &Received)| (name.to_owned(), Load::of(received));
        Self {
            above,
            severities: levels.map(|level| level.text.clone()).collect(),
            every: Load::of(&alerts.received),
            departments: alerts
                .departments
                .iter()
                .map(|each| (each.name.as_str(), &each.received))
                .map(of_department)
                .collect(),
        }
    }
}

impl Load {
    fn of(received: &Received) -> Self {
        let kinds = || [received.single, received.digests, received.storms].into_iter();
        // Their messages are shown for the settings only.
        let numbers = |worst: &Worst| Window { first: Vec::new(), ..worst.most };
        Self {
            events: kinds().map(|kind| kind.events).sum(),
            messages: kinds().map(|kind| kind.messages).sum(),
            days: received.days,
            minute: numbers(&received.minute),
            hour: numbers(&received.hour),
            day: numbers(&received.day),
        }
    }
}

/// The thresholds that divide the severities of a data set, from the one below all of them.
#[must_use]
pub fn all(dataset: &Dataset) -> Vec<i64> {
    let levels: Vec<i64> = dataset.severities.levels().iter().map(|level| level.level).collect();
    let Some((highest, lower)) = levels.split_last() else { return Vec::new() };
    let lowest = lower.first().unwrap_or(highest).saturating_sub(1);
    std::iter::once(lowest).chain(lower.iter().copied()).collect()
}

/// A stack that alerts above a threshold: transform passes these events on, too.
#[must_use]
pub fn lowered(thresholds: Thresholds, above: i64) -> Thresholds {
    Thresholds { transform: thresholds.transform.min(above), notify: above }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_divide_the_severities() {
        let all = |name| super::all(&Dataset::named(name).unwrap());
        assert_eq!(all("us_accidents"), [0, 1, 2, 3]);
        assert_eq!(all("support_tickets"), [0, 1, 2, 3]);
    }
}
