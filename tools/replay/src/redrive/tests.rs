//! Runs over a bucket and functions in memory.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use serde_json::{Value, json, value::RawValue};
use shared::{
    data::time::DateOrder,
    delivery::reject::{Collector, Detail, FileContext, RefusedRow},
    stream::batch::{self, Record},
};

use super::*;

/// A bucket in memory.
#[derive(Default)]
struct Shelf {
    objects: RefCell<BTreeMap<String, Object>>,
    /// After so many operations of bucket and functions together everything fails, as if the process were killed.
    left: Cell<Option<u32>>,
}

/// The time and the content of an object.
type Object = (DateTime<Utc>, Vec<u8>);

impl Shelf {
    fn put_at(&self, key: &str, minute: i64, body: impl AsRef<[u8]>) {
        let written = DateTime::from_timestamp(minute * 60, 0).unwrap();
        self.objects.borrow_mut().insert(key.to_owned(), (written, body.as_ref().to_vec()));
    }

    fn operate(&self) -> bool {
        match self.left.get() {
            Some(0) => false,
            left => {
                self.left.set(left.map(|left| left - 1));
                true
            }
        }
    }

    fn operation(&self) -> Result<(), Error> {
        if self.operate() { Ok(()) } else { Err(Error::Cloud("broken off".to_owned())) }
    }
}

impl Store for Shelf {
    async fn list(&self, prefix: &str) -> Result<Vec<ListedObject>, Error> {
        self.operation()?;
        let objects = self.objects.borrow();
        let listed = objects.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(listed.map(|(key, (written, _))| ListedObject { key: key.clone(), written: *written }).collect())
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.operation()?;
        Ok(self.objects.borrow().get(key).map(|(_, body)| body.clone().into()))
    }

    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), Error> {
        self.operation()?;
        self.put_at(key, 1_000_000, body);
        Ok(())
    }
}

/// Functions that accept everything, except payloads that name a fault.
struct Deployed<'a> {
    shelf: &'a Shelf,
    /// Function and payload of everything that was accepted, in order.
    taken: RefCell<Vec<(String, String)>>,
    /// Responses before the first normal one.
    script: RefCell<Vec<Result<Value, InvokeFailure>>>,
}

impl<'a> Deployed<'a> {
    fn new(shelf: &'a Shelf) -> Self {
        Self { shelf, taken: RefCell::default(), script: RefCell::default() }
    }

    /// The payloads of a request, by their names in a response.
    fn payloads(event: &[u8]) -> Vec<(String, String)> {
        let value: Value = serde_json::from_slice(event).unwrap();
        let Some(records) = value["Records"].as_array() else {
            return vec![(String::new(), value.to_string())];
        };
        if records[0]["eventSource"] == "aws:sqs" {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            return records
                .iter()
                .map(|record| (text(&record["messageId"]), text(&record["body"])))
                .collect();
        }
        let event = RawValue::from_string(value.to_string()).unwrap();
        let text = |record: &Record<'_>| String::from_utf8_lossy(&record.payload()).into_owned();
        let records = batch::records(event.get()).unwrap().into_iter();
        records.map(|record| (record.sequence_number.to_string(), text(&record))).collect()
    }
}

impl Functions for Deployed<'_> {
    async fn invoke(&self, name: &str, event: Vec<u8>) -> Result<Vec<u8>, InvokeFailure> {
        if !self.shelf.operate() {
            return Err(InvokeFailure::Lasting("broken off".to_owned()));
        }
        if let Some(answer) = self.script.borrow_mut().pop() {
            return answer.map(|answer| answer.to_string().into_bytes());
        }
        let payloads = Self::payloads(&event);
        if payloads.iter().any(|(_, payload)| payload.contains("crash")) {
            return Err(InvokeFailure::Function("it crashed".to_owned()));
        }
        let failed = |payload: &str| payload.contains("stuck");
        let failures: Vec<_> = payloads
            .iter()
            .filter(|(_, payload)| failed(payload))
            .map(|(id, _)| json!({"itemIdentifier": id}))
            .collect();
        let done = payloads.into_iter().filter(|(_, payload)| !failed(payload));
        self.taken.borrow_mut().extend(done.map(|(_, payload)| (name.to_owned(), payload)));
        Ok(json!({"batchItemFailures": failures}).to_string().into_bytes())
    }
}

