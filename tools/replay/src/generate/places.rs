//! Where accidents happen: the cities of `places.csv`. The README of this crate names its sources.

use fastrand::Rng;

const FILE: &str = include_str!("../../places.csv");

/// A city, or its part in one county.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct GeneratedPlace {
    pub state: &'static str,
    pub county: &'static str,
    pub city: &'static str,
    pub zip: &'static str,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east; negative in America.
    pub lng: f64,
    pub time_zone: &'static str,
    pub airport: &'static str,
}

/// All places, drawn by weight.
pub(super) struct GeneratedPlaces {
    places: Vec<GeneratedPlace>,
    /// The sum of the weights up to and including each place.
    ends: Vec<u32>,
}

impl GeneratedPlaces {
    #[expect(clippy::expect_used, reason = "the file is compiled in, and a test reads it")]
    pub(super) fn load() -> Self {
        let mut places = Vec::new();
        let mut ends = Vec::new();
        let mut end = 0;
        for line in FILE.lines().skip(1) {
            let (place, weight) =
                parse(line).expect("every line of places.csv has nine cells of their types");
            end += weight;
            places.push(place);
            ends.push(end);
        }
        Self { places, ends }
    }

    pub(super) fn draw(&self, rng: &mut Rng) -> GeneratedPlace {
        let total = self.ends[self.ends.len() - 1];
        let at = rng.u32(..total);
        self.places[self.ends.partition_point(|end| *end <= at)]
    }

    /// The first place of a county.
    pub(super) fn in_county(&self, county: &str) -> Option<GeneratedPlace> {
        self.places.iter().copied().find(|place| place.county == county)
    }
}

fn parse(line: &'static str) -> Option<(GeneratedPlace, u32)> {
    let mut cells = line.split(',');
    let mut next = || cells.next();
    let place = GeneratedPlace {
        state: next()?,
        county: next()?,
        city: next()?,
        zip: next()?,
        lat: next()?.parse().ok()?,
        lng: next()?.parse().ok()?,
        time_zone: next()?,
        airport: next()?,
    };
    Some((place, next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_file_covers_the_contiguous_states_with_names_that_repeat() {
        let all = GeneratedPlaces::load().places;
        let states: HashSet<_> = all.iter().map(|place| place.state).collect();
        assert_eq!(states.len(), 49, "48 states and the District of Columbia");
        let counties: HashSet<_> = all.iter().map(|place| (place.state, place.county)).collect();
        let names: HashSet<_> = all.iter().map(|place| place.county).collect();
        assert!(names.len() + 50 < counties.len(), "counties of one name in several states");
        for place in all {
            assert!((24.0..50.0).contains(&place.lat) && (-125.0..-66.0).contains(&place.lng), "{place:?}");
            assert!(place.zip.len() == 5 && place.zip.bytes().all(|byte| byte.is_ascii_digit()), "{place:?}");
            assert!(place.airport.len() == 4 && place.airport.starts_with('K'), "{place:?}");
            assert!(place.time_zone.starts_with("US/"), "{place:?}");
        }
    }

    #[test]
    fn large_cities_are_drawn_more_often() {
        let places = GeneratedPlaces::load();
        let mut rng = Rng::with_seed(1);
        let drawn: Vec<_> = (0..20_000).map(|_| places.draw(&mut rng).city).collect();
        let count = |city| drawn.iter().filter(|drawn| **drawn == city).count();
        assert!(count("Los Angeles") > 10 * count("Santa Fe"));
        assert!(count("Los Angeles") > 200);
    }
}
