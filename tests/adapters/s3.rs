//! S3.

use ingest::{
    checkpoint::Checkpoints as _,
    s3::{Buckets, Object as _, Objects as _},
};
use shared::delivery::Fault;

use super::server::{Answer, Server};

fn error(status: u16, code: &str) -> Answer {
    Answer::xml(status, &format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>"))
}

fn object(body: &str) -> Answer {
    Answer::Send(200, "text/csv", body.as_bytes().to_vec())
}

async fn buckets(server: &Server) -> Buckets {
    Buckets::new(&server.config().await)
}

#[tokio::test]
async fn an_object_is_read_from_its_beginning_or_from_a_byte_if_it_is_the_same_still() {
    let server = Server::new([object("ID\nA-1\n"), object("A-1\n")]);
    let buckets = buckets(&server).await;
    for from in [0, 3] {
        let mut download = buckets.open("inbox", "a b.csv", from, "tag").await.unwrap();
        let mut body = Vec::new();
        while let Some(chunk) = download.chunk().await.unwrap() {
            body.extend_from_slice(&chunk);
        }
        assert_eq!(body, "ID\nA-1\n".as_bytes()[usize::try_from(from).unwrap()..]);
        assert_eq!(download.metadata("date_order"), Some("dmy"));
    }
    let requests = server.requests();
    for request in &requests {
        assert!(request.line.starts_with("GET /inbox/a%20b.csv"), "{}", request.line);
    }
    assert_eq!((requests[0].header("range"), requests[0].header("if-match")), (None, None));
    assert_eq!(requests[1].header("range"), Some("bytes=3-"));
    assert_eq!(requests[1].header("if-match"), Some("\"tag\""));
}

#[tokio::test]
async fn an_object_that_is_not_there_is_no_passing_fault_and_slow_down_is() {
    for (answers, fault) in [
        (vec![error(404, "NoSuchKey")], Fault::Permanent),
        (vec![error(412, "PreconditionFailed")], Fault::Permanent),
        (vec![error(403, "AccessDenied")], Fault::Misconfigured),
        (vec![error(404, "NoSuchBucket")], Fault::Misconfigured),
        (vec![error(503, "SlowDown"); 3], Fault::Throttled),
    ] {
        let server = Server::new(answers.clone());
        let failure = buckets(&server).await.open("inbox", "a.csv", 0, "").await.err().unwrap();
        assert_eq!(failure.fault, fault, "{failure:?}");
        // Nothing else tries an object again, so that the SDK does.
        assert_eq!(server.requests().len(), answers.len());
    }
    let server = Server::new([error(503, "SlowDown"), object("ID\n")]);
    assert!(buckets(&server).await.open("inbox", "a.csv", 0, "").await.is_ok());
}

#[tokio::test]
async fn a_checkpoint_is_saved_and_loaded_and_may_be_missing() {
    let server = Server::new([object(""), object("{\"from\":7}"), error(404, "NoSuchKey")]);
    let buckets = buckets(&server).await;
    buckets.save("inbox", "checkpoints/a", "{\"from\":7}".into()).await.unwrap();
    assert_eq!(buckets.load("inbox", "checkpoints/a").await.unwrap().unwrap(), "{\"from\":7}");
    assert_eq!(buckets.load("inbox", "checkpoints/a").await.unwrap(), None);
    let requests = server.requests();
    assert!(requests[0].line.starts_with("PUT /inbox/checkpoints/a"), "{}", requests[0].line);
    let body = String::from_utf8_lossy(&requests[0].body).into_owned();
    assert!(body.contains("{\"from\":7}"), "{body}");
    assert!(requests[1].line.starts_with("GET /inbox/checkpoints/a"), "{}", requests[1].line);
}
