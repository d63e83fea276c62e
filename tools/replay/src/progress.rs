//! The progress of a command: a bar on a terminal, or occasional lines in a log.

use std::{
    cell::Cell,
    io::{IsTerminal, Read, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The time between two lines if there is no terminal for a bar.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Shows the progress of a command on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// When the last line was written, if lines are written instead of a bar.
    lines: Option<Cell<Instant>>,
}

impl Progress {
    /// The progress through a number of rows.
    #[must_use]
    pub fn of_rows(rows: u64) -> Self {
        Self::new(ProgressBar::new(rows), "{bar:30} {human_pos} of {human_len} rows, {per_sec}, {eta} left")
    }

    /// The progress through objects; [`Progress::expect`] sets their number.
    #[must_use]
    pub fn of_objects() -> Self {
        Self::new(ProgressBar::new(0), "{bar:30} {human_pos} of {human_len} objects, {eta} left {msg}")
    }

    /// The progress through so many bytes; `None` if their number is unknown.
    #[must_use]
    pub fn of_bytes(bytes: Option<u64>) -> Self {
        match bytes {
            Some(bytes) => Self::new(ProgressBar::new(bytes), "{bar:30} {percent}%, {eta} left {msg}"),
            None => Self::new(ProgressBar::new_spinner(), "{spinner} {elapsed} {msg}"),
        }
    }

    /// Shows nothing.
    #[must_use]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), lines: None }
    }

    #[expect(clippy::expect_used, reason = "the templates are constants, each of which a test draws")]
    fn new(bar: ProgressBar, template: &str) -> Self {
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
        let lines = (!std::io::stderr().is_terminal()).then(|| Cell::new(Instant::now()));
        Self { bar, lines }
    }

    /// Records that so many rows are done.
    pub fn reached(&self, rows: u64) {
        // Drawing reads the clock, which takes longer than generating a row.
        const STEP: u64 = 512;
        if rows.is_multiple_of(STEP) {
            self.at(rows);
        }
    }

    /// Records that so many rows are done, for callers that say so rarely.
    pub fn at(&self, rows: u64) {
        self.bar.set_position(rows);
        self.line(|| format!("{rows} of {} rows", self.bar.length().unwrap_or_default()));
    }

    /// Sets the number of objects.
    pub fn expect(&self, all: u64) {
        self.bar.set_length(all);
    }

    /// Records that one more is done.
    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// Shows the state in a few words next to the bar.
    pub fn say(&self, state: impl Fn() -> String) {
        if self.lines.is_none() {
            self.bar.set_message(state());
            self.bar.tick();
        }
        self.line(state);
    }

    /// Prints a line above the bar.
    pub fn note(&self, line: &str) {
        self.bar.suspend(|| to_stderr(line));
    }

    /// Counts the bytes read as progress.
    pub fn reading<R: Read>(&self, reader: R) -> impl Read + use<R> {
        self.bar.wrap_read(reader)
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, text: impl FnOnce() -> String) {
        if let Some(last) = &self.lines
            && last.get().elapsed() >= BETWEEN_LINES
        {
            last.set(Instant::now());
            to_stderr(&text());
        }
    }
}

/// Writes a line to standard error. If make runs the command, options have the names of make's variables.
pub fn to_stderr(line: &str) {
    let is_make = std::env::var_os("MAKELEVEL").is_some();
    let line = if is_make { for_make(line) } else { line.to_owned() };
    // If standard error is closed, nobody reads the line.
    writeln!(std::io::stderr().lock(), "{line}").ok();
}

/// A line with `FORMAT=csv` instead of `--format=csv`, and `RATE` instead of clap's `'--rate <N>'`.
fn for_make(line: &str) -> String {
    let mut parts = line.split("--");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let length = part.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(part.len());
        let (name, mut after) = part.split_at(length);
        if name.is_empty() || !text.ends_with([' ', '\'']) {
            text += "--";
            text += part;
            continue;
        }
        if text.ends_with('\'') {
            text.pop();
            after = after.split_once('\'').map_or("", |(_, after)| after);
        }
        text += &name.replace('-', "_").to_uppercase();
        text += after;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_named_as_variables_of_make() {
        for (line, expected) in [
            (
                "error: invalid value 'x' for '--date-order <ORDER>': mdy or dmy",
                "error: invalid value 'x' for DATE_ORDER: mdy or dmy",
            ),
            ("error: unexpected argument '--no' found", "error: unexpected argument NO found"),
            ("add --format=csv or --date-order=dmy", "add FORMAT=csv or DATE_ORDER=dmy"),
            ("could not read a--b.csv: -- and --1", "could not read a--b.csv: -- and --1"),
        ] {
            assert_eq!(for_make(line), expected);
        }
    }

    #[test]
    fn every_template_can_be_drawn() {
        for progress in [
            Progress::of_rows(10),
            Progress::of_objects(),
            Progress::of_bytes(Some(10)),
            Progress::of_bytes(None),
        ] {
            progress.expect(10);
            progress.advance();
            progress.say(|| "3 rows".to_owned());
            progress.reached(512);
            progress.finish();
        }
    }
}
