//! The notify function: the most severe events of stream 2, told through SNS.
//!
//! [`word`] says what an event is worth and words the messages, [`plan`] decides what is told together, [`sns`] sends, and
//! [`handler`] puts them together.

pub mod handler;
pub mod plan;
pub mod sns;
pub mod word;
