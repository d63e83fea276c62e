//! `replay generate`: writes a file of made-up events.

mod accidents;
mod draw;
mod places;
mod samples;

use std::io::{self, Write};

use accidents::Accidents;
pub(crate) use accidents::Layout;
use samples::Samples;
use shared::data::dataset::Dataset;

use crate::{error::Error, progress::Progress};

/// What is to be generated.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many rows to write, not counting the header
    #[arg(long, value_name = "N")]
    pub(crate) rows: u64,

    /// Any number; the same seed gives the same bytes, on any machine
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,

    /// The layout of accidents: `mar23` has 46 columns, `dec20` has 47 and lines that end with CR LF
    #[arg(long, value_enum, default_value = "mar23")]
    pub(crate) layout: Layout,
}

/// Writes the header and the rows as CSV. Accidents resemble the published ones; rows of other data sets are drawn from
/// the examples in their file.
pub(crate) fn write(
    dataset: &Dataset,
    options: &Options,
    output: impl Write,
    progress: &Progress,
) -> Result<(), Error> {
    if dataset.name != "us_accidents" {
        let mut samples = Samples::new(dataset, options.seed);
        let header: Vec<_> = samples.columns().collect();
        let csv = csv::Writer::from_writer(output);
        return write_rows(csv, &header, options.rows, || samples.next_row(), progress);
    }
    let terminator = match options.layout {
        Layout::Mar23 => csv::Terminator::Any(b'\n'),
        Layout::Dec20 => csv::Terminator::CRLF,
    };
    let csv = csv::WriterBuilder::new().terminator(terminator).from_writer(output);
    let mut accidents = Accidents::new(options.layout, options.seed);
    write_rows(csv, options.layout.columns(), options.rows, || accidents.next_row(), progress)
}

fn write_rows(
    mut csv: csv::Writer<impl Write>,
    header: &[&str],
    rows: u64,
    mut next_row: impl FnMut() -> Vec<String>,
    progress: &Progress,
) -> Result<(), Error> {
    csv.write_record(header).map_err(output_error)?;
    for row in 0..rows {
        csv.write_record(next_row()).map_err(output_error)?;
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
        let dataset = Dataset::named("us_accidents").unwrap();
        write(&dataset, &Options { rows, seed, layout }, &mut bytes, &Progress::hidden()).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_seed_gives_the_same_bytes_always() {
        assert_eq!(generated(40, 1, Layout::Mar23), include_str!("../../golden/mar23-40-rows-of-seed-1.csv"));
        assert_eq!(generated(10, 1, Layout::Dec20), include_str!("../../golden/dec20-10-rows-of-seed-1.csv"));
        assert_ne!(generated(40, 1, Layout::Mar23), generated(40, 2, Layout::Mar23));
    }

    #[test]
    fn fewer_rows_are_a_prefix_of_more_rows() {
        assert!(generated(40, 5, Layout::Mar23).starts_with(&generated(10, 5, Layout::Mar23)));
    }

    #[test]
    fn lines_end_as_in_the_published_files() {
        assert!(!generated(3, 1, Layout::Mar23).contains('\r'));
        assert_eq!(generated(3, 1, Layout::Dec20).matches("\r\n").count(), 4);
    }
}
