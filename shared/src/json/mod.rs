//! JSON, read and written in place. Values are checked and copied as they are in the text; no tree is built.
//!
//! # Be advised
//!
//! **This is cleverer than it should be.** The plain version parses each record into a `serde_json::Value`, as
//! `tools/bench/src/straightforward.rs` does. With it, transform handles 38,000 records a second on one core instead of
//! 315,000 (`make bench`; the README has the table). Reading in place is the larger part of that difference. Of the
//! single tricks these were measured:
//!
//! | trick | without it |
//! | --- | --- |
//! | comparing the expected keys before reading one (`Dataset::key_from`, [`Literal`]) | transform takes 28 % more time |
//! | a position in registers: small inlined methods, [`Span`] of two words | transform takes 7 % more time |
//! | writing short texts by fixed-size copies ([`Writer`]) | 4 % more instructions in transform, 5 % in ingest |
//!
//! # What to change together
//!
//! - Which bytes need an escape: `scan::plain_run`, [`write_string`] and `reader::unescaped`.
//! - How a key is written: [`key`] and [`entry`], the [`Literal`]s of the data set, and `Dataset::key_from`.
//! - The size of a block in `scan` and the word of marks in `reader`; the size of a stroke and its halves in `writer`.
//!
//! A text that [`Reader`] does not accept is passed to `serde_json`, which reports the error ([`fault`]).
//! **Invariant:** both accept the same texts. Property tests compare them.

mod fault;
mod non_finite;
pub(crate) mod reader;
pub(crate) mod scan;
mod text;
mod writer;

pub use self::{
    fault::fault,
    non_finite::{is_non_finite, masked},
    reader::{Reader, Span},
    scan::positions,
    text::{entry, key, write_string},
    writer::{Literal, Writer},
};
