//! The handler: decode, decide, deliver, report.

use std::{
    collections::HashSet,
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    audit::{
        counts::Status,
        latency::LatencySample,
        ledger::{Ledger, Portion, RecordOutput, UserRecord},
    },
    data::decision::Decision,
    delivery::{self, Deadline, Order, Outcome, Report, Service},
    lambda::{
        config::{Common, ConfigError, Variables},
        invocation::Invocation,
    },
    stream::batch::{BatchResponse, NotABatch},
};
use tokio::time::Instant;

use crate::{
    incident::{self, Incident},
    pace::{NextTurn, Pace, Paced},
    plan::{Digests, Memory, Plan},
    rows::rows,
    word::Alert,
};

/// The longest that delivering the rows of a portion to the alerts table may take.
const ROWS_TIME: Duration = Duration::from_secs(2);

/// The longest that sending the alerts' latency to CloudWatch may take, so that it does not delay the next batch.
const LATENCY_TIME: Duration = Duration::from_secs(2);

/// The most incidents that are in memory at once; an ordinary batch has fewer.
const PORTION: Portion = Portion { soft_limit: 12_000, hard_limit: 24_000 };

/// What the environment configures.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data set, and what else every function needs.
    pub common: Common,
    /// `TOPIC_ARN`.
    pub topic_arn: String,
    /// `ALERTS_DELIVERY_STREAM`, for the rows of the alerts table.
    pub alerts_delivery_stream: String,
    /// `METRIC_NAMESPACE`, for the alerts' latency; by default the data set's.
    pub namespace: String,
    /// `SEVERITY_ABOVE`: events above it cause an alert.
    pub severity_above: i64,
    /// `DIGEST_ABOVE` and `DIGEST_WINDOW_SECONDS`: when several alerts become one.
    pub digests: Digests,
    /// `ALERTS_PER_SECOND`, `SHARDS` and `PARALLELIZATION_FACTOR`: the rate at which one invocation may
    /// send; `None` for no limit.
    pub pace: Option<Pace>,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut variables = Variables::new(look_up);
        let digests = Digests {
            above: variables.value("DIGEST_ABOVE", 10),
            window: TimeDelta::seconds(variables.value("DIGEST_WINDOW_SECONDS", 60_u32).into()),
        };
        let invocations = u64::from(variables.value("SHARDS", 4_u32))
            * u64::from(variables.value("PARALLELIZATION_FACTOR", 1_u32));
        let pace = Pace::new(variables.value("ALERTS_PER_SECOND", 8), invocations);
        let topic_arn = variables.required("TOPIC_ARN");
        let alerts_delivery_stream = variables.required("ALERTS_DELIVERY_STREAM");
        let namespace = variables.optional("METRIC_NAMESPACE");
        let severity_above = variables.value("SEVERITY_ABOVE", 3);
        let common = variables.finish()?;
        let namespace = namespace.unwrap_or_else(|| common.dataset.metric.namespace.clone());
        Ok(Self { common, topic_arn, alerts_delivery_stream, namespace, severity_above, digests, pace })
    }
}

/// Alerts people about the most severe events of stream 2.
#[derive(Debug)]
pub struct Handler<Topic, Latency, Rows> {
    /// Thresholds, limits and names.
    pub config: Config,
    /// The topic that the alerts go to.
    pub topic: Topic,
    /// The alerts delivery stream.
    pub alerts: Rows,
    /// The metric of the latency from an event to its alert.
    pub latency: Latency,
    /// The rejects delivery stream.
    pub rejects: Rows,
    /// The alerts that this container has sent.
    pub memory: Mutex<Memory>,
    /// When this container may send its next message.
    pub turn: NextTurn,
}

/// An incident that still needs its alert.
type PendingIncident = RecordOutput<Incident>;

/// The state of sending in an invocation.
struct Sending<'i> {
    invocation: &'i Invocation,
    pace: Option<Pace>,
    /// Messages that it may still send before it reports all other incidents in one.
    burst: usize,
}

