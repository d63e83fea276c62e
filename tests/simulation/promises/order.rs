//! The promises about order and repeats.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    super::{
        chain::{Chain, user_records},
        mapping::Mapping,
        port::Simulated,
        scenario::{Scenario, Way},
        services::Services,
        stage::Stage,
        stream::{Stream, hash_key_of},
        unit::{Id, hash_keys, ids_in, name},
    },
    Audit,
};

impl Audit<'_, '_> {
    /// Packs are placed so that readers of a shard keep all their events, and so that batches of a shard can run in
    /// parallel: each place has one partition key.
    pub(super) fn placement(&mut self) {
        let Chain { streams, put_whole, .. } = self.chain;
        for stream in streams {
            let mut keys: BTreeMap<u128, String> = BTreeMap::new();
            let mut places: BTreeMap<String, u128> = BTreeMap::new();
            for shard in 0..stream.shards() {
                for record in
                    stream.shard(shard).iter().filter(|record| !put_whole.borrow().contains(&record.data))
                {
                    let named = hash_keys(&record.data).unwrap_or_default();
                    let is_kept = named.iter().all(|key| key.is_some_and(|key| stream.holds(shard, key)));
                    self.hold(is_kept, || {
                        format!("a pack on shard {shard} of {} holds events of other shards", stream.name)
                    });
                    if record.hash_key == hash_key_of(&record.partition_key) {
                        continue;
                    }
                    let key = keys.entry(record.hash_key).or_insert_with(|| record.partition_key.clone());
                    let place = places.entry(record.partition_key.clone()).or_insert(record.hash_key);
                    let is_one = *key == record.partition_key && *place == record.hash_key;
                    self.hold(is_one, || {
                        format!(
                            "{} is the partition key of several places of {}",
                            record.partition_key, stream.name
                        )
                    });
                }
            }
        }
    }

    /// For each partition key the first appearances are in order, except for entries that a service refused.
    pub(super) fn order(&mut self) {
        let Chain { scenario, services, streams, mappings, .. } = self.chain;
        let county_or_id = |id: Id| self.unit(id).county_or_id();
        let by_id = |id: Id| self.unit(id).carried_id();

        let at = first_positions(&streams[0]);
        let senders = scenario.senders.iter().filter(|sender| sender.way != Way::Queue);
        let sent: Vec<Vec<Id>> = senders.map(|sender| sender.requests.concat()).collect();
        let key: &dyn Fn(Id) -> String = if scenario.order_by_county { &county_or_id } else { &by_id };
        let mut exempt = services.raw.refused.borrow().clone();
        // Rows that a sender or Lambda gave up may arrive with a later request.
        exempt.extend(&*self.chain.ingress.given_up.borrow());
        exempt.extend(&*self.chain.ingress.discarded.borrow());
        let mut broken = out_of_order("stream 1", &sent, key, &at, &exempt);

        let [first, second] = streams;
        let hops = [
            (
                first,
                Stage::Transform,
                "stream 2",
                first_positions(&streams[1]),
                services.severe.refused.borrow().clone(),
            ),
            (second, Stage::Metrics, "CloudWatch", first_requests(&services.metric), BTreeSet::new()),
            (
                second,
                Stage::Notify,
                "SNS",
                first_requests(&services.topic),
                services.topic.refused.borrow().clone(),
            ),
        ];
        // One of several events with one id is alerted: the first, or a later one in another container.
        let units = &scenario.units;
        let of_one_id = units.iter().filter(|unit| self.of_one_id(unit.id).count() > 1).map(|unit| unit.id);
        let of_one_id: BTreeSet<Id> = of_one_id.collect();
        for (stream, stage, output, at, mut exempt) in hops {
            let keys = by_partition_key(stream);
            let lanes = lanes(stream, mappings.of(stage).settings.parallelization);
            // Discarded events may arrive later from another record.
            exempt.extend(self.discarded.of(stage));
            if output == "SNS" {
                exempt.extend(&of_one_id);
            }
            // The order of a partition key holds across splits and merges of shards, too.
            for sequences in [lanes, keys] {
                let exempt = exempt.iter().copied().chain(in_several(&sequences)).collect();
                broken.extend(out_of_order(output, &sequences, &county_or_id, &at, &exempt));
            }
        }
        self.broken.extend(broken);
    }

    /// An event appears at most as often as the function received it and as its outputs went unanswered.
    pub(super) fn repeats(&mut self) {
        let Services { raw, severe, analytical, metric, topic, rejects, .. } = &self.chain.services;
        let mut broken = Vec::new();
        let handed = &self.chain.handed;
        let mut bound = |stage: Stage, taken: &BTreeMap<Id, Vec<u64>>, unanswered: &BTreeMap<Id, usize>| {
            for (id, requests) in taken {
                let handed = handed.of(stage).borrow().get(id).copied().unwrap_or_default();
                let unanswered = unanswered.get(id).copied().unwrap_or_default();
                if requests.len() > handed + unanswered {
                    broken.push(format!(
                        "{} was output by {} {} times, but was received {handed} times and went unanswered {unanswered} times",
                        name(*id), stage.name(), requests.len()
                    ));
                }
            }
        };
        bound(Stage::Ingest, &raw.taken.borrow(), &raw.unanswered.borrow());
        bound(Stage::Transform, &severe.taken.borrow(), &severe.unanswered.borrow());
        bound(Stage::Transform, &analytical.taken.borrow(), &analytical.unanswered.borrow());
        bound(Stage::Metrics, &metric.taken.borrow(), &metric.unanswered.borrow());
        bound(Stage::Notify, &topic.taken.borrow(), &topic.unanswered.borrow());
        for (stage, rejects) in rejects.each() {
            bound(stage, &rejects.taken.borrow(), &rejects.unanswered.borrow());
        }
        self.broken.extend(broken);
        self.handed_once();
        self.least_repeats(Stage::Metrics, &self.chain.services.metric);
        // A digest reports events ahead of their turn, so a retry from an earlier record repeats them. With a bound on
        // the messages there are digests over all areas for any `digest_above`.
        let Scenario { digest_above, alerts_per_second, .. } = self.chain.scenario;
        if [*digest_above, *alerts_per_second as usize] == [0, 0] {
            self.least_repeats(Stage::Notify, &self.chain.services.topic);
        }
    }

