//! Rejects as they are written.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;

const AT: &str = "2023-11-14T22:13:20.000000Z";
/// Bytes of an entry.
///
/// Source: Firehose API reference, `PutRecordBatch`.
const ENTRY_BYTES: usize = 1_000 * 1024;

fn collector() -> Collector {
    Collector::new("ingest", AT.to_owned())
}

fn csv(header: &str) -> FileContext {
    FileContext::new("csv", Some(header.into()), Some(DateOrder::Mdy))
}

/// A row of `inbox/a.csv`, refused.
fn row<'a>(index: u64, payload: &'a [u8], detail: &'a Detail, file: Option<&'a FileContext>) -> Refused<'a> {
    Refused {
        owner: (0, index),
        reason: "cell_count",
        detail,
        name: "inbox/a.csv",
        line: Some(index + 2),
        row_index: Some(index),
        payload,
        alone: false,
        file,
    }
}

fn parsed(finished: &Finished) -> Vec<Value> {
    finished.lines().iter().map(|line| serde_json::from_slice(line).unwrap()).collect()
}

/// The lines of a row that is a reject of its own.
fn single(payload: &[u8], file: Option<&FileContext>) -> Vec<Value> {
    let mut collector = collector();
    collector.add(row(5, payload, &"the row has 3 cells where the header has 4".into(), file));
    assert!(!collector.has_gathered());
    parsed(&collector.take())
}

#[test]
fn a_reject_holds_all_that_is_needed_to_send_the_row_again() {
    assert_eq!(
        single(b"A-1,\"x\"", Some(&csv("ID,Severity"))),
        [json!({"rejected_at": AT, "function": "ingest", "reason": "cell_count",
            "detail": "the row has 3 cells where the header has 4", "source": "inbox/a.csv:7", "row_index": 5,
            "payload": "A-1,\"x\"", "format": "csv", "header": "ID,Severity", "date_order": "mdy"})]
    );
}

#[test]
fn the_table_has_a_column_for_everything_that_a_reject_may_hold() {
    let mut gathered = collector();
    let detail = Detail::from("…");
    for index in 0..2 {
        let long = csv(&"x".repeat(HEADER_BYTES + 1));
        gathered.add(row(index, b"A", &detail, Some(&long)));
    }
    gathered.finish();
    let lines = [
        single("x".repeat(PART_BYTES + 1).as_bytes(), Some(&csv("ID"))),
        single(b"\xff", None),
        parsed(&gathered.take()),
    ];
    let keys: std::collections::BTreeSet<_> =
        lines.iter().flatten().flat_map(|line| line.as_object().unwrap().keys().cloned()).collect();
    let columns = COLUMNS.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(keys, columns);
}

#[test]
fn a_payload_is_base64_if_it_is_not_utf_8_or_json_would_double_it() {
    let controls = [1; 1_000];
    for (payload, is_base64) in
        [(&b"\xff\x00"[..], true), (&controls, true), (b"\x01\x01", false), (b"{\"ID\":\"\"}", false)]
    {
        let line = &single(payload, None)[0];
        assert_eq!(line.get("payload_base64").is_some(), is_base64);
        assert_eq!(line.get("payload").is_some(), !is_base64);
    }
}

