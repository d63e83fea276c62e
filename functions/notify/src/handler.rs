//! The handler: decode, decide, deliver, report.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use shared::{
    aws::ActedUpon,
    books::Fate,
    config::{Common, ConfigError, Variables},
    delivery::{self, Order, Outcome, Report, Service},
    invocation::Invocation,
    kinesis::{BatchResponse, NotABatch},
    ledger::{Ledger, UserRecord},
};

use crate::{
    plan::{Digests, Memory},
    word::{Alert, Incident, word, worth},
};

/// The longest that telling CloudWatch the alerts' ages may take: it must not hold up the next batch.
const AGES_TIME: Duration = Duration::from_secs(2);

/// The configuration of notify.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every function needs.
    pub common: Common,
    /// `TOPIC_ARN`.
    pub topic_arn: String,
    /// `METRIC_NAMESPACE`, to which the alerts' ages go; the data set's where it is not given.
    pub namespace: String,
    /// `SEVERITY_ABOVE`: events above it are told.
    pub severity_above: i64,
    /// `DIGEST_ABOVE` and `DIGEST_WINDOW_SECONDS`: when many alerts become one.
    pub digests: Digests,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (common, (topic_arn, namespace, severity_above, digests)) =
            Variables::new(look_up).read(|variables| {
                let digests = Digests {
                    above: variables.value("DIGEST_ABOVE", 10),
                    window: TimeDelta::seconds(variables.value("DIGEST_WINDOW_SECONDS", 60_u32).into()),
                };
                (
                    variables.required("TOPIC_ARN"),
                    variables.optional("METRIC_NAMESPACE"),
                    variables.value("SEVERITY_ABOVE", 3),
                    digests,
                )
            })?;
        let namespace = namespace.unwrap_or_else(|| common.dataset.metric.namespace.clone());
        Ok(Self { common, topic_arn, namespace, severity_above, digests })
    }
}

/// Tells people of the most severe events of stream 2.
#[derive(Debug)]
pub struct Handler<T, A, R> {
    /// The configuration.
    pub config: Config,
    /// The topic.
    pub topic: T,
    /// The metric of the events' ages when they have been told.
    pub ages: A,
    /// The rejects delivery stream.
    pub rejects: R,
    /// What this container has told.
    pub memory: Mutex<Memory>,
}

/// The incidents of a batch, with the positions of their user records and of the records of the stream.
#[derive(Default)]
struct Pending {
    incidents: Vec<Incident>,
    indexes: Vec<usize>,
    records: Vec<usize>,
}

