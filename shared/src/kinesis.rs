//! Kinesis records in: the event of a mapping, decoded and taken apart into user records.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    json, kpl,
    reader::{Reader, Span},
};

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

impl<'a> KinesisEvent<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut records = None;
        Reader::read(text, |reader| {
            reader.object(|reader, key| match field(reader, key)? {
                "Records" => {
                    let mut list = Vec::new();
                    reader.array(|reader| {
                        list.push(EventRecord::read(reader)?);
                        Some(())
                    })?;
                    set(&mut records, list)
                }
                _ => reader.value().map(|_| ()),
            })
        })?;
        Some(Self { records: records? })
    }
}

impl<'a> EventRecord<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let (mut kinesis, mut event_id, mut source_arn) = (None, None, None);
        reader.object(|reader, key| match field(reader, key)? {
            "kinesis" => set(&mut kinesis, KinesisData::read(reader)?),
            "eventID" => set(&mut event_id, string(reader)?),
            "eventSourceARN" => set(&mut source_arn, string(reader)?),
            _ => reader.value().map(|_| ()),
        })?;
        Some(Self {
            kinesis: kinesis?,
            event_id: event_id.unwrap_or_default(),
            source_arn: source_arn.unwrap_or_default(),
        })
    }
}

impl<'a> KinesisData<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let (mut sequence_number, mut data, mut arrived) = (None, None, None);
        reader.object(|reader, key| match field(reader, key)? {
            "sequenceNumber" => set(&mut sequence_number, string(reader)?),
            "data" => set(&mut data, string(reader)?),
            "approximateArrivalTimestamp" => {
                let seconds = reader.value()?;
                set(&mut arrived, reader.text(seconds).parse().ok()?)
            }
            _ => reader.value().map(|_| ()),
        })?;
        Some(Self { sequence_number: sequence_number?, data: data?, approximate_arrival_timestamp: arrived })
    }
}

/// The name of a field; nothing where escapes have been met, which Lambda has no reason to write.
fn field<'a>(reader: &Reader<'a>, key: Span) -> Option<&'a str> {
    (!reader.has_met_escapes()).then(|| reader.text(key))
}

fn string<'a>(reader: &mut Reader<'a>) -> Option<Cow<'a, str>> {
    let text = reader.string()?;
    Some(Cow::Borrowed(reader.text(text)))
}

/// Sets a field; nothing where it stands twice.
fn set<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

impl<'a> Batch<'a> {
    /// Decodes the event of a Kinesis event source mapping.
    ///
    /// By what stands in place: four fifths of an event are its records' data, long texts in which only their end is to
    /// be found. With their base64 this takes three quarters of the time that it took by `sonic-rs`.
    pub fn decode(event: &'a str) -> Result<Self, NotABatch> {
        let event = match KinesisEvent::read(event) {
            Some(event) => event,
            // What is not written as Lambda writes it is left to the other parser, which also says what is wrong.
            None => serde_json::from_str(event)?,
        };
        let data = decode_all(&event.records);
        Ok(Self { records: event.records.into_iter().zip(data).map(Record::decode).collect() })
    }
}

impl<'a> Record<'a> {
    fn decode((record, data): (EventRecord<'a>, Option<Bytes>)) -> Self {
        let kinesis = record.kinesis;
        let data = data.ok_or_else(|| Poison {
            reason: "not_base64",
            detail: "the record's data is not base64".to_owned(),
            payload: Bytes::copy_from_slice(kinesis.data.as_bytes()),
        });
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

/// The data of the records, nothing where it is not base64.
///
/// All of it stands in one buffer, so that a batch of thousands allocates once: a tenth of the time of transform.
fn decode_all(records: &[EventRecord<'_>]) -> Vec<Option<Bytes>> {
    let mut buffer = Vec::with_capacity(records.iter().map(|record| record.kinesis.data.len() / 4 * 3).sum());
    let ranges: Vec<Option<Range<usize>>> = records
        .iter()
        .map(|record| {
            let begin = buffer.len();
            let decoded = base64_simd::STANDARD.decode_append(record.kinesis.data.as_bytes(), &mut buffer);
            if decoded.is_err() {
                buffer.truncate(begin);
            }
            decoded.ok().map(|()| begin..buffer.len())
        })
        .collect();
    let buffer = Bytes::from(buffer);
    ranges.into_iter().map(|range| range.map(|range| buffer.slice(range))).collect()
}

/// Seconds since 1970; nothing where they are outside the calendar.
#[expect(clippy::cast_possible_truncation, reason = "a float is truncated to microseconds, saturating")]
fn arrival(seconds: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros((seconds * 1e6) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(records: &str) -> String {
        format!(r#"{{"Records":[{records}]}}"#)
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
            assert_eq!(Batch::decode(event).unwrap_err().to_string(), format!("{said}{why}"));
        }
    }
}
