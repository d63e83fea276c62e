//! The HTTP front ends that call the function: the form of their requests and of the responses they expect.

use std::collections::BTreeMap;

use aws_lambda_events::http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use shared::json;

/// What calls the function over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEnd {
    /// A Function URL, or an HTTP API with payload format 2.0.
    Url,
    /// A REST API, or an HTTP API with payload format 1.0.
    Api,
    /// A load balancer. If its target group allows several values for a header, it accepts no other form.
    ///
    /// Source: Elastic Load Balancing user guide, "Lambda functions as targets".
    LoadBalancer {
        /// Whether its target group allows them.
        multi_value: bool,
    },
}

/// A request from any front end.
#[derive(Debug)]
pub struct HttpRequest {
    /// The front end that forwarded it and awaits the response.
    pub front_end: FrontEnd,
    /// The request, or why the event is invalid.
    pub content: Result<HttpContent, String>,
}

/// What a client sent.
#[derive(Debug, Default)]
pub struct HttpContent {
    /// `POST`, for example.
    pub method: String,
    /// The query's decoded parameters.
    pub query: Vec<(String, String)>,
    /// The body as it is in the event.
    pub body: String,
    /// Whether the body in the event is base64.
    pub is_base64: bool,
    headers: Vec<(String, String)>,
}

type Single = BTreeMap<String, Option<String>>;
type Multiple = BTreeMap<String, Option<Vec<String>>>;

/// The members that identify the front end of an event.
#[derive(Deserialize)]
pub(crate) struct FrontContext {
    elb: Option<IgnoredAny>,
    http: Option<IgnoredAny>,
}

impl FrontEnd {
    /// The front end that sends such a `requestContext`, and whether the event has the other two members; `None` if it
    /// is unknown.
    pub(crate) fn of(context: &FrontContext, has_method: bool, multi_value: bool) -> Option<Self> {
        match context {
            FrontContext { elb: Some(_), .. } => Some(Self::LoadBalancer { multi_value }),
            FrontContext { http: Some(_), .. } => Some(Self::Url),
            _ if has_method => Some(Self::Api),
            _ => None,
        }
    }
}

/// The event; each front end sends some of these members.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FrontEvent {
    request_context: MethodContext,
    http_method: Option<String>,
    headers: Option<Single>,
    multi_value_headers: Option<Multiple>,
    query_string_parameters: Option<Single>,
    multi_value_query_string_parameters: Option<Multiple>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

#[derive(Deserialize)]
struct MethodContext {
    http: Option<HttpContext>,
}

#[derive(Deserialize)]
struct HttpContext {
    method: String,
}

impl HttpRequest {
    /// Reads the event of a front end. An event with invalid details is a request, too, because its client awaits a
    /// response.
    pub(crate) fn read(text: &str, front_end: FrontEnd) -> Self {
        let content = serde_json::from_str::<FrontEvent>(text)
            .map(|event| HttpContent::of(event, front_end))
            .map_err(|error| format!("the HTTP request cannot be read: {}", json::fault(&error)));
        Self { front_end, content }
    }
}

impl HttpContent {
    fn of(event: FrontEvent, front_end: FrontEnd) -> Self {
        let mut query = pairs(event.query_string_parameters, event.multi_value_query_string_parameters);
        if matches!(front_end, FrontEnd::LoadBalancer { .. }) {
            // A load balancer forwards the query undecoded.
            for text in query.iter_mut().flat_map(|(name, value)| [name, value]) {
                *text = percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
            }
        }
        let method = event.request_context.http.map(|http| http.method).or(event.http_method);
        Self {
            method: method.unwrap_or_default(),
            query,
            body: event.body.unwrap_or_default(),
            is_base64: event.is_base64_encoded.unwrap_or_default(),
            headers: pairs(event.headers, event.multi_value_headers),
        }
    }

    /// The trimmed value of a header; empty if the client did not send it.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.trim())
    }
}

/// Names and values from both of their forms. A front end that sends both repeats the last value in the first form.
fn pairs(single: Option<Single>, multiple: Option<Multiple>) -> Vec<(String, String)> {
    let multiple: Vec<_> = multiple
        .into_iter()
        .flatten()
        .flat_map(|(name, values)| {
            values.into_iter().flatten().map(move |value| (name.clone(), value)).collect::<Vec<_>>()
        })
        .collect();
    if !multiple.is_empty() {
        return multiple;
    }
    single.into_iter().flatten().map(|(name, value)| (name, value.unwrap_or_default())).collect()
}

/// A response in the form of a front end.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpResponse {
    status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    multi_value_headers: Option<BTreeMap<&'static str, [String; 1]>>,
    body: String,
    is_base64_encoded: bool,
}

