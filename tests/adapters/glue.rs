//! The requests to the Glue catalog, and how the adapter handles the responses.

use std::{net::TcpListener, time::Duration};

use aws_config::timeout::TimeoutConfig;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use shared::{aws::glue::Glue, delivery::Fault};
use tokio::time::timeout;
use transform::{
    glue::{Catalog as _, Table},
    partitions::{Partition, Registered},
};

use super::{
    log::Log,
    server::{ScriptedResponse, Server},
};

fn table() -> ScriptedResponse {
    let storage = json!({
        "Location": "s3://lake/traffic/us/analytical/",
        "Columns": [{"Name": "id", "Type": "string"}],
        "SerdeInfo": {"SerializationLibrary": "parquet"},
    });
    ScriptedResponse::json(200, &json!({"Table": {"Name": "analytical", "StorageDescriptor": storage}}))
}

/// An answer that refuses the partitions of some severities, each with its code.
fn created(refused: &[(i64, &str)]) -> ScriptedResponse {
    let error = |(severity, code): &(i64, &str)| {
        json!({
            "PartitionValues": [severity.to_string(), "2022", "12", "24"],
            "ErrorDetail": {"ErrorCode": code, "ErrorMessage": "a scripted refusal"},
        })
    };
    ScriptedResponse::json(200, &json!({"Errors": refused.iter().map(error).collect::<Vec<_>>()}))
}

/// One partition for each severity up to `count`, on one day.
fn partitions(severities: i64) -> Vec<Partition> {
    let noon: DateTime<Utc> = "2022-12-24T12:00:00Z".parse().unwrap();
    Registered::default().due(1..=severities, noon)
}

async fn connect(server: &Server) -> Table {
    Table::new(Glue::new(&server.config().await), "accidents", "analytical")
}

/// The called operations, each with the severities of its partitions.
fn called(server: &Server) -> Vec<(String, Vec<i64>)> {
    let severity = |input: &Value| input["Values"][0].as_str().unwrap().parse().unwrap();
    let call = |request: &super::server::Request| {
        let (_, operation) = request.header("x-amz-target").unwrap().split_once('.').unwrap();
        let inputs = request.json()["PartitionInputList"].as_array().cloned().unwrap_or_default();
        (operation.to_owned(), inputs.iter().map(severity).collect())
    };
    server.requests().iter().map(call).collect()
}

#[tokio::test]
async fn partition_has_the_tables_storage_at_its_own_location() {
    let server = Server::new([table(), created(&[]), created(&[])]);
    let table = connect(&server).await;
    for _ in 0..2 {
        assert_eq!(table.register(&partitions(1)).await.unwrap(), partitions(1));
    }
    let operations: Vec<_> = called(&server).into_iter().map(|(operation, _)| operation).collect();
    assert_eq!(operations, ["GetTable", "BatchCreatePartition", "BatchCreatePartition"]);
    let expected = json!({
        "DatabaseName": "accidents",
        "TableName": "analytical",
        "PartitionInputList": [{
            "Values": ["1", "2022", "12", "24"],
            "StorageDescriptor": {
                "Location": "s3://lake/traffic/us/analytical/severity=1/year=2022/month=12/day=24/",
                "Columns": [{"Name": "id", "Type": "string"}],
                "SerdeInfo": {"SerializationLibrary": "parquet"},
            },
        }],
    });
    assert_eq!(server.requests()[1].json(), expected);
}

#[tokio::test]
async fn call_is_a_signed_post_to_glue() {
    let server = Server::new([table(), created(&[])]);
    connect(&server).await.register(&partitions(1)).await.unwrap();
    for (request, operation) in server.requests().iter().zip(["GetTable", "BatchCreatePartition"]) {
        let header = |name: &str| request.header(name).unwrap();
        assert_eq!(request.line, "POST /");
        assert_eq!(header("content-type"), "application/x-amz-json-1.1");
        assert_eq!(header("x-amz-target"), format!("AWSGlue.{operation}"));
        let (credential, signed) = header("authorization").split_once(", ").unwrap();
        assert!(credential.starts_with("AWS4-HMAC-SHA256 Credential="), "{credential}");
        assert!(credential.ends_with("/eu-west-1/glue/aws4_request"), "{credential}");
        assert!(signed.contains("content-type;host;x-amz-date;x-amz-target"), "{signed}");
        assert!(header("x-amz-user-agent").contains("api/glue/"), "{}", header("x-amz-user-agent"));
    }
    assert_eq!(server.requests()[0].json(), json!({"DatabaseName": "accidents", "Name": "analytical"}));
}

