//! Rows of accidents like those published: in shape, in distribution and in their quirks. The shares are measured on
//! the published rows; the rows themselves are made up.

use chrono::{Datelike, Duration, NaiveDate, NaiveDateTime, Weekday};
use clap::ValueEnum;
use fastrand::Rng;

use super::{
    draw::{Curve, chance, one, position, rounded, weighted},
    places::{Place, Places},
    roads::{Road, Wording, describe},
    sun::{Daylight, cosine},
    weather::Weather,
};

/// A layout in which the accidents are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    /// March 2023: 46 columns, rows of 2016 to 2023 in no order, from three providers.
    Mar23,
    /// December 2020: 47 columns with `Number` and `Side` and without `Source`, lines ended by CR LF.
    Dec20,
}

macro_rules! columns {
    ([$($first:literal),*], [$($address:literal),*]) => {
        &[
            "ID", $($first,)* "Severity", "Start_Time", "End_Time", "Start_Lat", "Start_Lng", "End_Lat", "End_Lng",
            "Distance(mi)", "Description", $($address,)* "City", "County", "State", "Zipcode", "Country", "Timezone",
            "Airport_Code", "Weather_Timestamp", "Temperature(F)", "Wind_Chill(F)", "Humidity(%)", "Pressure(in)",
            "Visibility(mi)", "Wind_Direction", "Wind_Speed(mph)", "Precipitation(in)", "Weather_Condition", "Amenity",
            "Bump", "Crossing", "Give_Way", "Junction", "No_Exit", "Railway", "Roundabout", "Station", "Stop",
            "Traffic_Calming", "Traffic_Signal", "Turning_Loop", "Sunrise_Sunset", "Civil_Twilight",
            "Nautical_Twilight", "Astronomical_Twilight",
        ]
    };
}

impl Layout {
    /// The columns of the file, in order.
    #[must_use]
    pub fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Mar23 => columns!(["Source"], ["Street"]),
            Self::Dec20 => columns!([], ["Number", "Street", "Side"]),
        }
    }

    fn providers(self) -> &'static [(&'static Provider, u32)] {
        match self {
            Self::Mar23 => &MARCH_2023,
            Self::Dec20 => &DECEMBER_2020,
        }
    }
}

/// Where a part of the rows comes from, and what sets it apart.
struct Provider {
    /// Position among the providers of its layout.
    index: usize,
    name: &'static str,
    /// Weights of the years; of 2023 three months only are published.
    years: &'static [(i32, u32)],
    /// Weights of the severities.
    severities: &'static [(u8, u32)],
    /// Of the rows of each severity, how many in a hundred are on highways.
    highways: [f64; 4],
    /// Only the first provider says where the accident ends, and writes fractions of seconds.
    has_end: bool,
    /// The lowest id, and how many there are; each series of ids is worked through in a scattered order.
    ids: (u64, u64),
}

#[rustfmt::skip]
static SOURCE_1: Provider = Provider {
    index: 0,
    name: "Source1",
    years: &[(2016, 86), (2017, 123), (2018, 120), (2019, 185), (2020, 419), (2021, 712), (2022, 970), (2023, 590)],
    severities: &[(1, 69), (2, 9_050), (3, 405), (4, 476)],
    highways: [0.32, 0.56, 0.73, 0.61],
    has_end: true,
    ids: (3_460_001, 4_340_003),
};
#[rustfmt::skip]
static SOURCE_2: Provider = Provider {
    index: 1,
    name: "Source2",
    years: &[(2016, 195), (2017, 330), (2018, 440), (2019, 440), (2020, 300), (2021, 310), (2022, 165)],
    severities: &[(1, 115), (2, 6_855), (3, 2_980), (4, 50)],
    highways: [0.2, 0.3, 0.72, 0.82],
    has_end: false,
    ids: (1, 3_400_043),
};
#[rustfmt::skip]
static SOURCE_3: Provider = Provider {
    index: 2,
    name: "Source3",
    years: &[(2016, 1), (2017, 3), (2018, 4), (2019, 13), (2020, 13), (2021, 9), (2022, 8)],
    severities: &[(1, 0), (2, 63), (3, 37), (4, 0)],
    highways: [0.2, 0.3, 0.72, 0.82],
    has_end: false,
    ids: (3_400_044, 59_957),
};
#[rustfmt::skip]
static ALL_OF_2020: Provider = Provider {
    index: 0,
    name: "",
    years: &[(2016, 170), (2017, 220), (2018, 250), (2019, 480), (2020, 600)],
    severities: &[(1, 90), (2, 7_960), (3, 1_680), (4, 270)],
    highways: [0.32, 0.5, 0.72, 0.61],
    has_end: true,
    ids: (2_716_601, 4_340_003),
};

