//! Rejects as they are written.

mod gathered;

use std::cell::{Cell, RefCell};

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::delivery::{Answer, Failure, Fault, Limits, Refusal};

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
fn row<'a>(
    index: u64,
    payload: &'a [u8],
    detail: &'a Detail,
    file: Option<&'a FileContext>,
) -> RefusedRow<'a> {
    RefusedRow {
        owner: (0, index),
        reason: "cell_count",
        detail,
        name: "inbox/a.csv",
        line: Some(index + 2),
        row_index: Some(index),
        payload,
        is_separate: false,
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
    // As JSON, a control character has six bytes.
    let controls = [1; 1_000];
    let [more_than_double, less] = [b"\x01aaa".as_slice(), b"\x01aaaaaa"].map(|text| text.repeat(10_000));
    for (payload, is_base64) in [
        (&b"\xff\x00"[..], true),
        (&controls, true),
        (&more_than_double, true),
        (&less, false),
        (b"\x01\x01", false),
        (b"{\"ID\":\"\"}", false),
    ] {
        let line = &single(payload, None)[0];
        assert_eq!(line.get("payload_base64").is_some(), is_base64);
        assert_eq!(line.get("payload").is_some(), !is_base64);
    }
}

#[test]
fn long_payload_has_parts_that_each_fit() {
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
    assert_eq!(Detail::from("as it is: ñ").to_string(), "as it is: ñ");
    assert_eq!(detail(&"ñ".repeat(200)), "ñ".repeat(200));
    assert_eq!(detail(&"ñ".repeat(201)), format!("{}…", "ñ".repeat(199)));
    assert_eq!(detail("a\u{1}\nb"), "a\u{fffd}\u{fffd}b");
}

/// Rows of some kind, as a reader would find them in a text.
#[derive(Debug, Clone)]
struct Rows {
    header: usize,
    pattern: &'static [u8],
    lengths: Vec<usize>,
    times: usize,
    reasons: usize,
    is_separate: bool,
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
        .prop_map(|(header, pattern, lengths, times, reasons, is_separate, good_between, files)| {
            // Some megabytes at most.
            let bytes = lengths.iter().sum::<usize>().max(1);
            let times = times.min(4_000_000 / bytes).max(1);
            Rows { header, pattern, lengths, times, reasons, is_separate, good_between, files }
        })
}

