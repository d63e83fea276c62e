//! Which partitions of the analytical table are to be registered.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Datelike, TimeDelta, Utc};

/// How far Firehose's clock may be ahead of this one: its arrival time names the partition.
const AHEAD: TimeDelta = TimeDelta::minutes(5);

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

    /// Where its objects lie below the table, `severity=4/year=2022/month=12/day=24/`.
    #[must_use]
    pub fn prefix(&self) -> String {
        let [severity, year, month, day] = self.values();
        format!("severity={severity}/year={year}/month={month}/day={day}/")
    }
}

/// The partitions that a container has registered.
#[derive(Debug, Default)]
pub struct Registered(HashSet<Partition>);

impl Registered {
    /// The partitions that events of these severities may fall into at `now` and that are not registered yet: those
    /// of the day, and of the next when that is near.
    #[must_use]
    pub fn due(&self, severities: impl IntoIterator<Item = i64>, now: DateTime<Utc>) -> Vec<Partition> {
        let due: BTreeSet<Partition> = severities
            .into_iter()
            .flat_map(|severity| [Partition::of(severity, now), Partition::of(severity, now + AHEAD)])
            .filter(|partition| !self.0.contains(partition))
            .collect();
        due.into_iter().collect()
    }

    /// Notes that partitions are registered.
    pub fn note(&mut self, partitions: impl IntoIterator<Item = Partition>) {
        self.0.extend(partitions);
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
    fn a_partition_is_due_once_for_each_severity_and_day() {
        let mut registered = Registered::default();
        let due = registered.due([3, 4, 3], at(12, 0));
        assert_eq!(
            prefixes(&due),
            ["severity=3/year=2022/month=12/day=31/", "severity=4/year=2022/month=12/day=31/"]
        );
        registered.note(due);
        assert_eq!(registered.due([4, 3], at(13, 0)), []);
        assert_eq!(registered.due([4], at(12, 0) + TimeDelta::days(1)).len(), 1);
    }

    #[test]
    fn before_midnight_the_next_day_is_due_too() {
        let registered = Registered::default();
        assert_eq!(registered.due([4], at(23, 54)).len(), 1);
        assert_eq!(
            prefixes(&registered.due([4], at(23, 56))),
            ["severity=4/year=2022/month=12/day=31/", "severity=4/year=2023/month=01/day=01/"]
        );
    }
}
