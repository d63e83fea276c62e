//! Requests that send rejects and failed batches again, only to the function that failed.
//!
//! A record that is put on its stream again would reach every consumer: the raw table and the other functions, which
//! have already processed it. So each function is invoked with its usual input. Ingest gets messages of its queue, and
//! responds with the failed ones. The other functions get batches of their stream.

use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    ItemPlace,
    failure::DiscardedEvent,
    reject::{Rejected, ResentPayload},
};

/// The prefix of the source of a record that is sent again. It identifies a reject that comes back.
pub(crate) const MARK: &str = "redrive:";
/// The reason code of a reject that is a message of the queue.
const BAD_MESSAGE: &str = "bad_message";
/// The most items in a request, and so the most that an interrupted run repeats.
const ITEMS: usize = 500;
/// The most bytes of rows that are sent together, if they share a reject.
const JOINED_BYTES: usize = 256 * 1024;
/// The most bytes of a request, without what surrounds its items.
///
/// Source: Lambda developer guide, "Lambda quotas": 6 MB for the payload of a synchronous invocation.
const BYTES: usize = 6 * 1_000 * 1_000 - 100_000;

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Messages of its queue; the response lists the failed ones.
    Queue,
    /// A batch of its stream; the response names the first failed record.
    Stream,
    /// One event that is the whole request.
    Event,
}

/// Something that a function is to process again.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Its name in the function's response; unique within a request.
    id: String,
    json: String,
    /// How many rows or records it has.
    pub(crate) rows: u64,
    pub(crate) places: Vec<ItemPlace>,
}

/// Items for one function.
#[derive(Debug)]
pub(crate) struct RedriveRequest {
    pub(crate) shape: Shape,
    pub(crate) items: Vec<Item>,
    bytes: usize,
}

/// How a reject is sent again.
#[derive(Debug)]
pub(crate) enum Again {
    /// As these items: one, or several if rows of one reject must be sent separately.
    Items(Shape, Vec<Item>),
    /// Not at all: it came back from an earlier run. It is wrong itself, or what it needs is still missing.
    CameBack,
    /// Not at all: it is about an object that could not be read, and has no row.
    Object,
}

