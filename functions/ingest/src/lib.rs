//! The ingest function: reads rows and writes events to stream 1.
//!
//! An invocation passes through these modules:
//!
//! - [`request`] recognises the kind of request.
//! - [`rows`] cuts text into rows, and [`normalise`] turns a row into an event.
//! - `intake` delivers the events.
//! - [`unreadable`] counts what could not be read, and [`report`] says what to do about it.
//! - `object` reads the objects of the inbox, and [`checkpoint`] lets another invocation resume one.
//! - [`handler`] connects them.

pub mod charset;
pub mod checkpoint;
pub mod error;
mod front;
pub mod handler;
pub mod http;
pub mod inflate;
mod intake;
mod keys;
pub mod normalise;
mod object;
mod ranges;
pub mod report;
pub mod request;
pub mod rows;
pub mod s3;
mod signature;
mod source;
pub mod unreadable;