impl HttpResponse {
    /// A response in the form that `front_end` expects.
    pub fn new(
        front_end: FrontEnd,
        status: u16,
        headers: impl IntoIterator<Item = (&'static str, String)>,
        body: String,
    ) -> Self {
        let headers = headers.into_iter();
        let (single, multiple) = match front_end {
            FrontEnd::LoadBalancer { multi_value: true } => {
                (None, Some(headers.map(|(name, value)| (name, [value])).collect()))
            }
            FrontEnd::Url | FrontEnd::Api | FrontEnd::LoadBalancer { .. } => (Some(headers.collect()), None),
        };
        let status_description = match front_end {
            FrontEnd::LoadBalancer { .. } => {
                let reason = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
                Some(format!("{status} {}", reason.unwrap_or("Unknown")))
            }
            FrontEnd::Url | FrontEnd::Api => None,
        };
        Self {
            status_code: status,
            status_description,
            headers: single,
            multi_value_headers: multiple,
            body,
            is_base64_encoded: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::Request;

    fn request(event: &serde_json::Value) -> HttpRequest {
        let text = event.to_string();
        let Ok(Request::Http(request)) = Request::read(&text) else { panic!("{text}") };
        *request
    }

    #[test]
    fn requests_of_each_front_end_are_read() {
        let headers = json!({"Content-Type": "text/csv"});
        let lists = json!({"Content-Type": ["text/csv"]});
        let query = json!({"date_order": "dmy"});
        let query_lists = json!({"date_order": ["mdy", "dmy"]});
        let cases = [
            (
                json!({"version": "2.0", "requestContext": {"http": {"method": "POST"}}, "headers": headers,
                    "queryStringParameters": query, "body": "x"}),
                FrontEnd::Url,
            ),
            (
                json!({"version": "1.0", "httpMethod": "POST", "requestContext": {"httpMethod": "POST"}, "headers": headers,
                    "multiValueHeaders": lists, "queryStringParameters": query, "multiValueQueryStringParameters": query_lists,
                    "body": "x", "isBase64Encoded": false}),
                FrontEnd::Api,
            ),
            (
                json!({"httpMethod": "POST", "requestContext": {"resourceId": "r"}, "headers": headers, "multiValueHeaders": null,
                    "queryStringParameters": query, "multiValueQueryStringParameters": null, "body": "x"}),
                FrontEnd::Api,
            ),
            (
                json!({"httpMethod": "POST", "requestContext": {"elb": {"targetGroupArn": "t"}}, "headers": headers,
                    "queryStringParameters": {"date%5Forder": "dm%79"}, "body": "x", "isBase64Encoded": false}),
                FrontEnd::LoadBalancer { multi_value: false },
            ),
            (
                json!({"httpMethod": "POST", "requestContext": {"elb": {"targetGroupArn": "t"}}, "multiValueHeaders": lists,
                    "multiValueQueryStringParameters": query_lists, "body": "x"}),
                FrontEnd::LoadBalancer { multi_value: true },
            ),
        ];
        for (event, expected) in cases {
            let HttpRequest { front_end, content } = request(&event);
            let content = content.unwrap();
            assert_eq!(front_end, expected, "{event}");
            assert_eq!((content.method.as_str(), content.body.as_str()), ("POST", "x"), "{event}");
            assert_eq!(content.header("content-type"), "text/csv", "{event}");
            assert_eq!(content.query.last(), Some(&("date_order".to_owned(), "dmy".to_owned())), "{event}");
        }
    }

    #[test]
    fn invalid_event_is_explained_to_its_client() {
        let event =
            json!({"requestContext": {"elb": {}}, "httpMethod": "POST", "headers": [], "body": "secret"});
        let HttpRequest { front_end, content } = request(&event);
        assert_eq!(front_end, FrontEnd::LoadBalancer { multi_value: false });
        let fault = content.unwrap_err();
        assert!(fault.starts_with("the HTTP request cannot be read: expected a map at line 1"), "{fault}");
        let event = json!({"requestContext": {"http": {"method": "POST"}}, "headers": {"x": "a\u{1}b\n"}, "body": null});
        assert_eq!(request(&event).content.unwrap().header("X"), "a\u{1}b", "a header may hold anything");
    }

    #[test]
    fn responses_have_the_form_of_their_front_end() {
        let answer = |front_end| {
            let response = HttpResponse::new(front_end, 405, [("allow", "POST".to_owned())], "{}".to_owned());
            serde_json::to_value(response).unwrap()
        };
        let plain =
            json!({"statusCode": 405, "headers": {"allow": "POST"}, "body": "{}", "isBase64Encoded": false});
        assert_eq!(answer(FrontEnd::Url), plain);
        assert_eq!(answer(FrontEnd::Api), plain);
        let mut balanced = plain.clone();
        balanced["statusDescription"] = json!("405 Method Not Allowed");
        assert_eq!(answer(FrontEnd::LoadBalancer { multi_value: false }), balanced);
        let lists = json!({"statusCode": 405, "statusDescription": "405 Method Not Allowed",
            "multiValueHeaders": {"allow": ["POST"]}, "body": "{}", "isBase64Encoded": false});
        assert_eq!(answer(FrontEnd::LoadBalancer { multi_value: true }), lists);
    }
}
