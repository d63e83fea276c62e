//! What two or more of the functions use: the data set, cells and events, Kinesis records in, delivery,
//! rejects, the books and the configuration.
//!
//! [`aws`] alone knows the AWS SDK; every other module takes values in and gives values out.

pub mod ages;
pub mod aws;
pub mod books;
pub mod cell;
pub mod config;
pub mod dataset;
pub mod delivery;
pub mod dimension;
pub mod event;
pub mod excerpt;
pub mod invocation;
pub mod json;
pub mod kinesis;
pub mod kpl;
pub mod ledger;
pub mod non_finite;
pub mod pack;
pub mod reader;
pub mod reject;
pub mod runtime;
pub mod scan;
pub mod time;
pub mod trail;
pub mod writer;
