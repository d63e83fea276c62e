//! The whole chain in one process: the real handlers of all four functions between the streams, mappings and services of
//! a scenario.

use std::{
    cell::{Cell, Ref, RefCell},
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Mutex,
};

use bytes::Bytes;
use fakes::{Inbox, ONE, variable};
use futures_util::future::{join_all, join4};
use notify::{
    pace::{NextTurn, Pace},
    word::Alert,
};
use shared::{
    audit::latency::LatencySample,
    data::time::stamp,
    lambda::{config::ConfigError, invocation::Invocation},
    stream::{StreamRecord, pack::Packing},
};
use tokio::time::sleep;

use super::{
    function::{self, Function, Handle},
    ingress::Ingress,
    mapping::{self, InvocationResult, Mapping, Verdict},
    pace::INVOCATIONS,
    port::{Port, Simulated, Troubles},
    scenario::{Put, Reshard, Scenario},
    services::{Glue, Lines, METRIC, Services, TOPIC},
    stage::{Readers, Stage, Stages},
    stream::{Stored, Stream},
    trace::Trace,
    unit::{Id, ids_in},
};

pub(super) type Ingest = ingest::handler::Handler<Port<StreamRecord>, Port<Bytes>, Inbox>;
type Transform = transform::handler::Handler<Port<StreamRecord>, Port<Bytes>, Port<Bytes>, Glue>;
type Metrics = metrics::handler::Handler<Port<metrics::aggregate::DataRequest>, Port<Bytes>>;
type Notify = notify::handler::Handler<Port<Alert>, Port<LatencySample>, Port<Bytes>>;

