//! Why a rehearsal stops.

use std::io;

use shared::{data::dataset::DatasetError, lambda::config::ConfigError};

/// Why a rehearsal stops; each says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Request(String),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    File(#[from] replay::error::Error),
    #[error("{setting}: {function} would refuse its settings: {error}")]
    Refused { setting: String, function: &'static str, error: ConfigError },
    #[error("no row of {rows} has a time in `{column}` that can be read; name another column by TIME=column")]
    NoTime { rows: u64, column: String },
    #[error("no row can be used: {0}")]
    NothingUsed(String),
    #[error("could not keep the severe events in {folder}, which TMPDIR names: {source}")]
    Temporary { folder: String, source: io::Error },
    #[error("could not write the result: {0}")]
    Write(#[source] io::Error),
}
