//! The weather as an airport's station observes it: fitting the latitude, the month and the hour.

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, Timelike};
use fastrand::Rng;

use super::{
    draw::{Curve, chance, normal, one, rounded, weighted},
    places::Place,
};

/// One observation; what the station did not report is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Weather {
    pub observed: Option<NaiveDateTime>,
    pub temperature_f: Option<f64>,
    pub wind_chill_f: Option<f64>,
    pub humidity: Option<f64>,
    pub pressure_in: Option<f64>,
    pub visibility_mi: Option<f64>,
    pub wind_direction: Option<&'static str>,
    pub wind_speed_mph: Option<f64>,
    pub precipitation_in: Option<f64>,
    pub condition: Option<String>,
}

/// Where a month stands between January's temperature (0) and July's (1).
const SEASON: [f64; 12] = [0.0, 0.08, 0.27, 0.46, 0.69, 0.89, 1.0, 0.96, 0.8, 0.54, 0.26, 0.08];

/// Degrees Fahrenheit that an hour of the day is above or below the day's mean.
#[rustfmt::skip]
const HOUR_OF_DAY: [f64; 24] = [
    -5.0, -6.0, -7.0, -7.5, -8.0, -8.5, -8.0, -6.5, -4.0, -1.0, 2.0, 4.5, 6.5, 8.0, 9.0, 9.0, 8.5, 7.5, 5.5, 3.0,
    1.0, -1.0, -2.5, -4.0,
];

/// The weather's words until the stations' reports changed in March 2019, by temperature.
#[rustfmt::skip]
const COLD_BEFORE: &[(Sky, u32)] = &[
    (Sky::dry("Clear"), 29), (Sky::dry("Overcast"), 24), (Sky::dry("Mostly Cloudy"), 13),
    (Sky::dry("Scattered Clouds"), 8), (Sky::dry("Partly Cloudy"), 7), (Sky::snow("Light Snow"), 14),
    (Sky::snow("Snow"), 2), (Sky::rain("Light Freezing Drizzle"), 2), (Sky::mist("Haze"), 1),
];
#[rustfmt::skip]
const MILD_BEFORE: &[(Sky, u32)] = &[
    (Sky::dry("Clear"), 34), (Sky::dry("Overcast"), 24), (Sky::dry("Mostly Cloudy"), 11),
    (Sky::dry("Partly Cloudy"), 7), (Sky::dry("Scattered Clouds"), 6), (Sky::rain("Light Rain"), 10),
    (Sky::rain("Rain"), 2), (Sky::rain("Heavy Rain"), 1), (Sky::rain("Light Drizzle"), 1), (Sky::mist("Fog"), 1),
    (Sky::mist("Mist"), 1), (Sky::mist("Haze"), 1),
];
#[rustfmt::skip]
const WARM_BEFORE: &[(Sky, u32)] = &[
    (Sky::dry("Clear"), 39), (Sky::dry("Mostly Cloudy"), 16), (Sky::dry("Overcast"), 15),
    (Sky::dry("Partly Cloudy"), 11), (Sky::dry("Scattered Clouds"), 10), (Sky::rain("Light Rain"), 4),
    (Sky::rain("Rain"), 1), (Sky::rain("Thunderstorms and Rain"), 1), (Sky::mist("Haze"), 2),
];
/// The words since.
#[rustfmt::skip]
const COLD: &[(Sky, u32)] = &[
    (Sky::dry("Fair"), 38), (Sky::dry("Cloudy"), 25), (Sky::dry("Mostly Cloudy"), 6), (Sky::dry("Partly Cloudy"), 5),
    (Sky::snow("Light Snow"), 17), (Sky::snow("Snow"), 3), (Sky::snow("Wintry Mix"), 2), (Sky::snow("Heavy Snow"), 1),
    (Sky::mist("Fog"), 2), (Sky::mist("Haze"), 1),
];
#[rustfmt::skip]
const MILD: &[(Sky, u32)] = &[
    (Sky::dry("Fair"), 430), (Sky::dry("Cloudy"), 210), (Sky::dry("Mostly Cloudy"), 105),
    (Sky::dry("Partly Cloudy"), 63), (Sky::rain("Light Rain"), 98), (Sky::rain("Rain"), 25),
    (Sky::rain("Light Drizzle"), 8), (Sky::rain("Heavy Rain"), 7), (Sky::mist("Fog"), 27), (Sky::mist("Haze"), 7),
    (Sky::dry("N/A Precipitation"), 3), (Sky::mist("Patches of Fog"), 2), (Sky::rain("Heavy T-Storm"), 2),
];
#[rustfmt::skip]
const WARM: &[(Sky, u32)] = &[
    (Sky::dry("Fair"), 525), (Sky::dry("Mostly Cloudy"), 158), (Sky::dry("Partly Cloudy"), 120),
    (Sky::dry("Cloudy"), 112), (Sky::rain("Light Rain"), 24), (Sky::mist("Haze"), 9), (Sky::rain("Rain"), 7),
    (Sky::dry("Thunder in the Vicinity"), 7), (Sky::rain("T-Storm"), 6), (Sky::mist("Fog"), 6),
    (Sky::rain("Light Rain with Thunder"), 5), (Sky::rain("Heavy Rain"), 4), (Sky::dry("Thunder"), 4),
    (Sky::rain("Heavy T-Storm"), 3), (Sky::mist("Smoke"), 3),
];

