//! The alerts of notify over severe events in order, with the time of the events as the clock.
//!
//! A lane hands over its records in batches, as Lambda does for the shards of a stream: when the window after the first
//! record is over or the batch is full, and only once its last invocation has ended. notify's own code plans the batch,
//! words the messages and paces them. A lane has one container, which remembers what it has alerted for all the time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    rc::Rc,
    time::Duration,
};

use chrono::TimeDelta;
use notify::{
    incident::{Incident, decide},
    pace::Pace,
    plan::{Digests, Memory},
    word::Alert,
};
use serde::Serialize;
use shared::{
    data::{dataset::Dataset, decision::Decision},
    lambda::invocation::Invocation,
};

use crate::{
    difference::Alerted,
    order::Timed,
    policy::{Policy, Published},
    settings::{Configured, Department, Mapping},
    tables::{Days, Hours, Names, Received, Sent, instant},
};

/// What is alerted.
#[derive(Debug, Default, Serialize)]
pub struct Alerts {
    /// Events in messages.
    pub events: u64,
    /// Events that were not alerted, because an alert about their id had at least their severity.
    pub repeats: u64,
    /// Events whose severity rose after an alert.
    pub raised: u64,
    /// Records that notify would reject.
    pub rejected: u64,
    /// Alerted events by severity.
    pub by_severity: Names,
    /// Alerted events by area.
    pub by_area: Names,
    /// Alerted events by the hour and the day of the week.
    #[serde(flatten)]
    pub hours: Hours,
    /// Alerted events and messages of each day.
    pub days: Days<2>,
    /// What a subscriber to all alerts receives.
    pub received: Received,
    /// What each department receives.
    pub departments: Vec<DepartmentAlerts>,
    /// The longest time from an event to its message, in milliseconds.
    pub longest_wait_ms: i64,
}

/// What a department receives.
#[derive(Debug, Serialize)]
pub struct DepartmentAlerts {
    /// Its name.
    pub name: String,
    /// How its messages are delivered.
    pub protocol: String,
    /// Its messages.
    pub received: Received,
    #[serde(skip)]
    filter: Option<Policy>,
}

/// An incident that waits for its batch.
struct Pending {
    /// The position of its record in the lane.
    record: u64,
    /// The number of its event.
    event: u64,
    time: i64,
    incident: Incident,
}

/// A lane: a share of the keys of a shard, with the container that handles its batches.
#[derive(Default)]
struct Lane {
    pending: VecDeque<Pending>,
    /// Records that have arrived, and those of them that were handed over.
    arrived: u64,
    handed_over: u64,
    /// When the window of the next batch began.
    opened: i64,
    /// When the last invocation ended.
    free_at: i64,
    /// When the next batch is handed over, if there are records.
    due: Option<i64>,
    memory: Memory,
}

/// notify, and the stream that it reads.
pub struct Simulation<'d> {
    dataset: &'d Dataset,
    above: i64,
    digests: Digests,
    pace: Option<Pace>,
    mapping: Mapping,
    lanes: Vec<Lane>,
    /// The lanes with records, by the time at which their next batch is handed over.
    due: BTreeSet<(i64, usize)>,
    /// Messages that are sent later than now, by their times and in their order.
    outbox: BTreeMap<(i64, u64), Rc<Alert>>,
    messages: u64,
    alerts: Alerts,
    /// What became of events, for a comparison; nothing unless there is one.
    decisions: Option<Vec<(u64, Option<Alerted>)>>,
}

impl<'d> Simulation<'d> {
    /// notify with that configuration, and the subscriptions to its topic.
    #[must_use]
    pub fn new(
        dataset: &'d Dataset,
        configured: &Configured,
        mapping: &Mapping,
        departments: &[Department],
        is_compared: bool,
    ) -> Self {
        let departments = departments.iter().map(|department| DepartmentAlerts {
            name: department.name.clone(),
            protocol: department.protocol.clone(),
            received: Received::default(),
            filter: department.filter.clone(),
        });
        let timeout = TimeDelta::seconds(mapping.timeout_seconds.into());
        let now = instant(0);
        let deadline = u64::try_from((now + timeout).timestamp_millis()).unwrap_or_default();
        let invocation = Invocation::begin("", deadline, now, 0);
        let left = invocation.deadline.at.saturating_duration_since(invocation.began);
        Self {
            dataset,
            above: configured.alerted_above(),
            digests: configured.notify.digests,
            pace: configured.notify.pace.map(|pace| pace.within(left)),
            lanes: (0..mapping.lanes()).map(|_| Lane::default()).collect(),
            mapping: mapping.clone(),
            due: BTreeSet::new(),
            outbox: BTreeMap::new(),
            messages: 0,
            alerts: Alerts { departments: departments.collect(), ..Alerts::default() },
            decisions: is_compared.then(Vec::new),
        }
    }

    /// Receives the next event of stream 2, the `number`th.
    pub fn receive(&mut self, number: u64, event: &Timed) {
        self.run_until(event.time);
        let lane = self.mapping.lane(event.hash);
        match decide(self.dataset, self.above, &event.data) {
            Decision::Output(incident) => {
                let record = self.lanes[lane].arrived;
                let pending = Pending { record, event: number, time: event.time, incident };
                self.lanes[lane].pending.push_back(pending);
            }
            Decision::Nothing => self.note(number, None),
            Decision::Reject { .. } => {
                self.alerts.rejected += 1;
                self.note(number, None);
            }
        }
        self.lanes[lane].arrived += 1;
        self.schedule(lane, event.time);
    }

