//! The parts that columns play: the id, the area, the place on the map, and the order of dates.

use shared::data::{dataset::Type, time::DateOrder};

use super::{
    column::{ORDERS, SurveyedColumn},
    names::words,
    severity,
};

/// Words of names that mean an id.
const ID_NAMES: [&str; 12] =
    ["id", "key", "uuid", "guid", "number", "no", "nr", "num", "ref", "reference", "ticket", "incident"];
/// Words of names that mean an area, or whatever else belongs together.
const AREA_NAMES: [&str; 30] = [
    "county",
    "city",
    "district",
    "region",
    "area",
    "department",
    "borough",
    "state",
    "zone",
    "site",
    "neighborhood",
    "neighbourhood",
    "ward",
    "precinct",
    "branch",
    "team",
    "group",
    "province",
    "country",
    "store",
    "office",
    "station",
    "division",
    "sector",
    "municipality",
    "town",
    "township",
    "queue",
    "category",
    "depot",
];
/// Words of names of numbers that are not quantities: their zeros in front would be lost.
const CODE_NAMES: [&str; 8] = ["zip", "zipcode", "postal", "postcode", "plz", "phone", "fips", "telephone"];
const LATITUDES: [&str; 2] = ["lat", "latitude"];
const LONGITUDES: [&str; 4] = ["lon", "lng", "long", "longitude"];

fn is_named(column: &SurveyedColumn, names: &[&str]) -> bool {
    words(&column.name).iter().any(|word| names.contains(&word.as_str()))
}

/// Whether a column of digits is rather a text.
pub(super) fn is_code(column: &SurveyedColumn) -> bool {
    is_named(column, &CODE_NAMES)
}

/// The id, and whether it is in every row and in no two.
pub(super) struct IdColumn {
    pub(super) column: usize,
    pub(super) is_filled: bool,
    pub(super) is_unique: bool,
}

/// The column that most likely identifies a row.
pub(super) fn id(columns: &[(usize, &SurveyedColumn)], rows: u64, order: DateOrder) -> Option<IdColumn> {
    let rank = |(at, column): &(usize, &SurveyedColumn)| {
        let is_filled = column.filled == rows && column.nothings.is_empty();
        let is_named = is_named(column, &ID_NAMES);
        let is_text = matches!(column.kind(order), Type::String | Type::Int);
        let has_many = column.values().is_none();
        let rank = (
            !severity::is_named(column),
            is_filled,
            column.is_unique(),
            is_named,
            is_text,
            has_many,
            std::cmp::Reverse(*at),
        );
        (rank, IdColumn { column: *at, is_filled, is_unique: column.is_unique() })
    };
    columns
        .iter()
        .filter(|(_, column)| column.filled > 0)
        .map(rank)
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, id)| id)
}

/// The column whose events belong together: one that is named like an area and has few values.
pub(super) fn area(columns: &[(usize, &SurveyedColumn)], rows: u64, others: [usize; 2]) -> Option<usize> {
    let is_area = |(at, column): &&(usize, &SurveyedColumn)| {
        let few = column.values().is_some_and(|values| values.len() >= 2 && (values.len() as u64) < rows);
        few && !others.contains(at) && is_named(column, &AREA_NAMES)
    };
    let by_rank = |(at, column): &&(usize, &SurveyedColumn)| (column.filled < rows, *at);
    columns.iter().filter(is_area).min_by_key(by_rank).map(|(at, _)| *at)
}

/// The latitude and the longitude.
pub(super) fn location(columns: &[(usize, &SurveyedColumn)], others: [usize; 3]) -> Option<(usize, usize)> {
    let of = |names: &'static [&'static str], most: f64| {
        columns.iter().filter(move |(at, column)| {
            !others.contains(at) && is_named(column, names) && column.is_between(-most, most)
        })
    };
    let rest = |column: &SurveyedColumn, names: &[&str]| -> Vec<String> {
        words(&column.name).into_iter().filter(|word| !names.contains(&word.as_str())).collect()
    };
    of(&LATITUDES, 90.0).find_map(|(latitude, north)| {
        let belongs =
            |(_, east): &&(usize, &SurveyedColumn)| rest(north, &LATITUDES) == rest(east, &LONGITUDES);
        of(&LONGITUDES, 180.0).find(belongs).map(|(longitude, _)| (*latitude, *longitude))
    })
}

/// The order of dates, and what shows it.
pub(super) fn date_order(
    columns: &[(usize, &SurveyedColumn)],
    declared: Option<DateOrder>,
) -> (DateOrder, String) {
    let dates = || columns.iter().map(|(_, column)| *column).filter(|column| column.has_dates());
    // Columns that only one order reads as a whole.
    let reads = |order: DateOrder| dates().filter(|column| column.kind(order) != Type::String).count();
    let found = |at: usize| dates().map(|column| column.only[at]).sum::<u64>();
    let ambiguous: u64 = dates().map(|column| column.ambiguous).sum();
    let [mdy, dmy] = ORDERS;
    if let Some(order) = declared {
        return (order, "as it was declared".to_owned());
    }
    let (only_mdy, only_dmy) = (found(0), found(1));
    match (only_mdy, only_dmy) {
        (0, 0) if ambiguous == 0 => (mdy, "no cell depends on it".to_owned()),
        (0, 0) => (
            mdy,
            format!(
                "AMBIGUOUS: mdy or dmy, as the file was written; cells that can be read in both orders: {ambiguous}"
            ),
        ),
        (_, 0) => (mdy, format!("cells that can only be month, day, year: {only_mdy}")),
        (0, _) => (dmy, format!("cells that can only be day, month, year: {only_dmy}")),
        (_, _) => {
            let order = if (reads(dmy), only_dmy) > (reads(mdy), only_mdy) { dmy } else { mdy };
            let what = "CONTRADICTORY: columns in the other order are texts here";
            (order, format!("{what}; cells that can only be mdy: {only_mdy}, only dmy: {only_dmy}"))
        }
    }
}
