//! How often each thing happened in simulations. A fault that never happens proves nothing.

use std::{collections::BTreeMap, fmt, ops::AddAssign};

use super::{
    chain::{Chain, user_records},
    mapping::Mapping,
    pace::{most_in_a_second, reached_in_a_second},
    port::Simulated,
    scenario::Put,
    services::is_part,
    stream::Stream,
    unit::{Damage, Kind, Unit},
};

/// How often each thing happened, by name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, Amount>);

/// How often something happened.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// How often it happened.
    pub times: usize,
    /// In how many scenarios it happened.
    pub scenarios: usize,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        for (name, amount) in other.0 {
            let sum = self.0.entry(name).or_default();
            sum.times += amount.times;
            sum.scenarios += amount.scenarios;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:>10} {:>10}", "scenarios", "times")?;
        for (name, Amount { times, scenarios }) in &self.0 {
            writeln!(f, "{scenarios:>10} {times:>10}  {name}")?;
        }
        Ok(())
    }
}

impl Tally {
    /// The things that happened in fewer scenarios.
    #[must_use]
    pub fn rarer_than(&self, scenarios: usize) -> Vec<&'static str> {
        let rare = self.0.iter().filter(|(_, amount)| amount.scenarios < scenarios);
        rare.map(|(name, _)| *name).collect()
    }

    /// How often something happened.
    #[must_use]
    pub fn times(&self, name: &str) -> usize {
        self.0.get(name).map_or(0, |amount| amount.times)
    }

    fn add(&mut self, name: &'static str, times: usize) {
        *self += Self(BTreeMap::from([(name, Amount { times, scenarios: usize::from(times > 0) })]));
    }

    /// The tally of one chain.
    #[must_use]
    pub(super) fn of(chain: &Chain<'_>) -> Self {
        let mut tally = Self::default();
        let services = &chain.services;
        tally.add("events", chain.scenario.units.len());
        tally.functions(chain);
        tally.streams(chain);
        let mut counts = Occurrences::default();
        counts.add(&services.raw);
        counts.add(&services.severe);
        counts.add(&services.analytical);
        counts.add(&services.metric);
        counts.add(&services.topic);
        services.rejects.values().for_each(|rejects| counts.add(rejects));
        tally.add("events refused out of a request", counts.refused);
        tally.add("events taken without an answer", counts.unanswered);
        tally.add("appearances after the first", counts.repeats);
        tally.add("requests taken late", counts.late);
        tally.add("requests filled by their bytes", counts.full);
        tally.add("partitions refused by Glue out of a request", services.glue.refused.borrow().len());
        tally.rejects(chain);
        tally.ids(chain);
        let (most, reached) = (most_in_a_second(chain.scenario), reached_in_a_second(chain));
        let is_full = most.is_some() && most == reached;
        tally.add("the most messages that may reach the topic in a second", usize::from(is_full));
        tally
    }

    fn functions(&mut self, chain: &Chain<'_>) {
        let served = chain.served();
        self.add("invocations", served.values().map(|served| served.len()).sum());
        let ended = served.values().flat_map(|served| served.iter()).filter(|served| served.answer.is_none());
        self.add("processes that ended", ended.count());
        let mappings = || chain.mappings.values();
        let discarded = mappings().flat_map(|mapping| mapping.destination.borrow().clone());
        self.add("records discarded", discarded.map(|discarded| discarded.records.len()).sum());
        self.add(
            "batches that waited for the end of a pause",
            mappings().map(|mapping| mapping.waited.get()).sum(),
        );
        self.add("invocations throttled", mappings().map(|mapping| mapping.throttled.get()).sum());
        let repeated = |mapping: &Mapping| mapping.repeated.borrow().values().sum::<usize>();
        self.add("records handed over though done", mappings().map(repeated).sum());
        self.add("batches filled by their bytes", mappings().map(|mapping| mapping.full.get()).sum());
    }

    fn streams(&mut self, chain: &Chain<'_>) {
        let names = [
            [
                "packs on stream 1",
                "places with several packs on stream 1",
                "keys on several shards of stream 1",
            ],
            [
                "packs on stream 2",
                "places with several packs on stream 2",
                "keys on several shards of stream 2",
            ],
        ];
        for (stream, [packs, places, keys]) in chain.streams.iter().zip(names) {
            let (made, several, moved) = packs_and_keys(stream, chain);
            self.add(packs, made);
            self.add(places, several);
            self.add(keys, moved);
        }
        self.add("shards split", chain.resharded[0].get());
        self.add("shards merged", chain.resharded[1].get());
        let aggregated = |stream: usize, is_damaged: bool| {
            let put = chain.scenario.others.iter().filter(move |put| put.stream == stream);
            put.filter(|Put { aggregated, units, .. }| match aggregated {
                None => false,
                Some(Damage::None) => !is_damaged && units.len() > 1,
                Some(_) => is_damaged,
            })
            .count()
        };
        self.add("aggregates of others on stream 1", aggregated(1, false));
        self.add("aggregates of others on stream 2", aggregated(2, false));
        self.add("damaged aggregates on stream 1", aggregated(1, true));
        self.add("damaged aggregates on stream 2", aggregated(2, true));
    }

    fn rejects(&mut self, chain: &Chain<'_>) {
        let taken = chain.services.rejects.values().map(|rejects| rejects.taken.borrow().len());
        self.add("events in rejects", taken.sum());
        let names = [
            "rejects of ingest in parts",
            "rejects of transform in parts",
            "rejects of metrics in parts",
            "rejects of notify in parts",
        ];
        for (name, lines) in names.into_iter().zip(chain.rejects.values()) {
            self.add(name, lines.borrow().iter().filter(|line| is_part(line)).count());
        }
        let Chain { scenario, .. } = chain;
        let of = |kind| scenario.units.iter().filter(move |unit| unit.kind == kind).count();
        let real = usize::from(scenario.sizes.are_real);
        self.add("events too large for Firehose, at its real size", real * of(Kind::Large));
        self.add("events too large for Kinesis, at its real size", real * of(Kind::TooLarge));
    }

    fn ids(&mut self, chain: &Chain<'_>) {
        let units = &chain.scenario.units;
        let topic = &chain.services.topic;
        let alerted = |unit: &Unit| topic.taken.borrow().contains_key(&unit.id);
        let refused = |unit: &Unit| topic.refused_for_good.borrow().contains(&unit.id);
        let count = |is: &dyn Fn(&Unit) -> bool| {
            let twins = units.iter().filter(|unit| unit.identity != unit.id);
            let pairs = twins.flat_map(|twin| {
                units.iter().filter(|unit| unit.id != twin.id && unit.identity == twin.identity)
            });
            pairs.filter(|unit| is(unit)).count()
        };
        self.add("ids that several events carry, one of which was sent to people", count(&alerted));
        self.add("ids that several events carry, one of which SNS refused for good", count(&refused));
        let is_raised = |one: &Unit, other: &Unit| {
            one.identity == other.identity && one.severity < other.severity && alerted(one) && alerted(other)
        };
        let raised = units.iter().filter(|unit| units.iter().any(|other| is_raised(unit, other)));
        self.add("events alerted again with a higher severity", raised.count());
    }
}

