//! The promises, checked against everything that a chain did.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::time::Instant;

use super::{
    chain::{Chain, FUNCTIONS, user_records},
    function::LoggedCounts,
    mapping::Mapping,
    pace::{most_in_a_second, reached_in_a_second},
    port::Simulated,
    rejects::Rejects,
    scenario::{Scenario, Way},
    services::Services,
    stream::{Stream, hash_key_of},
    unit::{Id, Kind, Unit, hash_keys, ids_in, name, names},
};

/// How long a FIFO topic remembers the deduplication ids of its messages.
///
/// Source: SNS developer guide, "Message deduplication for FIFO topics".
const DEDUPLICATION: Duration = Duration::from_mins(5);

/// The promises that a chain broke, each in a sentence; expected to be empty.
#[must_use]
pub fn broken(chain: &Chain<'_>) -> Vec<String> {
    let mut audit = Audit::of(chain);
    audit.ingest();
    audit.transform();
    audit.consumers();
    audit.escalations();
    audit.dedup_keys();
    audit.alert_rows();
    audit.only_inputs_appear();
    audit.requests();
    audit.placement();
    audit.order();
    audit.repeats();
    audit.pace();
    audit.counts();
    audit.broken
}

/// Events by place.
struct Audit<'c, 's> {
    chain: &'c Chain<'s>,
    /// Events on stream 1 and stream 2.
    on: [BTreeSet<Id>; 2],
    /// Events with a reject of each function, or with its first part.
    touched: [BTreeSet<Id>; 4],
    /// Events with a complete reject of each function.
    rejected: [BTreeSet<Id>; 4],
    /// Events in the on-failure destinations of transform, metrics and notify.
    discarded: [BTreeSet<Id>; 3],
    broken: Vec<String>,
}

impl<'c, 's> Audit<'c, 's> {
    fn of(chain: &'c Chain<'s>) -> Self {
        let on = |stream: &Stream| stream.records().iter().flat_map(|record| ids_in(&record.data)).collect();
        let mut known: BTreeSet<Bytes> = chain.ingress.rows.borrow().clone();
        for record in chain.streams.iter().flat_map(|stream| stream.records()) {
            known.extend(user_records(&record.data));
        }
        let rejects: [Rejects; 4] = std::array::from_fn(|function| {
            Rejects::read(FUNCTIONS[function], &chain.rejects[function].borrow(), &known)
        });
        let discarded = |mapping: &Mapping| {
            let destination = mapping.destination.borrow();
            destination
                .iter()
                .flat_map(|discarded| {
                    ids_in_event(&serde_json::from_str(&discarded.event).unwrap_or_default())
                })
                .collect()
        };
        let mut audit = Self {
            on: [on(&chain.streams[0]), on(&chain.streams[1])],
            touched: rejects.each_ref().map(|rejects| rejects.touched.clone()),
            rejected: rejects.each_ref().map(|rejects| rejects.whole.clone()),
            discarded: chain.mappings.each_ref().map(discarded),
            chain,
            broken: rejects.into_iter().flat_map(|rejects| rejects.strange).collect(),
        };
        // The other promises concern only events that were sent.
        let sent = |id: &Id| (*id as usize) < chain.scenario.units.len();
        let never: Vec<Id> = audit.on.iter().flatten().copied().filter(|id| !sent(id)).collect();
        audit.on.iter_mut().for_each(|ids| ids.retain(sent));
        audit.hold(never.is_empty(), || format!("{} are on the streams, but were never sent", names(never)));
        audit
    }

