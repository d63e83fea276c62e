//! Rewrites the generated files, or reports where they differ.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;
use render::{Error, generate, metrics, template};

/// Rewrites the files generated from datasets/ and departments.toml: tables, queries, pages, alarms and dashboards
#[derive(Debug, Parser)]
struct Cli {
    /// Rewrites nothing, and names the first line of each file that differs
    #[arg(long, conflicts_with_all = ["template", "metrics"])]
    check: bool,
    /// Rewrites nothing, and prints the template for this data set
    #[arg(long, value_name = "DATASET", conflicts_with = "metrics")]
    template: Option<String>,
    /// The file of the departments of that template, instead of departments.toml
    #[arg(long, value_name = "FILE", requires = "template")]
    departments: Option<PathBuf>,
    /// Rewrites nothing, and prints as JSON which metrics are emitted for this data set
    #[arg(long, value_name = "DATASET")]
    metrics: Option<String>,
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
        print!("{}", template(name, cli.departments.as_deref(), root)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &cli.metrics {
        print!("{}", metrics(name)?);
        return Ok(ExitCode::SUCCESS);
    }
    let mut code = ExitCode::SUCCESS;
    for product in generate(root)? {
        if cli.check {
            if let Some(difference) = product.difference(root)? {
                eprintln!("{difference}");
                code = ExitCode::FAILURE;
            }
        } else if product.write(root)? {
            println!("{} is rewritten", product.path.display());
        }
    }
    Ok(code)
}
