//! The ways of asking, told apart by shape.

use std::borrow::Cow;

use aws_lambda_events::{apigw::ApiGatewayV2httpRequest, s3::S3Event, sqs::SqsEvent};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use shared::{json, time::DateOrder};

use crate::rows::Format;

/// What is asked of ingest.
#[derive(Debug)]
pub enum Request<'a> {
    /// By invocation.
    Direct(Direct<'a>),
    /// By Function URL or API Gateway.
    Http(Box<ApiGatewayV2httpRequest>),
    /// By SQS: messages that each hold a direct request.
    Queue(SqsEvent),
    /// By S3: objects that were created.
    Objects(S3Event),
}

/// Rows in a request.
#[derive(Debug)]
pub struct Direct<'a> {
    /// How the body holds its rows.
    pub format: Format,
    /// The rows.
    pub body: Cow<'a, str>,
    /// The declared order of ambiguous dates.
    pub date_order: Option<DateOrder>,
    /// Whether the caller does not wait for the answer, so that a failure must be an error.
    pub asynchronous: bool,
}

/// What was asked is not understood.
#[derive(Debug, thiserror::Error)]
#[error("the request is not understood: {0}")]
pub struct NotUnderstood(String);

/// What tells the ways apart.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow, rename = "Records")]
    records: Option<Vec<Source<'a>>>,
    #[serde(rename = "requestContext")]
    request_context: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, rename = "eventSource", default)]
    event_source: Cow<'a, str>,
}

#[derive(Deserialize)]
struct DirectShape<'a> {
    #[serde(borrow)]
    format: Option<Cow<'a, str>>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    #[serde(borrow)]
    records: Option<&'a RawValue>,
    #[serde(borrow)]
    date_order: Option<Cow<'a, str>>,
    #[serde(default)]
    asynchronous: bool,
}

impl<'a> Request<'a> {
    /// Tells what is asked by the shape of the event.
    pub fn tell(text: &'a str) -> Result<Self, NotUnderstood> {
        let shape: Shape<'_> = parse(text, "the event")?;
        if shape.request_context.is_some() {
            return Ok(Self::Http(parse(text, "the HTTP request")?));
        }
        match shape.records.as_deref() {
            None => Ok(Self::Direct(Direct::read(text)?)),
            Some([Source { event_source }, ..]) if event_source == "aws:sqs" => {
                Ok(Self::Queue(parse(text, "the SQS event")?))
            }
            Some([Source { event_source }, ..]) if event_source == "aws:s3" => {
                Ok(Self::Objects(parse(text, "the S3 event")?))
            }
            Some([Source { event_source }, ..]) => Err(NotUnderstood(format!(
                "its records come from `{event_source}`: aws:sqs or aws:s3 is right"
            ))),
            Some([]) => Err(NotUnderstood("its `Records` are empty".to_owned())),
        }
    }
}

impl<'a> Direct<'a> {
    /// Reads the direct form, of an event or of a queue's message.
    pub fn read(text: &'a str) -> Result<Self, NotUnderstood> {
        let shape: DirectShape<'a> = parse(text, "the direct form")?;
        let date_order = shape.date_order.map(|order| order.parse()).transpose().map_err(NotUnderstood)?;
        let (format, body) = match (shape.format, shape.body, shape.records) {
            (Some(format), Some(body), None) => (format.parse().map_err(NotUnderstood)?, body),
            (None, None, Some(records)) if records.get().starts_with('[') => {
                (Format::Json, Cow::Borrowed(records.get()))
            }
            _ => {
                return Err(NotUnderstood(
                    r#"{"format":"csv"|"ndjson"|"json","body":"…"} or {"records":[{…}]} is right"#.to_owned(),
                ));
            }
        };
        Ok(Self { format, body, date_order, asynchronous: shape.asynchronous })
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, NotUnderstood> {
    serde_json::from_str(text)
        .map_err(|error| NotUnderstood(format!("{what} cannot be read: {}", json::fault(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tell(text: &str) -> Result<String, String> {
        Request::tell(text).map(|request| format!("{request:?}")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_ways_of_asking_are_told_apart_by_shape() {
        let cases = [
            (r#"{"format":"csv","body":"ID\nA"}"#, "Direct(Direct { format: Csv, body: \"ID\\nA\""),
            (
                r#"{"records":[{"ID":"A"}],"date_order":"dmy"}"#,
                "Direct(Direct { format: Json, body: \"[{\\\"ID\\\":\\\"A\\\"}]\", date_order: Some(Dmy)",
            ),
            (r#"{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"{}"}]}"#, "Queue("),
            (include_str!("../../../events/ingest-s3.json"), "Objects("),
            (r#"{"requestContext":{"http":{"method":"POST"}},"isBase64Encoded":false}"#, "Http("),
        ];
        for (text, expected) in cases {
            let told = tell(text).unwrap();
            assert!(told.starts_with(expected), "{told}\nshould begin: {expected}");
        }
    }

    #[test]
    fn what_is_not_understood_is_answered_with_what_would_be_right() {
        let cases = [
            ("{}", r#"{"format":"csv"|"ndjson"|"json","body":"…"} or {"records":[{…}]} is right"#),
            (r#"{"records":{}}"#, "is right"),
            (r#"{"format":"xml","body":""}"#, "format `xml` is unknown: csv, ndjson or json is right"),
            (
                r#"{"format":"csv","body":"","date_order":"ymd"}"#,
                "date order `ymd` is unknown: mdy or dmy is right",
            ),
            (
                r#"{"Records":[{"eventSource":"aws:kinesis"}]}"#,
                "its records come from `aws:kinesis`: aws:sqs or aws:s3 is right",
            ),
            (r#"{"Records":[]}"#, "empty"),
            ("7", "the event cannot be read: expected an object at line 1 column 1"),
            (
                r#"{"format":"csv","body":["secret"]}"#,
                "the direct form cannot be read: expected a string at line 1 column 23",
            ),
            (r#"{"records":[],"asynchronous":"secret"}"#, "expected a boolean at line 1 column 37"),
        ];
        for (text, expected) in cases {
            let error = tell(text).unwrap_err();
            assert!(
                error.starts_with("the request is not understood: ") && error.contains(expected),
                "{text}: {error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
