//! The tables of a rehearsal: counts by hour, weekday, day and name, and the worst minute, hour and day.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
};

use chrono::{DateTime, Datelike as _, NaiveDate, Timelike as _, Utc};
use notify::word::Kind;
use serde::{Serialize, Serializer};
use shared::data::dataset::Dataset;

use crate::message::{RenderedMessage, TimedMessage};

/// Names that are counted one by one. Further names are counted together.
const NAMES: usize = 50_000;
/// Names that a table shows.
const SHOWN_NAMES: usize = 30;
/// Days that are counted one by one, more than a century. Further days are counted together.
const DAYS: usize = 40_000;
/// Messages that are shown of a minute, an hour or a day.
const SHOWN_MESSAGES: usize = 10;
/// Microseconds of a minute.
const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The time of microseconds since 1970.
pub(crate) fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// The days from 1970 to a time.
fn day(micros: i64) -> i64 {
    micros.div_euclid(DAY)
}

fn date(day: i64) -> NaiveDate {
    instant(day.saturating_mul(DAY)).date_naive()
}

/// Counts by hour of the day and by day of the week, from Monday on.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Hours {
    by_hour: [u64; 24],
    by_weekday: [u64; 7],
}

impl Hours {
    pub(crate) fn add(&mut self, micros: i64, count: u64) {
        let at = instant(micros);
        self.by_hour[at.hour() as usize] += count;
        self.by_weekday[at.weekday().num_days_from_monday() as usize] += count;
    }
}

/// Counts by name, bounded in number.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    counts: HashMap<String, u64>,
    others: u64,
}

impl Names {
    pub(crate) fn add(&mut self, name: &str, count: u64) {
        if let Some(known) = self.counts.get_mut(name) {
            *known += count;
        } else if self.counts.len() < NAMES {
            self.counts.insert(name.to_owned(), count);
        } else {
            self.others += count;
        }
    }
}

impl Serialize for Names {
    /// The most frequent names with their counts, then the number of all names and the sum of the other counts.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Table<'t> {
            first: &'t [(&'t String, &'t u64)],
            names: usize,
            others: u64,
        }
        let mut all: Vec<_> = self.counts.iter().collect();
        all.sort_unstable_by_key(|(name, count)| (Reverse(**count), *name));
        let (first, rest) = all.split_at(all.len().min(SHOWN_NAMES));
        let others = rest.iter().map(|(_, count)| *count).sum::<u64>() + self.others;
        Table { first, names: all.len(), others }.serialize(serializer)
    }
}

/// Counts of several things by day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Days<const N: usize> {
    days: BTreeMap<i64, [u64; N]>,
    others: [u64; N],
}

impl<const N: usize> Default for Days<N> {
    fn default() -> Self {
        Self { days: BTreeMap::new(), others: [0; N] }
    }
}

impl<const N: usize> Days<N> {
    pub(crate) fn add(&mut self, micros: i64, thing: usize, count: u64) {
        let full = self.days.len() >= DAYS;
        let counts = match self.days.entry(day(micros)) {
            std::collections::btree_map::Entry::Vacant(_) if full => &mut self.others,
            entry => entry.or_insert([0; N]),
        };
        counts[thing] += count;
    }
}

impl<const N: usize> Serialize for Days<N> {
    /// A list of the dates with their counts, and the counts of further days.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let days: Vec<_> = self.days.iter().map(|(day, counts)| (date(*day), counts.to_vec())).collect();
        (days, self.others.to_vec()).serialize(serializer)
    }
}

/// The rows of each minute, for their greatest rate.
#[derive(Debug, Default)]
pub(crate) struct Calendar {
    days: BTreeMap<i64, Minutes>,
    /// The day of the last row, which most rows share.
    last: Option<(i64, Minutes)>,
    /// Rows of further days.
    others: u64,
}

/// The rows of each minute of a day.
type Minutes = Box<[u32; 24 * 60]>;

const DAY_MINUTES: i64 = 24 * 60;
/// Days whose minutes are counted; they take six kilobytes each.
const CALENDAR_DAYS: usize = 8_000;

