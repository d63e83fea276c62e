//! HTTP: reads a request as rows and turns a summary into a response.

use std::borrow::Cow;

use aws_lambda_events::http::{Method, header};
use serde::Serialize;
use shared::data::{excerpt::excerpt, time::DateOrder};

use crate::{
    charset::{self, Charset},
    front::{FrontEnd, HttpContent, HttpRequest, HttpResponse},
    inflate::{self, InflateError, InflatedBody},
    intake::Summary,
    request::Declared,
    rows::Format,
};

/// Seconds after which a caller may resend rows that were not delivered.
const RETRY_AFTER: &str = "5";
/// What the query parameters of a signed URL begin with.
///
/// Source: IAM user guide, "Create a signed AWS API request", query parameters.
const SIGNATURE: &str = "x-amz-";

/// Rows in an HTTP request.
#[derive(Debug)]
pub struct Posted {
    /// What the content type and the query say about them.
    pub declared: Declared,
    /// The rows, as text or gzip.
    pub body: Vec<u8>,
    /// Whether the body is gzip that inflates to too much text to hold in memory.
    pub is_gzip: bool,
}

/// The response to an HTTP request.
#[derive(Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Headers in addition to the content type.
    pub headers: Vec<(&'static str, &'static str)>,
    /// JSON.
    pub body: String,
}

/// The body of an error response.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

/// The body of a response when no row was accepted.
#[derive(Serialize)]
struct Unusable<'a> {
    error: String,
    #[serde(flatten)]
    summary: &'a Summary,
}

impl HttpAnswer {
    fn error(status: u16, error: &str) -> Self {
        Self { status, headers: Vec::new(), body: json(&ErrorBody { error }) }
    }