#[rustfmt::skip]
const POINTS: &[&str] = &[
    "N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW", "NNW", "VAR",
];
#[rustfmt::skip]
const POINTS_BEFORE: &[&str] = &[
    "North", "NNE", "NE", "ENE", "East", "ESE", "SE", "SSE", "South", "SSW", "SW", "WSW", "West", "WNW", "NW",
    "NNW", "Variable",
];

#[rustfmt::skip]
const MILES_DRY: &[(f64, u32)] =
    &[(10.0, 940), (9.0, 25), (8.0, 10), (7.0, 12), (6.0, 5), (5.0, 5), (20.0, 2), (30.0, 1)];
#[rustfmt::skip]
const MILES_IN_MIST: &[(f64, u32)] =
    &[(0.25, 20), (0.5, 15), (1.0, 10), (2.0, 10), (3.0, 10), (4.0, 10), (5.0, 10), (6.0, 10)];
#[rustfmt::skip]
const MILES_IN_HEAVY_FALL: &[(f64, u32)] =
    &[(0.5, 20), (0.75, 10), (1.0, 20), (1.5, 10), (2.0, 15), (2.5, 5), (3.0, 5)];
#[rustfmt::skip]
const MILES_IN_SNOW: &[(f64, u32)] =
    &[(0.5, 10), (0.75, 8), (1.0, 20), (1.5, 10), (2.0, 20), (3.0, 12), (5.0, 8), (10.0, 4)];
#[rustfmt::skip]
const MILES_IN_RAIN: &[(f64, u32)] = &[
    (10.0, 35), (9.0, 6), (8.0, 6), (7.0, 8), (6.0, 8), (5.0, 9), (4.0, 9), (3.0, 9), (2.0, 6), (1.5, 2),
];

#[rustfmt::skip]
const KNOTS: Curve = Curve(&[
    (0.0, 3.0), (0.3, 5.0), (0.55, 7.0), (0.75, 9.0), (0.9, 12.5), (0.97, 16.0), (0.995, 21.0), (1.0, 31.0),
]);

#[rustfmt::skip]
const HUMIDITY_DRY: Curve = Curve(&[
    (0.0, 11.0), (0.05, 24.0), (0.25, 44.0), (0.5, 61.0), (0.75, 79.0), (0.95, 95.0), (1.0, 100.0),
]);
#[rustfmt::skip]
const HUMIDITY_WET: Curve =
    Curve(&[(0.0, 60.0), (0.05, 72.0), (0.25, 84.0), (0.5, 91.0), (0.75, 94.0), (1.0, 100.0)]);
#[rustfmt::skip]
const INCHES_OF_RAIN: Curve = Curve(&[
    (0.0, 0.0), (0.35, 0.0), (0.6, 0.01), (0.8, 0.03), (0.95, 0.1), (0.99, 0.24), (1.0, 0.5),
]);
const INCHES_OF_SNOW: Curve = Curve(&[(0.0, 0.0), (0.7, 0.0), (0.95, 0.02), (1.0, 0.06)]);

/// Miles per hour to the power of 0.16.
#[rustfmt::skip]
const POWER_OF_WIND: Curve = Curve(&[
    (3.0, 1.192), (5.0, 1.294), (10.0, 1.445), (15.0, 1.542), (20.0, 1.615), (30.0, 1.723), (40.0, 1.804),
]);

/// How the sky looks, and what that does to the other values.
#[derive(Clone, Copy)]
struct Sky {
    words: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dry,
    Rain,
    Snow,
    Mist,
}

impl Sky {
    const fn dry(words: &'static str) -> Self {
        Self { words, kind: Kind::Dry }
    }

    const fn rain(words: &'static str) -> Self {
        Self { words, kind: Kind::Rain }
    }

    const fn snow(words: &'static str) -> Self {
        Self { words, kind: Kind::Snow }
    }

    const fn mist(words: &'static str) -> Self {
        Self { words, kind: Kind::Mist }
    }
}

