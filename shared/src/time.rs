//! Times as files write them, read without guessing.

use chrono::{
    DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, Timelike as _,
    Utc,
};
use serde::{Deserialize, Serialize};

use crate::{excerpt::excerpt, writer::Writer};

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
    /// The names under which a sender declares an order, wherever options have names.
    pub const OPTIONS: [&'static str; 2] = ["date_order", "date-order"];

    /// Whether an option of that name declares an order.
    #[must_use]
    pub fn is_option(name: &str) -> bool {
        Self::OPTIONS.contains(&name)
    }
}

/// A point on a wall clock, with the offset from UTC where the text gives one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    local: NaiveDateTime,
    offset: Option<Offset>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Offset {
    /// Written as `Z`.
    Zulu,
    /// Written as `+hh:mm`; minutes east of UTC.
    Minutes(i32),
}

impl Timestamp {
    /// Reads a trimmed cell: `2016-02-08 00:37:00`, with a blank or `T`, a fraction of up to nine digits and
    /// `Z` or an offset; or `2/8/2016 0:37`, `02-08-2016 00:37:00`, in the declared order of the date.
    ///
    /// Anything else is `None`: no time is guessed.
    #[must_use]
    pub fn parse(text: &str, order: DateOrder) -> Option<Self> {
        match text.as_bytes() {
            // `1-10-2016` has a dash in the same place.
            iso @ [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..] => parse_iso(iso),
            _ => parse_local(text, order),
        }
    }

    /// Whether a trimmed cell says the same time in both orders of the date, so that none need be declared.
    #[must_use]
    pub fn needs_no_order(text: &str) -> bool {
        Self::parse(text, DateOrder::Mdy) == Self::parse(text, DateOrder::Dmy)
    }

    /// The instant, a time without an offset being taken as UTC (as producers write `Txn_Timestamp`).
    #[must_use]
    pub fn instant(&self) -> DateTime<Utc> {
        self.utc().and_utc()
    }

    /// Writes the time as it stands on the streams: `2016-02-08T00:37:00`, a fraction only where it is not zero,
    /// `Z` or the offset where the text gave one.
    pub fn write_iso(&self, out: &mut Writer) {
        write_date_and_time(&self.local, b'T', out);
        match self.offset {
            None => {}
            Some(Offset::Zulu) => out.byte(b'Z'),
            Some(Offset::Minutes(minutes)) => {
                out.byte(if minutes < 0 { b'-' } else { b'+' });
                out.text(&two_digits(minutes.unsigned_abs() / 60));
                out.byte(b':');
                out.text(&two_digits(minutes.unsigned_abs() % 60));
            }
        }
    }

    /// Writes the time in a form that the Firehose JSON deserialiser takes as `timestamp`: `2016-02-08 00:37:00`.
    ///
    /// The type knows no offset, so a time with one is put in UTC.
    /// Source: Firehose developer guide, "Format conversion requirements", OpenX JSON deserialiser.
    pub fn write_firehose(&self, out: &mut Writer) {
        write_date_and_time(&self.utc(), b' ', out);
    }

    fn utc(&self) -> NaiveDateTime {
        match self.offset {
            None | Some(Offset::Zulu) => self.local,
            // `parse_iso` has made sure that the difference is representable.
            Some(Offset::Minutes(minutes)) => self.local - chrono::Duration::minutes(minutes.into()),
        }
    }
}

