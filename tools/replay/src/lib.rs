//! The simulator: it sends files of events as live incidents through the deployed ingest function, writes files like
//! the real ones, shows what ingest makes of a file, and sends again what was refused or given up.
//!
//! [`lambda`] and the bucket of [`redrive`] alone know AWS; [`send`] and [`redrive`] drive them through ports.

pub mod batches;
pub mod error;
pub mod generate;
pub mod input;
pub mod lambda;
pub mod normalise;
pub mod pace;
pub mod progress;
pub mod reading;
pub mod redrive;
pub mod send;