impl Weather {
    pub(super) fn observe(rng: &mut Rng, place: &Place, accident: NaiveDateTime) -> Self {
        // Shares of rows without any weather and without the single values, as measured.
        if chance(rng, 0.0165) {
            return Self::default();
        }
        let observed = observation_time(rng, place, accident);
        let before = NaiveDate::from_ymd_opt(2019, 3, 20).is_some_and(|change| observed.date() < change);

        let fahrenheit = normal(rng, mean_temperature(place, observed), 7.5).round().clamp(-30.0, 112.0);
        let sky = weighted(
            rng,
            match (before, fahrenheit) {
                (true, ..=34.0) => COLD_BEFORE,
                (true, ..=60.0) => MILD_BEFORE,
                (true, _) => WARM_BEFORE,
                (false, ..=34.0) => COLD,
                (false, ..=60.0) => MILD,
                (false, _) => WARM,
            },
        );
        let calm = chance(rng, 0.15);
        let knots = KNOTS.draw(rng).round();
        let mph = if calm { 0.0 } else { knots * 1.150_78 };
        // Stations reported tenths before, whole numbers since.
        let decimals = i32::from(before);
        let temperature = if before && chance(rng, 0.53) {
            fahrenheit + one(rng, &[0.1, -0.1, 0.2, -0.2, 0.4])
        } else {
            fahrenheit
        };
        let (direction, speed) = match (calm, before) {
            (true, true) => ("Calm", None),
            (true, false) => ("CALM", Some(0.0)),
            (false, true) => (one(rng, POINTS_BEFORE), Some(rounded(mph, decimals))),
            (false, false) => (one(rng, POINTS), Some(rounded(mph, decimals))),
        };
        let windy = !before && mph >= 20.0 && sky.kind != Kind::Mist;
        let condition = if windy { format!("{} / Windy", sky.words) } else { sky.words.to_owned() };

        let mut present = |share: f64| chance(rng, share);
        let temperature_known = present(0.995);
        let wind_chill_known = present(if before { 0.95 } else { 0.985 });
        let precipitation_known = present(if before { 0.19 } else { 0.965 });
        let (humidity_known, pressure_known) = (present(0.998), present(0.9985));
        let (visibility_known, direction_known) = (present(0.995), present(0.995));
        let (speed_known, condition_known) = (present(0.988), present(0.995));

        Self {
            observed: Some(observed),
            temperature_f: temperature_known.then_some(rounded(temperature, 1)),
            // Before, a wind chill was reported only where it is colder than the air.
            wind_chill_f: wind_chill(temperature, mph, before)
                .filter(|_| temperature_known && wind_chill_known)
                .map(|felt| rounded(felt, decimals)),
            humidity: (temperature_known && humidity_known).then_some(humidity(rng, sky.kind, observed)),
            pressure_in: pressure_known.then_some(pressure(rng, place, before)),
            visibility_mi: visibility_known.then_some(visibility(rng, sky)),
            wind_direction: direction_known.then_some(direction),
            wind_speed_mph: speed.filter(|_| speed_known),
            precipitation_in: precipitation_known.then_some(precipitation(rng, sky)),
            condition: condition_known.then_some(condition),
        }
    }
}

/// The observation nearest to the accident: stations report once an hour, at a minute of their own.
fn observation_time(rng: &mut Rng, place: &Place, accident: NaiveDateTime) -> NaiveDateTime {
    const MINUTES: [i64; 12] = [53, 53, 53, 53, 53, 51, 56, 54, 55, 52, 35, 15];
    let station = place.airport.bytes().fold(0_usize, |hash, byte| hash * 31 + usize::from(byte));
    let hour = accident - Duration::seconds(i64::from(accident.minute() * 60 + accident.second()));
    let report = hour + Duration::minutes(MINUTES[station % MINUTES.len()]);
    let nearest =
        if report - accident > Duration::minutes(30) { report - Duration::hours(1) } else { report };
    // Some are found only an hour or more away.
    if chance(rng, 0.02) { nearest - Duration::minutes(20 * rng.i64(1..6)) } else { nearest }
}

fn mean_temperature(place: &Place, at: NaiveDateTime) -> f64 {
    let (january, july) = if place.lng < -115.0 {
        (60.0 - 1.9 * (place.lat - 33.5), 79.5 - 0.8 * (place.lat - 34.0))
    } else {
        (63.0 - 2.3 * (place.lat - 27.0), 84.5 - 0.45 * (place.lat - 27.0))
    };
    let season = SEASON[at.month0() as usize];
    // The rows show a mean hour rather than a mean day: most accidents happen by day.
    january + season * (july - january) + HOUR_OF_DAY[at.hour() as usize] - 2.0
}

