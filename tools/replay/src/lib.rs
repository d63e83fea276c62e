//! The simulator. It sends the events of a file through the deployed ingest function, and generates files like the real
//! ones. It also shows what ingest makes of a file, and sends rejects and failed batches again.
//!
//! Only [`lambda`] and the bucket of [`redrive`] know AWS; [`send`] and [`redrive`] call them through traits.

pub mod batches;
pub mod error;
pub mod generate;
pub mod input;
pub mod interrupt;
pub mod lambda;
pub mod normalise;
pub mod pace;
pub mod progress;
pub mod reading;
pub mod redrive;
pub mod send;
pub mod suggest;
