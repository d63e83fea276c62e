//! What on-call services need: a key by which they deduplicate, an action, and a severity in their terms.

use serde_json::{Value, json};
use shared::data::dataset::Dataset;

use crate::incident::{Incident, hash, hex, short};

/// The severities of on-call services, from the worst. All levels after these are [`LEAST`].
///
/// Source: `PagerDuty` developer documentation, "Events API v2: send an alert event", `payload.severity`.
const SEVERITIES: [&str; 3] = ["critical", "error", "warning"];
/// The least of their severities.
const LEAST: &str = "info";

/// The fields for on-call services of a message about these incidents.
#[must_use]
pub fn on_call(dataset: &Dataset, incidents: &[&Incident]) -> Value {
    let level = incidents.iter().map(|incident| incident.key.severity).max().unwrap_or_default();
    json!({
        "dedup_key": dedup_key(dataset, incidents),
        // Whoever is on call acknowledges and resolves. A message only reports.
        "event_action": "trigger",
        "severity": severity(dataset, level),
    })
}

/// A key that depends only on the ids of the incidents: it is the same when a severity is raised. A digest has one of its
/// own, so that its events never disappear in an incident that is acknowledged.
fn dedup_key(dataset: &Dataset, incidents: &[&Incident]) -> String {
    match incidents {
        [one] => short(&format!("{}/{}", dataset.name, one.name())),
        many => {
            let mut names: Vec<_> = many.iter().map(|incident| incident.name()).collect();
            names.sort_unstable();
            format!("{}/digest-{}", dataset.name, hex(hash(names)))
        }
    }
}

/// The severity for a level: `critical` for the worst that the data set lists and above, then the next ones.
fn severity(dataset: &Dataset, level: i64) -> &'static str {
    let worse = dataset.severities.levels().iter().filter(|listed| listed.level > level).count();
    SEVERITIES.get(worse).copied().unwrap_or(LEAST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::incident::tests::{incident, us_accidents};

    fn of(id: &str, severity: i64) -> Incident {
        incident(&json!({"ID": id, "Severity": severity, "City": format!("city {severity}")}).to_string())
    }

    fn key(incidents: &[Incident]) -> String {
        dedup_key(us_accidents(), &incidents.iter().collect::<Vec<_>>())
    }

    #[test]
    fn key_is_the_id_within_the_data_set() {
        assert_eq!(key(&[of("A-1", 4)]), "us_accidents/A-1");
        assert_eq!(key(&[of("A-1", 7)]), "us_accidents/A-1");
        let long = "x".repeat(1_000);
        for id in [long.as_str(), "a b", "Doña"] {
            let key = key(&[of(id, 4)]);
            assert!(key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()), "{key}");
        }
        let without_id = |city: &str| incident(&json!({"Severity": 4, "City": city}).to_string());
        assert_ne!(key(&[without_id("a")]), key(&[without_id("b")]), "each is an incident of its own");
    }

    #[test]
    fn severity_counts_from_the_worst_that_is_listed() {
        let severities = (0..=6).map(|level| severity(us_accidents(), level)).collect::<Vec<_>>();
        assert_eq!(severities, ["info", "info", "warning", "error", "critical", "critical", "critical"]);
        let incidents = [of("A-1", 4), of("A-2", 7)];
        let fields = on_call(us_accidents(), &incidents.iter().collect::<Vec<_>>());
        assert_eq!((&fields["event_action"], &fields["severity"]), (&json!("trigger"), &json!("critical")));
    }

    proptest! {
        #[test]
        fn key_depends_on_the_ids_only(
            ids in proptest::collection::btree_set("[a-c]{1,2}|\\PC{1,200}", 1..6),
            severities in proptest::collection::vec(4_i64..9, 12),
            other in "[a-c]{1,2}",
        ) {
            let incidents = |severities: &[i64]| -> Vec<Incident> {
                ids.iter().zip(severities).map(|(id, severity)| of(id, *severity)).collect()
            };
            let (now, mut later) = (incidents(&severities[..6]), incidents(&severities[6..]));
            later.reverse();
            prop_assert_eq!(key(&now), key(&later));
            prop_assert!(key(&now).len() <= 128 && key(&now).bytes().all(|byte| byte.is_ascii_graphic()));
            if !ids.contains(&other) {
                later.push(of(&other, 4));
                prop_assert_ne!(key(&now), key(&later));
            }
        }
    }
}
