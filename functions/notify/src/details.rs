//! Words the details of an incident: numbers, its place on a map, and the details for machines.

use serde_json::{Map, Value, json};
use shared::data::dataset::{Dataset, Type};

use crate::incident::Incident;

/// The greatest number that a filter policy compares; its negative is the least.
///
/// Source: SNS developer guide, "Numeric value matching": from -10^9 to 10^9, with five digits of accuracy right of the
/// decimal point.
const FILTERED: f64 = 1e9;
/// Those digits. They place an event within about a metre.
const DECIMALS: usize = 5;

/// The finite number in a text.
#[must_use]
pub fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

/// A number as filter policies compare it, without zeros at its end; `None` if they cannot.
#[must_use]
pub fn filtered(text: &str) -> Option<String> {
    let number = number(text).filter(|number| number.abs() <= FILTERED)?;
    let digits = format!("{number:.DECIMALS$}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    Some(if digits == "-0" { "0".to_owned() } else { digits.to_owned() })
}

/// The latitude and longitude of the incident, as filter policies compare them, if it has a place on earth.
#[must_use]
pub fn place(dataset: &Dataset, incident: &Incident) -> Option<[String; 2]> {
    let location = dataset.location?;
    let degrees = |column: usize, most: f64| {
        let text = incident.known(column)?;
        number(text).filter(|degrees| degrees.abs() <= most).and_then(|_| filtered(text))
    };
    Some([degrees(location.latitude, 90.0)?, degrees(location.longitude, 180.0)?])
}

/// A link to the incident's place on a map, if it has one on earth.
#[must_use]
pub fn map_link(dataset: &Dataset, incident: &Incident) -> Option<String> {
    let [north, east] = place(dataset, incident)?;
    Some(format!("https://www.openstreetmap.org/?mlat={north}&mlon={east}#map=16/{north}/{east}"))
}

/// The number in a column as filter policies compare it, if they can. A degree counts only together with the other one, as
/// a place on earth. Otherwise an event without a place could be within a box that is open at a side.
#[must_use]
pub fn filtered_cell(dataset: &Dataset, incident: &Incident, column: usize) -> Option<String> {
    match dataset.location {
        Some(location) if column == location.latitude => place(dataset, incident).map(|[north, _]| north),
        Some(location) if column == location.longitude => place(dataset, incident).map(|[_, east]| east),
        _ => filtered(incident.known(column)?),
    }
}

/// The details that the incident has, by their columns' names, and the link to the map.
#[must_use]
pub fn machine(dataset: &Dataset, incident: &Incident) -> Map<String, Value> {
    let detail = |column: &usize| {
        let described = &dataset.columns[*column];
        let text = incident.known(*column)?;
        let value = match described.kind {
            Type::Double => number(text).map(Value::from),
            Type::Int => text.parse::<i64>().ok().map(Value::from),
            Type::Boolean => text.parse::<bool>().ok().map(Value::from),
            _ => None,
        };
        Some((described.name.clone(), value.unwrap_or_else(|| json!(text))))
    };
    dataset.details.iter().filter_map(detail).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shared::data::decision::Decision;

    use super::*;
    use crate::incident::{
        decide,
        tests::{incident, us_accidents},
    };

    #[test]
    fn number_is_rounded_as_filters_compare_it() {
        for (text, expected) in [
            ("39.928059000000005", Some("39.92806")),
            ("-82.83", Some("-82.83")),
            (" 100.0 ", Some("100")),
            ("-0.000001", Some("0")),
            ("1e9", Some("1000000000")),
            ("-1e9", Some("-1000000000")),
            ("1e300", None),
            ("-1e300", None),
            ("NaN", None),
            ("inf", None),
            ("north", None),
            ("", None),
        ] {
            assert_eq!(filtered(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn link_shows_a_place_on_earth() {
        let link = |latitude: &str, longitude: &str| {
            let event =
                format!(r#"{{"ID":"1","Severity":4,"Start_Lat":{latitude},"Start_Lng":{longitude}}}"#);
            map_link(us_accidents(), &incident(&event))
        };
        let expected = "https://www.openstreetmap.org/?mlat=39.92806&mlon=-82.83#map=16/39.92806/-82.83";
        assert_eq!(link("39.928059000000005", "-82.83").as_deref(), Some(expected));
        assert_eq!(link("\"39.92806\"", "\" -82.83 \"").as_deref(), Some(expected));
        for (latitude, longitude) in
            [("91", "0"), ("0", "-180.5"), ("null", "0"), ("0", "\"west\""), ("NaN", "0"), ("{}", "[0]")]
        {
            assert_eq!(link(latitude, longitude), None, "{latitude} {longitude}");
        }
    }

    #[test]
    fn earth_ends_at_the_poles_and_the_antimeridian() {
        let found = |latitude: f64, longitude: f64| {
            let event =
                format!(r#"{{"ID":"1","Severity":4,"Start_Lat":{latitude},"Start_Lng":{longitude}}}"#);
            place(us_accidents(), &incident(&event))
        };
        for north in [-90.0, -33.5, 90.0] {
            for east in [-180.0, 151.25, 180.0] {
                assert_eq!(found(north, east), Some([north.to_string(), east.to_string()]));
            }
        }
        for (north, east) in [(-90.5, 0.0), (90.5, 0.0), (0.0, -180.5), (0.0, 180.5)] {
            assert_eq!(found(north, east), None, "{north} {east}");
        }
    }

    #[test]
    fn degrees_are_filtered_only_as_a_place_on_earth() {
        let dataset = us_accidents();
        let location = dataset.location.unwrap();
        for (latitude, longitude, expected) in [
            ("39.5", "-82.83", [Some("39.5"), Some("-82.83")]),
            ("91", "-82.83", [None, None]),
            ("39.5", "-180.5", [None, None]),
            ("39.5", "null", [None, None]),
        ] {
            let event =
                format!(r#"{{"ID":"1","Severity":4,"Start_Lat":{latitude},"Start_Lng":{longitude}}}"#);
            let incident = incident(&event);
            let found = [location.latitude, location.longitude]
                .map(|column| filtered_cell(dataset, &incident, column));
            assert_eq!(found.each_ref().map(Option::as_deref), expected, "{latitude} {longitude}");
        }
    }

    #[test]
    fn other_numbers_are_filtered_without_a_place() {
        let mut dataset = us_accidents().clone();
        let distance = dataset.column("Distance(mi)").unwrap();
        dataset.details = vec![distance];
        let event = br#"{"ID":"1","Severity":4,"Distance(mi)":"0.50"}"#;
        let Decision::Output(incident) = decide(&dataset, 3, event) else { panic!() };
        assert_eq!(filtered_cell(&dataset, &incident, distance).as_deref(), Some("0.5"));
    }

    #[test]
    fn details_for_machines_have_their_types() {
        let event = r#"{"ID":"1","Severity":4,"Start_Time":" ","Street":"I-70 E","Start_Lat":"39.5","Start_Lng":"-inf","Description":null}"#;
        let expected = json!({"Street": "I-70 E", "Start_Lat": 39.5});
        assert_eq!(Value::Object(machine(us_accidents(), &incident(event))), expected);
    }

    #[test]
    fn detail_that_is_not_of_its_type_stays_a_text() {
        let mut dataset = Dataset::named("support_tickets").unwrap();
        dataset.details = ["Wait(s)", "By_Bot", "Subject"].map(|name| dataset.column(name).unwrap()).to_vec();
        for (wait, by_bot, expected) in [
            ("900", "true", json!({"Wait(s)": 900, "By_Bot": true})),
            ("\"900\"", "\"false\"", json!({"Wait(s)": 900, "By_Bot": false})),
            ("\"long\"", "\"maybe\"", json!({"Wait(s)": "long", "By_Bot": "maybe"})),
            ("null", "\" \"", json!({})),
        ] {
            let event = format!(r#"{{"Ticket_ID":"T-1","Priority":4,"Wait(s)":{wait},"By_Bot":{by_bot}}}"#);
            let Decision::Output(incident) = decide(&dataset, 3, event.as_bytes()) else { panic!("{event}") };
            assert_eq!(Value::Object(machine(&dataset, &incident)), expected);
        }
    }

    proptest! {
        #[test]
        fn filtered_number_is_the_number_within_the_accuracy(number in -1.1e9_f64..1.1e9_f64) {
            match filtered(&number.to_string()) {
                None => prop_assert!(number.abs() > FILTERED),
                Some(text) => {
                    prop_assert!(number.abs() <= FILTERED);
                    prop_assert!((text.parse::<f64>().unwrap() - number).abs() <= 0.000_006);
                    prop_assert!(text.split_once('.').is_none_or(|(_, decimals)| decimals.len() <= DECIMALS));
                }
            }
        }
    }
}
