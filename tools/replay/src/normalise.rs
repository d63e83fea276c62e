//! `replay normalise`: prints the events that ingest would write to the stream, without using AWS.

use std::io::Write;

use ingest::{
    normalise::Normaliser,
    report::ReadingReport,
    rows::{NoRows, Rows},
    unreadable::Tally,
};
use shared::data::{
    dataset::Dataset,
    time::{DateOrder, stamp},
};

use crate::{
    error::Error,
    input::{Input, TextState},
    progress::Progress,
};

/// The outcome of the rows.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct RowCounts {
    pub(crate) normalised: u64,
    pub(crate) rejected: u64,
    /// Why there were neither, if so.
    pub(crate) no_rows: Option<NoRows>,
    /// The plural name of the separator of a CSV, unless it is the comma.
    pub(crate) separator: Option<String>,
    /// What could not be read of the events.
    pub(crate) report: ReadingReport,
}

impl RowCounts {
    /// Why no row could be used, if so.
    pub(crate) fn nothing_used(&self) -> Option<String> {
        match (self.normalised, self.rejected, self.no_rows) {
            (1.., _, _) => None,
            (0, 0, Some(why)) => Some(why.to_string()),
            (0, rejected, _) => Some(format!("all {rejected} rows are rejected")),
        }
    }
}