static MARCH_2023: [(&Provider, u32); 3] = [(&SOURCE_1, 510), (&SOURCE_2, 475), (&SOURCE_3, 15)];
static DECEMBER_2020: [(&Provider, u32); 1] = [(&ALL_OF_2020, 1)];

/// The first and last day of the published rows.
const FIRST_DAY: Option<NaiveDate> = NaiveDate::from_ymd_opt(2016, 2, 8);
const LAST_DAY: Option<NaiveDate> = NaiveDate::from_ymd_opt(2023, 3, 31);
const MONTHS: &[u32] = &[511, 418, 322, 382, 369, 352, 359, 413, 429, 472, 455, 538];
#[rustfmt::skip]
const HOURS_OF_WORKING_DAYS: &[u32] = &[
    46, 42, 29, 42, 80, 118, 237, 369, 353, 203, 190, 202, 175, 208, 229, 301, 338, 322, 255, 147, 115, 89, 85, 64,
];
#[rustfmt::skip]
const HOURS_OF_WEEKENDS: &[u32] =
    &[23, 23, 23, 15, 19, 24, 17, 23, 26, 35, 43, 46, 42, 45, 47, 57, 32, 38, 45, 40, 34, 32, 29, 23];

/// Minutes until the traffic flows again.
const FIXED_HOURS: Curve =
    Curve(&[(0.0, 27.0), (0.15, 30.0), (0.15, 240.0), (0.21, 240.0), (0.21, 360.0), (1.0, 360.0)]);
#[rustfmt::skip]
const CLEARED_2019: Curve = Curve(&[
    (0.0, 12.0), (0.05, 27.6), (0.1, 29.1), (0.25, 32.6), (0.5, 80.2), (0.75, 156.1), (0.9, 254.7), (0.95, 640.0),
    (0.99, 1_080.0), (0.998, 1_400.0), (1.0, 73_086.0),
]);
#[rustfmt::skip]
const CLEARED_2021: Curve = Curve(&[
    (0.0, 7.0), (0.05, 21.0), (0.1, 30.0), (0.25, 75.8), (0.5, 99.7), (0.75, 141.1), (0.9, 226.3), (0.95, 350.7),
    (0.99, 874.0), (0.998, 1_600.0), (0.9995, 30_000.0), (1.0, 525_705.0),
]);
#[rustfmt::skip]
const QUARTER_HOURS: Curve = Curve(&[
    (0.0, 22.6), (0.05, 29.1), (0.1, 29.4), (0.42, 29.9), (0.42, 44.4), (0.65, 45.1), (0.65, 59.4), (0.8, 60.2),
    (0.8, 74.4), (0.9, 90.1), (0.95, 122.0), (0.99, 200.0), (1.0, 570.0),
]);

/// Miles of road affected.
#[rustfmt::skip]
const MILES_1: Curve = Curve(&[
    (0.0, 0.0), (0.09, 0.0), (0.1, 0.01), (0.25, 0.08), (0.5, 0.3), (0.75, 0.9), (0.9, 2.1), (0.95, 3.2), (0.99, 7.0),
    (0.999, 18.6), (1.0, 60.0),
]);
#[rustfmt::skip]
const MILES_2: Curve =
    Curve(&[(0.0, 0.0), (0.84, 0.0), (0.84, 0.01), (0.92, 0.01), (0.95, 0.9), (0.99, 4.3), (0.999, 11.1), (1.0, 18.0)]);
const MILES_PER_DEGREE: f64 = 69.09;

