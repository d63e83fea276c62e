//! What becomes of the rows of a piece of text.

use std::{collections::BTreeMap, ops::AddAssign};

use ingest::unreadable::Tally;
use serde::Serialize;

use crate::{severe_event::SevereEvent, times::NO_TIME};

/// Rejected rows of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RejectedRows {
    pub(crate) rows: u64,
    /// What is wrong with the first.
    pub(crate) first: String,
}

/// The outcome of the rows of a piece.
#[derive(Debug, Default)]
pub(crate) struct PieceOutcome {
    /// The time of each accepted row, in the order of the text.
    pub(crate) times: Vec<i64>,
    pub(crate) rejected: BTreeMap<&'static str, RejectedRows>,
    /// What could not be read of the accepted rows.
    pub(crate) tally: Tally,
    /// The severe events in the order of the text.
    pub(crate) severe: Vec<SevereEvent>,
    /// The bytes of the severe events.
    pub(crate) projections: Vec<u8>,
    /// How many bytes are written for the events.
    pub(crate) sizes: Sizes,
    /// Accepted rows without a time that can be read.
    pub(crate) timeless: u64,
}

/// Bytes of the outputs, and how many severe events they have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Sizes {
    /// On stream 1.
    pub(crate) raw: u64,
    /// On stream 2.
    pub(crate) severe: u64,
    /// Of the analytical records.
    pub(crate) analytical: u64,
    pub(crate) severe_events: u64,
}

impl AddAssign for Sizes {
    fn add_assign(&mut self, other: Self) {
        self.raw += other.raw;
        self.severe += other.severe;
        self.analytical += other.analytical;
        self.severe_events += other.severe_events;
    }
}

impl PieceOutcome {
    pub(crate) fn reject(&mut self, reason: &'static str, detail: String) {
        self.rejected.entry(reason).or_insert(RejectedRows { rows: 0, first: detail }).rows += 1;
    }

    /// Gives each row without a time the time of the row before it. Takes the time of the last row before the piece,
    /// and returns that of the piece's last row.
    pub(crate) fn fill_times(&mut self, last: i64) -> i64 {
        if self.timeless > 0 {
            let mut known = last;
            for time in &mut self.times {
                known = if *time == NO_TIME { known } else { *time };
                *time = known;
            }
            let mut begin = 0;
            for event in &mut self.severe {
                let end = begin + event.bytes as usize;
                if event.time == NO_TIME {
                    event.set_received_at(self.times[event.row as usize], &mut self.projections[begin..end]);
                }
                begin = end;
            }
        }
        self.times.last().copied().unwrap_or(last)
    }
}
