//! Records of Kinesis streams: batches of them, aggregates of the KPL, and packing.

pub mod batch;
pub mod kpl;
pub mod pack;
pub mod record;

pub use self::record::StreamRecord;
