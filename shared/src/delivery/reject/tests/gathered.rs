//! Rows that share a reject, and what pays for rejects of their own.

use super::*;

#[test]
fn rows_are_gathered_once_the_budget_is_used_up() {
    let (mut collector, detail, file) = (collector(), Detail::from("why"), csv("ID,Severity,City"));
    let mut lines = Vec::new();
    for index in 0..100_000 {
        collector.came_in(8);
        collector.add(row(index, b"A-1,3,1", &detail, Some(&file)));
        if collector.is_full() {
            lines.extend(parsed(&collector.take()));
        }
    }
    collector.finish();
    lines.extend(parsed(&collector.take()));
    let gathered: Vec<_> = lines.iter().filter(|line| line.get("row_count").is_some()).collect();
    assert!(lines.len() - gathered.len() > 2_000, "{}", lines.len());
    assert!(gathered.len() < 10, "{}", gathered.len());
    let rows = |line: &Value| line.get("row_count").map_or(1, |count| count.as_u64().unwrap());
    assert_eq!(lines.iter().map(rows).sum::<u64>(), 100_000);
    let last = gathered.last().unwrap();
    assert!(last["source"].as_str().unwrap().ends_with("-100001"), "{}", last["source"]);
    assert!(last["payload"].as_str().unwrap().ends_with("A-1,3,1\nA-1,3,1"));
    assert_eq!(last["header"], "ID,Severity,City");
    assert_eq!(last.get("row_bytes"), None);
}

#[test]
fn rows_with_a_long_header_share_one_copy_of_it() {
    let (mut collector, detail) = (collector(), Detail::from("why"));
    let header = format!("ID,{}", "h".repeat(300_000));
    let file = csv(&header);
    collector.came_in(header.len());
    for (index, reason) in ["cell_count", "missing_id", "cell_count"].into_iter().enumerate() {
        let index = index as u64;
        collector.add(RefusedRow { reason, ..row(index, b"A-1", &detail, Some(&file)) });
    }
    collector.finish();
    let lines = parsed(&collector.take());
    let whole: String = lines
        .iter()
        .filter(|line| line["reason"] == "cell_count")
        .map(|line| line["payload"].as_str().unwrap())
        .collect();
    assert_eq!(whole, format!("{header}\nA-1\nA-1"));
    assert!(lines.iter().all(|line| line.get("header").is_none() && line["format"] == "csv"));
    assert_eq!(lines[0].get("row_bytes"), Some(&json!("")), "no row ends in the first part");
    assert_eq!(lines[1]["row_bytes"], "300003,3,3");
}

#[test]
fn copies_of_a_long_header_pay_for_no_other_copy() {
    let (mut collector, detail) = (collector(), Detail::from("why"));
    let file = csv(&"h\"".repeat(176_413));
    collector.came_in(352_827);
    for index in 0..5_u64 {
        collector.came_in(1);
        let reason = REASONS[usize::try_from(index).unwrap() % 4];
        collector.add(RefusedRow { reason, ..row(index, b"", &detail, Some(&file)) });
    }
    collector.finish();
    let written: usize = collector.take().lines().iter().map(Bytes::len).sum();
    assert!(written <= 3 * 352_832 + 1_000_000, "{written}");
}

/// How many rows are rejects of their own before the first that is gathered, where so many bytes came in.
fn singles(came_in: usize, rows: u64) -> usize {
    let (mut collector, detail) = (collector(), Detail::from("why"));
    collector.came_in(came_in);
    for index in 0..rows {
        collector.add(row(index + 1_000_000, b"A-1", &detail, None));
    }
    parsed(&collector.take()).len()
}

#[test]
fn received_bytes_pay_for_single_rejects_except_a_reserve() {
    let line = single(b"A-1", None)[0].to_string().len();
    let line = line
        - r#""row_index":5,"source":"inbox/a.csv:7","detail":"the row has 3 cells where the header has 4""#
            .len()
        + r#""row_index":1000000,"source":"inbox/a.csv:1000002","detail":"why""#.len()
        + "\n".len();
    for came_in in [0, 1_000, 100_000] {
        let expected = (1_000_000 + 3 * came_in - 256 * 1024) / line;
        assert_eq!(singles(came_in, 20_000), expected.min(20_000), "{came_in}");
    }
}

/// A collector that gathers rows, since nothing came in that pays for rejects of their own.
fn gathering(detail: &Detail) -> Collector {
    let mut collector = collector();
    while !collector.has_gathered() {
        collector.add(row(0, b"A-1", detail, None));
    }
    collector.finish();
    drop(collector.take());
    collector
}

#[test]
fn single_rejects_resume_after_16_megabytes() {
    for (came_in, is_single) in [(0, false), (5_000_000, false), (5_300_000, true)] {
        let detail = Detail::from("why");
        let mut collector = gathering(&detail);
        collector.came_in(came_in);
        collector.finish();
        collector.add(row(0, b"A-1", &detail, None));
        assert_eq!(!collector.has_gathered(), is_single, "{came_in}");
    }
}

#[test]
fn large_row_or_one_without_a_position_is_never_gathered() {
    const LARGE: usize = 128 * 1024;
    let detail = Detail::from("why");
    for (bytes, row_index, is_single) in
        [(LARGE, Some(0), true), (LARGE - 1, Some(0), false), (3, None, true), (3, Some(0), false)]
    {
        let mut collector = gathering(&detail);
        collector.came_in(LARGE);
        collector.add(RefusedRow { row_index, ..row(0, &vec![b'x'; bytes], &detail, None) });
        // Rows that fill a reject are finished at once.
        let finished = parsed(&collector.take());
        assert_eq!(finished.len(), usize::from(is_single), "{bytes} {row_index:?}");
    }
}