    /// The response in the form that a front end expects.
    #[must_use]
    pub fn into_response(self, front_end: FrontEnd) -> HttpResponse {
        let headers = self.headers.into_iter().chain([("content-type", "application/json")]);
        let headers = headers.map(|(name, value)| (name, value.to_owned()));
        HttpResponse::new(front_end, self.status, headers, self.body)
    }
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Reads the rows of a request, or responds with the reason why there are none.
pub fn read(request: HttpRequest) -> Result<Posted, HttpAnswer> {
    let content = request.content.map_err(|fault| HttpAnswer::error(400, &fault))?;
    if content.method != Method::POST.as_str() && content.method != Method::PUT.as_str() {
        let allow = vec![("allow", "POST, PUT")];
        return Err(HttpAnswer { headers: allow, ..HttpAnswer::error(405, "rows are sent with POST") });
    }
    let content_type = content.header(header::CONTENT_TYPE.as_str());
    let format = format(content_type)?;
    let charset = charset::of_content_type(content_type).map_or(Ok(Charset::default()), str::parse);
    let charset = charset.map_err(|error: String| HttpAnswer::error(415, &error))?;
    // The front end has decoded what it forwards as text.
    let charset = if content.is_base64 { charset } else { Charset::default() };
    let date_order = date_order(&content.query)?;
    let encoding = content.header(header::CONTENT_ENCODING.as_str()).to_ascii_lowercase();
    if !matches!(encoding.as_str(), "" | "identity" | "gzip" | "x-gzip") {
        let error = format!("content encoding `{}` is unknown: expected gzip or none", excerpt(&encoding));
        return Err(HttpAnswer::error(415, &error));
    }
    let (body, is_gzip) = text(bytes(content)?)?;
    Ok(Posted { declared: Declared { format, charset, date_order }, body, is_gzip })
}

/// The body as it was sent.
fn bytes(content: HttpContent) -> Result<Vec<u8>, HttpAnswer> {
    if !content.is_base64 {
        return Ok(content.body.into_bytes());
    }
    base64_simd::STANDARD
        .decode_to_vec(content.body)
        .map_err(|_| HttpAnswer::error(400, "the body is declared as base64, but is not"))
}

/// The text of a body, or the gzip of a long text, and which of the two it is. The first bytes decide whether it is
/// gzip, not a header.
fn text(body: Vec<u8>) -> Result<(Vec<u8>, bool), HttpAnswer> {
    let read = inflate::body(&body).map_err(|error| {
        let status = match error {
            InflateError::Damaged | InflateError::Trailing(_) => 400,
            InflateError::TooLarge(_) => 413,
            InflateError::Foreign(_) => 415,
        };
        HttpAnswer::error(status, &error.to_string())
    })?;
    let (is_blank, text) = match read {
        InflatedBody::Text(text) => (text.trim_ascii().is_empty(), Some(text)),
        InflatedBody::LongGzip { is_blank } => (is_blank, None),
    };
    if is_blank {
        return Err(HttpAnswer::error(400, "the body is empty: expected rows"));
    }
    Ok(match text {
        Some(Cow::Owned(text)) => (text, false),
        Some(Cow::Borrowed(_)) => (body, false),
        None => (body, true),
    })
}

/// The date order that the query declares. Any other parameter is an error. Otherwise a misspelt order would be
/// ignored, and dates read in the wrong order look valid.
fn date_order(query: &[(String, String)]) -> Result<Option<DateOrder>, HttpAnswer> {
    let mut declared = None;
    for (name, value) in query {
        if name.to_ascii_lowercase().starts_with(SIGNATURE) {
            continue;
        }
        if !DateOrder::is_option(name) {
            let error =
                format!("query parameter `{}` is unknown: expected date_order or none", excerpt(name));
            return Err(HttpAnswer::error(400, &error));
        }
        let order: DateOrder = value.parse().map_err(|error: String| HttpAnswer::error(400, &error))?;
        if declared.is_some_and(|earlier| earlier != order) {
            return Err(HttpAnswer::error(400, "the query declares two date orders: expected one"));
        }
        declared = Some(order);
    }
    Ok(declared)
}

/// The format that a content type names.
fn format(content_type: &str) -> Result<Format, HttpAnswer> {
    let lower = content_type.to_ascii_lowercase();
    let mut parts = lower.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let format = match kind {
        // The last is the type that Windows uses for spreadsheet files, including CSV.
        "text/csv" | "application/csv" | "application/vnd.ms-excel" => Format::Csv,
        "application/json" => Format::Json,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Format::Ndjson
        }
        other => {
            return Err(HttpAnswer::error(
                415,
                &format!(
                    "content type `{}` is unknown: expected text/csv, application/json or application/x-ndjson",
                    excerpt(other)
                ),
            ));
        }
    };
    for parameter in parts.filter(|part| !part.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        check_parameter(format, name.trim(), value.trim().trim_matches('"'))?;
    }
    Ok(format)
}

/// Refuses a parameter of the content type that would change how the body is read.
fn check_parameter(format: Format, name: &str, value: &str) -> Result<(), HttpAnswer> {
    let error = match (name, value) {
        ("charset", _) | ("header", "present") => return Ok(()),
        ("header", "absent") => {
            "header=absent is not supported: expected a first line that names the columns".to_owned()
        }
        _ if format != Format::Csv => return Ok(()),
        (name, _) => format!(
            "parameter `{}` of the content type is unknown: expected charset, header=present or none",
            excerpt(name)
        ),
    };
    Err(HttpAnswer::error(415, &error))
}

/// Responds with the outcome of the rows.
#[must_use]
pub fn answer(summary: &Summary, format: Format) -> HttpAnswer {
    match summary {
        Summary { failed: 1.., .. } => {
            HttpAnswer { status: 503, headers: vec![("retry-after", RETRY_AFTER)], body: json(summary) }
        }
        Summary { accepted: 1.., .. } => HttpAnswer { status: 202, headers: Vec::new(), body: json(summary) },
        _ => {
            let body = json(&Unusable { error: why_unusable(summary, format), summary });
            HttpAnswer { status: 400, headers: Vec::new(), body }
        }
    }
}

