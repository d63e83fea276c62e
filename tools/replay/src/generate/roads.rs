//! Roads that could be where they are said to be, and what is said of an accident on them.

use fastrand::Rng;

use super::{
    draw::{chance, one, weighted},
    places::Place,
};

/// Interstates that run north and south by the longitude at which they do.
#[rustfmt::skip]
const NORTH_SOUTH: &[(u32, f64)] = &[
    (5, -121.0), (15, -112.5), (25, -105.2), (35, -97.2), (45, -95.5), (55, -90.0), (65, -86.5), (75, -84.0),
    (85, -82.5), (95, -79.0),
];

/// Interstates that run east and west by latitude.
#[rustfmt::skip]
const EAST_WEST: &[(u32, f64)] =
    &[(10, 31.0), (20, 33.2), (40, 35.4), (64, 38.0), (70, 39.5), (80, 41.2), (90, 42.6), (94, 45.2)];

#[rustfmt::skip]
const NAMES: &[&str] = &[
    "Airport", "Beech", "Bridge", "Canal", "Cedar", "Central", "Cherry", "Chestnut", "Church", "College",
    "County Line", "Cypress", "Dogwood", "Eagle", "Elm", "Fairview", "Forest", "Franklin", "Glen", "Grand", "Grove",
    "Harbor", "Hickory", "Highland", "Hill", "Industrial", "Jackson", "Jefferson", "Juniper", "Lake", "Laurel",
    "Liberty", "Lincoln", "Locust", "Madison", "Magnolia", "Main", "Maple", "Market", "Meadow", "Mill", "Monroe",
    "Oak", "Old Mill", "Orchard", "Park", "Pine", "Pleasant Valley", "Pond", "Prospect", "Quarry", "Railroad",
    "Ridge", "River", "Rose", "School", "Spring", "State", "Summit", "Sunset", "Sycamore", "Union", "Valley",
    "Walnut", "Washington", "Water", "Willow", "Wilson", "Woodland",
];

#[rustfmt::skip]
const KINDS: &[(&str, u32)] = &[
    ("St", 26), ("Rd", 24), ("Ave", 22), ("Blvd", 10), ("Dr", 9), ("Ln", 3), ("Way", 2), ("Pkwy", 3), ("Ct", 1),
];

/// A road, and the way along it that the accident lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Road {
    /// `I-95`, `US-101`, `CA-99` or `Maple Ave`.
    pub name: String,
    /// N, E, S or W.
    pub way: char,
    pub highway: bool,
}

impl Road {
    pub(super) fn highway(rng: &mut Rng, place: &Place) -> Self {
        let north_south = chance(rng, 0.5);
        let way = one(rng, if north_south { &['N', 'S'] } else { &['E', 'W'] });
        let name = match weighted(rng, &[('I', 55), ('U', 20), ('S', 25)]) {
            'I' => format!("I-{}", interstate(rng, place, north_south)),
            'U' => format!("US-{}", us_route(place, north_south)),
            _ => format!("{}-{}", place.state, 2 * rng.u32(1..150) + u32::from(north_south)),
        };
        Self { name, way, highway: true }
    }

    pub(super) fn street(rng: &mut Rng) -> Self {
        let kind = weighted(rng, KINDS);
        let name = if chance(rng, 0.2) {
            format!("{} {}", ordinal(rng.u32(1..=99)), one(rng, &["St", "Ave"]))
        } else {
            format!("{} {kind}", one(rng, NAMES))
        };
        Self { name, way: one(rng, &['N', 'E', 'S', 'W']), highway: false }
    }

    /// The name in the column `Street`: `I-95 N`, `W Maple Ave`.
    pub(super) fn cell(&self, rng: &mut Rng) -> String {
        match (self.highway, chance(rng, if self.highway { 0.93 } else { 0.3 })) {
            (true, true) => format!("{} {}", self.name, self.way),
            (false, true) => format!("{} {}", self.way, self.name),
            (_, false) => self.name.clone(),
        }
    }

    fn bound(&self) -> &'static str {
        match self.way {
            'N' => "Northbound",
            'E' => "Eastbound",
            'S' => "Southbound",
            _ => "Westbound",
        }
    }
}

/// The nearest interstate or the one after, or a three-digit one that branches off it.
fn interstate(rng: &mut Rng, place: &Place, north_south: bool) -> u32 {
    let (lines, at) = if north_south { (NORTH_SOUTH, place.lng) } else { (EAST_WEST, place.lat) };
    let mut nearest: Vec<_> = lines.iter().map(|(number, line)| ((line - at).abs(), *number)).collect();
    nearest.sort_by(|a, b| a.0.total_cmp(&b.0));
    let number = if chance(rng, 0.8) { nearest[0].1 } else { nearest[1].1 };
    if chance(rng, 0.25) { 100 * rng.u32(2..=8) + number } else { number }
}

/// United States routes are numbered from 1 in the east to 101 in the west, and from 2 in the north to 98 in the south.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 49")]
fn us_route(place: &Place, north_south: bool) -> u32 {
    let part = if north_south { (-70.0 - place.lng) / 54.0 } else { (48.5 - place.lat) / 24.0 };
    let step = (part.clamp(0.0, 1.0) * 49.0).round() as u32;
    if north_south { 1 + 2 * step } else { 2 + 2 * step }
}

