//! The alerts of notify over severe events in order, with the time of the events as the clock.
//!
//! A lane hands over its records in batches, as Lambda does for the shards of a stream. A batch is due when it is full or
//! its window is over, and starts once the last invocation has ended. notify's own code plans the batch,
//! words the messages and paces them. A lane has one container, which remembers what it has alerted for all the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    time::Duration,
};

use chrono::TimeDelta;
use notify::{
    incident::{Incident, decide},
    pace::Pace,
    plan::{Digests, Memory, Plan},
};
use serde::Serialize;
use shared::{
    data::{dataset::Dataset, decision::Decision},
    lambda::invocation::Invocation,
};

use crate::{
    backlog::{Backlog, Pending},
    difference::Decided,
    error::Error,
    message::{Message, TimedMessage},
    order::Timed,
    settings::{Configured, Department, Mapping, Settings, Thresholds},
    tables::{Days, Hours, Names, Received, instant},
};

#[derive(Debug, Default, Serialize)]
pub(crate) struct Alerts {
    /// Events of a severity above it are alerted.
    pub(crate) above: i64,
    /// Events in messages.
    pub(crate) events: u64,
    /// Events that were not alerted, because an alert about their id had at least their severity.
    pub(crate) repeats: u64,
    /// Events whose severity rose after an alert.
    pub(crate) raised: u64,
    /// Records that notify would reject.
    pub(crate) rejected: u64,
    pub(crate) by_severity: Names,
    pub(crate) by_area: Names,
    /// Alerted events by the hour and the day of the week.
    #[serde(flatten)]
    pub(crate) hours: Hours,
    /// Alerted events and messages of each day.
    pub(crate) days: Days<2>,
    /// What a subscriber to all alerts receives.
    pub(crate) received: Received,
    pub(crate) departments: Vec<DepartmentAlerts>,
    /// The longest time from an event to its message, in milliseconds.
    pub(crate) longest_wait_ms: i64,
}

#[derive(Debug, Serialize)]
pub(crate) struct DepartmentAlerts {
    #[serde(flatten)]
    pub(crate) department: Department,
    pub(crate) received: Received,
}

/// A lane: a share of the keys of a shard, with the container that handles its batches.
struct Lane<'d> {
    pending: Backlog<'d>,
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

impl<'d> Lane<'d> {
    fn new(dataset: &'d Dataset) -> Self {
        Self {
            pending: Backlog::new(dataset),
            arrived: 0,
            handed_over: 0,
            opened: 0,
            free_at: 0,
            due: None,
            memory: Memory::default(),
        }
    }
}

/// An event as notify reads it; `None` if notify rejects it.
pub(crate) fn incident(dataset: &Dataset, event: &Timed) -> Option<Rc<Incident>> {
    match decide(dataset, i64::MIN, &event.data) {
        Decision::Output(incident) => Some(Rc::new(incident)),
        Decision::Nothing | Decision::Reject { .. } => None,
    }
}

/// notify, and the stream that it reads.
pub(crate) struct Simulation<'d> {
    dataset: &'d Dataset,
    thresholds: Thresholds,
    digests: Digests,
    pace: Option<Pace>,
    mapping: Mapping,
    lanes: Vec<Lane<'d>>,
    /// The lanes with records, by the time at which their next batch is handed over.
    due: BTreeSet<(i64, usize)>,
    /// Messages that are not sent yet, by their times and in their order.
    outbox: BTreeMap<(i64, u64), Rc<Message>>,
    messages: u64,
    alerts: Alerts,
    /// The decisions about events, if two settings are compared.
    decisions: Option<Vec<Decided>>,
}

impl<'d> Simulation<'d> {
    /// notify with this configuration and these thresholds, and the subscriptions to its topic.
    pub(crate) fn new(
        dataset: &'d Dataset,
        configured: &Configured<'_>,
        thresholds: Thresholds,
        is_compared: bool,
    ) -> Self {
        let Settings { mapping, departments, .. } = configured.settings;
        let departments = departments.iter().cloned();
        let departments =
            departments.map(|department| DepartmentAlerts { department, received: Received::default() });
        let timeout = TimeDelta::seconds(mapping.timeout_seconds.into());
        let now = instant(0);
        let deadline = u64::try_from((now + timeout).timestamp_millis()).unwrap_or_default();
        let invocation = Invocation::begin("", deadline, now, 0);
        let left = invocation.deadline.at.saturating_duration_since(invocation.began);
        Self {
            dataset,
            thresholds,
            digests: configured.notify.digests,
            pace: configured.notify.pace.map(|pace| pace.within(left)),
            lanes: (0..mapping.lanes()).map(|_| Lane::new(dataset)).collect(),
            mapping: mapping.clone(),
            due: BTreeSet::new(),
            outbox: BTreeMap::new(),
            messages: 0,
            alerts: Alerts {
                above: thresholds.alerted(),
                departments: departments.collect(),
                ..Alerts::default()
            },
            decisions: is_compared.then(Vec::new),
        }
    }

    /// Receives the next event with its number and severity, and as [`incident`] reads it. notify rejects an event
    /// without a severity, and one that is not alerted need not be read.
    pub(crate) fn receive(
        &mut self,
        number: u64,
        event: &Timed,
        severity: Option<i64>,
        incident: Option<&Rc<Incident>>,
    ) -> Result<(), Error> {
        self.run_until(event.time)?;
        if severity.is_some_and(|severity| severity <= self.thresholds.transform) {
            // It is not on stream 2.
            self.note(number, event.time, incident, false);
            return Ok(());
        }
        let lane = self.mapping.lane(event.hash_key);
        match incident {
            Some(incident) if severity > Some(self.thresholds.notify) => {
                let (record, incident) = (self.lanes[lane].arrived, incident.clone());
                let pending = Pending { record, event: number, time: event.time, incident };
                self.lanes[lane].pending.push(pending, event)?;
            }
            incident => {
                self.alerts.rejected += u64::from(severity.is_none());
                self.note(number, event.time, incident, false);
            }
        }
        self.lanes[lane].arrived += 1;
        self.schedule(lane, event.time);
        Ok(())
    }