#[tokio::test]
async fn silent_glue_is_given_up_after_the_timeout_of_the_configuration() {
    // It accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let timeouts = TimeoutConfig::builder().operation_timeout(Duration::from_millis(50)).build();
    let config = Server::new([]).config().await.into_builder();
    let config = config.endpoint_url(format!("http://{}", silent.local_addr().unwrap()));
    let glue = Glue::new(&config.timeout_config(timeouts).build());
    let register = async { Table::new(glue, "accidents", "analytical").register(&partitions(1)).await };
    let failure = timeout(Duration::from_secs(10), register).await.unwrap().unwrap_err();
    assert_eq!(failure.fault, Fault::Transient);
    assert!(failure.detail.ends_with("was not answered in time"), "{failure:?}");
}

#[tokio::test]
async fn partitions_are_created_a_hundred_in_a_call() {
    let server = Server::new([table(), created(&[]), created(&[]), created(&[])]);
    let registered = connect(&server).await.register(&partitions(201)).await.unwrap();
    assert_eq!(registered, partitions(201));
    let calls = called(&server);
    assert_eq!(calls[1..].iter().map(|(_, severities)| severities.len()).collect::<Vec<_>>(), [100, 100, 1]);
    let all: Vec<i64> = calls.into_iter().flat_map(|(_, severities)| severities).collect();
    assert_eq!(all, (1..=201).collect::<Vec<_>>());
}

#[tokio::test]
async fn existing_partition_is_registered_and_refused_one_is_not() {
    let refused = [(2, "AlreadyExistsException"), (3, "ResourceNumberLimitExceededException")];
    let server = Server::new([table(), created(&refused)]);
    let registered = connect(&server).await.register(&partitions(4)).await.unwrap();
    let severities: Vec<_> = registered.iter().map(|partition| partition.severity).collect();
    assert_eq!(severities, [1, 2, 4]);
}

#[tokio::test]
async fn refused_partitions_are_logged_in_one_line_for_each_code() {
    let many = (1..=60).map(|severity| (severity, "ResourceNumberLimitExceededException"));
    let others = [(61, "InternalServiceException"), (62, "AlreadyExistsException")];
    let refused: Vec<_> = many.chain(others).collect();
    let server = Server::new([table(), created(&refused)]);
    let log = Log::default();
    let guard = tracing::subscriber::set_default(log.clone());
    connect(&server).await.register(&partitions(62)).await.unwrap();
    drop(guard);
    let events = log.warnings();
    let of = |code: &str, parts: &[&str]| {
        let lines: Vec<_> = events.iter().filter(|event| event.contains(code)).collect();
        assert_eq!(lines.len(), 1, "{events:?}");
        for part in parts {
            assert!(lines[0].contains(part), "{}", lines[0]);
        }
    };
    of("InternalServiceException", &["Glue refused partitions", "count=1 ", "61/2022/12/24"]);
    of(
        "ResourceNumberLimitExceededException",
        &["count=60 ", "1/2022/12/24, 2/2022/12/24", "5/2022/12/24, …"],
    );
    assert!(!events.iter().any(|event| event.contains("AlreadyExists")), "{events:?}");
}

#[tokio::test]
async fn partitions_of_a_first_call_survive_a_failed_second() {
    let server =
        Server::new([table(), created(&[]), ScriptedResponse::error(400, "OperationTimeoutException")]);
    let registered = connect(&server).await.register(&partitions(150)).await.unwrap();
    assert_eq!(registered, partitions(150)[..100]);
}

#[tokio::test]
async fn failure_names_its_cause_and_whether_it_is_transient() {
    for (script, fault, sentence) in [
        (
            vec![ScriptedResponse::error(400, "EntityNotFoundException")],
            Fault::Misconfigured,
            "there is no Glue table",
        ),
        (
            vec![table(), ScriptedResponse::error(400, "AccessDeniedException")],
            Fault::Misconfigured,
            "the role may not do glue:BatchCreatePartition on Glue table accidents.analytical",
        ),
        (
            vec![table(), ScriptedResponse::error(400, "InvalidInputException")],
            Fault::Permanent,
            "glue:Batch",
        ),
        (vec![table(), ScriptedResponse::Close], Fault::Transient, "glue:BatchCreatePartition on Glue table"),
        (
            vec![table(), ScriptedResponse::error(500, "InternalServiceException")],
            Fault::Transient,
            "glue:Batch",
        ),
        (vec![ScriptedResponse::json(200, &json!({"Table": {"Name": "t"}}))], Fault::Permanent, "Glue table"),
    ] {
        let server = Server::new(script);
        let failure = connect(&server).await.register(&partitions(1)).await.unwrap_err();
        assert_eq!(failure.fault, fault, "{failure:?}");
        assert!(failure.detail.starts_with(sentence), "{failure:?}");
    }
}
