//! Requests: what was refused or given up, handed again to the function that owes it, and to it alone.
//!
//! A record put on its stream again would reach every reader of it: the raw layer and the other functions, which have
//! had it. So each function is invoked with what it is used to: ingest with messages of its queue, which it answers
//! for one by one, the others with batches of their stream.

use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    Place,
    failure::Event,
    reject::{Rejected, Sending},
};

/// What precedes the source of a record that is sent again, so that its reject, if it becomes one again, is known.
pub const MARK: &str = "redrive:";
/// The reason of a reject that is a message of the queue.
const BAD_MESSAGE: &str = "bad_message";
/// Items in a request at most: as many as go again after an interruption.
const ITEMS: usize = 500;
/// Bytes of rows that are sent again together, if they are held with others.
const JOINED_BYTES: usize = 256 * 1024;
/// Bytes of a request at most; a little is left for what stands around its items.
///
/// Source: Lambda developer guide, "Lambda quotas": 6 MB for the payload of a synchronous invocation.
const BYTES: usize = 6 * 1_000 * 1_000 - 100_000;

/// How a function is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// With messages of its queue, each answered for by itself.
    Queue,
    /// With a batch of its stream, answered for by the first record that comes again.
    Stream,
    /// With one event that is the whole request.
    Event,
}

/// Something that a function owes.
#[derive(Debug, Clone)]
pub struct Item {
    /// By which the function's answer names it: unique within a request.
    id: String,
    /// As it stands in the request.
    json: String,
    /// How many rows or records it holds.
    pub rows: u64,
    /// Where it was found.
    pub places: Vec<Place>,
}

/// Items for one function.
#[derive(Debug)]
pub struct Request {
    /// The shape of the request.
    pub shape: Shape,
    /// Its items, in order.
    pub items: Vec<Item>,
    bytes: usize,
}

/// A reject, as a function is asked again.
#[derive(Debug)]
pub enum Again {
    /// Like this: with one item, or several where rows that are held together must be sent apart.
    Items(Shape, Vec<Item>),
    /// It came back from an earlier time: it is wrong in itself, or what it needs is still not there.
    CameBack,
    /// It tells of an object that could not be read, and holds no row.
    Object,
}

impl Again {
    /// How a reject is sent again; one that came back only when that is asked for.
    #[must_use]
    pub fn of(mut rejected: Rejected, also_came_back: bool) -> Self {
        let source = match rejected.source.strip_prefix(MARK) {
            Some(_) if !also_came_back => return Self::CameBack,
            Some(source) => source.to_owned(),
            None => rejected.source.clone(),
        };
        let sendings = rejected.sendings(JOINED_BYTES);
        if rejected.function != "ingest" {
            let numbered = sendings.into_iter().enumerate();
            let records = numbered.map(|(number, sending)| record(&rejected, &source, number, &sending));
            return Self::Items(Shape::Stream, records.collect());
        }
        if rejected.file.is_none() && rejected.reason != BAD_MESSAGE {
            return Self::Object;
        }
        // The same source stands twice where Firehose delivered a reject twice; then both are sent again. Elements of a
        // JSON text may share a line, and so a source.
        let name = match (&rejected.file, rejected.row_index) {
            (Some(file), Some(index)) if file.format == "json" => format!("{MARK}{source}#{index}"),
            _ => format!("{MARK}{source}"),
        };
        let messages = sendings.into_iter().enumerate().map(|(number, sending)| {
            let id = if number == 0 { name.clone() } else { format!("{name}#{number}") };
            message(&rejected, id, &sending)
        });
        Self::Items(Shape::Queue, messages.collect())
    }
}

/// Rows as a message of ingest's queue.
fn message(rejected: &Rejected, id: String, sending: &Sending) -> Item {
    let body = match &rejected.file {
        None => String::from_utf8_lossy(&sending.payload).into_owned(),
        Some(file) => {
            let header = file.header.as_ref().map(|header| format!("{header}\n")).unwrap_or_default();
            let text = [header.as_bytes(), &sending.payload, b"\n"].concat();
            let mut rows = json!({"format": file.format});
            match str::from_utf8(&text) {
                Ok(text) => rows["body"] = json!(text),
                // Ingest keeps the bytes of a row that is not UTF-8.
                Err(_) => rows["body_base64"] = json!(base64_simd::STANDARD.encode_to_string(&text)),
            }
            if let Some(order) = &file.date_order {
                rows["date_order"] = json!(order);
            }
            rows.to_string()
        }
    };
    let json = json!({
        "messageId": id, "eventSource": "aws:sqs", "body": body, "attributes": {}, "messageAttributes": {},
    });
    Item { id, json: json.to_string(), rows: sending.rows, places: rejected.places.clone() }
}

