//! An invocation: its start, its deadline and its request id in the log.

use std::{io::Write as _, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use crate::delivery::Deadline;

/// Time reserved before the deadline, for the report and the counts.
const RESERVE: Duration = Duration::from_secs(2);

/// An invocation's context: everything that a handler needs in addition to the event.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's request id.
    pub request_id: String,
    /// When it began, on the wall clock.
    pub now: DateTime<Utc>,
    /// The deadline of deliveries.
    pub deadline: Deadline,
    /// Writes a line to the log unchanged.
    pub log: fn(&str),
    /// When it began, on the clock of the deadlines.
    pub began: Instant,
}

impl Invocation {
    /// The invocation with that request id. Lambda states its deadline in milliseconds since 1970.
    #[must_use]
    pub fn begin(request_id: &str, deadline_ms: u64, now: DateTime<Utc>, seed: u64) -> Self {
        let now_ms = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        let left = Duration::from_millis(deadline_ms.saturating_sub(now_ms)).saturating_sub(RESERVE);
        let began = Instant::now();
        Self {
            request_id: request_id.to_owned(),
            now,
            deadline: Deadline { at: began + left, seed },
            log: write_line,
            began,
        }
    }

    /// The wall-clock time: the invocation's start plus the time since then.
    #[must_use]
    pub fn clock(&self) -> DateTime<Utc> {
        self.now + self.began.elapsed()
    }

    /// The deadline, limited to that long from now, for deliveries that must not delay others.
    #[must_use]
    pub fn deadline_within(&self, longest: Duration) -> Deadline {
        Deadline { at: self.deadline.at.min(Instant::now() + longest), ..self.deadline }
    }
}

/// Writes a line to the standard output, which Lambda logs unchanged. A subscriber of tracing would wrap it.
fn write_line(line: &str) {
    if let Err(error) = writeln!(std::io::stdout().lock(), "{line}") {
        tracing::error!(%error, "a line could not be written to the log");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long an invocation may deliver that begins so many milliseconds before its deadline.
    fn left(milliseconds: u64) -> Duration {
        let now = DateTime::from_timestamp(1_700_000_000, 123_000_000).unwrap();
        let invocation = Invocation::begin("r", 1_700_000_000_123 + milliseconds, now, 0);
        invocation.deadline.at - invocation.began
    }

    #[tokio::test(start_paused = true)]
    async fn deliveries_end_two_seconds_before_the_deadline() {
        assert_eq!(left(60_000), Duration::from_secs(58));
        assert_eq!(left(2_001), Duration::from_millis(1));
        assert_eq!(left(2_000), Duration::ZERO);
        assert_eq!(left(0), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn optional_work_ends_before_the_deadline() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let invocation = Invocation::begin("r", 1_700_000_010_000, now, 9);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(invocation.clock(), now + Duration::from_secs(1));
        let deadline_within = |seconds| invocation.deadline_within(Duration::from_secs(seconds));
        assert_eq!(deadline_within(3).at - invocation.began, Duration::from_secs(4));
        assert_eq!(deadline_within(30).at, invocation.deadline.at);
        assert_eq!(deadline_within(3).seed, 9);
    }
}
