use std::sync::LazyLock;

use ingest::rows::ROW_BYTES;
use serde_json::Value;

use super::*;
use crate::input::tests::{gzip, input};

pub(crate) static DATASET: LazyLock<Dataset> = LazyLock::new(|| Dataset::named("us_accidents").unwrap());

pub(crate) fn batches(format: Format, text: &str) -> Batches<'static> {
    Batches::new(&DATASET, input(format, text.as_bytes()), None)
}

fn bodies(format: Format, text: &str, most: usize) -> Vec<(String, Vec<u64>)> {
    let mut batches = batches(format, text);
    let mut bodies = Vec::new();
    while let Some(batch) = batches.next(most).unwrap() {
        let request: Value = serde_json::from_slice(&batch.request()).unwrap();
        assert_eq!(request["format"], format.name());
        let lines = batch.rows.iter().map(|row| row.line).collect();
        bodies.push((request["body"].as_str().unwrap().to_owned(), lines));
    }
    bodies
}

#[test]
fn header_is_repeated_and_rows_stay_whole() {
    let text = "\u{feff}ID,Severity,City\r\na,2,\"x\r\ny\"\r\n\r\nb,3,\"q\"\"\n,\"\r\nc,4,z";
    let expected = [
        ("ID,Severity,City\na,2,\"x\r\ny\"\nb,3,\"q\"\"\n,\"\n".to_owned(), vec![2, 5]),
        ("ID,Severity,City\nc,4,z\n".to_owned(), vec![7]),
    ];
    assert_eq!(bodies(Format::Csv, text, 2), expected);
}

#[test]
fn json_is_cut_at_its_objects() {
    let text = "[{\"ID\":\"a\",\n \"City\":\"[\"},\n{\"ID\":\"b\"}]";
    let expected = [
        ("{\"ID\":\"a\",\n \"City\":\"[\"}\n".to_owned(), vec![1]),
        ("{\"ID\":\"b\"}\n".to_owned(), vec![3]),
    ];
    assert_eq!(bodies(Format::Json, text, 1), expected);
    let text = "{\"ID\":\"a\"}\n\n{\"ID\":\"b\"}\n";
    assert_eq!(
        bodies(Format::Ndjson, text, 9),
        [("{\"ID\":\"a\"}\n{\"ID\":\"b\"}\n".to_owned(), vec![1, 3])]
    );
}

#[test]
fn unclosed_row_does_not_absorb_later_rows() {
    let text = "ID,Severity\na,\"2\nb,3\nc,4\n";
    let bodies = bodies(Format::Csv, text, 100);
    assert_eq!(bodies[0], ("ID,Severity\na,\"2\n".to_owned(), vec![2]));
    assert_eq!(bodies[1].1, [3, 4]);
}

/// Every row of a file is one row of its request, because both are read by the same rules.
#[test]
fn request_has_the_same_rows_as_the_file() {
    let long = "x".repeat(ROW_BYTES + 10);
    let texts = [
        (Format::Csv, "ID,Severity\na,\"1\rb,2\r\nc,\"3\"x\nd,\"4\n\",\"5\"y,\ne,\"6".to_owned()),
        (
            Format::Csv,
            format!("ID,Severity,City\na,2,{long}\n{}\nb,\"3,{long}\nc,4,", ",".repeat(ROW_BYTES + 9)),
        ),
        (Format::Ndjson, format!("{{\"ID\"\rnope\n[1]\n{{\"ID\":\"{long}\"}}\n7")),
        (
            Format::Json,
            "[[],{\"ID\":\"a\"},[{\"ID\":\"b\"},{}],{\"ID\":\"c\",{\"ID\":\"d\"},nope]]}{\"ID\":[".to_owned(),
        ),
        (
            Format::Json,
            format!("[{{\"ID\":\"{long}\"}},[\"{long}\"],{{\"ID\":\"}},{{\"ID\":\"b\"}},\n{{\"c\n]"),
        ),
    ];
    for (format, text) in texts {
        let mut rows = Rows::new(&DATASET, format);
        rows.push(text.as_bytes());
        rows.finish();
        let mut expected = Vec::new();
        while let Some(row) = rows.next() {
            expected.push((row.line, row.text.to_vec()));
        }
        let (mut batches, mut found) = (batches(format, &text), Vec::new());
        while let Some(batch) = batches.next(ROWS).unwrap() {
            let body = batch.body();
            let mut rows = Rows::new(&DATASET, format);
            rows.push(&body);
            rows.finish();
            let mut sent = 0;
            while let Some(row) = rows.next() {
                assert_eq!(row.text, batch.rows[sent].text);
                sent += 1;
            }
            assert!(batch.is_too_large() || sent == batch.rows.len());
            found.extend(batch.rows.into_iter().map(|row| (row.line, row.text)));
        }
        assert!(found == expected, "{format:?}: {} rows, {} expected", found.len(), expected.len());
    }
}

