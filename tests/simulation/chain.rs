//! The whole chain in one process: the real handlers of all four functions, between streams, mappings and services that
//! follow a scenario.

use std::{
    cell::{Ref, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Mutex,
};

use bytes::Bytes;
use futures_util::future::{join_all, join4};
use notify::word::Alert;
use serde_json::Value;
use shared::{
    aws::{ActedUpon, StreamRecord},
    config::{Common, ConfigError},
    dataset::Dataset,
    delivery::{Failure, Limits, Service as _},
    invocation::Invocation,
    time::stamp,
};
use tokio::time::sleep;
use transform::{glue::Catalog, partitions::Partition};

use super::{
    function::{self, Function, Handle},
    ingress::{Ingress, Shelf},
    mapping::{self, Answer, Mapping},
    port::{Port, Simulated},
    scenario::{Put, Scenario},
    stream::Stream,
    trace::Trace,
    unit::{Id, ids_in},
};

pub(super) type Ingest = ingest::handler::Handler<Port<StreamRecord>, Port<Bytes>, Shelf>;
type Transform = transform::handler::Handler<Port<StreamRecord>, Port<Bytes>, Port<Bytes>, Registry>;
type Metrics = metrics::handler::Handler<Port<metrics::aggregate::Request>, Port<Bytes>>;
type Notify = notify::handler::Handler<Port<Alert>, Port<ActedUpon>, Port<Bytes>>;

/// The names of the functions, in the order in which the chain holds what belongs to them.
pub const FUNCTIONS: [&str; 4] = ["ingest", "transform", "metrics", "notify"];
/// Bytes of an entry: of a stream's record, and of one of the analytical delivery stream.
const STREAM_ENTRY: usize = 2_400;
const ANALYTICAL_ENTRY: usize = 1_500;

/// One entry in a request, of whatever size.
const ONE: Limits = Limits { entries: 1, request_bytes: usize::MAX, entry_bytes: usize::MAX };

/// The Glue catalog, which fails by script too.
pub struct Registry(Port<Partition>);

impl Catalog for Registry {
    async fn register(&self, partitions: &[Partition]) -> Result<Vec<Partition>, Failure> {
        let entries: Vec<&Partition> = partitions.iter().collect();
        self.0.send(&entries).await?;
        Ok(partitions.to_vec())
    }
}

macro_rules! handles {
    ($($handler:ty),*) => {$(
        impl Handle for $handler {
            async fn serve(&self, event: &str, invocation: &Invocation) -> Answer {
                let answer = self.handle(event, invocation).await.map_err(|error| error.to_string())?;
                serde_json::to_string(&answer).map_err(|error| error.to_string())
            }
        }
    )*};
}
handles!(Ingest, Transform, Metrics, Notify);

/// The configurations of the functions, read once.
#[derive(Clone)]
struct Configs {
    ingest: ingest::handler::Config,
    transform: transform::handler::Config,
    metrics: metrics::handler::Config,
    notify: notify::handler::Config,
}

impl Configs {
    fn read() -> Result<Self, ConfigError> {
        let look_up = |name: &str| match name {
            "REJECTS_DELIVERY_STREAM"
            | "ANALYTICAL_DELIVERY_STREAM"
            | "RAW_STREAM"
            | "SEVERE_STREAM"
            | "GLUE_DATABASE"
            | "GLUE_TABLE"
            | "TOPIC_ARN" => Some(name.to_lowercase()),
            _ => None,
        };
        Ok(Self {
            ingest: ingest::handler::Config::read(&look_up)?,
            transform: transform::handler::Config::read(&look_up)?,
            metrics: metrics::handler::Config::read(&look_up)?,
            notify: notify::handler::Config::read(&look_up)?,
        })
    }

    /// With stream 1 ordered by county, as a data set may ask for.
    fn ordered_by_county(mut self) -> Self {
        let common: &mut Common = &mut self.ingest.common;
        let dataset: &mut Dataset = &mut common.dataset;
        dataset.partition_key = dataset.severe_partition_key;
        self
    }
}

thread_local! {
    static CONFIGS: Configs = Configs::read().unwrap_or_else(|error| panic!("{error}"));
}

/// The chain, and all that is known of it in the end.
pub struct Chain<'s> {
    /// What it follows.
    pub scenario: &'s Scenario,
    /// Its clock, and what happened.
    pub trace: Trace,
    /// Stream 1 and stream 2.
    pub streams: [Rc<Stream>; 2],
    /// The services.
    pub services: Services,
    /// What went to the analytical delivery stream.
    pub analytical: Rc<RefCell<Vec<Bytes>>>,
    /// What each function wrote to rejects.
    pub rejects: [Rc<RefCell<Vec<Bytes>>>; 4],
    /// The mappings of transform, metrics and notify.
    pub mappings: [Mapping; 3],
    /// How often each function was handed an event.
    pub handed: [RefCell<BTreeMap<Id, usize>>; 4],
    /// How often the process of transform, metrics or notify ended while it had an event.
    pub ended: [RefCell<BTreeMap<Id, usize>>; 3],
    /// Those who ask ingest, and what they were told.
    pub ingress: Ingress,
    /// User records that other producers put on the streams.
    pub put: RefCell<BTreeSet<Bytes>>,
    transform: Function<Transform>,
    metrics: Function<Metrics>,
    notify: Function<Notify>,
    ingest: Function<Ingest>,
    /// The books of every invocation, by request id.
    pub books: RefCell<BTreeMap<String, Vec<function::Books>>>,
}

