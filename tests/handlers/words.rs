//! A data set whose severities are words, through all four functions.

use bytes::Bytes;
use fakes::{tickets, tickets_in_words};
use serde_json::{Value, json};
use shared::data::dataset::Dataset;
use tests::scripted::{self, Ingest, Transform};

use super::{assert_all_done, kinesis, kinesis_event, lines, metrics, notify, reasons, transform};

fn ingest_of(dataset: Dataset) -> Ingest {
    let mut ingest = scripted::ingest();
    ingest.config.common.dataset = dataset;
    ingest
}

fn metrics_of(dataset: Dataset) -> metrics::Metrics {
    let mut metrics = metrics::metrics();
    metrics.config.series = metrics::series(&dataset);
    metrics.config.common.dataset = dataset;
    metrics
}

fn notify_of(dataset: Dataset) -> notify::Notify {
    let mut notify = notify::notify();
    notify.config.common.dataset = dataset;
    notify
}

fn transform_of(dataset: Dataset) -> Transform {
    let mut transform = scripted::transform();
    transform.config.common.dataset = dataset;
    transform
}

/// The texts of the accepted records.
fn texts(records: impl IntoIterator<Item = Bytes>) -> Vec<String> {
    records.into_iter().map(|data| String::from_utf8(data.to_vec()).unwrap()).collect()
}

/// The outcome of a CSV file: the events of stream 1 and of stream 2, the analytical records, and the partitions.
async fn sent(dataset: &Dataset, csv: &str) -> (Vec<String>, Vec<String>, Vec<Value>, Vec<String>) {
    let ingest = ingest_of(dataset.clone());
    scripted::handle(&ingest, &json!({"format": "csv", "body": csv}).to_string()).await.unwrap();
    let raw = texts(ingest.stream.take().into_iter().map(|record| record.data));
    let transform = transform_of(dataset.clone());
    let event = kinesis_event(&raw);
    assert_all_done(&transform::handle(&transform, &event).await);
    let severe = texts(transform.severe.take().into_iter().map(|record| record.data));
    let analytical = lines(&transform.analytical.take());
    let partitions = transform::registered(&transform);
    (raw, severe, analytical, partitions)
}

const CSV: &str = "Ticket_ID,Priority,Department,Subject\n\
    T-1,low,Billing,a\n\
    T-2, HIGH ,Billing,nan\n\
    T-3,Critical,Claims,NA\n\
    T-4,medium,Claims,b\n";

