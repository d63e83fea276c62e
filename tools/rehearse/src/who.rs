//! Who would be alerted about an event, by which message, and why the others would not.

use std::iter;

use ingest::rows::Rows;
use notify::{
    incident::{Incident, decide},
    plan::Memory,
    word::Alert,
};
use replay::input::{Input, Text};
use serde::Serialize;
use serde_json::Value;
use shared::data::{dataset::Dataset, decision::Decision};

use crate::{
    decider::Decider,
    error::Error,
    outcome::PieceOutcome,
    policy::PublishedAttribute,
    settings::{Configured, Department, Reading, RehearsalRequest},
    tables::instant,
    times::NO_TIME,
};

/// Events about which there are answers.
const EVENTS: usize = 100;

#[derive(Debug, Serialize)]
pub(crate) struct Answers {
    /// The answers about the first events.
    answers: Vec<AlertExplanation>,
    /// Whether there are more events.
    more: bool,
}

#[derive(Debug, Default, Serialize)]
pub(crate) struct AlertExplanation {
    /// Its id, or its place in its file.
    name: String,
    /// Why ingest rejects it, if so.
    rejected: Option<String>,
    severity: Option<String>,
    /// Why nobody is alerted, if so.
    nobody: Option<String>,
    subject: Option<String>,
    /// The attributes that filters compare, with their values.
    attributes: Vec<(String, String)>,
    /// Each subscriber, a subscriber to all alerts first.
    subscribers: Vec<Subscriber>,
}

/// Whether a subscriber receives the message.
#[derive(Debug, Serialize)]
pub(crate) struct Subscriber {
    /// Its name; empty for one to all alerts.
    name: String,
    protocol: String,
    /// The message, word for word.
    message: Option<String>,
    /// Why it does not receive the message.
    why_not: Option<String>,
}

/// Answers for each of the first events of the request's files, each as if it were the only one.
pub(crate) fn who(dataset: &Dataset, request: &RehearsalRequest) -> Result<Answers, Error> {
    let reading = Reading::new(dataset, request)?;
    let [settings] = request.settings.as_slice() else {
        return Err(Error::Request("expected one setting to ask who is alerted".to_owned()));
    };
    let asked = Asked { dataset, setting: settings.configured()? };
    // Every event is selected here, so that its severity is known.
    let mut decider = Decider::new(reading, i64::MIN);
    let mut answers: Vec<AlertExplanation> = Vec::new();
    for path in &request.files {
        let (mut input, _) = Input::open(path, reading.format, false)?;
        let mut rows = Rows::new(dataset, input.format).with_charset(reading.charset);
        let (before, mut is_end) = (answers.len(), false);
        while answers.len() <= EVENTS {
            let mut outcome = PieceOutcome::default();
            if decider.take_one(&mut rows, &mut outcome) {
                let place = answers.len() - before + 1;
                answers.push(asked.about(format!("event {place} of {}", path.display()), outcome));
                continue;
            }
            if is_end {
                break;
            }
            match input.read()? {
                Text::Piece(piece) => rows.push(piece),
                Text::End => {
                    rows.finish();
                    is_end = true;
                }
                Text::Broken(source) => {
                    return Err(replay::error::Error::Broken { name: input.name, source }.into());
                }
            }
        }
        if is_end && let Some(why) = rows.no_rows() {
            return Err(Error::NothingUsed(format!("{}: {why}", path.display())));
        }
    }
    let more = answers.len() > EVENTS;
    answers.truncate(EVENTS);
    Ok(Answers { answers, more })
}

/// The setting that is asked.
struct Asked<'a> {
    dataset: &'a Dataset,
    setting: Configured<'a>,
}

impl Asked<'_> {
    fn about(&self, place: String, mut outcome: PieceOutcome) -> AlertExplanation {
        let now = chrono::Utc::now().timestamp_micros();
        outcome.fill_times(now);
        let mut answer = AlertExplanation { name: place, ..AlertExplanation::default() };
        if let Some((reason, rejected)) = outcome.rejected.first_key_value() {
            answer.rejected = Some(format!("{} ({reason})", self.explained(reason, &rejected.first)));
            return answer;
        }
        let Decision::Output(incident) = decide(self.dataset, i64::MIN, &outcome.projections) else {
            answer.rejected = Some("notify cannot read it".to_owned());
            return answer;
        };
        let text = self.dataset.severities.text(incident.key.severity).into_owned();
        answer.name = incident.id.clone().unwrap_or(answer.name);
        answer.severity = Some(text.clone());
        let Configured { transform, notify, .. } = &self.setting;
        let thresholds = [
            ("TransformSeverityAbove", transform.severity_above),
            ("NotifySeverityAbove", notify.severity_above),
        ];
        for (name, above) in thresholds {
            if decide(self.dataset, above, &outcome.projections) == Decision::Nothing {
                answer.nobody = Some(format!("its severity, {text}, is not above {name}={above}"));
                return answer;
            }
        }
        let time = outcome.times.first().copied().filter(|time| *time != NO_TIME).unwrap_or(now);
        self.add_message(&incident, time, &mut answer);
        answer
    }

    /// Why an event is rejected, in words for people.
    fn explained(&self, reason: &str, detail: &str) -> String {
        if reason != "not_json" {
            return detail.to_owned();
        }
        let [id, severity] =
            [self.dataset.id, self.dataset.severity].map(|column| self.dataset.columns[column].name.as_str());
        format!(
            "it is not a whole JSON object; expected one such as {{\"{id}\": …, \"{severity}\": …}}, with each quote and \
             bracket closed"
        )
    }

    fn add_message(&self, incident: &Incident, time: i64, answer: &mut AlertExplanation) {
        let incidents = [incident];
        let digests = self.setting.notify.digests;
        let plan = digests.plan(&incidents, &mut Memory::default(), instant(time), usize::MAX);
        let Some((_, alert)) = plan.word(self.dataset, &incidents).into_iter().next() else { return };
        let attributes: Vec<_> = alert.attributes.iter().map(PublishedAttribute::from).collect();
        answer.subject = Some(alert.subject.clone());
        let all = Subscriber {
            name: String::new(),
            protocol: "email".to_owned(),
            message: Some(text_for("email", &alert)),
            why_not: None,
        };
        let department = |Department { name, protocol, filter }: &Department| {
            let why_not = filter.as_ref().and_then(|filter| filter.objection(&attributes));
            let message = why_not.is_none().then(|| text_for(protocol, &alert));
            Subscriber { name: name.clone(), protocol: protocol.clone(), message, why_not }
        };
        let departments = self.setting.settings.departments.iter().map(department);
        answer.subscribers = iter::once(all).chain(departments).collect();
        answer.attributes = attributes.into_iter().map(|each| (each.name, each.value)).collect();
    }
}

/// The text that SNS delivers by a protocol: the one for the protocol if the message has it, else the default. A
/// channel of a chat shows the title and the description of the text for machines.
fn text_for(protocol: &str, alert: &Alert) -> String {
    let texts: Value = serde_json::from_str(&alert.message).unwrap_or_default();
    let text = texts.get(protocol).unwrap_or(&texts["default"]).as_str().unwrap_or_default();
    if protocol != "chat" {
        return text.to_owned();
    }
    let machine: Value = serde_json::from_str(text).unwrap_or_default();
    let part = |name| machine["content"][name].as_str().unwrap_or_default();
    format!("{}\n\n{}", part("title"), part("description"))
}
