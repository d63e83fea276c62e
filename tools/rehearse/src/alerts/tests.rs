use serde_json::{Value, json};

use super::*;
use crate::settings::Settings;

static ACCIDENTS: std::sync::LazyLock<Dataset> =
    std::sync::LazyLock::new(|| Dataset::named("us_accidents").unwrap());

/// A setting with these variables of notify and departments.
pub(crate) fn settings(notify: &Value, mapping: &Value, departments: &Value) -> Settings {
    let names = [
        "REJECTS_DELIVERY_STREAM",
        "SEVERE_STREAM",
        "ANALYTICAL_DELIVERY_STREAM",
        "GLUE_DATABASE",
        "GLUE_TABLE",
        "TOPIC_ARN",
        "ALERTS_DELIVERY_STREAM",
    ];
    let needed: Value =
        names.iter().map(|name| ((*name).to_owned(), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    let mut of_notify = needed.clone();
    for (name, value) in notify.as_object().unwrap() {
        of_notify[name] = value.clone();
    }
    serde_json::from_value(json!({
        "name": "test",
        "transform": needed.clone(),
        "metrics": needed,
        "notify": of_notify,
        "mapping": mapping,
        "departments": departments,
    }))
    .unwrap()
}

/// The alerts about events, each with its second, id, severity and county, and their longest wait.
fn alerts(settings: &Settings, events: &[(i64, &str, i64, &str)]) -> Alerts {
    let configured = settings.configured().unwrap();
    let thresholds = configured.thresholds();
    let mut simulation = Simulation::new(&ACCIDENTS, &configured, thresholds, false);
    for (number, (second, id, severity, county)) in (0..).zip(events) {
        let data = format!(r#"{{"ID":"{id}","Severity":{severity},"County":"{county}"}}"#).into_bytes();
        let event = Timed { time: second * 1_000_000, hash_key: 0, severity: *severity, data };
        let incident = incident(&ACCIDENTS, &event);
        simulation.receive(number, &event, Some(*severity), incident.as_ref()).unwrap();
    }
    while simulation.continue_to_end().unwrap() {}
    simulation.finish()
}

const MAPPING: &str =
    r#"{"shards": 1, "factor": 1, "batch": 1000, "window_seconds": 2, "timeout_seconds": 60}"#;

fn mapping() -> Value {
    serde_json::from_str(MAPPING).unwrap()
}

fn kinds(alerts: &Alerts) -> [(u64, u64); 3] {
    let Received { single, digests, storms, .. } = &alerts.received;
    [single, digests, storms].map(|kind| (kind.messages, kind.events))
}

#[test]
fn events_of_a_window_share_a_batch_and_a_digest() {
    let settings = settings(&json!({"DIGEST_ABOVE": "2", "ALERTS_PER_SECOND": "0"}), &mapping(), &json!([]));
    let events =
        [(10, "a", 4, "x"), (11, "b", 4, "x"), (11, "c", 4, "x"), (11, "d", 4, "y"), (11, "e", 3, "y")];
    let alerts = alerts(&settings, &events);
    assert_eq!(kinds(&alerts), [(1, 1), (1, 3), (0, 0)]);
    assert_eq!((alerts.events, alerts.longest_wait_ms), (4, 2_000));
    // The window ends two seconds after its first event.
    let later = [(10, "a", 4, "x"), (12, "b", 4, "x"), (500, "c", 4, "x")];
    assert_eq!(kinds(&self::alerts(&settings, &later)), [(3, 3), (0, 0), (0, 0)]);
}

#[test]
fn repeats_are_not_alerted_and_a_higher_severity_is() {
    let settings = settings(&json!({}), &mapping(), &json!([]));
    let events = [(0, "a", 4, "x"), (9, "a", 4, "x"), (20, "a", 5, "x"), (5_000, "a", 4, "x")];
    let alerts = alerts(&settings, &events);
    assert_eq!((alerts.events, alerts.repeats, alerts.raised), (2, 2, 1));
}

#[test]
fn full_batch_is_handed_over_before_its_window_ends() {
    let mut mapping = mapping();
    mapping["batch"] = json!(2);
    let settings = settings(&json!({"ALERTS_PER_SECOND": "0"}), &mapping, &json!([]));
    let events = [(0, "a", 4, "x"), (0, "b", 3, "x"), (0, "c", 4, "x")];
    let alerts = alerts(&settings, &events);
    assert_eq!(alerts.longest_wait_ms, 2_000, "the third waits for its own window");
    assert_eq!(self::alerts(&settings, &events[..2]).longest_wait_ms, 0);
    // What transform filters out is on no stream, and fills no batch.
    let events = [(0, "a", 4, "x"), (0, "b", 2, "x")];
    assert_eq!(self::alerts(&settings, &events).longest_wait_ms, 2_000);
}

#[test]
fn pace_delays_the_next_batch_and_makes_a_storm() {
    // One message each second, so that two are sent and the last one reports the rest.
    let settings = settings(&json!({"ALERTS_PER_SECOND": "1", "SHARDS": "1"}), &mapping(), &json!([]));
    let names: Vec<_> = (0..6).map(|number| number.to_string()).collect();
    let mut events: Vec<_> = names.iter().map(|name| (0, name.as_str(), 4, name.as_str())).collect();
    events.push((1, "late", 4, "late"));
    // The batch of time 0 is handed over at 2, and its last pause ends at 4; the next window follows.
    events.push((3, "next", 4, "next"));
    let alerts = alerts(&settings, &events);
    assert_eq!(kinds(&alerts), [(2, 2), (0, 0), (1, 6)]);
    assert_eq!(alerts.longest_wait_ms, 3_000);
    assert_eq!(alerts.received.minute.most.messages, 3);
}

#[test]
fn departments_receive_what_their_filters_admit() {
    let departments = json!([
        {"name": "X", "protocol": "email", "filter": {"county": ["x"]}},
        {"name": "All", "protocol": "sms"},
    ]);
    let settings =
        settings(&json!({"DIGEST_ABOVE": "0", "ALERTS_PER_SECOND": "0"}), &mapping(), &departments);
    let events = [(0, "a", 4, "x"), (0, "b", 4, "y"), (0, "c", 4, "x")];
    let alerts = alerts(&settings, &events);
    let received = |place: usize| alerts.departments[place].received.single.messages;
    assert_eq!((received(0), received(1)), (2, 3));
}
