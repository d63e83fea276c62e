mod digest;

use proptest::prelude::*;
use shared::data::{
    dataset::{MACHINE_FIELDS, Type},
    decision::Decision,
};

use super::*;
use crate::incident::{
    decide,
    tests::{incident, us_accidents},
};

fn report(incident: &Incident) -> Reported<'_> {
    Reported { incident, raised_from: None }
}

fn words(incidents: &[Incident]) -> Vec<(Range<usize>, Alert)> {
    word(us_accidents(), &incidents.iter().map(report).collect::<Vec<_>>())
}

fn alert(json: &str) -> Alert {
    words(&[incident(json)]).remove(0).1
}

fn attributes(alert: &Alert) -> Vec<(&str, String, bool)> {
    let attribute = |a: &'_ Attribute| a.values.join("|");
    alert.attributes.iter().map(|a| (a.name.as_str(), attribute(a), a.numeric)).collect()
}

const EVENT: &str = r#"{"ID":"A-1","Severity":4,"City":"Las Cruces","County":"Doña Ana","Txn_Timestamp":"2022-12-24T04:53:57.450051Z"}"#;

#[test]
fn alert_has_texts_for_people_phones_and_machines() {
    let alert = alert(EVENT);
    assert_eq!(alert.subject, "Severity 4 accident: Las Cruces, Doña Ana");
    let message: Value = serde_json::from_str(&alert.message).unwrap();
    assert_eq!(
        message["email"],
        "A severity 4 accident was reported in Las Cruces, Doña Ana county.\n\n\
             Id:        A-1\nReceived:  2022-12-24T04:53:57.450051Z\n"
    );
    assert_eq!(
        message["sms"],
        "Severity 4 accident in Las Cruces, Doña Ana county. Id A-1, received 2022-12-24T04:53:57.450051Z."
    );
    let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
    assert_eq!(
        machine,
        json!({"dataset": "us_accidents", "count": 1, "ids": ["A-1"], "severity": 4, "city": "Las Cruces",
                "county": "Doña Ana", "id": "A-1", "latitude": null, "longitude": null, "details": {}, "map": null,
                "at": "2022-12-24T04:53:57.450051Z", "text": message["email"], "version": "1.0", "source": "custom",
                "content": {"textType": "client-markdown", "title": alert.subject, "description": message["email"]},
                "on_call": {"dedup_key": "us_accidents/A-1", "event_action": "trigger", "severity": "critical"}})
    );
    assert_eq!(
        attributes(&alert),
        [
            ("severity", "4".to_owned(), true),
            ("city", "Las Cruces".to_owned(), false),
            ("county", "Doña Ana".to_owned(), false),
            ("id", "A-1".to_owned(), false)
        ],
        "a place that is not known has no attribute"
    );
    assert_eq!((alert.count, alert.group.as_str(), alert.id.as_str()), (1, "Doña Ana", "A-1/4"));
}

const DETAILED: &str = r#"{"ID":"A-1","Severity":4,"City":"Irving","County":"Dallas","Txn_Timestamp":"2022-12-24T04:53:57Z","Start_Time":"2022-12-24T04:40:00","Street":"I-35E N","Start_Lat":32.859001,"Start_Lng":-96.920345678,"Description":"Two lanes blocked"}"#;

#[test]
fn alert_says_where_and_when() {
    let alert = alert(DETAILED);
    let (_, email, sms, machine) = texts(&alert);
    let link = "https://www.openstreetmap.org/?mlat=32.859&mlon=-96.92035#map=16/32.859/-96.92035";
    assert_eq!(
        email,
        format!(
            "A severity 4 accident was reported in Irving, Dallas county.\n\n\
             Started:   2022-12-24T04:40:00\nStreet:    I-35E N\nMap:       {link}\nWhat:      Two lanes blocked\n\n\
             Id:        A-1\nReceived:  2022-12-24T04:53:57Z\n"
        )
    );
    assert!(sms.starts_with("Severity 4 accident on I-35E N in Irving, Dallas county. Id A-1"), "{sms}");
    let details = json!({"Start_Time": "2022-12-24T04:40:00", "Street": "I-35E N", "Start_Lat": 32.859_001,
        "Start_Lng": -96.920_345_678, "Description": "Two lanes blocked"});
    assert_eq!((&machine["details"], &machine["map"]), (&details, &json!(link)));
    assert_eq!((&machine["latitude"], &machine["longitude"]), (&json!(32.859), &json!(-96.92035)));
    let attributes: Vec<_> = alert.attributes.iter().map(|each| (each.name.as_str(), each.typed())).collect();
    let number = |name: &'static str, value: &'static str| (name, ("Number", value.into()));
    assert_eq!(attributes[4..], [number("latitude", "32.859"), number("longitude", "-96.92035")]);
}

