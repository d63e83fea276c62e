//! Rewrites what is generated from the data sets, or says where it differs.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

use std::{path::Path, process::ExitCode};

use clap::Parser;
use schema::{Error, generate, template};

/// Rewrites what is generated from the files of datasets/: blocks of template.yaml, docs/datasets/ and the general queries
#[derive(Debug, Parser)]
struct Cli {
    /// Rewrites nothing, and names the first line of each file that differs
    #[arg(long)]
    check: bool,
    /// Rewrites nothing, and prints the template as it deploys this data set
    #[arg(long, value_name = "DATASET", conflicts_with = "check")]
    template: Option<String>,
}

fn main() -> ExitCode {
    match run(&Cli::parse(), &Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli, root: &Path) -> Result<ExitCode, Error> {
    if let Some(name) = &cli.template {
        print!("{}", template(name, root)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for file in generate(root)? {
        if cli.check {
            if let Some(difference) = file.difference(root)? {
                eprintln!("{difference}");
                code = ExitCode::FAILURE;
            }
        } else if file.write(root)? {
            println!("{} is rewritten", file.path.display());
        }
    }
    Ok(code)
}
