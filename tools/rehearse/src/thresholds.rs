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
pub(crate) struct AtThreshold {
    /// Events of a severity above it are alerted.
    pub(crate) above: i64,
    /// The severities that the data set lists above it, from the least.
    pub(crate) severities: Vec<String>,
    /// What a subscriber to every alert receives.
    pub(crate) every: Load,
    pub(crate) departments: Vec<(String, Load)>,
}

/// How many messages somebody receives.
#[derive(Debug, Serialize)]
pub(crate) struct Load {
    events: u64,
    messages: u64,
    days: u64,
    minute: Window,
    hour: Window,
    day: Window,
}

impl AtThreshold {
    pub(crate) fn new(dataset: &Dataset, alerts: &Alerts) -> Self {
        let above = alerts.above;
        let levels = dataset.severities.levels().iter().filter(|level| level.level > above);
        let departments = alerts.departments.iter();
        Self {
            above,
            severities: levels.map(|level| level.text.clone()).collect(),
            every: Load::of(&alerts.received),
            departments: departments
                .map(|each| (each.department.name.clone(), Load::of(&each.received)))
                .collect(),
        }
    }
}

impl Load {
    fn of(received: &Received) -> Self {
        let kinds = || [received.single, received.digests, received.storms].into_iter();
        // The messages themselves are shown only for the settings.
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

/// The thresholds that divide the severities of a data set, beginning with one below all severities.
pub(crate) fn all(dataset: &Dataset) -> Vec<i64> {
    let levels: Vec<i64> = dataset.severities.levels().iter().map(|level| level.level).collect();
    let Some((highest, lower)) = levels.split_last() else { return Vec::new() };
    let lowest = lower.first().unwrap_or(highest).saturating_sub(1);
    std::iter::once(lowest).chain(lower.iter().copied()).collect()
}

/// The thresholds of a stack that alerts above `above`: transform has to pass these events on, too.
pub(crate) fn lowered(thresholds: Thresholds, above: i64) -> Thresholds {
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
