//! The handler: decode, decide, deliver, report.

use std::{sync::Mutex, time::Duration};

use bytes::Bytes;
use chrono::TimeDelta;
use shared::{
    audit::{
        counts::Status,
        ledger::{Ledger, Portion, RecordOutput},
    },
    delivery::{self, Failure, Fault, Order, Outcome, Report, Service},
    lambda::{
        config::{Common, ConfigError, Variables},
        invocation::Invocation,
    },
    stream::{
        StreamRecord,
        batch::{BatchResponse, NotABatch},
        pack::{self, Packing},
    },
};
use tokio::time::{Instant, timeout_at};

use crate::{
    glue::Catalog,
    partitions::{Partition, Registered},
    select::{Selector, Severe},
};

/// The longest that an invocation waits for Glue, in parallel to its deliveries.
const GLUE_TIMEOUT: Duration = Duration::from_secs(3);

/// The most severe events whose outputs are in memory at once; an ordinary batch has fewer.
const PORTION: Portion = Portion { soft_limit: 16_000, hard_limit: 24_000 };

/// The configuration of transform.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data set, and what else every function needs.
    pub common: Common,
    /// `SEVERE_STREAM`: stream 2.
    pub severe_stream: String,
    /// `ANALYTICAL_DELIVERY_STREAM`.
    pub analytical_delivery_stream: String,
    /// `GLUE_DATABASE`.
    pub glue_database: String,
    /// `GLUE_TABLE`: the analytical table.
    pub glue_table: String,
    /// `SEVERITY_ABOVE`: events above it are severe.
    pub severity_above: i64,
    /// `WATERMARK_SECONDS`: events that are older are late.
    pub watermark_seconds: u32,
    /// `PACK_RANGES`: how severe events are packed into records.
    pub packing: Packing,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut variables = Variables::new(look_up);
        let severe_stream = variables.required("SEVERE_STREAM");
        let analytical_delivery_stream = variables.required("ANALYTICAL_DELIVERY_STREAM");
        let glue_database = variables.required("GLUE_DATABASE");
        let glue_table = variables.required("GLUE_TABLE");
        let severity_above = variables.value("SEVERITY_ABOVE", 2);
        let watermark_seconds = variables.value("WATERMARK_SECONDS", 5);
        let packing = Packing::into_ranges(variables.value("PACK_RANGES", 0));
        let common = variables.finish()?;
        Ok(Self {
            common,
            severe_stream,
            analytical_delivery_stream,
            glue_database,
            glue_table,
            severity_above,
            watermark_seconds,
            packing,
        })
    }
}

/// Selects the severe events of stream 1.
#[derive(Debug)]
pub struct Handler<S, A, R, C> {
    /// Thresholds, limits and names.
    pub config: Config,
    /// Stream 2.
    pub severe: S,
    /// The analytical delivery stream.
    pub analytical: A,
    /// The rejects delivery stream.
    pub rejects: R,
    /// The Glue catalog.
    pub catalog: C,
    /// The partitions that this container has registered.
    pub registered: Mutex<Registered>,
}

impl<S, A, R, C> Handler<S, A, R, C>
where
    S: Service<Entry = StreamRecord>,
    A: Service<Entry = Bytes>,
    R: Service<Entry = Bytes>,
    C: Catalog,
{
    /// Handles one batch and returns the record from which it is to be retried.
    pub async fn handle(&self, event: &str, invocation: &Invocation) -> Result<BatchResponse, NotABatch> {
        let mut ledger = Ledger::decode("transform", event, &self.config.common, invocation)?;
        let mut selector = self.selector(invocation);
        while ledger.has_more() {
            let outputs = Outputs::new(ledger.decide(PORTION, |record| selector.select(record.data)));
            let (delivered, ()) = tokio::join!(
                self.deliver(&outputs, invocation),
                // They run in parallel, so that an outage of one does not delay the other.
                ledger.write_rejects(&self.rejects, invocation)
            );
            delivered.record(&outputs.indexes, &mut ledger);
            ledger.write_rejects(&self.rejects, invocation).await;
        }
        ledger.late = selector.late;
        ledger.unknown_severity = selector.unknown_severity;
        Ok(ledger.report(invocation))
    }

    fn selector(&self, invocation: &Invocation) -> Selector<'_> {
        let Config { common, severity_above, watermark_seconds, .. } = &self.config;
        let late_before = invocation.now - TimeDelta::seconds((*watermark_seconds).into());
        Selector::new(&common.dataset, *severity_above, late_before)
    }

    /// Delivers both outputs.
    async fn deliver(&self, outputs: &Outputs, invocation: &Invocation) -> Delivered {
        let deadline = invocation.deadline;
        let (severe, analytical, ()) = tokio::join!(
            pack::deliver(&self.severe, &outputs.severe, self.config.packing, deadline),
            delivery::deliver(&self.analytical, &outputs.analytical, Order::Free, deadline),
            self.register(&outputs.severities, invocation),
        );
        Delivered { severe, analytical }
    }

    /// Registers the partitions that are due, while the outputs are delivered. A failure of Glue delays nothing: the
    /// partitions stay due, and Glue is not called again for a while.
    async fn register(&self, severities: &[i64], invocation: &Invocation) {
        let due = self.registered().due(severities.iter().copied(), invocation.now);
        if due.is_empty() {
            return;
        }
        let until = invocation.deadline.at.min(Instant::now() + GLUE_TIMEOUT);
        let registered = self.register_twice(&due, until).await.unwrap_or_else(|failure| {
            tracing::warn!(why = failure.detail, "could not register partitions");
            Vec::new()
        });
        self.registered().note(&due, registered, invocation.now);
    }

    /// Calls Glue, and again if there was no response or the error is transient. A connection may have been closed
    /// while the container was frozen, which only shows when it is used.
    async fn register_twice(&self, due: &[Partition], until: Instant) -> Result<Vec<Partition>, Failure> {
        let half_time = Instant::now() + until.saturating_duration_since(Instant::now()) / 2;
        match self.ask_glue(due, half_time).await {
            Err(failure) if failure.fault == Fault::Transient => self.ask_glue(due, until).await,
            answer => answer,
        }
    }

    async fn ask_glue(&self, due: &[Partition], until: Instant) -> Result<Vec<Partition>, Failure> {
        timeout_at(until, self.catalog.register(due)).await.unwrap_or_else(|_| {
            Err(Failure { fault: Fault::Transient, detail: "Glue did not answer in time".to_owned() })
        })
    }

    fn registered(&self) -> std::sync::MutexGuard<'_, Registered> {
        // The set is consistent whenever it is unlocked, so a panic elsewhere does not affect it.
        self.registered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The outcome of both outputs.
