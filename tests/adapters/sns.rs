//! The requests to SNS, and how the adapter handles the responses.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_sns::Client;
use notify::{
    incident::decide,
    raise::Reported,
    sns::Topic,
    word::{Alert, word},
};
use percent_encoding::percent_decode_str;
use shared::{
    data::{dataset::Dataset, decision::Decision},
    delivery::{Order, Outcome, Report, Service as _, deliver},
};

use super::server::{Request, ScriptedResponse, Server, deadline, split_into_requests};

const STANDARD: &str = "arn:aws:sns:eu-west-1:000000000000:alerts";
const FIFO: &str = "arn:aws:sns:eu-west-1:000000000000:alerts.fifo";

/// An answer that accepts the entries `taken` and refuses others: id, code, whether the sender is at fault.
fn results(taken: &[&str], failed: &[(&str, &str, bool)]) -> ScriptedResponse {
    let taken = taken.iter().map(|id| format!("<member><Id>{id}</Id><MessageId>m-{id}</MessageId></member>"));
    let failed = failed.iter().map(|(id, code, at_fault)| {
        format!("<member><Id>{id}</Id><Code>{code}</Code><SenderFault>{at_fault}</SenderFault></member>")
    });
    ScriptedResponse::xml(
        200,
        &format!(
            "<PublishBatchResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishBatchResult>\
             <Successful>{}</Successful><Failed>{}</Failed></PublishBatchResult></PublishBatchResponse>",
            taken.collect::<String>(),
            failed.collect::<String>()
        ),
    )
}

fn error(status: u16, code: &str) -> ScriptedResponse {
    ScriptedResponse::xml(
        status,
        &format!(
            "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>\
             <Code>{code}</Code><Message>scripted</Message></Error></ErrorResponse>"
        ),
    )
}

fn alert(id: &str, county: &str) -> Alert {
    alert_of(id, 4, county)
}

fn alert_of(id: &str, severity: u8, county: &str) -> Alert {
    let dataset = Dataset::named("us_accidents").unwrap();
    let json = format!(r#"{{"ID":"{id}","Severity":{severity},"City":"c","County":"{county}"}}"#);
    let Decision::Output(incident) = decide(&dataset, 3, json.as_bytes()) else { panic!("{json}") };
    let (_, alert) = word(&dataset, &[Reported { incident: &incident, raised_from: None }]).remove(0);
    alert
}

async fn send(server: &Server, arn: &str, alerts: &[Alert]) -> Report {
    let topic = Topic::new(Client::new(&server.config().await), arn);
    deliver(&topic, alerts, Order::Kept, deadline()).await
}

/// The fields of a form.
fn form(request: &Request) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8().unwrap().into_owned();
    let body = std::str::from_utf8(&request.body).unwrap();
    body.split('&')
        .map(|field| field.split_once('=').unwrap())
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// The value of a field of the entry of that number, from 1.
fn entry<'f>(form: &'f BTreeMap<String, String>, number: usize, name: &str) -> Option<&'f str> {
    form.get(&format!("PublishBatchRequestEntries.member.{number}.{name}")).map(String::as_str)
}

/// The positions of the alerts of each request, in their order.
fn sent(server: &Server, alerts: &[Alert]) -> Vec<Vec<usize>> {
    let positions = |request: &Request| {
        let form = form(request);
        let position = |number: usize| {
            let message = entry(&form, number, "Message")?;
            assert_eq!(entry(&form, number, "Id"), Some((number - 1).to_string().as_str()));
            alerts.iter().position(|alert| alert.message == message)
        };
        (1..).map_while(position).collect()
    };
    server.requests().iter().map(positions).collect()
}

const DONE: Outcome = Outcome::Delivered;

