//! How a scenario is drawn from its seed.

use std::{collections::VecDeque, ops::Range, time::Duration};

use fastrand::Rng;
use shared::delivery::Fault;

use super::{
    super::{
        mapping::{Position, Settings},
        port::{Does, Reply, Script},
        stage::{Readers, Stages},
        unit::{Damage, Id, Kind, Unit},
    },
    Put, Reshard, Scenario, Sender, ServiceScripts, Sizes, Way,
};

/// Events in a storm: more than one request to CloudWatch can count.
const STORM: Range<usize> = 340..480;

/// Seconds of the longest pause of a mapping: 20 hours.
const LONGEST_PAUSE: u64 = 20 * 60 * 60;

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut sizes = Sizes::draw(&mut rng);
        let mut units = Units::draw(sizes, &mut rng);
        if units.are_long {
            // Packs of one range are then in separate requests, which may overtake each other.
            sizes.entries = rng.usize(1..3);
        }
        let senders = (0..rng.usize(0..3)).map(|_| Sender::draw(&mut units, &mut rng)).collect();
        let mut others: Vec<Put> = (0..rng.usize(0..12)).map(|_| Put::draw(&mut units, &mut rng)).collect();
        if chance(0.03, &mut rng) {
            others.push(Put::draw_storm(&mut units, &mut rng));
        }
        if sizes.are_real && chance(0.02, &mut rng) {
            others.extend(Put::draw_heavy(&mut units, &mut rng));
        }
        let retries = chance(0.35, &mut rng).then(|| rng.u32(0..8));
        let age = chance(0.25, &mut rng).then(|| seconds(60..600, &mut rng));
        let trouble = one_of(&[0.0, 0.1, 0.3, 0.6], &mut rng);
        let mut scenario = Self {
            seed,
            order_by_county: rng.bool(),
            shards: [rng.usize(1..4), rng.usize(1..3)],
            timeout: Duration::from_secs(one_of(&[6, 15, 60], &mut rng)),
            units: units.drawn,
            senders,
            others,
            reshards: draw_reshards(&mut rng),
            mappings: Readers::from_fn(|_| draw_settings(retries, age, &mut rng)),
            services: ServiceScripts::draw(trouble, &mut rng),
            pack_ranges: draw_pack_ranges(sizes, &mut rng),
            sizes,
            digest_above: one_of(&[0, 2, 10], &mut rng),
            alerts_per_second: one_of(&[0, 8, 8, 40, 100], &mut rng),
        };
        if chance(0.05, &mut rng) {
            let begin = seconds(0..20, &mut rng);
            let pause = begin..begin + seconds(10..LONGEST_PAUSE, &mut rng);
            if let Some(mapping) = scenario.mappings.values_mut().nth(rng.usize(0..3)) {
                mapping.paused = Some(pause);
            }
        }
        scenario
    }
}

fn chance(probability: f64, rng: &mut Rng) -> bool {
    rng.f64() < probability
}

/// One of several values, each equally likely.
fn one_of<T: Copy>(values: &[T], rng: &mut Rng) -> T {
    values[rng.usize(..values.len())]
}

fn seconds(range: Range<u64>, rng: &mut Rng) -> Duration {
    Duration::from_millis(rng.u64(range.start * 1000..range.end * 1000))
}

impl Sizes {
    fn draw(rng: &mut Rng) -> Self {
        let are_real = chance(0.3, rng);
        // Few entries in a request make many requests, and a fault of one affects the later ones.
        let entries = if are_real && chance(0.3, rng) { 500 } else { rng.usize(1..7) };
        Self { entries, are_real }
    }
}

impl ServiceScripts {
    /// Services in which a request fails with the probability `trouble`.
    fn draw(trouble: f64, rng: &mut Rng) -> Self {
        let mut script = |split: Split| Script::draw(trouble, split, rng);
        Self {
            raw: script(Split::Transient),
            severe: script(Split::Transient),
            analytical: script(Split::Transient),
            metric: script(Split::Never),
            topic: script(Split::EntryAtFault),
            rejects: Stages::from_fn(|_| script(Split::Transient)),
            glue: script(Split::Transient),
            latency: script(Split::Never),
            alerts: script(Split::Transient),
        }
    }
}