/// What the air feels like by the National Weather Service's formula, whose power of the wind is tabled.
fn wind_chill(fahrenheit: f64, mph: f64, before: bool) -> Option<f64> {
    if fahrenheit > 50.0 || mph < 3.0 {
        return (!before).then_some(fahrenheit);
    }
    let power = POWER_OF_WIND.at(mph);
    Some(35.74 + 0.6215 * fahrenheit - 35.75 * power + 0.4275 * fahrenheit * power)
}

fn humidity(rng: &mut Rng, kind: Kind, at: NaiveDateTime) -> f64 {
    let day = matches!(at.hour(), 10..=18);
    match kind {
        Kind::Dry => (HUMIDITY_DRY.draw(rng) + if day { -6.0 } else { 6.0 }).clamp(4.0, 100.0).round(),
        Kind::Rain | Kind::Snow => HUMIDITY_WET.draw(rng).round(),
        Kind::Mist => (HUMIDITY_WET.draw(rng) + 4.0).min(100.0).round(),
    }
}

/// Reduced to sea level before, as measured at the station's height since.
fn pressure(rng: &mut Rng, place: &Place, before: bool) -> f64 {
    let feet = if before { 0.0 } else { place.elevation_ft };
    let mean = 30.01 - 1.08e-3 * feet + 1.3e-8 * feet * feet;
    rounded(normal(rng, mean, 0.19), 2)
}

fn visibility(rng: &mut Rng, sky: Sky) -> f64 {
    let miles = match (sky.kind, sky.words.starts_with("Heavy")) {
        (Kind::Dry, _) => MILES_DRY,
        (Kind::Mist, _) => MILES_IN_MIST,
        (_, true) => MILES_IN_HEAVY_FALL,
        (Kind::Snow, _) => MILES_IN_SNOW,
        (Kind::Rain, _) => MILES_IN_RAIN,
    };
    weighted(rng, miles)
}

fn precipitation(rng: &mut Rng, sky: Sky) -> f64 {
    let inches = match sky.kind {
        Kind::Dry | Kind::Mist => 0.0,
        Kind::Snow => INCHES_OF_SNOW.draw(rng),
        Kind::Rain if sky.words.starts_with("Heavy") => 0.1 + 2.0 * INCHES_OF_RAIN.draw(rng),
        Kind::Rain => INCHES_OF_RAIN.draw(rng),
    };
    rounded(inches, 2)
}

#[cfg(test)]
mod tests {
    use super::{super::places::Places, *};

    fn mean(county: &str, at: &str) -> f64 {
        let place = Places::load().in_county(county).unwrap();
        let mut rng = Rng::with_seed(1);
        let temperatures: Vec<_> = (0..500)
            .filter_map(|_| Weather::observe(&mut rng, &place, at.parse().unwrap()).temperature_f)
            .collect();
        temperatures.iter().sum::<f64>() / 500.0
    }

    #[test]
    fn it_is_warm_in_the_south_in_summer_and_by_day() {
        assert!(mean("Miami-Dade", "2021-01-10T14:00:00") > mean("Hennepin", "2021-01-10T14:00:00") + 25.0);
        assert!(mean("Cook", "2021-07-10T14:00:00") > mean("Cook", "2021-01-10T14:00:00") + 40.0);
        assert!(mean("Cook", "2021-07-10T14:00:00") > mean("Cook", "2021-07-10T04:00:00") + 10.0);
    }

    #[test]
    fn it_snows_in_the_cold_only() {
        let places = Places::load();
        let mut rng = Rng::with_seed(2);
        let mut snow = 0;
        for index in 0..20_000 {
            let place = places.draw(&mut rng);
            let at =
                NaiveDate::from_ymd_opt(2021, 1 + index % 12, 10).unwrap().and_hms_opt(8, 20, 0).unwrap();
            let weather = Weather::observe(&mut rng, &place, at);
            if let (Some(condition), Some(fahrenheit)) = (weather.condition, weather.temperature_f)
                && condition.contains("Snow")
            {
                snow += 1;
                assert!(fahrenheit < 36.0, "{condition} at {fahrenheit} °F");
            }
        }
        assert!(snow > 100, "{snow}");
    }

    #[test]
    fn the_observation_is_near_the_accident() {
        let place = Places::load().in_county("Cook").unwrap();
        let mut rng = Rng::with_seed(3);
        for minute in 0..60 {
            let at = NaiveDate::from_ymd_opt(2021, 5, 10).unwrap().and_hms_opt(8, minute, 59).unwrap();
            let away = (observation_time(&mut rng, &place, at) - at).num_minutes().abs();
            assert!(away <= 130, "{minute}: {away}");
        }
    }
}