#[test]
fn a_batch_is_bounded_by_the_bytes_of_its_request() {
    let row = format!("a,2,{}\n", "\\".repeat(100_000));
    let text = format!("ID,Severity,City\n{}", row.repeat(100));
    let mut batches = batches(Format::Csv, &text);
    let mut rows = 0;
    while let Some(batch) = batches.next(ROWS).unwrap() {
        let length = batch.request().len();
        assert!(length < 6_000_000 && !batch.is_too_large(), "{length} bytes");
        assert!(length > 5_500_000 || rows + batch.rows.len() == 100, "as many rows as fit");
        rows += batch.rows.len();
    }
    assert_eq!(rows, 100);
}

#[test]
fn row_too_large_for_a_request_has_its_own_batch() {
    let text = format!("ID,Severity,City\na,2,x\nb,3,{}\nc,4,z\n", "\u{1}".repeat(1_100_000));
    let mut batches = batches(Format::Csv, &text);
    let too_large: Vec<_> = std::iter::from_fn(|| batches.next(ROWS).unwrap())
        .map(|batch| (batch.rows.len(), batch.is_too_large()))
        .collect();
    assert_eq!(too_large, [(1, false), (1, true), (1, false)]);
}

#[test]
fn the_size_of_a_line_is_that_in_json() {
    for line in ["a,b", "\"q\"", "tab\tand\r", "\u{0}\u{1f}\u{7f}", "Doña", "\u{2028}"] {
        assert_eq!(
            size_as_text(line.as_bytes()),
            serde_json::to_string(&format!("{line}\n")).unwrap().len() - 2,
            "{line:?}"
        );
    }
}

#[test]
fn rows_not_in_utf_8_are_sent_unchanged() {
    let text = b"sep=:\nID:Severity:City\na:2:Do\xf1a\nb:3:\xc3\xb1\n";
    let mut batches = Batches::new(&DATASET, input(Format::Csv, text), None);
    let request: Value = serde_json::from_slice(&batches.next(9).unwrap().unwrap().request()).unwrap();
    let body = request["body_base64"].as_str().unwrap();
    assert_eq!(base64_simd::STANDARD.decode_to_vec(body).unwrap(), text);
    assert_eq!(request.get("body"), None);

    let mut latin = input(Format::Csv, text);
    latin.charset = "latin1".parse().unwrap();
    let mut batches = Batches::new(&DATASET, latin, None);
    let request: Value = serde_json::from_slice(&batches.next(9).unwrap().unwrap().request()).unwrap();
    assert_eq!(request["body"], "sep=:\nID:Severity:City\na:2:Doña\nb:3:Ã±\n");
}

#[test]
fn a_part_keeps_the_lines_of_the_file() {
    let mut batches = batches(Format::Csv, "ID,Severity\na,1\nb,2\nc,3\n");
    let part = batches.next(9).unwrap().unwrap().part(&[0, 2]);
    assert_eq!(part.rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 4]);
    let request: Value = serde_json::from_slice(&part.request()).unwrap();
    assert_eq!(request["body"], "ID,Severity\na,1\nc,3\n");
    assert_eq!(request.get("date_order"), None);
}

#[test]
fn complete_rows_of_a_damaged_file_precede_the_error() {
    let text = "ID,Severity,City\na,2,x\nb,3,y\nc,4,Dayton";
    let packed = gzip(text.as_bytes());
    for (data, rows, error) in [
        (
            &packed[..packed.len() - 10],
            vec![2, 3],
            "could not read a test to its end: the gzip data is damaged",
        ),
        (&[&packed[..], b"\r\n"].concat(), vec![2, 3, 4], "something other than gzip follows"),
        (b"PK\x03\x04\x14\nrows\n", vec![], "the data is a zip archive"),
    ] {
        let mut batches = Batches::new(&DATASET, input(Format::Csv, data), None);
        let mut sent = Vec::new();
        let ended = loop {
            match batches.next(9) {
                Ok(Some(batch)) => sent.extend(batch.rows.iter().map(|row| row.line)),
                Ok(None) => panic!("the file is broken"),
                Err(error) => break error.to_string(),
            }
        };
        assert_eq!(sent, rows);
        assert!(ended.contains(error), "{ended}");
        assert!(batches.next(9).unwrap().is_none());
    }
}

#[test]
fn header_without_the_id_stops_before_sending() {
    let error = batches(Format::Csv, "Idx,Severity\na,1\n").next(9).unwrap_err().to_string();
    assert!(error.starts_with("a test cannot be used: the header has no column `ID`"), "{error}");
}
