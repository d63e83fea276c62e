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
