//! The command line.

use std::{
    io::{self, BufWriter, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};
use ingest::{charset::Charset, report::ReadingReport, rows::Format};
use shared::{
    aws::sdk_config,
    data::{dataset::Dataset, time::DateOrder},
};

use crate::{
    batches::Batches,
    error::Error,
    generate,
    input::Input,
    interrupt::{self, Interrupt},
    lambda::{Function, Lambda},
    normalise,
    pace::Rate,
    progress::{Progress, to_stderr},
    reading::{self, RejectNotes},
    redrive::{self, Bucket, RedriveSource, Selection, Since},
    send::{self, SendSummary},
    suggest,
};

/// Sends a file of events as live incidents through the deployed ingest function
///
/// The rows are sent in order, in a mini-batch each second, and the responses are counted. Rejected rows are in the
/// rejects table and do not count as failed. The exit code is 1 if a row could not be delivered.
///
/// The region, credentials and endpoint come from the environment (`AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL` and
/// so on).
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Cli {
    /// The data set of the events: a folder of datasets/
    #[arg(long, value_name = "NAME", default_value = "us_accidents", global = true)]
    dataset: String,
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    file: Option<FileOptions>,
    #[command(flatten)]
    send: SendOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes a CSV of events that never happened to standard output
    ///
    /// For `us_accidents`, columns, shares, blanks and quirks match the published files; the cities and counties are
    /// real, the accidents are not. For any other data set the rows are drawn from the examples in its file.
    Generate(generate::Options),
    /// Prints the events that ingest would write to the stream, as JSON lines, without using AWS
    ///
    /// Rejected rows are reported on standard error with their line and reason, and so are unreadable cells of the
    /// others. The exit code is 1 only if no row could be used.
    Normalise(NormaliseOptions),
    /// Sends rejects or failed batches again, only to the function that failed
    ///
    /// What a function has accepted is marked in the bucket, so that a second run sends nothing twice. A run that is
    /// interrupted repeats at most one request and loses nothing. One run at a time. The exit code is 1 if something
    /// was not accepted.
    Redrive(RedriveOptions),
}

#[derive(Debug, Args)]
struct NormaliseOptions {
    #[command(flatten)]
    file: FileOptions,

    /// Prints a data set's file to start from instead, for a file that has no data set yet
    #[arg(long)]
    suggest: bool,

    /// The name of the suggested data set [default: as the file's name says]
    #[arg(long, requires = "suggest", conflicts_with = "dataset")]
    name: Option<String>,
}

#[derive(Debug, Args)]
struct RedriveOptions {
    /// What to send: rejects, or the batches and events that Lambda discarded
    #[arg(long, value_name = "WHERE")]
    from: RedriveSource,

    /// Only what was written since: 2026-11-25, 2026-11-25T06:00:00Z, or 90m, 6h or 7d ago
    #[arg(long, value_name = "TIME")]
    since: Option<Since>,

    /// Also rejects that came back from an earlier redrive, after the functions have changed
    #[arg(long)]
    again: bool,

    /// Only shows what would be sent
    #[arg(long)]
    dry_run: bool,

    /// The environment of the stack
    #[arg(long, default_value = "dev")]
    environment: String,

    /// Prints the summary as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct FileOptions {
    /// CSV, NDJSON or JSON file, gzip or plain; - is standard input
    file: PathBuf,

    /// The format of the file: csv, ndjson or json [default: by its name; csv for standard input]
    #[arg(long)]
    format: Option<Format>,

    /// How 2/8/2016 is read: mdy or dmy [default: as in the data set]
    #[arg(long, value_name = "ORDER")]
    date_order: Option<DateOrder>,

    /// The charset of the file, with one byte for each character, such as windows-1252 or iso-8859-15 [default: utf-8]
    #[arg(long, value_name = "NAME", default_value = "utf-8", hide_default_value = true)]
    charset: Charset,
}

#[derive(Debug, Args)]
struct SendOptions {
    /// Rows a second; max sends as fast as the function takes them [default: 100]
    #[arg(long, value_name = "N")]
    rate: Option<Rate>,

    /// The ingest function [default: <data set>-ingest-<ENVIRONMENT>]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,

    /// The environment of the stack
    #[arg(long, default_value = "dev", conflicts_with = "function")]
    environment: String,

    /// Prints the summary as JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command that the arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    let dataset = &cli.dataset;
    let done = match (cli.command, cli.file) {
        (Some(Command::Generate(options)), _) => generate(dataset, &options),
        (Some(Command::Normalise(options)), _) if options.suggest => suggest(&options),
        (Some(Command::Normalise(options)), _) => normalise(dataset, &options.file),
        (Some(Command::Redrive(options)), _) => redrive(dataset, &options),
        (None, Some(file)) => send(dataset, &file, cli.send),
        (None, None) => {
            Cli::command().error(ErrorKind::MissingRequiredArgument, "name a FILE to send").exit()
        }
    };
    match done {
        Ok(code) => code,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            to_stderr(&format!("replay: {error}"));
            if error.is_interrupt() { ExitCode::from(interrupt::STATUS) } else { ExitCode::FAILURE }
        }
    }
}

