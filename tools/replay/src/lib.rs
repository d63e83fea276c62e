//! The simulator. It sends the events of a file through the deployed ingest function, and generates files like the real
//! ones. It also shows what ingest makes of a file, and sends rejects and failed batches again.
//!
//! Only `lambda` and the bucket of `redrive` know AWS; `send` and `redrive` call them through traits.

mod batches;
pub mod cli;
pub mod error;
mod generate;
pub mod input;
mod interrupt;
mod lambda;
mod normalise;
mod pace;
pub mod progress;
mod reading;
pub mod redrive;
mod send;
mod suggest;
