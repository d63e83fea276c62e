//! The notify function: alerts about the most severe events of stream 2, through SNS.
//!
//! [`incident`] decides what an event is decide, [`plan`] which events share a message, [`word`] and [`text`] word the
//! messages, [`pace`] and [`sns`] send them, and [`handler`] puts all of it together.

pub mod handler;
pub mod incident;
pub mod pace;
pub mod plan;
pub mod sns;
pub mod text;
pub mod word;
