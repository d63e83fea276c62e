//! Which incidents of a batch are told alone, which together, and which were told before.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::word::{Incident, Key};

/// Ids that are remembered as told.
const REMEMBERED_IDS: usize = 50_000;

/// When many alerts of one key become one.
#[derive(Debug, Clone, Copy)]
pub struct Digests {
    /// Alerts of one key within the window that are still told one by one; 0 for any number.
    pub above: usize,
    /// How far back alerts count.
    pub window: TimeDelta,
}

/// What a container remembers of what it has told.
#[derive(Debug, Default)]
pub struct Memory {
    ids: HashSet<String>,
    order: VecDeque<String>,
    recent: HashMap<Key, VecDeque<(DateTime<Utc>, usize)>>,
}

impl Memory {
    /// Whether an incident of that id was told.
    #[must_use]
    pub fn knows(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Notes that these incidents of one key were told at `now`.
    pub fn note(&mut self, incidents: &[&Incident], now: DateTime<Utc>) {
        let Some(first) = incidents.first() else { return };
        self.recent.entry(first.key.clone()).or_default().push_back((now, incidents.len()));
        for id in incidents.iter().filter_map(|incident| incident.id.as_ref()) {
            if self.ids.insert(id.clone()) {
                self.order.push_back(id.clone());
            }
            if self.order.len() > REMEMBERED_IDS {
                self.order.pop_front().map(|oldest| self.ids.remove(&oldest));
            }
        }
    }

    /// Forgets what was told before the window.
    fn forget(&mut self, window: TimeDelta, now: DateTime<Utc>) {
        self.recent.retain(|_, told| {
            while told.front().is_some_and(|(at, _)| *at < now - window) {
                told.pop_front();
            }
            !told.is_empty()
        });
    }

    fn told_recently(&self, key: &Key) -> usize {
        self.recent.get(key).map_or(0, |told| told.iter().map(|(_, count)| count).sum())
    }
}

/// What becomes of the incidents of a batch, by position.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The incidents of each message, in the order of the first of each.
    pub messages: Vec<Vec<usize>>,
    /// Those that were told before, by this container or earlier in the batch.
    pub repeats: Vec<usize>,
}

impl Digests {
    /// Plans the messages for a batch: of a key with more incidents than may be told one by one, here and within the window
    /// before, all go into one.
    #[must_use]
    pub fn plan(&self, incidents: &[Incident], memory: &mut Memory, now: DateTime<Utc>) -> Plan {
        memory.forget(self.window, now);
        let mut plan = Plan::default();
        let mut by_key: HashMap<&Key, Vec<usize>> = HashMap::new();
        let mut ids = HashSet::new();
        let mut fresh = Vec::new();
        for (index, incident) in incidents.iter().enumerate() {
            let is_repeat = incident.id.as_deref().is_some_and(|id| memory.knows(id) || !ids.insert(id));
            if is_repeat {
                plan.repeats.push(index);
            } else {
                fresh.push(index);
                by_key.entry(&incident.key).or_default().push(index);
            }
        }
        for index in fresh {
            let key = &incidents[index].key;
            let Some(of_key) = by_key.get_mut(key) else { continue };
            if self.above > 0 && memory.told_recently(key) + of_key.len() > self.above {
                // At the place of the first; the others find nothing left.
                plan.messages.push(mem::take(of_key));
                by_key.remove(key);
            } else {
                plan.messages.push(vec![index]);
            }
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use shared::{dataset::Dataset, ledger::Owed};

    use super::*;
    use crate::word::worth;

    const DIGESTS: Digests = Digests { above: 3, window: TimeDelta::seconds(60) };

    fn incident(id: &str, county: &str) -> Incident {
        let json = format!(r#"{{"ID":"{id}","Severity":4,"County":"{county}"}}"#);
        match worth(&Dataset::named("us_accidents").unwrap(), 3, json.as_bytes()) {
            Owed::Output(incident) => incident,
            other => panic!("{other:?}"),
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn more_than_the_set_number_of_a_key_become_one_message_in_the_place_of_the_first() {
        let counties = ["a", "b", "a", "b", "a", "c", "a", "b"];
        let incidents: Vec<_> =
            counties.iter().enumerate().map(|(n, county)| incident(&n.to_string(), county)).collect();
        let plan = DIGESTS.plan(&incidents, &mut Memory::default(), at(0));
        assert_eq!(plan.messages, [vec![0, 2, 4, 6], vec![1], vec![3], vec![5], vec![7]]);
        let never = Digests { above: 0, ..DIGESTS };
        assert_eq!(never.plan(&incidents, &mut Memory::default(), at(0)).messages.len(), 8);
    }

    #[test]
    fn what_was_told_within_the_window_before_counts_too() {
        let mut memory = Memory::default();
        let (one, two) = (incident("1", "a"), incident("2", "a"));
        memory.note(&[&one, &two], at(0));
        let next = [incident("3", "a"), incident("4", "a"), incident("5", "b")];
        assert_eq!(DIGESTS.plan(&next, &mut memory, at(60)).messages, [vec![0, 1], vec![2]]);
        assert_eq!(DIGESTS.plan(&next, &mut memory, at(61)).messages, [vec![0], vec![1], vec![2]]);
        assert!(memory.recent.is_empty(), "what is past is forgotten");
    }

    #[test]
    fn a_repeat_of_an_id_is_not_told_again() {
        let mut memory = Memory::default();
        memory.note(&[&incident("1", "a")], at(0));
        let incidents = [
            incident("1", "a"),
            incident("2", "a"),
            incident("2", "a"),
            incident("", "a"),
            incident("", "a"),
        ];
        let plan = DIGESTS.plan(&incidents, &mut memory, at(120));
        assert_eq!(plan, Plan { messages: vec![vec![1], vec![3], vec![4]], repeats: vec![0, 2] });
    }

    #[test]
    fn the_oldest_ids_are_forgotten_first() {
        let mut memory = Memory::default();
        let mut incident = incident("x", "a");
        for n in 0..=REMEMBERED_IDS {
            incident.id = Some(n.to_string());
            memory.note(&[&incident], at(0));
        }
        assert!(!memory.knows("0") && memory.knows("1") && memory.knows(&REMEMBERED_IDS.to_string()));
        assert_eq!((memory.ids.len(), memory.order.len()), (REMEMBERED_IDS, REMEMBERED_IDS));
    }
}
