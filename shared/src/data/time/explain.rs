//! Explains why a text cannot be read as a time, to those who must change the text or its declaration.

use serde::Serialize;

use super::{Date, DateOrder, Timestamp, form::Form};

/// Why a text cannot be read as a time or as a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// It can be read in the other order of day and month: `13/08/2016 17:05` where the month comes first.
    OtherOrder,
    /// It is a day, in a column of times: `13/08/2016`. Midnight is not assumed.
    DayOnly,
    /// It is a day with a time, in a column of days: `13/08/2016 17:05`.
    DayAndTime,
    /// It is a time of day, or minutes and seconds as Excel shows a time: `17:05`, `45:00.0`.
    TimeOnly,
    /// Its year has two digits: `2/8/16 0:37`.
    NoCentury,
    /// It has the form of a time that does not exist: `31/04/2016 17:05`, `2016-02-08 24:00`.
    NoSuchTime,
    /// It is a number of days as spreadsheets count them: `42408.0257`.
    SerialNumber,
    /// It is a number of seconds or milliseconds, as Unix counts them: `1454891828`.
    UnixTime,
    /// It does not have the form of a time: `yesterday`.
    NotATime,
}

impl Unreadable {
    /// What to do about it, as the end of a sentence that says how many cells there are.
    #[must_use]
    pub fn remedy(self, declared: DateOrder) -> &'static str {
        match (self, declared) {
            (Self::OtherOrder, DateOrder::Mdy) => "can only be day/month/year: declare `date_order=dmy`",
            (Self::OtherOrder, DateOrder::Dmy) => "can only be month/day/year: declare `date_order=mdy`",
            (Self::DayOnly, _) => {
                "are days without a time: declare `type = \"date\"`, or a `day_column` if others have a time"
            }
            (Self::DayAndTime, _) => "have a time: declare `type = \"timestamp\"`",
            (Self::TimeOnly, _) => "are times without a day: export the column with its days",
            (Self::NoCentury, _) => "have a year of two digits: export the column with years of four",
            (Self::NoSuchTime, _) => "name a day or a time that does not exist: correct them at their source",
            (Self::SerialNumber, _) => {
                "are serial numbers of a spreadsheet: export the column in a format of dates"
            }
            (Self::UnixTime, _) => {
                "are numbers of Unix seconds: export the column as ISO 8601, or declare `type = \"int\"`"
            }
            (Self::NotATime, _) => {
                "have no form of a time: declare `type = \"string\"` if that is what they are"
            }
        }
    }
}

/// Why a trimmed text cannot be read as a time in that order; nothing if it can.
#[must_use]
pub fn explain(text: &str, order: DateOrder) -> Option<Unreadable> {
    if Timestamp::parse(text, order).is_some() {
        return None;
    }
    Some(match Form::read(text) {
        None => shapeless(text),
        Some(Form { day, clock: None }) if order.both().iter().any(|order| day.date(*order).is_some()) => {
            Unreadable::DayOnly
        }
        Some(form) => misplaced(form, Timestamp::parse(text, order.other()).is_some()),
    })
}

/// Why a trimmed text cannot be read as a day in that order; nothing if it can.
#[must_use]
pub fn explain_date(text: &str, order: DateOrder) -> Option<Unreadable> {
    if Date::parse(text, order).is_some() {
        return None;
    }
    Some(match Form::read(text) {
        None => shapeless(text),
        Some(_) if order.both().iter().any(|order| Timestamp::parse(text, *order).is_some()) => {
            match Date::parse(text, order.other()) {
                Some(_) => Unreadable::OtherOrder,
                None => Unreadable::DayAndTime,
            }
        }
        Some(form) => misplaced(form, Date::parse(text, order.other()).is_some()),
    })
}

/// Why a text with the form of a time is not a time.
fn misplaced(form: Form, is_readable_in_other_order: bool) -> Unreadable {
    match is_readable_in_other_order {
        true => Unreadable::OtherOrder,
        false if form.day.lacks_century() => Unreadable::NoCentury,
        false => Unreadable::NoSuchTime,
    }
}

/// Why a text without the form of a time is not a time.
fn shapeless(text: &str) -> Unreadable {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match whole.len() {
        // From 1927 to 2173.
        5 if digits(whole) && digits(fraction) && !whole.starts_with('0') => Unreadable::SerialNumber,
        // From 2001 to 2286, in seconds or milliseconds.
        10 | 13 if digits(whole) && digits(fraction) && !whole.starts_with('0') => Unreadable::UnixTime,
        _ if is_time_only(text) => Unreadable::TimeOnly,
        _ => Unreadable::NotATime,
    }
}

/// Digits and colons, then what can follow them: `17:05`, `45:00.0`, `2:41:17 PM`.
fn is_time_only(text: &str) -> bool {
    let Some((first, rest)) = text.split_once(':') else { return false };
    let minutes = rest.as_bytes();
    (1..=3).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(minutes, [b'0'..=b'9', b'0'..=b'9', ..])
        && rest.bytes().all(|byte| byte.is_ascii_digit() || b":.,+- AaPpMmZz".contains(&byte))
}
