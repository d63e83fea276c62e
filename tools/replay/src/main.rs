//! The simulator's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    replay::cli::run()
}
