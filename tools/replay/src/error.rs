//! What can go wrong, each a sentence that says what to do next.

use std::io;

use ingest::inflate::InflateError;

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, or no further.
    #[error("cannot read {name}: {source}")]
    Read {
        /// The file as it was named.
        name: String,
        /// What the system says.
        source: io::Error,
    },
    /// What the file holds cannot be read, or no further.
    #[error("could not read {name} to its end: {source}")]
    Broken {
        /// The file as it was named.
        name: String,
        /// What is wrong with its data.
        source: InflateError,
    },
    /// Standard output takes no more.
    #[error("cannot write the output: {0}")]
    Write(#[source] io::Error),
    /// The file's name does not tell what it holds.
    #[error("the name of {0} does not say what it holds: add --format csv, ndjson or json")]
    UnknownFormat(String),
    /// No row of the file can be placed.
    #[error("{name} cannot be used: {problem}")]
    BadHeader {
        /// The file as it was named.
        name: String,
        /// What is wrong with its header.
        problem: String,
    },
    /// Nothing in the file became an event.
    #[error("{name} has no row that can be used: {why}")]
    NothingUsed {
        /// The file as it was named.
        name: String,
        /// Why not.
        why: String,
    },
    /// The deployed stack cannot be used, or not any more.
    #[error("{0}")]
    Cloud(String),
}

impl Error {
    /// Whether the reader of standard output has gone away, as `head` does, which is no fault.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}