/// Packs are larger than the tight limits allow.
fn draw_pack_ranges(sizes: Sizes, rng: &mut Rng) -> u32 {
    if !sizes.are_real || chance(0.3, rng) {
        return 0;
    }
    one_of(&[1, 2, 4, 16, 64], rng)
}

fn draw_reshards(rng: &mut Rng) -> Vec<Reshard> {
    if chance(0.6, rng) {
        return Vec::new();
    }
    let draw = |rng: &mut Rng| Reshard {
        at: seconds(0..20, rng),
        stream: if rng.bool() { 1 } else { 2 },
        is_split: chance(0.6, rng),
        choice: rng.usize(0..8),
    };
    (0..rng.usize(1..4)).map(|_| draw(rng)).collect()
}

/// The events drawn so far, and the settings for the next.
struct Units {
    drawn: Vec<Unit>,
    counties: u8,
    poison: f64,
    sizes: Sizes,
    /// Whether events are so long that few fill a pack.
    are_long: bool,
    /// Whether poison may be so long that its reject has several parts.
    is_poison_long: bool,
}

impl Units {
    /// No events yet.
    fn draw(sizes: Sizes, rng: &mut Rng) -> Self {
        Self {
            drawn: Vec::new(),
            counties: rng.u8(1..5),
            poison: rng.f64() * 0.3,
            sizes,
            are_long: sizes.are_real && chance(0.3, rng),
            is_poison_long: chance(0.05, rng),
        }
    }

    /// Draws another event, rarely of one of `kinds`.
    fn next(&mut self, kinds: &[Kind], rng: &mut Rng) -> Id {
        // Events of a megabyte take long to simulate.
        let special = if self.sizes.are_real { 0.004 } else { 0.1 };
        let kind = match rng.f64() {
            drawn if drawn < self.poison => Kind::Poison,
            drawn if drawn > 1.0 - special => *rng.choice(kinds).unwrap_or(&Kind::Plain),
            _ => Kind::Plain,
        };
        let id = Id::try_from(self.drawn.len()).unwrap_or(Id::MAX);
        let mut unit = Unit {
            id,
            identity: id,
            county: chance(0.85, rng).then(|| rng.u8(0..self.counties)),
            // Most are severe, since filtered events test little.
            severity: i64::from(one_of(&[1, 2, 3, 3, 4, 4, 4], rng)),
            kind,
            bytes: self.bytes(kind, id, rng),
        };
        if chance(0.12, rng)
            && let Some(twin) = self.drawn.iter().rev().take(4).find(|unit| unit.kind != Kind::Poison)
        {
            let (severity, county) = (twin.severity, twin.county);
            unit.identity = twin.identity;
            if chance(0.6, rng) {
                (unit.severity, unit.county) = (severity, county);
            } else if chance(0.7, rng) {
                // Raised or lowered, also above the severities that the data set lists.
                (unit.severity, unit.county) = (rng.i64(2..6), county);
            }
        }
        self.drawn.push(unit);
        id
    }

    /// Bytes of the description of an event of a kind.
    fn bytes(&self, kind: Kind, id: Id, rng: &mut Rng) -> usize {
        match kind {
            Kind::Poison if self.is_poison_long && chance(0.3, rng) => rng.usize(165_000..350_000),
            Kind::Large if self.sizes.are_real => rng.usize(1_026_000..1_040_000),
            Kind::TooLarge if self.sizes.are_real => rng.usize(1_049_000..1_060_000),
            Kind::Large => 1_600,
            Kind::TooLarge => 3_000,
            Kind::Plain if self.are_long => rng.usize(20_000..45_000),
            Kind::Plain | Kind::Old | Kind::Poison => id as usize % 7,
        }
    }
}