/// How often each place nearby is marked, on highways and on streets.
#[rustfmt::skip]
const MARKS: [(&str, f64, f64); 13] = [
    ("Amenity", 0.004, 0.028), ("Bump", 0.0, 0.0004), ("Crossing", 0.025, 0.211), ("Give_Way", 0.005, 0.005),
    ("Junction", 0.125, 0.023), ("No_Exit", 0.001, 0.006), ("Railway", 0.003, 0.015), ("Roundabout", 0.0, 0.0002),
    ("Station", 0.005, 0.048), ("Stop", 0.008, 0.05), ("Traffic_Calming", 0.0002, 0.0008),
    ("Traffic_Signal", 0.037, 0.257), ("Turning_Loop", 0.0, 0.0),
];

/// Something that stands in few rows. Each appears once in every [`QUIRK_PERIOD`] rows, so that small files show it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
    /// The county `Doña Ana`, spelled right and broken in the two ways in which it is, each at severity 3.
    County,
    /// U+00A0 at the end of the description.
    NoBreakSpace,
    /// A backslash and a `t` within the description.
    BackslashT,
    /// A street name with U+FFFD in it.
    ReplacementCharacter,
}

const QUIRK_PERIOD: u64 = 500;

/// The spellings of the county in turn.
const DONA_ANA: [&str; 4] = ["Doña Ana", "Do\u{fffd}a Ana", "Doña Ana", "Doï¿½a Ana"];

/// The rows of a layout, without end; the same for the same seed.
pub(super) struct Accidents {
    layout: Layout,
    rng: Rng,
    places: Places,
    /// Rows so far, in all and by provider.
    rows: u64,
    rows_by_provider: [u64; 3],
    /// Where in the period each quirk stands, and how each provider's ids are scattered.
    quirks: [(u64, Quirk); 4],
    id_offset: u64,
}

impl Accidents {
    pub(super) fn new(layout: Layout, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        // Apart from each other, so that no two meet in one row.
        let quarter = QUIRK_PERIOD / 4;
        let start = rng.u64(..quarter);
        let quirks = [Quirk::County, Quirk::NoBreakSpace, Quirk::BackslashT, Quirk::ReplacementCharacter];
        let mut at = start;
        let quirks = quirks.map(|quirk| {
            at += quarter;
            ((at - quarter) % QUIRK_PERIOD, quirk)
        });
        let id_offset = rng.u64(..1_000_000);
        Self { layout, rng, places: Places::load(), rows: 0, rows_by_provider: [0; 3], quirks, id_offset }
    }

    /// The next row's cells, in the order of the layout's columns.
    pub(super) fn next_row(&mut self) -> Vec<String> {
        let row = self.row();
        self.layout.columns().iter().map(|column| row.cell(column)).collect()
    }

    fn row(&mut self) -> Row {
        let quirk =
            self.quirks.iter().find(|(at, _)| *at == self.rows % QUIRK_PERIOD).map(|(_, quirk)| *quirk);
        let period = self.rows / QUIRK_PERIOD;
        self.rows += 1;

        let rng = &mut self.rng;
        let provider = weighted(rng, self.layout.providers());
        let number = &mut self.rows_by_provider[provider.index];
        let id = id(provider, *number, self.id_offset);
        *number += 1;

        let mut place = self.places.draw(rng);
        let mut severity = weighted(rng, provider.severities);
        if quirk == Some(Quirk::County) {
            place = self.places.in_county(DONA_ANA[0]).unwrap_or(place);
            place.county = DONA_ANA[(period % DONA_ANA.len() as u64) as usize];
            severity = 3;
        }
        let start = start_time(rng, provider);
        let end = start + duration(rng, provider, start.year());
        let fraction = match self.layout {
            Layout::Mar23 => fraction(rng, provider, start.year()),
            Layout::Dec20 => "",
        };

        let highway = chance(rng, provider.highways[usize::from(severity) - 1]);
        let road = if highway { Road::highway(rng, &place) } else { Road::street(rng) };
        let mut description = {
            let wording = wording(rng, provider, start.year());
            describe(rng, wording, severity, &road)
        };
        match quirk {
            Some(Quirk::NoBreakSpace) => description.push('\u{a0}'),
            Some(Quirk::BackslashT) => description.insert_str(description.len() - 1, "\\t"),
            _ => {}
        }
        let street = match quirk {
            Some(Quirk::ReplacementCharacter) => "Pe\u{fffd}asco Rd".to_owned(),
            _ => street(rng, provider, &road),
        };
        let (from, to, miles) = points(rng, provider, &place, &road);
        let marks = MARKS.map(|(name, share, share_of_streets)| {
            (name, chance(rng, if highway { share } else { share_of_streets }))
        });
        Row {
            id,
            source: provider.name,
            severity,
            start,
            end,
            fraction,
            from,
            to,
            miles,
            description,
            number: if chance(rng, 0.17) { format!("{}.0", rng.u32(1..20_000)) } else { String::new() },
            street,
            side: if chance(rng, 0.91) { "R" } else { "L" },
            zip: zip(rng, &place),
            time_zone: if chance(rng, 0.9988) { place.time_zone } else { "" },
            airport: if chance(rng, 0.9966) { place.airport } else { "" },
            weather: Weather::observe(rng, &place, start),
            marks,
            daylight: if chance(rng, 0.9965) { Some(Daylight::at(&place, start)) } else { None },
            place,
        }
    }
}

