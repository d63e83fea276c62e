mod header;
mod properties;

use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Content as RowContent, *};

#[path = "../../../../tests/hostile/oracle.rs"]
mod oracle;

fn dataset() -> &'static Dataset {
    static DATASET: LazyLock<Dataset> = LazyLock::new(|| Dataset::named("us_accidents").unwrap());
    &DATASET
}

/// Every row as line, text and cells, or the reason code if it is rejected; the text is pushed in chunks.
fn read(format: Format, text: &[u8], chunk: usize) -> Vec<(u64, String, Vec<String>)> {
    let dataset = dataset();
    let mut rows = Rows::new(dataset, format);
    let mut read = Vec::new();
    let mut chunks = text.chunks(chunk.max(1));
    loop {
        match chunks.next() {
            Some(chunk) => rows.push(chunk),
            None => rows.finish(),
        }
        while let Some(row) = rows.next() {
            assert_eq!(row.index, read.len() as u64);
            let cells = match row.content {
                Content::Cells(cells) => (0..cells.len()).map(|at| cells.get(at).to_owned()).collect(),
                Content::Json => vec!["json".to_owned()],
                Content::Broken { reason, .. } => vec![format!("!{reason}")],
            };
            read.push((row.line, String::from_utf8_lossy(row.text).into_owned(), cells));
        }
        if rows.end != TextEnd::MoreMayFollow {
            return read;
        }
    }
}

#[test]
fn reading_resumes_at_any_row_with_the_same_rows() {
    for (format, text) in [
        (Format::Csv, "\u{feff}ID,\"Severity\"\r\nA-1,3\r\n\r\n\"A\n2\",4\nA-3\nA-4,\"2\"\n"),
        (Format::Ndjson, "{\"ID\":\"1\"}\n\n {\"ID\":\"2\"} \nnope\n{\"ID\":\"3\"}"),
        (Format::Json, "[{\"ID\":\"1\"},\n{\"ID\":[\"2\"]}\n, 7, {\"ID\":\"3\"}]"),
    ] {
        let dataset = dataset();
        let whole = read(format, text.as_bytes(), usize::MAX);
        for left_at in 0..whole.len() {
            let mut rows = Rows::new(dataset, format);
            rows.push(text.as_bytes());
            for _ in 0..left_at {
                rows.next().unwrap();
            }
            // No row is taken before the first one of the text.
            let position = rows.position().unwrap_or_default();
            let mut rows = Rows::resume(dataset, format, &position);
            rows.push(&text.as_bytes()[usize::try_from(position.offset).unwrap()..]);
            rows.finish();
            let mut rest = Vec::new();
            while let Some(row) = rows.next() {
                assert_eq!(row.index, (left_at + rest.len()) as u64);
                rest.push((row.line, String::from_utf8_lossy(row.text).into_owned()));
            }
            let expected: Vec<_> =
                whole[left_at..].iter().map(|(line, text, _)| (*line, text.clone())).collect();
            assert_eq!(rest, expected, "{text:?} left at {left_at}");
        }
    }
}

fn check(format: Format, text: impl AsRef<[u8]>, expected: &[(u64, &str, &[&str])]) {
    let text = text.as_ref();
    for chunk in [1, 2, 3, 7, 64, usize::MAX] {
        let read = read(format, text, chunk);
        let read: Vec<_> = read
            .iter()
            .map(|(line, text, cells)| {
                (*line, text.as_str(), cells.iter().map(String::as_str).collect::<Vec<_>>())
            })
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|(line, text, cells)| (*line, *text, cells.to_vec())).collect();
        assert_eq!(read, expected, "in chunks of {chunk}: {:?}", String::from_utf8_lossy(text));
    }
}

#[test]
fn csv_rows_end_at_any_line_end() {
    let expected: &[(u64, &str, &[&str])] = &[(2, "a,1", &["a", "1"]), (3, "b,2", &["b", "2"])];
    for text in [
        "ID,Severity\na,1\nb,2\n",
        "ID,Severity\na,1\nb,2",
        "ID,Severity\r\na,1\r\nb,2\r\n",
        "ID,Severity\ra,1\rb,2\r",
        "\u{feff}ID,Severity\na,1\nb,2\n",
    ] {
        check(Format::Csv, text.replace("\ra", "\r\na").replace("\rb", "\r\nb"), expected);
    }
    check(Format::Csv, "ID,Severity\n\n\na,1\n\n", &[(4, "a,1", &["a", "1"])]);
    check(Format::Csv, "", &[]);
    check(Format::Csv, "ID,Severity\n", &[]);
}

