//! Invocation records of the failures bucket: what Lambda writes when it discards a batch or an event.
//!
//! Source: Lambda developer guide, "Retain discarded batch records for a Kinesis Data Streams event source" and
//! "Retaining records of asynchronous invocations".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The record of an invocation that was discarded.
#[derive(Debug)]
pub(crate) struct DiscardedInvocation {
    pub(crate) function: String,
    /// Why, in Lambda's words: `RetryAttemptsExhausted`, `EventAgeExceeded`, ….
    pub(crate) condition: String,
    /// What the function did not process.
    pub(crate) event: DiscardedEvent,
}

/// The input of the function.
#[derive(Debug)]
pub(crate) enum DiscardedEvent {
    /// A batch of a Kinesis event source mapping: its records, in order, each as in the original event.
    Batch(Vec<Box<RawValue>>),
    /// The event of an asynchronous invocation.
    Whole(Box<RawValue>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailureRecord {
    request_context: FailureContext,
    /// For a stream's batch.
    payload: Option<Box<RawValue>>,
    /// For an asynchronous invocation.
    request_payload: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailureContext {
    function_arn: String,
    #[serde(default)]
    condition: String,
}

#[derive(Deserialize)]
struct FailedBatch {
    #[serde(rename = "Records")]
    records: Vec<Box<RawValue>>,
}

/// Reads the object of one record; the error says what is wrong with it.
pub(crate) fn read(object: &[u8]) -> Result<DiscardedInvocation, String> {
    let record: FailureRecord = serde_json::from_slice(object)
        .map_err(|error| format!("expected an invocation record of Lambda: {}", place(&error)))?;
    let FailureContext { function_arn, condition } = record.request_context;
    let function = function(&function_arn)
        .ok_or_else(|| "its `functionArn` is not that of a function".to_owned())?
        .to_owned();
    let event = match (record.payload, record.request_payload) {
        (Some(payload), None) => {
            let payload = unquoted(&payload)?;
            let batch: FailedBatch = serde_json::from_str(&payload)
                .map_err(|error| format!("expected a batch of a stream as its payload: {}", place(&error)))?;
            DiscardedEvent::Batch(batch.records)
        }
        (None, Some(event)) => DiscardedEvent::Whole(event),
        _ => {
            return Err(
                "it has no payload: Lambda sends the payload only to S3, not to SQS or SNS".to_owned()
            );
        }
    };
    Ok(DiscardedInvocation { function, condition, event })
}

/// The payload's JSON, which is in the record as JSON or as a text.
fn unquoted(payload: &RawValue) -> Result<Cow<'_, str>, String> {
    if !payload.get().starts_with('"') {
        return Ok(Cow::Borrowed(payload.get()));
    }
    serde_json::from_str(payload.get())
        .map(Cow::Owned)
        .map_err(|error| format!("its payload cannot be read: {}", place(&error)))
}

/// The parser's own message may quote a value; the position is enough to find it.
fn place(error: &serde_json::Error) -> String {
    format!("it cannot be read at line {} column {}", error.line(), error.column())
}

/// The name in `arn:aws:lambda:<region>:<account>:function:<name>[:<qualifier>]`.
fn function(arn: &str) -> Option<&str> {
    let mut parts = arn.split(':').skip(5);
    (parts.next()? == "function").then(|| parts.next()).flatten().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ARN: &str = "arn:aws:lambda:eu-west-1:000000000000:function:us-accidents-transform-dev:$LATEST";

    fn read_value(record: &serde_json::Value) -> Result<DiscardedInvocation, String> {
        read(record.to_string().as_bytes())
    }

    #[test]
    fn batch_is_read_from_a_payload_in_json_or_text() {
        let payload = json!({"Records": [{"eventID": "s:1"}, {"eventID": "s:2"}]});
        for payload in [payload.clone(), json!(payload.to_string())] {
            let context =
                json!({"requestId": "r", "functionArn": ARN, "condition": "RetryAttemptsExhausted"});
            let discarded =
                read_value(&json!({"requestContext": context, "version": "1.0", "payload": payload}))
                    .unwrap();
            assert_eq!(discarded.function, "us-accidents-transform-dev");
            assert_eq!(discarded.condition, "RetryAttemptsExhausted");
            let DiscardedEvent::Batch(records) = discarded.event else { panic!() };
            let records: Vec<_> = records.iter().map(|record| record.get()).collect();
            assert_eq!(records, [r#"{"eventID":"s:1"}"#, r#"{"eventID":"s:2"}"#]);
        }
    }

    #[test]
    fn an_asynchronous_event_is_read() {
        let record =
            json!({"requestContext": {"functionArn": ARN}, "requestPayload": {"records": [{"ID": 1}]}});
        let DiscardedEvent::Whole(event) = read_value(&record).unwrap().event else { panic!() };
        assert_eq!(event.get(), r#"{"records":[{"ID":1}]}"#);
    }

    #[test]
    fn errors_do_not_quote_the_object() {
        let arn = json!({"functionArn": ARN});
        for (record, expected) in [
            (json!({"secret": 1}), "expected an invocation record of Lambda"),
            (json!({"requestContext": arn}), "has no payload"),
            (json!({"requestContext": {"functionArn": "secret"}, "payload": {}}), "`functionArn`"),
            (json!({"requestContext": arn, "payload": "secret"}), "expected a batch of a stream"),
            (json!({"requestContext": arn, "payload": 5}), "expected a batch of a stream"),
        ] {
            let error = read_value(&record).unwrap_err();
            assert!(error.contains(expected) && !error.contains("secret"), "{error}");
        }
    }
}
