//! The deployment's data set, its events and their cells.

pub mod cell;
pub mod dataset;
pub mod decision;
pub mod dimension;
pub mod event;
pub mod excerpt;
pub mod time;
