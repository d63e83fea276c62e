//! The handler: decode, decide, deliver, report.

use bytes::Bytes;
use serde_json::value::RawValue;
use shared::{
    books::Fate,
    config::{Common, ConfigError, Variables},
    delivery::{self, Order, Outcome, Report, Service},
    invocation::Invocation,
    kinesis::{BatchResponse, NotABatch},
    ledger::{self, Ledger, UserRecord},
};

use crate::{
    aggregate::{Event, Request, aggregate},
    count::{Counted, count},
};

/// The configuration of metrics.
#[derive(Debug)]
pub struct Config {
    /// What every function needs.
    pub common: Common,
    /// `METRIC_NAMESPACE`; the data set's where it is not given.
    pub namespace: String,
    /// `METRIC_NAME`; the data set's where it is not given.
    pub name: String,
    /// `SEVERITY_ABOVE`: events above it are counted.
    pub severity_above: i64,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (common, (namespace, name, severity_above)) = Variables::new(look_up).read(|variables| {
            let (namespace, name) =
                (variables.optional("METRIC_NAMESPACE"), variables.optional("METRIC_NAME"));
            (namespace, name, variables.value("SEVERITY_ABOVE", 2))
        })?;
        let metric = &common.dataset.metric;
        let namespace = namespace.unwrap_or_else(|| metric.namespace.clone());
        let name = name.unwrap_or_else(|| metric.name.clone());
        Ok(Self { common, namespace, name, severity_above })
    }
}

/// Counts the severe events of stream 2.
#[derive(Debug)]
pub struct Handler<M, R> {
    /// The configuration.
    pub config: Config,
    /// The metric.
    pub metric: M,
    /// The rejects delivery stream.
    pub rejects: R,
}

impl<M, R> Handler<M, R>
where
    M: Service<Entry = Request>,
    R: Service<Entry = Bytes>,
{
    /// Handles one batch and answers from where it is to come again.
    pub async fn handle(
        &self,
        event: &RawValue,
        invocation: &Invocation,
    ) -> Result<BatchResponse, NotABatch> {
        let batch = ledger::decode("metrics", event, &self.config.common, invocation)?;
        let (mut ledger, records) = Ledger::open("metrics", &batch);

        let counted = self.count(&records, &mut ledger, invocation);
        // What stands before the first reject is counted while the rejects are written; what stands behind it only
        // then, since what comes again because of a reject must not have been counted.
        let first = ledger.first_refused().unwrap_or(usize::MAX);
        let (before, behind) = counted.into_iter().partition(|(_, event)| event.record < first);
        let (delivered, ()) =
            tokio::join!(self.deliver(before, invocation), ledger.write_rejects(&self.rejects, invocation));
        delivered.enter(&mut ledger);
        let behind = up_to_first_failure(behind, &mut ledger);
        self.deliver(behind, invocation).await.enter(&mut ledger);

        Ok(ledger.close(&self.config.common, invocation))
    }

    /// What each record counts for.
    fn count(
        &self,
        records: &[UserRecord<'_>],
        ledger: &mut Ledger<'_>,
        invocation: &Invocation,
    ) -> Vec<(usize, Event)> {
        let Config { common, severity_above, .. } = &self.config;
        let mut events = Vec::new();
        for UserRecord { index, record, held, data } in records {
            match count(
                &common.dataset,
                *severity_above,
                data,
                held.arrived.unwrap_or(invocation.now),
                invocation.now,
            ) {
                Counted::Nothing => ledger.enter(*index, Fate::Filtered),
                Counted::One(second, values) => {
                    events.push((*index, Event { record: *record, second, values }))
                }
                Counted::Reject { reason, detail } => ledger.refuse(*index, reason, detail),
            }
        }
        events
    }

    /// Sends the counts.
    async fn deliver(&self, counted: Vec<(usize, Event)>, invocation: &Invocation) -> Delivered {
        let (indexes, events): (Vec<usize>, Vec<Event>) = counted.into_iter().unzip();
        let dataset = &self.config.common.dataset;
        let requests = aggregate(&events, dataset.metric.severity_dimension(dataset.severity));
        let report = delivery::deliver(&self.metric, &requests, Order::Kept, invocation.terms).await;
        Delivered { indexes, requests, report }
    }
}

/// The events before the first record that comes again; those behind it fail with it.
fn up_to_first_failure(counted: Vec<(usize, Event)>, ledger: &mut Ledger<'_>) -> Vec<(usize, Event)> {
    let again = ledger.comes_again_from().unwrap_or(usize::MAX);
    let (counted, behind): (Vec<_>, Vec<_>) =
        counted.into_iter().partition(|(_, event)| event.record < again);
    for (index, _) in behind {
        ledger.enter(index, Fate::Failed("an earlier record comes again".to_owned()));
    }
    counted
}

/// What became of counts.
struct Delivered {
    /// Positions of the records that were counted.
    indexes: Vec<usize>,
    requests: Vec<Request>,
    report: Report,
}

impl Delivered {
    fn enter(self, ledger: &mut Ledger<'_>) {
        let Self { indexes, requests, report } = self;
        ledger.retried += report.resent;
        for (request, outcome) in requests.iter().zip(report.outcomes) {
            let fate = match outcome {
                Outcome::Delivered => Fate::Delivered,
                Outcome::Failed(why) | Outcome::Unacceptable(why) => Fate::Failed(why),
            };
            for index in &indexes[request.events.clone()] {
                ledger.enter(*index, fate.clone());
            }
        }
    }
}