    /// Hands over what is left, and returns what was alerted.
    #[must_use]
    pub fn finish(mut self) -> (Alerts, Vec<(u64, Option<Alerted>)>) {
        self.run_until(i64::MAX);
        (self.alerts, self.decisions.unwrap_or_default())
    }

    /// What became of events since the last call, by their numbers.
    pub fn take_decisions(&mut self) -> Vec<(u64, Option<Alerted>)> {
        self.decisions.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&mut self, event: u64, alerted: Option<Alerted>) {
        if let Some(all) = &mut self.decisions {
            all.push((event, alerted));
        }
    }

    /// Hands over all batches that are due before `now`, and sends the messages of this time.
    fn run_until(&mut self, now: i64) {
        while let Some((time, lane)) = self.due.first().copied().filter(|(time, _)| *time <= now) {
            self.due.pop_first();
            self.lanes[lane].due = None;
            self.invoke(lane, time);
        }
        while let Some(entry) = self.outbox.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), alert) = entry.remove_entry();
            self.send(&Sent { at, alert });
        }
    }

    /// Decides when the next batch of a lane is handed over.
    fn schedule(&mut self, lane: usize, now: i64) {
        let batch = self.mapping.batch as u64;
        let window = self.mapping.window().num_microseconds().unwrap_or(i64::MAX);
        let state = &mut self.lanes[lane];
        let waiting = state.arrived - state.handed_over;
        if waiting == 1 {
            state.opened = now;
        }
        let due = match waiting {
            0 => None,
            waiting if waiting >= batch => Some(now.max(state.free_at)),
            _ => Some(state.opened.max(state.free_at) + window),
        };
        if due != state.due {
            state.due.map(|due| self.due.remove(&(due, lane)));
            due.map(|due| self.due.insert((due, lane)));
            self.lanes[lane].due = due;
        }
    }

    /// Handles the next batch of a lane.
    fn invoke(&mut self, lane: usize, now: i64) {
        let state = &mut self.lanes[lane];
        state.handed_over = state.arrived.min(state.handed_over + self.mapping.batch as u64);
        let count = state.pending.iter().take_while(|pending| pending.record < state.handed_over).count();
        let pending: Vec<Pending> = state.pending.drain(..count).collect();
        let sent = if pending.is_empty() { 0 } else { self.publish(lane, &pending, now) };
        let time = self.pace.map_or(Duration::ZERO, |pace| pace.time_of(sent));
        let state = &mut self.lanes[lane];
        state.free_at = now + micros(time);
        state.opened = state.free_at;
        if state.arrived > state.handed_over {
            self.schedule(lane, now);
        }
    }

    /// Plans and words the messages about the incidents of a batch; returns how many there are.
    fn publish(&mut self, lane: usize, pending: &[Pending], now: i64) -> usize {
        let incidents: Vec<&Incident> = pending.iter().map(|pending| &pending.incident).collect();
        let memory = &mut self.lanes[lane].memory;
        let burst = self.pace.map_or(usize::MAX, Pace::burst);
        let plan = self.digests.plan(&incidents, memory, instant(now), burst);
        let messages = plan.word(self.dataset, &incidents);
        let sent = messages.len();
        self.alerts.repeats += (plan.known.len() + plan.repeats.len()) as u64;
        self.alerts.raised += plan.raised.len() as u64;
        for place in plan.known.iter().chain(plan.repeats.iter().map(|(repeat, _)| repeat)) {
            self.note(pending[*place].event, None);
        }
        for (position, (places, alert)) in messages.into_iter().enumerate() {
            let together: Vec<&Incident> = places.iter().map(|place| incidents[*place]).collect();
            self.lanes[lane].memory.note(&together, instant(now));
            let at =
                now.saturating_add(micros(self.pace.map_or(Duration::ZERO, |pace| pace.after(position))));
            for place in places {
                self.count(&pending[place], at);
            }
            self.outbox.insert((at, self.messages), Rc::new(alert));
            self.messages += 1;
        }
        sent
    }

    /// Counts an event that a message reports.
    fn count(&mut self, pending: &Pending, at: i64) {
        let Pending { event, time, incident, .. } = pending;
        let area = incident.value(self.dataset.severe_partition_key);
        let severity = self.dataset.severities.text(incident.key.severity);
        let alerts = &mut self.alerts;
        alerts.events += 1;
        alerts.by_severity.add(&severity, 1);
        alerts.by_area.add(area, 1);
        alerts.hours.add(*time, 1);
        alerts.days.add(*time, 0, 1);
        alerts.longest_wait_ms = alerts.longest_wait_ms.max((at - time) / 1_000);
        if self.decisions.is_some() {
            self.note(*event, Some(Alerted::new(self.dataset, incident, *time)));
        }
    }

    /// Sends a message to its subscribers.
    fn send(&mut self, sent: &Sent) {
        self.alerts.days.add(sent.at, 1, 1);
        self.alerts.received.add(sent);
        if self.alerts.departments.is_empty() {
            return;
        }
        let attributes: Vec<_> = sent.alert.attributes.iter().map(Published::from).collect();
        for department in &mut self.alerts.departments {
            if department.filter.as_ref().is_none_or(|filter| filter.admits(&attributes)) {
                department.received.add(sent);
            }
        }
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
