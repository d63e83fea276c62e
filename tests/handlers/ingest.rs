//! The handler of ingest.

use bytes::Bytes;
use fakes::{Reply, Scripted, fixture, gzip, post};
use ingest::error::IngestError;
use serde_json::{Value, json};
use shared::{
    delivery::{Fault, Limits},
    stream::{StreamRecord, kpl, pack::Packing},
};
use tests::scripted::{Ingest, body, handle, ingest};

use super::{LIMITS, lines, log_lines, logged, reasons, support_tickets};

pub(super) fn ids(ingest: &Ingest) -> Vec<String> {
    let taken: Vec<Bytes> = ingest.stream.taken.borrow().iter().map(|record| record.data.clone()).collect();
    lines(&taken).iter().map(|event| event["ID"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn unreadable_input_is_in_every_answer_and_in_the_log() {
    let ingest = ingest();
    // The ids of the events are logged in another line.
    let logged_metrics = || {
        let lines = log_lines().into_iter().filter(|line| line.get("_aws").is_some());
        lines.collect::<Vec<_>>()
    };
    let header = "ID,Severity,City,County,Street,Description,Start_Lat,Start_Lng,Start_Time,Start_Tme";
    let csv = format!("{header}\nA-1,3,x,y,s,d,1,1,13/08/2016 1:00,z\nA-2,3,x,y,s,d,1,1,2/08/2016 1:00,z\n");
    let direct = json!({"format": "csv", "body": csv});
    let post = json!({"requestContext": {"http": {"method": "POST"}}, "headers": {"content-type": "text/csv"}, "body": csv});
    for request in [&direct, &post] {
        let answer = ingest.handle(&request.to_string(), &logged()).await.unwrap();
        let answer = serde_json::to_value(answer).unwrap();
        let answer = if request == &post { body(&answer) } else { answer };
        let reasons = json!({"only_dmy": {"cells": 1, "form": "99/99/9999 9:99"}});
        let expected = json!({"Start_Time": {"cells": 2, "unreadable": 1, "reasons": reasons}});
        assert_eq!(answer["unreadable"], expected);
        assert_eq!(answer["unknown_columns"], json!(["Start_Tme"]));
        let warnings = answer["warnings"].as_array().unwrap();
        assert!(
            warnings.len() == 1 && warnings[0].as_str().unwrap().contains("`date_order=dmy`"),
            "{warnings:?}"
        );
        let lines = logged_metrics();
        assert_eq!((lines.len(), &lines[0]["Delivered"]), (3, &json!(2)), "the counts come first");
        assert_eq!((&lines[1]["UnreadableCells"], &lines[1]["UnreadableRows"]), (&json!(1), &json!(1)));
        assert_eq!((&lines[1]["Columns"], &lines[1]["Warnings"]), (&expected, &answer["warnings"]));
        assert_eq!((&lines[2]["Column"], &lines[2]["UnreadableCells"]), (&json!("Start_Time"), &json!(1)));
    }
    let declared = json!({"format": "csv", "body": csv, "date_order": "dmy"});
    let answer = ingest.handle(&declared.to_string(), &logged()).await.unwrap();
    assert_eq!(serde_json::to_value(answer).unwrap().get("unreadable"), None);
    assert_eq!(logged_metrics().len(), 1, "nothing is logged about what can be read");
}

#[tokio::test(start_paused = true)]
async fn direct_csv_becomes_typed_events_with_the_data_sets_key() {
    let ingest = ingest();
    let mut answer = handle(&ingest, &fixture("ingest-direct-csv")).await.unwrap();
    let missing = answer.as_object_mut().unwrap().remove("missing_columns").unwrap();
    let missing: Vec<String> = serde_json::from_value(missing).unwrap();
    assert!(missing.contains(&"Weather_Timestamp".to_owned()) && !missing.contains(&"ID".to_owned()));
    assert_eq!(
        answer,
        json!({"accepted": 3, "rejected": 0, "failed": 0, "rejects": [], "failed_indexes": []})
    );
    let taken = ingest.stream.take();
    assert_eq!(taken[0].partition_key(), "P-1");
    let golden = r#"{"ID":"P-1","Severity":4,"Start_Time":"2023-01-05T07:41:00","End_Time":"2023-01-05T09:12:30","Start_Lat":32.3121,"Start_Lng":-106.7783,"Distance(mi)":0.42,"Description":"Overturned truck on I-10 at Exit 140, all lanes closed","Street":"I-10 E","City":"Las Cruces","County":"Doña Ana","State":"NM","Zipcode":"88005","Timezone":"US/Mountain","Temperature(F)":41.0,"Weather_Condition":"Fair","Junction":true,"Txn_Timestamp":"2023-11-14T22:13:20.000000Z"}"#;
    assert_eq!(std::str::from_utf8(&taken[0].data).unwrap(), format!("{golden}\n"));
}

#[tokio::test(start_paused = true)]
async fn gzip_body_is_read_like_its_text() {
    let csv = format!("ID,Severity,City\nA-1,3,x\nA-2,high,x\n{}", "A-3,4,y\n".repeat(40_000));
    let [text, zipped] = [(csv.as_bytes().to_vec(), ""), (gzip(csv.as_bytes()), "gzip")]
        .map(|(body, encoding)| post(&body, "text/csv", encoding));
    let ingest = ingest();
    let mut taken = Vec::new();
    for request in [text, zipped] {
        let answer = handle(&ingest, &request).await.unwrap();
        let counts = ["accepted", "rejected"].map(|name| body(&answer)[name].as_u64());
        assert_eq!(counts, [Some(40_001), Some(1)]);
        assert_eq!(reasons(&ingest.rejects), ["bad_severity"]);
        ingest.rejects.take();
        taken.push(ingest.stream.take());
    }
    assert!(taken[0] == taken[1]);
}

#[tokio::test(start_paused = true)]
async fn direct_records_are_accepted_unchanged() {
    let ingest = ingest();
    let answer = handle(&ingest, &fixture("ingest-direct-records")).await.unwrap();
    assert_eq!((&answer["accepted"], ids(&ingest)), (&json!(2), vec!["P-4".to_owned(), "P-5".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn rejects_are_listed_by_line_and_kept_ready_to_resend() {
    let ingest = ingest();
    let answer = handle(&ingest, &fixture("ingest-direct-rejects")).await.unwrap();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(3)));
    let listed: Vec<_> = answer["rejects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["index"].as_u64(), r["line"].as_u64(), r["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(
        listed,
        [
            (Some(1), Some(3), "bad_severity"),
            (Some(2), Some(4), "missing_id"),
            (Some(3), Some(5), "cell_count")
        ]
    );
    let rejects = lines(&ingest.rejects.take());
    assert_eq!(rejects[0]["payload"], "P-7,high,13/01/2023 8:06,Macon");
    assert_eq!(rejects[0]["header"], "ID,Severity,Start_Time,City");
    assert_eq!((&rejects[0]["format"], &rejects[0]["date_order"]), (&json!("csv"), &json!("dmy")));
    assert_eq!(rejects[0]["source"], "request-1:3");
}

#[tokio::test(start_paused = true)]
async fn http_is_answered_by_status() {
    let cases = [
        ("ingest-http-csv", 202, vec!["P-11", "P-12", "P-13"]),
        ("ingest-http-json", 202, vec!["P-21"]),
        ("ingest-http-ndjson-gzip", 202, vec!["P-22", "P-23"]),
        ("ingest-http1", 202, vec!["P-33", "P-34"]),
        ("ingest-rest", 202, vec!["P-31", "P-32"]),
        ("ingest-alb", 202, vec!["P-35", "P-36"]),
        ("ingest-alb-unusable", 400, vec![]),
        ("ingest-http-unusable", 400, vec![]),
        ("ingest-http-unknown-type", 415, vec![]),
    ];
    for (name, status, expected) in cases {
        let ingest = ingest();
        let answer = handle(&ingest, &fixture(name)).await.unwrap();
        assert_eq!(
            (answer["statusCode"].as_u64(), ids(&ingest)),
            (Some(status), expected.iter().map(|id| (*id).to_owned()).collect()),
            "{name}"
        );
        let lists = &answer["multiValueHeaders"]["content-type"];
        match name {
            "ingest-alb-unusable" => {
                assert_eq!((lists, &answer["headers"]), (&json!(["application/json"]), &Value::Null))
            }
            _ => assert_eq!(answer["headers"]["content-type"], "application/json", "{name}"),
        }
        assert_eq!(answer["statusDescription"].is_string(), name.starts_with("ingest-alb"), "{name}");
        assert_eq!(body(&answer)["error"].is_string(), status >= 400, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn http_names_the_rows_to_send_again_after_a_partial_failure() {
    let ingest = ingest();
    ingest.stream.reply([Reply::Refused(vec![1], Fault::Throttled)]);
    let fault = |()| ingest.stream.always.set(Some(Fault::Throttled));
    // The first request is accepted in part. Then the stream accepts nothing until the deadline.
    let handled = async {
        let event = fixture("ingest-http-csv");
        handle(&ingest, &event).await.unwrap()
    };
    let throttle = async {
        tokio::task::yield_now().await;
        fault(());
    };
    let (answer, ()) = tokio::join!(handled, throttle);
    assert_eq!((&answer["statusCode"], &answer["headers"]["retry-after"]), (&json!(503), &json!("5")));
    let body = body(&answer);
    assert_eq!(
        (&body["accepted"], &body["failed"], &body["failed_indexes"]),
        (&json!(2), &json!(1), &json!([[1, 1]]))
    );
}

#[tokio::test(start_paused = true)]
async fn queue_messages_are_delivered_together_and_retried_one_by_one() {
    let ingest = ingest();
    let answer = handle(&ingest, &fixture("ingest-sqs")).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    assert_eq!(ids(&ingest), ["P-31", "P-32", "P-33"]);
    assert_eq!(ingest.stream.requests.get(), 1);

    ingest.stream.always.set(Some(Fault::Permanent));
    let answer = handle(&ingest, &fixture("ingest-sqs")).await.unwrap();
    let failures: Vec<_> = answer["batchItemFailures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|failure| failure["itemIdentifier"].as_str().unwrap())
        .collect();
    assert_eq!(failures, ["059f36b4-87a3-44ab-83d2-661975830a7d", "2e1424d4-f796-459a-8184-9c92662be6da"]);
}

#[tokio::test(start_paused = true)]
async fn unreadable_message_goes_to_rejects_and_is_not_retried() {
    let ingest = ingest();
    let message = json!({"messageId": "m-1", "body": "no request", "eventSource": "aws:sqs", "messageAttributes": {}, "attributes": {}});
    let answer = handle(&ingest, &json!({"Records": [message]}).to_string()).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let rejects = lines(&ingest.rejects.take());
    assert_eq!(
        (&rejects[0]["reason"], &rejects[0]["source"], &rejects[0]["payload"]),
        (&json!("bad_message"), &json!("m-1"), &json!("no request"))
    );
}

#[tokio::test(start_paused = true)]
async fn asynchronous_callers_get_an_error_and_others_the_indexes() {
    let ingest = ingest();
    ingest.stream.always.set(Some(Fault::Permanent));
    let request = |asynchronous: bool| {
        json!({"records": [{"ID": "1", "Severity": 3}], "asynchronous": asynchronous}).to_string()
    };
    assert!(matches!(handle(&ingest, &request(true)).await, Err(IngestError::Undelivered { failed: 1, .. })));
    assert_eq!(handle(&ingest, &request(false)).await.unwrap()["failed_indexes"], json!([[0, 0]]));
}

#[tokio::test(start_paused = true)]
async fn event_too_large_for_the_stream_is_a_reject() {
    let mut ingest = ingest();
    ingest.stream =
        Scripted::new(Limits { entry_bytes: 200, ..LIMITS }, |record: &StreamRecord| record.data.len());
    let request = json!({"records": [{"ID": "1", "Severity": 3, "Description": "x".repeat(200)}, {"ID": "2", "Severity": 3}]}).to_string();
    let answer = handle(&ingest, &request).await.unwrap();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(reasons(&ingest.rejects), ["too_large"]);
}

#[tokio::test(start_paused = true)]
async fn many_rows_use_the_fewest_requests() {
    let ingest = ingest();
    let rows: String = vec!["A-1,2\n"; 4_321].concat();
    let request = json!({"format": "csv", "body": format!("ID,Severity\n{rows}")}).to_string();
    assert_eq!(handle(&ingest, &request).await.unwrap()["accepted"], json!(4_321));
    assert_eq!(ingest.stream.requests.get(), 9);
}

#[tokio::test(start_paused = true)]
async fn cells_of_another_data_set_have_the_types_of_its_file() {
    let mut ingest = ingest();
    ingest.config.common.dataset = support_tickets();
    handle(&ingest, &fixture("support_tickets/ingest-direct-csv")).await.unwrap();
    let taken: Vec<_> = ingest.stream.taken.borrow().iter().map(|record| record.data.clone()).collect();
    let events = lines(&taken);
    assert_eq!(events.len(), 3);
    assert_eq!(events[0]["Priority"], 4);
    assert_eq!(events[0]["Opened_At"], "2026-01-13T09:41:00", "days come first in this data set");
    assert_eq!(events[0]["Sentiment(-1..1)"].to_string(), "-0.82");
    assert_eq!(events[2]["By_Bot"], false);
}

#[tokio::test(start_paused = true)]
async fn packed_events_are_unchanged_and_a_refused_pack_names_its_rows() {
    let mut ingest = ingest();
    ingest.config.packing = Packing::into_ranges(2);
    let rows = (0..100).map(|id| format!("A-{id},2\n")).collect::<Vec<_>>().concat();
    let request = json!({"format": "csv", "body": format!("ID,Severity\n{rows}")}).to_string();
    assert_eq!(handle(&ingest, &request).await.unwrap()["accepted"], json!(100));
    let taken = ingest.stream.take();
    assert_eq!(taken.len(), 2);
    let held: Vec<Bytes> =
        taken.iter().flat_map(|record| kpl::deaggregate(record.data.clone()).unwrap()).collect();
    let mut ids: Vec<_> = lines(&held).iter().map(|event| event["ID"].as_str().unwrap().to_owned()).collect();
    ids.sort_by_key(|id| id[2..].parse::<u32>().unwrap());
    assert_eq!(ids, (0..100).map(|id| format!("A-{id}")).collect::<Vec<_>>());

    ingest.stream.always.set(Some(Fault::Permanent));
    let answer = handle(&ingest, &request).await.unwrap();
    assert_eq!((&answer["failed"], &answer["failed_indexes"]), (&json!(100), &json!([[0, 99]])));
}

#[tokio::test(start_paused = true)]
async fn events_of_a_key_are_not_sent_after_a_failed_one() {
    for ranges in [0, 4] {
        let mut ingest = ingest();
        ingest.config.packing = Packing::into_ranges(ranges);
        // The first delivery, which begins with `K`, fails. All later ones succeed.
        let requests = if ranges == 0 { 4 } else { 1 };
        ingest.stream.reply((0..requests).map(|_| Reply::Failed(Fault::Permanent)));
        let id = |row: usize| if [0, 2_400].contains(&row) { "K".to_owned() } else { format!("A-{row}") };
        let rows = (0..2_500).map(|row| format!("{},2\n", id(row))).collect::<Vec<_>>().concat();
        let request = json!({"format": "csv", "body": format!("ID,Severity\n{rows}")}).to_string();
        let answer = handle(&ingest, &request).await.unwrap();
        assert_eq!(
            (&answer["accepted"], &answer["failed"], &answer["failed_indexes"]),
            (&json!(499), &json!(2_001), &json!([[0, 1_999], [2_400, 2_400]])),
            "packed into {ranges} ranges"
        );
        let taken = ingest.stream.take();
        assert!(!taken.iter().any(|record| String::from_utf8_lossy(&record.data).contains("\"K\"")));
    }
}

#[tokio::test(start_paused = true)]
async fn permanently_refused_event_is_a_reject_and_others_continue() {
    let ingest = ingest();
    ingest.stream.reply([Reply::Refused(vec![1], Fault::Permanent)]);
    let request = json!({"format": "csv", "body": "ID,Severity\nA-1,2\nA-2,3\nA-3,2\n"}).to_string();
    let answer = handle(&ingest, &request).await.unwrap();
    let counts = ["accepted", "rejected", "failed"].map(|name| answer[name].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 0]);
    assert_eq!(answer["rejects"][0]["index"], 1);
    let line = &lines(&ingest.rejects.take())[0];
    assert_eq!((&line["reason"], &line["format"]), (&json!("unacceptable"), &json!("ndjson")));
    let again: Value = serde_json::from_str(line["payload"].as_str().unwrap()).unwrap();
    assert_eq!((&again["ID"], &again["Severity"]), (&json!("A-2"), &json!(3)));
}

#[tokio::test(start_paused = true)]
async fn key_is_counted_as_it_is_sent() {
    let ingest = ingest();
    let id = "i".repeat(540_000);
    let answer = handle(&ingest, &json!({"records": [{"ID": id, "Severity": 3}]}).to_string()).await.unwrap();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(0)));
    assert_eq!(ingest.stream.take()[0].partition_key().len(), 256);
}

#[tokio::test(start_paused = true)]
async fn message_with_a_long_detail_is_a_reject() {
    let ingest = ingest();
    let mut event: Value = serde_json::from_str(&fixture("ingest-sqs")).unwrap();
    event["Records"][0]["body"] = json!(json!({"format": "\u{1}".repeat(200_000), "body": ""}).to_string());
    let answer = handle(&ingest, &event.to_string()).await.unwrap();
    assert_eq!(answer, json!({"batchItemFailures": []}));
    let rejects = ingest.rejects.take();
    assert!(rejects.iter().all(|line| line.len() <= 1_000 * 1024));
    assert!(lines(&rejects)[0]["detail"].as_str().unwrap().chars().count() <= 200);
}
