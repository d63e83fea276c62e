//! HTTP: a request as rows, a summary as an answer.

use aws_lambda_events::{
    apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
    encodings::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
};
use serde::Serialize;
use shared::time::DateOrder;

use crate::{
    inflate::{self, InflateError},
    intake::Summary,
    rows::Format,
};

/// Seconds after which a caller may send again what stream 1 did not take.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// Rows in an HTTP request.
#[derive(Debug)]
pub struct Posted {
    /// How the body holds its rows.
    pub format: Format,
    /// The rows.
    pub body: Vec<u8>,
    /// The declared order of ambiguous dates.
    pub date_order: Option<DateOrder>,
}

/// The answer to an HTTP request.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Header fields beside the content type.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// JSON.
    pub body: String,
}

/// An error, as the body of an answer.
#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
}

impl Answer {
    fn error(status: u16, error: &str) -> Self {
        Self { status, headers: Vec::new(), body: json(&ErrorBody { error }) }
    }

    /// The answer in the form that Function URLs and API Gateway understand.
    #[must_use]
    pub fn into_response(self) -> ApiGatewayV2httpResponse {
        let mut headers: HeaderMap = self.headers.into_iter().collect();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut response = ApiGatewayV2httpResponse::default();
        response.status_code = self.status.into();
        response.headers = headers;
        response.body = Some(Body::Text(self.body));
        response
    }
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_else(|error| unreachable!("{error}"))
}

/// Reads the rows of a request, or answers at once why there are none.
pub fn read(request: &ApiGatewayV2httpRequest) -> Result<Posted, Answer> {
    let method = &request.request_context.http.method;
    if method != Method::POST && method != Method::PUT {
        let allow = vec![(header::ALLOW, HeaderValue::from_static("POST, PUT"))];
        return Err(Answer { headers: allow, ..Answer::error(405, "rows are sent with POST") });
    }
    let field = |name| {
        request.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or("").trim()
    };
    let format = format(field(header::CONTENT_TYPE))?;
    let date_order = match request.query_string_parameters.first("date_order") {
        Some(order) => Some(order.parse().map_err(|error: String| Answer::error(400, &error))?),
        None => None,
    };
    let body = request.body.as_deref().unwrap_or("");
    let body = if request.is_base64_encoded {
        base64_simd::STANDARD
            .decode_to_vec(body)
            .map_err(|_| Answer::error(400, "the body is declared as base64, but is not"))?
    } else {
        body.as_bytes().to_vec()
    };
    let body = match field(header::CONTENT_ENCODING).to_ascii_lowercase().as_str() {
        "" | "identity" => body,
        "gzip" => inflate::body(&body).map_err(|error| match error {
            InflateError::Damaged => Answer::error(400, &error.to_string()),
            InflateError::TooLarge(_) => Answer::error(413, &error.to_string()),
        })?,
        other => {
            let error = format!("content encoding `{other}` is unknown: gzip or none is right");
            return Err(Answer::error(415, &error));
        }
    };
    if body.trim_ascii().is_empty() {
        return Err(Answer::error(400, "the body is empty: rows are needed"));
    }
    Ok(Posted { format, body, date_order })
}

fn format(content_type: &str) -> Result<Format, Answer> {
    let mut parts = content_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let kind = parts.next().unwrap_or_default();
    if let Some(charset) =
        parts.find_map(|part| part.strip_prefix("charset=").map(|charset| charset.replace('"', "")))
        && !matches!(charset.as_str(), "utf-8" | "utf8" | "us-ascii")
    {
        return Err(Answer::error(415, &format!("charset `{charset}` is unknown: utf-8 is right")));
    }
    match kind.as_str() {
        "text/csv" | "application/csv" => Ok(Format::Csv),
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
            Ok(Format::Ndjson)
        }
        other => Err(Answer::error(
            415,
            &format!(
                "content type `{other}` is unknown: text/csv, application/json or application/x-ndjson is right"
            ),
        )),
    }
}

