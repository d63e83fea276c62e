//! The AWS services of a measured function. Each accepts everything, and its answers have the length of real ones.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::http::{Request, Response};

const JSON: &str = "application/x-amz-json-1.1";
const XML: &str = "text/xml";
/// As long as a sequence number of Kinesis.
const SEQUENCE_NUMBER: &str = "49590338271490256608559692538361571095921575989136588898";

/// What was sent to the services.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent {
    /// Requests by operation.
    pub(crate) requests: BTreeMap<String, u64>,
    /// Entries of all requests: records, or messages.
    pub(crate) entries: u64,
    /// Bytes of the bodies of all requests.
    pub(crate) bytes: u64,
}

/// The services; they count what they receive.
#[derive(Default)]
pub(crate) struct Services {
    sent: Mutex<Sent>,
    /// The object `a.csv` of every bucket.
    object: Response,
}

impl Services {
    /// Services with an object in their buckets.
    pub(crate) fn with_object(object: Vec<u8>) -> Self {
        Self { object: Response::of("text/csv", object), ..Self::default() }
    }

    /// What was sent since the last call.
    pub(crate) fn take(&self) -> Sent {
        std::mem::take(&mut self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a request.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        let (operation, entries, response) = self.response(request);
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        *sent.requests.entry(operation.to_owned()).or_default() += 1;
        sent.entries += entries as u64;
        sent.bytes += request.body.len() as u64;
        response
    }

    fn response<'a>(&self, request: &'a Request) -> (&'a str, usize, Response) {
        let body = request.body.as_slice();
        match request.target.as_str() {
            "PutRecords" => {
                let count = occurrences(body, b"\"PartitionKey\"");
                ("PutRecords", count, put_records(count))
            }
            // Kinesis and Firehose have the same operation.
            "PutRecord" => {
                let answer = format!(
                    "{{\"ShardId\":\"shardId-000000000000\",\"SequenceNumber\":\"{SEQUENCE_NUMBER}\",\
                     \"RecordId\":\"1\"}}"
                );
                ("PutRecord", 1, Response::of(JSON, answer))
            }
            "PutRecordBatch" => {
                let count = occurrences(body, b"\"Data\"");
                ("PutRecordBatch", count, put_record_batch(count))
            }
            "GetTable" => {
                let answer = r#"{"Table":{"Name":"t","StorageDescriptor":{"Location":"s3://b/t/"}}}"#;
                ("GetTable", 0, Response::of(JSON, answer))
            }
            "BatchCreatePartition" => ("BatchCreatePartition", 0, Response::of(JSON, r#"{"Errors":[]}"#)),
            "PutMetricData" => ("PutMetricData", 1, Response::of(JSON, "{}")),
            "" => self.without_target(request),
            other => (other, 0, Response { status: 400, ..Response::of(JSON, "{}") }),
        }
    }

    fn without_target<'a>(&self, request: &'a Request) -> (&'a str, usize, Response) {
        let body = request.body.as_slice();
        if request.path.ends_with("/operation/PutMetricData") {
            let mut response = Response::of("application/cbor", [0xbf, 0xff]);
            response.headers.push_str("smithy-protocol: rpc-v2-cbor\r\n");
            return ("PutMetricData", 1, response);
        }
        match request.method.as_str() {
            "GET" if request.path.split('?').next().is_some_and(|path| path.ends_with("/a.csv")) => {
                let headers =
                    format!("{}ETag: \"9d54daeaa0f0c51af33005e1743eea48\"\r\n", self.object.headers);
                ("GetObject", 1, Response { headers, body: self.object.body.clone(), ..Response::default() })
            }
            "GET" => {
                let missing = "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>";
                ("GetObject", 0, Response { status: 404, ..Response::of(XML, missing) })
            }
            "PUT" => ("PutObject", 1, Response::default()),
            _ if body.starts_with(b"Action=PublishBatch") => {
                let count = occurrences(body, b".Message=");
                ("PublishBatch", count, publish_batch(body))
            }
            _ if occurrences(body, b"Action=Publish") == 1 => {
                let answer = "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>";
                ("Publish", 1, Response::of(XML, answer))
            }
            _ => ("PutMetricData", 1, Response::of(XML, "<PutMetricDataResponse/>")),
        }
    }
}

fn put_records(count: usize) -> Response {
    let record = format!("{{\"SequenceNumber\":\"{SEQUENCE_NUMBER}\",\"ShardId\":\"shardId-000000000000\"}}");
    let records = vec![record; count].join(",");
    Response::of(JSON, format!("{{\"FailedRecordCount\":0,\"Records\":[{records}]}}"))
}

fn put_record_batch(count: usize) -> Response {
    // Firehose answers with ids of more than two hundred characters.
    let record = format!("{{\"RecordId\":\"{}\"}}", "x".repeat(216));
    let records = vec![record; count].join(",");
    Response::of(JSON, format!("{{\"FailedPutCount\":0,\"RequestResponses\":[{records}]}}"))
}

fn publish_batch(body: &[u8]) -> Response {
    let body = String::from_utf8_lossy(body);
    let mut answer = String::from("<PublishBatchResponse><PublishBatchResult><Successful>");
    for pair in body.split('&') {
        let Some((name, id)) = pair.split_once('=') else { continue };
        if name.ends_with(".Id") {
            let member = format!(
                "<member><Id>{id}</Id><MessageId>567910cd-659e-55d4-8ccb-5aaf14679dc0</MessageId></member>"
            );
            answer.push_str(&member);
        }
    }
    answer.push_str("</Successful><Failed/></PublishBatchResult></PublishBatchResponse>");
    Response::of(XML, answer)
}

fn occurrences(body: &[u8], of: &[u8]) -> usize {
    memchr::memmem::find_iter(body, of).count()
}
