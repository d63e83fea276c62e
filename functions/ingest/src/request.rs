//! Recognises the kind of request by the shape of the event.

use std::{borrow::Cow, collections::BTreeMap};

use aws_lambda_events::{s3::S3Event, sqs::SqsEvent};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;
use shared::{
    data::{excerpt::excerpt, time::DateOrder},
    json::{self, masked},
};

use crate::{
    charset::Charset,
    front::{FrontContext, FrontEnd, HttpRequest},
    rows::Format,
};

/// A request to ingest.
#[derive(Debug)]
pub enum Request<'a> {
    /// A direct invocation.
    Direct(Direct<'a>),
    /// A Function URL, API Gateway or a load balancer.
    Http(Box<HttpRequest>),
    /// SQS: messages that each contain a direct request.
    Queue(SqsEvent),
    /// S3: objects that were created.
    Objects(S3Event),
}

/// What the sender of rows says about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Declared {
    /// The format.
    pub format: Format,
    /// The charset of bytes; text is decoded already.
    pub charset: Charset,
    /// The order of ambiguous dates, if it is not that of the data set.
    pub date_order: Option<DateOrder>,
}

/// Rows in a request.
#[derive(Debug)]
pub struct Direct<'a> {
    /// What the sender says about them.
    pub declared: Declared,
    /// The rows.
    pub body: Body<'a>,
    /// Whether the caller does not wait for the response, so that a failure must be an error.
    pub asynchronous: bool,
}

/// The body of a request.
#[derive(Debug)]
pub enum Body<'a> {
    /// Text that is already decoded.
    Text(Cow<'a, str>),
    /// Bytes in UTF-8 or another charset.
    Bytes(Vec<u8>),
}

impl Body<'_> {
    fn of_base64(base64: &str) -> Result<Self, NotUnderstood> {
        let bytes = base64_simd::STANDARD.decode_to_vec(base64);
        let bytes = bytes.map_err(|_| NotUnderstood("its `body_base64` is not base64".to_owned()))?;
        Ok(Self::Bytes(bytes))
    }

    /// The body's bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// Why a request is not understood.
#[derive(Debug, thiserror::Error)]
#[error("the request is not understood: {0}")]
pub struct NotUnderstood(String);

/// The name of a direct request in errors.
const DIRECT_FORM: &str = "the direct form";

/// The members that identify the kind of request.
#[derive(Deserialize)]
struct Shape<'a> {
    #[serde(borrow, rename = "Records")]
    records: Option<Vec<RecordSource<'a>>>,
    #[serde(rename = "requestContext")]
    request_context: Option<FrontContext>,
    #[serde(rename = "httpMethod")]
    http_method: Option<IgnoredAny>,
    #[serde(rename = "multiValueHeaders")]
    multi_value_headers: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RecordSource<'a> {
    #[serde(borrow, rename = "eventSource", default)]
    event_source: Cow<'a, str>,
}

/// The members of the direct form.
#[derive(Deserialize)]
#[expect(clippy::zero_sized_map_values, reason = "serde gathers unknown members only in a map")]
struct DirectShape<'a> {
    format: Option<String>,
    body: Option<String>,
    body_base64: Option<String>,
    charset: Option<String>,
    #[serde(borrow)]
    records: Option<&'a RawValue>,
    #[serde(alias = "date-order")]
    date_order: Option<String>,
    asynchronous: Option<bool>,
    #[serde(flatten)]
    unknown: BTreeMap<String, IgnoredAny>,
}

impl<'a> Request<'a> {
    /// Recognises the kind of request by the shape of the event.
    pub fn read(text: &'a str) -> Result<Self, NotUnderstood> {
        let shape: Shape<'_> = parse(text, "the event")?;
        if let Some(context) = &shape.request_context {
            let (has_method, multi_value) =
                (shape.http_method.is_some(), shape.multi_value_headers.is_some());
            let front_end = FrontEnd::of(context, has_method, multi_value).ok_or_else(|| {
                NotUnderstood(
                    "its `requestContext` is of no known kind: expected that of a Function URL, an HTTP or REST API or a \
                     load balancer"
                        .to_owned(),
                )
            })?;
            return Ok(Self::Http(Box::new(HttpRequest::read(text, front_end))));
        }
        match shape.records.as_deref() {
            None => Ok(Self::Direct(Direct::read(text)?)),
            Some([RecordSource { event_source }, ..]) if event_source == "aws:sqs" => {
                Ok(Self::Queue(parse(text, "the SQS event")?))
            }
            Some([RecordSource { event_source }, ..]) if event_source == "aws:s3" => {
                Ok(Self::Objects(parse(text, "the S3 event")?))
            }
            Some([RecordSource { event_source }, ..]) => Err(NotUnderstood(format!(
                "its records come from `{}`: expected aws:sqs or aws:s3",
                excerpt(event_source)
            ))),
            Some([]) => Err(NotUnderstood("its `Records` are empty".to_owned())),
        }
    }
}

