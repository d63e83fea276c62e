//! Batches of Kinesis records: the event of a mapping, decoded and split into user records.

use std::borrow::Cow;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    json::{self, Reader},
    stream::kpl,
};

/// The event, borrowed. The types of `aws_lambda_events` are not used here: they copy every record, and refuse a whole
/// event if an arrival time has more than three decimals.
#[derive(Deserialize)]
struct KinesisEvent<'a> {
    #[serde(borrow, rename = "Records")]
    #[cfg_attr(not(test), expect(dead_code, reason = "it is parsed for what is wrong with it"))]
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
    /// Seconds since 1970, with any fraction.
    approximate_arrival_timestamp: Option<f64>,
}

/// A record of the stream: the unit of checkpoints.
#[derive(Debug)]
pub struct Record<'a> {
    /// A decimal number of up to 56 digits, larger than any integer type; kept as text.
    pub sequence_number: Cow<'a, str>,
    /// When the stream received it, if the event says so.
    pub arrived: Option<DateTime<Utc>>,
    /// In base64, as it arrived. It is decoded only when it is read, into a buffer that all records share.
    data: Cow<'a, str>,
    event_id: Cow<'a, str>,
    source_arn: Cow<'a, str>,
}

/// The user records of a record, borrowed from the buffer that it was decoded into, each with its position if the record
/// is an aggregated one.
#[derive(Debug, Clone)]
pub enum UserRecords<'d> {
    /// The record of the stream itself; nothing once it was read.
    Itself(Option<&'d [u8]>),
    /// The user records of an aggregated record.
    Parts(std::iter::Zip<std::ops::RangeFrom<u64>, kpl::AggregatedRecords<'d>>),
}

impl<'d> UserRecords<'d> {
    /// Those from a position on.
    pub fn from(self, first: u64) -> impl Iterator<Item = (Option<u64>, &'d [u8])> {
        self.skip_while(move |(part, _)| part.is_some_and(|part| part < first))
    }
}

impl<'d> Iterator for UserRecords<'d> {
    type Item = (Option<u64>, &'d [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Itself(data) => data.take().map(|data| (None, data)),
            Self::Parts(parts) => parts.next().map(|(part, data)| (Some(part), data)),
        }
    }
}

/// A record that cannot be decoded or split.
#[derive(Debug)]
pub struct Poison {
    /// A short stable code.
    pub reason: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// The event did not come from a Kinesis mapping.
#[derive(Debug, thiserror::Error)]
#[error(
    "the event is not a batch of a Kinesis event source mapping, {{\"Records\":[{{\"kinesis\":{{…}}}}]}}: {0}"
)]
pub struct NotABatch(String);

/// The answer to a mapping that reports batch item failures.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchResponse {
    /// The lowest sequence number to retry, with all records after it; none if all are done.
    pub batch_item_failures: Vec<BatchItemFailure>,
}

/// A record to retry. Its identifier is never null, which would fail the whole batch.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchItemFailure {
    /// A sequence number.
    pub item_identifier: String,
}

/// The records of the event of a Kinesis event source mapping, in order.
///
/// They are read in place, since four fifths of an event are its records' data: long texts, of which only the end is
/// searched.
pub fn records(event: &str) -> Result<Vec<Record<'_>>, NotABatch> {
    read(event).ok_or_else(|| NotABatch::of(event))
}

fn read(event: &str) -> Option<Vec<Record<'_>>> {
    let (mut records, mut reader) = (None, Reader::new(event));
    let mut more = reader.begin_object()?;
    while more {
        let key = reader.key()?;
        match &*reader.unescaped(key)? {
            "Records" => set(&mut records, read_records(&mut reader)?)?,
            _ => _ = reader.value()?,
        }
        more = reader.next_entry()?;
    }
    reader.end()?;
    records
}

fn read_records<'a>(reader: &mut Reader<'a>) -> Option<Vec<Record<'a>>> {
    let mut records = Vec::new();
    let mut more = reader.begin_array()?;
    while more {
        records.push(Record::new(EventRecord::read(reader)?));
        more = reader.next_element()?;
    }
    Some(records)
}

