//! Day and night at a place and time of the contiguous United States.

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, Timelike, Weekday};

use super::places::Place;

/// Whether it is day by each of the four definitions, from the strictest to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four columns, each day or night")]
pub(super) struct Daylight {
    pub sunrise_sunset: bool,
    pub civil: bool,
    pub nautical: bool,
    pub astronomical: bool,
}

impl Daylight {
    pub(super) fn at(place: &Place, local: NaiveDateTime) -> Self {
        let height = height(place, local - Duration::hours(utc_offset(place, local)));
        // The sines of 0.833 (the sun's radius and refraction), 6, 12 and 18 degrees.
        Self {
            sunrise_sunset: height > -0.014_54,
            civil: height > -0.104_53,
            nautical: height > -0.207_91,
            astronomical: height > -0.309_02,
        }
    }
}

/// The sine of the sun's height above the horizon, good to about half a degree.
fn height(place: &Place, utc: NaiveDateTime) -> f64 {
    let declination = -23.44 * cosine(360.0 / 365.0 * (f64::from(utc.ordinal0()) + 11.0));
    let hour_angle = f64::from(utc.num_seconds_from_midnight()) / 240.0 - 180.0 + place.lng;
    sine(place.lat) * sine(declination) + cosine(place.lat) * cosine(declination) * cosine(hour_angle)
}

/// Hours that the wall clock is ahead of UTC, so below zero.
fn utc_offset(place: &Place, local: NaiveDateTime) -> i64 {
    let standard = match place.time_zone {
        "US/Pacific" => -8,
        "US/Mountain" => -7,
        "US/Central" => -6,
        _ => -5,
    };
    // Arizona keeps standard time all year.
    if place.state != "AZ" && summer_time(local.date()) { standard + 1 } else { standard }
}

/// From the second Sunday of March to the first of November.
fn summer_time(date: NaiveDate) -> bool {
    let sunday = |month, n| NaiveDate::from_weekday_of_month_opt(date.year(), month, Weekday::Sun, n);
    sunday(3, 2).is_some_and(|start| date >= start) && sunday(11, 1).is_some_and(|end| date < end)
}

fn sine(degrees: f64) -> f64 {
    cosine(degrees - 90.0)
}

/// The Taylor series of the cosine, to five digits.
pub(super) fn cosine(degrees: f64) -> f64 {
    let turns = degrees / 360.0;
    let x = (turns - turns.round()) * std::f64::consts::TAU;
    let mut sum = 1.0;
    let mut term = 1.0;
    for n in 1..=9 {
        term *= -x * x / f64::from((2 * n - 1) * (2 * n));
        sum += term;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::{super::places::Places, *};

    fn daylight(county: &str, local: &str) -> Daylight {
        let place = Places::load().in_county(county).unwrap();
        Daylight::at(&place, local.parse().unwrap())
    }

    #[test]
    fn cosine_is_good_to_five_digits() {
        for degrees in [-720.0_f64, -359.0, -180.0, -90.0, -45.0, 0.0, 1.0, 60.0, 90.0, 179.0, 180.0, 540.0] {
            assert!((cosine(degrees) - degrees.to_radians().cos()).abs() < 1e-5, "{degrees}");
        }
    }

    #[test]
    fn the_sun_rises_and_sets_when_it_does() {
        // Chicago on the longest day: sunrise 5:15, sunset 20:29; on the shortest: 7:15 and 16:23.
        let cases = [
            ("2021-06-21T05:00:00", false),
            ("2021-06-21T05:30:00", true),
            ("2021-06-21T20:15:00", true),
            ("2021-06-21T20:45:00", false),
            ("2021-12-21T07:00:00", false),
            ("2021-12-21T07:30:00", true),
            ("2021-12-21T16:10:00", true),
            ("2021-12-21T16:35:00", false),
        ];
        for (local, day) in cases {
            assert_eq!(daylight("Cook", local).sunrise_sunset, day, "{local}");
        }
        // Phoenix knows no summer time: sunset 19:42.
        assert!(daylight("Maricopa", "2021-06-21T19:30:00").sunrise_sunset);
        assert!(!daylight("Maricopa", "2021-06-21T20:00:00").sunrise_sunset);
    }

    #[test]
    fn the_twilights_end_one_after_the_other() {
        let evening = |local| daylight("Cook", local);
        assert!(!evening("2021-12-21T16:45:00").sunrise_sunset && evening("2021-12-21T16:45:00").civil);
        assert!(!evening("2021-12-21T17:10:00").civil && evening("2021-12-21T17:10:00").nautical);
        assert!(!evening("2021-12-21T17:45:00").nautical && evening("2021-12-21T17:45:00").astronomical);
        assert!(!evening("2021-12-21T18:30:00").astronomical);
    }
}
