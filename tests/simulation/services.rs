//! The services of a chain, and how their accepted entries are read.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc};

use bytes::Bytes;
use fakes::{GLUE, ONE, Registry};
use futures_util::future::join_all;
use notify::word::Alert;
use serde_json::Value;
use shared::{
    delivery::{Failure, Limits},
    stream::StreamRecord,
};
use tokio::time::Instant;
use transform::{glue::Catalog, partitions::Partition};

use super::{
    pace::Times,
    port::{Port, Script, Simulated},
    scenario::Scenario,
    stage::{Stage, Stages},
    stream::Stream,
    trace::Trace,
    unit::{Id, ids_in},
};

/// The names of the services to which metrics and notify write.
pub(super) const METRIC: &str = "CloudWatch";
pub(super) const TOPIC: &str = "SNS";
/// The most data in a request to CloudWatch.
///
/// Source: CloudWatch API reference, `PutMetricData`.
const REQUEST_DATA: usize = 1_000;

/// Lines that a delivery stream accepted.
pub type Lines = Rc<RefCell<Vec<Bytes>>>;

/// The Glue catalog with scripted failures, as one container of transform reaches it.
pub struct Glue {
    pub(super) registry: Registry<Port<Partition>>,
    /// The partitions that it reported as registered.
    pub(super) acknowledged: RefCell<BTreeSet<Partition>>,
    pub(super) complaints: Rc<RefCell<Vec<String>>>,
}

impl Catalog for Glue {
    async fn register(&self, partitions: &[Partition]) -> Result<Vec<Partition>, Failure> {
        let again = partitions.iter().find(|partition| self.acknowledged.borrow().contains(partition));
        if let Some(partition) = again {
            let words = format!("transform registers {} again, though Glue has it", partition.prefix());
            self.complaints.borrow_mut().push(words);
        }
        let registered = self.registry.register(partitions).await?;
        self.acknowledged.borrow_mut().extend(&registered);
        Ok(registered)
    }
}

/// A message that SNS accepted.
pub struct Published {
    /// Its deduplication id.
    pub id: String,
    /// The key by which on-call services deduplicate it.
    pub dedup_key: String,
    /// The events that it reports.
    pub events: Vec<Id>,
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
    pub metric: Rc<Simulated<metrics::aggregate::DataRequest>>,
    /// SNS.
    pub topic: Rc<Simulated<Alert>>,
    /// When SNS accepted each message.
    pub messages: Times,
    /// Those messages.
    pub published: Rc<RefCell<Vec<Published>>>,
    /// The alerts delivery stream.
    pub alerts: Rc<Simulated<Bytes>>,
    /// The rows that it accepted.
    pub alert_rows: Lines,
    /// The rejects delivery stream, for each function.
    pub rejects: Stages<Rc<Simulated<Bytes>>>,
    /// Glue, for transform; its partitions are identified by their severity.
    pub glue: Rc<Simulated<Partition>>,
    /// Wrong requests of transform to Glue.
    pub complaints: Rc<RefCell<Vec<String>>>,
}

/// The events that a request to CloudWatch counts, with repeats: the full series name the city.
fn counted(request: &metrics::aggregate::DataRequest) -> Vec<Id> {
    let full = request.data.iter().filter(|datum| datum.dimensions.len() == 3);
    full.flat_map(|datum| {
        let ids = datum.dimensions.iter().flat_map(|(_, value)| ids_in(value));
        ids.flat_map(|id| (0..datum.count).map(move |_| id)).collect::<Vec<_>>()
    })
    .collect()
}

/// The events of an alert, identified by their cities, which are attributes.
fn alerted(alert: &Alert) -> Vec<Id> {
    let cities = alert.attributes.iter().filter(|attribute| attribute.name == "city");
    cities.flat_map(|attribute| &attribute.values).flat_map(ids_in).collect()
}

/// The key by which on-call services deduplicate an alert.
fn dedup_key(alert: &Alert) -> String {
    let message: Value = serde_json::from_str(&alert.message).unwrap_or_default();
    let machine: Value =
        serde_json::from_str(message["default"].as_str().unwrap_or_default()).unwrap_or_default();
    machine["on_call"]["dedup_key"].as_str().unwrap_or_default().to_owned()
}