impl<'a> EventRecord<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let (mut kinesis, mut event_id, mut source_arn) = (None, None, None);
        let mut more = reader.begin_object()?;
        while more {
            let key = reader.key()?;
            match &*reader.unescaped(key)? {
                "kinesis" => set(&mut kinesis, KinesisData::read(reader)?)?,
                "eventID" => set(&mut event_id, string(reader)?)?,
                "eventSourceARN" => set(&mut source_arn, string(reader)?)?,
                _ => _ = reader.value()?,
            }
            more = reader.next_entry()?;
        }
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
        let mut more = reader.begin_object()?;
        while more {
            let key = reader.key()?;
            match &*reader.unescaped(key)? {
                "sequenceNumber" => set(&mut sequence_number, string(reader)?)?,
                // JSON does not allow a control character in it, and neither does base64: only its record is refused.
                "data" => {
                    let text = reader.long_string()?;
                    set(&mut data, reader.unescaped(text)?)?;
                }
                "approximateArrivalTimestamp" => {
                    let seconds = reader.value()?;
                    let seconds = match reader.text(seconds) {
                        "null" => None,
                        seconds => Some(seconds.parse().ok()?),
                    };
                    set(&mut arrived, seconds)?;
                }
                _ => _ = reader.value()?,
            }
            more = reader.next_entry()?;
        }
        Some(Self {
            sequence_number: sequence_number?,
            data: data?,
            approximate_arrival_timestamp: arrived.flatten(),
        })
    }
}

fn string<'a>(reader: &mut Reader<'a>) -> Option<Cow<'a, str>> {
    let text = reader.string()?;
    reader.unescaped(text)
}

/// Sets a field; returns nothing if it is already set.
fn set<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

impl NotABatch {
    /// What is wrong with a text that is not a batch, and where.
    fn of(event: &str) -> Self {
        Self(match serde_json::from_str::<KinesisEvent<'_>>(event) {
            Err(error) => json::fault(&error),
            Ok(_) => "it is not written as Lambda writes it".to_owned(),
        })
    }
}

impl<'a> Record<'a> {
    fn new(record: EventRecord<'a>) -> Self {
        let EventRecord { kinesis, event_id, source_arn } = record;
        let arrived = kinesis.approximate_arrival_timestamp.and_then(arrival);
        Self { sequence_number: kinesis.sequence_number, arrived, data: kinesis.data, event_id, source_arn }
    }

    /// Decodes the record's data into `buffer`, overwriting it, and splits the record.
    pub fn user_records<'d>(&self, buffer: &'d mut Vec<u8>) -> Result<UserRecords<'d>, Poison> {
        if !self.decode(buffer) {
            let detail = "the record's data is not base64".to_owned();
            return Err(Poison { reason: "not_base64", detail });
        }
        match kpl::user_records(buffer) {
            Ok(None) => Ok(UserRecords::Itself(Some(buffer))),
            Ok(Some(parts)) => Ok(UserRecords::Parts((0..).zip(parts))),
            Err(damaged) => Err(Poison { reason: "damaged_aggregate", detail: damaged.to_string() }),
        }
    }

    fn decode(&self, buffer: &mut Vec<u8>) -> bool {
        buffer.clear();
        base64_simd::STANDARD.decode_append(self.data.as_bytes(), buffer).is_ok()
    }

    /// The decoded data, or the data as it arrived if it is not base64.
    #[must_use]
    pub fn payload(&self) -> Bytes {
        let mut data = Vec::new();
        if self.decode(&mut data) { data.into() } else { Bytes::copy_from_slice(self.data.as_bytes()) }
    }

    /// Stream, shard and sequence number, for people: `us-accidents-data-stream-1/shardId-000000000000:4959…`.
    #[must_use]
    pub fn source(&self) -> String {
        // With enhanced fan-out the source is a consumer: `…:stream/NAME/consumer/NAME:TIME`.
        let stream = self.source_arn.split('/').nth(1).unwrap_or(&self.source_arn);
        format!("{stream}/{}", self.event_id)
    }
}