/// The services, as one function reaches them.
pub struct Services {
    /// Stream 1, for ingest.
    pub raw: Rc<Simulated<StreamRecord>>,
    /// Stream 2, for transform.
    pub severe: Rc<Simulated<StreamRecord>>,
    /// The analytical delivery stream.
    pub analytical: Rc<Simulated<Bytes>>,
    /// CloudWatch.
    pub metric: Rc<Simulated<metrics::aggregate::Request>>,
    /// SNS.
    pub topic: Rc<Simulated<Alert>>,
    /// The rejects delivery stream, for each function.
    pub rejects: [Rc<Simulated<Bytes>>; 4],
}

/// The events that a request to CloudWatch counts, each as often as it counts it: the full series name the city.
fn counted(request: &metrics::aggregate::Request) -> Vec<Id> {
    let full = request.data.iter().filter(|datum| datum.dimensions.len() == 3);
    full.flat_map(|datum| {
        let ids = datum.dimensions.iter().flat_map(|(_, value)| ids_in(value));
        ids.flat_map(|id| (0..datum.count).map(move |_| id)).collect::<Vec<_>>()
    })
    .collect()
}

/// The events that an alert tells of.
fn told(alert: &Alert) -> Vec<Id> {
    ids_in(&alert.message)
}

/// The payload of a line of the rejects table.
#[must_use]
pub fn payload(line: &Value) -> Vec<u8> {
    match (&line["payload"], &line["payload_base64"]) {
        (Value::String(text), _) => text.clone().into_bytes(),
        (_, Value::String(base64)) => base64_simd::STANDARD.decode_to_vec(base64).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn rejected(line: &Bytes) -> Vec<Id> {
    ids_in(payload(&serde_json::from_slice(line).unwrap_or_default()))
}

impl<'s> Chain<'s> {
    /// Builds the chain of a scenario; its trace is kept if `traced`.
    #[must_use]
    pub fn build(scenario: &'s Scenario, traced: bool) -> Self {
        let trace = Trace::begin(traced);
        let streams = [
            Rc::new(Stream::new("us-accidents-data-stream-1", scenario.shards[0])),
            Rc::new(Stream::new("us-accidents-data-stream-2", scenario.shards[1])),
        ];
        let analytical: Rc<RefCell<Vec<Bytes>>> = Rc::default();
        let rejects: [Rc<RefCell<Vec<Bytes>>>; 4] = Default::default();
        let services = Services::build(scenario, &trace, &streams, &analytical, &rejects);
        let configs = CONFIGS.with(Configs::clone);
        let configs = if scenario.order_by_county { configs.ordered_by_county() } else { configs };
        let ingress = Ingress::default();

        let Services { raw, severe, analytical: firehose, metric, topic, rejects: bins } = &services;
        let Scenario { timeout, seed, .. } = *scenario;
        let ingest = {
            let (config, raw, bin) = (configs.ingest, Rc::clone(raw), Rc::clone(&bins[0]));
            let objects = ingress.shelf.clone();
            Function::new("ingest", timeout, seed, &trace, move |ended| Ingest {
                config: config.clone(),
                stream: raw.port(ended),
                rejects: bin.port(ended),
                objects: objects.clone(),
            })
        };
        let transform = {
            let (config, severe, firehose, bin) =
                (configs.transform, Rc::clone(severe), Rc::clone(firehose), Rc::clone(&bins[1]));
            let limits = Limits { entries: 100, request_bytes: usize::MAX, entry_bytes: usize::MAX };
            let script = scenario.services.glue.clone();
            let glue = Simulated::new("Glue", limits, |_| 0, |_| Vec::new(), |_| (), script, &trace);
            Function::new("transform", timeout, seed, &trace, move |ended| Transform {
                config: config.clone(),
                severe: severe.port(ended),
                analytical: firehose.port(ended),
                rejects: bin.port(ended),
                catalog: Registry(glue.port(ended)),
                registered: Mutex::default(),
            })
        };
        let metrics = {
            let (config, metric, bin) = (configs.metrics, Rc::clone(metric), Rc::clone(&bins[2]));
            Function::new("metrics", timeout, seed, &trace, move |ended| Metrics {
                config: config.clone(),
                metric: metric.port(ended),
                rejects: bin.port(ended),
            })
        };
        let notify = {
            let (mut config, topic, bin) = (configs.notify, Rc::clone(topic), Rc::clone(&bins[3]));
            config.digests.above = scenario.digest_above;
            let script = scenario.services.ages.clone();
            let ages =
                Simulated::new("CloudWatch, for ages", ONE, |_| 1, |_| Vec::new(), |_| (), script, &trace);
            Function::new("notify", timeout, seed, &trace, move |ended| Notify {
                config: config.clone(),
                topic: topic.port(ended),
                ages: ages.port(ended),
                rejects: bin.port(ended),
                memory: Mutex::default(),
            })
        };
        let mapping =
            |index: usize| Mapping::new(FUNCTIONS[index + 1], scenario.mappings[index].clone(), &trace);
        Self {
            scenario,
            streams,
            services,
            analytical,
            rejects,
            mappings: std::array::from_fn(mapping),
            handed: Default::default(),
            ended: Default::default(),
            ingress,
            put: RefCell::default(),
            ingest,
            transform,
            metrics,
            notify,
            books: RefCell::default(),
            trace,
        }
    }

    /// Runs until nothing is left to do.
    pub async fn run(&self) {
        drop(function::books());
        let [first, second] = &self.streams;
        join4(
            async {
                let senders = self.scenario.senders.iter().map(|sender| {
                    self.ingress.send(
                        sender,
                        &self.scenario.units,
                        &self.ingest,
                        &self.handed[0],
                        &self.trace,
                    )
                });
                let producers = self.scenario.others.iter().filter(|put| put.stream == 1);
                tokio::join!(join_all(senders), join_all(producers.map(|put| self.put(put))));
                first.close();
            },
            async {
                let producers = self.scenario.others.iter().filter(|put| put.stream == 2);
                tokio::join!(
                    self.map(0, first, &self.transform),
                    join_all(producers.map(|put| self.put(put)))
                );
                second.close();
            },
            self.map(1, second, &self.metrics),
            self.map(2, second, &self.notify),
        )
        .await;
        self.books.replace(function::books());
    }

    /// Runs a mapping from a stream to a function.
    async fn map<H: Handle>(&self, index: usize, stream: &Stream, function: &Function<H>) {
        let invoke = async |batch: mapping::Batch<'_>| {
            let records: Vec<Bytes> =
                batch.records.iter().flat_map(|record| user_records(&record.data)).collect();
            let count = |counts: &RefCell<BTreeMap<Id, usize>>| {
                for id in records.iter().flat_map(ids_in) {
                    *counts.borrow_mut().entry(id).or_default() += 1;
                }
            };
            count(&self.handed[index + 1]);
            let answer = function.invoke(batch.event, records.len()).await;
            if answer == Err(function::ENDED.to_owned()) {
                count(&self.ended[index]);
            }
            answer
        };
        self.mappings[index].run(stream, &invoke).await;
    }

    async fn put(&self, put: &Put) {
        sleep(put.at).await;
        let (record, user_records) = put.record(&self.scenario.units, &stamp(self.trace.now()));
        self.put.borrow_mut().extend(user_records);
        self.streams[put.stream - 1].put(&StreamRecord::new(&put.key, record));
    }

    /// What became of the invocations of the functions.
    #[must_use]
    pub fn served(&self) -> [Ref<'_, Vec<function::Served>>; 4] {
        let Self { ingest, transform, metrics, notify, .. } = self;
        [ingest.ledger.borrow(), transform.ledger.borrow(), metrics.ledger.borrow(), notify.ledger.borrow()]
    }
}

/// The user records in a record of a stream; the record itself where it does not come apart.
#[must_use]
pub fn user_records(data: &Bytes) -> Vec<Bytes> {
    shared::kpl::deaggregate(data.clone()).unwrap_or_else(|_| vec![data.clone()])
}

impl Services {
    fn build(
        scenario: &Scenario,
        trace: &Trace,
        streams: &[Rc<Stream>; 2],
        analytical: &Rc<RefCell<Vec<Bytes>>>,
        rejects: &[Rc<RefCell<Vec<Bytes>>>; 4],
    ) -> Self {
        let scripts = &scenario.services;
        let limits = |entry_bytes| Limits {
            entries: scenario.entries,
            request_bytes: 2 * STREAM_ENTRY.max(entry_bytes),
            entry_bytes,
        };
        let stream = |index: usize, name, script| {
            let stream = Rc::clone(&streams[index]);
            let size = |record: &StreamRecord| record.partition_key().len() + record.data.len();
            let tells = |record: &StreamRecord| ids_in(&record.data);
            let takes = move |record: &StreamRecord| stream.put(record);
            Simulated::new(name, limits(STREAM_ENTRY), size, tells, takes, script, trace)
        };
        let keep = |kept: &Rc<RefCell<Vec<Bytes>>>| {
            let kept = Rc::clone(kept);
            move |line: &Bytes| kept.borrow_mut().push(line.clone())
        };
        let analytical = Simulated::new(
            "the analytical delivery stream",
            limits(ANALYTICAL_ENTRY),
            Bytes::len,
            |line| ids_in(line),
            keep(analytical),
            scripts.analytical.clone(),
            trace,
        );
        let bin = |index: usize| {
            Simulated::new(
                ["rejects of ingest", "rejects of transform", "rejects of metrics", "rejects of notify"]
                    [index],
                limits(1_000 * 1024),
                Bytes::len,
                rejected,
                keep(&rejects[index]),
                scripts.rejects[index].clone(),
                trace,
            )
        };
        Self {
            raw: stream(0, "stream 1", scripts.raw.clone()),
            severe: stream(1, "stream 2", scripts.severe.clone()),
            analytical,
            metric: Simulated::new("CloudWatch", ONE, |_| 1, counted, |_| (), scripts.metric.clone(), trace),
            topic: Simulated::new(
                "SNS",
                limits(256 * 1024),
                |alert: &Alert| alert.message.len(),
                told,
                |_| (),
                scripts.topic.clone(),
                trace,
            ),
            rejects: std::array::from_fn(bin),
        }
    }
}
