//! Times and days as files write them, read without guessing.
//!
//! A text with one meaning is read as that. `2/8/2016` has two meanings, and the declared order decides.

mod explain;
mod form;
#[cfg(test)]
mod tests;

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Timelike as _, Utc,
};
use serde::{Deserialize, Serialize};

pub use self::explain::{Unreadable, explain, explain_date};
use self::form::Form;
use crate::data::excerpt::excerpt;

/// Which of `2/8/2016` is the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DateOrder {
    /// Month, day, year.
    Mdy,
    /// Day, month, year.
    Dmy,
}

impl std::str::FromStr for DateOrder {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mdy" => Ok(Self::Mdy),
            "dmy" => Ok(Self::Dmy),
            other => Err(format!("date order `{}` is unknown: expected mdy or dmy", excerpt(other))),
        }
    }
}

impl DateOrder {
    /// The names of the option by which a sender declares an order.
    pub const OPTIONS: [&'static str; 2] = ["date_order", "date-order"];

    /// Whether an option of that name declares an order.
    #[must_use]
    pub fn is_option(name: &str) -> bool {
        Self::OPTIONS.contains(&name)
    }

    /// The other order.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Mdy => Self::Dmy,
            Self::Dmy => Self::Mdy,
        }
    }

    /// This order and the other.
    fn both(self) -> [Self; 2] {
        [self, self.other()]
    }
}

/// A point on a wall clock, with the offset from UTC if the text has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    local: NaiveDateTime,
    offset: Option<Offset>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offset {
    /// Written as `Z`, `UTC` or `GMT`.
    Zulu,
    /// Written as `+hh:mm`, `+hhmm` or `+hh`; minutes east of UTC.
    Minutes(i32),
}

impl Timestamp {
    /// Reads a trimmed cell that names a day and a time of day, such as `2016-02-08 00:37:08`, `2/8/2016 0:37`,
    /// `13.08.2016 5:05 PM` or `2016-02-08T00:37:08.5+01:00`.
    ///
    /// Days whose month comes first or second are read in the declared order. Anything else is `None`: no time is
    /// guessed. docs/INGEST.md has the whole grammar.
    #[must_use]
    pub fn parse(text: &str, order: DateOrder) -> Option<Self> {
        let Form { day, clock } = Form::read(text)?;
        let clock = clock?;
        Some(Self { local: day.date(order)?.and_time(clock.time()?), offset: clock.end.offset })
    }

    /// Whether a trimmed cell is the same time in both date orders, so that no order need be declared.
    #[must_use]
    pub fn needs_no_order(text: &str) -> bool {
        let time = Self::parse(text, DateOrder::Mdy);
        time.is_some() && time == Self::parse(text, DateOrder::Dmy)
    }

    /// The instant. A time without an offset is read as UTC, as producers write `Txn_Timestamp`.
    #[must_use]
    pub fn instant(&self) -> DateTime<Utc> {
        self.utc().and_utc()
    }

    /// Writes the time in the form of the streams: `2016-02-08T00:37:00`, with a fraction only if it is not zero, and
    /// with `Z` or the offset if the text had one.
    pub fn write_iso(&self, out: &mut Vec<u8>) {
        write_date_and_time(&self.local, b'T', out);
        match self.offset {
            None => {}
            Some(Offset::Zulu) => out.push(b'Z'),
            Some(Offset::Minutes(minutes)) => {
                out.push(if minutes < 0 { b'-' } else { b'+' });
                out.extend(two_digits(minutes.unsigned_abs() / 60));
                out.push(b':');
                out.extend(two_digits(minutes.unsigned_abs() % 60));
            }
        }
    }

    /// Writes the time in a form that the Firehose JSON deserialiser reads as `timestamp`: `2016-02-08 00:37:00`.
    ///
    /// The type has no offset, so a time with one is converted to UTC.
    /// Source: Firehose developer guide, "Format conversion requirements", OpenX JSON deserialiser.
    pub fn write_firehose(&self, out: &mut Vec<u8>) {
        write_date_and_time(&self.utc(), b' ', out);
    }

    fn utc(&self) -> NaiveDateTime {
        match self.offset {
            None | Some(Offset::Zulu) => self.local,
            // Years of four digits are far from the type's limits.
            Some(Offset::Minutes(minutes)) => self.local - chrono::Duration::minutes(minutes.into()),
        }
    }
}

/// A day without a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date(NaiveDate);

impl Date {
    /// Reads a trimmed cell that names a day, such as `2016-02-08`, `2/8/2016` or `13.08.2016`.
    ///
    /// A day with midnight is read as a day, since many programs write days so. A day with any other time is not, since
    /// the time would be lost. Nor is midnight with an offset, which is an instant that falls on two days.
    #[must_use]
    pub fn parse(text: &str, order: DateOrder) -> Option<Self> {
        let Form { day, clock } = Form::read(text)?;
        if let Some(clock) = clock
            && (clock.end.offset.is_some() || clock.time()? != NaiveTime::MIN)
        {
            return None;
        }
        day.date(order).map(Self)
    }

    /// Whether a trimmed cell is the same day in both date orders, so that no order need be declared.
    #[must_use]
    pub fn needs_no_order(text: &str) -> bool {
        let date = Self::parse(text, DateOrder::Mdy);
        date.is_some() && date == Self::parse(text, DateOrder::Dmy)
    }

    /// Writes the day in the form of the streams, which Glue reads as `date`: `2016-02-08`.
    ///
    /// Source: Athena user guide, "Data types in Amazon Athena", `DATE`.
    pub fn write_iso(self, out: &mut Vec<u8>) {
        write_date(self.0, out);
    }
}

/// The time that ingest stamps: UTC in microseconds, `2022-12-24T04:53:57.450051Z`.
#[must_use]
pub fn stamp(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Whether a JSON value is a time as [`stamp`] writes it. Such a time keeps its text, with the zeros at its end.
#[must_use]
pub fn is_stamp(value: &str) -> bool {
    let Some(text) = value.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return false };
    text.ends_with('Z')
        && Timestamp::parse(text, DateOrder::Mdy).is_some_and(|time| stamp(time.instant()) == text)
}

fn write_date_and_time(time: &NaiveDateTime, separator: u8, out: &mut Vec<u8>) {
    write_date(time.date(), out);
    let seconds = time.num_seconds_from_midnight();
    for (mark, part) in [(separator, seconds / 3_600), (b':', seconds / 60 % 60), (b':', seconds % 60)] {
        out.push(mark);
        out.extend(two_digits(part));
    }
    let nanoseconds = time.nanosecond();
    if nanoseconds != 0 {
        out.push(b'.');
        out.extend_from_slice(format!("{nanoseconds:09}").trim_end_matches('0').as_bytes());
    }
}

/// Writes digit by digit. chrono's `format` parses its pattern each time, which took a third of ingest's time.
fn write_date(date: NaiveDate, out: &mut Vec<u8>) {
    // `parse` reads years of four digits. An offset can move a time beyond them, where ISO 8601 requires a sign.
    match u32::try_from(date.year()) {
        Ok(year @ 0..=9_999) => {
            out.extend_from_slice([year / 100, year % 100].map(two_digits).as_flattened());
        }
        _ => out.extend_from_slice(format!("{:+05}", date.year()).as_bytes()),
    }
    for part in [date.month(), date.day()] {
        out.push(b'-');
        out.extend(two_digits(part));
    }
}

/// The last two digits of a number, each of which fits in a byte.
fn two_digits(number: u32) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}
