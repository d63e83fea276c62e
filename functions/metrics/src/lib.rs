//! The metrics function: severe events from stream 2, counted in CloudWatch.
//!
//! [`count`] makes an event countable, [`series`] says under what, [`aggregate`] adds up, [`cloudwatch`] sends, and
//! [`handler`] puts them together.

pub mod aggregate;
pub mod cloudwatch;
pub mod count;
pub mod handler;
pub mod series;
