//! A scenario, drawn from a seed: the inputs, the settings of the mappings, and the behaviour of the services.

mod draw;

use std::time::Duration;

use bytes::Bytes;
use shared::delivery::Limits;

use super::{
    mapping::Settings,
    port::Script,
    stage::{Readers, Stages},
    unit::{Damage, Id, Unit, aggregate},
};

/// Bytes of an entry with tight limits: of a record of a stream, and of the analytical delivery stream.
const TIGHT_STREAM_ENTRY: usize = 2_400;
const TIGHT_ANALYTICAL_ENTRY: usize = 1_500;

/// All that a simulation depends on.
#[derive(Debug)]
pub struct Scenario {
    /// Its seed, which also seeds the jitter of the functions.
    pub seed: u64,
    /// Whether the events of stream 1 keep their order by county, as on stream 2, instead of by their ids.
    pub order_by_county: bool,
    /// Shards of stream 1 and stream 2.
    pub shards: [usize; 2],
    /// The timeout of an invocation.
    pub timeout: Duration,
    /// The events.
    pub units: Vec<Unit>,
    /// The senders to ingest, each with one request after the other.
    pub senders: Vec<Sender>,
    /// The records of other producers.
    pub others: Vec<Put>,
    /// When shards are split or merged.
    pub reshards: Vec<Reshard>,
    /// The mapping of each function that reads a stream.
    pub mappings: Readers<Settings>,
    /// The services.
    pub services: ServiceScripts,
    /// The limits of requests and entries.
    pub sizes: Sizes,
    /// `PACK_RANGES`: the ranges of hash keys into which ingest and transform pack events; 0 for none.
    pub pack_ranges: u32,
    /// The alerts of one key above which notify sends a digest; 0 for never.
    pub digest_above: usize,
    /// Messages that may reach the topic in a second; 0 for any number.
    pub alerts_per_second: u32,
}

/// The limits of the services.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Entries in a request.
    pub entries: usize,
    /// Whether the limits of bytes are those of the services, or so tight that small events reach them.
    pub are_real: bool,
}

/// A change of a stream's shards.
#[derive(Debug)]
pub struct Reshard {
    /// When.
    pub at: Duration,
    /// Of stream 1 or 2.
    pub stream: usize,
    /// Whether one shard is split; otherwise two are merged.
    pub is_split: bool,
    /// Which of the shards.
    pub choice: usize,
}

/// A sender to ingest, which always uses the same way.
#[derive(Debug)]
pub struct Sender {
    /// Its way.
    pub way: Way,
    /// The events of its requests; with [`Way::Queue`], those of each message.
    pub requests: Vec<Vec<Id>>,
    /// The pause between requests.
    pub pause: Duration,
}

/// A way into ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Invocation that waits for the answer.
    Direct,
    /// Asynchronous invocation.
    Asynchronous,
    /// HTTP.
    Http,
    /// Messages of a queue.
    Queue,
    /// An object of S3.
    Object,
}

/// A record of another producer.
#[derive(Debug)]
pub struct Put {
    /// When.
    pub at: Duration,
    /// On stream 1 or 2.
    pub stream: usize,
    /// The partition key.
    pub key: String,
    /// The events in it.
    pub units: Vec<Id>,
    /// The damage, if it is aggregated.
    pub aggregated: Option<Damage>,
}

/// How the services behave, each as one function reaches it.
#[derive(Debug, Default)]
pub struct ServiceScripts {
    /// Stream 1, for ingest.
    pub raw: Script,
    /// Stream 2, for transform.
    pub severe: Script,
    /// The analytical delivery stream.
    pub analytical: Script,
    /// CloudWatch.
    pub metric: Script,
    /// SNS.
    pub topic: Script,
    /// The rejects delivery stream, for each function.
    pub rejects: Stages<Script>,
    /// Glue, for transform.
    pub glue: Script,
    /// CloudWatch, for the latency of notify.
    pub latency: Script,
    /// The alerts delivery stream.
    pub alerts: Script,
}

impl Sizes {
    /// Limits of `PutRecords` of a stream, including partition keys.
    ///
    /// Source: Kinesis Data Streams API reference, `PutRecords`.
    #[must_use]
    pub fn stream(self) -> Limits {
        self.limits(10 * 1024 * 1024, 1024 * 1024, TIGHT_STREAM_ENTRY)
    }

    /// Limits of `PutRecordBatch` of the analytical delivery stream.
    ///
    /// Source: Firehose API reference, `PutRecordBatch`.
    #[must_use]
    pub fn analytical(self) -> Limits {
        self.limits(4 * 1024 * 1024, 1_000 * 1024, TIGHT_ANALYTICAL_ENTRY)
    }

    /// Limits of the rejects delivery stream, always with the bytes of the service.
    #[must_use]
    pub fn rejects(self) -> Limits {
        Self { are_real: true, ..self }.analytical()
    }

    /// Limits of the topic, always with the bytes of the service.
    ///
    /// Source: SNS API reference, `PublishBatch`.
    #[must_use]
    pub fn topic(self) -> Limits {
        Limits { entries: self.entries.min(10), request_bytes: 256 * 1024, entry_bytes: 256 * 1024 }
    }

    fn limits(self, request_bytes: usize, entry_bytes: usize, tight: usize) -> Limits {
        let entries = self.entries;
        if self.are_real {
            Limits { entries, request_bytes, entry_bytes }
        } else {
            Limits { entries, request_bytes: 2 * TIGHT_STREAM_ENTRY, entry_bytes: tight }
        }
    }
}

impl Put {
    /// The record, and the user records in it.
    #[must_use]
    pub fn record(&self, units: &[Unit], at: &str) -> (Bytes, Vec<Bytes>) {
        let records: Vec<Bytes> = self.units.iter().map(|id| units[*id as usize].record(at)).collect();
        match self.aggregated {
            None => (records[0].clone(), records),
            Some(Damage::None) => (aggregate(&records, Damage::None), records),
            Some(damage) => {
                let damaged = aggregate(&records, damage);
                (damaged.clone(), vec![damaged])
            }
        }
    }
}

impl Scenario {
    /// Whether nothing fails.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let ServiceScripts { raw, severe, analytical, metric, topic, rejects, glue, latency, alerts } =
            &self.services;
        let services = [raw, severe, analytical, metric, topic, glue, latency, alerts];
        services.into_iter().chain(rejects.values()).all(Script::is_healthy)
            && self.mappings.values().all(Settings::hands_all_over)
    }

    /// Whether a mapping may discard records.
    #[must_use]
    pub fn gives_up(&self) -> bool {
        self.mappings.values().any(|mapping| mapping.retries.is_some() || mapping.age.is_some())
    }
}
