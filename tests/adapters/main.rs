//! The adapters over services that answer by script: what they send and how they read the answers, through the whole
//! SDK.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cbor;
mod cloudwatch;
mod firehose;
mod glue;
mod kinesis;
mod s3;
mod server;
mod sns;
