//! The ports of the measured functions: requests are prepared as for the services and counted, but not sent.

use aws_sdk_cloudwatch::config::BehaviorVersion;
use bytes::Bytes;
use fakes::RepeatedObject;

/// Bytes of a chunk, as they arrive from the network.
const CHUNK: usize = 64 * 1024;

/// An object with that text.
pub(crate) fn once(text: Bytes) -> RepeatedObject {
    RepeatedObject::new(Bytes::new(), text, 1, CHUNK)
}

/// An object with the rows of that CSV, repeated so many times.
pub(crate) fn repeated(csv: &Bytes, blocks: u64) -> RepeatedObject {
    let header = csv.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    RepeatedObject::new(csv.slice(..header), csv.slice(header..), blocks, CHUNK)
}

/// Clients that are never called.
pub(crate) mod clients {
    use super::BehaviorVersion;

    pub(crate) fn kinesis() -> aws_sdk_kinesis::Client {
        let config = aws_sdk_kinesis::Config::builder().behavior_version(BehaviorVersion::latest());
        aws_sdk_kinesis::Client::from_conf(config.build())
    }

    pub(crate) fn firehose() -> aws_sdk_firehose::Client {
        let config = aws_sdk_firehose::Config::builder().behavior_version(BehaviorVersion::latest());
        aws_sdk_firehose::Client::from_conf(config.build())
    }

    pub(crate) fn cloudwatch() -> aws_sdk_cloudwatch::Client {
        let config = aws_sdk_cloudwatch::Config::builder().behavior_version(BehaviorVersion::latest());
        aws_sdk_cloudwatch::Client::from_conf(config.build())
    }

    pub(crate) fn sns() -> aws_sdk_sns::Client {
        let config = aws_sdk_sns::Config::builder().behavior_version(BehaviorVersion::latest());
        aws_sdk_sns::Client::from_conf(config.build())
    }
}
