//! Code that two or more functions use, in layers. Each layer uses only those above it in this list:
//!
//! - [`json`] reads and writes JSON;
//! - [`data`] describes the data set, its events, cells and times;
//! - [`delivery`] sends entries to a service until it accepts them, and writes rejects;
//! - [`stream`] decodes and packs the records of Kinesis streams;
//! - [`lambda`] reads the configuration and runs invocations;
//! - [`audit`] accounts for every record;
//! - [`aws`] is the only layer that uses the AWS SDK.

pub mod audit;
pub mod aws;
pub mod data;
pub mod delivery;
pub mod json;
pub mod lambda;
pub mod stream;
