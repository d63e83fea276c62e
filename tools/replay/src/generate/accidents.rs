//! Generates accidents like the published ones: real places, their severities, and the quirks of the files.
//! The shares are measured on the published rows; everything else in a row is made up.

use std::ops::Range;

use chrono::{Duration, NaiveDate, NaiveDateTime, Timelike};
use clap::ValueEnum;
use fastrand::Rng;

use super::{
    draw::{chance, one, rounded, weighted},
    places::{GeneratedPlace, GeneratedPlaces},
};

/// A layout in which the accidents are published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// March 2023: 46 columns, rows of 2016 to 2023 in no order, from three providers.
    Mar23,
    /// December 2020: 47 columns with `Number` and `Side` and without `Source`; lines end with CR LF.
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
    pub(crate) fn columns(self) -> &'static [&'static str] {
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

/// A provider of some of the rows, and how its rows differ.
struct Provider {
    name: &'static str,
    /// Weights of the years; only three months of 2023 are published.
    years: &'static [(i32, u32)],
    severities: &'static [(u8, u32)],
    /// Only the first provider reports where the accident ends, and writes fractions of seconds.
    has_end: bool,
}

#[rustfmt::skip]
static SOURCE_1: Provider = Provider {
    name: "Source1",
    years: &[(2016, 86), (2017, 123), (2018, 120), (2019, 185), (2020, 419), (2021, 712), (2022, 970), (2023, 590)],
    severities: &[(1, 69), (2, 9_050), (3, 405), (4, 476)],
    has_end: true,
};
static SOURCE_2: Provider = Provider {
    name: "Source2",
    years: &[(2016, 195), (2017, 330), (2018, 440), (2019, 440), (2020, 300), (2021, 310), (2022, 165)],
    severities: &[(1, 115), (2, 6_855), (3, 2_980), (4, 50)],
    has_end: false,
};
static SOURCE_3: Provider = Provider {
    name: "Source3",
    years: &[(2016, 1), (2017, 3), (2018, 4), (2019, 13), (2020, 13), (2021, 9), (2022, 8)],
    severities: &[(2, 63), (3, 37)],
    has_end: false,
};
static ALL_OF_2020: Provider = Provider {
    name: "",
    years: &[(2016, 170), (2017, 220), (2018, 250), (2019, 480), (2020, 600)],
    severities: &[(1, 90), (2, 7_960), (3, 1_680), (4, 270)],
    has_end: true,
};

static MARCH_2023: [(&Provider, u32); 3] = [(&SOURCE_1, 510), (&SOURCE_2, 475), (&SOURCE_3, 15)];
static DECEMBER_2020: [(&Provider, u32); 1] = [(&ALL_OF_2020, 1)];

/// The lowest id of the published rows, and how many there are.
const FIRST_ID: u64 = 1;
const IDS: u64 = 7_777_000;
/// It has no common divisor with [`IDS`], so the ids are in no order and each occurs once.
const ID_STRIDE: u64 = 1_618_033;

#[rustfmt::skip]
const STREETS: [&str; 16] = [
    "Airport Blvd", "Central Ave", "Church Rd", "College Dr", "County Line Rd", "Grand Ave", "Highland Ave", "Lake St",
    "Main St", "Maple Ave", "Mill Rd", "Oak Rd", "Pleasant Valley Rd", "Railroad Ave", "River Dr", "Washington Blvd",
];
#[rustfmt::skip]
const HIGHWAYS: [&str; 12] = [
    "I-5", "I-10", "I-15", "I-35", "I-40", "I-75", "I-80", "I-95", "I-405", "I-676", "US-101", "US-41",
];

/// Observations of weather: temperature, wind chill, humidity, pressure, visibility, direction and speed of the wind,
/// precipitation and condition. Reports before March 2019 had tenths, and mostly no wind chill or precipitation.
const WEATHER_BEFORE: [[&str; 9]; 5] = [
    ["77.0", "", "61.0", "29.97", "10.0", "SSW", "9.2", "", "Clear"],
    ["64.9", "", "84.0", "30.05", "10.0", "Variable", "3.5", "", "Overcast"],
    ["55.0", "", "93.0", "29.88", "5.0", "East", "8.1", "0.02", "Light Rain"],
    ["28.9", "19.6", "80.0", "30.12", "2.0", "NW", "10.4", "", "Light Snow"],
    ["70.0", "", "58.0", "30.01", "10.0", "Calm", "", "", "Mostly Cloudy"],
];
const WEATHER: [[&str; 9]; 8] = [
    ["76.0", "76.0", "52.0", "29.97", "10.0", "SSW", "9.0", "0.0", "Fair"],
    ["68.0", "68.0", "77.0", "29.31", "10.0", "CALM", "0.0", "0.0", "Cloudy"],
    ["59.0", "59.0", "60.0", "28.71", "10.0", "NNE", "12.0", "0.0", "Mostly Cloudy"],
    ["85.0", "85.0", "43.0", "30.1", "10.0", "W", "6.0", "0.0", "Partly Cloudy"],
    ["57.0", "57.0", "90.0", "29.54", "7.0", "SE", "8.0", "0.03", "Light Rain"],
    ["30.0", "21.0", "85.0", "29.02", "1.5", "NW", "10.0", "0.01", "Light Snow"],
    ["44.0", "37.0", "56.0", "29.4", "10.0", "WNW", "23.0", "0.0", "Fair / Windy"],
    ["52.0", "52.0", "97.0", "29.99", "0.5", "VAR", "3.0", "0.0", "Fog"],
];

/// The share of blanks in columns for which the provider and the weather have a value.
const BLANKS: [(&str, f64); 13] = [
    ("Street", 0.002),
    ("Number", 0.83),
    ("Timezone", 0.0012),
    ("Airport_Code", 0.0034),
    ("Temperature(F)", 0.005),
    ("Wind_Chill(F)", 0.015),
    ("Humidity(%)", 0.007),
    ("Pressure(in)", 0.0015),
    ("Visibility(mi)", 0.005),
    ("Wind_Direction", 0.005),
    ("Wind_Speed(mph)", 0.012),
    ("Precipitation(in)", 0.035),
    ("Weather_Condition", 0.005),
];

/// How often each kind of place is nearby; other kinds never are.
const NEARBY: [(&str, f64); 10] = [
    ("Amenity", 0.015),
    ("Crossing", 0.112),
    ("Give_Way", 0.005),
    ("Junction", 0.076),
    ("No_Exit", 0.003),
    ("Railway", 0.009),
    ("Station", 0.026),
    ("Stop", 0.028),
    ("Traffic_Calming", 0.001),
    ("Traffic_Signal", 0.144),
];

/// An unusual row. Each kind occurs once in every [`QUIRK_PERIOD`] rows, so that small files have it, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
    /// The county `Doña Ana`, spelled correctly or in one of the two broken ways, at severity 3.
    County,
    /// U+00A0 at the end of the description.
    NoBreakSpace,
    /// A backslash and a `t` within the description.
    BackslashT,
    /// A street name with U+FFFD in it.
    ReplacementCharacter,
}

