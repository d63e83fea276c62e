use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;
use crate::incident::tests::{incident as of_json, with_id};

const DIGESTS: Digests = Digests { above: 3, window: TimeDelta::seconds(60) };

fn incident(id: &str, county: &str) -> Incident {
    severe(id, 4, county)
}

fn severe(id: &str, severity: i64, county: &str) -> Incident {
    of_json(&format!(r#"{{"ID":"{id}","Severity":{severity},"County":"{county}"}}"#))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
}

fn plan_most(
    digests: Digests,
    incidents: &[Incident],
    memory: &mut Memory,
    seconds: i64,
    most: usize,
) -> Plan {
    digests.plan(&incidents.iter().collect::<Vec<_>>(), memory, at(seconds), most)
}

fn plan(incidents: &[Incident], memory: &mut Memory, seconds: i64) -> Plan {
    plan_most(DIGESTS, incidents, memory, seconds, usize::MAX)
}

#[test]
fn many_incidents_of_a_key_share_the_message_of_the_first() {
    let counties = ["a", "b", "a", "b", "a", "c", "a", "b"];
    let incidents: Vec<_> =
        counties.iter().enumerate().map(|(n, county)| incident(&n.to_string(), county)).collect();
    let messages = plan(&incidents, &mut Memory::default(), 0).messages;
    assert_eq!(messages, [vec![0, 2, 4, 6], vec![1], vec![3], vec![5], vec![7]]);
    let never = Digests { above: 0, ..DIGESTS };
    let plan = plan_most(never, &incidents, &mut Memory::default(), 0, usize::MAX);
    assert_eq!(plan.messages.len(), 8);
}

#[test]
fn messages_above_the_limit_become_one_over_all_keys() {
    let counties = ["a", "b", "a", "c", "a", "d", "a", "e"];
    let incidents: Vec<_> =
        counties.iter().enumerate().map(|(n, county)| incident(&n.to_string(), county)).collect();
    let most = |most| plan_most(DIGESTS, &incidents, &mut Memory::default(), 0, most).messages;
    assert_eq!(most(5), [vec![0, 2, 4, 6], vec![1], vec![3], vec![5], vec![7]]);
    assert_eq!(most(4), [vec![0, 2, 4, 6], vec![1], vec![3], vec![5, 7]]);
    assert_eq!(most(2), [vec![0, 2, 4, 6], vec![1, 3, 5, 7]]);
    assert_eq!(most(1), [vec![0, 1, 2, 3, 4, 5, 6, 7]]);
    assert_eq!(most(0), most(1));
}

#[test]
fn alerts_within_the_window_before_count_too() {
    let mut memory = Memory::default();
    memory.note(&[&incident("1", "a"), &incident("2", "a"), &incident("9", "b")], at(0));
    let next = [incident("3", "a"), incident("4", "a"), incident("5", "b")];
    assert_eq!(plan(&next, &mut memory, 60).messages, [vec![0, 1], vec![2]]);
    let as_many_as_may = [incident("6", "b"), incident("7", "b")];
    assert_eq!(plan(&as_many_as_may, &mut memory, 60).messages, [vec![0], vec![1]]);
    assert_eq!(plan(&next, &mut memory, 61).messages, [vec![0], vec![1], vec![2]]);
    assert!(memory.recent.is_empty() && memory.sums.is_empty(), "what is past is forgotten");
}

#[test]
fn repeat_is_known_or_shares_the_outcome_of_the_first() {
    let mut memory = Memory::default();
    memory.note(&[&incident("1", "a")], at(0));
    let incidents = ["1", "2", "2", "", "", "2"].map(|id| incident(id, "a"));
    let digests = Digests { above: 0, ..DIGESTS };
    assert_eq!(
        plan_most(digests, &incidents, &mut memory, 120, usize::MAX),
        Plan {
            messages: vec![vec![1], vec![3], vec![4]],
            known: vec![0],
            repeats: vec![(2, 1), (5, 1)],
            ..Plan::default()
        }
    );
}

#[test]
fn only_a_higher_severity_is_not_a_repeat() {
    let mut memory = Memory::default();
    memory.note(&[&severe("1", 5, "a")], at(0));
    let incidents = [("1", 4), ("1", 6), ("2", 5), ("1", 5), ("2", 4), ("2", 7), ("2", 7), ("1", 6)]
        .map(|(id, severity)| severe(id, severity, "a"));
    let digests = Digests { above: 0, ..DIGESTS };
    assert_eq!(
        plan_most(digests, &incidents, &mut memory, 0, usize::MAX),
        Plan {
            messages: vec![vec![1], vec![2], vec![5]],
            raised: BTreeMap::from([(1, 5), (5, 5)]),
            known: vec![0, 3],
            repeats: vec![(4, 2), (6, 5), (7, 1)],
        }
    );
}

#[test]
fn digest_with_several_severities_of_an_id_has_the_highest() {
    let mut memory = Memory::default();
    memory.note(&[&severe("1", 4, "a")], at(0));
    let incidents = [("1", 5), ("2", 5), ("1", 5), ("1", 6), ("2", 6), ("3", 4)]
        .map(|(id, severity)| severe(id, severity, id));
    assert_eq!(
        plan_most(DIGESTS, &incidents, &mut memory, 0, 1),
        Plan {
            messages: vec![vec![3, 4, 5]],
            raised: BTreeMap::from([(3, 4)]),
            known: Vec::new(),
            repeats: vec![(2, 3), (0, 3), (1, 4)],
        }
    );
}

#[test]
fn lower_severity_after_the_digest_of_the_higher_one_is_a_repeat() {
    let incidents =
        [("1", 5), ("2", 4), ("3", 5), ("2", 5), ("4", 5)].map(|(id, severity)| severe(id, severity, "a"));
    assert_eq!(
        plan(&incidents, &mut Memory::default(), 0),
        Plan { messages: vec![vec![0, 2, 3, 4]], repeats: vec![(1, 3)], ..Plan::default() }
    );
}

#[test]
fn oldest_ids_are_forgotten_first() {
    let mut memory = Memory::default();
    let one = incident("x", "a");
    let with_id = |n: usize| with_id(&one, n.to_string());
    for n in 0..=REMEMBERED_IDS {
        memory.note(&[&with_id(n)], at(0));
    }
    let knows = |n| memory.knows(&with_id(n));
    assert!(!knows(0) && knows(1) && knows(REMEMBERED_IDS));
    assert_eq!((memory.levels.len(), memory.order.len()), (REMEMBERED_IDS, REMEMBERED_IDS));
}

#[test]
fn highest_alerted_severity_is_remembered_in_any_order() {
    let mut memory = Memory::default();
    for (severity, highest) in [(5, 5), (4, 5), (7, 7), (6, 7)] {
        let incident = severe("1", severity, "a");
        memory.note(&[&incident], at(0));
        assert_eq!(memory.alerted(&incident), Some(highest));
    }
}

#[test]
fn memory_is_bounded_for_any_ids_and_areas() {
    let mut memory = Memory::default();
    let areas: Vec<_> = (0..REMEMBERED_COUNTS).map(|n| incident("x", &n.to_string())).collect();
    for round in 0..2 {
        let id = |n: usize| format!("{round} {n}{}", "x".repeat(20));
        let storm: Vec<_> = areas.iter().enumerate().map(|(n, area)| with_id(area, id(n))).collect();
        memory.note(&storm.iter().collect::<Vec<_>>(), at(round));
    }
    assert_eq!(memory.recent.len(), REMEMBERED_COUNTS);
    assert_eq!(memory.sums.len(), REMEMBERED_COUNTS);
    // Each entry has a fixed size: no text is stored.
    assert!(size_of::<(DateTime<Utc>, Key, usize)>() <= 64 && size_of::<Identity>() == 16);
}

/// The checks of a plan against its incidents and what was alerted before, the highest severity of each id.
fn check(plan: &Plan, incidents: &[Incident], alerted: &HashMap<String, i64>) -> Result<(), TestCaseError> {
    let sent = plan.messages.concat();
    let mut places = sent.clone();
    places.extend(plan.known.iter().copied());
    places.extend(plan.repeats.iter().map(|(repeat, _)| *repeat));
    places.sort_unstable();
    prop_assert_eq!(places, (0..incidents.len()).collect::<Vec<_>>());
    prop_assert!(plan.messages.iter().all(|message| !message.is_empty() && message.is_sorted()));
    let of = |place: usize| (incidents[place].id.as_ref(), incidents[place].key.severity);
    for place in &plan.known {
        let (id, severity) = of(*place);
        prop_assert!(id.is_some_and(|id| alerted.get(id).is_some_and(|level| *level >= severity)));
    }
    for (repeat, first) in &plan.repeats {
        let ((id, severity), (first_id, highest)) = (of(*repeat), of(*first));
        prop_assert!(id.is_some() && id == first_id && highest >= severity && sent.contains(first));
    }
    Ok(())
}

proptest! {
    #[test]
    fn every_incident_is_in_one_message_or_a_repeat(
        events in proptest::collection::vec((0_u8..12, 0_u8..4), 0..40),
        earlier in 0_u8..12,
        above in 0_usize..5,
        most in 1_usize..8,
    ) {
        // An id always has the same county and severity, as in most real events.
        let incidents: Vec<_> =
            events.iter().map(|(id, county)| incident(&id.to_string(), &county.to_string())).collect();
        let mut memory = Memory::default();
        memory.note(&[&incident(&earlier.to_string(), "0")], at(0));
        let digests = Digests { above, ..DIGESTS };
        let plan = plan_most(digests, &incidents, &mut memory, 0, most);
        check(&plan, &incidents, &HashMap::from([(earlier.to_string(), 4)]))?;
        prop_assert!(plan.messages.len() <= most && plan.raised.is_empty());
        prop_assert!(plan.repeats.iter().all(|(repeat, first)| first < repeat));
        // Within a key, the first appearances are in order.
        let sent = plan.messages.concat();
        for county in 0..4_u8 {
            let key = incident("k", &county.to_string()).key;
            let of_key: Vec<_> = sent.iter().filter(|place| incidents[**place].key == key).collect();
            prop_assert!(of_key.is_sorted(), "{:?}", plan.messages);
        }
    }

    #[test]
    fn counts_are_those_of_the_messages_within_the_window(
        messages in proptest::collection::vec((0_i64..40, 0_u8..3, 1_usize..4), 0..12),
    ) {
        let mut memory = Memory::default();
        let mut sent = Vec::new();
        let mut now = 0;
        for (seconds, county, count) in messages {
            now += seconds;
            memory.note(&vec![&incident("", &county.to_string()); count], at(now));
            sent.push((now, county, count));
            memory.forget(DIGESTS.window, at(now));
            for county in 0..3 {
                let within = sent.iter().filter(|(at, of, _)| *of == county && now - at <= 60);
                let expected: usize = within.map(|(_, _, count)| count).sum();
                prop_assert_eq!(memory.recent(incident("", &county.to_string()).key), expected);
            }
            prop_assert!(memory.sums.values().all(|sum| *sum > 0));
        }
    }

    /// Batches of one container, of which SNS accepts some messages. What it refuses does not arrive again.
    #[test]
    fn severities_of_an_id_only_rise_and_the_highest_is_sent(
        batches in proptest::collection::vec(
            proptest::collection::vec((0_u8..6, 4_i64..8, 0_u8..3), 0..16), 1..6),
        above in 0_usize..5,
        most in 1_usize..8,
        accepted in any::<u64>(),
    ) {
        let mut memory = Memory::default();
        let mut alerted: HashMap<String, i64> = HashMap::new();
        let mut messages = 0;
        for (batch, events) in (0..).zip(batches) {
            // The id 0 means that the event has none.
            let of = |(id, severity, county): &(u8, i64, u8)| {
                let id = if *id == 0 { String::new() } else { id.to_string() };
                severe(&id, *severity, &county.to_string())
            };
            let incidents: Vec<_> = events.iter().map(of).collect();
            let digests = Digests { above, ..DIGESTS };
            let plan = plan_most(digests, &incidents, &mut memory, batch * 30, most);
            check(&plan, &incidents, &alerted)?;
            let mut planned = alerted.clone();
            for message in &plan.messages {
                let sent: Vec<_> = message.iter().map(|place| &incidents[*place]).collect();
                let is_accepted = accepted.rotate_left(messages) & 1 == 1;
                messages += 1;
                if is_accepted {
                    memory.note(&sent, at(batch * 30));
                }
                for (place, incident) in message.iter().zip(sent) {
                    let severity = incident.key.severity;
                    let Some(id) = incident.id.clone() else {
                        prop_assert!(!plan.raised.contains_key(place));
                        continue;
                    };
                    // An id appears once in a message, and later with a higher severity only.
                    let before = planned.insert(id.clone(), severity);
                    prop_assert!(before.is_none_or(|before| before < severity));
                    prop_assert_eq!(plan.raised.get(place).copied(), before);
                    if is_accepted {
                        alerted.insert(id, severity);
                    }
                }
            }
            for incident in &incidents {
                let sent = incident.id.as_ref().is_none_or(|id| planned[id] >= incident.key.severity);
                prop_assert!(sent, "{:?}", plan);
                let remembered = incident.id.as_ref().and_then(|id| alerted.get(id).copied());
                prop_assert_eq!(memory.alerted(incident), remembered);
            }
        }
    }
}