impl<T, A, R> Handler<T, A, R>
where
    T: Service<Entry = Alert>,
    A: Service<Entry = ActedUpon>,
    R: Service<Entry = Bytes>,
{
    /// Handles one batch and answers from where it is to come again.
    pub async fn handle(&self, event: &str, invocation: &Invocation) -> Result<BatchResponse, NotABatch> {
        let (mut ledger, mut pending) = self.decide(event, invocation)?;
        // What stands before the first reject is told while the rejects are written; what stands behind it only then,
        // since what comes again because of a reject must not have been told.
        let behind = pending.split_off(ledger.first_refused().unwrap_or(usize::MAX));
        let (told, ()) =
            tokio::join!(self.publish(pending, invocation), ledger.write_rejects(&self.rejects, invocation));
        let mut received = self.enter(told, &mut ledger, invocation);
        let behind = behind.up_to_first_failure(&mut ledger);
        let told = self.publish(behind, invocation).await;
        received.extend(self.enter(told, &mut ledger, invocation));
        ledger.write_rejects(&self.rejects, invocation).await;
        self.tell_ages(received, invocation).await;

        Ok(ledger.close(invocation))
    }

    /// What the records are worth.
    fn decide<'e>(
        &'e self,
        event: &'e str,
        invocation: &Invocation,
    ) -> Result<(Ledger<'e>, Pending), NotABatch> {
        let Config { common, severity_above, .. } = &self.config;
        let look = |UserRecord { record, data, .. }: UserRecord<'_>| {
            worth(&common.dataset, *severity_above, data).map(|incident| (record, incident))
        };
        let (ledger, incidents) = Ledger::read("notify", event, common, invocation, look)?;
        let mut pending = Pending::default();
        for (index, (record, incident)) in incidents {
            pending.incidents.push(incident);
            pending.indexes.push(index);
            pending.records.push(record);
        }
        Ok((ledger, pending))
    }

    /// Publishes what the incidents are told by.
    async fn publish(&self, pending: Pending, invocation: &Invocation) -> Told {
        let Pending { incidents, .. } = &pending;
        let plan = self.config.digests.plan(incidents, &mut self.memory(), invocation.now);
        let dataset = &self.config.common.dataset;
        let (messages, alerts): (Vec<Vec<usize>>, Vec<Alert>) = plan
            .messages
            .iter()
            .flat_map(|message| {
                let together: Vec<_> = message.iter().map(|place| &incidents[*place]).collect();
                let own = |told: Vec<usize>| told.into_iter().map(|place| message[place]).collect::<Vec<_>>();
                word(dataset, &together).into_iter().map(move |(told, alert)| (own(told), alert))
            })
            .unzip();
        let report = delivery::deliver(&self.topic, &alerts, Order::Kept, invocation.terms).await;
        Told { pending, messages, repeats: plan.repeats, report }
    }

    /// Enters and remembers what was told, and answers when those events were taken in.
    fn enter(&self, told: Told, ledger: &mut Ledger<'_>, invocation: &Invocation) -> Vec<DateTime<Utc>> {
        let Told { pending: Pending { incidents, indexes, .. }, messages, repeats, report } = told;
        ledger.retried += report.resent;
        for repeat in repeats {
            ledger.enter(indexes[repeat], Fate::Filtered);
        }
        let mut received = Vec::new();
        for (message, outcome) in messages.iter().zip(report.outcomes) {
            if outcome == Outcome::Delivered {
                let told: Vec<&Incident> = message.iter().map(|place| &incidents[*place]).collect();
                received.extend(told.iter().filter_map(|incident| incident.received));
                self.memory().note(&told, invocation.now);
            }
            for index in message.iter().map(|place| indexes[*place]) {
                match &outcome {
                    Outcome::Delivered => ledger.enter(index, Fate::Delivered),
                    Outcome::Failed(why) => ledger.enter(index, Fate::Failed(why.clone())),
                    Outcome::Unacceptable(why) => ledger.refuse(index, "unacceptable", why.clone()),
                }
            }
        }
        received
    }

    /// Tells CloudWatch how old the events were when they had been told. Without it no alert is lost, so that a failure is
    /// logged and no more.
    async fn tell_ages(&self, received: Vec<DateTime<Utc>>, invocation: &Invocation) {
        if received.is_empty() {
            return;
        }
        let ages = [ActedUpon { at: invocation.clock(), received }];
        let report = delivery::deliver(&self.ages, &ages, Order::Kept, invocation.briefly(AGES_TIME)).await;
        for outcome in report.outcomes {
            if let Outcome::Failed(why) | Outcome::Unacceptable(why) = outcome {
                tracing::warn!(why, "the ages of the alerts could not be told");
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pending {
    /// Parts from those of that record of the stream, and of the records behind it.
    fn split_off(&mut self, record: usize) -> Self {
        let at = self.records.partition_point(|each| *each < record);
        Self {
            incidents: self.incidents.split_off(at),
            indexes: self.indexes.split_off(at),
            records: self.records.split_off(at),
        }
    }

    /// Those before the first record that comes again; those behind it fail with it.
    fn up_to_first_failure(mut self, ledger: &mut Ledger<'_>) -> Self {
        let behind = self.split_off(ledger.comes_again_from().unwrap_or(usize::MAX));
        for index in behind.indexes {
            ledger.enter(index, Fate::Failed("an earlier record comes again".to_owned()));
        }
        self
    }
}

/// What became of incidents.
struct Told {
    pending: Pending,
    /// The incidents that each message tells of.
    messages: Vec<Vec<usize>>,
    /// The incidents that were told before.
    repeats: Vec<usize>,
    /// Of the messages.
    report: Report,
}