/// The rate of rows over time.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Rate {
    /// The first day with rows, and the last one.
    days: Option<(NaiveDate, NaiveDate)>,
    /// Seconds from the first minute with rows to the end of the last one.
    seconds: i64,
    /// Rows of the days that are counted.
    rows: u64,
    /// The first minute with the most rows.
    busiest_minute: Option<DateTime<Utc>>,
    /// The rows of that minute.
    rows_of_minute: u64,
    /// Rows of further days.
    others: u64,
}

impl Calendar {
    pub(crate) fn add(&mut self, micros: i64) {
        let (today, minute) = (day(micros), micros.div_euclid(MINUTE).rem_euclid(DAY_MINUTES));
        if self.last.as_ref().is_none_or(|(last, _)| *last != today) {
            self.days.extend(self.last.take());
            let known = self.days.remove(&today);
            if known.is_none() && self.days.len() >= CALENDAR_DAYS {
                self.others += 1;
                return;
            }
            self.last = Some((today, known.unwrap_or_else(|| Box::new([0; 24 * 60]))));
        }
        if let Some((_, minutes)) = &mut self.last {
            minutes[usize::try_from(minute).unwrap_or_default()] += 1;
        }
    }

    pub(crate) fn rate(mut self) -> Rate {
        self.days.extend(self.last.take());
        let minutes = || {
            self.days.iter().flat_map(|(day, minutes)| {
                let minutes = (day * DAY_MINUTES..).zip(minutes.iter().copied());
                minutes.filter(|(_, rows)| *rows > 0)
            })
        };
        let busiest = minutes().max_by_key(|(minute, rows)| (*rows, Reverse(*minute)));
        let span = minutes().next().zip(minutes().last()).map(|((first, _), (last, _))| (first, last));
        Rate {
            days: span.map(|(first, last)| {
                let date = |minute: i64| date(minute.div_euclid(DAY_MINUTES));
                (date(first), date(last))
            }),
            seconds: span.map_or(0, |(first, last)| (last - first + 1) * 60),
            rows: minutes().map(|(_, rows)| u64::from(rows)).sum(),
            busiest_minute: busiest.map(|(minute, _)| instant(minute * MINUTE)),
            rows_of_minute: busiest.map_or(0, |(_, rows)| rows.into()),
            others: self.others,
        }
    }
}

/// The messages of a minute, an hour or a day.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Window {
    pub(crate) begin: Option<DateTime<Utc>>,
    pub(crate) messages: u64,
    /// Events in these messages.
    pub(crate) events: u64,
    pub(crate) first: Vec<RenderedMessage>,
}

/// The window with the most messages, and of several the one with the most events. Messages must arrive in the order of
/// their times.
#[derive(Debug, Default)]
pub(crate) struct Worst {
    open: Window,
    /// The first messages of the open window.
    first: Vec<TimedMessage>,
    pub(crate) most: Window,
}

impl Worst {
    /// Counts a message in its window of this length in microseconds.
    fn add(&mut self, dataset: &Dataset, sent: &TimedMessage, length: i64) {
        let begin = Some(instant(sent.at - sent.at.rem_euclid(length)));
        if self.open.begin != begin {
            self.close(dataset);
            self.open.begin = begin;
        }
        self.open.messages += 1;
        self.open.events += sent.message.event_count() as u64;
        if self.first.len() < SHOWN_MESSAGES {
            self.first.push(sent.clone());
        }
    }

    fn close(&mut self, dataset: &Dataset) {
        let open = std::mem::take(&mut self.open);
        if (open.messages, open.events) > (self.most.messages, self.most.events) {
            self.most = open;
            self.most.first = self.first.iter().map(|sent| sent.render(dataset)).collect();
        }
        self.first.clear();
    }
}

impl Serialize for Worst {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.most.serialize(serializer)
    }
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct OfKind {
    pub(crate) messages: u64,
    /// Events in them.
    pub(crate) events: u64,
}

