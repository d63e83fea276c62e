//! The steps of a simulation, with the time on its clock.

use std::{cell::RefCell, rc::Rc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// The clock and the trace of a simulation.
#[derive(Clone)]
pub struct Trace {
    began: Instant,
    lines: Option<Rc<RefCell<Vec<String>>>>,
}

impl Trace {
    /// A trace that begins now on the runtime's clock, and keeps its lines if `kept`.
    #[must_use]
    pub fn begin(kept: bool) -> Self {
        Self { began: Instant::now(), lines: kept.then(Rc::default) }
    }

    /// Adds a line, which is formatted only if it is kept.
    pub fn line(&self, words: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            lines.borrow_mut().push(format!("{:>9.3} s  {}", self.elapsed().as_secs_f64(), words()));
        }
    }

    /// The time since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The time from the beginning to an instant.
    #[must_use]
    pub fn since_begin(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.began)
    }

    /// The wall clock of the simulation.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.wall(Instant::now())
    }

    /// The wall clock at an instant.
    #[must_use]
    pub fn wall(&self, at: Instant) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH
            + TimeDelta::seconds(1_700_000_000)
            + TimeDelta::from_std(self.since_begin(at)).unwrap_or(TimeDelta::MAX)
    }

    /// The lines.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.as_ref().map(|lines| lines.borrow().clone()).unwrap_or_default()
    }
}
