//! The promises about alerts: their keys, their pace, and the table of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    super::{
        pace::{most_in_a_second, reached_in_a_second},
        services::Services,
        unit::{Id, Kind, Unit, names},
    },
    Audit,
};

/// How long a FIFO topic remembers the deduplication ids of its messages.
///
/// Source: SNS developer guide, "Message deduplication for FIFO topics".
const DEDUPLICATION: Duration = Duration::from_mins(5);

impl Audit<'_, '_> {
    /// Subscribers of a FIFO topic, which drops messages with the id of one that it has just received, also get the
    /// highest severity of each id that was alerted.
    pub(super) fn escalations(&mut self) {
        let Services { messages, published, .. } = &self.chain.services;
        let mut last: BTreeMap<String, Instant> = BTreeMap::new();
        let mut highest: [BTreeMap<Id, i64>; 2] = Default::default();
        for (at, message) in messages.borrow().iter().zip(&*published.borrow()) {
            let is_dropped =
                last.get(&message.id).is_some_and(|last| at.duration_since(*last) < DEDUPLICATION);
            if !is_dropped {
                last.insert(message.id.clone(), *at);
            }
            for id in message.events.iter().filter(|id| (**id as usize) < self.chain.scenario.units.len()) {
                let Unit { identity, severity, .. } = *self.unit(*id);
                for highest in &mut highest[..if is_dropped { 1 } else { 2 }] {
                    let highest = highest.entry(identity).or_insert(severity);
                    *highest = severity.max(*highest);
                }
            }
        }
        let [alerted, received] = highest;
        self.hold(alerted == received, || {
            format!("a FIFO topic drops escalations: of {alerted:?} its subscribers get {received:?}")
        });
    }

    /// On-call services get one key for each id, whatever its severities, and another one for each other set of ids.
    pub(super) fn dedup_keys(&mut self) {
        let mut keys: BTreeMap<BTreeSet<Id>, BTreeSet<String>> = BTreeMap::new();
        for message in &*self.chain.services.published.borrow() {
            let ids = message.events.iter().filter(|id| (**id as usize) < self.chain.scenario.units.len());
            let identities: BTreeSet<Id> = ids.map(|id| self.unit(*id).identity).collect();
            if identities.len() == message.events.len() {
                keys.entry(identities).or_default().insert(message.dedup_key.clone());
            }
        }
        let distinct: BTreeSet<_> = keys.values().flatten().collect();
        self.hold(distinct.len() == keys.len() && keys.values().all(|keys| keys.len() == 1), || {
            format!("on-call services get other keys than one for each set of ids: {keys:?}")
        });
    }

    /// What was published is in the alerts table, unless notify counted a row that it could not deliver. Nothing else is
    /// in the table.
    pub(super) fn alert_rows(&mut self) {
        let Services { published, alert_rows, .. } = &self.chain.services;
        let recorded: BTreeSet<(String, i64)> =
            alert_rows.borrow().iter().flat_map(recorded_events).collect();
        let published = published.borrow();
        let alerted: BTreeSet<Id> = published.iter().flat_map(|message| message.events.clone()).collect();
        let units = &self.chain.scenario.units;
        let unit = |id: &Id| &units[*id as usize];
        let event = |id: &Id| (unit(id).carried_id(), unit(id).severity);
        // An invalid event may have no id.
        let (valid, invalid): (Vec<Id>, Vec<Id>) =
            alerted.into_iter().partition(|id| unit(id).kind != Kind::Poison);
        let known: BTreeSet<_> = valid.iter().map(event).collect();
        let strange = recorded.difference(&known).count();
        self.hold(strange <= invalid.len(), || {
            format!("{strange} rows of alerts are of events in no message")
        });
        let counts = self.chain.counts.borrow();
        let unrecorded: u64 = counts.values().flatten().map(|line| line.unrecorded).sum();
        drop(counts);
        self.hold(unrecorded == 0 || !self.chain.scenario.is_healthy(), || {
            format!("{unrecorded} rows of alerts were not delivered, though no service failed")
        });
        if unrecorded > 0 {
            return;
        }
        // An event that is retried may end in another place than the alert whose answer was lost.
        let elsewhere = &self.discarded.notify | &self.touched.notify;
        let is_missing = |id: &Id| !recorded.contains(&event(id)) && !elsewhere.contains(id);
        let missing: Vec<Id> = valid.into_iter().filter(is_missing).collect();
        self.hold(missing.is_empty(), || {
            format!("{} are alerted, but not in the alerts table", names(missing))
        });
    }

    /// At most the configured number of messages reaches the topic in any second.
    pub(super) fn pace(&mut self) {
        let (most, reached) = (most_in_a_second(self.chain.scenario), reached_in_a_second(self.chain));
        if let (Some(most), Some(reached)) = (most, reached) {
            self.hold(reached <= most, || {
                format!("{reached} messages reached the topic within a second, expected at most {most}")
            });
        }
    }
}

/// The events of a row of the alerts table, each with its id and severity.
fn recorded_events(row: &Bytes) -> Vec<(String, i64)> {
    let row: Value = serde_json::from_slice(row).unwrap_or_default();
    let list = |name: &str| row[name].as_array().cloned().unwrap_or_default();
    let id = |id: Value| id.as_str().unwrap_or_default().to_owned();
    let severity = |severity: Value| severity.as_i64().unwrap_or_default();
    list("ids").into_iter().map(id).zip(list("severities").into_iter().map(severity)).collect()
}
