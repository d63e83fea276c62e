//! A function's side of Lambda: its configuration, its invocations and the runtime that calls it.

pub mod config;
pub mod invocation;
pub mod runtime;