fn reject(function: &'static str, source: &str, payload: &str) -> Vec<u8> {
    let file = (function == "ingest")
        .then(|| FileContext::new("csv", Some("ID".to_owned().into()), Some(DateOrder::Mdy)));
    let mut collector = Collector::new(function, "1970-01-01T00:00:00.000000Z".to_owned());
    collector.add(RefusedRow {
        owner: (0, 0),
        reason: "some_reason",
        detail: &Detail::from(""),
        name: source,
        line: None,
        row_index: None,
        payload: payload.as_bytes(),
        is_separate: true,
        file: file.as_ref(),
    });
    collector.take().lines().concat()
}

fn message(row: &str) -> (String, String) {
    let body = json!({"format": "csv", "body": format!("ID\n{row}\n"), "date_order": "mdy"});
    ("ingest".to_owned(), body.to_string())
}

fn selection(from: RedriveSource) -> Selection {
    Selection { from, prefix: "lake/".to_owned(), since: None, also_came_back: false, dry_run: false }
}

async fn run(
    shelf: &Shelf,
    functions: &Deployed<'_>,
    selection: &Selection,
) -> (RedriveSummary, Result<(), Error>) {
    run_until(shelf, functions, selection, &Interrupt::default()).await
}

async fn run_until(
    shelf: &Shelf,
    functions: &Deployed<'_>,
    selection: &Selection,
    interrupt: &Interrupt,
) -> (RedriveSummary, Result<(), Error>) {
    let (mut summary, progress) = (RedriveSummary::default(), Progress::hidden());
    let done = redrive(shelf, functions, str::to_owned, selection, &mut summary, &progress, interrupt).await;
    (summary, done)
}

