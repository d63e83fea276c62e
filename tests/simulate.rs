//! Simulations of the whole chain: one step by step, or many; and the model of the mapping on scenario files.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use indicatif::ProgressBar;
use tests::simulation::{Tally, check, mapping_file, report, scenario::Scenario};

/// Simulates the whole chain under faults, and checks the promises.
#[derive(Parser)]
struct Arguments {
    /// Seed of the scenario, or of the first of several.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Simulates this many scenarios with consecutive seeds, instead of one step by step.
    #[arg(long)]
    cases: Option<u64>,
    /// Runs the model of Lambda's mapping on scenario files, or folders of them, instead of the chain.
    #[arg(long, num_args = 1.., conflicts_with_all = ["seed", "cases"])]
    mapping: Vec<PathBuf>,
}

fn main() -> io::Result<ExitCode> {
    let Arguments { seed, cases, mapping } = Arguments::parse();
    let out = &mut io::stdout().lock();
    match cases {
        _ if !mapping.is_empty() => map(&mapping, out),
        Some(cases) => several(seed, cases, out),
        None => one(seed, out),
    }
}

/// Checks the steps of the model in scenario files.
fn map(paths: &[PathBuf], out: &mut impl io::Write) -> io::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for path in paths {
        let files = match mapping_file::files(path) {
            Ok(files) => files,
            Err(error) => return refuse(&error),
        };
        for file in files {
            match mapping_file::check(&file) {
                Ok(None) => writeln!(out, "{}: all steps are as expected", file.display())?,
                Ok(Some(difference)) => {
                    writeln!(out, "{}: {difference}", file.display())?;
                    code = ExitCode::FAILURE;
                }
                Err(error) => return refuse(&error),
            }
        }
    }
    Ok(code)
}

/// Reports a file that is not a scenario.
fn refuse(error: &str) -> io::Result<ExitCode> {
    writeln!(io::stderr(), "error: {error}")?;
    Ok(ExitCode::from(2))
}

fn one(seed: u64, out: &mut impl io::Write) -> io::Result<ExitCode> {
    let (report, kept) = report(&Scenario::draw(seed));
    writeln!(out, "{report}")?;
    Ok(if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn several(seed: u64, cases: u64, out: &mut impl io::Write) -> io::Result<ExitCode> {
    let progress = ProgressBar::new(cases);
    let mut total = Tally::default();
    for seed in progress.wrap_iter(seed..seed.saturating_add(cases)) {
        match check(seed) {
            Ok(tally) => total += tally,
            Err(report) => {
                progress.abandon();
                writeln!(out, "{report}")?;
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    writeln!(out, "{cases} simulations from seed {seed}, and every promise was kept:\n{total}")?;
    Ok(ExitCode::SUCCESS)
}