    fn unit(&self, id: Id) -> &'s Unit {
        &self.chain.scenario.units[id as usize]
    }

    fn hold(&mut self, promise: bool, words: impl FnOnce() -> String) {
        if !promise {
            self.broken.push(words());
        }
    }

    /// The events that carry the same id, this one among them.
    fn of_one_id(&self, id: Id) -> impl Iterator<Item = Id> + use<'s> {
        let identity = self.unit(id).identity;
        self.chain.scenario.units.iter().filter(move |unit| unit.identity == identity).map(|unit| unit.id)
    }

    /// Every row sent to ingest is on stream 1, in rejects, in the on-failure destination, or reported to its sender as
    /// failed. An acknowledged row is on stream 1 or in rejects.
    fn ingest(&mut self) {
        let ingress = &self.chain.ingress;
        self.broken.extend(ingress.complaints.take());
        let sent: BTreeSet<Id> =
            self.chain.scenario.senders.iter().flat_map(|sender| sender.requests.concat()).collect();
        for id in sent {
            let [accepted, rejected, given_up, discarded] =
                [&ingress.accepted, &ingress.rejected, &ingress.given_up, &ingress.discarded]
                    .map(|ids| ids.borrow().contains(&id));
            self.hold(accepted || rejected || given_up || discarded, || {
                format!("{} was sent to ingest, and nobody knows its outcome", name(id))
            });
            let placed = !matches!(self.unit(id).kind, Kind::Poison | Kind::TooLarge);
            let (on_stream, in_rejects) = (self.on[0].contains(&id), self.rejected[0].contains(&id));
            self.hold(!(accepted || rejected) || if placed { on_stream } else { in_rejects }, || {
                format!("{} was acknowledged by ingest, and is lost", name(id))
            });
            let in_rejects = self.touched[0].contains(&id);
            self.hold(if placed { !in_rejects } else { !on_stream }, || {
                format!(
                    "{} went where it does not belong: stream 1 {on_stream}, rejects {in_rejects}",
                    name(id)
                )
            });
        }
    }

    /// Every event on stream 1 reaches all its outputs, or is in rejects or the on-failure destination.
    fn transform(&mut self) {
        for id in self.on[0].clone() {
            let Unit { kind, severity, .. } = *self.unit(id);
            let services = &self.chain.services;
            let severe = services.severe.taken.borrow().contains_key(&id);
            let analytical = services.analytical.taken.borrow().contains_key(&id);
            let (rejected, discarded) = (self.rejected[1].contains(&id), self.discarded[0].contains(&id));
            let touched = self.touched[1].contains(&id);
            let (done, wrong) = match kind {
                Kind::Poison => (rejected, severe || analytical),
                _ if severity <= 2 => (true, severe || analytical || touched),
                Kind::Large | Kind::TooLarge => (rejected, analytical),
                Kind::Plain | Kind::Old => (severe && analytical, touched),
            };
            let where_it_is = || {
                format!(
                    "stream 2 {severe}, analytical {analytical}, rejects {rejected}, on-failure destination {discarded}"
                )
            };
            let unit = self.unit(id);
            self.hold(done || discarded, || format!("{unit:?} was lost by transform: {}", where_it_is()));
            self.hold(!wrong, || format!("{unit:?} went where it does not belong: {}", where_it_is()));
        }
    }

    /// Every severe event on stream 2 is counted, and alerted if it is severe enough.
    fn consumers(&mut self) {
        for id in self.on[1].clone() {
            let unit = self.unit(id);
            let services = &self.chain.services;
            let counted = services.metric.taken.borrow().contains_key(&id);
            let alerted = services.topic.taken.borrow().contains_key(&id);
            let (rejected, discarded) = (self.rejected[2].contains(&id), self.discarded[1].contains(&id));
            let touched = self.touched[2].contains(&id);
            let (done, wrong) = match unit.kind {
                Kind::Poison => (rejected, counted),
                _ if unit.severity <= 2 => (true, counted || touched),
                Kind::Old => (rejected, counted),
                Kind::Plain | Kind::Large | Kind::TooLarge => (counted, touched),
            };
            self.hold(done || discarded, || format!("{unit:?} was lost by metrics"));
            self.hold(!wrong, || {
                format!("{unit:?} is counted {counted}, and in rejects of metrics {touched}")
            });

            let (rejected, discarded) = (self.rejected[3].contains(&id), self.discarded[2].contains(&id));
            let touched = self.touched[3].contains(&id);
            let (done, wrong) = match unit.kind {
                Kind::Poison => (rejected, alerted),
                _ if unit.severity <= 3 => (true, alerted || touched),
                _ => {
                    // An event needs no alert if one of its id has at least its severity. SNS may report that a
                    // message itself is at fault; such a message has a reject.
                    let id_alerted = self.of_one_id(id).any(|id| {
                        services.topic.taken.borrow().contains_key(&id)
                            && self.unit(id).severity >= unit.severity
                    });
                    let refused_for_good = services.topic.refused_for_good.borrow();
                    let refused = self.of_one_id(id).any(|id| refused_for_good.contains(&id));
                    (id_alerted || rejected && refused, touched && !refused)
                }
            };
            self.hold(done || discarded, || format!("{unit:?} was lost by notify"));
            self.hold(!wrong, || {
                format!("{unit:?} is alerted {alerted}, and in rejects of notify {touched}")
            });
        }
    }

    /// Subscribers of a FIFO topic, which drops messages with the id of one that it has just received, also get the
    /// highest severity of each id that was alerted.
    fn escalations(&mut self) {
        let Services { messages, published, .. } = &self.chain.services;
        let mut last: BTreeMap<String, Instant> = BTreeMap::new();
        let mut highest: [BTreeMap<Id, i64>; 2] = Default::default();
        for (at, message) in messages.borrow().iter().zip(&*published.borrow()) {
            let is_dropped =
                last.get(&message.id).is_some_and(|last| at.duration_since(*last) < DEDUPLICATION);
            if !is_dropped {
                last.insert(message.id.clone(), *at);
            }
            for id in message.events.iter().filter(|id| (**id as usize) < self.chain.scenario.units.len()) {
                let Unit { identity, severity, .. } = *self.unit(*id);
                for highest in &mut highest[..if is_dropped { 1 } else { 2 }] {
                    let highest = highest.entry(identity).or_insert(severity);
                    *highest = severity.max(*highest);
                }
            }
        }
        let [alerted, received] = highest;
        self.hold(alerted == received, || {
            format!("a FIFO topic drops escalations: of {alerted:?} its subscribers get {received:?}")
        });
    }

    /// On-call services get one key for each id, whatever its severities, and another one for each other set of ids.
    fn dedup_keys(&mut self) {
        let mut keys: BTreeMap<BTreeSet<Id>, BTreeSet<String>> = BTreeMap::new();
        for message in &*self.chain.services.published.borrow() {
            let ids = message.events.iter().filter(|id| (**id as usize) < self.chain.scenario.units.len());
            let identities: BTreeSet<Id> = ids.map(|id| self.unit(*id).identity).collect();
            if identities.len() == message.events.len() {
                keys.entry(identities).or_default().insert(message.dedup_key.clone());
            }
        }
        let distinct: BTreeSet<_> = keys.values().flatten().collect();
        self.hold(distinct.len() == keys.len() && keys.values().all(|keys| keys.len() == 1), || {
            format!("on-call services get other keys than one for each set of ids: {keys:?}")
        });
    }

    /// Every output was an input, with the same content.
    fn only_inputs_appear(&mut self) {
        let Chain { services, handed, scenario, .. } = self.chain;
        let outputs: [(usize, &str, Vec<Id>); 9] = [
            (0, "stream 1", keys(&services.raw)),
            (1, "stream 2", keys(&services.severe)),
            (1, "the analytical delivery stream", keys(&services.analytical)),
            (2, "CloudWatch", keys(&services.metric)),
            (3, "SNS", keys(&services.topic)),
            (0, "rejects", keys(&services.rejects[0])),
            (1, "rejects", keys(&services.rejects[1])),
            (2, "rejects", keys(&services.rejects[2])),
            (3, "rejects", keys(&services.rejects[3])),
        ];
        for (function, output, ids) in outputs {
            for id in ids {
                self.hold(handed[function].borrow().contains_key(&id), || {
                    format!("{} is in {output}, but {} never had it", name(id), FUNCTIONS[function])
                });
            }
        }

        let severe = self.chain.streams[1].records();
        let put = self.chain.put.borrow();
        for data in severe.iter().flat_map(|record| user_records(&record.data)) {
            if !put.contains(&data) {
                self.resembles(&data, ["ID", "Severity", "City", "County"]);
            }
        }
        for line in self.chain.analytical.borrow().iter() {
            self.resembles(line, ["id", "severity", "city", "county"]);
        }

        let gives_up = scenario.gives_up();
        for (function, discarded) in FUNCTIONS[1..].iter().zip(self.discarded.clone()) {
            self.hold(gives_up || discarded.is_empty(), || {
                format!(
                    "{} were discarded by the mapping of {function}, which never discards",
                    names(discarded)
                )
            });
        }
    }

    /// Checks that a record has the content of its event.
    fn resembles(&mut self, record: &[u8], [id, severity, city, county]: [&str; 4]) {
        let record: Value = serde_json::from_slice(record).unwrap_or_default();
        let sent = ids_in(record[city].as_str().unwrap_or_default()).first().map(|id| self.unit(*id));
        let is_same = sent.is_some_and(|unit| {
            record[id] == unit.carried_id()
                && record[severity] == unit.severity
                && record[county].as_str() == unit.county.map(|county| format!("c{county}")).as_deref()
        });
        self.hold(is_same, || format!("{record} is not what was sent as {sent:?}"));
    }

    /// Each request keeps to the limits of its service. Glue is asked only for new partitions of severe events.
    fn requests(&mut self) {
        let Services { raw, severe, analytical, metric, topic, rejects, glue, complaints, .. } =
            &self.chain.services;
        for complaints in [&raw.oversized, &severe.oversized, &analytical.oversized, &metric.oversized]
            .into_iter()
            .chain([&topic.oversized, &glue.oversized, complaints])
            .chain(rejects.iter().map(|rejects| &rejects.oversized))
        {
            self.broken.extend(complaints.take());
        }
        let delivered = analytical.taken.borrow();
        let severities: BTreeSet<i64> = delivered.keys().map(|id| self.unit(*id).severity).collect();
        let registered: BTreeSet<i64> = glue.taken.borrow().keys().map(|id| i64::from(*id)).collect();
        let is_healthy = self.chain.scenario.services.glue.is_healthy();
        self.hold(!is_healthy || severities.is_subset(&registered), || {
            format!(
                "the partitions of {severities:?} were delivered to, those of {registered:?} are registered"
            )
        });
        self.hold(registered.iter().all(|severity| *severity > 2), || {
            format!("partitions of {registered:?} are registered, though only severe events are delivered")
        });
    }

    /// Packs are placed so that readers of a shard keep all their events, and so that batches of a shard can run in
    /// parallel: each place has one partition key.
    fn placement(&mut self) {
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
    fn order(&mut self) {
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

        let hops = [
            (0, 0, "stream 2", first_positions(&streams[1]), services.severe.refused.borrow().clone()),
            (1, 1, "CloudWatch", first_requests(&services.metric), BTreeSet::new()),
            (1, 2, "SNS", first_requests(&services.topic), services.topic.refused.borrow().clone()),
        ];
        // One of several events with one id is alerted: the first, or a later one in another container.
        let units = &scenario.units;
        let of_one_id = units.iter().filter(|unit| self.of_one_id(unit.id).count() > 1).map(|unit| unit.id);
        let of_one_id: BTreeSet<Id> = of_one_id.collect();
        for (stream, mapping, output, at, mut exempt) in hops {
            let keys = by_partition_key(&streams[stream]);
            let lanes = lanes(&streams[stream], mappings[mapping].settings.parallelization);
            // Discarded events may arrive later from another record.
            exempt.extend(&self.discarded[mapping]);
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
    fn repeats(&mut self) {
        let Services { raw, severe, analytical, metric, topic, rejects, .. } = &self.chain.services;
        let mut broken = Vec::new();
        let handed = &self.chain.handed;
        let mut bound = |function: usize,
                         taken: &BTreeMap<Id, Vec<u64>>,
                         unanswered: &BTreeMap<Id, usize>| {
            for (id, requests) in taken {
                let handed = handed[function].borrow().get(id).copied().unwrap_or_default();
                let unanswered = unanswered.get(id).copied().unwrap_or_default();
                if requests.len() > handed + unanswered {
                    broken.push(format!(
                        "{} was output by {} {} times, but was received {handed} times and went unanswered {unanswered} times",
                        name(*id), FUNCTIONS[function], requests.len()
                    ));
                }
            }
        };
        bound(0, &raw.taken.borrow(), &raw.unanswered.borrow());
        bound(1, &severe.taken.borrow(), &severe.unanswered.borrow());
        bound(1, &analytical.taken.borrow(), &analytical.unanswered.borrow());
        bound(2, &metric.taken.borrow(), &metric.unanswered.borrow());
        bound(3, &topic.taken.borrow(), &topic.unanswered.borrow());
        for (function, rejects) in rejects.iter().enumerate() {
            bound(function, &rejects.taken.borrow(), &rejects.unanswered.borrow());
        }
        self.broken.extend(broken);
        self.handed_once();
        self.least_repeats(1, &self.chain.services.metric);
        // A digest reports events ahead of their turn, so a retry from an earlier record repeats them. With a bound on
        // the messages there are digests over all areas for any `digest_above`.
        let Scenario { digest_above, alerts_per_second, .. } = self.chain.scenario;
        if [*digest_above, *alerts_per_second as usize] == [0, 0] {
            self.least_repeats(2, &self.chain.services.topic);
        }
    }

    /// At most the configured number of messages reaches the topic in any second.
    fn pace(&mut self) {
        let (most, reached) = (most_in_a_second(self.chain.scenario), reached_in_a_second(self.chain));
        if let (Some(most), Some(reached)) = (most, reached) {
            self.hold(reached <= most, || {
                format!("{reached} messages reached the topic within a second, expected at most {most}")
            });
        }
    }

    /// Without failures, a function receives each event only as often as it is on its stream and as Lambda repeats it.
    fn handed_once(&mut self) {
        let Chain { scenario, streams, handed, mappings, .. } = self.chain;
        if !scenario.is_healthy() {
            return;
        }
        for (stream, function) in [(0, 1), (1, 2), (1, 3)] {
            let repeated =
                *handed[function].borrow() != times_handed(&streams[stream], &mappings[function - 1]);
            self.hold(!repeated, || {
                format!("{} received events again, though nothing failed", FUNCTIONS[function])
            });
        }
    }

    /// metrics and notify output an event again only for these reasons: it was accepted without an answer, or in a request
    /// with a refused entry, or before their process ended; its record is retried after trouble with their output; or
    /// Lambda repeats a finished batch.
    fn least_repeats<E>(&mut self, mapping: usize, service: &Simulated<E>) {
        let handed = times_handed(&self.chain.streams[1], &self.chain.mappings[mapping]);
        let times = |counts: &RefCell<BTreeMap<Id, usize>>, id: &Id| {
            counts.borrow().get(id).copied().unwrap_or_default()
        };
        for (id, requests) in service.taken.borrow().iter() {
            let bound = handed.get(id).copied().unwrap_or_default()
                + times(&service.unanswered, id)
                + times(&service.torn, id)
                + times(&self.chain.ended[mapping], id)
                + times(&self.chain.returned[mapping], id);
            self.hold(requests.len() <= bound, || {
                let function = FUNCTIONS[mapping + 1];
                format!(
                    "{} was output by {function} {} times without need, expected at most {bound}",
                    name(*id),
                    requests.len()
                )
            });
        }
    }

    /// What was published is in the alerts table, unless notify counted a row that it could not deliver. Nothing else is
    /// in the table.
    fn alert_rows(&mut self) {
        let Services { published, alert_rows, .. } = &self.chain.services;
        let recorded: BTreeSet<(String, i64)> =
            alert_rows.borrow().iter().flat_map(recorded_events).collect();
        let published = published.borrow();
        let alerted: BTreeSet<Id> = published.iter().flat_map(|message| message.events.clone()).collect();
        let units = &self.chain.scenario.units;
        let unit = |id: &Id| &units[*id as usize];
        let event = |id: &Id| (unit(id).carried_id(), unit(id).severity);
        // An invalid event may have no id.
        let (valid, invalid): (Vec<Id>, Vec<Id>) =
            alerted.into_iter().partition(|id| unit(id).kind != Kind::Poison);
        let known: BTreeSet<_> = valid.iter().map(event).collect();
        let strange = recorded.difference(&known).count();
        self.hold(strange <= invalid.len(), || {
            format!("{strange} rows of alerts are of events in no message")
        });
        let counts = self.chain.counts.borrow();
        let unrecorded: u64 = counts.values().flatten().map(|line| line.unrecorded).sum();
        drop(counts);
        self.hold(unrecorded == 0 || !self.chain.scenario.is_healthy(), || {
            format!("{unrecorded} rows of alerts were not delivered, though no service failed")
        });
        if unrecorded > 0 {
            return;
        }
        // An event that is retried may end in another place than the alert whose answer was lost.
        let elsewhere = &self.discarded[2] | &self.touched[3];
        let is_missing = |id: &Id| !recorded.contains(&event(id)) && !elsewhere.contains(id);
        let missing: Vec<Id> = valid.into_iter().filter(is_missing).collect();
        self.hold(missing.is_empty(), || {
            format!("{} are alerted, but not in the alerts table", names(missing))
        });
    }

    /// Every invocation that answers logs its counts once. They balance and match the answer.
    fn counts(&mut self) {
        let counts = self.chain.counts.borrow();
        for (function, served) in self.chain.served().iter().enumerate() {
            for served in served.iter() {
                let lines = counts.get(&served.request_id).map_or(&[][..], Vec::as_slice);
                let Some(answer) = &served.answer else { continue };
                let [line] = lines else {
                    self.broken.push(format!(
                        "{} logged its counts {} times",
                        served.request_id,
                        lines.len()
                    ));
                    continue;
                };
                let LoggedCounts { r#in, delivered, filtered, rejected, failed, unaccounted, .. } = *line;
                let balanced = r#in == served.records as u64
                    && r#in == delivered + filtered + rejected + failed
                    && unaccounted == 0
                    && line.function == FUNCTIONS[function];
                let reported = match answer {
                    Ok(answer) if function > 0 => !answer.contains(r#""batchItemFailures":[]"#),
                    // Ingest answers in many forms; its answers are checked with its senders.
                    Ok(_) => failed > 0,
                    Err(_) => true,
                };
                self.hold(balanced && reported == (failed > 0), || {
                    format!(
                        "{} had {} records and the counts {line:?} for {answer:?}",
                        served.request_id, served.records
                    )
                });
            }
        }
    }
}

fn keys<E>(service: &Simulated<E>) -> Vec<Id> {
    service.taken.borrow().keys().copied().collect()
}

/// The events of a row of the alerts table, each with its id and severity.
fn recorded_events(row: &Bytes) -> Vec<(String, i64)> {
    let row: Value = serde_json::from_slice(row).unwrap_or_default();
    let list = |name: &str| row[name].as_array().cloned().unwrap_or_default();
    let id = |id: Value| id.as_str().unwrap_or_default().to_owned();
    let severity = |severity: Value| severity.as_i64().unwrap_or_default();
    list("ids").into_iter().map(id).zip(list("severities").into_iter().map(severity)).collect()
}

/// The events in the event of an invocation with decoded payloads, as a redrive of the destination finds them.
fn ids_in_event(event: &Value) -> Vec<Id> {
    let records = event["Records"].as_array().cloned().unwrap_or_default();
    let data = |record: &Value| {
        let data = record["kinesis"]["data"].as_str().unwrap_or_default().to_owned();
        base64_simd::STANDARD.decode_to_vec(data).unwrap_or_default()
    };
    records.iter().flat_map(|record| ids_in(data(record))).collect()
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