macro_rules! handles {
    ($($handler:ty),*) => {$(
        impl Handle for $handler {
            async fn serve(&self, event: &str, invocation: &Invocation) -> InvocationResult {
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
        Ok(Self {
            ingest: ingest::handler::Config::read(&variable)?,
            transform: transform::handler::Config::read(&variable)?,
            metrics: metrics::handler::Config::read(&variable)?,
            notify: notify::handler::Config::read(&variable)?,
        })
    }

    /// With the settings of a scenario.
    fn of(mut self, scenario: &Scenario) -> Self {
        if scenario.order_by_county {
            let dataset = &mut self.ingest.common.dataset;
            dataset.partition_key = dataset.severe_partition_key;
        }
        self.ingest.packing = Packing::into_ranges(scenario.pack_ranges);
        self.transform.packing = self.ingest.packing;
        self.notify.digests.above = scenario.digest_above;
        self.notify.pace = Pace::new(scenario.alerts_per_second, INVOCATIONS.into());
        self
    }
}

thread_local! {
    static CONFIGS: Configs = Configs::read().unwrap_or_else(|error| panic!("{error}"));
}

/// The chain, and the records of all that happened in it.
pub struct Chain<'s> {
    /// The scenario that it runs.
    pub scenario: &'s Scenario,
    /// Its clock and its trace.
    pub trace: Trace,
    /// Stream 1 and stream 2.
    pub streams: [Rc<Stream>; 2],
    /// The services.
    pub services: Services,
    /// The records on the analytical delivery stream.
    pub analytical: Lines,
    /// The rejects of each function.
    pub rejects: Stages<Lines>,
    /// The mapping of each function that reads a stream.
    pub mappings: Readers<Mapping>,
    /// How often each function received an event.
    pub handed: Stages<RefCell<BTreeMap<Id, usize>>>,
    /// How often the process of a function ended while it had an event.
    pub ended: Readers<RefCell<BTreeMap<Id, usize>>>,
    /// How often a function may have output an event and still reported its record for a retry.
    pub returned: Readers<RefCell<BTreeMap<Id, usize>>>,
    /// How often shards were split, and merged.
    pub resharded: [Cell<usize>; 2],
    /// The senders, and the answers of ingest.
    pub ingress: Ingress,
    /// User records from other producers.
    pub put: RefCell<BTreeSet<Bytes>>,
    /// The records that hold them, aggregated or not.
    pub put_whole: RefCell<BTreeSet<Bytes>>,
    transform: Function<Transform>,
    metrics: Function<Metrics>,
    notify: Function<Notify>,
    ingest: Function<Ingest>,
    /// The counts of every invocation, by request id.
    pub counts: RefCell<BTreeMap<String, Vec<function::LoggedCounts>>>,
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
        let (analytical, rejects) = (Lines::default(), Stages::default());
        let services = Services::build(scenario, &trace, &streams, &analytical, &rejects);
        let configs = CONFIGS.with(Configs::clone).of(scenario);
        let ingress = Ingress::default();
        let mapping = |stage: Stage| {
            let seed = scenario.seed ^ (stage as u64) << 48;
            Mapping::new(stage.name(), scenario.mappings.of(stage).clone(), seed, &trace)
        };
        Self {
            mappings: Readers::from_fn(mapping),
            ingest: ingest(&configs.ingest, &services, &ingress.inbox, scenario, &trace),
            transform: transform(&configs.transform, &services, scenario, &trace),
            metrics: metrics(&configs.metrics, &services, scenario, &trace),
            notify: notify(&configs.notify, &services, scenario, &trace),
            handed: Stages::default(),
            ended: Readers::default(),
            returned: Readers::default(),
            resharded: Default::default(),
            scenario,
            streams,
            services,
            analytical,
            rejects,
            ingress,
            put: RefCell::default(),
            put_whole: RefCell::default(),
            counts: RefCell::default(),
            trace,
        }
    }

    /// Runs until all work is done.
    pub async fn run(&self) {
        drop(function::counts());
        let [first, second] = &self.streams;
        join4(
            async {
                let senders = self.scenario.senders.iter().map(|sender| {
                    self.ingress.send(
                        sender,
                        &self.scenario.units,
                        &self.ingest,
                        &self.handed.ingest,
                        &self.trace,
                    )
                });
                tokio::join!(join_all(senders), self.produce(1));
                self.services.raw.settle().await;
                first.close();
            },
            async {
                tokio::join!(self.map(Stage::Transform, first, &self.transform), self.produce(2));
                self.services.severe.settle().await;
                second.close();
            },
            self.map(Stage::Metrics, second, &self.metrics),
            self.map(Stage::Notify, second, &self.notify),
        )
        .await;
        self.services.settle().await;
        self.counts.replace(function::counts());
    }

    /// Puts the records of other producers on a stream, and changes its shards.
    async fn produce(&self, stream: usize) {
        let producers = self.scenario.others.iter().filter(|put| put.stream == stream);
        let reshards = self.scenario.reshards.iter().filter(|reshard| reshard.stream == stream);
        tokio::join!(
            join_all(producers.map(|put| self.put(put))),
            join_all(reshards.map(|reshard| self.reshard(reshard)))
        );
    }

    /// Runs a mapping from a stream to a function.
    async fn map<H: Handle>(&self, stage: Stage, stream: &Stream, function: &Function<H>) {
        let invoke = async |batch: mapping::Batch<'_>| {
            let records: Vec<Bytes> =
                batch.records.iter().flat_map(|record| user_records(&record.data)).collect();
            let count = |counts: &RefCell<BTreeMap<Id, usize>>| {
                for id in records.iter().flat_map(ids_in) {
                    *counts.borrow_mut().entry(id).or_default() += 1;
                }
            };
            count(self.handed.of(stage));
            let function::Invoked { answer, troubles } = function.invoke(batch.event, records.len()).await;
            if answer == Err(function::ENDED.to_owned()) {
                count(self.ended.of(stage));
            }
            self.note_returned(stage, batch.records, &answer, &troubles);
            answer
        };
        self.mappings.of(stage).run(stream, &invoke).await;
    }

    /// Notes the events that a function may have output although its answer asks for a retry. That is correct only after
    /// trouble with the output: a pack is retried whole, and a bad entry becomes a reject after later events were output.
    fn note_returned(&self, stage: Stage, batch: &[Stored], answer: &InvocationResult, troubles: &Troubles) {
        let Verdict::From(at) = self.mappings.of(stage).verdict(answer, batch) else { return };
        let service = match stage {
            Stage::Ingest | Stage::Transform => self.services.severe.name,
            Stage::Metrics => METRIC,
            Stage::Notify => TOPIC,
        };
        if !troubles.came_from(service) {
            return;
        }
        let records = if troubles.entry_at_fault { &batch[at..] } else { &batch[at..=at] };
        let mut returned = self.returned.of(stage).borrow_mut();
        for record in records {
            let members = user_records(&record.data);
            if troubles.entry_at_fault || members.len() > 1 {
                for id in members.iter().flat_map(ids_in) {
                    *returned.entry(id).or_default() += 1;
                }
            }
        }
    }

    async fn reshard(&self, reshard: &Reshard) {
        let Reshard { at, stream, is_split, choice } = *reshard;
        sleep(at).await;
        let changed = &self.streams[stream - 1];
        let is_done = if is_split { changed.split(choice) } else { changed.merge(choice) };
        self.resharded[usize::from(!is_split)].update(|times| times + usize::from(is_done));
        self.trace.line(|| {
            let change = if is_split { "split" } else { "merged" };
            format!("stream {stream}: shards are {change}, {} in all: {is_done}", changed.shards())
        });
    }

    async fn put(&self, put: &Put) {
        sleep(put.at).await;
        let (record, user_records) = put.record(&self.scenario.units, &stamp(self.trace.now()));
        self.put.borrow_mut().extend(user_records);
        self.put_whole.borrow_mut().insert(record.clone());
        self.streams[put.stream - 1].put(&StreamRecord::new(&put.key, record));
    }

    /// The outcomes of the invocations of the functions.
    #[must_use]
    pub fn served(&self) -> Stages<Ref<'_, Vec<function::Served>>> {
        let Self { ingest, transform, metrics, notify, .. } = self;
        Stages {
            ingest: ingest.ledger.borrow(),
            transform: transform.ledger.borrow(),
            metrics: metrics.ledger.borrow(),
            notify: notify.ledger.borrow(),
        }
    }
}

