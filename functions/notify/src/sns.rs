//! SNS as a service of [`shared::delivery`].

use aws_sdk_sns::{
    Client,
    types::{
        BatchResultErrorEntry, MessageAttributeValue, PublishBatchRequestEntry, PublishBatchResultEntry,
    },
};
use shared::{
    aws::{EntryResult, Operation},
    delivery::{Answer, Failure, Fault, Limits, Service},
};
use tokio::time::Instant;

use crate::{
    incident::short,
    word::{ALERT_BYTES, Accepted, Alert, Attribute},
};

/// Limits of `PublishBatch`: messages, their subjects and attributes count together.
///
/// Source: SNS API reference, `PublishBatch`.
const PUBLISH_BATCH: Limits = Limits { entries: 10, request_bytes: ALERT_BYTES, entry_bytes: ALERT_BYTES };

/// A topic to publish to. The name of a FIFO topic ends in `.fifo`. Such a topic keeps the order of the messages of a
/// group and drops duplicates within five minutes.
#[derive(Debug, Clone)]
pub struct Topic {
    client: Client,
    arn: String,
    resource: String,
    is_fifo: bool,
}

impl Topic {
    /// The topic of that ARN.
    #[must_use]
    pub fn new(client: Client, arn: &str) -> Self {
        let name = arn.rsplit(':').next().unwrap_or(arn);
        Self {
            client,
            arn: arn.to_owned(),
            resource: format!("topic {name}"),
            is_fifo: name.rsplit_once('.').is_some_and(|(_, ending)| ending == "fifo"),
        }
    }

    fn entry(&self, index: usize, alert: &Alert) -> Result<PublishBatchRequestEntry, Failure> {
        let attributes = alert.attributes.iter().map(attribute).collect::<Result<_, _>>()?;
        PublishBatchRequestEntry::builder()
            .id(index.to_string())
            .subject(&alert.subject)
            .message(&alert.message)
            .message_structure("json")
            .set_message_attributes(Some(attributes))
            .set_message_group_id(self.is_fifo.then(|| short(&alert.group)))
            .set_message_deduplication_id(self.is_fifo.then(|| short(&alert.id)))
            .build()
            .map_err(not_built)
    }
}

