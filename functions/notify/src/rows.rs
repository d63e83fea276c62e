//! The rows of the alerts table: one for each message that SNS accepted, or several if it has very many events.

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use shared::{audit::alerts::Published, data::dataset::Dataset};
use tokio::time::Instant;

use crate::{
    incident::Incident,
    word::{Alert, Kind},
};

/// The rows of a message about these incidents, as lines for the alerts delivery stream. `now` is the time at which this
/// function is called.
#[must_use]
pub fn rows(
    dataset: &Dataset,
    alert: &Alert,
    incidents: &[&Incident],
    is_raised: bool,
    now: DateTime<Utc>,
) -> Vec<Bytes> {
    let accepted = alert.accepted.get();
    let at = accepted.map_or(now, |accepted| now - since(accepted.at));
    let received = incidents.iter().filter_map(|incident| incident.received).min();
    let area = incidents.first().filter(|first| incidents.iter().all(|each| each.key.area == first.key.area));
    Published {
        at,
        kind: match alert.kind {
            Kind::One if is_raised => "raised",
            Kind::One => "alert",
            Kind::Digest => "digest",
            Kind::Storm => "storm",
        },
        area: area.and_then(|first| first.known(dataset.severe_partition_key)),
        events: incidents
            .iter()
            .map(|incident| (incident.id.as_deref().unwrap_or_default(), incident.key.severity))
            .collect(),
        subject: &alert.subject,
        message_id: accepted.and_then(|accepted| accepted.message_id.as_deref()),
        latency_ms: received.map(|received| (at - received).num_milliseconds()),
    }
    .rows()
}

/// The time that has passed since `at`.
fn since(at: Instant) -> TimeDelta {
    TimeDelta::from_std(at.elapsed()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};
    use tokio::time::advance;

    use super::*;
    use crate::{
        incident::tests::{incident, us_accidents},
        raise::Reported,
        word::{Accepted, word},
    };

    const NOW: &str = "2026-07-14T09:30:05.250Z";

    /// An event of a severity in a county, received so many seconds before `NOW`.
    fn event(id: &str, severity: u8, county: &str, seconds: i64) -> Incident {
        let received = NOW.parse::<DateTime<Utc>>().unwrap() - TimeDelta::seconds(seconds);
        let received = received.to_rfc3339();
        incident(&format!(
            r#"{{"ID":"{id}","Severity":{severity},"County":"{county}","Txn_Timestamp":"{received}"}}"#
        ))
    }

    /// The only row of the message about these events, which SNS accepted three seconds before `NOW`.
    async fn row(incidents: &[Incident], raised_from: Option<i64>) -> Value {
        let reported: Vec<_> = incidents.iter().map(|incident| Reported { incident, raised_from }).collect();
        let (_, alert) = word(us_accidents(), &reported).remove(0);
        let accepted = Accepted { message_id: Some("m-1".to_owned()), at: Instant::now() };
        alert.accepted.set(accepted).unwrap();
        advance(Duration::from_secs(3)).await;
        let incidents: Vec<_> = incidents.iter().collect();
        let now = NOW.parse().unwrap();
        let rows = rows(us_accidents(), &alert, &incidents, raised_from.is_some(), now);
        assert_eq!(rows.len(), 1);
        let row: Value = serde_json::from_slice(&rows[0]).unwrap();
        assert_eq!(row["subject"], alert.subject);
        row
    }

    #[tokio::test(start_paused = true)]
    async fn row_has_the_time_and_the_id_of_the_acceptance() {
        // The latency is that of the oldest event, wherever it is in the message.
        let events = [event("A-1", 4, "a", 9), event("A-2", 4, "a", 20), event("A-3", 4, "a", 10)];
        let row = row(&events, None).await;
        assert_eq!(
            (&row["alerted_at"], &row["message_id"]),
            (&json!("2026-07-14 09:30:02.250"), &json!("m-1"))
        );
        assert_eq!(row["latency_ms"], 17_000);
    }

    #[tokio::test(start_paused = true)]
    async fn row_says_what_the_message_is_about() {
        let one = |severity| vec![event("A-1", severity, "a", 5)];
        let two = |severity, county| vec![event("A-1", 4, "a", 5), event("A-2", severity, county, 5)];
        for (events, raised_from, kind, area, severities) in [
            (one(4), None, "alert", json!("a"), json!([4])),
            (one(5), Some(4), "raised", json!("a"), json!([5])),
            (two(4, "a"), None, "digest", json!("a"), json!([4, 4])),
            (two(4, "a"), Some(3), "digest", json!("a"), json!([4, 4])),
            (two(5, "a"), None, "storm", json!("a"), json!([4, 5])),
            (two(4, "b"), None, "storm", Value::Null, json!([4, 4])),
        ] {
            let row = row(&events, raised_from).await;
            assert_eq!((&row["kind"], &row["area"]), (&json!(kind), &area), "{row}");
            assert_eq!((&row["severities"], &row["event_count"]), (&severities, &json!(events.len())));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn message_without_a_known_acceptance_is_dated_now() {
        let incident = incident(r#"{"ID":"A-1","Severity":4}"#);
        let reported = [Reported { incident: &incident, raised_from: None }];
        let (_, alert) = word(us_accidents(), &reported).remove(0);
        let rows = rows(us_accidents(), &alert, &[&incident], false, NOW.parse().unwrap());
        let row: Value = serde_json::from_slice(&rows[0]).unwrap();
        assert_eq!(row["alerted_at"], "2026-07-14 09:30:05.250");
        assert!(["message_id", "latency_ms", "area"].iter().all(|name| row.get(name).is_none()), "{row}");
    }
}