fn ingest(
    config: &ingest::handler::Config,
    services: &Services,
    objects: &Inbox,
    scenario: &Scenario,
    trace: &Trace,
) -> Function<Ingest> {
    let (config, objects) = (config.clone(), objects.clone());
    let (stream, rejects) = (Rc::clone(&services.raw), Rc::clone(&services.rejects.ingest));
    Function::new(Stage::Ingest, scenario, trace, move |process| Ingest {
        config: config.clone(),
        stream: stream.port(process),
        rejects: rejects.port(process),
        objects: objects.clone(),
    })
}

fn transform(
    config: &transform::handler::Config,
    services: &Services,
    scenario: &Scenario,
    trace: &Trace,
) -> Function<Transform> {
    let config = config.clone();
    let (severe, analytical) = (Rc::clone(&services.severe), Rc::clone(&services.analytical));
    let (glue, complaints) = (Rc::clone(&services.glue), Rc::clone(&services.complaints));
    let rejects = Rc::clone(&services.rejects.transform);
    Function::new(Stage::Transform, scenario, trace, move |process| Transform {
        config: config.clone(),
        severe: severe.port(process),
        analytical: analytical.port(process),
        rejects: rejects.port(process),
        catalog: Glue {
            registry: fakes::Registry(glue.port(process)),
            acknowledged: RefCell::default(),
            complaints: Rc::clone(&complaints),
        },
        registered: Mutex::default(),
    })
}

fn metrics(
    config: &metrics::handler::Config,
    services: &Services,
    scenario: &Scenario,
    trace: &Trace,
) -> Function<Metrics> {
    let config = config.clone();
    let (metric, rejects) = (Rc::clone(&services.metric), Rc::clone(&services.rejects.metrics));
    Function::new(Stage::Metrics, scenario, trace, move |process| Metrics {
        config: config.clone(),
        metric: metric.port(process),
        rejects: rejects.port(process),
    })
}

fn notify(
    config: &notify::handler::Config,
    services: &Services,
    scenario: &Scenario,
    trace: &Trace,
) -> Function<Notify> {
    let config = config.clone();
    let (topic, alerts) = (Rc::clone(&services.topic), Rc::clone(&services.alerts));
    let rejects = Rc::clone(&services.rejects.notify);
    let script = scenario.services.latency.clone();
    let latency =
        Simulated::new("CloudWatch, for latency", ONE, |_| 1, |_| Vec::new(), |_| (), script, trace);
    Function::new(Stage::Notify, scenario, trace, move |process| Notify {
        config: config.clone(),
        topic: topic.port(process),
        alerts: alerts.port(process),
        latency: latency.port(process),
        rejects: rejects.port(process),
        memory: Mutex::default(),
        turn: NextTurn::default(),
    })
}

/// The user records in a record of a stream; the record itself if it is not an intact aggregate.
#[must_use]
pub fn user_records(data: &Bytes) -> Vec<Bytes> {
    shared::stream::kpl::deaggregate(data.clone()).unwrap_or_else(|_| vec![data.clone()])
}
