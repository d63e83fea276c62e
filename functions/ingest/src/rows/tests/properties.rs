//! Properties of the rows of any text.

use super::*;

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
    fn rows_in_any_charset_equal_those_of_the_text_in_utf_8(
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