#[test]
fn a_long_payload_comes_in_parts_that_each_fit() {
    // The first part would end within an ñ.
    let text = format!("xx{}", "\"ñ\"".repeat(PART_BYTES));
    let lines = single(text.as_bytes(), Some(&csv("ID")));
    assert!(lines.iter().all(|line| line.to_string().len() < ENTRY_BYTES));
    let whole: String = lines.iter().map(|line| line["payload"].as_str().unwrap()).collect();
    assert_eq!(whole, text);
    let parts: Vec<_> =
        lines.iter().map(|line| (line["part"].as_u64().unwrap(), line["parts"].as_u64().unwrap())).collect();
    assert_eq!(parts, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
}

#[test]
fn a_detail_is_cut_and_holds_no_control_characters() {
    let detail = |text: &str| Detail::from(text).as_str().to_owned();
    assert_eq!(detail("as it is: ñ"), "as it is: ñ");
    assert_eq!(detail(&"ñ".repeat(200)), "ñ".repeat(200));
    assert_eq!(detail(&"ñ".repeat(201)), format!("{}…", "ñ".repeat(199)));
    assert_eq!(detail("a\u{1}\nb"), "a\u{fffd}\u{fffd}b");
}

#[test]
fn rows_are_rejects_of_their_own_until_the_account_is_empty_and_then_gathered() {
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
fn rows_under_a_long_header_are_gathered_under_one_copy_of_it() {
    let (mut collector, detail) = (collector(), Detail::from("why"));
    let header = format!("ID,{}", "h".repeat(300_000));
    let file = csv(&header);
    collector.came_in(header.len());
    for (index, reason) in ["cell_count", "missing_id", "cell_count"].into_iter().enumerate() {
        let index = index as u64;
        collector.add(Refused { reason, ..row(index, b"A-1", &detail, Some(&file)) });
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
fn copies_of_a_long_header_do_not_count_as_rows_that_pay_for_the_next() {
    let (mut collector, detail) = (collector(), Detail::from("why"));
    let file = csv(&"h\"".repeat(176_413));
    collector.came_in(352_827);
    for index in 0..5_u64 {
        collector.came_in(1);
        let reason = REASONS[usize::try_from(index).unwrap() % 4];
        collector.add(Refused { reason, ..row(index, b"", &detail, Some(&file)) });
    }
    collector.finish();
    let written: usize = collector.take().lines().iter().map(Bytes::len).sum();
    assert!(written <= 3 * 352_832 + 1_000_000, "{written}");
}

/// Rows of some kind, as a reader would find them in a text.
#[derive(Debug, Clone)]
struct Rows {
    header: usize,
    pattern: &'static [u8],
    lengths: Vec<usize>,
    times: usize,
    reasons: usize,
    alone: bool,
    good_between: usize,
    files: usize,
}

fn rows() -> impl Strategy<Value = Rows> {
    let patterns: [&[u8]; 6] = [b"x", b"\"", b"\x01", b"\xff", b"A-1,3,\"\n\",", "ñ\t{}".as_bytes()];
    (
        prop_oneof![Just(0_usize), 1..200_usize, 20_000..90_000_usize, 100_000..400_000_usize],
        prop::sample::select(patterns.to_vec()),
        vec(prop_oneof![4 => 0..9_usize, 2 => 0..400_usize, 1 => 0..300_000_usize], 1..5),
        1..3_000_usize,
        1..9_usize,
        any::<bool>(),
        prop_oneof![Just(0_usize), Just(6_usize)],
        prop_oneof![4 => Just(1_usize), 1 => 2..20_usize],
    )
        .prop_map(|(header, pattern, lengths, times, reasons, alone, good_between, files)| {
            // Some megabytes at most.
            let bytes = lengths.iter().sum::<usize>().max(1);
            let times = times.min(4_000_000 / bytes).max(1);
            Rows { header, pattern, lengths, times, reasons, alone, good_between, files }
        })
}

const REASONS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_bounded_by_what_came_in(rows in rows()) {
        let (mut collector, detail) = (collector(), Detail::from("\"why\" ".repeat(80)));
        let (mut came_in, mut written, mut largest, mut count) = (0, 0, 0, 0);
        let mut write = |finished: Finished| {
            written += finished.lines().iter().map(Bytes::len).sum::<usize>();
            largest = finished.lines().iter().map(Bytes::len).max().unwrap_or(0).max(largest);
            count += finished.rejects.iter().map(|(owners, _)| owners.rows).sum::<u64>();
        };
        for number in 0..rows.files {
            let name = format!("request-{number}");
            let header = "h\"".repeat(rows.header / 2);
            let file = csv(&header);
            let mut came = |collector: &mut Collector, bytes| {
                collector.came_in(bytes);
                came_in += bytes;
            };
            came(&mut collector, header.len() + 1);
            for index in 0..rows.times {
                let payload = rows.pattern.repeat(rows.lengths[index % rows.lengths.len()]);
                let payload = &payload[..payload.len().min(rows.lengths[index % rows.lengths.len()])];
                came(&mut collector, payload.len() + 1 + rows.good_between);
                let index = index as u64 * 2;
                collector.add(Refused {
                    reason: REASONS[usize::try_from(index / 2).unwrap() % rows.reasons],
                    name: &name,
                    alone: rows.alone,
                    ..row(index, payload, &detail, Some(&file))
                });
                if collector.is_full() {
                    write(collector.take());
                }
            }
        }
        collector.finish();
        write(collector.take());
        prop_assert!(written <= 3 * came_in + 1_000_000, "{written} bytes of {came_in}");
        prop_assert!(largest <= ENTRY_BYTES, "{largest} bytes in a record");
        prop_assert_eq!(count, (rows.files * rows.times) as u64);
    }
}
