//! The requests to CloudWatch, and how the adapters handle the responses.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_cloudwatch::Client;
use chrono::{DateTime, TimeDelta, Utc};
use fakes::variable;
use metrics::{
    aggregate::{DataRequest, Datum},
    cloudwatch::CountMetric,
    handler::Config,
};
use serde_json::json;
use shared::{
    audit::latency::{EVENT_TO_ALERT, EVENT_TO_METRIC, LatencySample},
    aws::{Latencies, LatencyMetric, Namespace},
    delivery::{Order, Outcome, Report, deliver},
    lambda::config::Common,
};

use super::{
    cbor,
    server::{ScriptedResponse, Server, deadline},
};

fn accepted() -> ScriptedResponse {
    ScriptedResponse::Send(200, "application/cbor", cbor::encode(&[]))
}

fn error(status: u16, code: &str) -> ScriptedResponse {
    let name = format!("com.amazonaws.cloudwatch#{code}");
    ScriptedResponse::Send(
        status,
        "application/cbor",
        cbor::encode(&[("__type", &name), ("message", "scripted")]),
    )
}

fn common() -> Common {
    Config::read(&variable).unwrap().common
}

/// A request with these counts under severity 3.
fn request(counts: &[u64]) -> DataRequest {
    let now = Utc::now();
    let datum = |(second, count): (i64, &u64)| Datum {
        second,
        dimensions: vec![(0, "3".to_owned()), (1, "Dublin".to_owned())],
        count: *count,
    };
    DataRequest {
        data: (1_700_000_000..).zip(counts).map(datum).collect(),
        events: 0..counts.len(),
        received: vec![now - TimeDelta::seconds(5); counts.len()],
    }
}

async fn send(server: &Server, requests: &[DataRequest]) -> Report {
    let namespace = Namespace::new(Client::new(&server.config().await), "accidents");
    let names = ["severity_accident", "city_accident"].map(str::to_owned);
    let metric = CountMetric::new(namespace, "high", names, LatencyMetric::new(EVENT_TO_METRIC, &common()));
    deliver(&metric, requests, Order::Kept, deadline()).await
}

#[tokio::test]
async fn counts_and_latency_share_one_request() {
    let server = Server::new([accepted()]);
    assert_eq!(send(&server, &[request(&[7, 2])]).await.outcomes, [Outcome::Delivered]);
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert!(requests[0].line.ends_with("/operation/PutMetricData"), "{}", requests[0].line);
    let body = requests[0].cbor();
    assert_eq!(body["Namespace"], "accidents");
    let count = |second: u64, value: f64| {
        json!({
            "MetricName": "high",
            "Dimensions": [
                {"Name": "severity_accident", "Value": "3"},
                {"Name": "city_accident", "Value": "Dublin"},
            ],
            "Timestamp": second,
            "Unit": "Count",
            "StorageResolution": 1,
            "Value": value,
        })
    };
    let data = body["MetricData"].as_array().unwrap();
    let seconds = |index: usize| data[index]["Timestamp"].as_f64().unwrap();
    assert_eq!((seconds(0), seconds(1)), (1_700_000_000.0, 1_700_000_001.0));
    let without_time = |mut datum: serde_json::Value| {
        datum["Timestamp"] = json!(null);
        datum
    };
    assert_eq!(without_time(data[0].clone()), without_time(count(0, 7.0)));
    assert_eq!(without_time(data[1].clone()), without_time(count(0, 2.0)));
    let latency = &data[2];
    assert_eq!((&latency["MetricName"], &latency["Unit"]), (&json!("EventToMetric"), &json!("Milliseconds")));
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
        - latency["Timestamp"].as_f64().unwrap();
    assert!((0.0..60.0).contains(&age), "{age}");
    assert_eq!(latency["Counts"], json!([2.0]));
    let value = latency["Values"][0].as_f64().unwrap();
    assert!((5_000.0..15_000.0).contains(&value), "{value}");
    assert_eq!(data.len(), 3);
}

#[tokio::test]
async fn large_request_arrives_whole() {
    let server = Server::new([accepted()]);
    let counts: Vec<u64> = (1..1_000).collect();
    assert_eq!(send(&server, &[request(&counts)]).await.outcomes, [Outcome::Delivered]);
    let body = server.requests()[0].cbor();
    let values: Vec<_> = body["MetricData"].as_array().unwrap()[..999]
        .iter()
        .map(|datum| datum["Value"].as_f64().unwrap())
        .collect();
    assert_eq!(values, (1..1_000_u32).map(f64::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn requests_are_sent_in_order_until_one_fails() {
    let server = Server::new([accepted(), error(400, "InvalidParameterValueException")]);
    let report = send(&server, &[request(&[1]), request(&[2]), request(&[3])]).await;
    let values: Vec<_> =
        server.requests().iter().map(|request| request.cbor()["MetricData"][0]["Value"].clone()).collect();
    assert_eq!(values, [json!(1.0), json!(2.0)]);
    assert_eq!(report.outcomes[0], Outcome::Delivered);
    assert!(report.outcomes[1..].iter().all(|outcome| matches!(outcome, Outcome::Failed(_))));
}

#[tokio::test]
async fn transient_errors_are_retried_and_permanent_ones_fail_at_once() {
    for transient in [
        error(400, "Throttling"),
        error(400, "ThrottlingException"),
        error(500, "InternalServiceFault"),
        ScriptedResponse::Close,
    ] {
        let server = Server::new([transient.clone(), accepted()]);
        assert_eq!(send(&server, &[request(&[1])]).await.outcomes, [Outcome::Delivered], "{transient:?}");
        assert_eq!(server.requests().len(), 2, "{transient:?}");
    }
    let server = Server::new([error(403, "AccessDeniedException"), accepted()]);
    let report = send(&server, &[request(&[1])]).await;
    let denied = "the role may not do cloudwatch:PutMetricData on namespace accidents";
    assert!(matches!(&report.outcomes[0], Outcome::Failed(why) if why.starts_with(denied)), "{report:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn separate_latency_lists_each_value_with_its_number() {
    let server = Server::new([accepted()]);
    let namespace = Namespace::new(Client::new(&server.config().await), "accidents");
    let latencies = Latencies { namespace, metric: LatencyMetric::new(EVENT_TO_ALERT, &common()) };
    let at = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    let received = [3, 1, 3].map(|seconds| at - TimeDelta::seconds(seconds)).to_vec();
    let report = deliver(&latencies, &[LatencySample { at, received }], Order::Kept, deadline()).await;
    assert_eq!(report.outcomes, [Outcome::Delivered]);
    let datum = &server.requests()[0].cbor()["MetricData"][0];
    assert_eq!(datum["MetricName"], "EventToAlert");
    assert_eq!(datum["Timestamp"].as_f64(), Some(1_700_000_000.0));
    assert_eq!((&datum["Values"], &datum["Counts"]), (&json!([1_000.0, 3_000.0]), &json!([1.0, 2.0])));
    let dimensions =
        json!([{"Name": "Dataset", "Value": "us_accidents"}, {"Name": "Environment", "Value": "dev"}]);
    assert_eq!(datum["Dimensions"], dimensions);
}
