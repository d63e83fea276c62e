//! Decides which partitions of the analytical table are to be registered.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Datelike, TimeDelta, Utc};

/// The most by which Firehose's clock, which determines the partition, may differ from this one.
const SKEW: TimeDelta = TimeDelta::minutes(5);
/// The longest that an invocation delivers.
///
/// Source: Lambda developer guide, "Lambda quotas": a function runs for at most 900 seconds.
const LONGEST_DELIVERY: TimeDelta = TimeDelta::minutes(15);
/// How long Glue is not called after it failed.
const PAUSE: TimeDelta = TimeDelta::minutes(1);
/// Registered partitions that a container remembers. A day has fewer, unless severities are arbitrary numbers.
const REMEMBERED: usize = 10_000;

/// A partition of the analytical table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The severity of its events.
    pub severity: i64,
    year: i32,
    month: u32,
    day: u32,
}

impl Partition {
    fn of(severity: i64, at: DateTime<Utc>) -> Self {
        Self { severity, year: at.year(), month: at.month(), day: at.day() }
    }

    /// The values of its keys, in the table's order: severity, year, month, day.
    #[must_use]
    pub fn values(&self) -> [String; 4] {
        let Self { severity, year, month, day } = self;
        [severity.to_string(), format!("{year:04}"), format!("{month:02}"), format!("{day:02}")]
    }

    /// The prefix of its objects below the table, `severity=4/year=2022/month=12/day=24/`.
    #[must_use]
    pub fn prefix(&self) -> String {
        let [severity, year, month, day] = self.values();
        format!("severity={severity}/year={year}/month={month}/day={day}/")
    }
}

/// The partitions that a container has registered.
#[derive(Debug, Default)]
pub struct Registered {
    partitions: HashSet<Partition>,
    /// Until when Glue is not called.
    paused_until: Option<DateTime<Utc>>,
}

impl Registered {
    /// The partitions that events of these severities may fall into when they are delivered from `now` on, if they are
    /// not registered yet. These are the partitions of the day, and of the neighbouring day near midnight. There are
    /// none while Glue is not to be called.
    #[must_use]
    pub fn due(&self, severities: impl IntoIterator<Item = i64>, now: DateTime<Utc>) -> Vec<Partition> {
        if self.paused_until.is_some_and(|until| now < until) {
            return Vec::new();
        }
        let arrivals = [now - SKEW, now + LONGEST_DELIVERY + SKEW];
        let due: BTreeSet<Partition> = severities
            .into_iter()
            .flat_map(|severity| arrivals.map(|at| Partition::of(severity, at)))
            .filter(|partition| !self.partitions.contains(partition))
            .collect();
        due.into_iter().collect()
    }

    /// Records which of the partitions due at `now` are registered. If any is not, Glue is not called for a while, so
    /// that its failure delays at most one invocation a minute.
    pub fn note(&mut self, due: &[Partition], registered: Vec<Partition>, now: DateTime<Utc>) {
        self.paused_until = (registered.len() < due.len()).then(|| now + PAUSE);
        // Registering a partition again is harmless.
        if self.partitions.len() >= REMEMBERED {
            self.partitions.clear();
        }
        self.partitions.extend(registered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hour: u32, minute: u32) -> DateTime<Utc> {
        chrono::NaiveDate::from_ymd_opt(2022, 12, 31).unwrap().and_hms_opt(hour, minute, 0).unwrap().and_utc()
    }

    fn prefixes(partitions: &[Partition]) -> Vec<String> {
        partitions.iter().map(Partition::prefix).collect()
    }

    #[test]
    fn partition_is_due_once_for_each_severity_and_day() {
        let mut registered = Registered::default();
        let due = registered.due([3, 4, 3], at(12, 0));
        assert_eq!(
            prefixes(&due),
            ["severity=3/year=2022/month=12/day=31/", "severity=4/year=2022/month=12/day=31/"]
        );
        registered.note(&due, due.clone(), at(12, 0));
        assert_eq!(registered.due([4, 3], at(13, 0)), []);
        assert_eq!(registered.due([4], at(12, 0) + TimeDelta::days(1)).len(), 1);
    }

    #[test]
    fn partition_is_due_whenever_firehose_receives_its_event() {
        // Every minute of the hours around midnight, with either clock ahead and the longest delivery.
        for minute in 0..240 {
            let now = at(22, 0) + TimeDelta::minutes(minute);
            let due = Registered::default().due([4], now);
            for arrival in [now - SKEW, now, now + SKEW, now + LONGEST_DELIVERY + SKEW] {
                assert!(due.contains(&Partition::of(4, arrival)), "{now}: {arrival}");
            }
        }
    }

    #[test]
    fn neighbouring_day_is_due_only_near_midnight() {
        let days = |now| prefixes(&Registered::default().due([4], now));
        let (last, first) =
            ("severity=4/year=2022/month=12/day=31/", "severity=4/year=2023/month=01/day=01/");
        assert_eq!(days(at(23, 39)), [last]);
        assert_eq!(days(at(23, 40)), [last, first]);
        assert_eq!(days(at(23, 59) + TimeDelta::minutes(5)), [last, first]);
        assert_eq!(days(at(23, 59) + TimeDelta::minutes(6)), [first]);
    }

    #[test]
    fn glue_is_not_called_for_a_minute_after_a_failure() {
        let mut registered = Registered::default();
        let due = registered.due([3, 4], at(12, 0));
        registered.note(&due, due[..1].to_vec(), at(12, 0));
        assert_eq!(registered.due([3, 4], at(12, 0) + TimeDelta::seconds(59)), []);
        assert_eq!(registered.due([3, 4], at(12, 1)), due[1..]);
    }

    #[test]
    fn remembered_partitions_are_bounded() {
        let mut registered = Registered::default();
        for severity in 0..12_000 {
            let due = registered.due([severity], at(12, 0));
            assert_eq!(due.len(), 1);
            registered.note(&due, due.clone(), at(12, 0));
            assert_eq!(registered.due([severity], at(12, 0)), []);
            assert!(registered.partitions.len() <= REMEMBERED);
        }
    }
}