/// A time within the published years that is as likely as accidents are.
fn start_time(rng: &mut Rng, provider: &Provider) -> NaiveDateTime {
    loop {
        let year = weighted(rng, provider.years);
        let month = 1 + position(rng, MONTHS);
        let Some(date) = NaiveDate::from_ymd_opt(year, month, rng.u32(1..=31)) else { continue };
        let weekend = matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
        if Some(date) < FIRST_DAY || Some(date) > LAST_DAY || (weekend && chance(rng, 0.54)) {
            continue;
        }
        let hour = position(rng, if weekend { HOURS_OF_WEEKENDS } else { HOURS_OF_WORKING_DAYS });
        let second = match rng.u8(..100) {
            // The first provider's clock stands on the half minute often.
            0..=38 if provider.has_end => 0,
            39..=50 if provider.has_end => 30,
            _ => rng.u32(..60),
        };
        if let Some(time) = date.and_hms_opt(hour, rng.u32(..60), second) {
            return time;
        }
    }
}

/// How long the traffic is held up.
#[expect(clippy::cast_possible_truncation, reason = "seconds of a year at most")]
fn duration(rng: &mut Rng, provider: &Provider, year: i32) -> Duration {
    let minutes = match (provider.has_end, year) {
        (false, _) => &QUARTER_HOURS,
        (true, 2021..) => &CLEARED_2021,
        (true, 2019..) if chance(rng, 0.9) => &CLEARED_2019,
        (true, _) => &FIXED_HOURS,
    };
    Duration::seconds((60.0 * minutes.draw(rng)).round() as i64)
}

/// What stands behind the seconds: nothing, or nine or six zeros in some of the first provider's later years.
fn fraction(rng: &mut Rng, provider: &Provider, year: i32) -> &'static str {
    let (nine, six) = match (provider.has_end, year) {
        (true, 2017) => (0.02, 0.0),
        (true, 2020) => (0.042, 0.0),
        (true, 2021) => (0.157, 0.031),
        (true, 2022) => (0.358, 0.03),
        (true, 2023) => (0.386, 0.034),
        _ => (0.0, 0.0),
    };
    match rng.f64() {
        share if share < nine => ".000000000",
        share if share < nine + six => ".000000",
        _ => "",
    }
}

fn wording(rng: &mut Rng, provider: &Provider, year: i32) -> Wording {
    match (provider.has_end, year) {
        (false, _) => Wording::Lanes,
        (true, ..2020) => Wording::Terse,
        (true, 2020) => one(rng, &[Wording::Terse, Wording::Flow]),
        (true, _) => Wording::Flow,
    }
}

fn street(rng: &mut Rng, provider: &Provider, road: &Road) -> String {
    if chance(rng, 0.002) {
        return String::new();
    }
    // A blank in front stands in the first provider's names, seldom in those of highways.
    let blank = provider.has_end && chance(rng, if road.highway { 0.115 } else { 0.76 });
    format!("{}{}", if blank { " " } else { "" }, road.cell(rng))
}

