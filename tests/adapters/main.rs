//! The adapters against servers that answer from a script: their requests and how they read the answers, through the
//! whole SDK.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod cbor;
mod cloudwatch;
mod firehose;
mod glue;
mod kinesis;
mod log;
mod s3;
mod server;
mod sns;

#[tokio::test]
async fn clients_wait_five_seconds_for_a_connection_and_do_not_retry() {
    let config = server::Server::new([]).config().await;
    let connect = config.timeout_config().unwrap().connect_timeout();
    assert_eq!(connect, Some(std::time::Duration::from_secs(5)));
    assert_eq!(config.retry_config().unwrap().max_attempts(), 1, "shared::delivery retries");
}
