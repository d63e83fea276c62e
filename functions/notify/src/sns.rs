//! SNS as a service of [`shared::delivery`].

use aws_sdk_sns::{
    Client,
    types::{
        BatchResultErrorEntry, MessageAttributeValue, PublishBatchRequestEntry, PublishBatchResultEntry,
    },
};
use shared::{
    aws::{EntryResult, Request},
    delivery::{Answer, Failure, Fault, Limits, Service},
};

use crate::word::{Alert, Attribute, hash};

/// Limits of `PublishBatch`: messages, their subjects and attributes count together.
///
/// Source: SNS API reference, `PublishBatch`.
const PUBLISH_BATCH: Limits = Limits { entries: 10, request_bytes: 256 * 1024, entry_bytes: 256 * 1024 };

/// Characters of a message's group and deduplication id on a FIFO topic.
///
/// Source: SNS API reference, `PublishBatchRequestEntry`.
const FIFO_ID_CHARS: usize = 128;

/// A topic to publish to. A FIFO topic, which its name tells, keeps the order of a group of messages and drops what comes
/// again within five minutes.
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
            .set_message_group_id(self.is_fifo.then(|| fifo_id(&alert.group)))
            .set_message_deduplication_id(self.is_fifo.then(|| fifo_id(&alert.id)))
            .build()
            .map_err(not_built)
    }
}

/// A text as SNS takes it as an id: as it is, where it is short enough and of letters, digits and punctuation alone.
fn fifo_id(text: &str) -> String {
    if (1..=FIFO_ID_CHARS).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic()) {
        return text.to_owned();
    }
    hash([text])
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
        let attributes: usize = alert
            .attributes
            .iter()
            .map(|attribute| {
                let (kind, value) = attribute.typed();
                attribute.name.len() + kind.len() + value.len()
            })
            .sum();
        alert.subject.len() + alert.message.len() + attributes
    }

    async fn send(&self, alerts: &[&Alert]) -> Answer {
        let entries = alerts
            .iter()
            .enumerate()
            .map(|(index, alert)| self.entry(index, alert))
            .collect::<Result<Vec<_>, _>>()?;
        let request = Request { action: "sns:Publish", resource: &self.resource };
        let call =
            self.client.publish_batch().topic_arn(&self.arn).set_publish_batch_request_entries(Some(entries));
        match call.send().await {
            Ok(answer) => Ok(request.refusals(results(alerts.len(), answer.successful(), answer.failed()))),
            Err(error) => Err(request.failure(&error)),
        }
    }
}

/// The results of a request of so many messages, in their order. Each result has the id of its message, which is the
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
    use super::*;

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

    #[test]
    fn ids_are_made_fit_for_a_fifo_topic() {
        assert_eq!(fifo_id("A-1"), "A-1");
        for text in ["4/Doña Ana", "a b", "", &"x".repeat(129)] {
            let id = fifo_id(text);
            assert!(id.len() == 32 && id.chars().all(|c| c.is_ascii_hexdigit()), "{id}");
            assert_eq!(id, fifo_id(text));
        }
        assert_ne!(fifo_id("a b"), fifo_id("a c"));
    }
}
