//! The requests to S3, and how the adapter handles the responses.

use ingest::{
    checkpoint::Checkpoints as _,
    s3::{Buckets, Object as _, ObjectVersion, Objects as _},
};
use shared::delivery::{Failure, Fault};

use super::server::{ScriptedResponse, Server};

fn error(status: u16, code: &str) -> ScriptedResponse {
    ScriptedResponse::xml(status, &format!("<Error><Code>{code}</Code><Message>scripted</Message></Error>"))
}

fn object(body: &str) -> ScriptedResponse {
    ScriptedResponse::Send(200, "text/csv", body.as_bytes().to_vec())
}

async fn buckets(server: &Server) -> Buckets {
    Buckets::new(&server.config().await)
}

/// An object of the inbox in that version, or with that entity tag.
fn inbox(key: &str, version_id: Option<&str>, etag: &str) -> ObjectVersion {
    ObjectVersion {
        bucket: "inbox".to_owned(),
        key: key.to_owned(),
        version_id: version_id.map(str::to_owned),
        etag: Some(etag.to_owned()),
        sequencer: None,
    }
}

#[tokio::test]
async fn object_is_read_by_version_or_by_entity_tag() {
    for (version, query, tag) in [(Some("v1"), "versionId=v1", None), (None, "", Some("\"tag\""))] {
        let server = Server::new([object("ID\nA-1\n"), object("A-1\n")]);
        let buckets = buckets(&server).await;
        for from in [0, 3] {
            let mut download = buckets.open(&inbox("a b.csv", version, "tag"), from).await.unwrap();
            let mut body = Vec::new();
            while let Some(chunk) = download.chunk().await.unwrap() {
                body.extend_from_slice(&chunk);
            }
            assert_eq!(body, "ID\nA-1\n".as_bytes()[usize::try_from(from).unwrap()..]);
            assert_eq!(download.metadata("date_order"), Some("dmy"));
            assert_eq!(download.content_type(), Some("text/csv"));
        }
        let requests = server.requests();
        for request in &requests {
            assert!(request.line.starts_with("GET /inbox/a%20b.csv"), "{}", request.line);
            assert!(request.line.contains(query), "{}", request.line);
            assert_eq!(request.header("if-match"), tag);
        }
        assert_eq!((requests[0].header("range"), requests[1].header("range")), (None, Some("bytes=3-")));
    }
}

#[tokio::test]
async fn endpoint_other_than_aws_has_the_bucket_in_the_path() {
    let server = Server::new([object("ID\n")]);
    let buckets = Buckets::new(&server.config_by_name().await);
    buckets.open(&inbox("a.csv", None, "tag"), 0).await.unwrap();
    let requests = server.requests();
    assert!(requests[0].line.starts_with("GET /inbox/a.csv"), "{}", requests[0].line);
    assert!(requests[0].header("host").unwrap().starts_with("localhost:"));
}

#[tokio::test]
async fn range_at_the_end_is_empty_and_at_the_beginning_an_error() {
    let server = Server::new([error(416, "InvalidRange"), object("ID\n"), error(416, "InvalidRange")]);
    let buckets = buckets(&server).await;
    let mut download = buckets.open(&inbox("a.csv", None, "tag"), 3).await.unwrap();
    assert_eq!((download.size(), download.chunk().await.unwrap()), (None, None));
    assert_eq!(buckets.open(&inbox("a.csv", None, "tag"), 0).await.unwrap().size(), Some(3));
    assert!(buckets.open(&inbox("a.csv", None, "tag"), 0).await.is_err());
}

#[tokio::test]
async fn missing_object_is_permanent_and_slow_down_is_transient() {
    for (answers, fault) in [
        (vec![error(404, "NoSuchKey")], Fault::Permanent),
        (vec![error(412, "PreconditionFailed")], Fault::Permanent),
        (vec![error(403, "AccessDenied")], Fault::Misconfigured),
        (vec![error(404, "NoSuchBucket")], Fault::Misconfigured),
        (vec![error(503, "SlowDown"); 3], Fault::Throttled),
    ] {
        let server = Server::new(answers.clone());
        let failure = buckets(&server).await.open(&inbox("a.csv", None, "tag"), 0).await.err().unwrap();
        assert_eq!(failure.fault, fault, "{failure:?}");
        // Nothing else retries an object, so the SDK does.
        assert_eq!(server.requests().len(), answers.len());
    }
    let server = Server::new([error(503, "SlowDown"), object("ID\n")]);
    assert!(buckets(&server).await.open(&inbox("a.csv", None, "tag"), 0).await.is_ok());
}

#[tokio::test]
async fn missing_permission_is_named() {
    for (version, action) in [(None, "s3:GetObject"), (Some("v1"), "s3:GetObjectVersion")] {
        let server = Server::new([error(403, "AccessDenied")]);
        let failure = buckets(&server).await.open(&inbox("a.csv", version, "tag"), 0).await.err().unwrap();
        let sentence = format!("the role may not do {action} on object inbox/a.csv: ");
        assert!(failure.detail.starts_with(&sentence), "{failure:?}");
    }
}

#[tokio::test]
async fn unreadable_checkpoint_is_not_a_missing_one() {
    for (answer, fault) in [
        (error(403, "AccessDenied"), Fault::Misconfigured),
        (error(404, "NoSuchBucket"), Fault::Misconfigured),
        (error(400, "InvalidRequest"), Fault::Permanent),
    ] {
        let server = Server::new([answer]);
        let failure = buckets(&server).await.load("inbox", "checkpoints/a").await.unwrap_err();
        assert_eq!(failure.fault, fault, "{failure:?}");
    }
}

#[tokio::test]
async fn checkpoint_is_saved_and_loaded_and_may_be_missing() {
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

#[tokio::test]
async fn size_of_a_part_is_that_of_the_whole_object() {
    let part = "HTTP/1.1 206 Partial\r\nContent-Range: bytes 3-9/10\r\nContent-Length: 7\r\n\r\nA-1\nA-2";
    let server = Server::new([ScriptedResponse::Raw(part.to_owned())]);
    let mut download = buckets(&server).await.open(&inbox("a.csv", None, "tag"), 3).await.unwrap();
    assert_eq!(download.size(), Some(10));
    assert_eq!(download.chunk().await.unwrap().unwrap(), "A-1\nA-2");
    assert_eq!(download.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn download_that_breaks_off_may_be_retried() {
    let broken = || ScriptedResponse::Raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nID\n".to_owned());
    let server = Server::new([broken(), broken()]);
    let buckets = buckets(&server).await;
    let failure = |name: &str| Failure {
        fault: Fault::Transient,
        detail: format!("reading object inbox/{name} broke off"),
    };
    let mut download = buckets.open(&inbox("a.csv", None, "tag"), 0).await.unwrap();
    let end = loop {
        match download.chunk().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(end, Err(failure("a.csv")));
    assert_eq!(buckets.load("inbox", "checkpoints/a").await, Err(failure("checkpoints/a")));
}
