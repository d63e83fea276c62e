//! The notify function: the most severe events of stream 2, told to people through SNS.
//!
//! [`word`] words an alert, [`sns`] publishes it, and [`handler`] puts them together.

pub mod handler;
pub mod sns;
pub mod word;