/// What a subscriber receives.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Received {
    /// Messages about one event.
    pub(crate) single: OfKind,
    /// Digests of one area and severity.
    pub(crate) digests: OfKind,
    /// Digests of several.
    pub(crate) storms: OfKind,
    /// Messages by the hour and the day of the week.
    #[serde(flatten)]
    pub(crate) hours: Hours,
    /// Days with messages, and the last of them.
    pub(crate) days: u64,
    #[serde(skip)]
    last_day: Option<i64>,
    pub(crate) minute: Worst,
    pub(crate) hour: Worst,
    pub(crate) day: Worst,
    pub(crate) largest: Option<RenderedMessage>,
    #[serde(skip)]
    largest_sent: Option<TimedMessage>,
}

impl Received {
    /// Counts a message; messages must arrive in the order of their times.
    pub(crate) fn add(&mut self, dataset: &Dataset, sent: &TimedMessage) {
        let of_kind = match sent.message.kind() {
            Kind::One => &mut self.single,
            Kind::Digest => &mut self.digests,
            Kind::Storm => &mut self.storms,
        };
        of_kind.messages += 1;
        of_kind.events += sent.message.event_count() as u64;
        self.hours.add(sent.at, 1);
        self.days += u64::from(self.last_day.replace(day(sent.at)) != Some(day(sent.at)));
        for (worst, length) in [(&mut self.minute, MINUTE), (&mut self.hour, HOUR), (&mut self.day, DAY)] {
            worst.add(dataset, sent, length);
        }
        let largest = self.largest_sent.as_ref().map(|largest| largest.message.event_count());
        if largest < Some(sent.message.event_count()) {
            self.largest_sent = Some(sent.clone());
        }
    }

    /// Ends the last windows.
    pub(crate) fn finish(&mut self, dataset: &Dataset) {
        for worst in [&mut self.minute, &mut self.hour, &mut self.day] {
            worst.close(dataset);
        }
        self.largest = self.largest_sent.take().map(|sent| sent.render(dataset));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    proptest! {
        #[test]
        fn rate_is_that_of_the_minutes(minutes in proptest::collection::vec(-5_000_i64..5_000, 1..200)) {
            let mut calendar = Calendar::default();
            let mut counts: BTreeMap<i64, u64> = BTreeMap::new();
            for minute in &minutes {
                calendar.add(minute * MINUTE + 59_999_999);
                *counts.entry(*minute).or_default() += 1;
            }
            let most = *counts.values().max().unwrap();
            let (busiest, _) = counts.iter().find(|(_, rows)| **rows == most).unwrap();
            let (first, last) = (counts.keys().next().unwrap(), counts.keys().last().unwrap());
            prop_assert_eq!(calendar.rate(), Rate {
                days: Some((instant(first * MINUTE).date_naive(), instant(last * MINUTE).date_naive())),
                seconds: (last - first + 1) * 60,
                rows: minutes.len() as u64,
                busiest_minute: Some(instant(busiest * MINUTE)),
                rows_of_minute: most,
                others: 0,
            });
        }
    }

    #[test]
    fn tables_are_bounded_and_lose_no_count() {
        let (mut names, mut days, mut calendar) =
            (Names::default(), Days::<2>::default(), Calendar::default());
        for number in 0..60_000 {
            names.add(&number.to_string(), 2);
            days.add(number * DAY, 1, 3);
            calendar.add(number * DAY);
        }
        let names = serde_json::to_value(&names).unwrap();
        assert_eq!((&names["names"], &names["others"]), (&json!(50_000), &json!(2 * (60_000 - 30))));
        let days = serde_json::to_value(&days).unwrap();
        assert_eq!((days[0].as_array().unwrap().len(), &days[1]), (40_000, &json!([0, 3 * 20_000])));
        let rate = calendar.rate();
        assert_eq!((rate.rows, rate.others), (8_000, 52_000));
    }

    #[test]
    fn hours_and_weekdays_are_those_of_the_time() {
        let mut hours = Hours::default();
        // A Thursday, and the Wednesday before it.
        hours.add(0, 1);
        hours.add(-1, 2);
        assert_eq!((hours.by_hour[0], hours.by_hour[23]), (1, 2));
        assert_eq!((hours.by_weekday[3], hours.by_weekday[2]), (1, 2));
    }
}
