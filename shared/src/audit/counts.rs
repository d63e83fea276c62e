//! The counts: the statuses of an invocation's records, in one line that CloudWatch reads as metrics.

use chrono::{DateTime, Utc};
use serde_json::json;

use crate::lambda::{config::Emitter, invocation::Invocation};

/// CloudWatch namespace of the counts.
pub const NAMESPACE: &str = "perishable";
/// Dimensions of the counts.
pub const DIMENSIONS: [&str; 3] = ["Dataset", "Environment", "Function"];
/// The dimensions of the metric that is also emitted for each column.
pub const COLUMN_DIMENSIONS: [&str; 4] = ["Dataset", "Environment", "Function", "Column"];
/// Records that were received.
pub const IN: &str = "In";
/// Records whose outputs were all accepted.
pub const DELIVERED: &str = "Delivered";
/// Records without an output.
pub const FILTERED: &str = "Filtered";
/// Records that are in the rejects.
pub const REJECTED: &str = "Rejected";
/// Records that are retried.
pub const FAILED: &str = "Failed";
/// Entries that were retried.
pub const RETRIED: &str = "Retried";
/// Events that reached transform later than its watermark.
pub const LATE: &str = "Late";
/// Events of a severity that the data set does not list.
pub const UNKNOWN_SEVERITY: &str = "UnknownSeverity";
/// Rows of the alerts table that notify could not deliver.
pub const UNRECORDED: &str = "Unrecorded";
/// Records without a known status.
pub const UNACCOUNTED: &str = "Unaccounted";
/// Cells that ingest could not read.
pub const UNREADABLE_CELLS: &str = "UnreadableCells";
/// Rows that have such cells, or bytes that are not text in their charset.
pub const UNREADABLE_ROWS: &str = "UnreadableRows";
/// The metrics of unreadable cells. Ingest emits them in a separate line if it found any.
pub const CELL_METRICS: [&str; 2] = [UNREADABLE_CELLS, UNREADABLE_ROWS];
/// All metrics except those of cells, as the line declares them.
pub const METRICS: [&str; 10] =
    [IN, DELIVERED, FILTERED, REJECTED, FAILED, RETRIED, LATE, UNKNOWN_SEVERITY, UNRECORDED, UNACCOUNTED];

/// The status of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// All its outputs were accepted.
    Delivered,
    /// It has no output.
    Filtered,
    /// It is in the rejects.
    Rejected,
    /// It will be retried; the sentence says why.
    Failed(String),
}

impl Status {
    /// Its name in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Filtered => "filtered",
            Self::Rejected => "rejected",
            Self::Failed(_) => "failed",
        }
    }
}

/// Counts of records by their status, and of retries and unusual events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that were received.
    pub received: u64,
    /// Records whose outputs were all accepted.
    pub delivered: u64,
    /// Records without an output.
    pub filtered: u64,
    /// Records that are in the rejects.
    pub rejected: u64,
    /// Records that will be retried.
    pub failed: u64,
    /// How many times an entry was retried.
    pub retried: u64,
    /// Events that arrived later than the watermark allows.
    pub late: u64,
    /// Events of a severity that the data set does not list.
    pub unknown_severity: u64,
    /// Rows of the alerts table that could not be delivered.
    pub unrecorded: u64,
}

impl Counts {
    /// The counts of an invocation whose event is not understood: one record, received and failed.
    #[must_use]
    pub fn unreadable_event() -> Self {
        Self { received: 1, failed: 1, ..Self::default() }
    }

    /// Counts one record's status. A record without one stays unaccounted.
    pub fn record(&mut self, status: &Status) {
        match status {
            Status::Delivered => self.delivered += 1,
            Status::Filtered => self.filtered += 1,
            Status::Rejected => self.rejected += 1,
            Status::Failed(_) => self.failed += 1,
        }
    }

    /// Records that were received and have no known status. Anything but zero is a defect.
    #[must_use]
    pub fn unaccounted(&self) -> u64 {
        let known = self.delivered + self.filtered + self.rejected + self.failed;
        self.received.abs_diff(known)
    }

    /// Writes the line to the log, from which CloudWatch reads the metrics.
    pub fn log(&self, emitter: &Emitter<'_>, invocation: &Invocation) {
        (invocation.log)(&self.line(emitter, &invocation.request_id, invocation.now));
    }

    /// The line for the log, in the embedded metric format.
    ///
    /// Source: CloudWatch user guide, "Specification: Embedded metric format".
    #[must_use]
    pub fn line(&self, emitter: &Emitter<'_>, request_id: &str, now: DateTime<Utc>) -> String {
        json!({
            "_aws": {
                "Timestamp": now.timestamp_millis(),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": [DIMENSIONS],
                    "Metrics": METRICS.map(|name| json!({"Name": name, "Unit": "Count"})),
                }],
            },
            "Dataset": emitter.dataset,
            "Environment": emitter.environment,
            "Function": emitter.function,
            "request_id": request_id,
            (IN): self.received,
            (DELIVERED): self.delivered,
            (FILTERED): self.filtered,
            (REJECTED): self.rejected,
            (FAILED): self.failed,
            (RETRIED): self.retried,
            (LATE): self.late,
            (UNKNOWN_SEVERITY): self.unknown_severity,
            (UNRECORDED): self.unrecorded,
            (UNACCOUNTED): self.unaccounted(),
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_without_a_status_is_unaccounted() {
        let mut counts = Counts { received: 4, ..Counts::default() };
        for status in [Status::Delivered, Status::Filtered, Status::Rejected] {
            counts.record(&status);
        }
        assert_eq!(counts.unaccounted(), 1);
        counts.record(&Status::Failed("throttled".into()));
        assert_eq!(counts.unaccounted(), 0);
        counts.record(&Status::Delivered);
        assert_eq!(counts.unaccounted(), 1, "a record counted twice shows, too");
    }

    #[test]
    fn line_has_each_count_and_its_dimensions() {
        let emitter = Emitter { dataset: "us_accidents", environment: "prod", function: "notify" };
        let counts = Counts {
            received: 10,
            delivered: 1,
            filtered: 2,
            rejected: 3,
            failed: 3,
            retried: 4,
            late: 5,
            unknown_severity: 6,
            unrecorded: 7,
        };
        let now = DateTime::from_timestamp(1_784_021_400, 7_000_000).unwrap();
        let line: serde_json::Value = serde_json::from_str(&counts.line(&emitter, "r-1", now)).unwrap();
        let expected = json!({
            "_aws": {
                "Timestamp": 1_784_021_400_007_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "perishable",
                    "Dimensions": [["Dataset", "Environment", "Function"]],
                    "Metrics": METRICS.map(|name| json!({"Name": name, "Unit": "Count"})),
                }],
            },
            "Dataset": "us_accidents", "Environment": "prod", "Function": "notify", "request_id": "r-1",
            "In": 10, "Delivered": 1, "Filtered": 2, "Rejected": 3, "Failed": 3, "Retried": 4, "Late": 5,
            "UnknownSeverity": 6, "Unrecorded": 7, "Unaccounted": 1,
        });
        assert_eq!(line, expected);
        assert!(METRICS.iter().all(|name| line[name].is_u64()), "every declared metric has a value");
    }
}