#[test]
fn quoted_cells_may_have_commas_quotes_and_line_ends() {
    check(
        Format::Csv,
        "ID,Severity,City\n\"a,\"\"x\"\"\n\n\",3,\"\"\nb,5\" pipe,d\"\nc,\"2\",\"\"\"\"\n",
        &[
            (2, "\"a,\"\"x\"\"\n\n\",3,\"\"", &["a,\"x\"\n\n", "3", ""]),
            (5, "b,5\" pipe,d\"", &["b", "5\" pipe", "d\""]),
            (6, "c,\"2\",\"\"\"\"", &["c", "2", "\""]),
        ],
    );
}

#[test]
fn unclosed_quote_rejects_only_its_own_line() {
    check(
        Format::Csv,
        "ID,Severity\na,\"1\r\nb,2\n",
        &[(2, "a,\"1", &["!unclosed_quote"]), (3, "b,2", &["b", "2"])],
    );
}

#[test]
fn row_cut_by_a_broken_stream_is_never_an_event() {
    let dataset = dataset();
    for (format, whole, cut) in [
        (Format::Csv, "ID,Severity\na,1\n", "b,2"),
        (Format::Csv, "ID,Severity\na,1\n", "b,\"2\n3,\n"),
        (Format::Ndjson, "{\"ID\":1}\n", "{\"ID\":2}"),
        (Format::Json, "[{\"ID\":1},", "{\"ID\":2"),
    ] {
        let mut rows = Rows::new(dataset, format);
        rows.push(format!("{whole}{cut}").as_bytes());
        rows.finish_cut_short();
        assert!(!matches!(rows.next().unwrap().content, Content::Broken { .. }));
        let row = rows.next().unwrap();
        assert_eq!(row.text, cut.as_bytes());
        assert!(matches!(row.content, Content::Broken { reason: "cut_short", .. }), "{row:?}");
        assert!(rows.next().is_none());
    }
}

#[test]
fn row_with_too_few_or_too_many_cells_is_rejected() {
    check(
        Format::Csv,
        "ID,Severity\na\nb,2,3\nc,3",
        &[(2, "a", &["!cell_count"]), (3, "b,2,3", &["!cell_count"]), (4, "c,3", &["c", "3"])],
    );
}

/// The cells of a CSV in a charset, and whether any of them is altered. Optionally the text is left and resumed after
/// each row.
fn read_in(charset: &str, text: &[u8], chunk: usize, is_left: bool) -> Vec<(Vec<String>, bool)> {
    let charset = charset.parse().unwrap();
    let mut rows = Rows::new(dataset(), Format::Csv).with_charset(charset);
    let (mut found, mut pushed) = (Vec::new(), 0);
    loop {
        let end = text.len().min(pushed + chunk);
        rows.push(&text[pushed..end]);
        pushed = end;
        loop {
            if pushed == text.len() {
                rows.finish();
            }
            let Some(row) = rows.next() else { break };
            let cells = match row.content {
                Content::Cells(cells) => (0..cells.len()).map(|at| cells.get(at).to_owned()).collect(),
                Content::Json => unreachable!(),
                Content::Broken { reason, .. } => vec![format!("!{reason}")],
            };
            found.push((cells, row.is_altered));
            if is_left {
                let position = serde_json::to_string(&rows.position().unwrap()).unwrap();
                let position: Position = serde_json::from_str(&position).unwrap();
                rows = Rows::resume(dataset(), Format::Csv, &position).with_charset(charset);
                rows.push(&text[usize::try_from(position.offset).unwrap()..pushed]);
            }
        }
        if pushed == text.len() {
            return found;
        }
    }
}

