//! The notify function: alerts about the most severe events of stream 2, through SNS.
//!
//! [`incident`] decides whether an event is an incident, and [`plan`] which incidents share a message. [`word`],
//! [`raise`] and [`details`] word the messages, and [`text`] shortens them. [`chat`] and [`on_call`] add what other
//! services need to read them. [`pace`] and [`sns`] send them. [`rows`] builds their rows of the alerts table.
//! [`handler`] connects these modules.

pub mod chat;
pub mod details;
pub mod handler;
pub mod incident;
pub mod on_call;
pub mod pace;
pub mod plan;
pub mod raise;
pub mod rows;
pub mod sns;
pub mod text;
pub mod word;
