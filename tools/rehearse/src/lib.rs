//! Rehearses a stack over files of the past: what it would have accepted, counted and alerted, and to whom.
//!
//! The functions' own code decides. [`pieces`] reads the files on all cores, and [`piece`] decides about rows as ingest
//! and transform do. [`order`] puts the severe events in the order of their times. [`counts`] counts them as metrics does,
//! and [`alerts`] alerts as notify does, with [`policy`] for its subscribers. [`who`] shows one event in full.

pub mod alerts;
mod backlog;
pub mod counts;
pub mod difference;
pub mod error;
pub mod message;
pub mod order;
pub mod piece;
pub mod pieces;
pub mod policy;
pub mod rehearsal;
pub mod settings;
pub mod tables;
pub mod thresholds;
pub mod who;
