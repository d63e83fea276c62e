//! Decides which incidents of a batch get their own message, which share one, and which are repeats.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::incident::{Identity, Incident, Key};

/// Ids of alerts that a container remembers, 16 bytes each.
const REMEMBERED_IDS: usize = 50_000;

/// Counts of recent alerts that a container remembers: one for each message and key. Beyond this number the oldest is
/// forgotten early, and its key may get single alerts again before the window ends.
const REMEMBERED_COUNTS: usize = 50_000;

/// When several alerts of one key become one.
#[derive(Debug, Clone, Copy)]
pub struct Digests {
    /// Alerts of one key within the window that still get their own message; 0 for no limit.
    pub above: usize,
    /// The length of the window in which alerts count.
    pub window: TimeDelta,
}

/// What a container remembers of the alerts that it has sent.
#[derive(Debug, Default)]
pub struct Memory {
    ids: HashSet<Identity>,
    /// The ids, the oldest first.
    order: VecDeque<Identity>,
    /// How many alerts of a key each message held, the oldest first.
    recent: VecDeque<(DateTime<Utc>, Key, usize)>,
    /// The sums of `recent`, without zeros.
    sums: HashMap<Key, usize>,
}

impl Memory {
    /// Whether an alert about that incident was sent.
    #[must_use]
    pub fn knows(&self, incident: &Incident) -> bool {
        incident.identity().is_some_and(|identity| self.ids.contains(&identity))
    }

    /// Records that a message about these incidents was sent at `now`.
    pub fn note(&mut self, incidents: &[&Incident], now: DateTime<Utc>) {
        let mut counts: HashMap<Key, usize> = HashMap::new();
        for incident in incidents {
            *counts.entry(incident.key).or_default() += 1;
            if let Some(identity) = incident.identity()
                && self.ids.insert(identity)
            {
                self.order.push_back(identity);
            }
        }
        for (key, count) in counts {
            self.recent.push_back((now, key, count));
            *self.sums.entry(key).or_default() += count;
        }
        while self.order.len() > REMEMBERED_IDS {
            self.order.pop_front().map(|oldest| self.ids.remove(&oldest));
        }
        while self.recent.len() > REMEMBERED_COUNTS {
            self.forget_oldest();
        }
    }

    /// Forgets the counts from before the window.
    fn forget(&mut self, window: TimeDelta, now: DateTime<Utc>) {
        while self.recent.front().is_some_and(|(at, ..)| *at < now - window) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, key, count)) = self.recent.pop_front() else { return };
        if let Some(sum) = self.sums.get_mut(&key) {
            *sum -= count;
            if *sum == 0 {
                self.sums.remove(&key);
            }
        }
    }

    /// How many alerts of a key were sent within the window.
    fn recent(&self, key: Key) -> usize {
        self.sums.get(&key).copied().unwrap_or_default()
    }
}

/// The plan for the incidents of a batch, by position.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The incidents of each message, in the order of the first of each.
    pub messages: Vec<Vec<usize>>,
    /// Incidents that this container has already alerted about.
    pub known: Vec<usize>,
    /// Incidents with the id of an earlier one in the batch, each with the position of that one. A repeat shares its
    /// outcome.
    pub repeats: Vec<(usize, usize)>,
}

impl Digests {
    /// Plans at most `most` messages for a batch, but at least one. A key may have more incidents, in this batch and
    /// the window before it, than may get their own messages. Then all of them share one. If there are still too many
    /// messages, the last one is a digest over all keys with the remaining incidents.
    #[must_use]
    pub fn plan(
        &self,
        incidents: &[&Incident],
        memory: &mut Memory,
        now: DateTime<Utc>,
        most: usize,
    ) -> Plan {
        memory.forget(self.window, now);
        let mut plan = Plan::default();
        let mut by_key: HashMap<Key, Vec<usize>> = HashMap::new();
        let mut firsts: HashMap<Identity, usize> = HashMap::new();
        let mut fresh = Vec::new();
        for (index, incident) in incidents.iter().enumerate() {
            if memory.knows(incident) {
                plan.known.push(index);
                continue;
            }
            let first =
                incident.identity().map_or(index, |identity| *firsts.entry(identity).or_insert(index));
            if first == index {
                fresh.push(index);
                by_key.entry(incident.key).or_default().push(index);
            } else {
                plan.repeats.push((index, first));
            }
        }
        for index in fresh {
            let key = incidents[index].key;
            let Some(of_key) = by_key.get_mut(&key) else { continue };
            if self.above > 0 && memory.recent(key) + of_key.len() > self.above {
                // Planned at the position of the first; the others are done then.
                plan.messages.push(mem::take(of_key));
                by_key.remove(&key);
            } else {
                plan.messages.push(vec![index]);
            }
        }
        plan.keep_to(most.max(1));
        plan
    }
}