    /// Hands over the next of the batches that are left after the last event; false if there is none.
    pub(crate) fn continue_to_end(&mut self) -> Result<bool, Error> {
        let next = self.due.first().map(|(time, _)| *time);
        self.run_until(next.unwrap_or(i64::MAX))?;
        Ok(next.is_some())
    }

    /// What was alerted, once nothing is left.
    pub(crate) fn finish(mut self) -> Alerts {
        let departments = self.alerts.departments.iter_mut().map(|department| &mut department.received);
        for received in departments.chain([&mut self.alerts.received]) {
            received.finish(self.dataset);
        }
        self.alerts
    }

    /// What is decided about events since the last call.
    pub(crate) fn take_decisions(&mut self) -> Vec<Decided> {
        self.decisions.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&mut self, event: u64, time: i64, incident: Option<&Rc<Incident>>, is_alerted: bool) {
        if let Some(all) = &mut self.decisions {
            all.push(Decided { event, time, incident: incident.cloned(), is_alerted });
        }
    }

    /// Hands over all batches that are due by `now`, and sends the messages that are due by then.
    fn run_until(&mut self, now: i64) -> Result<(), Error> {
        while let Some((time, lane)) = self.due.first().copied().filter(|(time, _)| *time <= now) {
            self.due.pop_first();
            self.lanes[lane].due = None;
            self.invoke(lane, time)?;
        }
        while let Some(entry) = self.outbox.first_entry().filter(|entry| entry.key().0 <= now) {
            let ((at, _), message) = entry.remove_entry();
            self.send(&TimedMessage { at, message });
        }
        Ok(())
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
    fn invoke(&mut self, lane: usize, now: i64) -> Result<(), Error> {
        let state = &mut self.lanes[lane];
        state.handed_over = state.arrived.min(state.handed_over + self.mapping.batch as u64);
        let mut pending = Vec::new();
        while let Some(next) = state.pending.pop_before(state.handed_over)? {
            pending.push(next);
        }
        let sent = if pending.is_empty() { 0 } else { self.publish(lane, &pending, now) };
        let time = self.pace.map_or(Duration::ZERO, |pace| pace.time_of(sent));
        let state = &mut self.lanes[lane];
        state.free_at = now + micros(time);
        state.opened = state.free_at;
        if state.arrived > state.handed_over {
            self.schedule(lane, now);
        }
        Ok(())
    }

    /// Plans and words the messages about the incidents of a batch; returns how many there are.
    fn publish(&mut self, lane: usize, pending: &[Pending], now: i64) -> usize {
        let incidents: Vec<&Incident> = pending.iter().map(|pending| pending.incident.as_ref()).collect();
        let memory = &mut self.lanes[lane].memory;
        let burst = self.pace.map_or(usize::MAX, Pace::burst);
        let plan = self.digests.plan(&incidents, memory, instant(now), burst);
        self.alerts.repeats += (plan.known.len() + plan.repeats.len()) as u64;
        self.alerts.raised += plan.raised.len() as u64;
        for place in plan.known.iter().chain(plan.repeats.iter().map(|(repeat, _)| repeat)) {
            let Pending { event, time, incident, .. } = &pending[*place];
            self.note(*event, *time, Some(incident), false);
        }
        let messages = plan.messages.iter().flat_map(|places| match places.as_slice() {
            [place] => {
                let incident = pending[*place].incident.clone();
                let raised_from = plan.raised.get(place).copied();
                vec![(places.clone(), Message::One { incident, raised_from })]
            }
            _ => {
                let (messages, raised) = (vec![places.clone()], plan.raised.clone());
                let digest = Plan { messages, raised, ..Plan::default() };
                let parts = digest.word(self.dataset, &incidents).into_iter();
                parts.map(|(places, alert)| (places, Message::Digest(alert))).collect()
            }
        });
        let messages: Vec<_> = messages.collect();
        let sent = messages.len();
        for (position, (places, message)) in messages.into_iter().enumerate() {
            let together: Vec<&Incident> = places.iter().map(|place| incidents[*place]).collect();
            self.lanes[lane].memory.note(&together, instant(now));
            let at =
                now.saturating_add(micros(self.pace.map_or(Duration::ZERO, |pace| pace.after(position))));
            for place in places {
                self.count(&pending[place], at);
            }
            self.outbox.insert((at, self.messages), Rc::new(message));
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
        alerts.longest_wait_ms = alerts.longest_wait_ms.max(at.saturating_sub(*time) / 1_000);
        self.note(*event, *time, Some(incident), true);
    }

    /// Sends a message to its subscribers.
    fn send(&mut self, sent: &TimedMessage) {
        self.alerts.days.add(sent.at, 1, 1);
        self.alerts.received.add(self.dataset, sent);
        let is_filtered = self.alerts.departments.iter().any(|each| each.department.filter.is_some());
        let attributes = if is_filtered { sent.message.attributes(self.dataset) } else { Vec::new() };
        for DepartmentAlerts { department, received } in &mut self.alerts.departments {
            if department.filter.as_ref().is_none_or(|filter| filter.admits(&attributes)) {
                received.add(self.dataset, sent);
            }
        }
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