#[tokio::test]
async fn message_has_its_texts_subject_and_attributes() {
    let server = Server::new([results(&["0"], &[])]);
    let alert = alert("A-1", "Doña Ana");
    assert_eq!(send(&server, STANDARD, std::slice::from_ref(&alert)).await.outcomes, [DONE]);
    assert_eq!(alert.accepted.get().and_then(|accepted| accepted.message_id.as_deref()), Some("m-0"));
    let form = form(&server.requests()[0]);
    assert_eq!(form["Action"], "PublishBatch");
    assert_eq!(form["TopicArn"], STANDARD);
    assert_eq!(entry(&form, 1, "Subject"), Some(alert.subject.as_str()));
    assert_eq!(entry(&form, 1, "Message"), Some(alert.message.as_str()));
    assert_eq!(entry(&form, 1, "MessageStructure"), Some("json"));
    assert_eq!(entry(&form, 1, "MessageGroupId"), None, "a standard topic has no groups");
    assert_eq!(entry(&form, 1, "MessageDeduplicationId"), None);
    let attributes: BTreeMap<_, _> = (1..)
        .map_while(|number| {
            let field = |name: &str| entry(&form, 1, &format!("MessageAttributes.entry.{number}.{name}"));
            Some((field("Name")?, (field("Value.DataType")?, field("Value.StringValue")?)))
        })
        .collect();
    assert_eq!(attributes["severity"], ("Number", "4"));
    assert_eq!(attributes["county"], ("String", "Doña Ana"));
    // The bytes that SNS counts.
    let of_attributes: usize =
        attributes.iter().map(|(name, (kind, value))| name.len() + kind.len() + value.len()).sum();
    let topic = Topic::new(Client::new(&server.config().await), STANDARD);
    assert_eq!(topic.size(&alert), alert.subject.len() + alert.message.len() + of_attributes);
}

#[tokio::test]
async fn fifo_topic_keeps_the_order_of_an_area_and_drops_repeats() {
    let server = Server::new([results(&["0", "1", "2", "3", "4"], &[])]);
    let [lucas, franklin] = ["Lucas", "Franklin"];
    let raised = alert_of("A-1", 5, lucas);
    let alerts =
        [alert("A-1", lucas), alert("A-2", lucas), raised, alert("A-3", franklin), alert("A-1", lucas)];
    assert_eq!(send(&server, FIFO, &alerts).await.outcomes, vec![DONE; 5]);
    let form = form(&server.requests()[0]);
    let fields = |name: &str| [1, 2, 3, 4, 5].map(|number| entry(&form, number, name).unwrap().to_owned());
    let groups = fields("MessageGroupId");
    assert!(groups[..3].iter().all(|group| *group == groups[0]), "{groups:?}");
    assert_ne!(groups[0], groups[3]);
    let ids = fields("MessageDeduplicationId");
    assert_eq!(
        BTreeSet::from_iter(&ids[..4]).len(),
        4,
        "an id of a higher severity is not a repeat: {ids:?}"
    );
    assert_eq!(ids[0], ids[4]);
}

#[tokio::test]
async fn only_the_ending_makes_a_topic_fifo() {
    for (name, is_fifo) in [("fifo", false), ("alertsfifo", false), ("fifo-alerts", false), ("a.fifo", true)]
    {
        let server = Server::new([results(&["0"], &[])]);
        let arn = format!("arn:aws:sns:eu-west-1:000000000000:{name}");
        assert_eq!(send(&server, &arn, &[alert("A-1", "Lucas")]).await.outcomes, [DONE]);
        let form = form(&server.requests()[0]);
        assert_eq!(entry(&form, 1, "MessageGroupId").is_some(), is_fifo, "{name}");
        assert_eq!(entry(&form, 1, "MessageDeduplicationId").is_some(), is_fifo, "{name}");
    }
}

#[tokio::test]
async fn throttling_is_never_a_reject() {
    for code in ["Throttled", "KMSThrottling", "InternalError", "ConcurrentAccess"] {
        for at_fault in [true, false] {
            let server = Server::new([results(&["1"], &[("0", code, at_fault)]), results(&["0"], &[])]);
            let alerts = [alert("A-1", "c"), alert("A-2", "c")];
            let report = send(&server, STANDARD, &alerts).await;
            assert_eq!(report.outcomes, [DONE, DONE], "{code} {at_fault}");
            assert_eq!(sent(&server, &alerts), [vec![0, 1], vec![0]], "{code} {at_fault}");
        }
    }
}

