//! A scenario, drawn from a seed: what is sent, how the mappings are set, and how the services behave.

use std::{collections::VecDeque, ops::Range, time::Duration};

use bytes::Bytes;
use fastrand::Rng;
use shared::delivery::Fault;

use super::{
    mapping::{Position, Settings},
    port::{Does, Reply, Script},
    unit::{Damage, Id, Kind, Unit, aggregate},
};

/// All that a simulation depends on.
#[derive(Debug)]
pub struct Scenario {
    /// The seed that it was drawn from, which also seeds the jitter of the functions.
    pub seed: u64,
    /// Whether the events of stream 1 keep their order by county, as on stream 2, instead of by their ids.
    pub order_by_county: bool,
    /// Shards of stream 1 and stream 2.
    pub shards: [usize; 2],
    /// How long an invocation may take.
    pub timeout: Duration,
    /// The events.
    pub units: Vec<Unit>,
    /// Those who ask ingest, one request after the other.
    pub senders: Vec<Sender>,
    /// What other producers put on the streams.
    pub others: Vec<Put>,
    /// The mappings of transform, metrics and notify.
    pub mappings: [Settings; 3],
    /// The services.
    pub services: Services,
    /// Entries in a request to a service.
    pub entries: usize,
    /// Alerts of one key above which notify makes one of them; nought where it never does.
    pub digest_above: usize,
}

/// One who asks ingest, always in the same way.
#[derive(Debug)]
pub struct Sender {
    /// How.
    pub way: Way,
    /// The events of its requests; with [`Way::Queue`], those of each message.
    pub requests: Vec<Vec<Id>>,
    /// The pause between requests.
    pub pause: Duration,
}

/// A way of asking ingest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Invocation, whose answer is waited for.
    Direct,
    /// Invocation whose answer nobody waits for.
    Asynchronous,
    /// HTTP.
    Http,
    /// Messages of a queue.
    Queue,
    /// An object of S3.
    Object,
}

/// What another producer puts on a stream.
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
    /// Whether it is aggregated, and how it is damaged.
    pub aggregated: Option<Damage>,
}

/// How the services behave, each as one function reaches it.
#[derive(Debug, Default)]
pub struct Services {
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
    /// The rejects delivery stream, for ingest, transform, metrics and notify.
    pub rejects: [Script; 4],
    /// Glue, for transform.
    pub glue: Script,
    /// CloudWatch, for the ages that notify tells it.
    pub ages: Script,
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
    /// The scenario of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut units = Units { drawn: Vec::new(), counties: rng.u8(1..5), poison: rng.f64() * 0.3 };
        let senders = (0..rng.usize(0..3)).map(|_| Sender::draw(&mut units, &mut rng)).collect();
        let others = (0..rng.usize(0..12)).map(|_| Put::draw(&mut units, &mut rng)).collect();
        let retries = chance(0.35, &mut rng).then(|| rng.u32(0..8));
        let age = chance(0.25, &mut rng).then(|| seconds(60..600, &mut rng));
        let trouble = *rng.choice(&[0.0, 0.1, 0.3, 0.6]).unwrap_or(&0.0);
        let mut script = |split: Split| Script::draw(trouble, split, &mut rng);
        let services = Services {
            raw: script(Split::Transient),
            severe: script(Split::Transient),
            analytical: script(Split::Transient),
            metric: script(Split::Never),
            topic: script(Split::EntryAtFault),
            rejects: std::array::from_fn(|_| script(Split::Transient)),
            glue: script(Split::Never),
            ages: script(Split::Never),
        };
        Self {
            seed,
            order_by_county: rng.bool(),
            shards: [rng.usize(1..4), rng.usize(1..3)],
            timeout: Duration::from_secs(*rng.choice(&[6, 15, 60]).unwrap_or(&60)),
            units: units.drawn,
            senders,
            others,
            mappings: std::array::from_fn(|_| draw_settings(retries, age, &mut rng)),
            services,
            entries: rng.usize(1..7),
            digest_above: *rng.choice(&[0, 2, 10]).unwrap_or(&10),
        }
    }

    /// Whether nothing fails.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let Services { raw, severe, analytical, metric, topic, rejects, glue, ages } = &self.services;
        let healthy = |script: &Script| script.replies.is_empty() && script.outage.is_none();
        [raw, severe, analytical, metric, topic, glue, ages].into_iter().chain(rejects).all(healthy)
    }

    /// Whether a mapping may give records up.
    #[must_use]
    pub fn gives_up(&self) -> bool {
        self.mappings.iter().any(|mapping| mapping.retries.is_some() || mapping.age.is_some())
    }
}

fn chance(probability: f64, rng: &mut Rng) -> bool {
    rng.f64() < probability
}

fn seconds(range: Range<u64>, rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(range.start * 1000..range.end * 1000))
}

/// The events drawn so far, and how they are drawn.
struct Units {
    drawn: Vec<Unit>,
    counties: u8,
    poison: f64,
}

impl Units {
    fn draw(&mut self, kinds: &[Kind], rng: &mut Rng) -> Id {
        let kind = match rng.f64() {
            drawn if drawn < self.poison => Kind::Poison,
            drawn if drawn > 0.9 => *rng.choice(kinds).unwrap_or(&Kind::Plain),
            _ => Kind::Plain,
        };
        let id = Id::try_from(self.drawn.len()).unwrap_or(Id::MAX);
        let county = chance(0.85, rng).then(|| rng.u8(0..self.counties));
        // Most are severe, since what is filtered shows little.
        let severity = i64::from(*rng.choice(&[1, 2, 3, 3, 4, 4, 4]).unwrap_or(&4));
        self.drawn.push(Unit { id, severity, county, kind });
        id
    }
}