/// Exits with what is wrong with the command, in one line for make.
fn refuse(error: &clap::Error) -> ! {
    if error.use_stderr() && std::env::var_os("MAKELEVEL").is_some() {
        to_stderr(error.to_string().lines().next().unwrap_or_default());
        std::process::exit(2);
    }
    error.exit()
}

fn generate(dataset: &str, options: &generate::Options) -> Result<ExitCode, Error> {
    let dataset = self::dataset(dataset)?;
    // If the rows are printed to the terminal, a bar is not needed.
    let progress =
        if io::stdout().is_terminal() { Progress::hidden() } else { Progress::of_rows(options.rows) };
    generate::write(&dataset, options, io::stdout().lock(), &progress)?;
    progress.finish();
    Ok(ExitCode::SUCCESS)
}

fn normalise(dataset: &str, file: &FileOptions) -> Result<ExitCode, Error> {
    let dataset = self::dataset(dataset)?;
    let (mut input, progress) = Input::open(&file.file, file.format, !io::stdout().is_terminal())?;
    input.charset = file.charset;
    let mut rejects = RejectNotes::default();
    let reject = |line: u64, reason: &str, detail: &str| rejects.note(line, reason, detail, &progress);
    let output = BufWriter::new(io::stdout().lock());
    let counts = normalise::normalise(&dataset, &mut input, file.date_order, output, reject, &progress)?;
    progress.finish();
    rejects.rest().iter().for_each(|line| to_stderr(line));
    if let Some(separator) = &counts.separator {
        to_stderr(&format!("the cells are separated by {separator}"));
    }
    to_stderr(&format!("{} rows normalised, {} rejected", counts.normalised, counts.rejected));
    report(&counts.report);
    match counts.nothing_used() {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => Err(Error::NothingUsed { name: input.name, why }),
    }
}

