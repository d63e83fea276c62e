//! Rehearses a stack over files of the past: what it would have accepted, counted and alerted, and to whom.
//!
//! A request in JSON comes on standard input, and its answer in JSON goes to standard output. The functions' own code
//! decides. [`pieces`] reads the files on all cores, and [`decider`] decides about rows as ingest and transform do.
//! [`times`] fills in missing times, and [`order`] puts the severe events in the order of their times. [`counts`] counts
//! them as metrics does, and [`alerts`] alerts as notify does, with [`policy`] for its subscribers. [`mod@who`] shows one
//! event in full.

mod alerts;
mod backlog;
mod counts;
mod decider;
mod difference;
mod error;
mod message;
mod order;
mod outcome;
mod pieces;
mod policy;
mod rehearsal;
mod settings;
mod severe_event;
mod tables;
mod thresholds;
mod times;
mod who;

use std::{
    io::{self, IsTerminal, Read, Write},
    path::PathBuf,
    process::ExitCode,
    time::Instant,
};

use clap::{Parser, Subcommand};
use replay::progress::to_stderr;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shared::data::dataset::Dataset;

use crate::{
    error::Error,
    policy::{Policy, PublishedAttribute},
    rehearsal::rehearse,
    who::who,
};

/// Rehearses a stack over files of the past, as a request in JSON on standard input says
///
/// `make rehearse` writes the request and shows the answer.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// The data set of the events: a folder of datasets/
    #[arg(long, global = true, value_name = "NAME", default_value = "us_accidents")]
    dataset: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Prints what the stack would have accepted, counted and alerted
    Run,
    /// Prints who would be alerted about each event of the files
    Who,
    /// Prints which of the `messages` pass each of the `policies`, as SNS evaluates them
    Policies,
    /// Prints how long the `csv` crate takes to read a file
    ReadCsv {
        /// The file, plain
        file: PathBuf,
    },
}

/// Policies, and messages by their attributes.
#[derive(Debug, Deserialize)]
struct Filtering {
    policies: Vec<Policy>,
    messages: Vec<Vec<PublishedAttribute>>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            to_stderr(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Error> {
    let dataset = || Dataset::named(&cli.dataset);
    match &cli.command {
        Command::Run => print(&rehearse(&dataset()?, &request()?)?),
        Command::Who => print(&who(&dataset()?, &request()?)?),
        Command::Policies => {
            let Filtering { policies, messages } = request()?;
            let admitted =
                |policy: &Policy| messages.iter().map(|each| policy.admits(each)).collect::<Vec<_>>();
            print(&policies.iter().map(admitted).collect::<Vec<_>>())
        }
        Command::ReadCsv { file } => read_csv(file),
    }
}

/// Reads every record of a file, and prints the number of its records and the seconds.
fn read_csv(file: &PathBuf) -> Result<(), Error> {
    let began = Instant::now();
    let failed = |error| Error::Request(format!("could not read {}: {error}", file.display()));
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(file).map_err(failed)?;
    let (mut record, mut records) = (csv::ByteRecord::new(), 0_u64);
    while reader.read_byte_record(&mut record).map_err(failed)? {
        records += 1;
    }
    print(&(records, began.elapsed().as_secs_f64()))
}

fn request<T: DeserializeOwned>() -> Result<T, Error> {
    if io::stdin().is_terminal() {
        return Err(Error::Request(
            "expected a request in JSON on standard input; make rehearse writes one".to_owned(),
        ));
    }
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Error::Request(format!("could not read the request: {error}")))?;
    serde_json::from_str(&text).map_err(|error| Error::Request(format!("the request is wrong: {error}")))
}

fn print(value: &impl Serialize) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(|error| Error::Write(error.into()))?;
    writeln!(out).map_err(Error::Write)
}