/// Answers what became of the rows.
#[must_use]
pub fn answer(summary: &Summary) -> Answer {
    let body = json(summary);
    match summary {
        Summary { failed: 1.., .. } => {
            Answer { status: 503, headers: vec![(header::RETRY_AFTER, RETRY_AFTER)], body }
        }
        Summary { accepted: 1.., .. } => Answer { status: 202, headers: Vec::new(), body },
        _ => Answer { status: 400, headers: Vec::new(), body },
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};
    use serde_json::{Value, json};

    use super::*;

    fn request(fields: &Value) -> ApiGatewayV2httpRequest {
        let mut request = json!({
            "version": "2.0", "rawPath": "/", "rawQueryString": "", "isBase64Encoded": false, "body": "ID,Severity\nA-1,3\n",
            "headers": {"content-type": "text/csv"}, "requestContext": {"http": {"method": "POST", "path": "/"}},
        });
        for (name, value) in fields.as_object().unwrap() {
            request[name] = value.clone();
        }
        serde_json::from_value(request).unwrap()
    }

    fn status(fields: &Value) -> (u16, String) {
        let answer = read(&request(fields)).unwrap_err();
        (answer.status, answer.body)
    }

    #[test]
    fn rows_are_read_in_every_content_type() {
        let cases = [
            ("text/csv", Format::Csv),
            ("Text/CSV; charset=\"UTF-8\"", Format::Csv),
            ("application/json", Format::Json),
            ("application/x-ndjson", Format::Ndjson),
        ];
        for (content_type, format) in cases {
            let posted = read(&request(&json!({"headers": {"Content-Type": content_type}}))).unwrap();
            assert_eq!((posted.format, posted.body.as_slice()), (format, &b"ID,Severity\nA-1,3\n"[..]));
        }
        let posted = read(&request(&json!({"queryStringParameters": {"date_order": "dmy"}}))).unwrap();
        assert_eq!(posted.date_order, Some(DateOrder::Dmy));
    }

    #[test]
    fn bodies_in_base64_and_gzip_are_read() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(b"ID,Severity\nA-1,3\n").unwrap();
        let body = base64_simd::STANDARD.encode_to_string(gzip.finish().unwrap());
        let headers = json!({"content-type": "text/csv", "content-encoding": "gzip"});
        let posted =
            read(&request(&json!({"body": body, "isBase64Encoded": true, "headers": headers}))).unwrap();
        assert_eq!(posted.body, b"ID,Severity\nA-1,3\n");
    }

    #[test]
    fn what_cannot_be_read_is_answered_with_its_status_and_a_sentence() {
        let headers =
            |kind: &str, encoding: &str| json!({"content-type": kind, "content-encoding": encoding});
        let cases = [
            (json!({"requestContext": {"http": {"method": "GET"}}}), 405, "POST"),
            (
                json!({"headers": headers("application/xml", "")}),
                415,
                "content type `application/xml` is unknown",
            ),
            (json!({"headers": {}}), 415, "content type `` is unknown"),
            (json!({"headers": headers("text/csv; charset=latin1", "")}), 415, "charset `latin1` is unknown"),
            (json!({"headers": headers("text/csv", "br")}), 415, "content encoding `br` is unknown"),
            (json!({"headers": headers("text/csv", "gzip")}), 400, "the gzip data is damaged or cut short"),
            (json!({"body": "***", "isBase64Encoded": true}), 400, "is declared as base64, but is not"),
            (json!({"body": " \n"}), 400, "the body is empty"),
            (json!({"queryStringParameters": {"date_order": "ymd"}}), 400, "date order `ymd` is unknown"),
        ];
        for (fields, expected, sentence) in cases {
            let (status, body) = status(&fields);
            assert_eq!(status, expected, "{fields}");
            assert!(body.contains(sentence), "{body}");
        }
    }

    #[test]
    fn the_status_says_what_became_of_the_rows() {
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
            let answer = answer(&summary);
            assert_eq!(answer.status, status, "{summary:?}");
            assert_eq!(answer.headers.iter().any(|(name, _)| name == header::RETRY_AFTER), status == 503);
        }
    }
}
