//! Those who ask ingest, in each of its ways, and send again what was not taken.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use fakes::Inbox;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    chain::Ingest,
    function::Function,
    scenario::{Sender, Way},
    trace::Trace,
    unit::{CSV_HEADER, Id, Unit, names},
};

/// How often one who waits for the answer sends again before giving up, knowing what was not taken.
const ATTEMPTS: u32 = 6;
/// How often Lambda makes an asynchronous invocation, and SQS hands out a message, before it goes to its destination.
///
/// Source: Lambda developer guide, "Error handling for asynchronous invocation"; `maxReceiveCount` of the template.
const DELIVERIES: u32 = 3;
/// Lambda's pause before an asynchronous invocation is made again.
const PAUSE: Duration = Duration::from_mins(1);

/// What those who ask ingest were told.
#[derive(Default)]
pub struct Ingress {
    /// The bucket for objects.
    pub inbox: Inbox,
    /// Events that were acknowledged as taken in.
    pub accepted: RefCell<BTreeSet<Id>>,
    /// Events that were acknowledged as rejected.
    pub rejected: RefCell<BTreeSet<Id>>,
    /// Events whose sender gave up, knowing that they were not taken.
    pub given_up: RefCell<BTreeSet<Id>>,
    /// Events that Lambda or SQS put into their on-failure destination, with all that was sent.
    pub discarded: RefCell<BTreeSet<Id>>,
    /// The texts of the rows that were sent.
    pub rows: RefCell<BTreeSet<Bytes>>,
    /// What was answered that contradicts itself.
    pub complaints: RefCell<Vec<String>>,
}

/// Asks ingest on behalf of one sender.
struct Asking<'a> {
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
        let asking = Asking { ingress: self, way: sender.way, units, ingest, handed, trace };
        if sender.way == Way::Queue {
            sleep(sender.pause).await;
            asking.hand_out(sender.requests.clone()).await;
            return;
        }
        for request in &sender.requests {
            sleep(sender.pause).await;
            match sender.way {
                Way::Direct | Way::Http | Way::Queue => asking.wait_for(request.clone()).await,
                Way::Asynchronous | Way::Object => asking.leave(request).await,
            }
        }
    }
}

impl Asking<'_> {
    /// Asks and waits, and sends again what was not taken.
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

    /// Asks without waiting: Lambda itself invokes again, and keeps what it cannot get through.
    async fn leave(&self, rows: &[Id]) {
        let event = self.event(rows);
        for _ in 0..DELIVERIES {
            if let Ok(answer) = self.invoke(&event, rows).await {
                let failed = self.note(&answer, rows);
                self.complain_if(!failed.is_empty(), || {
                    format!("nobody was told that {} were not taken", names(failed.iter().copied()))
                });
                return;
            }
            sleep(PAUSE).await;
        }
        self.ingress.discarded.borrow_mut().extend(rows);
    }

    /// Hands out the messages of a queue together, until none is left or each came too often.
    async fn hand_out(&self, mut messages: Vec<Vec<Id>>) {
        for _ in 0..DELIVERIES {
            let event = json!({"Records": messages.iter().enumerate().map(|(message, rows)| json!({
                "messageId": message.to_string(), "body": self.direct(rows).to_string(),
                "eventSource": "aws:sqs", "messageAttributes": {}, "attributes": {},
            })).collect::<Vec<_>>()});
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
            // The answer does not say which of their rows are rejects; the promises do not need it.
            self.ingress.accepted.borrow_mut().extend(done.into_iter().flat_map(|(_, rows)| rows));
            messages = again.into_iter().map(|(_, rows)| rows).collect();
            if messages.is_empty() {
                return;
            }
            sleep(PAUSE).await;
        }
        self.ingress.discarded.borrow_mut().extend(messages.concat());
    }

    async fn invoke(&self, event: &Value, rows: &[Id]) -> Result<Value, String> {
        for id in rows {
            *self.handed.borrow_mut().entry(*id).or_default() += 1;
        }
        let way = self.way;
        self.trace.line(|| format!("ingest: {way:?} with {}", names(rows.iter().copied())));
        let event = event.to_string();
        let answer = self.ingest.invoke(&event, rows.len()).await.answer;
        self.trace.line(|| match &answer {
            Ok(answer) => format!("ingest: answers {answer}"),
            Err(why) => format!("ingest: fails: {why}"),
        });
        answer.map(|answer| serde_json::from_str(&answer).unwrap_or_default())
    }

    /// Notes what an answer says, and gives the rows that were not taken.
    fn note(&self, summary: &Value, rows: &[Id]) -> Vec<Id> {
        let count = |name: &str| summary[name].as_u64().unwrap_or(u64::MAX);
        let told = [count("accepted"), count("rejected"), count("failed")];
        self.complain_if(
            told.iter().fold(0_u64, |sum, count| sum.saturating_add(*count)) != rows.len() as u64,
            || format!("of {} rows, {told:?} were accepted, rejected and failed", rows.len()),
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
                "ingest, asked by {:?}: {}",
                self.way,
                words()
            ));
        }
    }

    /// The rows, as CSV and as JSON objects; their texts are known from now on.
    fn texts(&self, rows: &[Id]) -> (String, Vec<String>) {
        let units = || rows.iter().map(|id| &self.units[*id as usize]);
        let csv: Vec<String> = units().map(Unit::csv).collect();
        let json: Vec<String> = units().map(Unit::json).collect();
        let known = csv.iter().chain(&json).map(|text| Bytes::copy_from_slice(text.as_bytes()));
        self.ingress.rows.borrow_mut().extend(known);
        (format!("{CSV_HEADER}\n{}\n", csv.join("\n")), json)
    }

    /// The direct form, in one of its formats.
    fn direct(&self, rows: &[Id]) -> Value {
        let (csv, json) = self.texts(rows);
        let asynchronous = self.way == Way::Asynchronous;
        match rows.first().map_or(0, |id| id % 3) {
            0 => json!({"format": "csv", "body": csv, "asynchronous": asynchronous}),
            1 => json!({"format": "ndjson", "body": json.join("\n"), "asynchronous": asynchronous}),
            _ => {
                json!({"format": "json", "body": format!("[{}]", json.join(",")), "asynchronous": asynchronous})
            }
        }
    }

    fn event(&self, rows: &[Id]) -> Value {
        match self.way {
            Way::Direct | Way::Asynchronous | Way::Queue => self.direct(rows),
            Way::Http => json!({
                "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": "",
                "headers": {"content-type": "text/csv"},
                "requestContext": {"http": {
                    "method": "POST", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "curl"}},
                "body": self.texts(rows).0, "isBase64Encoded": false,
            }),
            Way::Object => {
                let key = format!("{}.csv", names(rows.iter().copied()).replace(", ", "-"));
                let csv = Bytes::from(self.texts(rows).0);
                serde_json::from_str(&self.ingress.inbox.put(&key, csv)).unwrap_or_default()
            }
        }
    }
}
