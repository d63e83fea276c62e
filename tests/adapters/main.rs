//! The adapters against servers that answer from a script: their requests and how they read the answers, through the
//! whole SDK.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod cbor;
mod cloudwatch;
mod firehose;
mod glue;
mod kinesis;
mod s3;
mod server;
mod sns;