#[test]
fn gathered_rows_of_128_kibibytes_make_a_reject() {
    let detail = Detail::from("why");
    let mut collector = gathering(&detail);
    collector.came_in(200_000);
    for index in 0..200 {
        collector.add(row(index, &[b'x'; 1_023], &detail, None));
    }
    collector.finish();
    let counts: Vec<_> =
        parsed(&collector.take()).iter().map(|line| line["row_count"].as_u64().unwrap()).collect();
    // Each row but the first has a line feed before it.
    assert_eq!(counts, [129, 71]);
}

#[test]
fn rows_that_share_a_long_header_pay_for_the_next() {
    let (mut collector, detail, file) = (collector(), Detail::from("why"), csv(&"h".repeat(100_000)));
    // Three times the header and 256 KiB: 562,144 bytes, the line feed before each row counted.
    for index in 0..548 {
        collector.add(row(index, &[b'x'; 1_023], &detail, Some(&file)));
        assert!(!collector.has_finished(), "{index}");
    }
    collector.add(row(548, &[b'x'; 1_023], &detail, Some(&file)));
    assert!(collector.has_finished() && !collector.has_gathered());
}

#[test]
fn rows_of_different_files_are_not_gathered_in_one_reject() {
    let detail = Detail::from("why");
    let [one, other] = ["a", "b"].map(|header| csv(&header.repeat(70_000)));
    let rows = |other: RefusedRow<'_>| {
        let mut collector = collector();
        collector.came_in(1_000_000);
        collector.add(row(0, b"A-1", &detail, Some(&one)));
        collector.add(other);
        collector.finish();
        collector.take().rejects.len()
    };
    let same = row(1, b"A-2", &detail, Some(&one));
    assert_eq!(rows(same), 1);
    assert_eq!(rows(row(1, b"A-2", &detail, Some(&other))), 2, "another header");
    assert_eq!(rows(RefusedRow { name: "inbox/b.csv", ..same }), 2, "another object");
    assert_eq!(rows(RefusedRow { owner: (1, 1), ..same }), 2, "another message");
    let mut collector = gathering(&detail);
    collector.came_in(1_000_000);
    let without = csv("ID");
    for file in [Some(&without), None, None, Some(&without)] {
        collector.add(row(0, b"A-1", &detail, file));
    }
    collector.finish();
    assert_eq!(collector.take().rejects.len(), 3, "one without a file");
}

#[test]
fn reject_of_several_rows_says_how_many_and_why() {
    let detail = Detail::from("why");
    let rows = |reasons: &[&'static str], is_separate: &[bool]| {
        let mut collector = gathering(&detail);
        // Nothing pays for a second reject.
        for (index, (reason, is_separate)) in (0..).zip(reasons.iter().zip(is_separate)) {
            collector.add(RefusedRow {
                reason,
                is_separate: *is_separate,
                ..row(index, b"A-1", &detail, None)
            });
        }
        collector.finish();
        parsed(&collector.take())
    };
    let one = rows(&["a"], &[true]);
    assert_eq!((&one[0]["reason"], &one[0]["detail"]), (&json!("a"), &json!("why")));
    assert_eq!((one[0].get("row_bytes"), one[0].get("row_count")), (None, None));
    let alike = rows(&["a", "a", "a"], &[false; 3]);
    assert_eq!(
        (&alike[0]["reason"], &alike[0]["detail"]),
        (&json!("a"), &json!("3 together, the first: why"))
    );
    assert_eq!((alike[0].get("row_bytes"), &alike[0]["row_count"]), (None, &json!(3)));
    // Once one must be read by itself, the reader must know where each ends.
    for is_separate in [[true, false], [false, true]] {
        assert_eq!(rows(&["a", "a"], &is_separate)[0]["row_bytes"], "3,3", "{is_separate:?}");
    }
}

/// Reasons beyond any that there are.
fn many_reasons(count: usize) -> Vec<&'static str> {
    (0..count).map(|index| &*format!("reason {index}").leak()).collect()
}

#[test]
fn half_of_the_reserve_pays_for_more_reasons() {
    let detail = Detail::from("why");
    let mut collector = gathering(&detail);
    let mut reasons = many_reasons(400);
    // By then the first reject has many reasons, and counts each.
    reasons.extend([reasons[0], reasons[399], reasons[0]]);
    for (index, reason) in (0..).zip(reasons) {
        collector.add(RefusedRow { reason, ..row(index, b"A-1", &detail, None) });
    }
    collector.finish();
    let lines = parsed(&collector.take());
    // Each takes about 1,550 bytes off the account.
    assert!((70..100).contains(&lines.len()), "{}", lines.len());
    let rows = |line: &Value| line.get("row_count").map_or(1, |count| count.as_u64().unwrap());
    assert_eq!(lines.iter().map(rows).sum::<u64>(), 403);
    assert_eq!(lines[0]["reason"], "several");
    assert!(lines[1..].iter().all(|line| rows(line) == 1));
    let counts: String = lines[0]["detail"].as_str().unwrap().chars().skip(4).take(26).collect();
    assert_eq!(counts, "together (3 reason 0, 1 re");
}