#[tokio::test(start_paused = true)]
async fn interrupted_run_says_that_the_next_one_sends_the_rest() {
    let shelf = Shelf::default();
    shelf.put_at("lake/1", 0, reject("ingest", "a:1", "A"));
    let (functions, interrupt) = (Deployed::new(&shelf), Interrupt::default());
    interrupt.happen();
    let (summary, done) = run_until(&shelf, &functions, &selection(RedriveSource::Rejects), &interrupt).await;
    let error = done.unwrap_err();
    assert!(error.is_interrupt());
    assert!(error.to_string().ends_with("and the next run sends the rest"), "{error}");
    assert_eq!(summary.requests, 0);
    let (summary, done) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
    done.unwrap();
    assert_eq!((summary.sent, summary.requests), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn second_redrive_sends_nothing() {
    let shelf = Shelf::default();
    let first = [reject("ingest", "a:1", "A"), reject("notify", "s2/s:1", "N"), reject("ingest", "a:2", "B")];
    shelf.put_at("lake/1", 0, first.concat());
    shelf.put_at("lake/2", 0, reject("transform", "s1/s:7", "T"));
    shelf.put_at("elsewhere", 0, reject("ingest", "a:3", "C"));
    let functions = Deployed::new(&shelf);
    let (summary, done) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
    done.unwrap();
    assert_eq!((summary.found, summary.sent, summary.failed, summary.objects), (4, 4, 0, 2));
    let expected = [
        message("A"),
        message("B"),
        ("notify".to_owned(), "N".to_owned()),
        ("transform".to_owned(), "T".to_owned()),
    ];
    assert_eq!(*functions.taken.borrow(), expected);
    assert_eq!(summary.reasons.get("ingest some_reason"), Some(&2));

    let (summary, done) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
    done.unwrap();
    assert_eq!((summary.found, summary.requests), (0, 0), "{summary:?}");
}

#[tokio::test(start_paused = true)]
async fn refused_again_is_sent_only_on_request() {
    let shelf = Shelf::default();
    shelf.put_at("lake/1", 0, reject("ingest", "redrive:a:1", "A"));
    let functions = Deployed::new(&shelf);
    let mut selection = selection(RedriveSource::Rejects);
    let (summary, _) = run(&shelf, &functions, &selection).await;
    assert_eq!((summary.came_back, summary.requests), (1, 0));
    selection.also_came_back = true;
    let (summary, _) = run(&shelf, &functions, &selection).await;
    assert_eq!((summary.came_back, summary.sent), (0, 1));
    let (summary, _) = run(&shelf, &functions, &selection).await;
    assert_eq!((summary.found, summary.came_back), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn failed_rejects_stay_for_the_next_run() {
    let shelf = Shelf::default();
    let rows = [reject("ingest", "a:1", "A"), reject("ingest", "a:2", "stuck"), reject("ingest", "a:3", "C")];
    shelf.put_at("lake/1", 0, rows.concat());
    shelf.put_at("lake/2", 0, reject("metrics", "s2/s:1", "crash"));
    shelf.put_at("lake/3", 0, reject("notify", "s2/s:1", "N"));
    let functions = Deployed::new(&shelf);
    functions.script.borrow_mut().push(Err(InvokeFailure::Passing("throttled".to_owned())));
    let (summary, done) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
    done.unwrap();
    assert_eq!((summary.sent, summary.failed), (3, 2));
    assert_eq!(summary.requests, u64::from(ATTEMPTS) + 2, "a row until it is given up, a crash once");
    let (summary, _) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
    assert_eq!((summary.found, summary.sent, summary.failed), (2, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn interrupted_redrive_repeats_at_most_one_request() {
    let rows: Vec<String> = (0..3).map(|row| format!("row {row}")).collect();
    let mut broken_off = 0;
    for left in 0.. {
        let shelf = Shelf::default();
        for (number, row) in rows.iter().enumerate() {
            let both = [
                reject("ingest", &format!("a:{number}"), row),
                reject("notify", &format!("s2/s:{number}"), row),
            ];
            shelf.put_at(&format!("lake/{number}"), 0, both.concat());
        }
        shelf.left.set(Some(left));
        let functions = Deployed::new(&shelf);
        let (_, first) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
        shelf.left.set(None);
        let before = functions.taken.borrow().len();
        run(&shelf, &functions, &selection(RedriveSource::Rejects)).await.1.unwrap();
        let (last, _) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
        assert_eq!(last.found, 0, "broken off after {left}");
        let taken = functions.taken.borrow();
        for row in &rows {
            assert!(taken.contains(&message(row)), "{row} after {left}");
            assert!(taken.contains(&("notify".to_owned(), row.clone())), "{row} after {left}");
        }
        assert!(taken.len() <= 2 * rows.len() + rows.len(), "one request of {} rows", rows.len());
        if first.is_ok() {
            assert_eq!(taken.len(), before);
            break;
        }
        broken_off += 1;
    }
    assert!(broken_off > 10);
}

fn discarded(function: &str, payloads: &[&str]) -> String {
    let records: Vec<_> = payloads
        .iter()
        .enumerate()
        .map(|(number, payload)| {
            let data = base64_simd::STANDARD.encode_to_string(payload);
            json!({"kinesis": {"sequenceNumber": format!("{number}"), "data": data}, "eventID": format!("s:{number}")})
        })
        .collect();
    let payload = json!({"Records": records}).to_string();
    let arn = format!("arn:aws:lambda:eu-west-1:000000000000:function:{function}:$LATEST");
    json!({"requestContext": {"functionArn": arn, "condition": "RetryAttemptsExhausted"}, "payload": payload})
        .to_string()
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_discarded_is_worked_off_record_by_record() {
    let shelf = Shelf::default();
    shelf.put_at("lake/1", 0, discarded("transform-dev", &["1", "2", "3"]));
    shelf.put_at("lake/2", 0, discarded("notify-dev", &["4", "stuck", "5"]));
    shelf.put_at("lake/3", 0, "no record");
    let functions = Deployed::new(&shelf);
    // As many as the function reports, and again from there on.
    functions.script.borrow_mut().push(Ok(json!({"batchItemFailures": [{"itemIdentifier": "1"}]})));
    let (summary, done) = run(&shelf, &functions, &selection(RedriveSource::Failures)).await;
    done.unwrap();
    assert_eq!((summary.found, summary.sent, summary.failed, summary.unreadable), (6, 4, 2, 1));
    let taken: Vec<_> = functions.taken.borrow().iter().map(|(_, payload)| payload.clone()).collect();
    assert_eq!(&taken[..3], ["2", "3", "4"]);
    let (summary, _) = run(&shelf, &functions, &selection(RedriveSource::Failures)).await;
    assert_eq!(
        (summary.found, summary.objects),
        (2, 2),
        "the remaining records of the second batch, and the unreadable object"
    );
    assert_eq!(summary.reasons.get("notify-dev RetryAttemptsExhausted"), Some(&2));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_batch_is_sent_after_a_request_that_failed() {
    let payloads: Vec<String> = (0..1_200)
        .map(|number| if number == 100 { "stuck".to_owned() } else { number.to_string() })
        .collect();
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    let shelf = Shelf::default();
    shelf.put_at("lake/1", 0, discarded("transform-dev", &payloads));
    shelf.put_at("lake/2", 0, discarded("transform-dev", &["another"]));
    let functions = Deployed::new(&shelf);
    // The fake function accepts records after one that is stuck; real functions report all of it.
    functions.script.borrow_mut().extend(
        std::iter::repeat_with(|| Ok(json!({"batchItemFailures": [{"itemIdentifier": "100"}]}))).take(8),
    );
    let (summary, done) = run(&shelf, &functions, &selection(RedriveSource::Failures)).await;
    done.unwrap();
    assert_eq!((summary.found, summary.sent, summary.failed), (1_201, 101, 1_100));
    let taken: Vec<_> = functions.taken.borrow().iter().map(|(_, payload)| payload.clone()).collect();
    assert_eq!(taken, ["another"], "the first hundred have scripted responses");
    let (summary, _) = run(&shelf, &functions, &selection(RedriveSource::Failures)).await;
    assert_eq!(summary.found, 1_100, "the remaining records are for the next run");
}

#[tokio::test(start_paused = true)]
async fn rows_sent_separately_are_settled_together() {
    let line = json!({
        "rejected_at": "", "function": "notify", "reason": "not_json", "source": "s2/s:1", "row_index": 0,
        "payload": "N-1\nstuck\nN-3", "row_count": 3, "row_bytes": "3,5,3",
    });
    let shelf = Shelf::default();
    shelf.put_at("lake/1", 0, format!("{line}\n"));
    let functions = Deployed::new(&shelf);
    let (summary, _) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
    assert_eq!((summary.found, summary.sent, summary.failed), (3, 1, 2));
    assert!(!shelf.objects.borrow().contains_key(&marks::done("lake/1")));
    let whole = line.to_string().replace("stuck", "N-222");
    shelf.put_at("lake/1", 0, whole);
    let (summary, _) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
    assert_eq!((summary.found, summary.sent, summary.failed), (3, 3, 0));
    assert!(shelf.objects.borrow().contains_key(&marks::done("lake/1")));
}

#[tokio::test(start_paused = true)]
async fn a_part_that_was_delivered_twice_is_settled_with_its_reject() {
    let parts = reject("ingest", "a:1", &"x".repeat(200_000));
    let second = parts.split_inclusive(|byte| *byte == b'\n').nth(1).unwrap();
    let shelf = Shelf::default();
    shelf.put_at("lake/1", 0, &parts);
    shelf.put_at("lake/2", 0, second);
    let functions = Deployed::new(&shelf);
    let (summary, done) = run(&shelf, &functions, &selection(RedriveSource::Rejects)).await;
    done.unwrap();
    assert_eq!((summary.found, summary.sent, summary.incomplete), (1, 1, 0));
    let objects = shelf.objects.borrow();
    assert!(objects.contains_key(&marks::done("lake/1")) && objects.contains_key(&marks::done("lake/2")));
}

#[tokio::test(start_paused = true)]
async fn dry_run_reports_and_changes_nothing() {
    let shelf = Shelf::default();
    shelf.put_at("lake/1", 5, reject("ingest", "a:1", "A"));
    shelf.put_at("lake/2", 10, reject("ingest", "a:2", "B"));
    let functions = Deployed::new(&shelf);
    let mut selection = selection(RedriveSource::Rejects);
    selection.dry_run = true;
    selection.since = DateTime::from_timestamp(6 * 60, 0);
    let (summary, _) = run(&shelf, &functions, &selection).await;
    assert_eq!((summary.found, summary.sent, summary.requests, summary.objects), (1, 0, 0, 1));
    assert!(summary.text().contains("nothing was sent"), "{}", summary.text());
    assert_eq!(shelf.objects.borrow().len(), 2);
}