/// Where the accident starts and ends, and the length between, as text.
fn points(
    rng: &mut Rng,
    provider: &Provider,
    place: &Place,
    road: &Road,
) -> ([String; 2], [String; 2], String) {
    // Within a few miles of the middle of the place.
    let mut near = |middle: f64| middle + 0.03 * (rng.f64() + rng.f64() - 1.0);
    let (lat, lng) = (near(place.lat), near(place.lng));
    let miles = if provider.has_end { MILES_1.draw(rng) } else { MILES_2.draw(rng) };
    let miles = rounded(miles, 3);
    // Along the road's way, with a bend.
    let bend = 0.6 * rng.f64() - 0.3;
    let (north, east) = match road.way {
        'N' => (1.0 - bend * bend / 2.0, bend),
        'S' => (bend * bend / 2.0 - 1.0, bend),
        'E' => (bend, 1.0 - bend * bend / 2.0),
        _ => (bend, bend * bend / 2.0 - 1.0),
    };
    let end_lat = lat + miles * north / MILES_PER_DEGREE;
    let end_lng = lng + miles * east / (MILES_PER_DEGREE * cosine(lat));
    let precision = rng.u8(..100);
    let mut text = |degrees: f64| degrees_text(rng, degrees, precision);
    let from = [text(lat), text(lng)];
    let to = if provider.has_end { [text(end_lat), text(end_lng)] } else { [String::new(), String::new()] };
    let miles = if provider.has_end { miles_of_doubles(rng, miles) } else { miles_of_floats(rng, miles) };
    (from, to, miles)
}

/// Five or six decimals mostly; some have eight, and some the last digit's error of a sum of doubles.
fn degrees_text(rng: &mut Rng, degrees: f64, precision: u8) -> String {
    let value = match precision {
        0..=17 => rounded(degrees, 5),
        18 => rounded(degrees, 8),
        19 => rounded(degrees, 5) + rng.f64() * 1e-6,
        _ => rounded(degrees, 6),
    };
    format!("{:?}", if chance(rng, 0.11) { value.next_up() } else { value })
}

/// Some have the last digit's error of a difference of doubles.
fn miles_of_doubles(rng: &mut Rng, miles: f64) -> String {
    format!("{:?}", if miles > 0.5 && chance(rng, 0.15) { miles.next_up() } else { miles })
}

/// The second provider's miles were single floats once, whose error shows in half of them.
#[expect(clippy::cast_possible_truncation, reason = "the error of a single float is what is wanted")]
fn miles_of_floats(rng: &mut Rng, miles: f64) -> String {
    if miles == 0.0 || chance(rng, 0.5) {
        return format!("{miles:?}");
    }
    let mut text = format!("{:.20}", f64::from(miles as f32));
    text.truncate("0.0099999997764825".len());
    text.trim_end_matches('0').to_owned()
}

fn zip(rng: &mut Rng, place: &Place) -> String {
    match rng.u32(..5_000) {
        // An extension that is none, as one row in some thousands has it.
        0 => format!("{}-99ND", place.zip),
        share if share < 1_450 => format!("{}-{:04}", place.zip, rng.u32(1..10_000)),
        _ => place.zip.to_owned(),
    }
}

/// `A-` and a number that no other row has, in no order.
fn id(provider: &Provider, number: u64, offset: u64) -> String {
    // It shares no divisor with the number of ids of any provider, so that each comes once.
    const STRIDE: u64 = 1_618_033;
    let (first, count) = provider.ids;
    let past_the_published = 10_000_000 * (number / count);
    format!("A-{}", past_the_published + first + (number + offset) % count * STRIDE % count)
}