/// The instant of seconds since 1970; nothing if it is outside the calendar.
#[expect(clippy::cast_possible_truncation, reason = "a float is truncated to microseconds, saturating")]
fn arrival(seconds: f64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros((seconds * 1e6) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(records: &str) -> String {
        format!(r#"{{"Records":[{records}]}}"#)
    }

    fn only_user_record<'d>(record: &Record<'_>, buffer: &'d mut Vec<u8>) -> &'d [u8] {
        let found: Vec<_> = record.user_records(buffer).unwrap().collect();
        let [(None, data)] = found[..] else { panic!("{found:?}") };
        data
    }

    /// What is read of each record.
    fn fields(record: Record<'_>) -> [String; 5] {
        let arrived = format!("{:?}", record.arrived);
        [record.sequence_number, record.data, record.event_id, record.source_arn, arrived.into()]
            .map(Cow::into_owned)
    }

    fn check(event: &str) {
        let ours = super::records(event).ok().map(|records| records.into_iter().map(fields).collect());
        let theirs: Option<Vec<_>> = serde_json::from_str::<KinesisEvent<'_>>(event)
            .ok()
            .map(|event| event.records.into_iter().map(Record::new).map(fields).collect());
        assert_eq!(ours, theirs, "{event}");
    }

    #[test]
    fn a_record_read_by_a_consumer_names_its_stream() {
        for (stream, consumer) in
            [("s1", ""), ("s1", "/consumer/transform-dev:1764000000"), ("consumer", "/consumer/c:1764000000")]
        {
            let arn = format!("arn:aws:kinesis:eu-west-1:000000000000:stream/{stream}{consumer}");
            let record = format!(
                r#"{{"kinesis":{{"sequenceNumber":"7","data":"e30="}},"eventID":"shardId-0:7","eventSourceARN":"{arn}"}}"#
            );
            let event = event(&record);
            let records = super::records(&event).unwrap();
            assert_eq!(records[0].source(), format!("{stream}/shardId-0:7"));
        }
    }

    proptest! {
        #[test]
        fn an_event_is_read_as_serde_json_reads_it(
            event in r#"\{"Records": ?\[(\{("kinesis": ?\{("sequenceNumber": ?"[0-9]{1,3}",){0,2}("approximateArrivalTimestamp":(1\.5|null|"1"),)?("data":"([a-z=]|\\/|\\u0061){0,6}",?){1,2}\},?){0,2}("event(ID|\\u0049D|Name)":"[a-z\\]{0,3}",?){0,2}("eventSourceARN":"x/s[12]")?\},?){0,3}\](,"more":\[1\])?\}"#
        ) {
            check(&event);
        }
    }

    #[test]
    fn long_sequence_numbers_and_fine_arrival_times_are_read() {
        let sequence = "49590338271490256608559692538361571095921575989136588898";
        let event = event(&format!(
            r#"{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"1","sequenceNumber":"{sequence}",
               "data":"eyJhIjoxfQ==","approximateArrivalTimestamp":1545084650.9874216}},
               "eventID":"shardId-000000000006:{sequence}","eventSourceARN":"arn:aws:kinesis:eu-west-1:1:stream/s1"}}"#
        ));
        let records = super::records(&event).unwrap();
        let record = &records[0];
        assert_eq!(record.sequence_number, sequence);
        let mut data = Vec::new();
        assert_eq!(only_user_record(record, &mut data), b"{\"a\":1}");
        assert_eq!(record.source(), format!("s1/shardId-000000000006:{sequence}"));
        assert_eq!(crate::data::time::stamp(record.arrived.unwrap()), "2018-12-17T22:10:50.987421Z");
    }

    #[test]
    fn data_that_is_not_base64_poisons_only_its_record() {
        let event = event(
            r#"{"kinesis":{"sequenceNumber":"1","data":"***"}},{"kinesis":{"sequenceNumber":"2","data":"e30="}}"#,
        );
        let records = super::records(&event).unwrap();
        let mut data = Vec::new();
        assert_eq!(records[0].user_records(&mut data).unwrap_err().reason, "not_base64");
        assert_eq!(records[0].payload(), "***");
        assert_eq!(only_user_record(&records[1], &mut data), b"{}");
    }

    #[test]
    fn another_event_is_refused_with_a_sentence() {
        let said =
            r#"the event is not a batch of a Kinesis event source mapping, {"Records":[{"kinesis":{…}}]}: "#;
        for (event, why) in [
            (r#"{"source":"aws.events"}"#, "missing field `Records` at line 1 column 23"),
            (r#"{"Records":"secret"}"#, "expected a sequence at line 1 column 19"),
            (r#"{"Records":["secret"]}"#, "expected an object at line 1 column 20"),
            (
                r#"{"Records":[{"kinesis":{"sequenceNumber":"1","data":4242}}]}"#,
                "expected a string at line 1 column 56",
            ),
            (r#"{"Records":[{"kinesis":["1","secret",null]}]}"#, "it is not written as Lambda writes it"),
        ] {
            assert_eq!(super::records(event).unwrap_err().to_string(), format!("{said}{why}"));
        }
    }
}
