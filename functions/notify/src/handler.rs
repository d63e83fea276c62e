//! The handler: decode, decide, deliver, report.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    audit::{
        counts::Status,
        latency::LatencySample,
        ledger::{Ledger, Portion, UserRecord},
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
    incident::{Incident, worth},
    pace::{NextTurn, Pace, Paced},
    plan::{Digests, Memory, Plan},
    word::{Alert, word},
};

/// The longest that telling CloudWatch the alerts' latency may take: it must not hold up the next batch.
const AGES_TIME: Duration = Duration::from_secs(2);

/// The most incidents that are held at once: more than a batch of ordinary ones has.
const PORTION: Portion = Portion { enough: 12_000, most: 24_000 };

/// The configuration of notify.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every function needs.
    pub common: Common,
    /// `TOPIC_ARN`.
    pub topic_arn: String,
    /// `METRIC_NAMESPACE`, to which the alerts' latency go; the data set's where it is not given.
    pub namespace: String,
    /// `SEVERITY_ABOVE`: events above it are alerted.
    pub severity_above: i64,
    /// `DIGEST_ABOVE` and `DIGEST_WINDOW_SECONDS`: when many alerts become one.
    pub digests: Digests,
    /// `ALERTS_PER_SECOND`, `SHARDS` and `PARALLELIZATION_FACTOR`: the share of one invocation; `None` without a bound.
    pub pace: Option<Pace>,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (common, (topic_arn, namespace, severity_above, digests, pace)) =
            Variables::new(look_up).read(|variables| {
                let digests = Digests {
                    above: variables.value("DIGEST_ABOVE", 10),
                    window: TimeDelta::seconds(variables.value("DIGEST_WINDOW_SECONDS", 60_u32).into()),
                };
                let (shards, factor) =
                    (variables.value("SHARDS", 4_u32), variables.value("PARALLELIZATION_FACTOR", 1_u32));
                let pace =
                    Pace::new(variables.value("ALERTS_PER_SECOND", 8), u64::from(shards) * u64::from(factor));
                (
                    variables.required("TOPIC_ARN"),
                    variables.optional("METRIC_NAMESPACE"),
                    variables.value("SEVERITY_ABOVE", 3),
                    digests,
                    pace,
                )
            })?;
        let namespace = namespace.unwrap_or_else(|| common.dataset.metric.namespace.clone());
        Ok(Self { common, topic_arn, namespace, severity_above, digests, pace })
    }
}

/// Alerts people about the most severe events of stream 2.
#[derive(Debug)]
pub struct Handler<T, A, R> {
    /// The configuration.
    pub config: Config,
    /// The topic.
    pub topic: T,
    /// The metric of the events' latency when they have been alerted.
    pub latency: A,
    /// The rejects delivery stream.
    pub rejects: R,
    /// What this container has sent.
    pub memory: Mutex<Memory>,
    /// When this container may send its next message.
    pub turn: NextTurn,
}

/// An incident, and the position of the record of the stream that holds it.
struct Found {
    record: usize,
    incident: Incident,
}

/// An incident of a batch.
struct Pending {
    incident: Incident,
    /// Position of its user record.
    index: usize,
    /// Position of the record of the stream that holds it.
    record: usize,
}

/// How an invocation may send.
struct Sending<'i> {
    invocation: &'i Invocation,
    pace: Option<Pace>,
    /// Messages that it may still send before it reports all other incidents in one.
    burst: usize,
}

