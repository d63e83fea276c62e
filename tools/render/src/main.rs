//! Generates files from the data sets and from `departments.toml`: blocks of `template.yaml`, the dashboards, the alert
//! rules of Grafana, and each data set's page and general queries.
//!
//! Each kind of file has its module. `generate` combines them; nothing is written unless all of them could be
//! generated.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it talks to a person")]
#![allow(clippy::format_collect, reason = "texts are short, and written once")]

mod alarms;
mod dashboard;
mod departments;
mod generate;
mod generated_file;
mod grafana;
mod metrics;
mod page;
mod queries;
mod repeated;
mod story;
mod tables;
mod template;
mod yaml;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

use crate::generate::{RenderError, alert_rules, generate, metrics, template};

/// Rewrites the files generated from datasets/ and departments.toml: tables, queries, pages, alarms, dashboards and alert rules
#[derive(Debug, Parser)]
struct Cli {
    /// Rewrites nothing, and names the first line of each file that differs
    #[arg(long, conflicts_with_all = ["template", "metrics", "alert_rules"])]
    check: bool,
    /// Rewrites nothing, and prints the template for this data set
    #[arg(long, value_name = "DATASET", conflicts_with_all = ["metrics", "alert_rules"])]
    template: Option<String>,
    /// The file of the departments of that template, instead of departments.toml
    #[arg(long, value_name = "FILE", requires = "template")]
    departments: Option<PathBuf>,
    /// Rewrites nothing, and prints as JSON which metrics are emitted for this data set
    #[arg(long, value_name = "DATASET", conflicts_with = "alert_rules")]
    metrics: Option<String>,
    /// Rewrites nothing, and prints the alert rules of Grafana for this data set
    #[arg(long, value_name = "DATASET")]
    alert_rules: Option<String>,
    /// A value for those rules instead of the template's default, such as Environment=prod
    #[arg(long, value_name = "NAME=VALUE", requires = "alert_rules", value_parser = name_and_value)]
    set: Vec<(String, String)>,
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected a name, =, and a value")?;
    Ok((name.to_owned(), value.to_owned()))
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

fn run(cli: &Cli, root: &Path) -> Result<ExitCode, RenderError> {
    if let Some(name) = &cli.template {
        print!("{}", template(name, cli.departments.as_deref(), root)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &cli.metrics {
        print!("{}", metrics(name)?);
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(name) = &cli.alert_rules {
        print!("{}", alert_rules(name, &cli.set, root)?);
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