impl<Topic, Latency, Rows> Handler<Topic, Latency, Rows>
where
    Topic: Service<Entry = Alert>,
    Latency: Service<Entry = LatencySample>,
    Rows: Service<Entry = Bytes>,
{
    /// Handles one batch and returns the record from which it is to be retried.
    pub async fn handle(&self, event: &str, invocation: &Invocation) -> Result<BatchResponse, NotABatch> {
        let mut ledger = Ledger::decode("notify", event, &self.config.common, invocation)?;
        let mut sending = Sending::new(self.config.pace, invocation);
        let mut accepted = AcceptedAlerts::default();
        while ledger.has_more() {
            // First the rows of the portion before, so that only those of one portion are in memory.
            ledger.unrecorded += self.deliver_rows(mem::take(&mut accepted.rows), invocation).await;
            let pending = ledger.decide(PORTION, |record| self.decide(record));
            let deliver = async |pending| self.deliver(pending, &mut sending).await;
            let record = |ledger: &mut Ledger<'_>, publication| {
                self.record(publication, ledger, &mut accepted, invocation)
            };
            ledger.deliver_in_order(pending, &self.rejects, invocation, deliver, record).await;
        }
        let (unrecorded, ()) = tokio::join!(
            self.deliver_rows(accepted.rows, invocation),
            self.report_latency(accepted.received, invocation),
        );
        ledger.unrecorded += unrecorded;

        let response = ledger.report(invocation);
        // The next batch may go to another container, which cannot see when this one last sent. Wait here, so that
        // together they stay within the rate.
        self.turn.wait().await;
        Ok(response)
    }

    /// Decides whether a record is an incident.
    fn decide(&self, UserRecord { data, .. }: UserRecord<'_>) -> Decision<Incident> {
        let Config { common, severity_above, .. } = &self.config;
        incident::decide(&common.dataset, *severity_above, data)
    }

    /// Publishes the alerts about the incidents.
    async fn deliver(&self, pending: Vec<PendingIncident>, sending: &mut Sending<'_>) -> Publication {
        let invocation = sending.invocation;
        let incidents: Vec<&Incident> = pending.iter().map(|pending| &pending.output).collect();
        let plan = self.config.digests.plan(&incidents, &mut self.memory(), invocation.now, sending.burst);
        let worded = plan.word(&self.config.common.dataset, &incidents);
        let (messages, alerts): (Vec<Vec<usize>>, Vec<Alert>) = worded.into_iter().unzip();
        sending.burst = sending.burst.saturating_sub(messages.len());
        let report = match sending.pace {
            None => delivery::deliver(&self.topic, &alerts, Order::Kept, invocation.deadline).await,
            Some(pace) => {
                let deadline = sending.deadline(pace);
                let (topic, turn) = (&self.topic, &self.turn);
                let paced = Paced { topic, pace, turn, began: invocation.began, deadline: deadline.at };
                delivery::deliver(&paced, &alerts, Order::Kept, deadline).await
            }
        };
        Publication { pending, messages, alerts, plan, report }
    }

    /// Records the outcome of each incident, remembers the accepted alerts, and collects what the alerts table and the
    /// latency metric need. Returns the incidents that still need an alert: repeats of one that SNS refused permanently.
    fn record(
        &self,
        publication: Publication,
        ledger: &mut Ledger<'_>,
        accepted: &mut AcceptedAlerts,
        invocation: &Invocation,
    ) -> Vec<PendingIncident> {
        let Publication { pending, messages, alerts, plan, report } = publication;
        ledger.retried += report.resent;
        for known in plan.known {
            ledger.record(pending[known].index, Status::Filtered);
        }
        let mut outcomes: Vec<Option<&Outcome>> = vec![None; pending.len()];
        for ((message, alert), outcome) in messages.iter().zip(&alerts).zip(&report.outcomes) {
            if *outcome == Outcome::Delivered {
                let incidents: Vec<&Incident> = message.iter().map(|at| &pending[*at].output).collect();
                let is_raised = message.iter().any(|incident| plan.raised.contains_key(incident));
                self.accept(alert, &incidents, is_raised, accepted, invocation);
            }
            for incident in message {
                outcomes[*incident] = Some(outcome);
                record_outcome(ledger, pending[*incident].index, outcome);
            }
        }
        record_repeats(ledger, pending, &plan.repeats, &outcomes)
    }

    /// Remembers an alert that SNS accepted, and what is still to be recorded about it.
    fn accept(
        &self,
        alert: &Alert,
        incidents: &[&Incident],
        is_raised: bool,
        accepted: &mut AcceptedAlerts,
        invocation: &Invocation,
    ) {
        let dataset = &self.config.common.dataset;
        accepted.rows.extend(rows(dataset, alert, incidents, is_raised, invocation.clock()));
        accepted.received.extend(incidents.iter().filter_map(|incident| incident.received));
        self.memory().note(incidents, invocation.now);
    }

    /// Delivers rows of the alerts table, and returns how many were not delivered. These are counted and logged. They
    /// fail no record, because the alerts themselves were sent.
    async fn deliver_rows(&self, rows: Vec<Bytes>, invocation: &Invocation) -> u64 {
        let deadline = invocation.deadline_within(ROWS_TIME);
        let report = delivery::deliver(&self.alerts, &rows, Order::Free, deadline).await;
        let failures: Vec<&String> = report
            .outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                Outcome::Delivered => None,
                Outcome::Failed(why) | Outcome::Unacceptable(why) => Some(why),
            })
            .collect();
        if let Some(why) = failures.first() {
            tracing::warn!(rows = failures.len(), why, "could not deliver rows of the alerts table");
        }
        failures.len() as u64
    }

    /// Sends the latency of the alerted events to CloudWatch. A failure is only logged, because no alert is lost.
    async fn report_latency(&self, received: Vec<DateTime<Utc>>, invocation: &Invocation) {
        if received.is_empty() {
            return;
        }
        let latency = [LatencySample { at: invocation.clock(), received }];
        let report =
            delivery::deliver(&self.latency, &latency, Order::Kept, invocation.deadline_within(LATENCY_TIME))
                .await;
        for outcome in report.outcomes {
            if let Outcome::Failed(why) | Outcome::Unacceptable(why) = outcome {
                tracing::warn!(why, "could not publish the latency of the alerts");
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'i> Sending<'i> {
    fn new(pace: Option<Pace>, invocation: &'i Invocation) -> Self {
        let left = invocation.deadline.at.saturating_duration_since(Instant::now());
        let pace = pace.map(|pace| pace.within(left));
        Self { invocation, pace, burst: pace.map_or(usize::MAX, Pace::burst) }
    }

    /// The deadline that leaves time for the pause after the last message.
    fn deadline(&self, pace: Pace) -> Deadline {
        let Deadline { at, seed } = self.invocation.deadline;
        Deadline { at: at.checked_sub(pace.pause()).unwrap_or(at), seed }
    }
}

/// What is still to be recorded about the alerts that SNS accepted in an invocation.
#[derive(Default)]
struct AcceptedAlerts {
    /// Their rows of the alerts table, until these are delivered.
    rows: Vec<Bytes>,
    /// When ingest received their events.
    received: Vec<DateTime<Utc>>,
}

/// Incidents, the messages about them, and what became of each message.
struct Publication {
    pending: Vec<PendingIncident>,
    /// The incidents that each message reports, by their positions in `pending`.
    messages: Vec<Vec<usize>>,
    alerts: Vec<Alert>,
    plan: Plan,
    /// The outcomes of the messages.
    report: Report,
}

/// Records the outcome of an incident: that of its message.
fn record_outcome(ledger: &mut Ledger<'_>, index: usize, outcome: &Outcome) {
    match outcome {
        Outcome::Delivered => ledger.record(index, Status::Delivered),
        Outcome::Failed(why) => ledger.record(index, Status::Failed(why.clone())),
        Outcome::Unacceptable(why) => ledger.refuse(index, why.clone()),
    }
}

/// Records each repeat as its first incident ended. Returns the repeats of one that SNS refused permanently: it refused
/// the content of the first, and may accept that of the repeat.
fn record_repeats(
    ledger: &mut Ledger<'_>,
    pending: Vec<PendingIncident>,
    repeats: &[(usize, usize)],
    outcomes: &[Option<&Outcome>],
) -> Vec<PendingIncident> {
    let mut to_deliver = HashSet::new();
    for (repeat, first) in repeats {
        let index = pending[*repeat].index;
        match outcomes[*first] {
            Some(Outcome::Delivered) => ledger.record(index, Status::Filtered),
            Some(Outcome::Failed(why)) => ledger.record(index, Status::Failed(why.clone())),
            Some(Outcome::Unacceptable(_)) | None => _ = to_deliver.insert(*repeat),
        }
    }
    let pending = pending.into_iter().enumerate();
    pending.filter(|(at, _)| to_deliver.contains(at)).map(|(_, incident)| incident).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(own: &[(&str, &str)]) -> Config {
        let read = Config::read(&|name| {
            let own = own.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
            own.or_else(|| {
                ["REJECTS_DELIVERY_STREAM", "ALERTS_DELIVERY_STREAM", "TOPIC_ARN"]
                    .contains(&name)
                    .then(|| "x".to_owned())
            })
        });
        read.unwrap()
    }

    #[test]
    fn digests_and_the_share_of_an_invocation_are_configured() {
        let config = read(&[]);
        assert_eq!((config.severity_above, config.digests.above), (3, 10));
        assert_eq!(config.digests.window, TimeDelta::seconds(60));
        assert_eq!(config.pace, Pace::new(8, 4));
        assert_eq!(config.namespace, config.common.dataset.metric.namespace);
        let config = read(&[
            ("SEVERITY_ABOVE", "1"),
            ("DIGEST_ABOVE", "3"),
            ("DIGEST_WINDOW_SECONDS", "7"),
            ("SHARDS", "6"),
            ("PARALLELIZATION_FACTOR", "3"),
            ("ALERTS_PER_SECOND", "90"),
            ("METRIC_NAMESPACE", "own"),
        ]);
        assert_eq!((config.severity_above, config.digests.above), (1, 3));
        assert_eq!(config.digests.window, TimeDelta::seconds(7));
        assert_eq!(config.pace, Pace::new(90, 18));
        assert_eq!(config.namespace, "own");
        assert_eq!(read(&[("ALERTS_PER_SECOND", "0")]).pace, None);
    }
}
