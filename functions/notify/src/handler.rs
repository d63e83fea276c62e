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

use crate::word::{Alert, Worded, word};

/// The configuration of notify.
#[derive(Debug)]
pub struct Config {
    /// What every function needs.
    pub common: Common,
    /// `TOPIC_ARN`.
    pub topic_arn: String,
    /// `SEVERITY_ABOVE`: events above it are told.
    pub severity_above: i64,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (common, (topic_arn, severity_above)) = Variables::new(look_up)
            .read(|variables| (variables.required("TOPIC_ARN"), variables.value("SEVERITY_ABOVE", 3)))?;
        Ok(Self { common, topic_arn, severity_above })
    }
}

/// Tells people of the most severe events of stream 2.
#[derive(Debug)]
pub struct Handler<T, R> {
    /// The configuration.
    pub config: Config,
    /// The topic.
    pub topic: T,
    /// The rejects delivery stream.
    pub rejects: R,
}

/// An alert, with the positions of its user record and of the record of the stream.
struct Pending {
    index: usize,
    record: usize,
    alert: Alert,
}

impl<T, R> Handler<T, R>
where
    T: Service<Entry = Alert>,
    R: Service<Entry = Bytes>,
{
    /// Handles one batch and answers from where it is to come again.
    pub async fn handle(
        &self,
        event: &RawValue,
        invocation: &Invocation,
    ) -> Result<BatchResponse, NotABatch> {
        let batch = ledger::decode("notify", event, &self.config.common, invocation)?;
        let (mut ledger, records) = Ledger::open("notify", &batch);

        let pending = self.word(&records, &mut ledger);
        // What stands before the first reject is told while the rejects are written; what stands behind it only then,
        // since what comes again because of a reject must not have been told.
        let first = ledger.first_refused().unwrap_or(usize::MAX);
        let (before, behind) = pending.into_iter().partition(|pending| pending.record < first);
        let (told, ()) =
            tokio::join!(self.publish(before, invocation), ledger.write_rejects(&self.rejects, invocation));
        told.enter(&mut ledger);
        let behind = up_to_first_failure(behind, &mut ledger);
        self.publish(behind, invocation).await.enter(&mut ledger);
        ledger.write_rejects(&self.rejects, invocation).await;

        Ok(ledger.close(&self.config.common, invocation))
    }

    /// What each record is worth.
    fn word(&self, records: &[UserRecord<'_>], ledger: &mut Ledger<'_>) -> Vec<Pending> {
        let Config { common, severity_above, .. } = &self.config;
        let mut pending = Vec::new();
        for UserRecord { index, record, data, .. } in records {
            match word(&common.dataset, *severity_above, data) {
                Worded::Nothing => ledger.enter(*index, Fate::Filtered),
                Worded::Alert(alert) => pending.push(Pending { index: *index, record: *record, alert }),
                Worded::Reject { reason, detail } => ledger.refuse(*index, reason, detail),
            }
        }
        pending
    }

    /// Publishes the alerts.
    async fn publish(&self, pending: Vec<Pending>, invocation: &Invocation) -> Told {
        let (indexes, alerts): (Vec<_>, Vec<_>) =
            pending.into_iter().map(|pending| (pending.index, pending.alert)).unzip();
        let report = delivery::deliver(&self.topic, &alerts, Order::Kept, invocation.terms).await;
        Told { indexes, report }
    }
}

/// The alerts before the first record that comes again; those behind it fail with it.
fn up_to_first_failure(pending: Vec<Pending>, ledger: &mut Ledger<'_>) -> Vec<Pending> {
    let again = ledger.comes_again_from().unwrap_or(usize::MAX);
    let (pending, behind): (Vec<_>, Vec<_>) = pending.into_iter().partition(|pending| pending.record < again);
    for Pending { index, .. } in behind {
        ledger.enter(index, Fate::Failed("an earlier record comes again".to_owned()));
    }
    pending
}

/// What became of alerts.
struct Told {
    /// Positions of the records that they tell of.
    indexes: Vec<usize>,
    report: Report,
}

impl Told {
    fn enter(self, ledger: &mut Ledger<'_>) {
        ledger.retried += self.report.resent;
        for (index, outcome) in self.indexes.into_iter().zip(self.report.outcomes) {
            match outcome {
                Outcome::Delivered => ledger.enter(index, Fate::Delivered),
                Outcome::Failed(why) => ledger.enter(index, Fate::Failed(why)),
                Outcome::Unacceptable(why) => ledger.refuse(index, "unacceptable", why),
            }
        }
    }
}
