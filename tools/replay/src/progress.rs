//! How far a command has come: a bar on a terminal, a line now and then in a log.

use std::{
    cell::Cell,
    io::{IsTerminal, Read, Write},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Between two lines where there is no terminal to draw a bar on.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// Shows on standard error how far a command has come.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    /// When the last line was written, where lines take the place of the bar.
    lines: Option<Cell<Instant>>,
}

impl Progress {
    /// Of a number of rows.
    #[must_use]
    pub fn of_rows(rows: u64) -> Self {
        Self::new(ProgressBar::new(rows), "{bar:30} {human_pos} of {human_len} rows, {per_sec}, {eta} left")
    }

    /// Of working through objects, whose number is said by [`Progress::expect`].
    #[must_use]
    pub fn of_objects() -> Self {
        Self::new(ProgressBar::new(0), "{bar:30} {human_pos} of {human_len} objects, {eta} left {msg}")
    }

    /// Of reading so many bytes, or nobody knows how many.
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
        bar.set_style(ProgressStyle::with_template(template).expect("the template is right"));
        let lines = (!std::io::stderr().is_terminal()).then(|| Cell::new(Instant::now()));
        Self { bar, lines }
    }

    /// So many rows are done.
    pub fn reached(&self, rows: u64) {
        // Drawing looks at the clock, which costs more than making a row.
        const STEP: u64 = 512;
        if rows.is_multiple_of(STEP) {
            self.bar.set_position(rows);
            self.line(|| format!("{rows} of {} rows", self.bar.length().unwrap_or_default()));
        }
    }

    /// So many are to be done in all.
    pub fn expect(&self, all: u64) {
        self.bar.set_length(all);
    }

    /// One more is done.
    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// The state in a few words, beside the part that has been read.
    pub fn say(&self, state: impl Fn() -> String) {
        if self.lines.is_none() {
            self.bar.set_message(state());
            self.bar.tick();
        }
        self.line(state);
    }

    /// A line that stays, above the bar.
    pub fn note(&self, line: &str) {
        self.bar.suspend(|| to_stderr(line));
    }

    /// Counts what is read as progress.
    pub fn reading<R: Read>(&self, reader: R) -> impl Read + use<R> {
        self.bar.wrap_read(reader)
    }

    /// Takes the bar away.
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

/// Writes a line to standard error. Where that is closed there is nobody left to tell.
pub fn to_stderr(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

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
