//! The ports of the measured functions: requests are prepared as for the services and counted, but not sent.

use aws_config::{BehaviorVersion, SdkConfig};
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

/// The configuration of clients that are never called.
pub(crate) fn config() -> SdkConfig {
    SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build()
}