const QUIRKS: [Quirk; 4] =
    [Quirk::County, Quirk::NoBreakSpace, Quirk::BackslashT, Quirk::ReplacementCharacter];
const QUIRK_PERIOD: u64 = 500;
/// The rows between two quirks, so that no row has two.
const QUIRK_DISTANCE: u64 = QUIRK_PERIOD / 4;

/// The spellings of the county in turn.
const DONA_ANA: [&str; 4] = ["Doña Ana", "Do\u{fffd}a Ana", "Doña Ana", "Doï¿½a Ana"];

/// The rows of a layout, without end; the same seed gives the same rows.
pub(super) struct Accidents {
    layout: Layout,
    rng: Rng,
    places: GeneratedPlaces,
    rows: u64,
    /// The row of the first quirk.
    first_quirk: u64,
    id_offset: u64,
}

impl Accidents {
    pub(super) fn new(layout: Layout, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let first_quirk = rng.u64(..QUIRK_DISTANCE);
        let id_offset = rng.u64(..1_000_000);
        Self { layout, rng, places: GeneratedPlaces::load(), rows: 0, first_quirk, id_offset }
    }

    /// The next row's cells, in the order of the layout's columns.
    pub(super) fn next_row(&mut self) -> Vec<String> {
        let row = self.row();
        self.layout.columns().iter().map(|column| row.cell(&mut self.rng, column)).collect()
    }

