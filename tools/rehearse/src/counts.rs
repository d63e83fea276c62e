//! The counts of metrics: severe events by their dimensions, and the series that CloudWatch would bill.

use std::{
    collections::{HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use chrono::Datelike as _;
use metrics::{
    count::{One, count},
    series::Series,
};
use serde::Serialize;
use shared::data::{dataset::Dataset, decision::Decision};

use crate::{
    order::Timed,
    settings::Configured,
    tables::{Days, Hours, Names, instant},
};

/// Distinct series that are counted in a month. If there are more, the count is a lower bound.
const SERIES: usize = 1_000_000;

/// What metrics counts.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    /// Severe events.
    events: u64,
    /// Records that metrics would reject.
    rejected: u64,
    /// Severe events by severity, as the metric names it.
    by_severity: Names,
    /// Severe events by area, if the metric has it.
    by_area: Names,
    /// Severe events by the hour and the day of the week.
    #[serde(flatten)]
    hours: Hours,
    /// Severe events of each day.
    days: Days<1>,
    /// Series with the bound and without it.
    series: [SeriesOfMonths; 2],
    bound: Option<usize>,
}

/// The distinct series of months.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SeriesOfMonths {
    /// The number in the month with the most.
    most: usize,
    /// The sum over all months: a series is billed in each month that has it.
    all: usize,
    /// Months with severe events.
    months: u32,
    #[serde(skip)]
    month: HashSet<u64>,
}

pub(crate) struct Counter<'d> {
    dataset: &'d Dataset,
    above: i64,
    series: [Series; 2],
    /// The positions of the severity and of the area among the dimensions.
    named: [Option<usize>; 2],
    counts: Counts,
    month: Option<(i32, u32)>,
    /// Combinations of values that were found in this month.
    found: HashSet<u64>,
}

impl<'d> Counter<'d> {
    /// Counts as metrics does with this configuration.
    pub(crate) fn new(dataset: &'d Dataset, configured: &Configured<'_>) -> Self {
        let [bounded, unbounded] = &configured.metrics;
        let position = |column| dataset.metric.dimensions.iter().position(|(_, of)| *of == column);
        Self {
            dataset,
            above: bounded.severity_above,
            named: [dataset.severity, dataset.severe_partition_key].map(position),
            counts: Counts { bound: bounded.series.most(), ..Counts::default() },
            series: [bounded.series.clone(), unbounded.series.clone()],
            month: None,
            found: HashSet::new(),
        }
    }

    /// Counts an event; events must arrive in the order of their times.
    pub(crate) fn add(&mut self, event: &Timed) {
        let now = instant(event.time);
        match count(self.dataset, self.above, &event.data, now, now) {
            Decision::Nothing => {}
            Decision::Reject { .. } => self.counts.rejected += 1,
            Decision::Output(one) => self.count(event.time, &one),
        }
    }

    fn count(&mut self, time: i64, one: &One) {
        let counts = &mut self.counts;
        counts.events += 1;
        counts.hours.add(time, 1);
        counts.days.add(time, 0, 1);
        let [severity, area] = self.named.map(|position| position.map(|position| &one.values[position]));
        if let Some(severity) = severity {
            counts.by_severity.add(severity, 1);
        }
        if let Some(area) = area {
            counts.by_area.add(area, 1);
        }
        let month = instant(time).date_naive();
        let month = Some((month.year(), month.month()));
        if self.month != month {
            self.month = month;
            self.found.clear();
            counts.series.iter_mut().for_each(SeriesOfMonths::close);
        }
        if self.found.len() >= SERIES || !self.found.insert(hash(&one.values)) {
            return;
        }
        for (series, months) in self.series.iter().zip(&mut counts.series) {
            months.month.extend(series.of(&one.values).map(|dimensions| hash(&dimensions)));
        }
    }

    pub(crate) fn finish(mut self) -> Counts {
        self.counts.series.iter_mut().for_each(SeriesOfMonths::close);
        self.counts
    }
}

impl SeriesOfMonths {
    fn close(&mut self) {
        self.most = self.most.max(self.month.len());
        self.all += self.month.len();
        self.months += u32::from(!self.month.is_empty());
        self.month.clear();
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