#[test]
fn text_is_read_in_its_declared_charset() {
    let text = b"ID,Severity,City\na,1,Do\xf1a \x80\n";
    let cells = |text: &str| vec![vec!["a".to_owned(), "1".to_owned(), text.to_owned()]];
    for (charset, city, is_altered) in [
        ("windows-1252", "Doña €", false),
        ("iso-8859-1", "Doña €", false),
        ("koi8-r", "DoЯa ─", false),
        ("utf-8", "Do\u{fffd}a \u{fffd}", true),
    ] {
        let expected: Vec<_> = cells(city).into_iter().map(|cells| (cells, is_altered)).collect();
        assert_eq!(read_in(charset, text, 2, true), expected, "{charset}");
    }
    // A byte order mark means UTF-8, whatever is declared.
    let marked = "\u{feff}ID,Severity,City\nb,2,x\na,1,Doña\n".as_bytes();
    assert_eq!(read_in("latin1", marked, 2, true)[1], (cells("Doña").remove(0), false));
    // Names of columns are in the charset, too.
    let mut rows = Rows::new(dataset(), Format::Csv).with_charset("latin1".parse().unwrap());
    rows.push(b"ID;Severity;Stra\xdfe\na;1;x\n");
    assert_eq!(rows.next().unwrap().header.unwrap().unknown, [(2, "Straße".to_owned())]);
}

#[test]
fn text_that_is_not_utf_8_becomes_u_fffd() {
    check(
        Format::Csv,
        b"ID,Severity,City\na,1,Do\xf1a\n",
        &[(2, "a,1,Do\u{fffd}a", &["a", "1", "Do\u{fffd}a"])],
    );
}

#[test]
fn ndjson_has_a_row_on_each_line() {
    check(
        Format::Ndjson,
        "{\"a\":1}\r\n\n  \n{\"b\":\n [2]",
        &[(1, "{\"a\":1}", &["json"]), (4, "{\"b\":", &["json"]), (5, "[2]", &["json"])],
    );
}

#[test]
fn stray_bracket_is_part_of_the_next_rejected_row() {
    check(Format::Json, "{{{{", &[(1, "{{{{", &["!not_json"])]);
    check(
        Format::Json,
        "[{{{{\"ID\":1},{\"a\":{x},{}]",
        &[
            (1, "{{{", &["!not_json"]),
            (1, "{\"ID\":1}", &["json"]),
            (1, "{\"a\":{x},", &["!not_json"]),
            (1, "{}", &["json"]),
        ],
    );
}

#[test]
fn json_has_a_row_for_each_element_on_any_line() {
    let expected: &[(u64, &str, &[&str])] =
        &[(1, "{\"a\":\"}\\\"]\"}", &["json"]), (1, "{\"b\":[{}]}", &["json"])];
    check(Format::Json, "[{\"a\":\"}\\\"]\"},{\"b\":[{}]}]", expected);
    check(Format::Json, "{\"a\":\"}\\\"]\"}{\"b\":[{}]}", expected);
    check(
        Format::Json,
        "[\n{\"a\":1},\n7, nope\n]",
        &[(2, "{\"a\":1}", &["json"]), (3, "7", &["json"]), (3, "nope", &["json"])],
    );
    check(
        Format::Json,
        "[{\"a\":1},{\"b\":\"2",
        &[(1, "{\"a\":1}", &["json"]), (1, "{\"b\":\"2", &["!not_json"])],
    );
    check(Format::Json, "[]", &[]);
}

#[test]
fn rows_after_a_cut_overlong_row_are_read() {
    let long = "x".repeat(2 * ROW_BYTES);
    let text = format!("ID,Severity\na,{long}\nb,2\n");
    let read = read(Format::Csv, text.as_bytes(), 1 << 16);
    assert_eq!(read.len(), 2);
    assert_eq!(
        (read[0].0, read[0].1.len(), read[0].2.as_slice()),
        (2, ROW_BYTES, &["!too_large".to_owned()][..])
    );
    assert_eq!((read[1].0, read[1].1.as_str()), (3, "b,2"));

    let text = format!("ID,Severity\na,\"{}\nb,2\n", "y\n".repeat(ROW_BYTES));
    let read = super::tests::read(Format::Csv, text.as_bytes(), 1 << 20);
    assert_eq!(read[0].2, ["!unclosed_quote"], "a quote that is open for too long rejects only its own line");
    assert_eq!(read.last().unwrap().2, ["b", "2"]);
}