#[test]
fn blank_and_odd_details_leave_no_trace() {
    for (from, to, line) in [
        (r#""Street":"I-35E N""#, r#""Street":"  ""#, "Street:"),
        (r#""Street":"I-35E N","#, "", "Street:"),
        (r#""Start_Time":"2022-12-24T04:40:00""#, r#""Start_Time":null"#, "Started:"),
        (r#""Start_Lat":32.859001"#, r#""Start_Lat":"north""#, "Map:"),
        (r#""Start_Lng":-96.920345678"#, r#""Start_Lng":-196.9"#, "Map:"),
        (r#""Description":"Two lanes blocked""#, r#""Description":"\n \r\n""#, "What:"),
    ] {
        let alert = alert(&DETAILED.replace(from, to));
        let (_, email, sms, _) = texts(&alert);
        assert!(!email.contains(line) && !email.contains("unknown") && !email.contains("\n\n\n"), "{email}");
        assert_eq!(email.lines().count(), 8, "{email}");
        assert!(!sms.contains("on  in") && !sms.contains("unknown"), "{sms}");
        assert!(alert.attributes.iter().all(|each| !each.values.is_empty()), "{alert:?}");
    }
}

#[test]
fn long_description_is_cut_at_a_character() {
    for c in ["🚒", "é", "x", "\\\""] {
        let alert = alert(&DETAILED.replace("Two lanes blocked", &c.repeat(200_000)));
        let (_, email, _, machine) = texts(&alert);
        let text = machine["details"]["Description"].as_str().unwrap();
        assert!(text.ends_with('…') && text.chars().count() == text::VALUE_CHARS, "{text}");
        assert!(email.contains(text) && bytes(&alert) < 16 * 1024, "{}", bytes(&alert));
    }
}

#[test]
fn text_for_phones_has_street_and_place_in_one_part() {
    let street = "Northbound Frontage Road of the Interstate Highway";
    let event =
        DETAILED.replace("I-35E N", street).replace("Dallas", "Los Angeles").replace("A-1", &"9".repeat(90));
    let (_, _, sms, _) = texts(&alert(&event));
    assert!(sms.len() <= 160 && sms.contains(&format!("on {street} in Irving, Los Angeles county")), "{sms}");
}

/// The subject, the texts for people and phones, and the text for machines.
fn texts(alert: &Alert) -> (String, String, String, Value) {
    let message: Value = serde_json::from_str(&alert.message).unwrap();
    let text = |protocol: &str| message[protocol].as_str().unwrap().to_owned();
    (alert.subject.clone(), text("email"), text("sms"), serde_json::from_str(&text("default")).unwrap())
}

#[test]
fn raised_alert_begins_with_both_severities() {
    let incident = incident(EVENT);
    let raised = [Reported { incident: &incident, raised_from: Some(3) }];
    let alert = word(us_accidents(), &raised).remove(0).1;
    let (subject, email, sms, machine) = texts(&alert);
    assert_eq!(subject, "Severity raised from 3 to 4: Severity 4 accident: Las Cruces, Doña Ana");
    assert!(
        email.starts_with("Severity raised from 3 to 4.\n\nA severity 4 accident was reported"),
        "{email}"
    );
    assert!(sms.starts_with("Severity raised from 3 to 4. Severity 4 accident in Las Cruces"), "{sms}");
    assert_eq!(machine["raised"], json!([{"id": "A-1", "from": 3, "to": 4}]));
    assert_eq!(machine["raised_count"], 1);
    assert_eq!(alert.id, "A-1/4");
}

#[test]
fn attributes_cannot_hide_another_field() {
    let incidents: Vec<_> = (0..20)
        .map(|n| {
            incident(&DETAILED.replace("A-1", &format!("A-{n}")).replace(":4,", &format!(":{},", 4 + n % 2)))
        })
        .collect();
    let mut dataset = us_accidents().clone();
    dataset.alert.attributes.clear();
    let mut fields = BTreeSet::from(["metadata".to_owned()]);
    for incidents in [&incidents[..1], &incidents] {
        let raised = |incident| Reported { incident, raised_from: Some(3) };
        let alert = word(&dataset, &incidents.iter().map(raised).collect::<Vec<_>>()).remove(0).1;
        fields.extend(texts(&alert).3.as_object().unwrap().keys().cloned());
    }
    assert!(fields.iter().eq(MACHINE_FIELDS), "{fields:?}");
}

#[test]
fn message_about_a_higher_severity_has_another_id() {
    let of = |severities: [u8; 2]| {
        let of_id =
            |n: usize| incident(&format!(r#"{{"ID":"A-{n}","Severity":{},"County":"c"}}"#, severities[n]));
        words(&[of_id(0), of_id(1)]).remove(0).1
    };
    assert_eq!(of([4, 4]).id, of([4, 4]).id);
    assert_ne!(of([4, 4]).id, of([4, 5]).id);
    assert_ne!(of([4, 5]).id, of([5, 4]).id);
    assert_eq!(of([4, 5]).group, "c", "an area keeps its order, whatever the severities");
    let one = |severity: u8| alert(&EVENT.replace(":4,", &format!(":{severity},"))).id;
    assert_ne!(one(4), one(5));
}

#[test]
fn events_without_an_id_have_messages_with_different_ids() {
    let of = |city: &str| alert(&EVENT.replace("A-1", "").replace("Las Cruces", city)).id;
    assert_eq!(of("Mesilla"), of("Mesilla"));
    assert_ne!(of("Mesilla"), of("Hatch"), "a FIFO topic would drop one of them");
}

/// Each incident is in one message, in order, and the messages are within SNS's size limit.
fn assert_each_in_one_message(messages: &[(Range<usize>, Alert)], incidents: usize) {
    let mut next = 0;
    for (part, alert) in messages {
        assert_eq!((part.start, part.len()), (next, alert.count));
        assert!(bytes(alert) <= 256 * 1024, "{}", bytes(alert));
        next = part.end;
    }
    assert_eq!(next, incidents);
}

/// The bytes of a message as SNS counts them, from what is sent.
fn bytes(alert: &Alert) -> usize {
    let texts = alert.attributes.iter().flat_map(|attribute| {
        let (kind, value) = attribute.typed();
        [attribute.name.clone(), kind.to_owned(), value.into_owned()]
    });
    texts.chain([alert.subject.clone(), alert.message.clone()]).map(|text| text.len()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn messages_fit_with_any_values(
        patterns in proptest::collection::vec("[\"\\\\]{1,4}|\\PC{1,6}|[🚒\u{1}\u{7f}é]{1,5}|[a-z]{1,9}", 1..5),
        repeat in 1_usize..90,
        count in 1_usize..400,
    ) {
        let incidents: Vec<_> = (0..count)
            .map(|n| {
                let text = |salt: usize| format!("{}{n}", patterns[(n + salt) % patterns.len()].repeat(repeat));
                let event = json!({"ID": text(0), "Severity": 4 + n % 3, "City": text(1), "County": text(2), "Txn_Timestamp": text(3)});
                incident(&event.to_string())
            })
            .collect();
        assert_each_in_one_message(&words(&incidents), count);
    }

    #[test]
    fn every_raised_event_is_counted_in_the_text(
        events in proptest::collection::vec((4_i64..8, proptest::option::of(1_i64..4)), 2..40),
    ) {
        let of = |(n, (severity, _)): (usize, &(i64, Option<i64>))| {
            incident(&format!(r#"{{"ID":"A-{n}","Severity":{severity},"County":"c"}}"#))
        };
        let incidents: Vec<_> = events.iter().enumerate().map(of).collect();
        let reported = incidents.iter().zip(&events);
        let reported: Vec<_> = reported
            .map(|(incident, (_, raised_from))| Reported { incident, raised_from: *raised_from })
            .collect();
        let (subject, email, _, machine) = texts(&word(us_accidents(), &reported).remove(0).1);
        let raised = events.iter().filter(|(_, from)| from.is_some()).count();
        prop_assert_eq!(subject.contains("raised"), raised > 0, "{}", subject);
        if raised > 0 {
            prop_assert_eq!(&machine["raised_count"], raised);
            let mut counted = 0;
            for line in email.lines().take_while(|line| !line.is_empty()) {
                let (count, change) = line.split_once(' ').unwrap();
                let count: usize = count.parse().unwrap();
                counted += count;
                let has_change = |(to, from): &&(i64, Option<i64>)| {
                    from.is_some_and(|from| change.starts_with(&format!("raised from {from} to {to}: A-")))
                };
                let expected = events.iter().filter(has_change).count();
                prop_assert!(count == expected || change == "more raised", "{}", email);
            }
            prop_assert_eq!(counted, raised, "{}", email);
        }
    }

    #[test]
    fn one_alert_fits_with_any_data_set(text in "[\"\\\\🚒]{300}", columns in 1_usize..11) {
        // The most attributes that SNS delivers, and every column of the data set in the text.
        let mut dataset = us_accidents().clone();
        let city = dataset.column("City").unwrap();
        dataset.alert.attributes = (0..columns).map(|n| (format!("{n}{}", "n".repeat(200)), city)).collect();
        let mut event = json!({"ID": text, "Severity": 4, "City": text, "County": text, "Txn_Timestamp": text});
        // The most details that a data set may have, in the text too.
        let columns = (0..dataset.columns.len()).filter(|column| dataset.columns[*column].kind == Type::String);
        dataset.details = columns.filter(|column| !dataset.projection.contains(column)).take(16).collect();
        for column in &dataset.details {
            event[&dataset.columns[*column].name] = json!(text);
        }
        let Decision::Output(incident) = decide(&dataset, 3, event.to_string().as_bytes()) else { panic!() };
        for count in [1, 2] {
            let together = vec![Reported { incident: &incident, raised_from: Some(3) }; count];
            let messages = word(&dataset, &together);
            prop_assert!(messages.iter().all(|(_, alert)| bytes(alert) <= ALERT_BYTES));
            prop_assert_eq!(messages.len(), 1);
        }
    }
}

#[test]
fn no_value_breaks_the_subject_or_makes_an_attribute_blank() {
    let city = format!("{}\\r\\nBcc: x\\u0000\\u2028", "x".repeat(2_000));
    for json in [
        EVENT.replace("Las Cruces", &city),
        EVENT.replace("Las Cruces", "a\\nb"),
        EVENT.replace("\"Las Cruces\"", "null").replace("Doña Ana", " "),
    ] {
        let alert = alert(&json);
        assert!(
            alert.subject.encode_utf16().count() < 100 && !alert.subject.contains(char::is_control),
            "{alert:?}"
        );
        assert!(
            alert
                .attributes
                .iter()
                .all(|attribute| attribute.values.iter().all(|value| !value.trim().is_empty())),
            "{alert:?}"
        );
        assert!(alert.message.len() < 16 * 1024);
    }
    let without_city = alert(&EVENT.replace("\"Las Cruces\"", "null"));
    assert_eq!(without_city.subject, "Severity 4 accident: unknown, Doña Ana");
    assert_eq!(attributes(&without_city)[1], ("city", "unknown".to_owned(), false));
    assert_eq!(texts(&without_city).3["city"], Value::Null);
}
