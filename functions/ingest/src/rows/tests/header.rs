//! Header lines: names, separators, and what cannot be read.

use super::*;

#[test]
fn header_without_an_id_or_with_repeats_rejects_all_rows() {
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
    assert!(problem.unwrap().contains("found `city` twice; rename or remove one"));
}

#[test]
fn unusable_header_says_how_it_was_read() {
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
fn separator_is_the_only_one_that_makes_a_usable_header() {
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
fn declared_separator_is_used() {
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
fn unreadable_header_is_a_rejected_row() {
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
fn unreadable_header_stays_unreadable_after_resume() {
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
fn stored_part_of_an_unreadable_header_fits_into_a_reject() {
    let dataset = dataset();
    let mut rows = Rows::new(dataset, Format::Csv);
    rows.push("é".repeat(ROW_BYTES).as_bytes());
    rows.finish();
    let row = rows.next().unwrap();
    assert!(row.header.is_none(), "it is not below itself");
    let Content::Broken { detail, .. } = row.content else { panic!("it cannot be used") };
    let header = rows.header().unwrap();
    assert!(header.line.len() <= HEADER_EXCERPT_BYTES + 2, "{}", header.line.len());
    let problem = header.problem.as_deref().unwrap();
    assert!(
        problem.starts_with("the first line, which must name the columns, cannot be read: the row is longer")
    );
    assert_eq!(detail, problem);
}