struct Delivered {
    severe: Report,
    analytical: Report,
}

impl Delivered {
    /// Records the outcome of the records: a record is done when both outputs were accepted.
    fn record(self, indexes: &[usize], ledger: &mut Ledger<'_>) {
        let Self { severe, analytical } = self;
        ledger.retried += severe.resent + analytical.resent;
        for (index, outcomes) in indexes.iter().zip(severe.outcomes.into_iter().zip(analytical.outcomes)) {
            match outcomes {
                (Outcome::Delivered, Outcome::Delivered) => ledger.record(*index, Status::Delivered),
                (Outcome::Failed(why), _) | (_, Outcome::Failed(why)) => {
                    ledger.record(*index, Status::Failed(why))
                }
                (Outcome::Unacceptable(why), _) | (_, Outcome::Unacceptable(why)) => {
                    ledger.refuse(*index, why);
                }
            }
        }
    }
}

/// The outputs for the records of a batch.
#[derive(Debug, Default)]
struct Outputs {
    /// Positions of the records; the outputs have the same order.
    indexes: Vec<usize>,
    severe: Vec<StreamRecord>,
    analytical: Vec<Bytes>,
    severities: Vec<i64>,
}

impl Outputs {
    fn new(events: Vec<RecordOutput<Severe>>) -> Self {
        let mut outputs = Self::default();
        for RecordOutput { index, output: severe } in events {
            outputs.indexes.push(index);
            outputs.severe.push(StreamRecord::new(severe.key, severe.projection.into()));
            outputs.analytical.push(severe.analytical.into());
            outputs.severities.push(severe.partition);
        }
        outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(own: &[(&str, &str)]) -> Config {
        const REQUIRED: [&str; 5] = [
            "REJECTS_DELIVERY_STREAM",
            "SEVERE_STREAM",
            "ANALYTICAL_DELIVERY_STREAM",
            "GLUE_DATABASE",
            "GLUE_TABLE",
        ];
        let read = Config::read(&|name| {
            let own = own.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
            own.or_else(|| REQUIRED.contains(&name).then(|| name.to_lowercase()))
        });
        read.unwrap()
    }

    #[test]
    fn outputs_thresholds_and_packs_are_configured() {
        let config = read(&[]);
        let names = [
            &config.common.rejects_delivery_stream,
            &config.severe_stream,
            &config.analytical_delivery_stream,
            &config.glue_database,
            &config.glue_table,
        ];
        assert_eq!(
            names,
            [
                "rejects_delivery_stream",
                "severe_stream",
                "analytical_delivery_stream",
                "glue_database",
                "glue_table"
            ]
        );
        assert_eq!((config.severity_above, config.watermark_seconds), (2, 5));
        assert_eq!(config.packing, Packing::default());
        let config = read(&[("SEVERITY_ABOVE", "1"), ("WATERMARK_SECONDS", "60"), ("PACK_RANGES", "8")]);
        assert_eq!((config.severity_above, config.watermark_seconds), (1, 60));
        assert_eq!(config.packing, Packing::into_ranges(8));
    }
}
