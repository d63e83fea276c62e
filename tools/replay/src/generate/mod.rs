//! `replay generate`: a file of accidents that never happened.

mod accidents;
mod draw;
mod places;
mod roads;
mod sun;
mod weather;

use std::io::{self, Write};

use accidents::Accidents;
pub use accidents::Layout;

use crate::{error::Error, progress::Progress};

/// What is to be generated.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How many rows to write, besides the header
    #[arg(long, value_name = "N")]
    pub rows: u64,

    /// Any number; the same seed gives the same bytes, on any machine
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,

    /// The layout of the columns: `mar23` has 46 of them, `dec20` 47 and lines ended by CR LF
    #[arg(long, value_enum, default_value = "mar23")]
    pub layout: Layout,
}

/// Writes the header and the rows as CSV.
///
/// # Errors
///
/// When the output takes no more.
pub fn write(options: &Options, output: impl Write, progress: &Progress) -> Result<(), Error> {
    let terminator = match options.layout {
        Layout::Mar23 => csv::Terminator::Any(b'\n'),
        Layout::Dec20 => csv::Terminator::CRLF,
    };
    let mut csv = csv::WriterBuilder::new().terminator(terminator).from_writer(output);
    csv.write_record(options.layout.columns()).map_err(output_error)?;
    let mut accidents = Accidents::new(options.layout, options.seed);
    for row in 0..options.rows {
        csv.write_record(accidents.next_row()).map_err(output_error)?;
        progress.reached(row + 1);
    }
    csv.flush().map_err(Error::Write)
}

fn output_error(error: csv::Error) -> Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::Write(error),
        other => Error::Write(io::Error::other(format!("{other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(rows: u64, seed: u64, layout: Layout) -> String {
        let mut bytes = Vec::new();
        write(&Options { rows, seed, layout }, &mut bytes, &Progress::hidden()).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_bytes_always() {
        assert_eq!(generated(40, 1, Layout::Mar23), include_str!("../../golden/mar23-40-rows-of-seed-1.csv"));
        assert_eq!(generated(10, 1, Layout::Dec20), include_str!("../../golden/dec20-10-rows-of-seed-1.csv"));
        assert_ne!(generated(40, 1, Layout::Mar23), generated(40, 2, Layout::Mar23));
    }

    #[test]
    fn fewer_rows_are_the_first_of_more() {
        assert!(generated(40, 5, Layout::Mar23).starts_with(&generated(10, 5, Layout::Mar23)));
    }

    #[test]
    fn lines_end_as_in_the_published_files() {
        assert!(!generated(3, 1, Layout::Mar23).contains('\r'));
        assert_eq!(generated(3, 1, Layout::Dec20).matches("\r\n").count(), 4);
    }
}