/// Sums over the services.
#[derive(Default)]
struct Occurrences {
    refused: usize,
    unanswered: usize,
    repeats: usize,
    late: usize,
    full: usize,
}

impl Occurrences {
    fn add<E>(&mut self, service: &Simulated<E>) {
        self.refused += service.refused.borrow().len();
        self.unanswered += service.unanswered.borrow().values().sum::<usize>();
        self.repeats += service.taken.borrow().values().map(|requests| requests.len() - 1).sum::<usize>();
        self.late += service.late.get();
        self.full += service.full.get();
    }
}

/// Counts for a stream: packs made by a function, hash keys with several packs, and partition keys on several shards.
fn packs_and_keys(stream: &Stream, chain: &Chain<'_>) -> (usize, usize, usize) {
    let mut packs: BTreeMap<u128, usize> = BTreeMap::new();
    let mut shards: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let put = chain.put_whole.borrow();
    for shard in 0..stream.shards() {
        for record in stream.shard(shard).iter() {
            let shards = shards.entry(record.partition_key.clone()).or_default();
            if shards.last() != Some(&shard) {
                shards.push(shard);
            }
            if !put.contains(&record.data) && user_records(&record.data).len() > 1 {
                *packs.entry(record.hash_key).or_default() += 1;
            }
        }
    }
    let several = packs.values().filter(|packs| **packs > 1).count();
    let moved = shards.values().filter(|shards| shards.len() > 1).count();
    (packs.values().sum(), several, moved)
}
