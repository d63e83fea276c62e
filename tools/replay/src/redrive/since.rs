//! Parses the start of a time span: a day, a time, or a duration before now.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

/// The start of a time span that ends now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    At(DateTime<Utc>),
    /// So long before now.
    Ago(TimeDelta),
}

impl Since {
    pub(crate) fn at(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Self::At(time) => time,
            Self::Ago(long) => now - long,
        }
    }
}

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            return Ok(Self::At(time.to_utc()));
        }
        if let Ok(day) = text.parse::<NaiveDate>() {
            return Ok(Self::At(day.and_time(NaiveTime::MIN).and_utc()));
        }
        ago(text).map(Self::Ago).ok_or_else(|| {
            format!(
                "expected 2026-11-25, 2026-11-25T06:00:00Z, or 90m, 6h or 7d for so long ago, found `{text}`"
            )
        })
    }
}

fn ago(text: &str) -> Option<TimeDelta> {
    let unit = text.chars().last()?;
    let count = text.strip_suffix(unit)?.parse::<u32>().ok()?.into();
    match unit {
        'm' => TimeDelta::try_minutes(count),
        'h' => TimeDelta::try_hours(count),
        'd' => TimeDelta::try_days(count),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_times_and_spans_are_read() {
        let now: DateTime<Utc> = "2026-11-25T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-11-24", "2026-11-24T00:00:00Z"),
            ("2026-11-24T06:30:00+02:00", "2026-11-24T04:30:00Z"),
            ("90m", "2026-11-25T10:30:00Z"),
            ("6h", "2026-11-25T06:00:00Z"),
            ("7d", "2026-11-18T12:00:00Z"),
        ] {
            let since: Since = text.parse().unwrap();
            assert_eq!(since.at(now), expected.parse::<DateTime<Utc>>().unwrap(), "{text}");
        }
        for text in ["", "d", "7", "7w", "-7d", "yesterday", "7é"] {
            assert!(text.parse::<Since>().unwrap_err().contains("expected 2026-11-25"), "{text}");
        }
    }
}