impl Plan {
    /// Merges the last messages, so that at most `most` remain.
    fn keep_to(&mut self, most: usize) {
        if self.messages.len() > most {
            let mut rest = self.messages.split_off(most - 1).concat();
            rest.sort_unstable();
            self.messages.push(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::incident::tests::incident as of_json;

    const DIGESTS: Digests = Digests { above: 3, window: TimeDelta::seconds(60) };

    fn incident(id: &str, county: &str) -> Incident {
        of_json(&format!(r#"{{"ID":"{id}","Severity":4,"County":"{county}"}}"#))
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn plan_most(
        digests: Digests,
        incidents: &[Incident],
        memory: &mut Memory,
        seconds: i64,
        most: usize,
    ) -> Plan {
        digests.plan(&incidents.iter().collect::<Vec<_>>(), memory, at(seconds), most)
    }

    fn plan(incidents: &[Incident], memory: &mut Memory, seconds: i64) -> Plan {
        plan_most(DIGESTS, incidents, memory, seconds, usize::MAX)
    }

    #[test]
    fn many_incidents_of_a_key_share_the_message_of_the_first() {
        let counties = ["a", "b", "a", "b", "a", "c", "a", "b"];
        let incidents: Vec<_> =
            counties.iter().enumerate().map(|(n, county)| incident(&n.to_string(), county)).collect();
        let messages = plan(&incidents, &mut Memory::default(), 0).messages;
        assert_eq!(messages, [vec![0, 2, 4, 6], vec![1], vec![3], vec![5], vec![7]]);
        let never = Digests { above: 0, ..DIGESTS };
        let plan = plan_most(never, &incidents, &mut Memory::default(), 0, usize::MAX);
        assert_eq!(plan.messages.len(), 8);
    }

    #[test]
    fn messages_above_the_limit_become_one_over_all_keys() {
        let counties = ["a", "b", "a", "c", "a", "d", "a", "e"];
        let incidents: Vec<_> =
            counties.iter().enumerate().map(|(n, county)| incident(&n.to_string(), county)).collect();
        let most = |most| plan_most(DIGESTS, &incidents, &mut Memory::default(), 0, most).messages;
        assert_eq!(most(5), [vec![0, 2, 4, 6], vec![1], vec![3], vec![5], vec![7]]);
        assert_eq!(most(4), [vec![0, 2, 4, 6], vec![1], vec![3], vec![5, 7]]);
        assert_eq!(most(2), [vec![0, 2, 4, 6], vec![1, 3, 5, 7]]);
        assert_eq!(most(1), [vec![0, 1, 2, 3, 4, 5, 6, 7]]);
        assert_eq!(most(0), most(1));
    }

    #[test]
    fn alerts_within_the_window_before_count_too() {
        let mut memory = Memory::default();
        memory.note(&[&incident("1", "a"), &incident("2", "a"), &incident("9", "b")], at(0));
        let next = [incident("3", "a"), incident("4", "a"), incident("5", "b")];
        assert_eq!(plan(&next, &mut memory, 60).messages, [vec![0, 1], vec![2]]);
        let as_many_as_may = [incident("6", "b"), incident("7", "b")];
        assert_eq!(plan(&as_many_as_may, &mut memory, 60).messages, [vec![0], vec![1]]);
        assert_eq!(plan(&next, &mut memory, 61).messages, [vec![0], vec![1], vec![2]]);
        assert!(memory.recent.is_empty() && memory.sums.is_empty(), "what is past is forgotten");
    }

    #[test]
    fn repeat_is_known_or_shares_the_outcome_of_the_first() {
        let mut memory = Memory::default();
        memory.note(&[&incident("1", "a")], at(0));
        let incidents = ["1", "2", "2", "", "", "2"].map(|id| incident(id, "a"));
        let digests = Digests { above: 0, ..DIGESTS };
        assert_eq!(
            plan_most(digests, &incidents, &mut memory, 120, usize::MAX),
            Plan { messages: vec![vec![1], vec![3], vec![4]], known: vec![0], repeats: vec![(2, 1), (5, 1)] }
        );
    }

    #[test]
    fn oldest_ids_are_forgotten_first() {
        let mut memory = Memory::default();
        let mut incident = incident("x", "a");
        let with_id = |incident: &mut Incident, n: usize| incident.id = Some(n.to_string());
        for n in 0..=REMEMBERED_IDS {
            with_id(&mut incident, n);
            memory.note(&[&incident], at(0));
        }
        let mut knows = |n| {
            with_id(&mut incident, n);
            memory.knows(&incident)
        };
        assert!(!knows(0) && knows(1) && knows(REMEMBERED_IDS));
        assert_eq!((memory.ids.len(), memory.order.len()), (REMEMBERED_IDS, REMEMBERED_IDS));
    }

    #[test]
    fn memory_is_bounded_whatever_the_ids_and_areas() {
        let mut memory = Memory::default();
        let mut storm: Vec<_> = (0..REMEMBERED_COUNTS)
            .map(|n| incident(&format!("{n}{}", "x".repeat(20)), &n.to_string()))
            .collect();
        for round in 0..2 {
            for (n, incident) in storm.iter_mut().enumerate() {
                incident.id = Some(format!("{round} {n}"));
            }
            memory.note(&storm.iter().collect::<Vec<_>>(), at(round));
        }
        assert_eq!(memory.recent.len(), REMEMBERED_COUNTS);
        assert_eq!(memory.sums.len(), REMEMBERED_COUNTS);
        // Each entry has a fixed size: no text is stored.
        assert!(size_of::<(DateTime<Utc>, Key, usize)>() <= 64 && size_of::<Identity>() == 16);
    }

    proptest! {
        #[test]
        fn every_incident_is_in_one_message_or_a_repeat(
            events in proptest::collection::vec((0_u8..12, 0_u8..4), 0..40),
            earlier in 0_u8..12,
            above in 0_usize..5,
            most in 1_usize..8,
        ) {
            // An id always has the same county, as in real events.
            let incidents: Vec<_> =
                events.iter().map(|(id, county)| incident(&id.to_string(), &county.to_string())).collect();
            let mut memory = Memory::default();
            memory.note(&[&incident(&earlier.to_string(), "0")], at(0));
            let digests = Digests { above, ..DIGESTS };
            let plan = plan_most(digests, &incidents, &mut memory, 0, most);
            let mut places = plan.messages.concat();
            places.extend(plan.known.iter().copied());
            places.extend(plan.repeats.iter().map(|(repeat, _)| *repeat));
            places.sort_unstable();
            prop_assert_eq!(places, (0..incidents.len()).collect::<Vec<_>>());
            prop_assert!(plan.messages.len() <= most);
            prop_assert!(plan.messages.iter().all(|message| message.is_sorted()));
            let sent = plan.messages.concat();
            for (repeat, first) in plan.repeats {
                prop_assert!(first < repeat && incidents[first].id == incidents[repeat].id && sent.contains(&first));
            }
            // Within a key, the first appearances are in order.
            for county in 0..4_u8 {
                let key = incident("k", &county.to_string()).key;
                let of_key: Vec<_> = sent.iter().filter(|place| incidents[**place].key == key).collect();
                prop_assert!(of_key.is_sorted(), "{:?}", plan.messages);
            }
        }
    }
}