/// The size of an alert: its subject, texts and attributes.
///
/// Source: SNS API reference, `PublishBatch`.
fn alert_bytes(alert: &Alert) -> usize {
    let attributes = alert.attributes.iter().map(|attribute| {
        let (kind, value) = attribute.typed();
        attribute.name.len() + kind.len() + value.len()
    });
    alert.subject.len() + alert.message.len() + attributes.sum::<usize>()
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

/// Whether a line of the rejects table is a part of a payload.
#[must_use]
pub fn is_part(line: &[u8]) -> bool {
    serde_json::from_slice::<Value>(line).is_ok_and(|line| line["part"].is_u64())
}

/// The events whose first line this is: each part of a payload names its event.
fn rejected(line: &Bytes) -> Vec<Id> {
    let line: Value = serde_json::from_slice(line).unwrap_or_default();
    if line["part"].as_u64().is_some_and(|part| part > 1) {
        return Vec::new();
    }
    ids_in(payload(&line))
}

/// SNS, which records the messages that it accepts and when.
fn sns(
    scenario: &Scenario,
    trace: &Trace,
    times: &Times,
    published: &Rc<RefCell<Vec<Published>>>,
) -> Rc<Simulated<Alert>> {
    let (times, published) = (Rc::clone(times), Rc::clone(published));
    let note = move |alert: &Alert| {
        times.borrow_mut().push(Instant::now());
        published.borrow_mut().push(Published {
            id: alert.id.clone(),
            dedup_key: dedup_key(alert),
            events: alerted(alert),
        });
    };
    let (limits, script) = (scenario.sizes.topic(), scenario.services.topic.clone());
    Simulated::new(TOPIC, limits, alert_bytes, alerted, note, script, trace)
}

/// Glue, whose partitions are identified by their severity.
fn glue(script: Script, trace: &Trace) -> Rc<Simulated<Partition>> {
    let events = |partition: &Partition| Id::try_from(partition.severity).into_iter().collect();
    Simulated::new("Glue", GLUE, |_| 0, events, |_| (), script, trace)
}

/// A delivery stream that keeps the lines that it accepts.
fn delivery_stream(
    name: &'static str,
    limits: Limits,
    events: fn(&Bytes) -> Vec<Id>,
    kept: &Lines,
    script: &Script,
    trace: &Trace,
) -> Rc<Simulated<Bytes>> {
    let kept = Rc::clone(kept);
    let keep = move |line: &Bytes| kept.borrow_mut().push(line.clone());
    Simulated::new(name, limits, Bytes::len, events, keep, script.clone(), trace)
}

impl Services {
    /// The services of a scenario. Accepted entries go to the streams, `analytical` and `rejects`.
    #[must_use]
    pub(super) fn build(
        scenario: &Scenario,
        trace: &Trace,
        streams: &[Rc<Stream>; 2],
        analytical: &Lines,
        rejects: &Stages<Lines>,
    ) -> Self {
        let (scripts, sizes) = (&scenario.services, scenario.sizes);
        let stream = |stream: &Rc<Stream>, name, script: &Script| {
            let stream = Rc::clone(stream);
            let size = |record: &StreamRecord| record.partition_key().len() + record.data.len();
            let events = |record: &StreamRecord| ids_in(&record.data);
            let on_accept = move |record: &StreamRecord| stream.put(record);
            Simulated::new(name, sizes.stream(), size, events, on_accept, script.clone(), trace)
        };
        let rejects_of = |stage: Stage| {
            let name = match stage {
                Stage::Ingest => "rejects of ingest",
                Stage::Transform => "rejects of transform",
                Stage::Metrics => "rejects of metrics",
                Stage::Notify => "rejects of notify",
            };
            let (kept, script) = (rejects.of(stage), scripts.rejects.of(stage));
            delivery_stream(name, sizes.rejects(), rejected, kept, script, trace)
        };
        let is_small = |request: &metrics::aggregate::DataRequest| {
            assert!(request.data.len() < REQUEST_DATA, "with the latency")
        };
        let (messages, published, alert_rows) = (Times::default(), Rc::default(), Lines::default());
        let name = "the analytical delivery stream";
        let events = |line: &Bytes| ids_in(line);
        let analytical =
            delivery_stream(name, sizes.analytical(), events, analytical, &scripts.analytical, trace);
        let name = "the alerts delivery stream";
        let alerts =
            delivery_stream(name, sizes.rejects(), |_| Vec::new(), &alert_rows, &scripts.alerts, trace);
        Self {
            raw: stream(&streams[0], "stream 1", &scripts.raw),
            severe: stream(&streams[1], "stream 2", &scripts.severe),
            analytical,
            metric: Simulated::new(METRIC, ONE, |_| 1, counted, is_small, scripts.metric.clone(), trace),
            topic: sns(scenario, trace, &messages, &published),
            messages,
            published,
            alerts,
            alert_rows,
            rejects: Stages::from_fn(rejects_of),
            glue: glue(scripts.glue.clone(), trace),
            complaints: Rc::default(),
        }
    }

    /// Waits until the services have accepted all late requests.
    pub(super) async fn settle(&self) {
        let Self { raw, severe, analytical, metric, topic, alerts, rejects, glue, .. } = self;
        tokio::join!(raw.settle(), severe.settle(), analytical.settle(), metric.settle(), topic.settle());
        tokio::join!(
            glue.settle(),
            alerts.settle(),
            join_all(rejects.values().map(|rejects| rejects.settle()))
        );
    }
}