impl Sender {
    fn draw(units: &mut Units, rng: &mut Rng) -> Self {
        let ways = [Way::Direct, Way::Asynchronous, Way::Http, Way::Queue, Way::Object];
        let way = *rng.choice(&ways).unwrap_or(&Way::Direct);
        let mut requests: Vec<Vec<Id>> = Vec::new();
        for _ in 0..rng.usize(1..4) {
            let rows = rng.usize(1..9);
            let mut request: Vec<Id> =
                (0..rows).map(|_| units.draw(&[Kind::Large, Kind::TooLarge], rng)).collect();
            // Some events are sent again, in the same request or in a later one.
            while chance(0.15, rng) {
                let earlier = requests.last().unwrap_or(&request);
                let again = rng.choice(earlier).copied();
                request.extend(again);
            }
            requests.push(request);
        }
        Self { way, requests, pause: Duration::from_millis(rng.u64(1..5_000)) }
    }
}

impl Put {
    fn draw(units: &mut Units, rng: &mut Rng) -> Self {
        let stream = if chance(0.75, rng) { 1 } else { 2 };
        let aggregated = (stream == 1 && chance(0.4, rng)).then(|| match rng.u8(0..10) {
            0 => Damage::CutOff,
            1 => Damage::Digest,
            _ => Damage::None,
        });
        let count = if aggregated.is_some() { rng.usize(0..6) } else { 1 };
        let kinds: &[Kind] = if stream == 1 { &[Kind::Large, Kind::Old] } else { &[Kind::Old] };
        let mut ids: Vec<Id> = (0..count).map(|_| units.draw(kinds, rng)).collect();
        if matches!(aggregated, Some(Damage::CutOff | Damage::Digest)) {
            for id in &ids {
                units.drawn[*id as usize].kind = Kind::Poison;
            }
        } else if aggregated.is_some() && chance(0.2, rng) {
            let again = rng.choice(&ids).copied();
            ids.extend(again);
        }
        Self {
            at: Duration::from_millis(rng.u64(1..20_000)),
            stream,
            key: format!("p{}", rng.u8(0..8)),
            units: ids,
            aggregated,
        }
    }
}

fn draw_settings(retries: Option<u32>, age: Option<Duration>, rng: &mut Rng) -> Settings {
    let positions = [Position::TrimHorizon, Position::Latest, Position::AtTimestamp(Duration::ZERO)];
    Settings {
        // The mappings begin before anything is on the streams, so that each of these reads all of it.
        position: *rng.choice(&positions).unwrap_or(&Position::TrimHorizon),
        batch_size: rng.usize(1..20),
        window: Duration::from_millis(*rng.choice(&[0, 0, 1_000, 10_000]).unwrap_or(&0)),
        parallelization: rng.usize(1..4),
        bisect: rng.bool(),
        retries,
        age,
        reports: true,
    }
}

/// Whether a service refuses single entries of a request.
#[derive(Clone, Copy)]
enum Split {
    /// It never does.
    Never,
    /// It does, for a reason that passes.
    Transient,
    /// It does, also because an entry is itself at fault.
    EntryAtFault,
}

impl Script {
    /// A script in which a request runs into `trouble` with that probability.
    fn draw(trouble: f64, split: Split, rng: &mut Rng) -> Self {
        let replies = if trouble > 0.0 { rng.usize(0..30) } else { 0 };
        let replies: VecDeque<Reply> = (0..replies)
            .map(|_| {
                let after = match rng.u8(0..10) {
                    0 => Duration::from_millis(rng.u64(0..8_000)),
                    _ => Duration::from_millis(rng.u64(0..200)),
                };
                let does = if chance(trouble, rng) { Does::draw(split, rng) } else { Does::Take };
                Reply { after, does }
            })
            .collect();
        let outage = chance(trouble / 4.0, rng).then(|| {
            let begin = seconds(0..40, rng);
            let faults = [Fault::Transient, Fault::Throttled, Fault::Permanent];
            (begin..begin + seconds(1..240, rng), *rng.choice(&faults).unwrap_or(&Fault::Transient))
        });
        Self { replies, outage }
    }
}

impl Does {
    /// Some trouble.
    fn draw(split: Split, rng: &mut Rng) -> Self {
        let passing = [Fault::Transient, Fault::Throttled];
        let fault = *rng.choice(&passing).unwrap_or(&Fault::Transient);
        match rng.u8(0..20) {
            0..8 => match split {
                Split::Never => Self::Fail(fault),
                Split::EntryAtFault if chance(0.2, rng) => Self::Refuse(rng.u32(..), Fault::Permanent),
                Split::Transient | Split::EntryAtFault => Self::Refuse(rng.u32(..), fault),
            },
            8..12 => Self::Fail(fault),
            12 => Self::Fail(Fault::Permanent),
            13 | 14 => Self::TakeAndBreak,
            15 => Self::TakeAndKeepSilent,
            16 => Self::KeepSilent,
            17 => Self::EndBefore,
            _ => Self::EndAfter,
        }
    }
}
