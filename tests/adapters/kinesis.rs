//! The requests to Kinesis Data Streams, and how the adapter handles the responses.

use bytes::Bytes;
use serde_json::{Value, json};
use shared::{
    aws::Stream,
    delivery::{Order, Outcome, Report, Service as _, deliver},
    stream::StreamRecord,
};

use super::server::{ScriptedResponse, Server, deadline, split_into_requests};

/// An answer with a result for each entry: refused with a code, or accepted.
fn results(codes: &[Option<&str>]) -> ScriptedResponse {
    let result = |code: Option<&str>| match code {
        Some(code) => json!({"ErrorCode": code, "ErrorMessage": "a scripted refusal"}),
        None => json!({"SequenceNumber": "4959", "ShardId": "shardId-000000000000"}),
    };
    let refused = codes.iter().flatten().count();
    let records: Vec<Value> = codes.iter().copied().map(result).collect();
    ScriptedResponse::json(200, &json!({"FailedRecordCount": refused, "Records": records}))
}

fn accepted(count: usize) -> ScriptedResponse {
    results(&vec![None; count])
}

async fn send(server: &Server, records: &[StreamRecord]) -> Report {
    let stream = Stream::new(&server.config().await, "s1");
    deliver(&stream, records, Order::PerKey(StreamRecord::partition_key), deadline()).await
}

fn record(key: &str, data: &str) -> StreamRecord {
    StreamRecord::new(key, Bytes::from(data.to_owned()))
}

/// The data of each request, as texts.
fn sent(server: &Server) -> Vec<Vec<String>> {
    let data = |record: &Value| {
        let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
        String::from_utf8(data).unwrap()
    };
    let records = |body: Value| body["Records"].as_array().unwrap().iter().map(data).collect();
    server.requests().iter().map(|request| records(request.json())).collect()
}

const DONE: Outcome = Outcome::Delivered;

#[tokio::test]
async fn size_counts_the_bytes_of_the_partition_key() {
    let stream = Stream::new(&Server::new([]).config().await, "s1");
    assert_eq!(stream.size(&record("Doña Ana", "one\n")), 9 + 4);
}

#[tokio::test]
async fn request_names_the_stream_and_keeps_the_order() {
    let server = Server::new([accepted(2)]);
    let placed = StreamRecord::placed("range-7", "170141183460469231731687303715884105727", "pack".into());
    let report = send(&server, &[record("Doña Ana", "one\n"), placed]).await;
    assert_eq!(report.outcomes, [DONE, DONE]);
    let requests = server.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].header("x-amz-target"), Some("Kinesis_20131202.PutRecords"));
    let expected = json!({
        "StreamName": "s1",
        "Records": [
            {"Data": "b25lCg==", "PartitionKey": "Doña Ana"},
            {
                "Data": "cGFjaw==",
                "PartitionKey": "range-7",
                "ExplicitHashKey": "170141183460469231731687303715884105727",
            },
        ],
    });
    assert_eq!(requests[0].json(), expected);
}

#[tokio::test]
async fn refused_records_are_found_by_position_and_retried() {
    let throttled = Some("ProvisionedThroughputExceededException");
    let server = Server::new([
        results(&[None, throttled, None, Some("InternalFailure")]),
        results(&[None, throttled]),
        accepted(1),
    ]);
    let records = ["a", "b", "c", "d"].map(|data| record(data, data));
    let report = send(&server, &records).await;
    assert_eq!(report.outcomes, vec![DONE; 4]);
    assert_eq!(sent(&server), [vec!["a", "b", "c", "d"], vec!["b", "d"], vec!["d"]]);
}

#[tokio::test]
async fn record_without_a_result_is_retried() {
    let unknown =
        ScriptedResponse::json(200, &json!({"Records": [{"SequenceNumber": "1", "ShardId": "s"}, {}]}));
    let server = Server::new([unknown, accepted(1), accepted(1)]);
    let report = send(&server, &["a", "b", "c"].map(|data| record(data, data))).await;
    assert_eq!(report.outcomes, vec![DONE; 3]);
    assert_eq!(sent(&server), [vec!["a", "b", "c"], vec!["b", "c"], vec!["c"]]);
}

#[tokio::test]
async fn transient_errors_are_retried_and_permanent_ones_fail_at_once() {
    for transient in [
        ScriptedResponse::error(400, "ProvisionedThroughputExceededException"),
        ScriptedResponse::error(400, "KMSThrottlingException"),
        ScriptedResponse::error(400, "RequestThrottled"),
        ScriptedResponse::error(500, "InternalFailure"),
        ScriptedResponse::error(503, "SomethingNew"),
        ScriptedResponse::Send(503, "text/html", b"<html>".to_vec()),
        ScriptedResponse::Close,
    ] {
        let server = Server::new([transient.clone(), accepted(1)]);
        let report = send(&server, &[record("k", "a")]).await;
        assert_eq!(report.outcomes, [DONE], "{transient:?}");
        // A third request would be a retry of the SDK.
        assert_eq!(server.requests().len(), 2, "{transient:?}");
    }
    for (code, sentence) in [
        ("InvalidArgumentException", "kinesis:PutRecords on stream s1 was answered with"),
        ("ResourceNotFoundException", "there is no stream s1"),
        ("AccessDeniedException", "the role may not do kinesis:PutRecords on stream s1"),
        ("KMSDisabledException", "the KMS key of stream s1"),
    ] {
        let server = Server::new([ScriptedResponse::error(400, code), accepted(1)]);
        let report = send(&server, &[record("k", "a")]).await;
        let expected =
            |outcome: &Outcome| matches!(outcome, Outcome::Failed(why) if why.starts_with(sentence));
        assert!(expected(&report.outcomes[0]), "{code}: {:?}", report.outcomes);
        assert_eq!(server.requests().len(), 1, "{code}");
    }
}

#[tokio::test]
async fn missing_key_in_a_result_fails_at_once_without_rejects() {
    let server = Server::new([results(&[None, Some("KMSDisabledException")])]);
    let report = send(&server, &[record("a", "a"), record("b", "b")]).await;
    assert_eq!(report.outcomes[0], DONE);
    assert!(
        matches!(&report.outcomes[1], Outcome::Failed(why) if why.starts_with("the KMS key of stream s1"))
    );
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn requests_contain_at_most_500_records() {
    let server = Server::new([accepted(500), accepted(1)]);
    let records: Vec<_> = (0..501).map(|n| record("k", &n.to_string())).collect();
    assert_eq!(send(&server, &records).await.outcomes, vec![DONE; 501]);
    assert_eq!(sent(&server).iter().map(Vec::len).collect::<Vec<_>>(), [500, 1]);
    assert_eq!(sent(&server).concat(), (0..501).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn requests_with_partition_keys_keep_to_ten_mebibytes() {
    const MEBIBYTE: usize = 1024 * 1024;
    let key = "k".repeat(256);
    let of = |bytes: usize| StreamRecord::new(key.clone(), Bytes::from(vec![b'x'; bytes - key.len()]));
    // Ten records of a mebibyte fit in a request; one byte more does not fit in a record.
    let records: Vec<_> = (0..10).map(|_| of(MEBIBYTE)).chain([of(MEBIBYTE + 1), of(300)]).collect();
    let stream = Stream::new(&Server::new([]).config().await, "s1");
    assert_eq!(split_into_requests(&stream, &records).await, (vec![10, 1], vec![10]));
}
