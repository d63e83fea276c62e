//! Errors of the commands; each message says what to do next.

use std::io;

use ingest::inflate::InflateError;

/// Why a command stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("could not read {name}: {source}")]
    Read {
        /// The name of the file.
        name: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The data of the file cannot be read to its end.
    #[error("could not read {name} to its end: {source}")]
    Broken {
        /// The file as it was named.
        name: String,
        /// What is wrong with its data.
        source: InflateError,
    },
    /// Standard output cannot be written.
    #[error("could not write the output: {0}")]
    Write(#[source] io::Error),
    /// The file's name does not say which format it has.
    #[error(
        "could not infer the format of {0} from its name; add --format=csv, --format=ndjson or --format=json"
    )]
    UnknownFormat(String),
    /// No row of the file can become an event.
    #[error("{name} cannot be used: {problem}")]
    BadHeader {
        /// The file as it was named.
        name: String,
        /// What is wrong with its header.
        problem: String,
    },
    /// No row of the file became an event.
    #[error("{name} has no row that can be used: {why}")]
    NothingUsed {
        /// The file as it was named.
        name: String,
        /// Why not.
        why: String,
    },
    /// A file is to be read twice that can be read only once.
    #[error("could not read {0} twice, as a suggestion needs: expected the name of a file")]
    ReadOnce(String),
    /// What was suggested is not a data set, as only a name that was given can cause.
    #[error("could not make a data set of the file: {0}")]
    Suggestion(String),
    /// The command was interrupted; where, and what was not done.
    #[error("interrupted {0}")]
    Interrupted(String),
    /// The deployed stack cannot be used.
    #[error("{0}")]
    Cloud(String),
}

impl Error {
    /// Whether the reader of standard output has exited, as `head` does. That is not an error.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the command was interrupted.
    #[must_use]
    pub fn is_interrupt(&self) -> bool {
        matches!(self, Self::Interrupted(_))
    }
}
