//! Firehose.

use bytes::Bytes;
use serde_json::{Value, json};
use shared::{
    aws::DeliveryStream,
    delivery::{Order, Outcome, Report, deliver},
};

use super::server::{Answer, Server, deadline, divided};

/// An answer with a result for each entry: refused with a code, or accepted.
fn results(codes: &[Option<&str>]) -> Answer {
    let result = |code: Option<&str>| match code {
        Some(code) => json!({"ErrorCode": code, "ErrorMessage": "a scripted refusal"}),
        None => json!({"RecordId": "r"}),
    };
    let refused = codes.iter().flatten().count();
    let records: Vec<Value> = codes.iter().copied().map(result).collect();
    Answer::json(200, &json!({"FailedPutCount": refused, "RequestResponses": records}))
}

fn taken(count: usize) -> Answer {
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

const DONE: Outcome = Outcome::Delivered;

#[tokio::test]
async fn request_names_the_delivery_stream_and_keeps_the_order() {
    let server = Server::new([taken(2)]);
    let records = ["{}\n", "[]\n"].map(Bytes::from);
    assert_eq!(send(&server, &records).await.outcomes, [DONE, DONE]);
    let requests = server.requests();
    assert_eq!(requests[0].header("x-amz-target"), Some("Firehose_20150804.PutRecordBatch"));
    let expected = json!({"DeliveryStreamName": "rejects", "Records": [{"Data": "e30K"}, {"Data": "W10K"}]});
    assert_eq!((requests.len(), requests[0].json()), (1, expected));
}

#[tokio::test]
async fn refused_records_and_those_without_a_result_are_retried() {
    let unknown = Answer::json(200, &json!({"FailedPutCount": 0, "RequestResponses": [{}]}));
    let server = Server::new([
        results(&[Some("ServiceUnavailableException"), None, Some("InternalFailure"), None]),
        unknown,
        taken(2),
    ]);
    let records = ["a", "b", "c", "d"].map(Bytes::from);
    assert_eq!(send(&server, &records).await.outcomes, vec![DONE; 4]);
    assert_eq!(sent(&server), [vec![b"a", b"b", b"c", b"d"], vec![b"a", b"c"], vec![b"a", b"c"]]);
}

#[tokio::test]
async fn missing_permission_or_key_fails_at_once() {
    for (answer, sentence) in [
        (Answer::error(400, "AccessDeniedException"), "the role may not do firehose:PutRecordBatch on"),
        (Answer::error(400, "InvalidKMSResourceException"), "the KMS key of delivery stream rejects"),
        (results(&[Some("AccessDeniedException")]), "the role may not do firehose:PutRecordBatch on"),
    ] {
        let server = Server::new([answer, taken(1)]);
        let report = send(&server, &[Bytes::from("a")]).await;
        assert!(
            matches!(&report.outcomes[0], Outcome::Failed(why) if why.starts_with(sentence)),
            "{report:?}"
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn requests_hold_at_most_five_hundred_records() {
    let server = Server::new([taken(500), taken(1)]);
    let records: Vec<_> = (0..501_u32).map(|n| Bytes::from(n.to_string())).collect();
    assert_eq!(send(&server, &records).await.outcomes, vec![DONE; 501]);
    assert_eq!(sent(&server).iter().map(Vec::len).collect::<Vec<_>>(), [500, 1]);
}

#[tokio::test]
async fn requests_and_records_keep_to_their_bytes() {
    const RECORD: usize = 1_000 * 1024;
    const LEFT: usize = 4 * 1024 * 1024 - 4 * RECORD;
    let stream = DeliveryStream::new(&Server::new([]).config().await, "rejects");
    for (sizes, too_large, requests) in [
        (&[RECORD, RECORD, RECORD, RECORD, LEFT][..], vec![], vec![5]),
        (&[RECORD, RECORD, RECORD, RECORD, LEFT + 1], vec![], vec![4, 1]),
        (&[RECORD, RECORD + 1, 1], vec![1], vec![2]),
    ] {
        let records: Vec<_> = sizes.iter().map(|bytes| Bytes::from(vec![b'x'; *bytes])).collect();
        assert_eq!(divided(&stream, &records).await, (requests, too_large), "{sizes:?}");
    }
}
