//! The ingest function: rows in, events out on stream 1.
//!
//! [`request`] tells the ways of asking apart, [`rows`] cuts text into rows, [`normalise`] makes an event of a row,
//! [`intake`] delivers, [`checkpoint`] lets another invocation go on with a large object, and [`handler`] puts them
//! together.

pub mod checkpoint;
pub mod front;
pub mod handler;
pub mod http;
pub mod inflate;
pub mod intake;
pub mod keys;
pub mod normalise;
pub mod request;
pub mod rows;
pub mod s3;
mod source;