    fn row(&mut self) -> GeneratedRow {
        let number = self.rows;
        self.rows += 1;
        let quirk = self.quirk(number);
        let rng = &mut self.rng;
        let provider = weighted(rng, self.layout.providers());
        let mut place = self.places.draw(rng);
        let mut severity = weighted(rng, provider.severities);
        if quirk == Some(Quirk::County) {
            place = self.places.in_county(DONA_ANA[0]).unwrap_or(place);
            place.county = DONA_ANA[(number / QUIRK_PERIOD % DONA_ANA.len() as u64) as usize];
            severity = 3;
        }
        let start = start_time(rng, provider);
        let (from, to, miles) = points(rng, provider, &place);
        let highway = chance(rng, 0.5);
        let road = if highway { one(rng, &HIGHWAYS) } else { one(rng, &STREETS) };
        let weather = if start.date() < STATIONS_CHANGED { &WEATHER_BEFORE[..] } else { &WEATHER };
        GeneratedRow {
            id: id(number + self.id_offset),
            source: provider.name,
            severity,
            end: start + Duration::seconds(rng.i64(20 * 60..360 * 60)),
            fraction: match self.layout {
                Layout::Mar23 if provider.has_end => fraction(rng, start),
                _ => "",
            },
            start,
            from,
            to,
            miles,
            description: description(rng, severity, road, quirk),
            street: street(rng, provider, road, quirk),
            zip: zip(rng, &place),
            // Some rows have no weather at all.
            weather: (!chance(rng, 0.0165)).then(|| one(rng, weather)),
            place,
        }
    }

    fn quirk(&self, row: u64) -> Option<Quirk> {
        let since_first = (row + QUIRK_PERIOD - self.first_quirk) % QUIRK_PERIOD;
        if since_first.is_multiple_of(QUIRK_DISTANCE) {
            return Some(QUIRKS[(since_first / QUIRK_DISTANCE) as usize]);
        }
        None
    }
}

/// The first and last day of the published rows, and the first day on which stations report whole numbers.
const FIRST_DAY: NaiveDate = date(2016, 2, 8);
const LAST_DAY: NaiveDate = date(2023, 3, 31);
const STATIONS_CHANGED: NaiveDate = date(2019, 3, 20);

const fn date(year: i32, month: u32, day: u32) -> NaiveDate {
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => date,
        None => NaiveDate::MIN,
    }
}

/// A time within the published years; two of three are between 7:00 and 19:00.
fn start_time(rng: &mut Rng, provider: &Provider) -> NaiveDateTime {
    loop {
        let year = weighted(rng, provider.years);
        let date = NaiveDate::from_yo_opt(year, rng.u32(1..=365)).filter(|date| *date >= FIRST_DAY);
        let hour = if chance(rng, 0.33) { rng.u32(..24) } else { rng.u32(7..19) };
        // The first provider's times are often at the full or half minute.
        let second = match rng.u8(..100) {
            0..=38 if provider.has_end => 0,
            39..=50 if provider.has_end => 30,
            _ => rng.u32(..60),
        };
        let time = date.and_then(|date| date.and_hms_opt(hour, rng.u32(..60), second));
        if let Some(time) = time.filter(|time| time.date() <= LAST_DAY) {
            return time;
        }
    }
}

/// The digits after the seconds: none, or nine or six zeros in some of the later rows.
fn fraction(rng: &mut Rng, start: NaiveDateTime) -> &'static str {
    let (nine, six) = if start.date() < date(2021, 1, 1) { (0.02, 0.0) } else { (0.3, 0.03) };
    match rng.f64() {
        share if share < nine => ".000000000",
        share if share < nine + six => ".000000",
        _ => "",
    }
}

fn description(rng: &mut Rng, severity: u8, road: &str, quirk: Option<Quirk>) -> String {
    let cross = one(rng, &STREETS);
    let mut text = match (severity, rng.u8(..4)) {
        (4, _) => format!("Closed at {cross} - Road closed after a collision on {road}. Follow the detour."),
        (_, 0) => format!("At {cross}/Exit {} - Collision. Lane blocked.", rng.u32(1..240)),
        (_, 1) => format!("Collision on {road} at Exit {} {cross}.", rng.u32(1..240)),
        (_, 2) => format!("Right hand shoulder blocked by a collision on {road} at {cross}."),
        _ => format!("Slow traffic on {road} from {} to {cross} after a collision.", one(rng, &STREETS)),
    };
    match quirk {
        Some(Quirk::NoBreakSpace) => text.push('\u{a0}'),
        Some(Quirk::BackslashT) => text.insert_str(text.len() - 1, "\\t"),
        _ => {}
    }
    text
}

fn street(rng: &mut Rng, provider: &Provider, road: &str, quirk: Option<Quirk>) -> String {
    if quirk == Some(Quirk::ReplacementCharacter) {
        return "Pe\u{fffd}asco Rd".to_owned();
    }
    // Street names of the first provider often begin with a blank.
    let blank = if provider.has_end && chance(rng, 0.4) { " " } else { "" };
    format!("{blank}{road} {}", one(rng, &['N', 'E', 'S', 'W']))
}

