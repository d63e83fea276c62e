//! The promises, checked against everything that a chain did.

mod alerts;
mod order;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::{
    chain::{Chain, user_records},
    function::LoggedCounts,
    port::Simulated,
    rejects::Rejects,
    services::Services,
    stage::{Readers, Stage, Stages},
    stream::Stream,
    unit::{Id, Kind, Unit, ids_in, name, names},
};

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
    touched: Stages<BTreeSet<Id>>,
    /// Events with a complete reject of each function.
    rejected: Stages<BTreeSet<Id>>,
    /// Events in the on-failure destination of each function that reads a stream.
    discarded: Readers<BTreeSet<Id>>,
    broken: Vec<String>,
}

impl<'c, 's> Audit<'c, 's> {
    fn of(chain: &'c Chain<'s>) -> Self {
        let on = |stream: &Stream| stream.records().iter().flat_map(|record| ids_in(&record.data)).collect();
        let mut known: BTreeSet<Bytes> = chain.ingress.rows.borrow().clone();
        for record in chain.streams.iter().flat_map(|stream| stream.records()) {
            known.extend(user_records(&record.data));
        }
        let rejects =
            Stages::from_fn(|stage| Rejects::read(stage.name(), &chain.rejects.of(stage).borrow(), &known));
        let discarded = |stage| {
            let destination = chain.mappings.of(stage).destination.borrow();
            destination
                .iter()
                .flat_map(|discarded| {
                    ids_in_event(&serde_json::from_str(&discarded.event).unwrap_or_default())
                })
                .collect()
        };
        let mut audit = Self {
            on: [on(&chain.streams[0]), on(&chain.streams[1])],
            touched: Stages::from_fn(|stage| rejects.of(stage).touched.clone()),
            rejected: Stages::from_fn(|stage| rejects.of(stage).whole.clone()),
            discarded: Readers::from_fn(discarded),
            chain,
            broken: rejects.values().flat_map(|rejects| rejects.strange.clone()).collect(),
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
            let (on_stream, in_rejects) = (self.on[0].contains(&id), self.rejected.ingest.contains(&id));
            self.hold(!(accepted || rejected) || if placed { on_stream } else { in_rejects }, || {
                format!("{} was acknowledged by ingest, and is lost", name(id))
            });
            let in_rejects = self.touched.ingest.contains(&id);
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
            let (rejected, discarded) =
                (self.rejected.transform.contains(&id), self.discarded.transform.contains(&id));
            let touched = self.touched.transform.contains(&id);
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
            let (rejected, discarded) =
                (self.rejected.metrics.contains(&id), self.discarded.metrics.contains(&id));
            let touched = self.touched.metrics.contains(&id);
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

            let (rejected, discarded) =
                (self.rejected.notify.contains(&id), self.discarded.notify.contains(&id));
            let touched = self.touched.notify.contains(&id);
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

    /// Every output was an input, with the same content.
    fn only_inputs_appear(&mut self) {
        let Chain { services, handed, scenario, .. } = self.chain;
        let outputs = [
            (Stage::Ingest, "stream 1", keys(&services.raw)),
            (Stage::Transform, "stream 2", keys(&services.severe)),
            (Stage::Transform, "the analytical delivery stream", keys(&services.analytical)),
            (Stage::Metrics, "CloudWatch", keys(&services.metric)),
            (Stage::Notify, "SNS", keys(&services.topic)),
        ];
        let rejects = services.rejects.each().map(|(stage, rejects)| (stage, "rejects", keys(rejects)));
        for (stage, output, ids) in outputs.into_iter().chain(rejects) {
            for id in ids {
                self.hold(handed.of(stage).borrow().contains_key(&id), || {
                    format!("{} is in {output}, but {} never had it", name(id), stage.name())
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
        for (stage, discarded) in self.discarded.clone().each() {
            self.hold(gives_up || discarded.is_empty(), || {
                format!(
                    "{} were discarded by the mapping of {}, which never discards",
                    names(discarded.clone()),
                    stage.name()
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
            .chain(rejects.values().map(|rejects| &rejects.oversized))
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

    /// Every invocation that answers logs its counts once. They balance and match the answer.
    fn counts(&mut self) {
        let counts = self.chain.counts.borrow();
        for (stage, served) in self.chain.served().each() {
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
                    && line.function == stage.name();
                let reported = match answer {
                    Ok(answer) if stage != Stage::Ingest => !answer.contains(r#""batchItemFailures":[]"#),
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

/// The events in the event of an invocation with decoded payloads, as a redrive of the destination finds them.
fn ids_in_event(event: &Value) -> Vec<Id> {
    let records = event["Records"].as_array().cloned().unwrap_or_default();
    let data = |record: &Value| {
        let data = record["kinesis"]["data"].as_str().unwrap_or_default().to_owned();
        base64_simd::STANDARD.decode_to_vec(data).unwrap_or_default()
    };
    records.iter().flat_map(|record| ids_in(data(record))).collect()
}
