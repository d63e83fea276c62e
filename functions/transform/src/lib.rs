//! The transform function: writes the severe events of stream 1 to stream 2 and to the analytical table.
//!
//! [`select`] decides what is written for an event. [`partitions`] decides which partitions are to be registered, and
//! [`glue`] registers them. [`handler`] connects these modules.

pub mod glue;
pub mod handler;
pub mod partitions;
pub mod select;