/// Why no row was accepted.
fn why_unusable(summary: &Summary, format: Format) -> String {
    match (summary.rejects.first(), format) {
        (Some(first), _) if summary.rejected == 1 => {
            format!("the only row was rejected: {}", first.detail)
        }
        (Some(first), _) => {
            format!("all {} rows were rejected, the first because {}", summary.rejected, first.detail)
        }
        (None, Format::Csv) => {
            "the body has no row: expected a line that names the columns, and rows below it".to_owned()
        }
        (None, Format::Json | Format::Ndjson) => {
            "the body has no row: expected at least one JSON object".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use serde_json::{Value, json};

    use super::*;
    use crate::intake::Listed;

    fn request(fields: &Value) -> HttpRequest {
        let mut request = json!({
            "version": "2.0", "rawPath": "/", "rawQueryString": "", "isBase64Encoded": false, "body": "ID,Severity\nA-1,3\n",
            "headers": {"content-type": "text/csv"}, "requestContext": {"http": {"method": "POST", "path": "/"}},
        });
        for (name, value) in fields.as_object().unwrap() {
            request[name] = value.clone();
        }
        HttpRequest::read(&request.to_string(), FrontEnd::Url)
    }

    fn status(fields: &Value) -> (u16, String) {
        let answer = read(request(fields)).unwrap_err();
        (answer.status, answer.body)
    }

    #[test]
    fn rows_are_read_in_every_content_type() {
        let cases = [
            ("text/csv", Format::Csv),
            ("Text/CSV; charset=\"UTF-8\"", Format::Csv),
            ("text/csv; header=present;", Format::Csv),
            ("application/vnd.ms-excel", Format::Csv),
            ("application/json", Format::Json),
            ("application/json; profile=x", Format::Json),
            ("application/x-ndjson", Format::Ndjson),
        ];
        for (content_type, format) in cases {
            let posted = read(request(&json!({"headers": {"Content-Type": content_type}}))).unwrap();
            let declared = Declared { format, charset: Charset::default(), date_order: None };
            assert_eq!((posted.declared, posted.body.as_slice()), (declared, &b"ID,Severity\nA-1,3\n"[..]));
        }
    }

    #[test]
    fn content_type_declares_the_charset_of_bytes() {
        for (is_base64, charset) in [(true, "windows-1252"), (false, "UTF-8")] {
            let content_type = json!({"Content-Type": "text/csv; charset=ISO-8859-1"});
            let posted = read(request(&json!({
                "headers": content_type, "body": "SUQsU2V2ZXJpdHkK", "isBase64Encoded": is_base64,
            })));
            assert_eq!(posted.unwrap().declared.charset.name(), charset);
        }
    }

    #[test]
    fn query_declares_only_the_date_order() {
        let order = |query: Value| read(request(&json!({"queryStringParameters": query})));
        for query in [
            json!({"date_order": "dmy"}),
            json!({"date-order": "dmy"}),
            json!({"date_order": "dmy", "X-Amz-Signature": "s", "x-amz-date": "d"}),
        ] {
            assert_eq!(order(query).unwrap().declared.date_order, Some(DateOrder::Dmy));
        }
        for (query, sentence) in [
            (
                json!({"dateOrder": "dmy"}),
                "query parameter `dateOrder` is unknown: expected date_order or none",
            ),
            (json!({"date_order": "ymd"}), "date order `ymd` is unknown: expected mdy or dmy"),
            (json!({"date_order": null}), "date order `` is unknown"),
            (json!({"date_order": "dmy", "date-order": "mdy"}), "declares two date orders"),
        ] {
            let answer = order(query).unwrap_err();
            assert!(answer.status == 400 && answer.body.contains(sentence), "{}", answer.body);
        }
    }

    #[test]
    fn bodies_in_base64_and_gzip_are_read() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"ID,Severity\nA-1,3\n").unwrap();
        let body = base64_simd::STANDARD.encode_to_string(gzip.finish().unwrap());
        for encoding in ["gzip", "x-gzip", "identity", ""] {
            let headers = json!({"content-type": "text/csv", "content-encoding": encoding});
            let posted =
                read(request(&json!({"body": body, "isBase64Encoded": true, "headers": headers}))).unwrap();
            assert_eq!(posted.body, b"ID,Severity\nA-1,3\n", "{encoding}");
        }
        let headers = json!({"content-type": "text/csv", "content-encoding": "gzip"});
        let posted = read(request(&json!({"headers": headers}))).unwrap();
        assert_eq!(posted.body, b"ID,Severity\nA-1,3\n", "it is declared as gzip, and is not");
    }

    #[test]
    fn unreadable_request_has_a_status_and_an_explanation() {
        let headers =
            |kind: &str, encoding: &str| json!({"content-type": kind, "content-encoding": encoding});
        let cases = [
            (json!({"requestContext": {"http": {"method": "GET"}}}), 405, "POST"),
            (
                json!({"headers": headers("application/xml", "")}),
                415,
                "content type `application/xml` is unknown",
            ),
            (json!({"headers": headers("text/plain", "")}), 415, "content type `text/plain` is unknown"),
            (json!({"headers": {}}), 415, "content type `` is unknown"),
            (
                json!({"headers": headers("text/csv; charset=klingon", "")}),
                415,
                "charset `klingon` is unknown",
            ),
            (
                json!({"headers": headers("text/csv; charset=UTF-16", "")}),
                415,
                "charset `utf-16` is not supported: expected utf-8, windows-1252",
            ),
            (
                json!({"headers": headers("text/csv; header=absent", "")}),
                415,
                "header=absent is not supported",
            ),
            (json!({"headers": headers("text/csv; delimiter=;", "")}), 415, "parameter `delimiter` of the"),
            (json!({"headers": headers("text/csv", "br")}), 415, "content encoding `br` is unknown"),
            (json!({"isBase64Encoded": true, "body": "H4sI"}), 400, "the gzip data is damaged or cut short"),
            (json!({"isBase64Encoded": true, "body": "UEsDBBQ="}), 415, "the data is a zip archive"),
            (json!({"body": "***", "isBase64Encoded": true}), 400, "is declared as base64, but is not"),
            (json!({"body": " \n"}), 400, "the body is empty"),
            (json!({"headers": [1]}), 400, "the HTTP request cannot be read: expected a map at line 1"),
            (json!({"body": {}}), 400, "the HTTP request cannot be read: expected a string at line 1"),
        ];
        for (fields, expected, sentence) in cases {
            let (status, body) = status(&fields);
            assert_eq!(status, expected, "{fields}");
            assert!(body.contains(sentence), "{body}");
        }
    }

    #[test]
    fn status_code_reflects_the_outcome_of_the_rows() {
        let summary =
            |accepted, rejected, failed| Summary { accepted, rejected, failed, ..Summary::default() };
        for (summary, status) in [
            (summary(2, 0, 0), 202),
            (summary(1, 1, 0), 202),
            (summary(0, 2, 0), 400),
            (summary(0, 0, 0), 400),
            (summary(1, 0, 1), 503),
            (summary(0, 0, 2), 503),
        ] {
            let answer = answer(&summary, Format::Csv);
            assert_eq!(answer.status, status, "{summary:?}");
            assert_eq!(answer.headers.iter().any(|(name, _)| *name == "retry-after"), status == 503);
            assert_eq!(answer.body.contains("\"error\":"), status == 400);
        }
    }

    #[test]
    fn body_without_a_usable_row_explains_why() {
        let error = |summary: &Summary, format| {
            let body: Value = serde_json::from_str(&answer(summary, format).body).unwrap();
            assert_eq!(
                (&body["accepted"], &body["rejects"].as_array().unwrap().len()),
                (&json!(0), &summary.rejects.len())
            );
            body["error"].as_str().unwrap().to_owned()
        };
        let none = Summary::default();
        assert!(
            error(&none, Format::Csv).contains("expected a line that names the columns, and rows below it")
        );
        assert!(error(&none, Format::Json).contains("expected at least one JSON object"));
        let detail = "`ID` is blank".to_owned();
        let first = Listed { index: 0, line: 2, reason: "missing_id", detail: detail.into() };
        let one = Summary { rejected: 1, rejects: vec![first], ..Summary::default() };
        assert_eq!(error(&one, Format::Csv), "the only row was rejected: `ID` is blank");
        let two = Summary { rejected: 2, ..one };
        assert_eq!(error(&two, Format::Csv), "all 2 rows were rejected, the first because `ID` is blank");
    }
}