#[tokio::test]
async fn results_are_found_by_their_ids_in_any_order() {
    let server = Server::new([
        results(&["3", "0"], &[("2", "InvalidParameter", true), ("1", "InternalError", false)]),
        results(&["0"], &[]),
    ]);
    let alerts = ["A-0", "A-1", "A-2", "A-3"].map(|id| alert(id, "c"));
    let report = send(&server, STANDARD, &alerts).await;
    assert_eq!((&report.outcomes[..2], &report.outcomes[3]), (&[DONE, DONE][..], &DONE));
    assert!(matches!(&report.outcomes[2], Outcome::Unacceptable(why) if why.contains("InvalidParameter")));
    assert_eq!(sent(&server, &alerts), [vec![0, 1, 2, 3], vec![1]]);
    let ids = alerts.each_ref().map(|alert| alert.accepted.get()?.message_id.clone());
    // The second was the only one of its request.
    assert_eq!(ids.each_ref().map(Option::as_deref), [Some("m-0"), Some("m-0"), None, Some("m-3")]);
}

#[tokio::test]
async fn message_without_a_result_is_retried() {
    let server = Server::new([results(&["0"], &[("7", "InvalidParameter", true)]), results(&["0"], &[])]);
    let alerts = [alert("A-0", "c"), alert("A-1", "c")];
    assert_eq!(send(&server, STANDARD, &alerts).await.outcomes, [DONE, DONE]);
    assert_eq!(sent(&server, &alerts), [vec![0, 1], vec![1]]);
}

#[tokio::test]
async fn missing_key_or_permission_of_an_entry_fails_at_once() {
    for (answer, sentence) in [
        (results(&[], &[("0", "KMSDisabled", true)]), "the KMS key of topic alerts"),
        (results(&[], &[("0", "KMSAccessDenied", true)]), "the role may not use the KMS key of topic alerts"),
        (
            results(&[], &[("0", "AuthorizationError", true)]),
            "the role may not do sns:Publish on topic alerts",
        ),
        (error(403, "AuthorizationError"), "the role may not do sns:Publish on topic alerts"),
        (error(403, "InvalidSecurity"), "sns:Publish on topic alerts was signed with credentials"),
        (error(404, "NotFound"), "there is no topic alerts"),
    ] {
        let server = Server::new([answer, results(&["0"], &[])]);
        let report = send(&server, STANDARD, &[alert("A-1", "c")]).await;
        assert!(
            matches!(&report.outcomes[0], Outcome::Failed(why) if why.starts_with(sentence)),
            "{report:?}"
        );
        assert_eq!(server.requests().len(), 1, "{sentence}");
    }
}

#[tokio::test]
async fn throttled_request_is_retried_whole() {
    for answer in [
        error(429, "Throttled"),
        error(400, "Throttling"),
        error(500, "InternalError"),
        ScriptedResponse::Close,
    ] {
        let server = Server::new([answer.clone(), results(&["0"], &[])]);
        assert_eq!(send(&server, STANDARD, &[alert("A-1", "c")]).await.outcomes, [DONE], "{answer:?}");
        assert_eq!(server.requests().len(), 2, "{answer:?}");
    }
}

#[tokio::test]
async fn requests_contain_at_most_10_messages() {
    let ids: Vec<String> = (0..10).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let server = Server::new([results(&ids, &[]), results(&ids[..1], &[])]);
    let alerts: Vec<_> = (0..11).map(|n| alert(&format!("A-{n}"), "c")).collect();
    assert_eq!(send(&server, STANDARD, &alerts).await.outcomes, vec![DONE; 11]);
    assert_eq!(sent(&server, &alerts).concat(), (0..11).collect::<Vec<_>>());
}

#[tokio::test]
async fn messages_with_subjects_and_attributes_keep_to_the_bytes() {
    const REQUEST: usize = 256 * 1024;
    let topic = Topic::new(Client::new(&Server::new([]).config().await), STANDARD);
    let of = |bytes: usize| {
        let mut alert = alert("A-1", "c");
        let rest = topic.size(&alert) - alert.message.len();
        alert.message = "x".repeat(bytes - rest);
        assert_eq!(topic.size(&alert), bytes);
        alert
    };
    for (sizes, too_large, requests) in [
        (&[REQUEST][..], vec![], vec![1]),
        (&[REQUEST + 1, 1_000], vec![0], vec![1]),
        (&[REQUEST / 2, REQUEST / 2], vec![], vec![2]),
        (&[REQUEST / 2, REQUEST / 2 + 1], vec![], vec![1, 1]),
    ] {
        let alerts: Vec<_> = sizes.iter().map(|bytes| of(*bytes)).collect();
        assert_eq!(split_into_requests(&topic, &alerts).await, (requests, too_large), "{sizes:?}");
    }
}
