//! The meaning of a function's answer for its batch.

use serde_json::Value;

use super::super::stream::Stored;

/// The meaning of an answer for a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is done.
    Done,
    /// It is retried from the record at that position in the batch.
    From(usize),
    /// The function failed, or its answer is not valid.
    Failed,
    /// The function was not called.
    Throttled,
}

impl Verdict {
    /// The meaning of an answer if the mapping reads failures of single records.
    pub(super) fn of(answer: &str, records: &[Stored]) -> Self {
        let answer: Value = match serde_json::from_str(answer) {
            Ok(answer) => answer,
            // An empty answer is a success.
            Err(_) if answer.trim().is_empty() => return Self::Done,
            Err(_) => return Self::Failed,
        };
        let failures = match &answer["batchItemFailures"] {
            Value::Null => return Self::Done,
            Value::Array(failures) => failures,
            _ => return Self::Failed,
        };
        let positions: Option<Vec<usize>> = failures
            .iter()
            .map(|failure| {
                let number = failure["itemIdentifier"].as_str()?;
                records.iter().position(|record| record.sequence_number() == number)
            })
            .collect();
        match positions.map(|positions| positions.into_iter().min()) {
            // An identifier that is null, empty or of no record.
            None => Self::Failed,
            Some(None) => Self::Done,
            Some(Some(lowest)) => Self::From(lowest),
        }
    }
}
