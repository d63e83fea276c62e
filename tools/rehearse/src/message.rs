//! The messages that notify would have sent. A rehearsal counts far more messages than it shows, so only those shown
//! are worded.

use std::rc::Rc;

use chrono::{DateTime, Utc};
use notify::{
    incident::Incident,
    raise::Reported,
    word::{Alert, Kind, attributes_of, word},
};
use serde::Serialize;
use serde_json::Value;
use shared::data::dataset::Dataset;

use crate::{policy::PublishedAttribute, tables::instant};

#[derive(Debug)]
pub(crate) enum Message {
    /// About one event. It is never split, so that it can be counted before it is worded.
    One {
        incident: Rc<Incident>,
        /// The severity of the earlier alert about its id, if this one is higher.
        raised_from: Option<i64>,
    },
    /// A digest, as it is sent.
    Digest(Alert),
}

/// A message at the time at which it is sent.
#[derive(Debug, Clone)]
pub(crate) struct TimedMessage {
    /// The time, in microseconds since 1970.
    pub(crate) at: i64,
    pub(crate) message: Rc<Message>,
}

/// A message as its readers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RenderedMessage {
    pub(crate) at: DateTime<Utc>,
    events: usize,
    subject: String,
    /// The text of a mail.
    text: String,
    /// The text on a phone.
    pub(crate) sms: String,
}

impl Message {
    pub(crate) fn event_count(&self) -> usize {
        match self {
            Self::One { .. } => 1,
            Self::Digest(alert) => alert.count,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::One { .. } => Kind::One,
            Self::Digest(alert) => alert.kind,
        }
    }

    pub(crate) fn attributes(&self, dataset: &Dataset) -> Vec<PublishedAttribute> {
        match self {
            Self::One { incident, .. } => {
                attributes_of(dataset, incident).iter().map(PublishedAttribute::from).collect()
            }
            Self::Digest(alert) => alert.attributes.iter().map(PublishedAttribute::from).collect(),
        }
    }
}

impl TimedMessage {
    pub(crate) fn render(&self, dataset: &Dataset) -> RenderedMessage {
        let worded;
        let alert = match self.message.as_ref() {
            Message::Digest(alert) => Some(alert),
            Message::One { incident, raised_from } => {
                worded = word(dataset, &[Reported { incident, raised_from: *raised_from }]);
                worded.first().map(|(_, alert)| alert)
            }
        };
        let (subject, message) = alert.map(|alert| (alert.subject.clone(), alert.message.as_str())).unzip();
        let texts: Value = serde_json::from_str(message.unwrap_or_default()).unwrap_or_default();
        let text = |name| texts[name].as_str().unwrap_or_default().to_owned();
        RenderedMessage {
            at: instant(self.at),
            events: self.message.event_count(),
            subject: subject.unwrap_or_default(),
            text: text("email"),
            sms: text("sms"),
        }
    }
}