impl<'a> Direct<'a> {
    /// Reads the direct form, of an event or of a queue's message.
    pub fn read(text: &'a str) -> Result<Self, NotUnderstood> {
        match parse(text, DIRECT_FORM) {
            Ok(shape) => Self::of(shape),
            Err(error) => match masked(text) {
                Some(masked) => {
                    Direct::of(parse(&masked, DIRECT_FORM)?).map(|direct| direct.unmasked(text, &masked))
                }
                None => Err(error),
            },
        }
    }

    /// The same request from `text`. `masked` has other numbers in place of `NaN` and the like, which JSON does not
    /// have.
    fn unmasked<'t>(self, text: &'t str, masked: &str) -> Direct<'t> {
        let body = match self.body {
            Body::Text(Cow::Borrowed(body)) => {
                let begin = body.as_ptr().addr().wrapping_sub(masked.as_ptr().addr());
                let text = text.get(begin..).and_then(|text| text.get(..body.len()));
                Body::Text(text.map_or(Cow::Owned(body.to_owned()), Cow::Borrowed))
            }
            Body::Text(Cow::Owned(body)) => Body::Text(Cow::Owned(body)),
            Body::Bytes(body) => Body::Bytes(body),
        };
        Direct { declared: self.declared, body, asynchronous: self.asynchronous }
    }

    fn of(shape: DirectShape<'a>) -> Result<Self, NotUnderstood> {
        let records = shape.records.filter(|records| records.get().starts_with('['));
        let (format, body) = match (shape.format, shape.body, shape.body_base64, shape.records, records) {
            (Some(format), Some(body), None, None, _) => {
                (excerpt(&format).parse().map_err(NotUnderstood)?, Body::Text(Cow::Owned(body)))
            }
            (Some(format), None, Some(base64), None, _) => {
                (excerpt(&format).parse().map_err(NotUnderstood)?, Body::of_base64(&base64)?)
            }
            (None, None, None, _, Some(records)) => (Format::Json, Body::Text(Cow::Borrowed(records.get()))),
            _ => {
                return Err(NotUnderstood(
                    r#"expected {"format":"csv"|"ndjson"|"json","body":"…"} or {"records":[{…}]}"#.to_owned(),
                ));
            }
        };
        // A misspelt option must not be ignored: dates in the wrong order look valid.
        if let Some((unknown, _)) = shape.unknown.first_key_value() {
            return Err(NotUnderstood(format!(
                "its member `{}` is unknown: expected format and body or body_base64, or records, with date_order, charset and asynchronous or without",
                excerpt(unknown)
            )));
        }
        let date_order = shape.date_order.map(|order| order.parse()).transpose().map_err(NotUnderstood)?;
        let charset = shape.charset.map(|name| name.parse()).transpose().map_err(NotUnderstood)?;
        let charset = match body {
            Body::Text(_) => Charset::default(),
            Body::Bytes(_) => charset.unwrap_or_default(),
        };
        let declared = Declared { format, charset, date_order };
        Ok(Self { declared, body, asynchronous: shape.asynchronous.unwrap_or_default() })
    }
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, NotUnderstood> {
    serde_json::from_str(text)
        .map_err(|error| NotUnderstood(format!("{what} cannot be read: {}", json::fault(&error))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as_text(text: &str) -> Result<String, String> {
        Request::read(text).map(|request| format!("{request:?}")).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_recognised_by_shape() {
        let cases = [
            (
                r#"{"format":"csv","body":"ID\nA"}"#,
                "Direct(Direct { declared: Declared { format: Csv, charset: Charset(Encoding { UTF-8 }), date_order: None }, body: Text(\"ID\\nA\")",
            ),
            (
                r#"{"records":[{"ID":"A"}],"date_order":"dmy"}"#,
                "Direct(Direct { declared: Declared { format: Json, charset: Charset(Encoding { UTF-8 }), date_order: Some(Dmy) }, body: Text(\"[{\\\"ID\\\":\\\"A\\\"}]\")",
            ),
            (
                r#"{"date-order":"dmy","records":[],"asynchronous":null}"#,
                "Direct(Direct { declared: Declared { format: Json, charset: Charset(Encoding { UTF-8 }), date_order: Some(Dmy) }, body: Text(\"[]\"), asynchronous: false",
            ),
            (r#"{"Records":[{"eventSource":"aws:sqs","messageId":"1","body":"{}"}]}"#, "Queue("),
            (include_str!("../../../events/ingest-s3.json"), "Objects("),
            (r#"{"requestContext":{"http":{"method":"POST"}},"isBase64Encoded":false}"#, "Http("),
        ];
        for (text, expected) in cases {
            let read = read_as_text(text).unwrap();
            assert!(read.starts_with(expected), "{read}\nshould begin: {expected}");
        }
    }

    #[test]
    fn only_a_body_of_bytes_has_a_charset() {
        let read = |text: &str| {
            let direct = Direct::read(text).unwrap();
            (direct.body.bytes().to_vec(), direct.declared.charset.name())
        };
        let bytes = r#"{"format":"csv","body_base64":"8Q==","charset":"latin1"}"#;
        assert_eq!(read(bytes), (b"\xf1".to_vec(), "windows-1252"));
        assert_eq!(read(r#"{"format":"csv","body_base64":"8Q=="}"#), (b"\xf1".to_vec(), "UTF-8"));
        let text = r#"{"format":"csv","body":"ñ","charset":"latin1"}"#;
        assert_eq!(read(text), ("ñ".as_bytes().to_vec(), "UTF-8"));
        for (wrong, expected) in [
            (
                r#"{"format":"csv","body":"","charset":"klingon"}"#,
                "charset `klingon` is unknown: expected utf-8",
            ),
            (r#"{"format":"csv","body_base64":"*"}"#, "its `body_base64` is not base64"),
            (r#"{"format":"csv","body":"","body_base64":""}"#, "expected {\"format\""),
            (r#"{"records":[],"body_base64":""}"#, "expected {\"format\""),
        ] {
            let error = Direct::read(wrong).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn errors_shorten_the_texts_they_quote() {
        let long = "\\u0001".repeat(200_000);
        for text in [
            format!(r#"{{"format":"{long}","body":""}}"#),
            format!(r#"{{"records":[],"{long}":1}}"#),
            format!(r#"{{"records":[],"date_order":"{long}"}}"#),
            format!(r#"{{"Records":[{{"eventSource":"{long}"}}]}}"#),
            format!(r#"{{"format":["{long}"],"body":""}}"#),
        ] {
            let error = read_as_text(&text).unwrap_err();
            assert!(error.len() < 500 && !error.contains(char::is_control), "{error}");
        }
    }

    #[test]
    fn errors_say_what_was_expected() {
        let cases = [
            ("{}", r#"expected {"format":"csv"|"ndjson"|"json","body":"…"} or {"records":[{…}]}"#),
            (r#"{"records":{}}"#, "expected {\"format\""),
            (r#"{"format":"xml","body":""}"#, "format `xml` is unknown: expected csv, ndjson or json"),
            (
                r#"{"format":"csv","body":"","date_order":"ymd"}"#,
                "date order `ymd` is unknown: expected mdy or dmy",
            ),
            (
                r#"{"format":"csv","body":"ID\nA","dateOrder":"dmy"}"#,
                "its member `dateOrder` is unknown: expected format and body or body_base64, or records, with date_order",
            ),
            (
                r#"{"records":[],"date_order":"dmy","date-order":"dmy"}"#,
                "a value that does not fit at line 1",
            ),
            (
                r#"{"requestContext":{"connectionId":"c"},"body":""}"#,
                "its `requestContext` is of no known kind",
            ),
            (r#"{"requestContext":7}"#, "the event cannot be read"),
            (
                r#"{"Records":[{"eventSource":"aws:kinesis"}]}"#,
                "its records come from `aws:kinesis`: expected aws:sqs or aws:s3",
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
            let error = read_as_text(text).unwrap_err();
            assert!(
                error.starts_with("the request is not understood: ") && error.contains(expected),
                "{text}: {error}"
            );
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
