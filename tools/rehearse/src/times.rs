//! The times of rows, which decide in which order a rehearsal sends them.

use std::mem;

use crate::outcome::PieceOutcome;

/// Marks a row without a time. Times are in microseconds since 1970.
pub(crate) const NO_TIME: i64 = i64::MIN;

/// Fills in missing times: a row without one gets the time of the previous row, even in another piece. Rows before the
/// first known time get that time, so their pieces wait until it is found.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// The time of the last row, once one is known.
    last: Option<i64>,
    waiting: Vec<PieceOutcome>,
}

impl Times {
    /// Adds the next piece, and returns the pieces whose times are known now.
    pub(crate) fn add(&mut self, outcome: PieceOutcome) -> Vec<PieceOutcome> {
        let first = self.last.or_else(|| outcome.times.iter().copied().find(|time| *time != NO_TIME));
        self.waiting.push(outcome);
        let Some(mut last) = first else { return Vec::new() };
        for outcome in &mut self.waiting {
            last = outcome.fill_times(last);
        }
        self.last = Some(last);
        mem::take(&mut self.waiting)
    }

    pub(crate) fn waiting_rows(&self) -> usize {
        self.waiting.iter().map(|outcome| outcome.times.len()).sum()
    }

    /// The pieces that still wait, because no row of any piece has a time.
    pub(crate) fn into_waiting(self) -> Vec<PieceOutcome> {
        self.waiting
    }
}