struct Row {
    id: String,
    source: &'static str,
    severity: u8,
    start: NaiveDateTime,
    end: NaiveDateTime,
    fraction: &'static str,
    from: [String; 2],
    to: [String; 2],
    miles: String,
    description: String,
    number: String,
    street: String,
    side: &'static str,
    place: Place,
    zip: String,
    time_zone: &'static str,
    airport: &'static str,
    weather: Weather,
    marks: [(&'static str, bool); 13],
    daylight: Option<Daylight>,
}

impl Row {
    fn cell(&self, column: &str) -> String {
        let weather = &self.weather;
        let number = |value: Option<f64>| value.map(|value| format!("{value:?}")).unwrap_or_default();
        let daylight = |by: fn(&Daylight) -> bool| match self.daylight.as_ref().map(by) {
            Some(true) => "Day".to_owned(),
            Some(false) => "Night".to_owned(),
            None => String::new(),
        };
        match column {
            "ID" => self.id.clone(),
            "Source" => self.source.to_owned(),
            "Severity" => self.severity.to_string(),
            "Start_Time" => format!("{}{}", self.start, self.fraction),
            "End_Time" => format!("{}{}", self.end, self.fraction),
            "Start_Lat" => self.from[0].clone(),
            "Start_Lng" => self.from[1].clone(),
            "End_Lat" => self.to[0].clone(),
            "End_Lng" => self.to[1].clone(),
            "Distance(mi)" => self.miles.clone(),
            "Description" => self.description.clone(),
            "Number" => self.number.clone(),
            "Street" => self.street.clone(),
            "Side" => self.side.to_owned(),
            "City" => self.place.city.to_owned(),
            "County" => self.place.county.to_owned(),
            "State" => self.place.state.to_owned(),
            "Zipcode" => self.zip.clone(),
            "Country" => "US".to_owned(),
            "Timezone" => self.time_zone.to_owned(),
            "Airport_Code" => self.airport.to_owned(),
            "Weather_Timestamp" => weather.observed.map(|time| time.to_string()).unwrap_or_default(),
            "Temperature(F)" => number(weather.temperature_f),
            "Wind_Chill(F)" => number(weather.wind_chill_f),
            "Humidity(%)" => number(weather.humidity),
            "Pressure(in)" => number(weather.pressure_in),
            "Visibility(mi)" => number(weather.visibility_mi),
            "Wind_Direction" => weather.wind_direction.unwrap_or_default().to_owned(),
            "Wind_Speed(mph)" => number(weather.wind_speed_mph),
            "Precipitation(in)" => number(weather.precipitation_in),
            "Weather_Condition" => weather.condition.clone().unwrap_or_default(),
            "Sunrise_Sunset" => daylight(|day| day.sunrise_sunset),
            "Civil_Twilight" => daylight(|day| day.civil),
            "Nautical_Twilight" => daylight(|day| day.nautical),
            "Astronomical_Twilight" => daylight(|day| day.astronomical),
            mark => match self.marks.iter().find(|(name, _)| *name == mark) {
                Some((_, true)) => "True".to_owned(),
                _ => "False".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use shared::dataset::Dataset;

    use super::*;

    fn rows(layout: Layout, seed: u64, count: usize) -> Vec<HashMap<&'static str, String>> {
        let mut accidents = Accidents::new(layout, seed);
        (0..count).map(|_| layout.columns().iter().copied().zip(accidents.next_row()).collect()).collect()
    }

    #[track_caller]
    #[expect(clippy::cast_precision_loss, reason = "some thousand rows")]
    fn share(
        rows: &[HashMap<&str, String>],
        expected: f64,
        tolerance: f64,
        is: impl Fn(&HashMap<&str, String>) -> bool,
    ) {
        let share = 100.0 * rows.iter().filter(|row| is(row)).count() as f64 / rows.len() as f64;
        assert!((share - expected).abs() <= tolerance, "{share} %, where {expected} % is right");
    }

    #[test]
    fn every_column_is_one_of_the_data_set() {
        let dataset = Dataset::named("us_accidents").unwrap();
        for layout in [Layout::Mar23, Layout::Dec20] {
            for column in layout.columns() {
                assert!(dataset.column(column).is_some(), "{column}");
            }
        }
        assert_eq!((Layout::Mar23.columns().len(), Layout::Dec20.columns().len()), (46, 47));
    }

    #[test]
    fn shares_are_those_of_the_published_rows() {
        let rows = rows(Layout::Mar23, 7, 10_000);
        for (severity, expected, tolerance) in
            [("1", 0.9, 0.4), ("2", 79.6, 1.5), ("3", 16.8, 1.5), ("4", 2.7, 0.6)]
        {
            share(&rows, expected, tolerance, |row| row["Severity"] == severity);
        }
        for (column, expected, tolerance) in [
            ("End_Lat", 49.0, 2.0),
            ("End_Lng", 49.0, 2.0),
            ("Precipitation(in)", 28.0, 2.5),
            ("Wind_Chill(F)", 26.0, 2.5),
            ("Wind_Speed(mph)", 7.0, 1.5),
            ("Weather_Timestamp", 1.7, 0.5),
            ("Sunrise_Sunset", 0.4, 0.3),
            ("ID", 0.0, 0.0),
            ("Description", 0.0, 0.0),
        ] {
            share(&rows, expected, tolerance, |row| row[column].is_empty());
        }
        share(&rows, 9.9, 1.0, |row| row["Start_Time"].ends_with(".000000000"));
        share(&rows, 1.0, 0.4, |row| row["Start_Time"].len() == 26);
        share(&rows, 29.0, 2.0, |row| row["Zipcode"].len() == 10);
        share(&rows, 20.0, 2.0, |row| row["Street"].starts_with(' '));
        share(&rows, 70.0, 4.0, |row| row["Sunrise_Sunset"] == "Day");
        share(&rows, 14.4, 3.0, |row| row["Traffic_Signal"] == "True");
        share(&rows, 22.3, 1.5, |row| row["State"] == "CA");
    }

    #[test]
    fn severe_places_are_as_many_as_in_the_published_rows() {
        let rows = rows(Layout::Mar23, 7, 10_000);
        let severe: HashSet<_> = rows
            .iter()
            .filter(|row| row["Severity"].as_str() > "2")
            .map(|row| (&row["Severity"], &row["City"], &row["County"]))
            .collect();
        assert!((800..1_100).contains(&severe.len()), "{}, where about 950 is right", severe.len());
    }

    #[test]
    fn rows_are_as_long_as_the_published_ones() {
        let rows = rows(Layout::Mar23, 7, 2_000);
        let mean =
            rows.iter().flat_map(HashMap::values).map(|cell| cell.len() + 1).sum::<usize>() / rows.len();
        assert!((360..405).contains(&mean), "{mean} bytes");
    }

    #[test]
    fn quirks_stand_in_every_file_of_some_hundred_rows() {
        let rows = rows(Layout::Mar23, 7, 2_000);
        for spelling in ["Doña Ana", "Do\u{fffd}a Ana", "Doï¿½a Ana"] {
            assert!(rows.iter().any(|row| row["County"] == spelling && row["Severity"] == "3"), "{spelling}");
        }
        assert!(rows.iter().any(|row| row["Description"].ends_with('\u{a0}')));
        assert!(rows.iter().any(|row| row["Description"].contains("\\t")));
        assert!(rows.iter().any(|row| row["Street"].contains('\u{fffd}')));
    }

    #[test]
    fn ids_are_unique_even_past_the_published_ones() {
        let rows = rows(Layout::Mar23, 7, 20_000);
        let ids: HashSet<_> = rows.iter().map(|row| &row["ID"]).collect();
        assert_eq!(ids.len(), rows.len());
        for provider in [&SOURCE_1, &SOURCE_2, &SOURCE_3] {
            let ids: HashSet<_> = (0..200_000).map(|number| id(provider, number, 77)).collect();
            assert_eq!(ids.len(), 200_000, "{}", provider.name);
        }
    }

    #[test]
    fn what_a_row_says_fits_together() {
        for row in rows(Layout::Mar23, 3, 3_000) {
            let start: NaiveDateTime =
                row["Start_Time"].parse().or_else(|_| row["Start_Time"].replace(' ', "T").parse()).unwrap();
            let end: NaiveDateTime = row["End_Time"].replace(' ', "T").parse().unwrap();
            assert!(start < end, "{row:?}");
            assert_eq!(row["End_Lat"].is_empty(), row["Source"] != "Source1", "{row:?}");
            if row["Sunrise_Sunset"] == "Day" {
                assert_eq!(row["Civil_Twilight"], "Day", "{row:?}");
            }
            if row["State"] == "CA" && !row["Timezone"].is_empty() {
                assert_eq!(row["Timezone"], "US/Pacific");
            }
            if row["Weather_Timestamp"].is_empty() {
                assert!(row["Temperature(F)"].is_empty() && row["Weather_Condition"].is_empty(), "{row:?}");
            }
        }
    }
}