/// Writes the events to `output` as JSON lines and passes the rejects to `reject`, with their line of the file. A
/// reject of the file itself has line 0.
pub(crate) fn normalise(
    dataset: &Dataset,
    input: &mut Input,
    date_order: Option<DateOrder>,
    mut output: impl Write,
    mut reject: impl FnMut(u64, &str, &str),
    progress: &Progress,
) -> Result<RowCounts, Error> {
    let normaliser = Normaliser::new(dataset, date_order);
    let mut rows = Rows::new(dataset, input.format).with_charset(input.charset);
    let mut counts = RowCounts::default();
    let mut events = Vec::new();
    let mut tally = Tally::default();
    loop {
        let fed = input.feed(&mut rows)?;
        let received = stamp(chrono::Utc::now());
        while let Some(row) = rows.next() {
            match normaliser.normalise(&row, &received, &mut events, &mut tally) {
                Ok(_partition_key) => counts.normalised += 1,
                Err(refused) => {
                    counts.rejected += 1;
                    reject(row.line, refused.reason, &refused.detail);
                }
            }
        }
        if let TextState::Broken(error) = &fed {
            counts.rejected += 1;
            reject(0, error.reason(), &error.to_string());
        }
        output.write_all(&events).map_err(Error::Write)?;
        events.truncate(0);
        progress.say(|| format!("{} rows normalised, {} rejected", counts.normalised, counts.rejected));
        if !matches!(fed, TextState::More) {
            output.flush().map_err(Error::Write)?;
            counts.no_rows = rows.no_rows();
            counts.separator = rows.separator();
            counts.report = ReadingReport::new(dataset, &tally);
            return Ok(counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use ingest::rows::Format;
    use serde_json::Value;

    use super::*;
    use crate::{
        batches::tests::DATASET,
        generate::{self, Layout},
        input::tests::{gzip, input},
    };

    fn run(format: Format, text: &[u8]) -> (Vec<Value>, Vec<String>, RowCounts) {
        let (mut output, mut rejects) = (Vec::new(), Vec::new());
        let reject = |line: u64, reason: &str, _: &str| rejects.push(format!("{line} {reason}"));
        let counts =
            normalise(&DATASET, &mut input(format, text), None, &mut output, reject, &Progress::hidden())
                .unwrap();
        let events =
            output.split_inclusive(|byte| *byte == b'\n').map(|line| serde_json::from_slice(line).unwrap());
        (events.collect(), rejects, counts)
    }

    #[test]
    fn rejects_have_their_line_and_later_rows_are_read() {
        let text = b"ID,Severity,City\na,3,x\nb,high,y\nc,2\nd,4,\"z\nz\"\ne,1,w";
        let (events, rejects, counts) = run(Format::Csv, text);
        let ids: Vec<_> = events.iter().map(|event| event["ID"].as_str().unwrap()).collect();
        assert_eq!(ids, ["a", "d", "e"]);
        assert_eq!(rejects, ["3 bad_severity", "4 cell_count"]);
        assert_eq!((counts.normalised, counts.rejected, counts.no_rows), (3, 2, None));
        assert_eq!(counts.nothing_used(), None);
        assert!(events[0]["Txn_Timestamp"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn separator_other_than_the_comma_is_reported() {
        for (text, separator) in [
            ("ID;Severity\na;3\n", Some("semicolons")),
            ("sep=:\nID:Severity\na:3\n", Some("`:`")),
            ("ID,Severity\na,3\n", None),
        ] {
            let (events, _, counts) = run(Format::Csv, text.as_bytes());
            assert_eq!((events.len(), counts.separator.as_deref()), (1, separator), "{text}");
        }
    }

    #[test]
    fn file_is_decoded_in_its_declared_charset() {
        let mut input = input(Format::Csv, b"ID,Severity,City\na,3,Do\xf1a Ana \x96\n");
        input.charset = "windows-1252".parse().unwrap();
        let mut output = Vec::new();
        normalise(&DATASET, &mut input, None, &mut output, |_, _, _| (), &Progress::hidden()).unwrap();
        let event: Value = serde_json::from_slice(&output).unwrap();
        assert_eq!(event["City"], "Doña Ana –");
    }

    #[test]
    fn wrong_date_order_is_reported() {
        let header = "ID,Severity,City,County,Street,Description,Start_Lat,Start_Lng,Start_Time";
        let rows: Vec<_> = (1..29).map(|day| format!("A-{day},3,x,y,s,d,1,1,{day}/08/2016 01:00")).collect();
        let (_, _, counts) = run(Format::Csv, format!("{header}\n{}\n", rows.join("\n")).as_bytes());
        let lines = crate::reading::lines(&counts.report);
        assert!(
            lines[0].starts_with("warning: `Start_Time`: 16 of 28 cells could not be read as month/day/year")
        );
        assert!(lines[0].contains("declare `date_order=dmy`"), "{lines:?}");
        assert!(lines[1].starts_with("columns of the data set that the file does not have: "), "{lines:?}");
        let (_, _, counts) = run(Format::Csv, b"ID,Severity,extra,Number\nA,3,x,1\nB,3,x,n1\nC,3,,\n");
        let lines = crate::reading::lines(&counts.report);
        assert!(
            lines.iter().any(
                |line| line.starts_with("columns that the data set does not have, kept as text: `extra`")
            )
        );
    }

    #[test]
    fn damaged_file_has_the_same_rejects_as_an_object() {
        let text = "ID,Severity,City\na,3,x\nb,3,Dayton";
        let packed = gzip(text.as_bytes());
        let (events, rejects, _) = run(Format::Csv, &packed[..packed.len() - 10]);
        assert_eq!((events.len(), rejects), (1, vec!["3 cut_short".to_owned(), "0 bad_gzip".to_owned()]));
        let (events, rejects, counts) = run(Format::Csv, b"PK\x03\x04\x14\nrows\n");
        assert_eq!((events.len(), rejects), (0, vec!["0 unknown_format".to_owned()]));
        assert_eq!((counts.normalised, counts.rejected), (0, 1));
        assert_eq!(counts.nothing_used().as_deref(), Some("all 1 rows are rejected"));
    }

    #[test]
    fn file_without_a_usable_row_explains_why() {
        let cases = [
            (Format::Csv, "", "there is nothing but blank space: expected rows"),
            (Format::Csv, "\u{feff}\n,,\n", "there is nothing but blank space: expected rows"),
            (Format::Csv, "ID,Severity\n", "there is a header but no row below it"),
            (Format::Csv, "<html><body>403 Forbidden</body></html>", "all 1 rows are rejected"),
            (Format::Csv, "A-1,4\nA-2,3\n", "all 2 rows are rejected"),
            (Format::Json, "[]", "the array has no elements: expected at least one object"),
            (Format::Ndjson, "nope", "all 1 rows are rejected"),
        ];
        for (format, text, why) in cases {
            let (_, _, counts) = run(format, text.as_bytes());
            assert_eq!(counts.nothing_used().as_deref(), Some(why), "{text:?}");
        }
    }

    #[test]
    fn every_generated_row_is_an_event_with_nothing_invalid() {
        for layout in [Layout::Mar23, Layout::Dec20] {
            let mut text = Vec::new();
            let options = generate::Options { rows: 3_000, seed: 11, layout };
            generate::write(&DATASET, &options, &mut text, &Progress::hidden()).unwrap();
            let (events, rejects, counts) = run(Format::Csv, &text);
            assert_eq!((counts.normalised, rejects.len()), (3_000, 0), "{rejects:?}");
            for event in events {
                assert_eq!(event.get("_invalid"), None, "{event}");
            }
        }
    }
}
