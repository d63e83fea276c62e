use std::collections::{HashMap, HashSet};

use shared::data::dataset::Dataset;

use super::*;

fn rows(layout: Layout, seed: u64, count: usize) -> Vec<HashMap<&'static str, String>> {
    let mut accidents = Accidents::new(layout, seed);
    (0..count).map(|_| layout.columns().iter().copied().zip(accidents.next_row()).collect()).collect()
}

#[track_caller]
#[expect(clippy::cast_precision_loss, reason = "some thousand rows")]
fn assert_share(
    rows: &[HashMap<&str, String>],
    expected: f64,
    tolerance: f64,
    is: impl Fn(&HashMap<&str, String>) -> bool,
) {
    let share = 100.0 * rows.iter().filter(|row| is(row)).count() as f64 / rows.len() as f64;
    assert!((share - expected).abs() <= tolerance, "expected {expected} %, found {share} %");
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
fn shares_match_the_published_rows() {
    let rows = rows(Layout::Mar23, 7, 10_000);
    for (severity, expected, tolerance) in
        [("1", 0.9, 0.4), ("2", 79.6, 1.5), ("3", 16.8, 1.5), ("4", 2.7, 0.6)]
    {
        assert_share(&rows, expected, tolerance, |row| row["Severity"] == severity);
    }
    for (column, expected, tolerance) in [
        ("End_Lat", 49.0, 2.0),
        ("End_Lng", 49.0, 2.0),
        ("Precipitation(in)", 28.0, 3.0),
        ("Wind_Chill(F)", 26.0, 3.0),
        ("Wind_Speed(mph)", 8.0, 2.0),
        ("Weather_Timestamp", 1.7, 0.5),
        ("ID", 0.0, 0.0),
        ("Description", 0.0, 0.0),
    ] {
        assert_share(&rows, expected, tolerance, |row| row[column].is_empty());
    }
    assert_share(&rows, 9.9, 1.5, |row| row["Start_Time"].ends_with(".000000000"));
    assert_share(&rows, 1.0, 0.4, |row| row["Start_Time"].len() == 26);
    assert_share(&rows, 29.0, 2.0, |row| row["Zipcode"].len() == 10);
    assert_share(&rows, 20.0, 2.0, |row| row["Street"].starts_with(' '));
    assert_share(&rows, 14.4, 3.0, |row| row["Traffic_Signal"] == "True");
    assert_share(&rows, 22.3, 1.5, |row| row["State"] == "CA");
}

#[test]
fn number_of_severe_places_matches_the_published_rows() {
    let rows = rows(Layout::Mar23, 7, 10_000);
    let severe: HashSet<_> = rows
        .iter()
        .filter(|row| row["Severity"].as_str() > "2")
        .map(|row| (&row["Severity"], &row["City"], &row["County"]))
        .collect();
    assert!((800..1_100).contains(&severe.len()), "expected about 950, found {}", severe.len());
}

#[test]
fn row_length_matches_the_published_rows() {
    let rows = rows(Layout::Mar23, 7, 2_000);
    let mean = rows.iter().flat_map(HashMap::values).map(|cell| cell.len() + 1).sum::<usize>() / rows.len();
    assert!((360..405).contains(&mean), "{mean} bytes");
}

#[test]
fn every_quirk_occurs_in_a_few_hundred_rows() {
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
    let ids: HashSet<_> = (IDS - 100_000..IDS + 100_000).map(id).collect();
    assert_eq!(ids.len(), 200_000);
    let rows = rows(Layout::Mar23, 7, 20_000);
    let ids: HashSet<_> = rows.iter().map(|row| &row["ID"]).collect();
    assert_eq!(ids.len(), rows.len());
}

#[test]
fn cells_of_a_row_agree() {
    for row in rows(Layout::Mar23, 3, 3_000) {
        let time = |column: &str| row[column].replace(' ', "T").parse::<NaiveDateTime>().unwrap();
        assert!(time("Start_Time") < time("End_Time"), "{row:?}");
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