impl Again {
    /// How a reject is sent again. One that came back is only sent again on request.
    pub(crate) fn of(mut rejected: Rejected, also_came_back: bool) -> Self {
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
        // The same source occurs twice if Firehose delivered a reject twice; then both are sent again. Elements of a
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
fn message(rejected: &Rejected, id: String, sending: &ResentPayload) -> Item {
    let body = match &rejected.file {
        None => String::from_utf8_lossy(&sending.payload).into_owned(),
        Some(file) => {
            let header = file.header.as_ref().map(|header| format!("{header}\n")).unwrap_or_default();
            let text = [header.as_bytes(), &sending.payload, b"\n"].concat();
            let mut rows = json!({"format": file.format});
            match str::from_utf8(&text) {
                Ok(text) => rows["body"] = json!(text),
                // Ingest stores the bytes of a row that is not UTF-8.
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

/// A user record of a stream as a record. Its sequence number is derived from its place in the request.
fn record(rejected: &Rejected, source: &str, number: usize, sending: &ResentPayload) -> Item {
    let (stream, event_id) = source.split_once('/').unwrap_or(("", source));
    let place = rejected.places.first().map(|ItemPlace { object, item }| match number {
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
        // The source of a reject begins with what follows the last slash.
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

/// The items of what Lambda discarded, from object `object`, as in the original invocation.
pub(crate) fn discarded(event: DiscardedEvent, object: usize) -> (Shape, Vec<Item>) {
    match event {
        DiscardedEvent::Whole(event) => {
            let json = Box::<str>::from(event).into_string();
            let places = vec![ItemPlace { object, item: 0 }];
            (Shape::Event, vec![Item { id: String::new(), json, rows: 1, places }])
        }
        DiscardedEvent::Batch(records) => {
            let item = |(item, record): (usize, Box<RawValue>)| Item {
                id: serde_json::from_str::<Numbered<'_>>(record.get())
                    .map(|record| record.kinesis.sequence_number.into_owned())
                    .unwrap_or_default(),
                json: Box::<str>::from(record).into_string(),
                rows: 1,
                places: vec![ItemPlace { object, item }],
            };
            (Shape::Stream, records.into_iter().enumerate().map(item).collect())
        }
    }
}

/// A function's response to the items.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchAnswer {
    #[serde(default)]
    batch_item_failures: Vec<Failed>,
    /// From ingest, to an invocation.
    #[serde(default)]
    failed: u64,
    /// From ingest, to HTTP.
    #[serde(default)]
    status_code: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    item_identifier: String,
}

impl RedriveRequest {
    pub(crate) fn new(shape: Shape) -> Self {
        Self { shape, items: Vec::new(), bytes: 0 }
    }

    /// Whether one more item would exceed the limits.
    pub(crate) fn is_full_for(&self, item: &Item) -> bool {
        !self.items.is_empty() && (self.items.len() >= ITEMS || self.bytes + item.json.len() + 1 > BYTES)
    }

    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += item.json.len() + 1;
        self.items.push(item);
    }

    /// Whether it can be sent; a single item may be too large.
    pub(crate) fn fits(&self) -> bool {
        self.bytes <= BYTES
    }

    pub(crate) fn json(&self) -> Vec<u8> {
        let items: Vec<&str> = self.items.iter().map(|item| item.json.as_str()).collect();
        match self.shape {
            Shape::Event => items.concat().into_bytes(),
            Shape::Queue | Shape::Stream => format!(r#"{{"Records":[{}]}}"#, items.join(",")).into_bytes(),
        }
    }

    /// Removes the items that the function has finished, according to its response; the remaining ones are to be sent
    /// again.
    pub(crate) fn settle(&mut self, answer: &[u8]) -> Result<Vec<Item>, serde_json::Error> {
        let answer: BatchAnswer = serde_json::from_slice(answer)?;
        let failed =
            |item: &Item| answer.batch_item_failures.iter().any(|failed| failed.item_identifier == item.id);
        let items = std::mem::take(&mut self.items);
        let (done, rest): (Vec<_>, Vec<_>) = match self.shape {
            Shape::Queue => items.into_iter().partition(|item| !failed(item)),
            Shape::Stream => {
                // As in an event source mapping, everything from the named record on is retried; all of it if the name
                // is unknown.
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
    use crate::redrive::reject::RejectedFile;

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
            places: vec![ItemPlace { object: 1, item: 2 }],
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
    fn row_is_sent_to_ingest_with_its_file_context() {
        let file = RejectedFile {
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
    fn rows_of_one_reject_are_sent_together_or_separately() {
        let file =
            || RejectedFile { format: "csv".to_owned(), header: Some("ID".to_owned()), date_order: None };
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
    fn elements_of_one_line_have_distinct_ids() {
        let ids = [0, 1].map(|index| {
            let file = RejectedFile { format: "json".to_owned(), header: None, date_order: None };
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
    fn message_is_sent_unchanged_and_object_is_not_sent() {
        let (.., json) = item(Again::of(rejected("ingest", "bad_message", "m-1", b"{}"), false));
        assert_eq!(json["body"], "{}");
        let object = rejected("ingest", "bad_gzip", "inbox/a.csv.gz", b"");
        assert!(matches!(Again::of(object, false), Again::Object));
    }

    #[test]
    fn record_is_sent_with_a_marked_source() {
        let source = "stream-2/shardId-000000000000:49590338271490256608559692538361571095921575989136588898";
        let (shape, _, json) = item(Again::of(rejected("notify", "not_json", source, b"x"), false));
        assert_eq!(shape, Shape::Stream);
        assert_eq!(json["kinesis"]["data"], "eA==");
        assert_eq!(json["kinesis"]["sequenceNumber"], "1.2");
        assert_eq!(json["kinesis"]["approximateArrivalTimestamp"], 1_795_572_965.25);
        let event = RawValue::from_string(json!({"Records": [json]}).to_string()).unwrap();
        let records = shared::stream::batch::records(event.get()).unwrap();
        assert_eq!(records[0].source(), format!("redrive:{source}"));
    }

    #[test]
    fn returned_reject_is_sent_only_on_request() {
        let came_back = || rejected("metrics", "not_json", "redrive:s2/s:1", b"x");
        assert!(matches!(Again::of(came_back(), false), Again::CameBack));
        let (.., json) = item(Again::of(came_back(), true));
        assert_eq!(json["eventSourceARN"], "redrive:s2");
    }

    fn request(shape: Shape, ids: &[&str]) -> RedriveRequest {
        let mut request = RedriveRequest::new(shape);
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
    fn response_settles_all_items_it_does_not_name() {
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
        let mut request = RedriveRequest::new(Shape::Queue);
        for _ in 0..ITEMS {
            assert!(!request.is_full_for(&item(1)));
            request.push(item(1));
        }
        assert!(request.is_full_for(&item(1)));
        let mut request = RedriveRequest::new(Shape::Queue);
        request.push(item(BYTES - 10));
        assert!(request.is_full_for(&item(10)) && request.fits());
        let mut request = RedriveRequest::new(Shape::Queue);
        assert!(!request.is_full_for(&item(BYTES)));
        request.push(item(BYTES));
        assert!(!request.fits());
        assert_eq!(self::request(Shape::Stream, &["a", "b"]).json(), br#"{"Records":["a","b"]}"#);
    }
}