    /// Without failures, a function receives each event only as often as it is on its stream and as Lambda repeats it.
    fn handed_once(&mut self) {
        let Chain { scenario, streams, handed, mappings, .. } = self.chain;
        if !scenario.is_healthy() {
            return;
        }
        let [first, second] = streams;
        for (stage, mapping) in mappings.each() {
            let stream = if stage == Stage::Transform { first } else { second };
            let repeated = *handed.of(stage).borrow() != times_handed(stream, mapping);
            self.hold(!repeated, || format!("{} received events again, though nothing failed", stage.name()));
        }
    }

    /// metrics and notify output an event again only for one of these reasons. It was accepted without an answer, or in a
    /// request with a refused entry, or before their process ended. Its record is retried after trouble with their
    /// output. Lambda repeats a finished batch.
    fn least_repeats<E>(&mut self, stage: Stage, service: &Simulated<E>) {
        let handed = times_handed(&self.chain.streams[1], self.chain.mappings.of(stage));
        let times = |counts: &RefCell<BTreeMap<Id, usize>>, id: &Id| {
            counts.borrow().get(id).copied().unwrap_or_default()
        };
        for (id, requests) in service.taken.borrow().iter() {
            let bound = handed.get(id).copied().unwrap_or_default()
                + times(&service.unanswered, id)
                + times(&service.torn, id)
                + times(self.chain.ended.of(stage), id)
                + times(self.chain.returned.of(stage), id);
            self.hold(requests.len() <= bound, || {
                format!(
                    "{} was output by {} {} times without need, expected at most {bound}",
                    name(*id),
                    stage.name(),
                    requests.len()
                )
            });
        }
    }
}

/// How often each event is delivered at least: as often as it is on the stream and as the mapping repeats it.
fn times_handed(stream: &Stream, mapping: &Mapping) -> BTreeMap<Id, usize> {
    let repeated = mapping.repeated.borrow();
    let mut times = BTreeMap::new();
    for record in stream.records() {
        for id in user_records(&record.data).iter().flat_map(ids_in) {
            *times.entry(id).or_default() += 1 + repeated.get(&record.position).copied().unwrap_or_default();
        }
    }
    times
}

/// Where each event first appears on a stream.
fn first_positions(stream: &Stream) -> BTreeMap<Id, u64> {
    let mut first = BTreeMap::new();
    for record in stream.records() {
        for id in ids_in(&record.data) {
            first.entry(id).or_insert(record.position);
        }
    }
    first
}

/// The request in which each event first appears.
fn first_requests<E>(service: &Simulated<E>) -> BTreeMap<Id, u64> {
    service.taken.borrow().iter().map(|(id, requests)| (*id, requests[0])).collect()
}

/// The events of each batch sequence of a stream, in order.
fn lanes(stream: &Stream, parallelization: usize) -> Vec<Vec<Id>> {
    let mut lanes = vec![Vec::new(); stream.shards() * parallelization];
    for shard in 0..stream.shards() {
        for record in stream.shard(shard).iter() {
            let lane = shard * parallelization + record.lane(parallelization);
            lanes[lane].extend(user_records(&record.data).iter().flat_map(ids_in));
        }
    }
    lanes
}

/// The events of each partition key of a stream, in order of arrival.
fn by_partition_key(stream: &Stream) -> Vec<Vec<Id>> {
    let mut keys: BTreeMap<String, Vec<Id>> = BTreeMap::new();
    for record in stream.records() {
        let ids = user_records(&record.data).into_iter().flat_map(ids_in);
        keys.entry(record.partition_key).or_default().extend(ids);
    }
    keys.into_values().collect()
}

/// The events in more than one sequence, which have no order.
fn in_several(lanes: &[Vec<Id>]) -> BTreeSet<Id> {
    let mut seen: BTreeMap<Id, usize> = BTreeMap::new();
    let mut several = BTreeSet::new();
    for (lane, ids) in lanes.iter().enumerate() {
        for id in ids {
            if *seen.entry(*id).or_insert(lane) != lane {
                several.insert(*id);
            }
        }
    }
    several
}

/// The events that appear before an earlier one of their key.
fn out_of_order(
    output: &str,
    sequences: &[Vec<Id>],
    key: &dyn Fn(Id) -> String,
    at: &BTreeMap<Id, u64>,
    exempt: &BTreeSet<Id>,
) -> Vec<String> {
    let mut broken = Vec::new();
    for sequence in sequences {
        let mut latest: BTreeMap<String, (Id, u64)> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for id in sequence.iter().copied().filter(|id| !exempt.contains(id)) {
            let Some(at) = at.get(&id).copied().filter(|_| seen.insert(id)) else { continue };
            let (before, latest) = latest.entry(key(id)).or_insert((id, at));
            if at < *latest {
                broken.push(format!(
                    "{} is in {output} before {}, which was sent first and was not refused",
                    name(id),
                    name(*before)
                ));
            }
            if at >= *latest {
                (*before, *latest) = (id, at);
            }
        }
    }
    broken
}
