//! The senders of rows to ingest, in each of its ways, with their retries.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use fakes::{Inbox, post};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    chain::Ingest,
    function::Function,
    scenario::{Sender, Way},
    trace::Trace,
    unit::{CSV_HEADER, Id, Unit, names},
};

/// The attempts of a sender that waits for answers, before it gives up the rows that failed.
const ATTEMPTS: u32 = 6;
/// The attempts of Lambda for an asynchronous invocation, before the on-failure destination.
///
/// Source: Lambda developer guide, "Error handling for asynchronous invocation".
const INVOCATIONS: u32 = 3;
/// The deliveries of a message of the queue before it is a dead letter: `maxReceiveCount` in template.yaml.
const DELIVERIES: u32 = 5;
/// The pause before an asynchronous invocation or a message is retried.
const PAUSE: Duration = Duration::from_mins(1);

/// The answers of ingest to its senders.
#[derive(Default)]
pub struct Ingress {
    /// The bucket for objects.
    pub inbox: Inbox,
    /// Events that were acknowledged as accepted.
    pub accepted: RefCell<BTreeSet<Id>>,
    /// Events that were acknowledged as rejected.
    pub rejected: RefCell<BTreeSet<Id>>,
    /// Events whose sender gave up after ingest had reported them as failed.
    pub given_up: RefCell<BTreeSet<Id>>,
    /// Events that Lambda or SQS moved to the on-failure destination, with their whole request.
    pub discarded: RefCell<BTreeSet<Id>>,
    /// The texts of the sent rows.
    pub rows: RefCell<BTreeSet<Bytes>>,
    /// Answers that contradict themselves.
    pub complaints: RefCell<Vec<String>>,
}

/// One sender of rows to ingest.
struct Client<'a> {
    ingress: &'a Ingress,
    way: Way,
    units: &'a [Unit],
    ingest: &'a Function<Ingest>,
    handed: &'a RefCell<BTreeMap<Id, usize>>,
    trace: &'a Trace,
}

impl Ingress {
    /// Sends a sender's requests, one after the other.
    pub async fn send(
        &self,
        sender: &Sender,
        units: &[Unit],
        ingest: &Function<Ingest>,
        handed: &RefCell<BTreeMap<Id, usize>>,
        trace: &Trace,
    ) {
        let client = Client { ingress: self, way: sender.way, units, ingest, handed, trace };
        if sender.way == Way::Queue {
            sleep(sender.pause).await;
            client.deliver(sender.requests.clone()).await;
            return;
        }
        for request in &sender.requests {
            sleep(sender.pause).await;
            if matches!(sender.way, Way::Direct | Way::Http) {
                client.wait_for(request.clone()).await;
            } else {
                client.leave(request).await;
            }
        }
    }
}

