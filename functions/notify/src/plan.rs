//! Decides which incidents of a batch get their own message, which share one, and which are repeats.
//!
//! An incident is a repeat only if an alert about its id had at least its severity. A higher severity is always sent.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
};

use chrono::{DateTime, TimeDelta, Utc};
use shared::data::dataset::Dataset;

use crate::{
    incident::{Identity, Incident, Key},
    raise::Reported,
    word::{Alert, word},
};

/// Ids of alerts that a container remembers, each as 16 bytes, with the highest severity that was alerted.
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
    /// The highest severity that was alerted of each id.
    levels: HashMap<Identity, i64>,
    /// The ids, the oldest first.
    order: VecDeque<Identity>,
    /// How many alerts of a key each message held, the oldest first.
    recent: VecDeque<(DateTime<Utc>, Key, usize)>,
    /// The sums of `recent`, without zeros.
    sums: HashMap<Key, usize>,
}

impl Memory {
    /// The highest severity of the incident's id that was alerted; `None` if there was no alert.
    #[must_use]
    pub fn alerted(&self, incident: &Incident) -> Option<i64> {
        self.levels.get(&incident.identity()?).copied()
    }

    /// Whether an alert about the incident's id had at least its severity.
    #[must_use]
    pub fn knows(&self, incident: &Incident) -> bool {
        self.alerted(incident).is_some_and(|level| level >= incident.key.severity)
    }

    /// Records that a message about these incidents was sent at `now`.
    pub fn note(&mut self, incidents: &[&Incident], now: DateTime<Utc>) {
        let mut counts: HashMap<Key, usize> = HashMap::new();
        for incident in incidents {
            *counts.entry(incident.key).or_default() += 1;
            if let Some(identity) = incident.identity() {
                let severity = incident.key.severity;
                let level = self.levels.entry(identity).or_insert_with(|| {
                    self.order.push_back(identity);
                    severity
                });
                *level = severity.max(*level);
            }
        }
        for (key, count) in counts {
            self.recent.push_back((now, key, count));
            *self.sums.entry(key).or_default() += count;
        }
        while self.order.len() > REMEMBERED_IDS {
            self.order.pop_front().map(|oldest| self.levels.remove(&oldest));
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
    /// The incidents of the messages that raise an alert: the severity that was alerted of their id before.
    pub raised: BTreeMap<usize, i64>,
    /// Incidents that this container has already alerted about, with at least their severity.
    pub known: Vec<usize>,
    /// Incidents whose id is in a message of this plan with at least their severity, each with the position of that
    /// incident. A repeat shares its outcome.
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
        // The incident of each id with the highest severity so far.
        let mut highest: HashMap<Identity, usize> = HashMap::new();
        let mut fresh = Vec::new();
        for (index, incident) in incidents.iter().enumerate() {
            if memory.knows(incident) {
                plan.known.push(index);
                continue;
            }
            if let Some(identity) = incident.identity() {
                let highest = highest.entry(identity).or_insert(index);
                if *highest != index && incidents[*highest].key.severity >= incident.key.severity {
                    plan.repeats.push((index, *highest));
                    continue;
                }
                *highest = index;
            }
            fresh.push(index);
            by_key.entry(incident.key).or_default().push(index);
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
        plan.leave_out_lower(incidents);
        plan.note_raised(incidents, memory);
        plan
    }
}

impl Plan {
    /// Words the messages. Each comes with the positions of its incidents; one that is too large for SNS becomes several.
    #[must_use]
    pub fn word(&self, dataset: &Dataset, incidents: &[&Incident]) -> Vec<(Vec<usize>, Alert)> {
        let words = |message: &Vec<usize>| {
            let report = |place: &usize| Reported {
                incident: incidents[*place],
                raised_from: self.raised.get(place).copied(),
            };
            let together: Vec<_> = message.iter().map(report).collect();
            let parts = word(dataset, &together).into_iter();
            parts.map(|(part, alert)| (message[part].to_vec(), alert)).collect::<Vec<_>>()
        };
        self.messages.iter().flat_map(words).collect()
    }

    /// Merges the last messages, so that at most `most` remain.
    fn keep_to(&mut self, most: usize) {
        if self.messages.len() > most {
            let mut rest = self.messages.split_off(most - 1).concat();
            rest.sort_unstable();
            self.messages.push(rest);
        }
    }

    /// Makes an incident a repeat if its id is in the same or an earlier message with a higher severity. A digest can
    /// hold both, or be sent before the message of the lower one.
    fn leave_out_lower(&mut self, incidents: &[&Incident]) {
        let mut sent: HashMap<Identity, usize> = HashMap::new();
        let mut left_out: BTreeMap<usize, usize> = BTreeMap::new();
        for message in &mut self.messages {
            // The severities of an id rise within a batch, so the highest of a message is its last.
            for place in message.iter().rev() {
                let Some(identity) = incidents[*place].identity() else { continue };
                let highest = sent.entry(identity).or_insert(*place);
                if incidents[*highest].key.severity > incidents[*place].key.severity {
                    left_out.insert(*place, *highest);
                } else {
                    *highest = *place;
                }
            }
            message.retain(|place| !left_out.contains_key(place));
        }
        self.messages.retain(|message| !message.is_empty());
        for (_, first) in &mut self.repeats {
            *first = left_out.get(first).copied().unwrap_or(*first);
        }
        self.repeats.extend(left_out);
    }

    /// Notes the severity from which each incident of the messages is raised, if its id was alerted before.
    fn note_raised(&mut self, incidents: &[&Incident], memory: &Memory) {
        let mut levels: HashMap<Identity, i64> = HashMap::new();
        for place in self.messages.iter().flatten() {
            let incident = incidents[*place];
            let Some(identity) = incident.identity() else { continue };
            let before = levels.insert(identity, incident.key.severity).or_else(|| memory.alerted(incident));
            if let Some(before) = before {
                self.raised.insert(*place, before);
            }
        }
    }
}

#[cfg(test)]
mod tests;