impl Sender {
    fn draw(units: &mut Units, rng: &mut Rng) -> Self {
        let ways = [Way::Direct, Way::Asynchronous, Way::Http, Way::Queue, Way::Object];
        let way = one_of(&ways, rng);
        let mut requests: Vec<Vec<Id>> = Vec::new();
        for _ in 0..rng.usize(1..4) {
            let rows = rng.usize(1..9);
            let mut request: Vec<Id> =
                (0..rows).map(|_| units.next(&[Kind::Large, Kind::TooLarge], rng)).collect();
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
        let aggregated = chance(0.4, rng).then(|| match rng.u8(0..10) {
            0 => Damage::CutOff,
            1 => Damage::Digest,
            _ => Damage::None,
        });
        let count = if aggregated.is_some() { rng.usize(0..6) } else { 1 };
        let kinds: &[Kind] = if stream == 1 { &[Kind::Large, Kind::Old] } else { &[Kind::Old] };
        let mut ids: Vec<Id> = (0..count).map(|_| units.next(kinds, rng)).collect();
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

    /// One aggregated record of more events than one request to CloudWatch can count.
    fn draw_storm(units: &mut Units, rng: &mut Rng) -> Self {
        let are_long = std::mem::take(&mut units.are_long);
        let is_poison_long = std::mem::take(&mut units.is_poison_long);
        let ids: Vec<Id> = (0..rng.usize(STORM)).map(|_| units.next(&[Kind::Old], rng)).collect();
        (units.are_long, units.is_poison_long) = (are_long, is_poison_long);
        for id in &ids {
            let unit = &mut units.drawn[*id as usize];
            if unit.kind == Kind::Plain {
                unit.severity = unit.severity.max(3);
            }
        }
        let at = Duration::from_millis(rng.u64(1..20_000));
        Self { at, stream: 2, key: "storm".to_owned(), units: ids, aggregated: Some(Damage::None) }
    }

    /// Records of one key that are too many and too long for one event of the mapping.
    fn draw_heavy(units: &mut Units, rng: &mut Rng) -> Vec<Self> {
        let (at, stream) = (Duration::from_millis(rng.u64(1..20_000)), rng.usize(1..3));
        let put = |_| {
            let id = units.next(&[], rng);
            units.drawn[id as usize].bytes = rng.usize(960_000..1_000_000);
            Self { at, stream, key: "heavy".to_owned(), units: vec![id], aggregated: None }
        };
        (0..5).map(put).collect()
    }
}

fn draw_settings(retries: Option<u32>, age: Option<Duration>, rng: &mut Rng) -> Settings {
    let positions = [Position::TrimHorizon, Position::Latest, Position::AtTimestamp(Duration::ZERO)];
    Settings {
        // The mappings begin before the first record, so each of these positions reads everything.
        position: one_of(&positions, rng),
        batch_size: rng.usize(1..20),
        window: Duration::from_millis(one_of(&[0, 0, 1_000, 10_000], rng)),
        parallelization: rng.usize(1..4),
        bisect: rng.bool(),
        retries,
        age,
        reports: true,
        throttled: one_of(&[0.0, 0.0, 0.0, 0.1, 0.5], rng),
        repeated: one_of(&[0.0, 0.0, 0.1, 0.4], rng),
        paused: None,
    }
}

/// Whether a service refuses single entries of a request.
#[derive(Clone, Copy)]
enum Split {
    /// It never does.
    Never,
    /// It does, for a transient reason.
    Transient,
    /// It does, also because an entry itself is at fault.
    EntryAtFault,
}

impl Script {
    /// A script in which a request fails with the probability `trouble`.
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
            (begin..begin + seconds(1..240, rng), one_of(&faults, rng))
        });
        Self { replies, outage }
    }
}

impl Does {
    /// Draws a failure.
    fn draw(split: Split, rng: &mut Rng) -> Self {
        let transient = [Fault::Transient, Fault::Throttled];
        let fault = one_of(&transient, rng);
        match rng.u8(0..22) {
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
            18 | 19 => Self::TakeLate(seconds(3..90, rng)),
            _ => Self::EndAfter,
        }
    }
}