impl Client<'_> {
    /// Sends rows, waits for the answer, and sends failed rows again.
    async fn wait_for(&self, mut rows: Vec<Id>) {
        for attempt in 0..ATTEMPTS {
            sleep(Duration::from_secs(u64::from(attempt))).await;
            let Ok(answer) = self.invoke(&self.event(&rows), &rows).await else { continue };
            let summary = match &answer["body"] {
                Value::String(body) => serde_json::from_str(body).unwrap_or_default(),
                _ => answer,
            };
            rows = self.note(&summary, &rows);
            if rows.is_empty() {
                return;
            }
        }
        self.ingress.given_up.borrow_mut().extend(rows);
    }

    /// Sends rows without waiting: Lambda retries, then moves the request to the on-failure destination.
    async fn leave(&self, rows: &[Id]) {
        let event = self.event(rows);
        for _ in 0..INVOCATIONS {
            if let Ok(answer) = self.invoke(&event, rows).await {
                let failed = self.note(&answer, rows);
                self.complain_if(!failed.is_empty(), || {
                    format!("nobody learnt that {} were not accepted", names(failed.iter().copied()))
                });
                return;
            }
            sleep(PAUSE).await;
        }
        self.ingress.discarded.borrow_mut().extend(rows);
    }

    /// Delivers the messages of a queue together, until none is left or all attempts are used.
    async fn deliver(&self, mut messages: Vec<Vec<Id>>) {
        for _ in 0..DELIVERIES {
            let event = json!({"Records": messages.iter().enumerate().map(|(message, rows)| json!({
                "messageId": message.to_string(), "body": self.direct(rows),
                "eventSource": "aws:sqs", "messageAttributes": {}, "attributes": {},
            })).collect::<Vec<_>>()})
            .to_string();
            let rows = messages.concat();
            let Ok(answer) = self.invoke(&event, &rows).await else {
                sleep(PAUSE).await;
                continue;
            };
            let failures = answer["batchItemFailures"].as_array().cloned().unwrap_or_default();
            let failed = |message: usize| {
                let id = message.to_string();
                failures.iter().any(|failure| failure["itemIdentifier"] == id)
            };
            let (again, done): (Vec<_>, Vec<_>) = std::mem::take(&mut messages)
                .into_iter()
                .enumerate()
                .partition(|(message, _)| failed(*message));
            // The answer does not name rejected rows; the promises do not need them.
            self.ingress.accepted.borrow_mut().extend(done.into_iter().flat_map(|(_, rows)| rows));
            messages = again.into_iter().map(|(_, rows)| rows).collect();
            if messages.is_empty() {
                return;
            }
            sleep(PAUSE).await;
        }
        self.ingress.discarded.borrow_mut().extend(messages.concat());
    }

    async fn invoke(&self, event: &str, rows: &[Id]) -> Result<Value, String> {
        for id in rows {
            *self.handed.borrow_mut().entry(*id).or_default() += 1;
        }
        let way = self.way;
        self.trace.line(|| format!("ingest: {way:?} with {}", names(rows.iter().copied())));
        let answer = self.ingest.invoke(event, rows.len()).await.answer;
        self.trace.line(|| match &answer {
            Ok(answer) => format!("ingest: answers {answer}"),
            Err(why) => format!("ingest: fails: {why}"),
        });
        answer.map(|answer| serde_json::from_str(&answer).unwrap_or_default())
    }

    /// Notes an answer, and returns the rows that failed.
    fn note(&self, summary: &Value, rows: &[Id]) -> Vec<Id> {
        let count = |name: &str| summary[name].as_u64().unwrap_or(u64::MAX);
        let counted = [count("accepted"), count("rejected"), count("failed")];
        self.complain_if(
            counted.iter().fold(0_u64, |sum, count| sum.saturating_add(*count)) != rows.len() as u64,
            || format!("of {} rows, {counted:?} were accepted, rejected and failed", rows.len()),
        );
        let at =
            |index: &Value| index.as_u64().and_then(|index| rows.get(usize::try_from(index).ok()?)).copied();
        let listed = |name: &str| summary[name].as_array().cloned().unwrap_or_default();
        let range = |range: &Value| serde_json::from_value::<(usize, usize)>(range.clone()).ok();
        let ranges = listed("failed_indexes").into_iter().filter_map(|found| range(&found));
        let failed: Vec<Id> = ranges
            .flat_map(|(first, last)| first..=last)
            .filter_map(|index| rows.get(index))
            .copied()
            .collect();
        let rejected: Vec<Id> = listed("rejects").iter().filter_map(|reject| at(&reject["index"])).collect();
        let accepted = rows.iter().filter(|id| !failed.contains(id) && !rejected.contains(id));
        self.ingress.accepted.borrow_mut().extend(accepted);
        self.ingress.rejected.borrow_mut().extend(rejected);
        failed
    }

    fn complain_if(&self, wrong: bool, words: impl FnOnce() -> String) {
        if wrong {
            self.ingress.complaints.borrow_mut().push(format!(
                "ingest, invoked by {:?}: {}",
                self.way,
                words()
            ));
        }
    }

    /// The rows as CSV and as JSON objects, whose texts it records.
    fn texts(&self, rows: &[Id]) -> (String, Vec<String>) {
        let units = || rows.iter().map(|id| &self.units[*id as usize]);
        let csv: Vec<String> = units().map(Unit::csv).collect();
        let json: Vec<String> = units().map(Unit::json).collect();
        let known = csv.iter().chain(&json).map(|text| Bytes::copy_from_slice(text.as_bytes()));
        self.ingress.rows.borrow_mut().extend(known);
        (format!("{CSV_HEADER}\n{}\n", csv.join("\n")), json)
    }

    /// The event of a direct invocation, in one of its formats.
    fn direct(&self, rows: &[Id]) -> String {
        let (csv, json) = self.texts(rows);
        let (format, body) = match rows.first().map_or(0, |id| id % 3) {
            0 => ("csv", csv),
            1 => ("ndjson", json.join("\n")),
            _ => ("json", format!("[{}]", json.join(","))),
        };
        json!({"format": format, "body": body, "asynchronous": self.way == Way::Asynchronous}).to_string()
    }

    fn event(&self, rows: &[Id]) -> String {
        match self.way {
            Way::Direct | Way::Asynchronous | Way::Queue => self.direct(rows),
            Way::Http => post(self.texts(rows).0.as_bytes(), "text/csv", ""),
            Way::Object => {
                let key = format!("{}.csv", names(rows.iter().copied()).replace(", ", "-"));
                self.ingress.inbox.put(&key, self.texts(rows).0)
            }
        }
    }
}
