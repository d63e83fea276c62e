//! The settings of a mapping.

use std::{ops::Range, time::Duration};

/// The settings of a mapping.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `StartingPosition`.
    pub position: Position,
    /// `BatchSize`: records of a batch.
    pub batch_size: usize,
    /// `MaximumBatchingWindowInSeconds`: how long records are gathered.
    pub window: Duration,
    /// `ParallelizationFactor`: batches of a shard that run in parallel.
    pub parallelization: usize,
    /// `BisectBatchOnFunctionError`.
    pub bisect: bool,
    /// `MaximumRetryAttempts`; unlimited if `None`.
    pub retries: Option<u32>,
    /// `MaximumRecordAgeInSeconds`; unlimited if `None`.
    pub age: Option<Duration>,
    /// `FunctionResponseTypes` with `ReportBatchItemFailures`: without it the answer is ignored.
    pub reports: bool,
    /// The share of its invocations that Lambda throttles, without calling the function.
    pub throttled: f64,
    /// The share of its finished batches that Lambda delivers again.
    pub repeated: f64,
    /// When the mapping is disabled and invokes nothing, since the beginning.
    pub paused: Option<Range<Duration>>,
}

impl Settings {
    /// Whether the function receives every record: none expires before an invocation.
    #[must_use]
    pub(in super::super) fn hands_all_over(&self) -> bool {
        self.throttled == 0.0 && (self.paused.is_none() || self.age.is_none())
    }
}

/// Where a mapping begins to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// At the oldest record.
    TrimHorizon,
    /// After the newest record; in later shards, at the oldest.
    Latest,
    /// At the first record that arrived at or after a time since the beginning.
    AtTimestamp(Duration),
}
