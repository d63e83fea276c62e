//! The rate at which rows are sent.

use std::{num::NonZeroU32, str::FromStr, time::Duration};

use crate::batches;

/// The default rate in rows a second.
const DEFAULT: u32 = 100;

/// How long the sending may be late and still catch up. After a longer pause, a throttled stream does not receive all
/// of the delayed rows at once.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Rows a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rate {
    PerSecond(NonZeroU32),
    Max,
}

impl Default for Rate {
    fn default() -> Self {
        NonZeroU32::new(DEFAULT).map_or(Self::Max, Self::PerSecond)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            number => number
                .parse()
                .map(Self::PerSecond)
                .map_err(|_| "expected a whole number of rows a second, from 1, or max".to_owned()),
        }
    }
}

/// Schedules the batches. Times are relative to the start.
#[derive(Debug)]
pub(crate) struct Pace {
    rate: Rate,
    due: Duration,
}

impl Pace {
    /// A pace of that rate, with the first batch due immediately.
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rate, due: Duration::ZERO }
    }

    /// Rows of a batch: those of a second, up to the size of a batch.
    pub(crate) fn rows(&self) -> usize {
        match self.rate {
            Rate::PerSecond(rate) => batches::ROWS.min(usize::try_from(rate.get()).unwrap_or(batches::ROWS)),
            Rate::Max => batches::ROWS,
        }
    }

    /// How long to wait before the next batch.
    pub(crate) fn wait(&self, now: Duration) -> Duration {
        self.due.saturating_sub(now)
    }

    /// Records that the sending of a batch of so many rows begins.
    pub(crate) fn sending(&mut self, rows: usize, now: Duration) {
        if let Rate::PerSecond(rate) = self.rate {
            let taken = Duration::from_secs(1) * u32::try_from(rows).unwrap_or(u32::MAX) / rate.get();
            self.due = self.due.max(now.saturating_sub(CATCH_UP)) + taken;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn per_second(rate: u32) -> Pace {
        Pace::new(Rate::PerSecond(NonZeroU32::new(rate).unwrap()))
    }

    #[test]
    fn batch_has_the_rows_of_a_second_up_to_a_bound() {
        assert_eq!(per_second(7).rows(), 7);
        assert_eq!(per_second(1_000_000).rows(), batches::ROWS);
        assert_eq!(Pace::new(Rate::Max).rows(), batches::ROWS);
    }

    #[test]
    fn batches_are_due_one_after_the_other() {
        let mut pace = per_second(100);
        assert_eq!(pace.wait(Duration::ZERO), Duration::ZERO, "the first is due at once");
        pace.sending(100, Duration::ZERO);
        assert_eq!(pace.wait(SECOND / 4), SECOND * 3 / 4);
        pace.sending(50, SECOND);
        assert_eq!(pace.wait(SECOND), SECOND / 2, "fewer rows take less time");
    }

    #[test]
    fn only_a_short_delay_is_caught_up() {
        let mut pace = per_second(100);
        pace.sending(100, Duration::ZERO);
        pace.sending(100, SECOND * 3 / 2);
        assert_eq!(pace.wait(SECOND * 3 / 2), SECOND / 2, "half a second late, so half a second earlier");
        let mut pace = per_second(100);
        pace.sending(100, Duration::ZERO);
        pace.sending(100, SECOND * 60);
        pace.sending(100, SECOND * 60);
        assert_eq!(pace.wait(SECOND * 60), SECOND, "no more than a second's rows at once");
    }

    #[test]
    fn maximum_rate_never_waits() {
        let mut pace = Pace::new(Rate::Max);
        pace.sending(1_000, Duration::ZERO);
        assert_eq!(pace.wait(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_rate_is_a_number_or_max() {
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("25".parse(), Ok(Rate::PerSecond(NonZeroU32::new(25).unwrap())));
        for wrong in ["0", "", "-1", "1.5", "fast"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
