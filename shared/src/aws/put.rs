//! Writes many records in one request, as Kinesis and Firehose do: their requests and responses differ only in names.
//!
//! The services' own crates copy each record several times on its way to the connection. Here it is encoded once, into
//! the body that is signed and sent. Ingest takes a quarter less time by this, and transform a sixth.

use aws_config::SdkConfig;
use serde::{Deserialize, de::IgnoredAny};

use super::{
    EntryResult, Operation,
    caller::{Call, Caller},
    endpoint::ServiceName,
};
use crate::{delivery::Answer, json::write_string};

/// The names of an operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Names {
    /// The service.
    pub(super) service: ServiceName,
    /// As a request names it in its header `X-Amz-Target`: `Kinesis_20131202.PutRecords`.
    pub(super) target: &'static str,
    /// The IAM action, `kinesis:PutRecords`.
    pub(super) action: &'static str,
    /// The field that names where the records go, `StreamName`.
    pub(super) destination: &'static str,
}

/// An operation that writes records to one stream or delivery stream.
#[derive(Debug)]
pub(super) struct Put {
    caller: Caller<Response>,
    names: Names,
    /// The body up to the first record.
    head: Vec<u8>,
    /// The stream, as errors name it.
    resource: String,
}

/// The body of a request.
pub(super) struct Body {
    json: Vec<u8>,
    records: usize,
}

/// The response to a request.
#[derive(Debug, Deserialize)]
struct Response {
    /// The results, in the order of the records.
    #[serde(rename = "Records", alias = "RequestResponses", default)]
    results: Vec<RecordResult>,
}

/// The result of a record. An accepted one has a sequence number in Kinesis, and an id in Firehose.
#[derive(Debug, Deserialize)]
struct RecordResult {
    #[serde(rename = "ErrorCode")]
    code: Option<String>,
    #[serde(rename = "SequenceNumber", alias = "RecordId")]
    id: Option<IgnoredAny>,
}

impl Put {
    /// The operation on the stream of that name, which errors call `resource`.
    pub(super) fn new(config: &SdkConfig, names: Names, name: &str, resource: String) -> Self {
        let operation = names.target.rsplit('.').next().unwrap_or_default();
        let caller =
            Caller::new(config, names.service, operation, |_, body| Ok(serde_json::from_slice(body)?));
        let mut head = b"{".to_vec();
        member(names.destination, name, &mut head);
        head.extend_from_slice(br#","Records":["#);
        Self { caller, names, head, resource }
    }

    /// A body without records.
    pub(super) fn body(&self) -> Body {
        Body { json: self.head.clone(), records: 0 }
    }

    /// Sends a body, and returns the refused records by their positions.
    pub(super) async fn send(&self, Body { mut json, records }: Body) -> Answer {
        json.extend_from_slice(b"]}");
        let operation = Operation { action: self.names.action, resource: &self.resource };
        match self.caller.call(Call::json(self.names.target, json)).await {
            Ok(response) => Ok(operation.refusals(response.of_records(records))),
            Err(error) => Err(operation.failure(&error)),
        }
    }
}

impl Body {
    /// Adds a record with data and members of its own, which are names without special characters and texts.
    pub(super) fn record<'a>(
        &mut self,
        data: &[u8],
        members: impl IntoIterator<Item = (&'static str, &'a str)>,
    ) {
        if self.records > 0 {
            self.json.push(b',');
        }
        self.records += 1;
        self.json.extend_from_slice(br#"{"Data":""#);
        base64_simd::STANDARD.encode_append(data, &mut self.json);
        self.json.push(b'"');
        for (name, value) in members {
            self.json.push(b',');
            member(name, value, &mut self.json);
        }
        self.json.push(b'}');
    }
}

impl Response {
    /// The results of a request with so many records.
    fn of_records(&self, records: usize) -> impl Iterator<Item = EntryResult<'_>> {
        (0..records).map(|index| match self.results.get(index) {
            Some(RecordResult { code: Some(code), .. }) => EntryResult::Refused { code, at_fault: false },
            Some(RecordResult { id: Some(_), .. }) => EntryResult::Taken,
            _ => EntryResult::Missing,
        })
    }
}

/// Writes a name and its text: `"StreamName":"s1"`.
fn member(name: &str, text: &str, out: &mut Vec<u8>) {
    write_string(name, out);
    out.push(b':');
    write_string(text, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_follow_the_records() {
        let refused = EntryResult::Refused { code: "InternalFailure", at_fault: false };
        let (taken, missing) = (EntryResult::Taken, EntryResult::Missing);
        let cases = [
            (
                r#"{"FailedRecordCount": 1, "Records": [{"SequenceNumber": "1", "ShardId": "s"},
                    {"ErrorCode": "InternalFailure", "ErrorMessage": "m"}, {}, {"SequenceNumber": "2"}]}"#,
                [taken, refused, missing, taken, missing],
            ),
            (
                r#"{"FailedPutCount": 1, "Encrypted": true, "RequestResponses":
                    [{"ErrorCode": "InternalFailure"}, {"RecordId": "r", "ErrorCode": null}, {"RecordId": null}]}"#,
                [refused, taken, missing, missing, missing],
            ),
            ("{}", [missing; 5]),
        ];
        for (response, expected) in cases {
            let response: Response = serde_json::from_str(response).unwrap();
            for sent in 0..=5 {
                assert_eq!(response.of_records(sent).collect::<Vec<_>>(), expected[..sent]);
            }
        }
    }
}
