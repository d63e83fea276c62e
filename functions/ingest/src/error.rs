//! Why an invocation of ingest fails.

use lambda_runtime::Diagnostic;
use shared::delivery::Failure;

use crate::request::NotUnderstood;

/// Why an invocation fails.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The request cannot be read.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// An object could not be read.
    #[error("could not read the object: {}", .0.detail)]
    Unreadable(Failure),
    /// The checkpoint of an object could not be read or written, or its continuation could not be written.
    #[error("could not save the progress of the object: {}", .0.detail)]
    NotContinued(Failure),
    /// An invocation ran out of time before it delivered a row of its object.
    #[error(
        "the invocation ran out of time before it delivered one row after byte {0} of the object; raise ingest's Timeout in template.yaml"
    )]
    NoProgress(u64),
    /// Rows were not delivered, and the caller does not read the response that lists them.
    #[error("{failed} rows were not delivered; send all of them again: {why}")]
    Undelivered {
        /// How many.
        failed: u64,
        /// Why.
        why: String,
    },
}

impl From<IngestError> for Diagnostic {
    fn from(error: IngestError) -> Self {
        let error_type = match error {
            IngestError::NotUnderstood(_) => "NotUnderstood",
            IngestError::Unreadable(_) => "Unreadable",
            IngestError::NotContinued(_) => "NotContinued",
            IngestError::NoProgress(_) => "NoProgress",
            IngestError::Undelivered { .. } => "Undelivered",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}
