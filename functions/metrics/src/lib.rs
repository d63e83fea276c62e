//! The metrics function: counts the severe events of stream 2 in CloudWatch.
//!
//! [`count`] extracts what to count from an event, and [`series`] decides under which dimensions. [`aggregate`] adds up
//! the counts, and [`cloudwatch`] sends them. [`handler`] connects these modules.

pub mod aggregate;
pub mod cloudwatch;
pub mod count;
pub mod handler;
pub mod series;