impl<T, A, R> Handler<T, A, R>
where
    T: Service<Entry = Alert>,
    A: Service<Entry = LatencySample>,
    R: Service<Entry = Bytes>,
{
    /// Handles one batch and answers from where it is to be retried.
    pub async fn handle(&self, event: &str, invocation: &Invocation) -> Result<BatchResponse, NotABatch> {
        let decide = |record: UserRecord<'_>| self.decide(record);
        let common = &self.config.common;
        let (mut ledger, mut pending) = Ledger::read("notify", event, common, invocation, PORTION, decide)?;
        let mut sending = Sending::new(self.config.pace, invocation);
        let mut received = Vec::new();
        loop {
            self.alert(pending, &mut ledger, &mut sending, &mut received).await;
            if !ledger.has_more() {
                break;
            }
            pending = ledger.read_on(PORTION, decide);
        }
        self.tell_ages(received, invocation).await;

        let response = ledger.finish(invocation);
        // The next batch of this shard may be another container's, which does not know when this one has sent.
        self.turn.wait().await;
        Ok(response)
    }

    /// Alerts people about the incidents of a portion, writes its rejects, and enters what became of both.
    async fn alert(
        &self,
        incidents: Vec<(usize, Found)>,
        ledger: &mut Ledger<'_>,
        sending: &mut Sending<'_>,
        received: &mut Vec<DateTime<Utc>>,
    ) {
        let invocation = sending.invocation;
        let pending = |(index, Found { record, incident })| Pending { incident, index, record };
        let mut pending: Vec<Pending> = incidents.into_iter().map(pending).collect();
        // What is before the first reject is sent while the rejects are written. What is behind it is sent only then: if
        // a reject cannot be written, the batch is retried from there, and must not have been alerted already.
        while !pending.is_empty() || ledger.first_refused().is_some() {
            let behind = split_off(&mut pending, ledger.first_refused().unwrap_or(usize::MAX));
            let (sent, ()) =
                tokio::join!(self.publish(pending, sending), ledger.write_rejects(&self.rejects, invocation));
            let refused = self.record(sent, ledger, received, invocation);
            pending = up_to_first_failure(merge(refused, behind), ledger);
        }
    }

    /// What a record is worth.
    fn decide(&self, UserRecord { record, data, .. }: UserRecord<'_>) -> Decision<Found> {
        let Config { common, severity_above, .. } = &self.config;
        worth(&common.dataset, *severity_above, data).map(|incident| Found { record, incident })
    }

    /// Publishes the alerts about the incidents.
    async fn publish(&self, pending: Vec<Pending>, sending: &mut Sending<'_>) -> Sent {
        let invocation = sending.invocation;
        let incidents: Vec<&Incident> = pending.iter().map(|pending| &pending.incident).collect();
        let plan = self.config.digests.plan(&incidents, &mut self.memory(), invocation.now, sending.burst);
        let dataset = &self.config.common.dataset;
        let (messages, alerts): (Vec<Vec<usize>>, Vec<Alert>) = plan
            .messages
            .iter()
            .flat_map(|message| {
                let together: Vec<_> = message.iter().map(|place| incidents[*place]).collect();
                word(dataset, &together).into_iter().map(|(part, alert)| (message[part].to_vec(), alert))
            })
            .unzip();
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
        Sent { pending, messages, plan, report }
    }

    /// Enters and remembers what was sent, notes when those events were received, and gives the incidents that still need
    /// an alert: repeats of one that SNS refused for good.
    fn record(
        &self,
        sent: Sent,
        ledger: &mut Ledger<'_>,
        received: &mut Vec<DateTime<Utc>>,
        invocation: &Invocation,
    ) -> Vec<Pending> {
        let Sent { mut pending, messages, plan: Plan { known, repeats, .. }, report } = sent;
        ledger.retried += report.resent;
        for place in known {
            ledger.record(pending[place].index, Status::Filtered);
        }
        let mut outcomes: Vec<Option<&Outcome>> = vec![None; pending.len()];
        for (message, outcome) in messages.iter().zip(&report.outcomes) {
            if *outcome == Outcome::Delivered {
                let sent: Vec<&Incident> = message.iter().map(|place| &pending[*place].incident).collect();
                received.extend(sent.iter().filter_map(|incident| incident.received));
                self.memory().note(&sent, invocation.now);
            }
            for place in message {
                outcomes[*place] = Some(outcome);
                let index = pending[*place].index;
                match outcome {
                    Outcome::Delivered => ledger.record(index, Status::Delivered),
                    Outcome::Failed(why) => ledger.record(index, Status::Failed(why.clone())),
                    Outcome::Unacceptable(why) => ledger.refuse(index, "unacceptable", why.clone()),
                }
            }
        }
        let mut refused = vec![false; pending.len()];
        for (repeat, first) in repeats {
            match outcomes[first] {
                Some(Outcome::Delivered) => ledger.record(pending[repeat].index, Status::Filtered),
                Some(Outcome::Failed(why)) => {
                    ledger.record(pending[repeat].index, Status::Failed(why.clone()))
                }
                // SNS refused the content of the first, and may accept that of the repeat.
                Some(Outcome::Unacceptable(_)) | None => refused[repeat] = true,
            }
        }
        let mut refused = refused.into_iter();
        pending.retain(|_| refused.next().unwrap_or_default());
        pending
    }

    /// Tells CloudWatch how old the events were when they had been alerted. Without it no alert is lost, so that a failure
    /// is logged and no more.
    async fn tell_ages(&self, received: Vec<DateTime<Utc>>, invocation: &Invocation) {
        if received.is_empty() {
            return;
        }
        let latency = [LatencySample { at: invocation.clock(), received }];
        let report =
            delivery::deliver(&self.latency, &latency, Order::Kept, invocation.deadline_within(AGES_TIME))
                .await;
        for outcome in report.outcomes {
            if let Outcome::Failed(why) | Outcome::Unacceptable(why) = outcome {
                tracing::warn!(why, "the latency of the alerts could not be told");
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

    /// The terms under which the pause after the last message ends before the invocation does.
    fn deadline(&self, pace: Pace) -> Deadline {
        let Deadline { at, seed } = self.invocation.deadline;
        Deadline { at: at.checked_sub(pace.pause()).unwrap_or(at), seed }
    }
}

/// Takes out the incidents of that record of the stream, and of the records behind it.
fn split_off(pending: &mut Vec<Pending>, record: usize) -> Vec<Pending> {
    let at = pending.partition_point(|each| each.record < record);
    pending.split_off(at)
}

/// Two lists of incidents as one, in the order of their records.
fn merge(mut one: Vec<Pending>, other: Vec<Pending>) -> Vec<Pending> {
    one.extend(other);
    one.sort_by_key(|pending| pending.index);
    one
}

/// The incidents before the first record that is retried. Those behind it fail with it.
fn up_to_first_failure(mut pending: Vec<Pending>, ledger: &mut Ledger<'_>) -> Vec<Pending> {
    for behind in split_off(&mut pending, ledger.retry_from().unwrap_or(usize::MAX)) {
        ledger.record(behind.index, Status::Failed("an earlier record is retried".to_owned()));
    }
    pending
}

/// What became of incidents.
struct Sent {
    pending: Vec<Pending>,
    /// The incidents that each message reports.
    messages: Vec<Vec<usize>>,
    plan: Plan,
    /// Of the messages.
    report: Report,
}
