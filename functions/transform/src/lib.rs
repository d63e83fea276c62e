//! The transform function: severe events from stream 1 to stream 2 and to the analytical layer.
//!
//! [`select`] decides the outputs of an event, [`partitions`] which partitions are to be registered, [`glue`] registers
//! them, and [`handler`] puts them together.

pub mod glue;
pub mod handler;
pub mod partitions;
pub mod select;
