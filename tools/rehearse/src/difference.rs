//! What differs between two settings: the events that only one of them alerts.

use std::{collections::VecDeque, rc::Rc};

use chrono::{DateTime, Utc};
use notify::incident::Incident;
use serde::Serialize;
use shared::data::dataset::Dataset;

use crate::{
    message::{Message, TimedMessage},
    tables::Names,
};

/// Examples of each setting.
const EXAMPLES: usize = 10;

/// What a setting decided about an event.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) event: u64,
    /// Its time, in microseconds since 1970.
    pub(crate) time: i64,
    /// The event; `None` if notify cannot read it.
    pub(crate) incident: Option<Rc<Incident>>,
    pub(crate) is_alerted: bool,
}

/// An event that one setting alerts.
#[derive(Debug, Serialize)]
pub(crate) struct Example {
    id: String,
    at: DateTime<Utc>,
    /// Its alert on a phone.
    text: String,
}

/// Events that only one of two settings alerts.
#[derive(Debug, Default, Serialize)]
pub(crate) struct OnlyOne {
    events: u64,
    by_severity: Names,
    by_area: Names,
    examples: Vec<Example>,
}

/// What differs between two settings.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Difference {
    /// Alerted by the first setting only, and by the second only.
    only: [OnlyOne; 2],
    /// Alerted by both.
    both: u64,
}

/// Compares two settings event by event.
#[derive(Debug)]
pub(crate) struct Comparison<'d> {
    dataset: &'d Dataset,
    difference: Difference,
    waiting: Waiting,
}

/// The decisions that only one setting has made, by the event's number. There may be many, since the other setting can
/// be far behind.
#[derive(Debug, Default)]
struct Waiting {
    first: u64,
    states: VecDeque<State>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Open,
    Decided { is_second: bool, is_alerted: bool },
    Done,
}

impl<'d> Comparison<'d> {
    pub(crate) fn new(dataset: &'d Dataset) -> Self {
        Self { dataset, difference: Difference::default(), waiting: Waiting::default() }
    }

    /// Records what a setting, the first or the second, decided about events.
    pub(crate) fn add(&mut self, is_second: bool, decided: Vec<Decided>) {
        for decided in decided {
            let Some(is_alerted) = self.waiting.decide(&decided, is_second) else { continue };
            let one = match (decided.is_alerted, is_alerted) {
                (true, true) => {
                    self.difference.both += 1;
                    continue;
                }
                (true, false) => is_second,
                (false, true) => !is_second,
                (false, false) => continue,
            };
            if let Some(incident) = &decided.incident {
                self.difference.only[usize::from(one)].add(self.dataset, incident, decided.time);
            }
        }
    }

    pub(crate) fn finish(self) -> Difference {
        self.difference
    }
}

impl Waiting {
    /// Records a decision, and returns that of the other setting if it exists.
    fn decide(&mut self, decided: &Decided, is_second: bool) -> Option<bool> {
        let place = usize::try_from(decided.event.checked_sub(self.first)?).ok()?;
        if self.states.len() <= place {
            self.states.resize(place + 1, State::Open);
        }
        let state = &mut self.states[place];
        match *state {
            State::Open => {
                *state = State::Decided { is_second, is_alerted: decided.is_alerted };
                None
            }
            State::Decided { is_second: other, is_alerted } if other != is_second => {
                *state = State::Done;
                while matches!(self.states.front(), Some(State::Done)) {
                    self.states.pop_front();
                    self.first += 1;
                }
                Some(is_alerted)
            }
            State::Decided { .. } | State::Done => None,
        }
    }
}

impl OnlyOne {
    fn add(&mut self, dataset: &Dataset, incident: &Rc<Incident>, time: i64) {
        self.events += 1;
        self.by_severity.add(&dataset.severities.text(incident.key.severity), 1);
        self.by_area.add(incident.value(dataset.severe_partition_key), 1);
        if self.examples.len() < EXAMPLES {
            let message = Message::One { incident: incident.clone(), raised_from: None };
            let shown = TimedMessage { at: time, message: message.into() }.render(dataset);
            self.examples.push(Example { id: incident.name(), at: shown.at, text: shown.sms });
        }
    }
}

#[cfg(test)]
mod tests {
    use notify::incident::decide;
    use proptest::prelude::*;
    use shared::data::decision::Decision;

    use super::*;

    proptest! {
        #[test]
        fn differences_do_not_depend_on_who_decides_first(
            alerted in proptest::collection::vec((any::<bool>(), any::<bool>()), 0..100),
            turns in proptest::collection::vec(any::<bool>(), 200),
        ) {
            let dataset = Dataset::named("us_accidents").unwrap();
            let incident = |number: usize| {
                let data = format!(r#"{{"ID":"A-{number}","Severity":4,"County":"Lucas"}}"#);
                match decide(&dataset, 3, data.as_bytes()) {
                    Decision::Output(incident) => Some(Rc::new(incident)),
                    _ => None,
                }
            };
            let mut comparison = Comparison::new(&dataset);
            let mut next = [0, 0];
            let ends = [false, true].into_iter().cycle().take(2 * alerted.len());
            for is_second in turns.into_iter().chain(ends) {
                let number = &mut next[usize::from(is_second)];
                let Some((first, second)) = alerted.get(*number) else { continue };
                let is_alerted = if is_second { *second } else { *first };
                let event = *number as u64;
                comparison.add(is_second, vec![Decided { event, time: 0, incident: incident(*number), is_alerted }]);
                *number += 1;
            }
            prop_assert!(comparison.waiting.states.is_empty());
            let found = comparison.finish();
            let count = |one, other| alerted.iter().filter(|each| **each == (one, other)).count() as u64;
            prop_assert_eq!(found.both, count(true, true));
            prop_assert_eq!(found.only.each_ref().map(|only| only.events), [count(true, false), count(false, true)]);
            for only in &found.only {
                prop_assert_eq!(only.examples.len() as u64, only.events.min(10));
                prop_assert!(only.examples.iter().all(|each| each.text.contains(&each.id) && each.text.contains("Lucas county")));
            }
        }
    }
}