const REASONS: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn written_bytes_are_bounded_by_received_bytes(rows in rows()) {
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
                collector.add(RefusedRow {
                    reason: REASONS[usize::try_from(index / 2).unwrap() % rows.reasons],
                    name: &name,
                    is_separate: rows.is_separate,
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

/// A delivery stream that refuses lines for good, by their position among all that are sent.
#[derive(Default)]
struct Stream {
    refuses: Vec<usize>,
    /// The fault with which the first request fails.
    fails: Cell<Option<Fault>>,
    /// The bytes of each request that was answered.
    requests: RefCell<Vec<usize>>,
    lines: Cell<usize>,
}

impl Service for Stream {
    type Entry = Bytes;
    fn limits(&self) -> Limits {
        Limits { entries: 500, request_bytes: 4 * 1024 * 1024, entry_bytes: ENTRY_BYTES }
    }
    fn size(&self, line: &Bytes) -> usize {
        line.len()
    }
    async fn send(&self, lines: &[&Bytes]) -> Answer {
        let failure = |fault| Failure { fault, detail: "scripted".to_owned() };
        if let Some(fault) = self.fails.take() {
            return Err(failure(fault));
        }
        let first = self.lines.replace(self.lines.get() + lines.len());
        self.requests.borrow_mut().push(lines.iter().map(|line| line.len()).sum());
        let refused = (0..lines.len()).filter(|index| self.refuses.contains(&(first + index)));
        Ok(refused.map(|index| Refusal { index, failure: failure(Fault::Permanent) }).collect())
    }
}

fn deadline() -> Deadline {
    Deadline { at: tokio::time::Instant::now() + std::time::Duration::from_mins(1), seed: 7 }
}

#[tokio::test(start_paused = true)]
async fn a_reject_is_written_once_all_of_its_parts_are() {
    let detail = Detail::from("why");
    let parts = [1, 3, 1, 2];
    let owner_of = |line: usize| {
        let ends = parts.iter().scan(0, |end, parts| {
            *end += parts;
            Some(*end)
        });
        ends.take_while(|end| *end <= line).count()
    };
    for refused in (0..7).flat_map(|first| (first..7).map(move |second| [first, second])) {
        let mut collector = collector();
        for (index, parts) in (0..).zip(parts) {
            let payload = vec![b'x'; (parts - 1) * PART_BYTES + 1];
            collector.add(RefusedRow { row_index: None, ..row(index, &payload, &detail, None) });
        }
        let stream = Stream { refuses: refused.to_vec(), ..Stream::default() };
        let written = write(&stream, collector.take(), deadline()).await;
        let failed: Vec<bool> = written.outcomes.iter().map(|(_, failure)| failure.is_some()).collect();
        let expected: Vec<bool> = (0..4).map(|owner| refused.map(owner_of).contains(&owner)).collect();
        assert_eq!(failed, expected, "lines {refused:?} are refused");
        let owners: Vec<u64> = written.outcomes.iter().flat_map(|(owners, _)| owners.positions()).collect();
        assert_eq!(owners, [0, 1, 2, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn failed_request_of_rejects_does_not_stop_the_others() {
    let (mut collector, detail) = (collector(), Detail::from("why"));
    collector.came_in(1_000_000);
    for index in 0..501 {
        collector.add(row(index, b"A-1", &detail, None));
    }
    let stream = Stream { fails: Cell::new(Some(Fault::Permanent)), ..Stream::default() };
    let written = write(&stream, collector.take(), deadline()).await;
    let failed = written.outcomes.iter().filter(|(_, failure)| failure.is_some());
    assert_eq!((written.outcomes.len(), failed.count()), (501, 500));
}

#[tokio::test(start_paused = true)]
async fn lines_are_sent_in_portions_of_two_mebibytes() {
    const PORTION: usize = 2 * 1024 * 1024;
    let line = |bytes: usize| Bytes::from(vec![b'x'; bytes]);
    let owners = || Owners { group: 0, ranges: vec![(0, 0)], rows: 1 };
    for (lines, requests, lines_of_first) in [
        (vec![PORTION / 4; 4], vec![PORTION], 4),
        (vec![PORTION / 4; 5], vec![PORTION, PORTION / 4], 4),
        (vec![PORTION / 4, PORTION / 3, 900_000], vec![PORTION / 4 + PORTION / 3, 900_000], 2),
    ] {
        let rejects = lines.iter().map(|_| (owners(), 1)).collect();
        let finished = Finished { lines: lines.iter().copied().map(line).collect(), rejects };
        let stream = Stream { fails: Cell::new(Some(Fault::Transient)), ..Stream::default() };
        let written = write(&stream, finished, deadline()).await;
        assert!(written.outcomes.iter().all(|(_, failure)| failure.is_none()));
        assert_eq!(*stream.requests.borrow(), requests);
        // The first request is sent again whole.
        assert_eq!(written.resent, lines_of_first);
    }
}

#[test]
fn a_header_of_64_kibibytes_is_repeated_and_a_longer_one_is_not() {
    for (bytes, is_repeated) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
        let (mut collector, detail, file) = (collector(), Detail::from("why"), csv(&"h".repeat(bytes)));
        collector.add(row(0, b"A-1", &detail, Some(&file)));
        assert_eq!(collector.has_gathered(), !is_repeated);
        collector.finish();
        assert!(!collector.has_gathered() && collector.has_finished());
        assert_eq!(parsed(&collector.take())[0].get("header").is_some(), is_repeated);
    }
}

#[test]
fn a_part_has_160_kibibytes_at_most() {
    for (bytes, expected) in [(0, vec![0]), (163_840, vec![163_840]), (163_841, vec![163_840, 1])] {
        let lengths: Vec<_> = pieces(&vec![b'x'; bytes], None).iter().map(|piece| piece.len()).collect();
        assert_eq!(lengths, expected);
    }
}

#[test]
fn a_length_is_written_with_the_part_in_which_its_row_ends() {
    let mut lengths = Lengths { rest: &[10, 20, 0, 30, 5], begin: 0 };
    let written = [5, 10, 30, 31, 32, 100].map(|byte| lengths.up_to(byte));
    assert_eq!(written, ["", "10", "", "20", "0", "30,5"]);
}

#[test]
fn rows_with_their_lengths_are_base64_where_that_is_shorter() {
    let detail = Detail::from("why");
    let is_text = |payload: &[u8]| {
        let reject = Reject {
            function: "ingest",
            reason: "cell_count",
            detail: &detail,
            source: "inbox/a.csv",
            row_index: Some(0),
            rows: 2,
            payload,
            row_bytes: Some(&[0, 0]),
            file: None,
        };
        reject.text().is_some()
    };
    // Four bytes of base64 are not shorter than up to two that are escaped.
    assert!(is_text(b"\n") && is_text(b"\"\n") && is_text(b"abc\n"));
    assert!(!is_text(b"\"\n\"") && !is_text(b"a\"\n\""));
}

#[test]
fn owners_are_ranges_of_positions() {
    let (mut collector, detail, file) = (collector(), Detail::from("why"), csv(&"h".repeat(70_000)));
    for index in [1, 2, 3, 7, 8, 4] {
        collector.add(row(index, b"A", &detail, Some(&file)));
    }
    collector.finish();
    let finished = collector.take();
    assert_eq!(finished.rejects[0].0, Owners { group: 0, ranges: vec![(1, 3), (7, 8), (4, 4)], rows: 6 });
}

#[test]
fn two_mebibytes_or_2_000_rejects_fill_the_collector() {
    let detail = Detail::from("why");
    let mut collector = collector();
    let mut bytes = 0;
    collector.came_in(10_000_000);
    while !collector.is_full() {
        collector.add(row(0, &vec![b'x'; 100_000], &detail, None));
        bytes += 100_000 + 130;
    }
    assert!((2 * 1024 * 1024..2 * 1024 * 1024 + 110_000).contains(&bytes), "{bytes}");
    assert_eq!(collector.take().lines().len(), 21);
    assert!(!collector.is_full());
    for index in 0..2_000 {
        assert!(!collector.is_full(), "{index}");
        collector.add(row(index, b"A-1", &detail, None));
    }
    assert!(collector.is_full());
}
