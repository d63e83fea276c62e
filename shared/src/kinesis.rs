//! Kinesis records in: the event of a mapping, decoded and taken apart into user records.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{json, kpl};

/// The event, borrowed. The types of `aws_lambda_events` are not used here: they refuse a whole event over an
/// arrival time with more than three decimals, and copy every record.
#[derive(Deserialize)]
struct KinesisEvent<'a> {
    #[serde(borrow, rename = "Records")]
    records: Vec<EventRecord<'a>>,
}

#[derive(Deserialize)]
struct EventRecord<'a> {
    #[serde(borrow)]
    kinesis: KinesisData<'a>,
    #[serde(borrow, rename = "eventID", default)]
    event_id: Cow<'a, str>,
    #[serde(borrow, rename = "eventSourceARN", default)]
    source_arn: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KinesisData<'a> {
    #[serde(borrow)]
    sequence_number: Cow<'a, str>,
    #[serde(borrow)]
    data: Cow<'a, str>,
    /// Seconds since 1970, with whatever fraction.
    approximate_arrival_timestamp: Option<f64>,
}

/// A batch of one shard.
#[derive(Debug)]
pub struct Batch<'a> {
    /// The records of the mapping's event, in order.
    pub records: Vec<Record<'a>>,
}

/// A record of the stream: the unit of checkpoints.
#[derive(Debug)]
pub struct Record<'a> {
    /// A decimal number of up to 56 digits, larger than any integer type; kept as text.
    pub sequence_number: Cow<'a, str>,
    /// When the stream took it, if the event says so.
    pub arrived: Option<DateTime<Utc>>,
    /// The user records in it; one where it is not aggregated.
    pub content: Result<Vec<Bytes>, Poison>,
    event_id: Cow<'a, str>,
    source_arn: Cow<'a, str>,
}

/// A record that cannot be taken apart.
#[derive(Debug)]
pub struct Poison {
    /// A short stable code.
    pub reason: &'static str,
    /// What is wrong.
    pub detail: String,
    /// The record as it came.
    pub payload: Bytes,
}

/// The event did not come from a Kinesis mapping.
#[derive(Debug, thiserror::Error)]
#[error("the event is no batch of a Kinesis event source mapping, {{\"Records\":[{{\"kinesis\":{{…}}}}]}}: {}", json::fault(.0))]
pub struct NotABatch(#[from] serde_json::Error);

/// The answer to a mapping that reports batch item failures.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// The lowest sequence number that is to come again, with everything behind it; none where all is done.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A record that is to come again. Its identifier is never null, which would fail the whole batch.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// A sequence number.
    pub item_identifier: String,
}

impl<'a> Batch<'a> {
    /// Decodes the event of a Kinesis event source mapping.
    pub fn decode(event: &'a RawValue) -> Result<Self, NotABatch> {
        let event: KinesisEvent<'a> = serde_json::from_str(event.get())?;
        Ok(Self { records: event.records.into_iter().map(Record::decode).collect() })
    }
}

impl<'a> Record<'a> {
    fn decode(record: EventRecord<'a>) -> Self {
        let kinesis = record.kinesis;
        let data = match base64_simd::STANDARD.decode_to_vec(kinesis.data.as_bytes()) {
            Ok(data) => Ok(Bytes::from(data)),
            Err(_) => Err(Poison {
                reason: "not_base64",
                detail: "the record's data is not base64".to_owned(),
                payload: Bytes::copy_from_slice(kinesis.data.as_bytes()),
            }),
        };
        let content = data.and_then(|data| {
            kpl::deaggregate(data.clone()).map_err(|damaged| Poison {
                reason: "damaged_aggregate",
                detail: damaged.to_string(),
                payload: data,
            })
        });
        Self {
            sequence_number: kinesis.sequence_number,
            arrived: kinesis.approximate_arrival_timestamp.and_then(arrival),
            content,
            event_id: record.event_id,
            source_arn: record.source_arn,
        }
    }

    /// Stream, shard and sequence number, for people: `us-accidents-data-stream-1/shardId-000000000000:4959…`.
    #[must_use]
    pub fn source(&self) -> String {
        let stream = self.source_arn.rsplit('/').next().unwrap_or_default();
        format!("{stream}/{}", self.event_id)
    }
}

/// Seconds since 1970; nothing where they are outside the calendar.
#[expect(clippy::cast_possible_truncation, reason = "a float is truncated to microseconds, saturating")]
fn arrival(seconds: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros((seconds * 1e6) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(records: &str) -> Box<RawValue> {
        RawValue::from_string(format!(r#"{{"Records":[{records}]}}"#)).unwrap()
    }

    #[test]
    fn a_batch_is_decoded_with_its_long_sequence_numbers_and_fine_arrival_times() {
        let sequence = "49590338271490256608559692538361571095921575989136588898";
        let event = event(&format!(
            r#"{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"1","sequenceNumber":"{sequence}",
               "data":"eyJhIjoxfQ==","approximateArrivalTimestamp":1545084650.9874216}},
               "eventID":"shardId-000000000006:{sequence}","eventSourceARN":"arn:aws:kinesis:eu-west-1:1:stream/s1"}}"#
        ));
        let batch = Batch::decode(&event).unwrap();
        let record = &batch.records[0];
        assert_eq!(record.sequence_number, sequence);
        assert_eq!(record.content.as_ref().unwrap(), &[Bytes::from("{\"a\":1}")]);
        assert_eq!(record.source(), format!("s1/shardId-000000000006:{sequence}"));
        assert_eq!(crate::time::stamp(record.arrived.unwrap()), "2018-12-17T22:10:50.987421Z");
    }

    #[test]
    fn data_that_is_not_base64_is_poison_of_that_record_alone() {
        let event = event(
            r#"{"kinesis":{"sequenceNumber":"1","data":"***"}},{"kinesis":{"sequenceNumber":"2","data":"e30="}}"#,
        );
        let batch = Batch::decode(&event).unwrap();
        assert_eq!(batch.records[0].content.as_ref().unwrap_err().reason, "not_base64");
        assert!(batch.records[1].content.is_ok());
    }

    #[test]
    fn another_event_is_refused_with_a_sentence() {
        let said =
            r#"the event is no batch of a Kinesis event source mapping, {"Records":[{"kinesis":{…}}]}: "#;
        for (event, why) in [
            (r#"{"source":"aws.events"}"#, "missing field `Records` at line 1 column 23"),
            (r#"{"Records":"secret"}"#, "expected a sequence at line 1 column 19"),
            (r#"{"Records":["secret"]}"#, "expected an object at line 1 column 20"),
            (
                r#"{"Records":[{"kinesis":{"sequenceNumber":"1","data":4242}}]}"#,
                "expected a string at line 1 column 56",
            ),
        ] {
            let event = RawValue::from_string(event.to_owned()).unwrap();
            assert_eq!(Batch::decode(&event).unwrap_err().to_string(), format!("{said}{why}"));
        }
    }
}