#[tokio::test(start_paused = true)]
async fn events_keep_the_severity_word_and_the_lake_its_level() {
    let (raw, severe, analytical, partitions) = sent(&tickets_in_words(), CSV).await;
    assert_eq!(raw.len(), 4);
    assert!(
        raw[1].starts_with(r#"{"Ticket_ID":"T-2","Priority":" HIGH ","Department":"Billing","Received_At""#)
    );
    assert!(severe[0].starts_with(r#"{"Ticket_ID":"T-2","Priority":" HIGH ","#) && severe.len() == 2);
    assert!(severe[0].contains(r#","Received_At":"#) && !severe[1].contains("Subject"), "{}", severe[1]);
    let columns = ["ticket_id", "priority", "severity", "unlisted_severity"];
    let found: Vec<_> = analytical.iter().map(|record| columns.map(|name| record[name].clone())).collect();
    assert_eq!(
        found,
        [
            [json!("T-2"), json!(" HIGH "), json!(3), Value::Null],
            [json!("T-3"), json!("Critical"), json!(4), Value::Null]
        ]
    );
    assert!(
        partitions
            .iter()
            .all(|prefix| prefix.starts_with("severity=3/") || prefix.starts_with("severity=4/"))
    );
}

#[tokio::test(start_paused = true)]
async fn metrics_and_alerts_show_the_word_and_filters_use_its_level() {
    let dataset = tickets_in_words();
    let (_, severe, _, _) = sent(&dataset, CSV).await;
    let event = kinesis_event(&severe);
    let metrics = metrics_of(dataset.clone());
    assert_all_done(&metrics::handle(&metrics, &event).await);
    let names: Vec<_> = metrics::counts(&metrics).into_iter().map(|(name, _)| name).collect();
    assert!(
        names.contains(&"High".to_owned()) && names.contains(&"Critical/unknown/Claims".to_owned()),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.contains("other")), "{names:?}");

    let notify = notify_of(dataset);
    assert_all_done(&notify::handle(&notify, &event).await);
    let alerts = notify.topic.take();
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].subject, "Priority Critical ticket for Claims: T-3");
    let typed: Vec<_> = alerts[0].attributes.iter().map(|a| (a.name.as_str(), a.typed())).collect();
    assert_eq!(
        typed[..3],
        [
            ("severity", ("Number", "4".into())),
            ("severity_text", ("String", "Critical".into())),
            ("department", ("String", "Claims".into()))
        ]
    );
    let machine = notify::machine(&alerts[0]);
    assert_eq!((&machine["severity"], &machine["severity_text"]), (&json!(4), &json!("Critical")));
    assert!(alerts[0].message.contains("Priority Critical ticket T-3 for Claims."));
}

#[tokio::test(start_paused = true)]
async fn raised_word_is_named_as_a_word() {
    let mut notify = notify_of(tickets_in_words());
    notify.config.severity_above = 2;
    let of = |word: &str| format!(r#"{{"Ticket_ID":"T-1","Priority":"{word}","Department":"d"}}"#);
    let event = kinesis_event(&["high", "HIGH", "Critical", "High"].map(of));
    assert_all_done(&notify::handle(&notify, &event).await);
    let alerts = notify.topic.take();
    assert_eq!(alerts.len(), 2);
    assert_eq!(
        alerts[1].subject,
        "Severity raised from High to Critical: Priority Critical ticket for d: T-1"
    );
    let machine = notify::machine(&alerts[1]);
    let raised = json!({"id": "T-1", "from": 3, "from_text": "High", "to": 4, "to_text": "Critical"});
    assert_eq!(machine["raised"], json!([raised]));
}

#[tokio::test(start_paused = true)]
async fn digests_over_several_words_name_each() {
    let mut notify = notify_of(tickets_in_words());
    notify.config.severity_above = 2;
    notify.config.pace = notify::config().pace;
    let events: Vec<_> = (0..60)
        .map(|n| {
            let word = ["high", "CRITICAL"][n % 2];
            format!(r#"{{"Ticket_ID":"{n}","Priority":"{word}","Department":"{}"}}"#, n / 2)
        })
        .collect();
    let event = kinesis_event(&events);
    assert_all_done(&notify::handle(&notify, &event).await);
    let alerts = notify.topic.take();
    let storm = alerts.last().unwrap();
    assert!(storm.subject.contains("tickets of priority High, Critical wait"), "{}", storm.subject);
    assert!(storm.message.contains("By priority:    Critical: "), "{}", storm.message);
    assert_eq!(storm.attributes[0].typed(), ("String.Array", "[3,4]".into()));
    assert_eq!(storm.attributes[1].typed(), ("String.Array", r#"["High","Critical"]"#.into()));
    let machine = notify::machine(storm);
    assert_eq!(
        (&machine["severity"], &machine["severity_text"]),
        (&json!([3, 4]), &json!(["High", "Critical"]))
    );
    let each = &machine["counts"][0];
    assert_eq!(each["severity_text"], json!(if each["severity"] == 3 { "High" } else { "Critical" }));
}

#[tokio::test(start_paused = true)]
async fn unlisted_word_is_rejected_everywhere_without_its_text() {
    let dataset = tickets_in_words();
    let detail = "`Priority`: expected one of `Low`, `Medium`, `High`, `Critical`";
    let ingest = ingest_of(dataset.clone());
    let csv = "Ticket_ID,Priority\nT-1,secret\nT-2,3\nT-3,NA\n";
    let answer = scripted::handle(&ingest, &json!({"format": "csv", "body": csv}).to_string()).await.unwrap();
    let found: Vec<_> =
        answer["rejects"].as_array().unwrap().iter().map(|r| (&r["reason"], &r["detail"])).collect();
    let blank = "`Priority` has no value: expected one of `Low`, `Medium`, `High`, `Critical`";
    assert_eq!(
        found,
        [
            (&json!("bad_severity"), &json!(detail)),
            (&json!("bad_severity"), &json!(detail)),
            (&json!("missing_severity"), &json!(blank))
        ]
    );
    let event = kinesis(&[
        r#"{"Ticket_ID":"T-1","Priority":"secret"}"#,
        r#"{"Ticket_ID":"T-2","Priority":NaN}"#,
        r#"{"Ticket_ID":"T-3","Priority":"NA"}"#,
    ]);
    let (transform, metrics, notify) =
        (transform_of(dataset.clone()), metrics_of(dataset.clone()), notify_of(dataset));
    assert_all_done(&transform::handle(&transform, &event).await);
    assert_all_done(&metrics::handle(&metrics, &event).await);
    assert_all_done(&notify::handle(&notify, &event).await);
    for rejects in [&transform.rejects, &metrics.rejects, &notify.rejects] {
        let details: Vec<_> =
            lines(&rejects.taken.borrow()).iter().map(|line| line["detail"].clone()).collect();
        assert_eq!((reasons(rejects), details), (vec!["bad_severity".to_owned(); 3], vec![json!(detail); 3]));
    }
}

#[tokio::test(start_paused = true)]
async fn descending_severities_get_their_positions_as_levels() {
    let dataset = tickets("[4, 3, 2, 1]", "int");
    let csv = "Ticket_ID,Priority,Department\nT-1,1,a\nT-2,2,a\nT-3,3,a\nT-4,4,a\nT-0,0,a\n";
    let (raw, severe, analytical, _) = sent(&dataset, csv).await;
    assert_eq!((raw.len(), severe.len()), (5, 3));
    let columns = ["priority", "severity", "unlisted_severity"];
    let found: Vec<_> = analytical.iter().map(|record| columns.map(|name| record[name].clone())).collect();
    assert_eq!(
        found,
        [
            [json!(1), json!(4), Value::Null],
            [json!(2), json!(3), Value::Null],
            [json!(0), json!(5), json!(5)]
        ]
    );
    let notify = notify_of(dataset);
    let event = kinesis_event(&severe);
    assert_all_done(&notify::handle(&notify, &event).await);
    let subjects: Vec<_> = notify.topic.take().into_iter().map(|alert| alert.subject).collect();
    assert_eq!(subjects, ["Priority 1 ticket for a: T-1", "Priority 0 ticket for a: T-0"]);
    let raised = kinesis(&[r#"{"Ticket_ID":"T-1","Priority":2}"#, r#"{"Ticket_ID":"T-1","Priority":0}"#]);
    assert_all_done(&notify::handle(&notify, &raised).await);
    let subjects: Vec<_> = notify.topic.take().into_iter().map(|alert| alert.subject).collect();
    assert_eq!(subjects, ["Severity raised from 1 to 0: Priority 0 ticket for unknown: T-1"]);
}

#[tokio::test(start_paused = true)]
async fn event_sent_again_is_unchanged() {
    let dataset = tickets(r#"{ "3 - Moderate" = 3, "1 - Critical" = 5 }"#, "string");
    let csv = "Ticket_ID,Priority,Contacts,Subject,Wait(s)\n\
        T-1, 1 - CRITICAL,NA,x,-1.0\nT-2,3 - Moderate,nan,NaN,5\n";
    let (raw, _, _, _) = sent(&dataset, csv).await;
    assert!(
        raw[0].starts_with(r#"{"Ticket_ID":"T-1","Priority":" 1 - CRITICAL","Subject":"x","Received_At""#),
        "{}",
        raw[0]
    );
    assert!(raw[1].contains(r#""Subject":"NaN","Wait(s)":5"#), "{}", raw[1]);
    let ingest = ingest_of(dataset);
    let again = json!({"format": "ndjson", "body": raw.concat()}).to_string();
    scripted::handle(&ingest, &again).await.unwrap();
    assert_eq!(texts(ingest.stream.take().into_iter().map(|record| record.data)), raw);
}

#[tokio::test(start_paused = true)]
async fn infinite_numbers_lose_only_their_cell() {
    let line = r#"{"ID":"A-1","Severity":4,"City":NaN,"County":"Lucas","Temperature(F)":-Infinity,"own":Infinity,"more":{"a":[NaN]}}"#;
    let ingest = scripted::ingest();
    for request in
        [json!({"format": "ndjson", "body": line}), json!({"format": "json", "body": format!("[{line}]")})]
    {
        scripted::handle(&ingest, &request.to_string()).await.unwrap();
    }
    let queue = json!({"Records": [{"messageId": "m", "eventSource": "aws:sqs", "body": format!("{{\"records\":[{line}]}}")}]});
    scripted::handle(&ingest, &queue.to_string()).await.unwrap();
    let taken = texts(ingest.stream.take().into_iter().map(|record| record.data));
    assert_eq!(taken.len(), 3, "{taken:?}");
    for event in taken {
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(event["_invalid"], json!({"City": "NaN", "Temperature(F)": "-Infinity"}));
        assert_eq!((&event["own"], &event["more"]), (&json!("Infinity"), &json!(r#"{"a":[NaN]}"#)));
    }
    let (transform, metrics, notify) = (scripted::transform(), metrics::metrics(), notify::notify());
    let event = kinesis(&[line]);
    assert_all_done(&transform::handle(&transform, &event).await);
    assert_all_done(&metrics::handle(&metrics, &event).await);
    assert_all_done(&notify::handle(&notify, &event).await);
    let analytical = lines(&transform.analytical.take());
    assert_eq!(analytical, [json!({"id": "A-1", "severity": 4, "county": "Lucas"})]);
    let severe = texts(transform.severe.take().into_iter().map(|record| record.data));
    assert!(severe[0].contains(r#""City":null,"County":"Lucas""#), "{}", severe[0]);
    assert!(metrics::counts(&metrics).contains(&("4/unknown/Lucas".to_owned(), 1)));
    assert_eq!(notify.topic.take()[0].subject, "Severity 4 accident: unknown, Lucas");
}