/// The start and end of the accident, and the distance in miles, as text.
fn points(rng: &mut Rng, provider: &Provider, place: &GeneratedPlace) -> ([String; 2], [String; 2], String) {
    let start = [place.lat, place.lng].map(|middle| middle + 0.06 * (rng.f64() - 0.5));
    let miles = if chance(rng, 0.4) { 0.0 } else { rounded(rng.f64() * rng.f64() * 4.0, 3) };
    let from = start.map(|degrees| degrees_text(rng, degrees));
    if provider.has_end {
        let end = start.map(|degrees| degrees_text(rng, degrees + 0.01 * miles));
        return (from, end, last_digit_off(rng, miles));
    }
    (from, Default::default(), miles_of_floats(rng, miles))
}

/// Five, six or eight decimals; some have the rounding error of a sum of doubles in the last digit.
fn degrees_text(rng: &mut Rng, degrees: f64) -> String {
    let decimals = weighted(rng, &[(5, 18), (6, 80), (8, 2)]);
    last_digit_off(rng, rounded(degrees, decimals))
}

/// Some numbers have the rounding error of doubles in the last digit.
fn last_digit_off(rng: &mut Rng, value: f64) -> String {
    format!("{:?}", if value != 0.0 && chance(rng, 0.11) { value.next_up() } else { value })
}

/// The second provider's miles were once single-precision floats; their rounding error is visible in half of the rows.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the rounding error of a single-precision float is intended"
)]
fn miles_of_floats(rng: &mut Rng, miles: f64) -> String {
    if miles == 0.0 || chance(rng, 0.5) {
        return format!("{miles:?}");
    }
    let mut text = format!("{:.20}", f64::from(miles as f32));
    text.truncate("0.0099999997764825".len());
    text.trim_end_matches('0').to_owned()
}

fn zip(rng: &mut Rng, place: &GeneratedPlace) -> String {
    match rng.u32(..5_000) {
        // A few rows have a ZIP+4 extension that does not exist.
        0 => format!("{}-99ND", place.zip),
        share if share < 1_450 => format!("{}-{:04}", place.zip, rng.u32(1..10_000)),
        _ => place.zip.to_owned(),
    }
}

/// `A-` and a number that no other row has, in no order. After the published ids, the next ten million are used.
fn id(number: u64) -> String {
    let past_the_published = 10_000_000 * (number / IDS);
    format!("A-{}", past_the_published + FIRST_ID + number % IDS * ID_STRIDE % IDS)
}

struct GeneratedRow {
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
    street: String,
    place: GeneratedPlace,
    zip: String,
    weather: Option<[&'static str; 9]>,
}

impl GeneratedRow {
    fn cell(&self, rng: &mut Rng, column: &str) -> String {
        if BLANKS.iter().any(|(name, share)| *name == column && chance(rng, *share)) {
            return String::new();
        }
        let weather = |index: usize| self.weather.map(|cells| cells[index].to_owned()).unwrap_or_default();
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
            "Number" => format!("{}.0", rng.u32(1..20_000)),
            "Street" => self.street.clone(),
            "Side" => one(rng, &["R", "R", "R", "R", "L"]).to_owned(),
            "City" => self.place.city.to_owned(),
            "County" => self.place.county.to_owned(),
            "State" => self.place.state.to_owned(),
            "Zipcode" => self.zip.clone(),
            "Country" => "US".to_owned(),
            "Timezone" => self.place.time_zone.to_owned(),
            "Airport_Code" => self.place.airport.to_owned(),
            "Weather_Timestamp" => self.weather.map(|_| self.start.to_string()).unwrap_or_default(),
            "Temperature(F)" => weather(0),
            "Wind_Chill(F)" => weather(1),
            "Humidity(%)" => weather(2),
            "Pressure(in)" => weather(3),
            "Visibility(mi)" => weather(4),
            "Wind_Direction" => weather(5),
            "Wind_Speed(mph)" => weather(6),
            "Precipitation(in)" => weather(7),
            "Weather_Condition" => weather(8),
            "Sunrise_Sunset" => self.day_or_night(6..18),
            "Civil_Twilight" | "Nautical_Twilight" | "Astronomical_Twilight" => self.day_or_night(5..19),
            nearby if NEARBY.iter().any(|(name, share)| *name == nearby && chance(rng, *share)) => {
                "True".to_owned()
            }
            _ => "False".to_owned(),
        }
    }

    fn day_or_night(&self, day: Range<u32>) -> String {
        let is_day = day.contains(&self.start.hour());
        if is_day { "Day".to_owned() } else { "Night".to_owned() }
    }
}

#[cfg(test)]
mod tests;
