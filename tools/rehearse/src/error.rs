//! Why a rehearsal stops.

use std::io;

use shared::{data::dataset::DatasetError, lambda::config::ConfigError};

/// Why a rehearsal stops; each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be read or contradicts itself.
    #[error("{0}")]
    Request(String),
    /// The data set cannot be used.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] replay::error::Error),
    /// A function would refuse its variables.
    #[error("{setting}: {function} would refuse its settings: {error}")]
    Refused {
        /// The setting's name.
        setting: String,
        /// The function.
        function: &'static str,
        /// What it refuses.
        error: ConfigError,
    },
    /// No row has a time.
    #[error("no row of {rows} has a time in `{column}` that can be read; name another column by TIME=column")]
    NoTime {
        /// Accepted rows.
        rows: u64,
        /// The column.
        column: String,
    },
    /// No row can be used.
    #[error("no row can be used: {0}")]
    NothingUsed(String),
    /// The severe events that exceed the memory cannot be written to the temporary folder.
    #[error("could not keep the severe events in {folder}, which TMPDIR names: {source}")]
    Temporary {
        /// The folder.
        folder: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The result cannot be written.
    #[error("could not write the result: {0}")]
    Write(#[source] io::Error),
}