/// A user record of a stream as a record of its own. Its number is given by its place in the request.
fn record(rejected: &Rejected, source: &str, number: usize, sending: &Sending) -> Item {
    let (stream, event_id) = source.split_once('/').unwrap_or(("", source));
    let place = rejected.places.first().map(|Place { object, item }| match number {
        0 => format!("{object}.{item}"),
        _ => format!("{object}.{item}.{number}"),
    });
    let id = place.unwrap_or_default();
    let arrived =
        chrono::DateTime::parse_from_rfc3339(&rejected.rejected_at).ok().map(|at| at.timestamp_millis());
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of our time fit the 52 bits")]
    let arrived = arrived.map(|milliseconds| milliseconds as f64 / 1_000.0);
    let json = json!({
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "redrive",
            "sequenceNumber": id,
            "data": base64_simd::STANDARD.encode_to_string(&sending.payload),
            "approximateArrivalTimestamp": arrived,
        },
        "eventSource": "aws:kinesis",
        "eventName": "aws:kinesis:record",
        "eventVersion": "1.0",
        "eventID": event_id,
        // What follows the last slash begins the source of a reject.
        "eventSourceARN": format!("{MARK}{stream}"),
    });
    Item { id, json: json.to_string(), rows: sending.rows, places: rejected.places.clone() }
}

#[derive(Deserialize)]
struct Numbered<'a> {
    #[serde(borrow)]
    kinesis: Number<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Number<'a> {
    #[serde(borrow)]
    sequence_number: std::borrow::Cow<'a, str>,
}

/// The items of what was given up, which stands in object `object`: as they were handed to the function before.
#[must_use]
pub fn given_up(event: Event, object: usize) -> (Shape, Vec<Item>) {
    match event {
        Event::Whole(event) => {
            let json = Box::<str>::from(event).into_string();
            let places = vec![Place { object, item: 0 }];
            (Shape::Event, vec![Item { id: String::new(), json, rows: 1, places }])
        }
        Event::Batch(records) => {
            let item = |(item, record): (usize, Box<RawValue>)| Item {
                id: serde_json::from_str::<Numbered<'_>>(record.get())
                    .map(|record| record.kinesis.sequence_number.into_owned())
                    .unwrap_or_default(),
                json: Box::<str>::from(record).into_string(),
                rows: 1,
                places: vec![Place { object, item }],
            };
            (Shape::Stream, records.into_iter().enumerate().map(item).collect())
        }
    }
}

/// What an answer says of the items.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    batch_item_failures: Vec<Failed>,
    /// Of ingest, to an invocation.
    #[serde(default)]
    failed: u64,
    /// Of ingest, to HTTP.
    #[serde(default)]
    status_code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    item_identifier: String,
}

impl Request {
    /// A request without items.
    #[must_use]
    pub fn new(shape: Shape) -> Self {
        Self { shape, items: Vec::new(), bytes: 0 }
    }

    /// Whether one more item would be too much.
    #[must_use]
    pub fn is_full_for(&self, item: &Item) -> bool {
        !self.items.is_empty() && (self.items.len() >= ITEMS || self.bytes + item.json.len() + 1 > BYTES)
    }

    /// Adds an item.
    pub fn push(&mut self, item: Item) {
        self.bytes += item.json.len() + 1;
        self.items.push(item);
    }