fn attribute(attribute: &Attribute) -> Result<(String, MessageAttributeValue), Failure> {
    let (kind, value) = attribute.typed();
    let value = MessageAttributeValue::builder().data_type(kind).string_value(value).build();
    Ok((attribute.name.clone(), value.map_err(not_built)?))
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn not_built(error: impl ToString) -> Failure {
    Failure { fault: Fault::Permanent, detail: error.to_string() }
}

impl Service for Topic {
    type Entry = Alert;

    fn limits(&self) -> Limits {
        PUBLISH_BATCH
    }

    fn size(&self, alert: &Alert) -> usize {
        alert.bytes()
    }

    async fn send(&self, alerts: &[&Alert]) -> Answer {
        let entries = alerts
            .iter()
            .enumerate()
            .map(|(index, alert)| self.entry(index, alert))
            .collect::<Result<Vec<_>, _>>()?;
        let request = Operation { action: "sns:Publish", resource: &self.resource };
        let call =
            self.client.publish_batch().topic_arn(&self.arn).set_publish_batch_request_entries(Some(entries));
        match call.send().await {
            Ok(answer) => {
                note_accepted(alerts, answer.successful());
                Ok(request.refusals(results(alerts.len(), answer.successful(), answer.failed())))
            }
            Err(error) => Err(request.failure(&error)),
        }
    }
}

/// Notes in each accepted message its id and the time.
fn note_accepted(alerts: &[&Alert], successful: &[PublishBatchResultEntry]) {
    let at = Instant::now();
    for (index, alert) in alerts.iter().enumerate() {
        let id = index.to_string();
        if let Some(entry) = successful.iter().find(|entry| entry.id() == Some(&id)) {
            alert.accepted.get_or_init(|| Accepted { message_id: entry.message_id().map(str::to_owned), at });
        }
    }
}

/// The results of a request of so many messages, in their order. A result has the id of its message, which is the
/// message's position.
fn results<'a>(
    sent: usize,
    successful: &'a [PublishBatchResultEntry],
    failed: &'a [BatchResultErrorEntry],
) -> impl Iterator<Item = EntryResult<'a>> {
    (0..sent).map(|index| {
        let id = index.to_string();
        if let Some(entry) = failed.iter().find(|entry| entry.id() == id) {
            return EntryResult::Refused { code: entry.code(), at_fault: entry.sender_fault() };
        }
        let is_taken = successful.iter().any(|entry| entry.id() == Some(&id));
        if is_taken { EntryResult::Taken } else { EntryResult::Missing }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;

    use super::*;
    use crate::word::Kind;

    #[test]
    fn results_are_found_by_their_ids() {
        let taken = |id: &str| PublishBatchResultEntry::builder().id(id).build();
        let failed = |id: &str, code: &str, sender_fault: bool| {
            BatchResultErrorEntry::builder().id(id).code(code).sender_fault(sender_fault).build().unwrap()
        };
        let successful = [taken("10"), taken("1"), taken("x")];
        let failed = [failed("3", "InvalidParameter", true), failed("0", "Throttled", false)];
        let expected = [
            EntryResult::Refused { code: "Throttled", at_fault: false },
            EntryResult::Taken,
            EntryResult::Missing,
            EntryResult::Refused { code: "InvalidParameter", at_fault: true },
            EntryResult::Missing,
        ];
        assert_eq!(results(5, &successful, &failed).collect::<Vec<_>>(), expected);
        assert_eq!(results(0, &successful, &failed).count(), 0);
    }

    fn topic(name: &str) -> Topic {
        let config =
            aws_sdk_sns::Config::builder().behavior_version(aws_sdk_sns::config::BehaviorVersion::latest());
        Topic::new(Client::from_conf(config.build()), &format!("arn:aws:sns:eu-west-1:000000000000:{name}"))
    }

    fn alert() -> Alert {
        let attribute = |name: &str, values: &[&str], numeric| Attribute {
            name: name.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
            numeric,
        };
        Alert {
            subject: "subject".to_owned(),
            message: r#"{"default":"é"}"#.to_owned(),
            attributes: vec![
                attribute("severity", &["4"], true),
                attribute("levels", &["4", "5"], true),
                attribute("county", &["Franklin"], false),
                attribute("city", &["a \"b\"", "c"], false),
            ],
            count: 1,
            group: "4/Franklin".to_owned(),
            kind: Kind::One,
            accepted: OnceLock::new(),
            id: "A-1".to_owned(),
        }
    }

    #[test]
    fn size_counts_the_subject_and_the_attributes() {
        let attributes = "severityNumber4levelsString.Array[4,5]countyStringFranklincityString.Array";
        let expected =
            "subject".len() + r#"{"default":"é"}"#.len() + attributes.len() + r#"["a \"b\"","c"]"#.len();
        assert_eq!(topic("alerts").size(&alert()), expected);
        let Limits { entries, request_bytes, entry_bytes } = topic("alerts").limits();
        assert_eq!((entries, request_bytes, entry_bytes), (10, 262_144, 262_144));
    }

    #[test]
    fn entry_holds_the_texts_and_the_attributes() {
        let entry = topic("alerts").entry(3, &alert()).unwrap();
        assert_eq!(entry.id(), "3");
        assert_eq!((entry.subject(), entry.message()), (Some("subject"), r#"{"default":"é"}"#));
        assert_eq!(entry.message_structure(), Some("json"));
        let attributes = entry.message_attributes().unwrap();
        let attribute = |name: &str| (attributes[name].data_type(), attributes[name].string_value().unwrap());
        assert_eq!(attribute("severity"), ("Number", "4"));
        assert_eq!(attribute("levels"), ("String.Array", "[4,5]"));
        assert_eq!(attribute("county"), ("String", "Franklin"));
        assert_eq!(attribute("city"), ("String.Array", r#"["a \"b\"","c"]"#));
        assert_eq!(attributes.len(), 4);
        assert_eq!((entry.message_group_id(), entry.message_deduplication_id()), (None, None));
    }

    #[test]
    fn fifo_topic_has_groups_and_deduplication_ids() {
        let entry = topic("alerts.fifo").entry(0, &alert()).unwrap();
        assert_eq!(entry.message_group_id(), Some("4/Franklin"));
        assert_eq!(entry.message_deduplication_id(), Some("A-1"));
        assert_eq!(topic("alerts.fifo.test").entry(0, &alert()).unwrap().message_group_id(), None);
    }
}