fn suggest(options: &NormaliseOptions) -> Result<ExitCode, Error> {
    let NormaliseOptions { file, name, .. } = options;
    if file.file.as_os_str() == "-" {
        return Err(Error::ReadOnce("standard input".to_owned()));
    }
    let open = || {
        let (mut input, _) = Input::open(&file.file, file.format, false)?;
        input.charset = file.charset;
        Ok(input)
    };
    let mut rejects = RejectNotes::default();
    let progress = Progress::hidden();
    let reject = |line: u64, reason: &str, detail: &str| rejects.note(line, reason, detail, &progress);
    let suggestion = suggest::suggest(name.as_deref(), file.date_order, &open, reject, &progress)?;
    io::stdout().lock().write_all(suggestion.text.as_bytes()).map_err(Error::Write)?;
    rejects.rest().iter().for_each(|line| to_stderr(line));
    suggestion.lines().iter().for_each(|line| to_stderr(line));
    match suggestion.counts.nothing_used() {
        None => Ok(ExitCode::SUCCESS),
        Some(why) => Err(Error::NothingUsed { name: file.file.display().to_string(), why }),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn send(dataset: &str, file: &FileOptions, options: SendOptions) -> Result<ExitCode, Error> {
    let dataset = self::dataset(dataset)?;
    let (mut input, progress) = Input::open(&file.file, file.format, true)?;
    input.charset = file.charset;
    let name = options.function.unwrap_or_else(|| deployed(&dataset, "ingest", &options.environment));
    let function = Function { lambda: Lambda::new(&sdk_config().await)?, name };
    let mut batches = Batches::new(&dataset, input, file.date_order);
    let mut summary = SendSummary::default();
    let interrupt = interrupt()?;
    let rate = options.rate.unwrap_or_default();
    let sent = send::send(&mut batches, &function, rate, &mut summary, &progress, &interrupt).await;
    progress.finish();
    if let Some(separator) = batches.separator() {
        to_stderr(&format!("the cells are separated by {separator}"));
    }
    summary.report = batches.report();
    report(&summary.report);
    if options.json {
        let json = serde_json::to_string(&summary).map_err(|error| Error::Write(error.into()))?;
        print(&json)?;
    } else if sent.as_ref().map_or_else(Error::is_interrupt, |()| true) || summary.requests > 1 {
        print(&summary.text())?;
    }
    sent?;
    let why = match batches.no_rows() {
        Some(why) => why.to_string(),
        None if summary.rejected == summary.rows => format!("all {} rows are rejected", summary.rows),
        None => return Ok(if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
    };
    Err(Error::NothingUsed { name: batches.name().to_owned(), why })
}

#[tokio::main(flavor = "current_thread")]
async fn redrive(dataset: &str, options: &RedriveOptions) -> Result<ExitCode, Error> {
    let dataset = self::dataset(dataset)?;
    let name = |what: &str| deployed(&dataset, what, &options.environment);
    let config = sdk_config().await;
    let functions = Lambda::new(&config)?;
    let database = format!("{}_{}", dataset.name, options.environment);
    let rejects = Bucket::of_table(&config, &database, &format!("{}_rejects", dataset.name)).await?;
    let bucket = match options.from {
        RedriveSource::Rejects => rejects,
        RedriveSource::Failures => rejects.sibling("rejects", "failures")?,
    };
    let selection = Selection {
        from: options.from,
        prefix: bucket.prefix.clone(),
        since: options.since.map(|since| since.at(chrono::Utc::now())),
        also_came_back: options.again,
        dry_run: options.dry_run,
    };
    let progress = Progress::of_objects();
    let mut summary = redrive::RedriveSummary::default();
    let interrupt = interrupt()?;
    let sent =
        redrive::redrive(&bucket, &functions, name, &selection, &mut summary, &progress, &interrupt).await;
    progress.finish();
    if options.json {
        let json = serde_json::to_string(&summary).map_err(|error| Error::Write(error.into()))?;
        print(&json)?;
    } else if sent.is_ok() || summary.requests > 0 {
        print(&summary.text())?;
    }
    sent?;
    Ok(if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Finishes the request of an interrupted command.
fn interrupt() -> Result<Interrupt, Error> {
    Interrupt::watch().map_err(|error| Error::Cloud(format!("could not watch for Ctrl-C: {error}")))
}

/// The name of a function of the stack.
fn deployed(dataset: &Dataset, what: &str, environment: &str) -> String {
    format!("{}-{what}-{environment}", dataset.name.replace('_', "-"))
}

fn dataset(name: &str) -> Result<Dataset, Error> {
    Dataset::named(name).map_err(|error| Error::Cloud(error.to_string()))
}

/// Prints what could not be read of a file.
fn report(report: &ReadingReport) {
    for line in reading::lines(report) {
        to_stderr(&line);
    }
}

fn print(line: &str) -> Result<(), Error> {
    writeln!(io::stdout().lock(), "{line}").map_err(Error::Write)
}
