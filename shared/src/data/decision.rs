//! What a function decides for an event: no output, an output or a reject.

use super::{
    dataset::Dataset,
    event::{Event, NotAnEvent},
};

/// What a function decides for a user record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision<T> {
    /// No output: it is not severe enough.
    Nothing,
    /// One output.
    Output(T),
    /// A reject.
    Reject {
        /// A short stable code.
        reason: &'static str,
        /// What is wrong, and what was expected.
        detail: String,
    },
}

impl<T> Decision<T> {
    /// Converts the output; other decisions stay the same.
    #[must_use]
    pub fn map<U>(self, output: impl FnOnce(T) -> U) -> Decision<U> {
        self.and_then(|decided| Decision::Output(output(decided)))
    }

    /// Makes the next decision from the output; other decisions stay the same.
    #[must_use]
    pub fn and_then<U>(self, decide: impl FnOnce(T) -> Decision<U>) -> Decision<U> {
        match self {
            Self::Nothing => Decision::Nothing,
            Self::Output(output) => decide(output),
            Self::Reject { reason, detail } => Decision::Reject { reason, detail },
        }
    }
}

/// The event in `text` and its severity, if the severity is above `above`.
#[must_use]
pub fn severe<'t>(dataset: &Dataset, above: i64, text: &'t str) -> Decision<(Event<'t>, i64)> {
    match Event::parse(dataset, text) {
        Ok(event) => by_severity(dataset, above, event.level(dataset)).map(|severity| (event, severity)),
        Err(error) => not_json(&error),
    }
}

/// The severity that an event has, if it is above `above`. An event without one is a reject.
#[must_use]
pub fn by_severity(dataset: &Dataset, above: i64, severity: Option<i64>) -> Decision<i64> {
    match severity {
        Some(severity) if severity > above => Decision::Output(severity),
        Some(_) => Decision::Nothing,
        None => Decision::Reject { reason: "bad_severity", detail: dataset.bad_severity() },
    }
}

/// The reject of a record that is not an event.
#[must_use]
pub fn not_json<T>(error: &NotAnEvent) -> Decision<T> {
    Decision::Reject { reason: "not_json", detail: format!("the record is not an event: {error}") }
}
