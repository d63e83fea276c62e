//! What two or more of the functions use, in floors. Each floor uses only those above it in this list:
//!
//! - [`json`] reads and writes JSON;
//! - [`data`] knows the data set, its events, cells and times;
//! - [`delivery`] sends entries to a service until it took them, and writes rejects;
//! - [`stream`] knows the records of Kinesis streams;
//! - [`lambda`] knows configuration and invocations;
//! - [`audit`] accounts for every record;
//! - [`aws`] is the only one that knows the AWS SDK.

pub mod audit;
pub mod aws;
pub mod data;
pub mod delivery;
pub mod json;
pub mod lambda;
pub mod stream;
