//! Digests: messages about several events.

use super::*;

#[test]
fn digest_has_the_place_of_each_event_for_filters() {
    let incidents: Vec<_> = (0..20)
        .map(|n| {
            let latitude = if n == 3 { "null".to_owned() } else { format!("{}.5", 30 + n % 4) };
            incident(&DETAILED.replace("A-1", &format!("A-{n}")).replace("32.859001", &latitude))
        })
        .collect();
    let alert = words(&incidents).remove(0).1;
    let latitude = alert.attributes.iter().find(|each| each.name == "latitude").unwrap();
    assert_eq!(latitude.typed(), ("String.Array", "[30.5,31.5,32.5,33.5]".into()));
    let (_, _, _, machine) = texts(&alert);
    let events = machine["events"].as_array().unwrap();
    assert_eq!((events.len(), &events[3]["map"], &events[3]["id"]), (10, &Value::Null, &json!("A-3")));
    assert_eq!(events[4]["details"]["Start_Lat"], json!(30.5));
    assert_eq!(machine["latitude"], json!([30.5, 31.5, 32.5, 33.5]));
}

#[test]
fn digest_has_the_details_of_its_events() {
    let dataset = us_accidents();
    let column = |name: &str| dataset.columns.iter().position(|column| column.name == name).unwrap();
    let without = incident(r#"{"ID":"A-0","Severity":4,"City":"Irving","County":"Dallas","Street":" "}"#);
    let with = incident(DETAILED);
    let of = |incidents: &[&Incident], place| fill(dataset, incidents, place).map(Cow::into_owned);
    let street = Place::Detail(column("Street"));
    assert_eq!(of(&[&without, &with, &with], street).as_deref(), Some("I-35E N"));
    assert_eq!(of(&[&without, &with], Place::Map), map_link(dataset, &with));
    assert_eq!((of(&[&without], street), of(&[&without], Place::Map)), (None, None));
}

#[test]
fn digest_counts_its_events_and_says_where_to_find_them() {
    let incidents: Vec<_> = (0..250)
        .map(|n| {
            incident(
                &EVENT.replace("A-1", &format!("A-{n}")).replace("Las Cruces", &format!("City {}", n % 4)),
            )
        })
        .collect();
    let messages = words(&incidents);
    assert_eq!(messages.len(), 1);
    let (reported, alert) = &messages[0];
    assert_eq!((reported.len(), alert.count), (250, 250));
    assert_eq!(alert.subject, "250 accidents of severity 4 in Doña Ana county");
    let message: Value = serde_json::from_str(&alert.message).unwrap();
    let text = message["email"].as_str().unwrap();
    assert!(text.contains("First ids:  A-0, A-1, A-2, A-3, A-4 and 245 more\n"), "{text}");
    assert!(text.contains("Cities:     City 0, City 1, City 2 and 1 more\n"), "{text}");
    assert!(
        text.contains("are in the table us_accidents_analytical, under severity 4 and county Doña Ana."),
        "{text}"
    );
    let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
    assert_eq!(machine["count"], 250);
    assert_eq!(machine["ids"].as_array().unwrap().len(), LISTED_IDS);
    assert_eq!(machine["city"], json!(["City 0", "City 1", "City 2", "City 3"]));
    assert_eq!((&machine["severity"], &machine["county"]), (&json!(4), &json!("Doña Ana")));
    assert_eq!(
        attributes(alert),
        [
            ("severity", "4".to_owned(), true),
            ("city", "City 0|City 1|City 2|City 3".to_owned(), false),
            ("county", "Doña Ana".to_owned(), false),
            ("id", alert.id.clone(), false),
        ]
    );
    assert_eq!(words(&incidents)[0].1.id, alert.id, "the same events have the same id");
    assert_ne!(words(&incidents[1..])[0].1.id, alert.id, "others have another");
}

#[test]
fn digest_names_raised_events_first() {
    let incidents: Vec<_> = (0..20)
        .map(|n| {
            incident(&EVENT.replace("A-1", &format!("A-{n}")).replace(":4,", &format!(":{},", 5 + n / 12)))
        })
        .collect();
    let raised = |n: usize| [Some(4), None, Some(4), Some(3), None][n % 5];
    let reported =
        |incidents: &[Incident]| -> Vec<Option<i64>> { (0..incidents.len()).map(raised).collect() };
    let alert = |incidents: &[Incident]| {
        let all = incidents.iter().zip(reported(incidents));
        let all: Vec<_> = all.map(|(incident, raised_from)| Reported { incident, raised_from }).collect();
        word(us_accidents(), &all).remove(0).1
    };
    let (subject, email, sms, machine) = texts(&alert(&incidents[..10]));
    assert_eq!(
        subject,
        "4 raised from 4 to 5, 2 raised from 3 to 5: 10 accidents of severity 5 in Doña Ana county"
    );
    let lines = "4 raised from 4 to 5: A-0, A-2, A-5, A-7\n2 raised from 3 to 5: A-3, A-8\n\n10 accidents of";
    assert!(email.starts_with(lines), "{email}");
    assert!(
        sms.starts_with("4 raised from 4 to 5, 2 raised from 3 to 5. 10 accidents of severity 5"),
        "{sms}"
    );
    assert_eq!(machine["raised_count"], 6);
    assert_eq!(machine["raised"][1], json!({"id": "A-2", "from": 4, "to": 5}));

    // A storm has more changes of severity than it names.
    let (subject, email, _, machine) = texts(&alert(&incidents));
    let phrase =
        "5 raised from 4 to 5, 3 raised from 4 to 6, 2 raised from 3 to 5 and 1 more: 20 accidents of";
    assert!(subject.starts_with(phrase), "{subject}");
    assert!(email.contains("\n2 raised from 3 to 5: A-3, A-8\n2 more raised\n\n20 accidents of"), "{email}");
    assert_eq!(machine["raised_count"], 12);
    assert_eq!(machine["raised"].as_array().unwrap().len(), 12);
}

#[test]
fn raised_event_in_the_smallest_digest_is_counted() {
    let [one, other] = ["A-1", "A-2"].map(|id| incident(&EVENT.replace("A-1", id)));
    for raised in [[Some(3), None], [None, Some(3)]] {
        let reported = [(&one, raised[0]), (&other, raised[1])]
            .map(|(incident, raised_from)| Reported { incident, raised_from });
        let (subject, email, sms, machine) = texts(&word(us_accidents(), &reported).remove(0).1);
        let id = if raised[0].is_some() { "A-1" } else { "A-2" };
        assert_eq!(subject, "1 raised from 3 to 4: 2 accidents of severity 4 in Doña Ana county");
        assert!(email.starts_with(&format!("1 raised from 3 to 4: {id}\n\n2 accidents of")), "{email}");
        assert!(sms.starts_with("1 raised from 3 to 4. 2 accidents of"), "{sms}");
        assert_eq!(machine["raised"], json!([{"id": id, "from": 3, "to": 4}]));
        assert_eq!(machine["raised_count"], 1);
    }
}

#[test]
fn long_list_of_raised_events_is_shortened() {
    let incidents: Vec<_> = (0..60).map(|n| incident(&EVENT.replace("A-1", &format!("A-{n}")))).collect();
    let reported: Vec<_> =
        incidents.iter().map(|incident| Reported { incident, raised_from: Some(3) }).collect();
    let (_, email, _, machine) = texts(&word(us_accidents(), &reported).remove(0).1);
    let line = "60 raised from 3 to 4: A-0, A-1, A-2, A-3, A-4 and 55 more\n\n60 accidents of";
    assert!(email.starts_with(line), "{email}");
    assert_eq!(machine["raised"].as_array().unwrap().len(), LISTED_IDS);
    assert_eq!(machine["raised_count"], 60);
}

#[test]
fn digest_for_machines_has_the_time_of_its_first_event() {
    let times = ["2022-12-24T04:53:57Z", "2022-12-24T04:53:58Z"];
    let of = |n: usize| incident(&DETAILED.replace("A-1", &format!("A-{n}")).replace(times[0], times[n]));
    let (_, _, _, machine) = texts(&words(&[of(0), of(1)]).remove(0).1);
    assert_eq!(machine["at"], times[0]);
}

#[test]
fn digest_names_every_value_that_a_filter_may_look_for() {
    let incidents: Vec<_> = (0..2_000)
        .map(|n| {
            incident(
                &EVENT
                    .replace("A-1", &format!("A-{n}"))
                    .replace("Las Cruces", &format!("{n} {}", "x".repeat(400))),
            )
        })
        .collect();
    let messages = words(&incidents);
    assert!((2..20).contains(&messages.len()), "{}", messages.len());
    for (part, alert) in &messages {
        assert_eq!((alert.attributes[1].values.len(), alert.count), (part.len(), part.len()));
        assert_eq!(alert.attributes[1].typed().0, "String.Array");
    }
    assert_each_in_one_message(&messages, 2_000);
}

#[test]
fn digest_is_about_one_area_and_severity() {
    let of = |severity: u8, county: &str| {
        incident(&format!(r#"{{"ID":"{severity}{county}","Severity":{severity},"County":"{county}"}}"#))
    };
    let kind = |incidents: &[Incident]| words(incidents).remove(0).1.kind;
    assert_eq!(kind(&[of(4, "a")]), Kind::One);
    assert_eq!(kind(&[of(4, "a"), of(4, "a")]), Kind::Digest);
    assert_eq!(kind(&[of(4, "a"), of(5, "a")]), Kind::Storm);
    assert_eq!(kind(&[of(4, "a"), of(4, "b")]), Kind::Storm);
}

#[test]
fn storm_counts_by_severity_and_area() {
    let incidents: Vec<_> = (0..400)
        .map(|n| {
            let area = if n < 100 { 0 } else { n % 40 };
            incident(&format!(
                r#"{{"ID":"A-{n}","Severity":{},"City":"City {n}","County":"County {area}"}}"#,
                if n % 4 == 0 { 5 } else { 4 },
            ))
        })
        .collect();
    let messages = words(&incidents);
    assert_each_in_one_message(&messages, 400);
    assert_eq!(messages.len(), 1);
    let alert = &messages[0].1;
    assert_eq!(alert.subject, "400 accidents of severity 4, 5 in many counties");
    assert_eq!(alert.group, "all");
    let message: Value = serde_json::from_str(&alert.message).unwrap();
    let text = message["email"].as_str().unwrap();
    assert!(text.contains("By severity:  5: 100, 4: 300\n"), "{text}");
    assert!(text.contains("By county:    County 0: 107, County 20: 8, "), "{text}");
    assert!(text.contains(", and 221 in 30 others\n"), "{text}");
    let machine: Value = serde_json::from_str(message["default"].as_str().unwrap()).unwrap();
    assert_eq!((&machine["count"], &machine["severity"]), (&json!(400), &json!([4, 5])));
    assert_eq!(machine["counts"][0], json!({"severity": 4, "area": "County 0", "count": 75}));
    let counts = machine["counts"].as_array().unwrap();
    assert_eq!(counts.iter().map(|each| each["count"].as_u64().unwrap()).sum::<u64>(), 400);
    // A filter policy can match either severity as a number, and any county.
    assert_eq!(alert.attributes[0].typed(), ("String.Array", "[4,5]".into()));
    assert_eq!(alert.attributes[2].values.len(), 40);
}

#[test]
fn message_as_large_as_sns_takes_is_not_split() {
    const CITY_CHARS: usize = 120;
    let of = |n: usize, chars: usize| {
        let city = format!("{n:0chars$}");
        incident(&EVENT.replace("A-1", &format!("A-{n:04}")).replace("Las Cruces", &city))
    };
    let mut incidents: Vec<_> = (0..2_400).map(|n| of(n, CITY_CHARS)).collect();
    // The most cities that fit. A longer last one fills the message.
    let most =
        (1..2_400).collect::<Vec<_>>().partition_point(|cities| words(&incidents[..*cities]).len() == 1);
    let room = ALERT_BYTES - bytes(&words(&incidents[..most])[0].1);
    for (more, messages) in [(room, 1), (room + 1, 2)] {
        incidents[most - 1] = of(most - 1, CITY_CHARS + more);
        assert_eq!(words(&incidents[..most]).len(), messages, "{more} of {room} bytes more");
    }
}