fn ordinal(number: u32) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// How a provider words its reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wording {
    /// `At Mill Rd/Exit 12 - Collision.`
    Terse,
    /// `Slow traffic on I-95 N from Mill Rd to Oak St after a collision.`
    Flow,
    /// `Right lane blocked by a collision on I-95 Northbound at Exit 12 Mill Rd.`
    Lanes,
}

pub(super) fn describe(rng: &mut Rng, wording: Wording, severity: u8, road: &Road) -> String {
    let Road { name, way, .. } = road;
    let bound = road.bound();
    let cross = Road::street(rng).name;
    let other = Road::street(rng).name;
    let exit = rng.u32(1..240);
    match wording {
        Wording::Terse if severity == 4 && road.highway => {
            format!("Closed between {cross}/Exit {exit} and {other} - Road closed after a collision.")
        }
        Wording::Terse if severity == 4 => format!("Closed at {cross} - Road closed after a collision."),
        Wording::Terse => match (road.highway, rng.u8(..10)) {
            (true, 0..=5) => format!("At {cross}/Exit {exit} - Collision."),
            (true, 6..=8) => {
                format!("Between {cross}/Exit {exit} and {other}/Exit {} - Collision.", exit + 1)
            }
            (true, _) => format!("At {cross}/Exit {exit} - Collision. Lane blocked."),
            (false, 0..=7) => format!("At {cross} - Collision."),
            (false, _) => format!("Between {cross} and {other} - Collision."),
        },
        Wording::Flow if severity == 4 => format!(
            "Collision on {} {way}B near {} Road closed. Follow the signed detour.",
            name.to_uppercase(),
            cross.to_uppercase()
        ),
        Wording::Flow => match rng.u8(..20) {
            0..=8 => {
                let advice = one(
                    rng,
                    &["Drive with care.", "Allow extra time.", "Right shoulder closed.", "Use caution."],
                );
                format!("Collision on {} near {} {advice}", name.to_uppercase(), cross.to_uppercase())
            }
            9..=13 => format!(
                "Slow traffic on {name} {way} from {cross} ({name}) to {other} ({name}) after a collision."
            ),
            14..=17 => {
                format!("Traffic at a standstill on {name} from {cross} to {other} after a collision.")
            }
            18 => format!(
                "On {name} {} in the vicinity of {cross}; drivers should allow for delays because of a collision. The {} of {other} is closed.",
                bound.to_lowercase(),
                one(rng, &["left lane short", "right lane short", "shoulder south", "shoulder north"])
            ),
            _ => "A collision has been reported with little delay. Move over for people at work.".to_owned(),
        },
        Wording::Lanes => {
            let at = if road.highway {
                format!("{name} {bound} at Exit {exit} {cross}")
            } else {
                format!("{name} at {cross}")
            };
            match (severity, rng.u8(..20)) {
                (_, 0..=11) => format!("Collision on {at}."),
                (_, 12) => format!("Crash on {at}."),
                (1, _) => format!("Collision on {at}. Cleared to the shoulder."),
                (2, 13..=16) => format!("Lane blocked by a collision on {at}."),
                (2, _) => format!("Right hand shoulder blocked by a collision on {at}."),
                (_, 13 | 14) => format!("Right lane blocked by a collision on {at}."),
                (_, 15 | 16) => format!("Left lane blocked by a collision on {at}."),
                (_, 17 | 18) => format!("Two lanes blocked by a collision on {at}."),
                _ => format!("#{} lane blocked by a collision on {at}.", rng.u8(1..=4)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::places::Places, *};

    #[test]
    fn highways_bear_the_numbers_of_their_part_of_the_country() {
        let places = Places::load();
        let mut rng = Rng::with_seed(1);
        let mut names = |county: &str| -> Vec<String> {
            let place = places.in_county(county).unwrap();
            (0..200).map(|_| Road::highway(&mut rng, &place).name).collect()
        };
        let west = names("Los Angeles");
        assert!(west.contains(&"I-5".to_owned()) && !west.contains(&"I-95".to_owned()));
        assert!(west.iter().any(|name| name.starts_with("CA-")));
        let east = names("Miami-Dade");
        assert!(east.contains(&"I-95".to_owned()) && east.contains(&"I-10".to_owned()));
    }

    #[test]
    fn ordinals_end_as_they_are_spoken() {
        let cases = [
            (1, "1st"),
            (2, "2nd"),
            (3, "3rd"),
            (4, "4th"),
            (11, "11th"),
            (12, "12th"),
            (21, "21st"),
            (93, "93rd"),
        ];
        for (number, expected) in cases {
            assert_eq!(ordinal(number), expected);
        }
    }

    #[test]
    fn a_road_closed_is_said_to_be() {
        let mut rng = Rng::with_seed(1);
        for wording in [Wording::Terse, Wording::Flow] {
            let road = Road::street(&mut rng);
            let text = describe(&mut rng, wording, 4, &road);
            assert!(text.contains("Road closed"), "{text}");
        }
    }
}
