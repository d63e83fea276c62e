//! The simulator: it sends files of events as live incidents through the deployed ingest function, writes files like
//! the real ones, and shows what ingest makes of a file.
//!
//! [`lambda`] alone knows AWS; [`send`] drives it through the port [`send::Ingest`].

pub mod batches;
pub mod error;
pub mod generate;
pub mod input;
pub mod lambda;
pub mod normalise;
pub mod pace;
pub mod progress;
pub mod send;
