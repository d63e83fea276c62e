//! The ingest function: rows in, events out on stream 1.
//!
//! [`request`] tells the ways of asking apart, [`rows`] cuts text into rows, [`normalise`] makes an event of a row,
//! [`intake`] delivers, [`unreadable`] counts what could not be read and [`report`] says what to do about it, [`object`] reads the objects of the inbox, [`checkpoint`] lets another invocation go on with one
//! that takes long, and [`handler`] puts them together.

pub mod charset;
pub mod checkpoint;
pub mod error;
pub mod front;
pub mod handler;
pub mod http;
pub mod inflate;
pub mod intake;
pub mod keys;
pub mod normalise;
pub mod object;
pub mod ranges;
pub mod report;
pub mod request;
pub mod rows;
pub mod s3;
pub mod signature;
mod source;
pub mod unreadable;
