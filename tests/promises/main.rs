//! What is promised, over simulations of the whole chain.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conservation;
mod mapping;
