//! Simulations of the whole chain: one step by step, or many.

use std::{io, process::ExitCode};

use clap::Parser;
use indicatif::ProgressBar;
use tests::simulation::{Tally, check, report, scenario::Scenario};

/// Simulates the whole chain under faults, and checks the promises.
#[derive(Parser)]
struct Arguments {
    /// Seed of the scenario, or of the first of several.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Simulates this many scenarios with consecutive seeds, instead of one step by step.
    #[arg(long)]
    cases: Option<u64>,
}

fn main() -> io::Result<ExitCode> {
    let Arguments { seed, cases } = Arguments::parse();
    match cases {
        Some(cases) => several(seed, cases, &mut io::stdout().lock()),
        None => one(seed, &mut io::stdout().lock()),
    }
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
