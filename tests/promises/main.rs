//! The promises, checked with simulations of the whole chain.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

mod conservation;
mod mapping;
mod services;