/// A stamp of ingest: UTC in microseconds, `2022-12-24T04:53:57.450051Z`.
#[must_use]
pub fn stamp(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Writes digit by digit: chrono's `format` reads its pattern anew each time, which was a third of the time of ingest.
fn write_date_and_time(time: &NaiveDateTime, separator: u8, out: &mut Writer) {
    // `parse` reads years of four digits; an offset can lead one beyond them, where ISO 8601 asks for a sign.
    match u32::try_from(time.year()) {
        Ok(year @ 0..=9_999) => {
            out.text([year / 100, year % 100].map(two_digits).as_flattened());
        }
        _ => out.text(format!("{:+05}", time.year()).as_bytes()),
    }
    let seconds = time.num_seconds_from_midnight();
    let mut text = *b"-00-00T00:00:00";
    text[6] = separator;
    for (at, part) in [
        (1, time.month()),
        (4, time.day()),
        (7, seconds / 3_600),
        (10, seconds / 60 % 60),
        (13, seconds % 60),
    ] {
        text[at..at + 2].copy_from_slice(&two_digits(part));
    }
    out.text(&text);
    let fraction = time.nanosecond();
    if fraction != 0 {
        let mut digits = [b'0'; 9];
        let mut rest = fraction;
        for digit in digits.iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        let end = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        out.byte(b'.');
        out.text(&digits[..end]);
    }
}

/// The last two digits of a number, each of which fits in a byte.
fn two_digits(number: u32) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

/// `yyyy-mm-dd(T| )hh:mm:ss[.f…][Z|±hh:mm|±hhmm]`
fn parse_iso(bytes: &[u8]) -> Option<Timestamp> {
    let (head, tail) = bytes.split_first_chunk::<19>()?;
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T' | b' ', h1, h2, b':', n1, n2, b':', s1, s2] = head
    else {
        return None;
    };
    let year = two(y1, y2)? * 100 + two(y3, y4)?;
    let date = NaiveDate::from_ymd_opt(year.try_into().ok()?, two(m1, m2)?, two(d1, d2)?)?;
    let digits = match tail {
        [b'.', rest @ ..] => rest.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let (fraction, zone) = match tail {
        [b'.', rest @ ..] if (1..=9).contains(&digits) => rest.split_at(digits),
        [b'.', ..] => return None,
        _ => (&b""[..], tail),
    };
    let nanoseconds = match fraction.len() {
        0 => 0,
        digits => number(fraction)? * 10_u32.pow(9 - u32::try_from(digits).ok()?),
    };
    let time = NaiveTime::from_hms_nano_opt(two(h1, h2)?, two(n1, n2)?, two(s1, s2)?, nanoseconds)?;
    let offset = match zone {
        [] => None,
        b"Z" => Some(Offset::Zulu),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            let (hours, minutes) = (two(*h1, *h2)?, two(*m1, *m2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let east = i32::try_from(hours * 60 + minutes).ok()?;
            Some(Offset::Minutes(if *sign == b'-' { -east } else { east }))
        }
        _ => return None,
    };
    let local = date.and_time(time);
    if let Some(Offset::Minutes(minutes)) = offset {
        local.checked_sub_offset(FixedOffset::east_opt(minutes * 60)?)?;
    }
    Some(Timestamp { local, offset })
}

/// `m/d/yyyy h:mm[:ss]`, with slashes or dashes, in either order of month and day.
fn parse_local(text: &str, order: DateOrder) -> Option<Timestamp> {
    let (date, time) = text.split_once(' ')?;
    let separator = if date.contains('/') { '/' } else { '-' };
    let mut parts = date.split(separator);
    let (first, second, year) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !short(first) || !short(second) || year.len() != 4 {
        return None;
    }
    let (month, day) = match order {
        DateOrder::Mdy => (first, second),
        DateOrder::Dmy => (second, first),
    };
    let date = NaiveDate::from_ymd_opt(
        number(year.as_bytes())?.try_into().ok()?,
        number(month.as_bytes())?,
        number(day.as_bytes())?,
    )?;
    let mut parts = time.split(':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next().unwrap_or("00"));
    if parts.next().is_some() || !short(hour) || minute.len() != 2 || second.len() != 2 {
        return None;
    }
    let [hour, minute, second] = [hour, minute, second].map(|part| number(part.as_bytes()));
    let time = NaiveTime::from_hms_opt(hour?, minute?, second?)?;
    Some(Timestamp { local: date.and_time(time), offset: None })
}

fn short(digits: &str) -> bool {
    matches!(digits.len(), 1 | 2)
}

/// A number of two ASCII digits.
#[inline]
fn two(tens: u8, units: u8) -> Option<u32> {
    let (tens, units) = (tens.wrapping_sub(b'0'), units.wrapping_sub(b'0'));
    (tens <= 9 && units <= 9).then(|| u32::from(tens) * 10 + u32::from(units))
}

/// A number of one to nine ASCII digits, without a sign.
fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u32, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn iso(text: &str, order: DateOrder) -> Option<String> {
        let time = Timestamp::parse(text, order)?;
        let mut iso = Writer::default();
        time.write_iso(&mut iso);
        Some(String::from_utf8(iso.into_bytes()).unwrap())
    }

    #[test]
    fn every_accepted_form_becomes_iso_8601() {
        let cases = [
            ("2016-02-08 00:37:08", "2016-02-08T00:37:08"),
            ("2016-02-08T00:37:08", "2016-02-08T00:37:08"),
            ("2022-12-03 23:37:14.000000000", "2022-12-03T23:37:14"),
            ("2022-12-03 23:37:14.000000", "2022-12-03T23:37:14"),
            ("2022-12-03 23:37:14.450051000", "2022-12-03T23:37:14.450051"),
            ("2022-12-03 23:37:14.000000001", "2022-12-03T23:37:14.000000001"),
            ("2022-12-24T04:53:57.450051Z", "2022-12-24T04:53:57.450051Z"),
            ("2022-12-24T04:53:57+00:00", "2022-12-24T04:53:57+00:00"),
            ("2022-12-24T04:53:57-0530", "2022-12-24T04:53:57-05:30"),
            ("2024-02-29 23:59:59", "2024-02-29T23:59:59"),
            ("2/8/2016 0:37", "2016-02-08T00:37:00"),
            ("02-08-2016 00:37", "2016-02-08T00:37:00"),
            ("02/08/2016 00:37:09", "2016-02-08T00:37:09"),
            ("1-10-2016 0:37", "2016-01-10T00:37:00"),
            ("12-8-2016 0:37", "2016-12-08T00:37:00"),
            ("2-08-2016 00:37", "2016-02-08T00:37:00"),
        ];
        for (text, expected) in cases {
            assert_eq!(iso(text, DateOrder::Mdy).as_deref(), Some(expected), "{text}");
        }
        assert_eq!(iso("13/08/2016 1:02", DateOrder::Dmy).as_deref(), Some("2016-08-13T01:02:00"));
    }

    #[test]
    fn nothing_is_guessed() {
        let cases = [
            "",
            "45:00.0",
            "13:00.0",
            "13/08/2016 1:02",
            "2/30/2016 0:37",
            "2023-02-29 00:00:00",
            "2016-02-08",
            "2016-02-08 00:37",
            "2016-02-08  00:37:00",
            "2016-02-08 24:00:00",
            "2016-02-08 00:37:60",
            "2/8/16 0:37",
            "2/8/2016",
            "2/8/2016 0:7",
            "2/8/2016 0:37 PM",
            "2/8-2016 0:37",
            "2016/02/08 00:37:00",
            "+2/8/2016 0:37",
            "2016-02-08 00:37:00.",
            "2016-02-08 00:37:00.1234567890",
            "2016-02-08T00:37:00+24:00",
            "2016-02-08T00:37:00 UTC",
            "2016-02-08T00:37:00z",
            "２016-02-08 00:37:00",
            "002/8/2016 0:37",
            "1707352628",
        ];
        for text in cases {
            assert_eq!(iso(text, DateOrder::Mdy), None, "{text}");
        }
    }

    #[test]
    fn a_time_written_is_read_again_as_it_stands() {
        for text in ["2016-02-08T00:37:08", "2016-02-08T00:37:08.5Z", "2016-02-08T00:37:08.000000001-11:45"] {
            assert_eq!(iso(text, DateOrder::Mdy).as_deref(), Some(text));
        }
    }

    #[test]
    fn firehose_gets_a_form_that_it_takes_as_timestamp() {
        let firehose = |text| {
            let mut written = Writer::default();
            Timestamp::parse(text, DateOrder::Mdy).unwrap().write_firehose(&mut written);
            String::from_utf8(written.into_bytes()).unwrap()
        };
        assert_eq!(firehose("2016-02-08T00:37:00"), "2016-02-08 00:37:00");
        assert_eq!(firehose("2022-12-24T04:53:57.450051Z"), "2022-12-24 04:53:57.450051");
        assert_eq!(firehose("2022-12-31T23:30:00-05:00"), "2023-01-01 04:30:00", "an offset is put in UTC");
    }

    #[test]
    fn a_stamp_has_microseconds_even_when_they_are_zero() {
        let instant = Timestamp::parse("2022-12-24T04:53:57Z", DateOrder::Mdy).unwrap().instant();
        assert_eq!(stamp(instant), "2022-12-24T04:53:57.000000Z");
    }

    #[test]
    fn a_time_needs_an_order_only_if_the_orders_differ() {
        for (text, needs) in [
            ("2016-02-08T00:37:08", false),
            ("2/2/2016 0:37", false),
            ("45:00.0", false),
            ("2/8/2016 0:37", true),
            ("13/08/2016 0:37", true),
        ] {
            assert_eq!(!Timestamp::needs_no_order(text), needs, "{text}");
        }
    }

    prop_compose! {
        fn wall_clock()(
            year in 1000_i32..=9999, day_of_year in 1_u32..=366, second in 0_u32..86_400, nanosecond in 0_u32..1_000_000_000,
        ) -> Option<NaiveDateTime> {
            let date = NaiveDate::from_yo_opt(year, day_of_year)?;
            Some(date.and_time(NaiveTime::from_num_seconds_from_midnight_opt(second, nanosecond)?))
        }
    }

    proptest! {
        #[test]
        fn every_form_of_day_month_and_year_is_read(
            time in wall_clock(), dmy: bool, dashes: bool, wide: [bool; 3], seconds: bool,
        ) {
            let Some(time) = time else { return Ok(()) };
            let two = |number: u32, wide: bool| if wide { format!("{number:02}") } else { number.to_string() };
            let parts = [two(time.month(), wide[0]), two(time.day(), wide[1])];
            let [first, second] = if dmy { [&parts[1], &parts[0]] } else { [&parts[0], &parts[1]] };
            let separator = if dashes { '-' } else { '/' };
            let mut text = format!("{first}{separator}{second}{separator}{} ", time.year());
            text += &format!("{}:{:02}", two(time.hour(), wide[2]), time.minute());
            let mut expected = time.format("%Y-%m-%dT%H:%M:00").to_string();
            if seconds {
                text += &format!(":{:02}", time.second());
                expected = time.format("%Y-%m-%dT%H:%M:%S").to_string();
            }
            let order = if dmy { DateOrder::Dmy } else { DateOrder::Mdy };
            prop_assert_eq!(iso(&text, order), Some(expected), "{}", text);
        }

        #[test]
        fn every_iso_form_is_read_in_any_order(
            time in wall_clock(), blank: bool, digits in 0_usize..=9, zone in 0_usize..4, minutes in 0_u32..24 * 60,
        ) {
            let Some(time) = time else { return Ok(()) };
            let mut text = time.format(if blank { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S" }).to_string();
            let mut expected = time.format("%Y-%m-%dT%H:%M:%S").to_string();
            let fraction = &format!("{:09}", time.nanosecond())[..digits];
            if !fraction.is_empty() {
                text += &format!(".{fraction}");
            }
            if fraction.contains(|digit| digit != '0') {
                expected += &format!(".{}", fraction.trim_end_matches('0'));
            }
            let (hours, minutes) = (minutes / 60, minutes % 60);
            let (written, normal) = match zone {
                0 => (String::new(), String::new()),
                1 => ("Z".to_owned(), "Z".to_owned()),
                2 => (format!("+{hours:02}{minutes:02}"), format!("+{hours:02}:{minutes:02}")),
                _ => (format!("-{hours:02}:{minutes:02}"), format!("-{hours:02}:{minutes:02}")),
            };
            // An offset of nothing is written as one to the east.
            let normal = if normal == "-00:00" { "+00:00".to_owned() } else { normal };
            let (text, expected) = (text + &written, expected + &normal);
            for order in [DateOrder::Mdy, DateOrder::Dmy] {
                prop_assert_eq!(iso(&text, order), Some(expected.clone()), "{}", text);
            }
            prop_assert!(Timestamp::needs_no_order(&text));
        }
    }
}
