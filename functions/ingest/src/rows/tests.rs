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
        if rows.end != TextEnd::Open {
            return read;
        }
    }
}

#[test]
fn a_text_is_read_on_at_every_row_as_if_it_had_not_been_left() {
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
fn csv_rows_end_with_their_line_whatever_ends_it() {
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
fn quoted_cells_may_hold_commas_quotes_and_lines() {
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
fn a_quote_that_is_never_closed_costs_its_own_line_alone() {
    check(
        Format::Csv,
        "ID,Severity\na,\"1\r\nb,2\n",
        &[(2, "a,\"1", &["!unclosed_quote"]), (3, "b,2", &["b", "2"])],
    );
}

#[test]
fn a_row_that_the_end_of_a_broken_stream_cuts_is_never_an_event() {
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
fn a_row_cut_short_and_a_row_too_long_are_told() {
    check(
        Format::Csv,
        "ID,Severity\na\nb,2,3\nc,3",
        &[(2, "a", &["!cell_count"]), (3, "b,2,3", &["!cell_count"]), (4, "c,3", &["c", "3"])],
    );
}

#[test]
fn a_header_that_names_no_id_or_a_column_twice_places_no_row() {
    for text in ["A-1,3\nA-2,4", "ID,Severity,City,City\na,1,b,c", "Idx,Severity\na,1", "ID,\nA,"] {
        let (first, second) = text.split_once('\n').unwrap();
        check(Format::Csv, first, &[(1, first, &["!bad_header"])]);
        check(Format::Csv, text, &[(1, first, &["!bad_header"]), (2, second, &["!bad_header"])]);
    }
}

/// The header's columns of the id, severity and city, and why no row below it is accepted.
fn header_of(text: &str) -> (Vec<Option<usize>>, Option<String>) {
    let dataset = dataset();
    let mut rows = Rows::new(dataset, Format::Csv);
    rows.push(text.as_bytes());
    rows.finish();
    while rows.next().is_some() {}
    let header = rows.header().unwrap();
    let columns = ["ID", "Severity", "City"].map(|name| header.columns[dataset.column(name).unwrap()]);
    (columns.to_vec(), header.problem.clone())
}

#[test]
fn names_are_matched_without_blanks_and_case() {
    for (header, columns) in [
        ("id,severity,city", [Some(0), Some(1), Some(2)]),
        (" ID ,\tSEVERITY , City", [Some(0), Some(1), Some(2)]),
        ("\"id \",Severity,\" CITY\"", [Some(0), Some(1), Some(2)]),
        // The exact name wins, wherever it is; otherwise the first.
        ("id,severity,city,City", [Some(0), Some(1), Some(3)]),
        ("City,id,CITY,severity", [Some(1), Some(3), Some(0)]),
        ("id,severity,CITY,city", [Some(0), Some(1), Some(2)]),
        ("id,severity,c ity", [Some(0), Some(1), None]),
    ] {
        assert_eq!(header_of(header), (columns.to_vec(), None), "{header}");
    }
    let (_, problem) = header_of("id,severity,city,city");
    assert!(problem.unwrap().contains("names `city` twice"));
}

#[test]
fn header_that_cannot_be_used_says_how_it_was_read() {
    for (header, expected) in [
        ("Idx;Severity;City\nA;1;x", "it was read as `Idx;Severity…`, separated by commas"),
        ("A-1,4,Dayton,x,y", "it was read as `A-1`, `4`, `Dayton` and 2 more, separated by commas"),
        ("sep=;\nID,Severity\nA,1", "it was read as `ID,Severity`, separated by semicolons"),
        ("sep=^\nID;Severity\nA;1", "it was read as `ID;Severity`, separated by `^`"),
        ("I\u{fffd};Severity\nA;1", "declare the charset in which it was written, such as windows-1252"),
    ] {
        let problem = header_of(header).1.unwrap();
        assert!(problem.starts_with("the header has no column `ID`: the first line must"), "{problem}");
        assert!(problem.ends_with(expected), "{problem}");
    }
    let long = header_of(&"x".repeat(500).replace("xx", "é,")).1.unwrap();
    assert!(long.chars().count() <= 200, "{long}");
}

#[test]
fn separator_is_that_with_which_alone_the_header_makes_sense() {
    let expected: &[(u64, &str, &[&str])] =
        &[(2, "a;1;\"x;y\"", &["a", "1", "x;y"]), (3, "b;2;c,d|e", &["b", "2", "c,d|e"])];
    for separator in [";", "\t", "|"] {
        let text = "ID;Severity;City\na;1;\"x;y\"\n;;\nb;2;c,d|e\n".replace('|', "/");
        let text = text.replace(';', separator);
        let row = |text: &str| text.replace('|', "/").replace(';', separator);
        let rows: Vec<_> = expected
            .iter()
            .map(|(line, text, cells)| {
                (
                    line + u64::from(*line == 3),
                    row(text),
                    cells.iter().map(|cell| row(cell)).collect::<Vec<_>>(),
                )
            })
            .collect();
        for text in [text.clone(), format!("\u{feff}{text}")] {
            assert_eq!(read(Format::Csv, text.as_bytes(), 3), rows, "{text:?}");
        }
    }
    // Ambiguous headers, or ones with a comma, use the comma.
    for header in ["ID;Severity;x|ID|Severity|y", "ID,Severity,x;ID;Severity;y"] {
        let text = format!("{header}\na;1,2,3\n");
        let rows = read(Format::Csv, text.as_bytes(), 5);
        assert!(rows.last().unwrap().2 == ["!bad_header"] || rows[0].2 == ["a;1", "2", "3"], "{rows:?}");
    }
    // A line break in a name.
    let text = "ID;Severity;\"City\nname\"\na;1;x\n";
    check(Format::Csv, text, &[(3, "a;1;x", &["a", "1", "x"])]);
}

#[test]
fn separator_that_is_declared_counts() {
    for (text, expected) in [
        ("sep=;\nID;Severity\na;1\n", "a;1"),
        ("\u{feff}SEP=,\r\nID,Severity\r\na,1\r\n", "a,1"),
        ("\n\n\"sep=:\"\nID:Severity\na:1", "a:1"),
        ("sep=\t\nID\tSeverity\na\t1", "a\t1"),
        ("sep=|\n|\nID|Severity\na|1", "a|1"),
        ("sep=;\r\n\u{feff}ID;Severity\r\na;1", "a;1"),
        ("\u{feff}sep=|\n\n\u{feff}\u{feff}\n\u{feff}\"ID\"|Severity\na|1", "a|1"),
        ("\n\u{feff}ID;Severity\na;1", "a;1"),
    ] {
        let rows = read(Format::Csv, text.as_bytes(), 2);
        let [(_, row, cells)] = &rows[..] else { panic!("{text:?}: {rows:?}") };
        assert_eq!((row.as_str(), cells.as_slice()), (expected, &["a".to_owned(), "1".to_owned()][..]));
    }
    // A line that declares nothing is an ordinary first line.
    for text in ["sep=", "sep=;;", "sep=a", "sep=\"", "xsep=;"] {
        assert_eq!(read(Format::Csv, text.as_bytes(), 2)[0].2, ["!bad_header"], "{text}");
    }
    let mut rows = Rows::new(dataset(), Format::Csv);
    rows.push(b"sep=;\n");
    rows.finish();
    assert!(rows.next().is_none());
    assert_eq!(rows.no_rows(), Some(NoRows::OnlyHeader));
}

#[test]
fn a_first_line_that_cannot_be_read_is_a_row_that_cannot_be_placed() {
    check(Format::Csv, "ID,\"Severity", &[(1, "ID,\"Severity", &["!bad_header"])]);
    check(
        Format::Csv,
        "ID,\"Severity\na,1\n",
        &[(1, "ID,\"Severity", &["!bad_header"]), (2, "a,1", &["!bad_header"])],
    );
    let long = format!("ID,Severity,{}", "x".repeat(ROW_BYTES));
    for (text, rows) in [(long.clone(), 1), (format!("{long}\na,1,\n"), 2)] {
        let read = read(Format::Csv, text.as_bytes(), 1 << 20);
        assert_eq!((read[0].0, read[0].1.len()), (1, ROW_BYTES));
        assert_eq!(read.len(), rows);
        assert!(read.iter().all(|(_, _, cells)| cells == &["!bad_header"]), "{rows} rows");
    }
}

#[test]
fn a_first_line_that_cannot_be_read_is_none_the_better_for_reading_on() {
    let dataset = dataset();
    let mut rows = Rows::new(dataset, Format::Csv);
    rows.push(b"ID,\"Severity\na,1\n");
    rows.finish();
    assert!(matches!(rows.next().unwrap().content, Content::Broken { reason: BAD_HEADER, .. }));
    let position = rows.position().unwrap();
    let mut rows = Rows::resume(dataset, Format::Csv, &position);
    rows.push(b"a,1\n");
    rows.finish();
    assert!(matches!(rows.next().unwrap().content, Content::Broken { reason: BAD_HEADER, .. }));
}

#[test]
fn what_is_kept_of_a_first_line_that_cannot_be_read_fits_into_a_reject() {
    let dataset = dataset();
    let mut rows = Rows::new(dataset, Format::Csv);
    rows.push("é".repeat(ROW_BYTES).as_bytes());
    rows.finish();
    let row = rows.next().unwrap();
    assert!(row.header.is_none(), "it is not below itself");
    let Content::Broken { detail, .. } = row.content else { panic!("it cannot be used") };
    let header = rows.header().unwrap();
    assert!(header.line.len() <= HEADER_BEGIN + 2, "{}", header.line.len());
    let problem = header.problem.as_deref().unwrap();
    assert!(
        problem.starts_with("the first line, which must name the columns, cannot be read: the row is longer")
    );
    assert_eq!(detail, problem);
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
fn text_is_read_in_the_charset_that_is_declared() {
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
fn a_bracket_that_opens_nothing_is_no_row_of_its_own() {
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
fn json_has_a_row_for_each_element_wherever_it_stands() {
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
fn an_overlong_row_is_cut_and_what_follows_is_read() {
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

proptest! {
    #[test]
    fn rows_equal_those_of_the_csv_crate(
        cells in proptest::collection::vec(proptest::collection::vec("[a,;\t|\"\n\r é]{0,4}", 2), 1..6),
        separator in proptest::sample::select(b",;\t|".to_vec()),
        crlf in any::<bool>(),
        chunk in 1_usize..9,
    ) {
        let mut writer = ::csv::WriterBuilder::new()
            .delimiter(separator)
            .terminator(if crlf { ::csv::Terminator::CRLF } else { ::csv::Terminator::Any(b'\n') })
            .from_writer(Vec::new());
        writer.write_record(["ID", "Severity"]).unwrap();
        for row in &cells {
            writer.write_record(row).unwrap();
        }
        let text = writer.into_inner().unwrap();
        let read: Vec<_> = read(Format::Csv, &text, chunk).into_iter().map(|(_, _, cells)| cells).collect();
        let blanks = [' ', '\t', char::from(separator)];
        let is_blank = |row: &Vec<String>| {
            row.iter().all(|cell| cell.trim().is_empty() && cell.chars().all(|byte| blanks.contains(&byte)))
        };
        let expected: Vec<_> = cells.into_iter().filter(|row| !is_blank(row)).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn rows_in_a_charset_are_those_of_the_same_text_in_utf_8(
        charset in proptest::sample::select(vec!["windows-1252", "iso-8859-15", "windows-1251", "ibm866"]),
        separator in proptest::sample::select(vec![",", ";", "\t", "|"]),
        bytes in proptest::collection::vec(
            prop_oneof![4 => proptest::sample::select(b"a1,,;|\t\"\"\n\n\r ".to_vec()), 1 => any::<u8>()], 0..60),
        chunk in 1_usize..9,
        is_left: bool,
    ) {
        let header = "ID;Severity;City\n".replace(';', separator);
        let text = [header.as_bytes(), &bytes].concat();
        let (utf8, is_altered) = charset.parse::<Charset>().unwrap().decode(&text);
        prop_assume!(!is_altered);
        prop_assert_eq!(
            read_in(charset, &text, chunk, is_left),
            read_in("utf-8", utf8.as_bytes(), usize::MAX / 2, false)
        );
    }

    #[test]
    fn chunks_do_not_change_the_rows_of_a_text(text in "[a,\"\n\r{}\\[\\]:]{0,40}", chunk in 1_usize..5) {
        for format in [Format::Csv, Format::Ndjson, Format::Json] {
            let text = format!("ID,Severity\n{text}");
            prop_assert_eq!(read(format, text.as_bytes(), chunk), read(format, text.as_bytes(), usize::MAX));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn each_byte_of_a_csv_is_in_exactly_one_row(
        is_headed in any::<bool>(),
        text in "[a1,,\"\"\n\n\r \u{1a}é]{0,60}",
        bound in 12_usize..40,
        chunk in 1_usize..9,
    ) {
        let header = if is_headed { "ID,Severity\n" } else { "" };
        oracle::check(dataset(), Format::Csv, format!("{header}{text}").as_bytes(), bound, chunk);
    }

    #[test]
    fn each_byte_of_a_csv_with_any_separator_is_in_exactly_one_row(
        declaration in prop_oneof![3 => Just(String::new()), 1 => "\"?[sS]ep=[;,|:\t]\"?(\n|\r\n)"],
        header in prop_oneof![
            "(id|ID|Severity|severity|x|[,;|\t:]|\"|\n| ){0,12}",
            Just("ID;Severity;City".to_owned()),
            Just("\"id\"|\"a\nb\"|severity".to_owned()),
            Just(";\t;\nID\tSeverity\t\"x".to_owned()),
            Just("ID;Severity;x|ID|Severity|\"y".to_owned()),
        ],
        text in "[a1,;|\t\"\"\n\n\r \u{1a}é]{0,40}",
        bound in 12_usize..60,
        chunk in 1_usize..9,
    ) {
        oracle::check(dataset(), Format::Csv, format!("{declaration}{header}\n{text}").as_bytes(), bound, chunk);
    }

    #[test]
    fn row_below_the_stored_header_is_the_same_row(
        declaration in prop_oneof![3 => Just(String::new()), 1 => "sep=[;,|:\t]\n"],
        separator in proptest::sample::select(vec![",", ";", "\t", "|", ":"]),
        names in "(;[ a;|\t\"]{0,5}){0,3}",
        text in "[a1,;|\t\"\n ]{0,40}",
    ) {
        let header = format!("Severity;id{names}").replace(';', separator);
        let text = format!("{declaration}{header}\n{text}");
        let mut rows = Rows::new(dataset(), Format::Csv);
        rows.push(text.as_bytes());
        rows.finish();
        while let Some(row) = rows.next() {
            let (Content::Cells(cells), Some(header)) = (&row.content, row.header) else { continue };
            let expected: Vec<_> = (0..cells.len()).map(|at| cells.get(at).to_owned()).collect();
            let again = [header.line.as_bytes(), b"\n", row.text, b"\n"].concat();
            let again: Vec<_> = read(Format::Csv, &again, 7).into_iter().map(|(_, _, cells)| cells).collect();
            prop_assert_eq!(again, [expected], "{:?}", text);
        }
    }

    #[test]
    fn each_byte_of_json_is_in_exactly_one_row(
        text in r#"(\{"a":|\},\{|\},\{"a":1|[\{\}\[\],:"\\ a1é]|[\{\}\[\],:"]|\n|\r|\u{1a}){0,40}"#,
        bound in 4_usize..60,
        chunk in 1_usize..9,
    ) {
        oracle::check(dataset(), Format::Json, text.as_bytes(), bound, chunk);
        oracle::check(dataset(), Format::Ndjson, text.as_bytes(), bound, chunk);
    }

    #[test]
    fn unclosed_rows_fit_into_rejects(
        pieces in r#"(\{|\{|[\{\}\[\],:"x1 \n]|\{"a":|\{x|\{""){1,20}"#,
        times in 1_usize..20,
    ) {
        let text = pieces.repeat(times);
        // In a reject with several rows, such a row takes its bytes and a line feed in base64, the digits of its length
        // and a comma.
        let three_times =
            |row: &(u64, String, Vec<String>)| 4 * (row.1.len() + 1) + 3 * (row.1.len().to_string().len() + 1);
        let rows = read(Format::Json, text.as_bytes(), usize::MAX);
        let written: usize = rows.iter().filter(|row| row.2 == ["!not_json"]).map(three_times).sum();
        prop_assert!(written <= 9 * (text.len() + 1), "{written} thirds of bytes of {}: {text}", text.len());
    }

    #[test]
    fn each_element_of_a_valid_array_is_one_row(
        elements in proptest::collection::vec(
            (r#"[a,\{\}\[\]":\\\n]{0,8}"#, proptest::option::of(0_u8..3)), 0..6),
        is_pretty in any::<bool>(),
        broken in proptest::option::of((0_usize..6, 0_usize..4)),
        chunk in 1_usize..40,
    ) {
        let objects = elements.iter().map(|(text, nested)| json!({"ID": text, "Severity": 3, "more": match nested {
            None => json!(text),
            Some(0) => json!([{"a": text}, [text], {}]),
            Some(_) => json!({"a": [{"b": {}}], "c": text}),
        }}));
        let written = |object: &Value| {
            if is_pretty { serde_json::to_string_pretty(object) } else { serde_json::to_string(object) }
        };
        let mut texts: Vec<String> = objects.map(|object| written(&object).unwrap()).collect();
        // One of them misses a bracket or a quote.
        let broken = broken.filter(|(at, _)| *at < texts.len()).map(|(at, how)| {
            let broken = [
                r#"{"ID":"x","Severity":3"#,
                r#"{"ID:"x","Severity":3}"#,
                r#"{"ID":"x,"Severity":3}"#,
                r#"{"ID":"x","Severity":[3}"#,
            ];
            texts[at] = broken[how].to_owned();
            at
        });
        let text = format!("[{}]", texts.join(if is_pretty { ",\n" } else { "," }));
        let found = read(Format::Json, text.as_bytes(), chunk);
        let whole = |text: &str| serde_json::from_str::<Value>(text).is_ok();
        // The others are found unchanged.
        let found: Vec<_> = found.iter().filter(|(_, text, _)| whole(text)).map(|(_, text, _)| text).collect();
        let expected: Vec<_> = texts
            .iter()
            .enumerate()
            .filter(|(at, _)| Some(*at) != broken)
            .map(|(_, text)| text)
            .collect();
        prop_assert_eq!(found, expected, "{}", text);
    }
}