    /// Whether it can be sent, which a single item may be too large for.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.bytes <= BYTES
    }

    /// The request as JSON.
    #[must_use]
    pub fn json(&self) -> Vec<u8> {
        let items: Vec<&str> = self.items.iter().map(|item| item.json.as_str()).collect();
        match self.shape {
            Shape::Event => items.concat().into_bytes(),
            Shape::Queue | Shape::Stream => format!(r#"{{"Records":[{}]}}"#, items.join(",")).into_bytes(),
        }
    }

    /// Takes out the items that the function is done with, as its answer says; the rest is to be sent again.
    ///
    /// # Errors
    ///
    /// When the answer is not one of these functions.
    pub fn settle(&mut self, answer: &[u8]) -> Result<Vec<Item>, serde_json::Error> {
        let answer: Answer = serde_json::from_slice(answer)?;
        let failed =
            |item: &Item| answer.batch_item_failures.iter().any(|failed| failed.item_identifier == item.id);
        let items = std::mem::take(&mut self.items);
        let (done, rest): (Vec<_>, Vec<_>) = match self.shape {
            Shape::Queue => items.into_iter().partition(|item| !failed(item)),
            Shape::Stream => {
                // Everything from the first on comes again, and all of it where the name is unknown, as in a mapping.
                let first = match &answer.batch_item_failures[..] {
                    [] => items.len(),
                    _ => items.iter().position(failed).unwrap_or(0),
                };
                let mut done = items;
                let rest = done.split_off(first);
                (done, rest)
            }
            Shape::Event if answer.failed > 0 || answer.status_code >= 500 => (Vec::new(), items),
            Shape::Event => (items, Vec::new()),
        };
        self.bytes = rest.iter().map(|item| item.json.len() + 1).sum();
        self.items = rest;
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::redrive::reject::File;

    fn rejected(function: &str, reason: &str, source: &str, payload: &[u8]) -> Rejected {
        Rejected {
            rejected_at: "2026-11-25T02:16:05.250000Z".to_owned(),
            function: function.to_owned(),
            reason: reason.to_owned(),
            source: source.to_owned(),
            payload: payload.to_vec(),
            row_count: 1,
            row_index: None,
            rows: None,
            file: None,
            places: vec![Place { object: 1, item: 2 }],
        }
    }

    fn item(again: Again) -> (Shape, Item, Value) {
        let Again::Items(shape, mut items) = again else { panic!("{again:?}") };
        let item = items.pop().unwrap();
        assert!(items.is_empty());
        let json = serde_json::from_str(&item.json).unwrap();
        (shape, item, json)
    }

    #[test]
    fn a_row_goes_to_ingest_as_a_message_with_all_that_it_needs() {
        let file = File {
            format: "csv".to_owned(),
            header: Some("ID,Severity".to_owned()),
            date_order: Some("dmy".to_owned()),
        };
        let row =
            Rejected { file: Some(file), ..rejected("ingest", "bad_severity", "a.csv:7", b"A,\"\xff\"") };
        let (shape, item, json) = item(Again::of(row, false));
        assert_eq!((shape, item.id.as_str()), (Shape::Queue, "redrive:a.csv:7"));
        assert_eq!(
            (&json["messageId"], &json["eventSource"]),
            (&json!("redrive:a.csv:7"), &json!("aws:sqs"))
        );
        let body: Value = serde_json::from_str(json["body"].as_str().unwrap()).unwrap();
        assert_eq!(
            body,
            json!({"format": "csv", "body_base64": "SUQsU2V2ZXJpdHkKQSwi/yIK", "date_order": "dmy"})
        );
    }

    #[test]
    fn rows_that_were_gathered_go_as_one_file_or_apart() {
        let file = || File { format: "csv".to_owned(), header: Some("ID".to_owned()), date_order: None };
        let together = Rejected {
            file: Some(file()),
            row_count: 2,
            ..rejected("ingest", "cell_count", "a:2-3", b"A,1\nB,2")
        };
        let (_, item, json) = item(Again::of(together, false));
        assert_eq!(item.rows, 2);
        let body: Value = serde_json::from_str(json["body"].as_str().unwrap()).unwrap();
        assert_eq!(body["body"], "ID\nA,1\nB,2\n");

        let apart = Rejected {
            file: Some(file()),
            row_count: 4,
            rows: Some(vec![0..2, 3..5, 6..7, 8..9]),
            ..rejected("ingest", "unclosed_quote", "a:2-9", b"\"A\n\"B\nC\nD")
        };
        let Again::Items(_, items) = Again::of(apart, false) else { panic!() };
        let sent: Vec<_> = items
            .iter()
            .map(|item| {
                let json: Value = serde_json::from_str(&item.json).unwrap();
                let body: Value = serde_json::from_str(json["body"].as_str().unwrap()).unwrap();
                (item.id.clone(), body["body"].as_str().unwrap().to_owned(), item.rows)
            })
            .collect();
        let expected = [
            ("redrive:a:2-9", "ID\n\"A\n", 1),
            ("redrive:a:2-9#1", "ID\n\"B\n", 1),
            ("redrive:a:2-9#2", "ID\nC\nD\n", 2),
        ];
        assert_eq!(sent, expected.map(|(id, body, rows)| (id.to_owned(), body.to_owned(), rows)));
    }

    #[test]
    fn elements_of_one_line_have_ids_of_their_own() {
        let ids = [0, 1].map(|index| {
            let file = File { format: "json".to_owned(), header: None, date_order: None };
            let element = Rejected {
                file: Some(file),
                row_index: Some(index),
                ..rejected("ingest", "bad_severity", "request-1:1", b"{}")
            };
            item(Again::of(element, false)).1.id
        });
        assert_eq!(ids, ["redrive:request-1:1#0", "redrive:request-1:1#1"]);
    }

    #[test]
    fn a_message_goes_as_it_came_and_an_object_does_not_go() {
        let (.., json) = item(Again::of(rejected("ingest", "bad_message", "m-1", b"{}"), false));
        assert_eq!(json["body"], "{}");
        let object = rejected("ingest", "bad_gzip", "inbox/a.csv.gz", b"");
        assert!(matches!(Again::of(object, false), Again::Object));
    }

    #[test]
    fn a_record_goes_to_its_function_under_a_source_that_says_so() {
        let source = "stream-2/shardId-000000000000:49590338271490256608559692538361571095921575989136588898";
        let (shape, _, json) = item(Again::of(rejected("notify", "not_json", source, b"x"), false));
        assert_eq!(shape, Shape::Stream);
        assert_eq!(json["kinesis"]["data"], "eA==");
        assert_eq!(json["kinesis"]["sequenceNumber"], "1.2");
        assert_eq!(json["kinesis"]["approximateArrivalTimestamp"], 1_795_572_965.25);
        let event = RawValue::from_string(json!({"Records": [json]}).to_string()).unwrap();
        let batch = shared::stream::batch::Batch::decode(event.get()).unwrap();
        assert_eq!(batch.records[0].source(), format!("redrive:{source}"));
    }

    #[test]
    fn what_came_back_stays_unless_it_is_asked_for_and_is_marked_once() {
        let came_back = || rejected("metrics", "not_json", "redrive:s2/s:1", b"x");
        assert!(matches!(Again::of(came_back(), false), Again::CameBack));
        let (.., json) = item(Again::of(came_back(), true));
        assert_eq!(json["eventSourceARN"], "redrive:s2");
    }

    fn request(shape: Shape, ids: &[&str]) -> Request {
        let mut request = Request::new(shape);
        for id in ids {
            request.push(Item {
                id: (*id).to_owned(),
                json: format!("\"{id}\""),
                rows: 1,
                places: Vec::new(),
            });
        }
        request
    }

    fn settled(shape: Shape, answer: &str) -> (Vec<String>, Vec<String>) {
        let mut request = request(shape, &["a", "b", "c"]);
        let done = request.settle(answer.as_bytes()).unwrap();
        let ids = |items: &[Item]| items.iter().map(|item| item.id.clone()).collect();
        (ids(&done), ids(&request.items))
    }

    #[test]
    fn an_answer_settles_what_it_does_not_name() {
        let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let named = r#"{"batchItemFailures":[{"itemIdentifier":"b"}]}"#;
        let unknown = r#"{"batchItemFailures":[{"itemIdentifier":"z"}]}"#;
        for (shape, answer, done, rest) in [
            (Shape::Queue, "{}", &["a", "b", "c"][..], &[][..]),
            (Shape::Queue, named, &["a", "c"], &["b"]),
            (Shape::Stream, r#"{"batchItemFailures":[]}"#, &["a", "b", "c"], &[]),
            (Shape::Stream, named, &["a"], &["b", "c"]),
            (Shape::Stream, unknown, &[], &["a", "b", "c"]),
            (Shape::Event, r#"{"accepted":1,"failed":0}"#, &["a", "b", "c"], &[]),
            (Shape::Event, r#"{"accepted":1,"failed":2}"#, &[], &["a", "b", "c"]),
            (Shape::Event, r#"{"statusCode":503}"#, &[], &["a", "b", "c"]),
        ] {
            assert_eq!(settled(shape, answer), (owned(done), owned(rest)), "{shape:?} {answer}");
        }
        assert!(request(Shape::Queue, &["a"]).settle(b"no").is_err());
    }

    #[test]
    fn a_request_is_bounded_by_items_and_bytes() {
        let item =
            |bytes: usize| Item { id: String::new(), json: "x".repeat(bytes), rows: 1, places: Vec::new() };
        let mut request = Request::new(Shape::Queue);
        for _ in 0..ITEMS {
            assert!(!request.is_full_for(&item(1)));
            request.push(item(1));
        }
        assert!(request.is_full_for(&item(1)));
        let mut request = Request::new(Shape::Queue);
        request.push(item(BYTES - 10));
        assert!(request.is_full_for(&item(10)) && request.fits());
        let mut request = Request::new(Shape::Queue);
        assert!(!request.is_full_for(&item(BYTES)));
        request.push(item(BYTES));
        assert!(!request.fits());
        assert_eq!(self::request(Shape::Stream, &["a", "b"]).json(), br#"{"Records":["a","b"]}"#);
    }
}
