//! The requests to Firehose, and how the adapter handles the responses.

use bytes::Bytes;
use serde_json::{Value, json};
use shared::{
    aws::DeliveryStream,
    delivery::{Order, Outcome, Report, deliver},
};

use super::server::{ScriptedResponse, Server, deadline, split_into_requests};

const DONE: Outcome = Outcome::Delivered;

/// A response with a result for each entry: refused with a code, or accepted.
fn results(codes: &[Option<&str>]) -> ScriptedResponse {
    let result = |code: Option<&str>| match code {
        Some(code) => json!({"ErrorCode": code, "ErrorMessage": "a scripted refusal"}),
        None => json!({"RecordId": "r"}),
    };
    let refused = codes.iter().flatten().count();
    let records: Vec<Value> = codes.iter().copied().map(result).collect();
    ScriptedResponse::json(200, &json!({"FailedPutCount": refused, "RequestResponses": records}))
}

fn accepted(count: usize) -> ScriptedResponse {
    results(&vec![None; count])
}

async fn send(server: &Server, records: &[Bytes]) -> Report {
    let stream = DeliveryStream::new(&server.config().await, "rejects");
    deliver(&stream, records, Order::Kept, deadline()).await
}

/// The bytes of each record of each request.
fn sent(server: &Server) -> Vec<Vec<Vec<u8>>> {
    let data =
        |record: &Value| base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
    let records = |body: Value| body["Records"].as_array().unwrap().iter().map(data).collect();
    server.requests().iter().map(|request| records(request.json())).collect()
}

#[tokio::test]
async fn request_names_the_delivery_stream_and_keeps_the_order() {
    let server = Server::new([accepted(2)]);
    let records = ["{}\n", "[]\n"].map(Bytes::from);
    assert_eq!(send(&server, &records).await.outcomes, [DONE, DONE]);
    let requests = server.requests();
    assert_eq!(requests[0].header("x-amz-target"), Some("Firehose_20150804.PutRecordBatch"));
    // `{}` and `[]`, each with a line feed, in base64.
    let expected = json!({"DeliveryStreamName": "rejects", "Records": [{"Data": "e30K"}, {"Data": "W10K"}]});
    assert_eq!((requests.len(), requests[0].json()), (1, expected));
}

#[tokio::test]
async fn refused_records_and_those_without_a_result_are_retried() {
    let unknown = ScriptedResponse::json(200, &json!({"FailedPutCount": 0, "RequestResponses": [{}]}));
    let server = Server::new([
        results(&[Some("ServiceUnavailableException"), None, Some("InternalFailure"), None]),
        unknown,
        accepted(2),
    ]);
    let records = ["a", "b", "c", "d"].map(Bytes::from);
    assert_eq!(send(&server, &records).await.outcomes, vec![DONE; 4]);
    assert_eq!(sent(&server), [vec![b"a", b"b", b"c", b"d"], vec![b"a", b"c"], vec![b"a", b"c"]]);
}

#[tokio::test]
async fn missing_permission_or_key_fails_at_once() {
    for (answer, sentence) in [
        (
            ScriptedResponse::error(400, "AccessDeniedException"),
            "the role may not do firehose:PutRecordBatch on",
        ),
        (
            ScriptedResponse::error(400, "InvalidKMSResourceException"),
            "the KMS key of delivery stream rejects",
        ),
        (results(&[Some("AccessDeniedException")]), "the role may not do firehose:PutRecordBatch on"),
    ] {
        let server = Server::new([answer, accepted(1)]);
        let report = send(&server, &[Bytes::from("a")]).await;
        assert!(
            matches!(&report.outcomes[0], Outcome::Failed(why) if why.starts_with(sentence)),
            "{report:?}"
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn requests_contain_at_most_500_records() {
    let server = Server::new([accepted(500), accepted(1)]);
    let records: Vec<_> = (0..501_u32).map(|n| Bytes::from(n.to_string())).collect();
    assert_eq!(send(&server, &records).await.outcomes, vec![DONE; 501]);
    assert_eq!(sent(&server).iter().map(Vec::len).collect::<Vec<_>>(), [500, 1]);
}

#[tokio::test]
async fn requests_and_records_stay_within_byte_limits() {
    const RECORD: usize = 1_000 * 1024;
    const LEFT: usize = 4 * 1024 * 1024 - 4 * RECORD;
    let stream = DeliveryStream::new(&Server::new([]).config().await, "rejects");
    for (sizes, too_large, requests) in [
        (&[RECORD, RECORD, RECORD, RECORD, LEFT][..], vec![], vec![5]),
        (&[RECORD, RECORD, RECORD, RECORD, LEFT + 1], vec![], vec![4, 1]),
        (&[RECORD, RECORD + 1, 1], vec![1], vec![2]),
    ] {
        let records: Vec<_> = sizes.iter().map(|bytes| Bytes::from(vec![b'x'; *bytes])).collect();
        assert_eq!(split_into_requests(&stream, &records).await, (requests, too_large), "{sizes:?}");
    }
}
