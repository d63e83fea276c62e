//! JSON, read and written in place. Values are checked and copied as they are in the text; no tree is built.
//!
//! # Be advised
//!
//! **This is cleverer than it should be.** The plain version parses each record into a `serde_json::Value`, as
//! `tools/bench/src/straightforward.rs` does. With it, transform takes several times as long (`make bench`; the README
//! has the table). Reading in place is the larger part of that difference. What else is clever is here because transform
//! would take more than a tenth longer without it, its requests included:
//!
//! - comparing the expected keys before reading one (`Dataset::key_from`);
//! - one search for the ends of all strings in 64 bytes (`scan`), in small methods that are inlined;
//! - noting where values are instead of slicing each ([`Span`] and `Places`), and looking for escapes only if there are
//!   any.
//!
//! # What to change together
//!
//! - Which bytes need an escape: `scan::marked_block`, `text::plain_run` and [`write_string`].
//! - How a key is written: [`key`] and [`entry`], and `Dataset::key_from`.
//!
//! A text that [`Reader`] does not accept is passed to `serde_json`, which reports the error ([`fault`]).
//! **Invariant:** both accept the same texts. Property tests compare them.

mod fault;
mod non_finite;
pub(crate) mod reader;
mod scan;
pub(crate) mod text;

pub use self::{
    fault::fault,
    non_finite::{is_non_finite, masked},
    reader::{Reader, Span},
    text::{entry, key, write_string},
};
