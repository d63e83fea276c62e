use bytes::Bytes;
use proptest::{collection::vec, prelude::*};
use shared::{
    data::time::DateOrder,
    delivery::reject::{Collector, Detail, FileContext, RefusedRow},
};

use super::*;
use crate::input::tests::gzip;

const AT: &str = "1970-01-01T00:00:00.000000Z";

fn place(item: usize) -> ItemPlace {
    ItemPlace { object: 0, item }
}

fn csv(header: &str) -> FileContext {
    FileContext::new("csv", Some(header.into()), Some(DateOrder::Dmy))
}

/// The lines of rejects of a CSV's rows, each with whether it must be read by itself; `account` bytes came in before.
fn written(header: &str, rows: &[(Vec<u8>, bool)], account: usize) -> Vec<Bytes> {
    let mut collector = Collector::new("ingest", AT.to_owned());
    collector.came_in(account);
    let (file, detail) = (csv(header), Detail::from("…"));
    for (index, (row, is_separate)) in (0..).zip(rows) {
        collector.add(RefusedRow {
            owner: (0, index),
            reason: "cell_count",
            detail: &detail,
            name: "inbox/a.csv",
            line: Some(7),
            row_index: Some(index),
            payload: row,
            is_separate: *is_separate,
            file: Some(&file),
        });
    }
    collector.finish();
    collector.take().lines().to_vec()
}

fn one(payload: &[u8]) -> Vec<Bytes> {
    written("ID,Severity", &[(payload.to_vec(), false)], 1_000_000_000)
}

fn read_all(lines: &[Bytes]) -> Vec<Rejected> {
    let mut reader = RejectReader::default();
    let mut rejected = Vec::new();
    for (item, line) in lines.iter().enumerate() {
        match reader.read(line, place(item)) {
            ReadReject::Whole(whole) => rejected.push(*whole),
            ReadReject::Part => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(reader.incomplete(), 0);
    rejected
}

#[test]
fn a_reject_is_read_as_it_was_written() {
    for payload in [&b"A-1,\"x\""[..], b"\xff\x00"] {
        let [read] = &read_all(&one(payload))[..] else { panic!() };
        assert_eq!(
            *read,
            Rejected {
                rejected_at: AT.to_owned(),
                function: "ingest".to_owned(),
                reason: "cell_count".to_owned(),
                source: "inbox/a.csv:7".to_owned(),
                payload: payload.to_vec(),
                row_count: 1,
                row_index: Some(0),
                rows: None,
                file: Some(RejectedFile {
                    format: "csv".to_owned(),
                    header: Some("ID,Severity".to_owned()),
                    date_order: Some("dmy".to_owned())
                }),
                places: vec![place(0)],
            }
        );
    }
}

#[test]
fn parts_in_any_order_are_joined() {
    for payload in ["é".repeat(400_000).into_bytes(), vec![0xff; 500_000]] {
        let written = one(&payload);
        assert!(written.len() > 3);
        let mut reader = RejectReader::default();
        for (item, line) in written.iter().enumerate().skip(1).rev() {
            assert_eq!(reader.read(line, place(item)), ReadReject::Part);
        }
        // Firehose may deliver a record twice.
        assert_eq!(reader.read(&written[1], place(99)), ReadReject::Part);
        assert_eq!(reader.incomplete(), 1);
        let ReadReject::Whole(read) = reader.read(&written[0], place(0)) else { panic!() };
        assert_eq!(read.payload, payload);
        assert_eq!(read.places.len(), written.len() + 1);
        assert_eq!(reader.read(&written[2], place(100)), ReadReject::Repeated(place(0)));
        assert_eq!(reader.incomplete(), 0);
    }
}

#[test]
fn parts_of_two_rejects_of_one_line_are_not_mixed() {
    let rows = [(vec![b'a'; 400_000], false), (vec![b'b'; 400_000], false)];
    let written = written("ID,Severity", &rows, 1_000_000_000);
    let [a1, a2, a3, b1, b2, b3] = &written[..] else { panic!("{} lines", written.len()) };
    let lines: Vec<_> = [a3, b1, b2, b3, a1, a2].into_iter().cloned().collect();
    let payloads: Vec<_> = read_all(&lines).into_iter().map(|read| read.payload).collect();
    assert_eq!(payloads, [vec![b'b'; 400_000], vec![b'a'; 400_000]]);
}

/// The rows that are sent again, each under its header, as ingest reads them.
fn sent(rejected: Vec<Rejected>) -> Vec<(String, Vec<u8>)> {
    let mut sent = Vec::new();
    for mut rejected in rejected {
        let count = rejected.row_count;
        let sendings = rejected.sendings(50_000);
        assert_eq!(sendings.iter().map(|sending| sending.rows).sum::<u64>(), count);
        let header = rejected.file.unwrap().header.unwrap();
        for ResentPayload { payload, rows } in sendings {
            let split: Vec<_> = payload.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            let rows = if rows == 1 { vec![payload] } else { split };
            sent.extend(rows.into_iter().map(|row| (header.clone(), row)));
        }
    }
    sent
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_row_is_sent_again_under_its_header(
        header in prop_oneof![Just(10_usize), Just(70_000), Just(200_000)],
        rows in vec(
            (
                prop_oneof![
                    4 => vec(prop::sample::select(b"ab,".to_vec()), 0..9),
                    2 => vec(any::<u8>(), 0..30),
                    1 => (0..400_000_usize).prop_map(|bytes| vec![b'l'; bytes]),
                ],
                any::<bool>(),
            ),
            1..40,
        ),
        many in 1..200_usize,
    ) {
        let header = format!("ID,{}", "h".repeat(header));
        // A row that must not be joined is separate; another has one line, as the payload is split here.
        let rows: Vec<(Vec<u8>, bool)> = rows
            .into_iter()
            .map(|(row, is_separate)| { let is_separate = is_separate || row.contains(&b'\n'); (row, is_separate) })
            .collect();
        let small: Vec<_> = rows.iter().filter(|(row, _)| row.len() < 40).cloned().collect();
        let repeated = (0..many).flat_map(|_| small.iter().cloned());
        let rows: Vec<_> = rows.iter().cloned().chain(repeated).collect();
        let written = written(&header, &rows, 0);
        prop_assert!(written.iter().all(|line| line.len() <= LINE_BYTES));
        let mut sent = sent(read_all(&written));
        let mut expected: Vec<_> = rows.into_iter().map(|(row, _)| (header.clone(), row)).collect();
        sent.sort();
        expected.sort();
        prop_assert!(sent == expected);
    }
}

#[test]
fn other_objects_are_not_rejects() {
    let start = r#"{"rejected_at":"","function":"ingest","reason":"","source":"""#;
    for line in [
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"rejected_at":"","function":"other","reason":"","source":"","payload":""}"#.to_owned(),
        format!("{start}}}"),
        format!(r#"{start},"payload":"a","payload_base64":"YQ=="}}"#),
        format!(r#"{start},"payload_base64":"***"}}"#),
        format!(r#"{start},"payload":"a","part":0,"parts":2}}"#),
        format!(r#"{start},"payload":"a","part":3,"parts":2}}"#),
        format!(r#"{start},"payload":"a","part":1}}"#),
        format!(r#"{start},"payload":"a","part":1,"parts":18446744073709551615}}"#),
        format!(r#"{start},"payload":"a,b","row_bytes":"1,2"}}"#),
        format!(r#"{start},"payload":"a,b","row_bytes":"1"}}"#),
        format!(r#"{start},"payload":"a,b","row_bytes":"1,x"}}"#),
        format!(r#"{start},"payload":"a","row_bytes":"18446744073709551615,1"}}"#),
    ] {
        assert_eq!(RejectReader::default().read(line.as_bytes(), place(0)), ReadReject::Unreadable, "{line}");
    }
}

fn split(object: &[u8]) -> Result<Vec<Vec<u8>>, InflateError> {
    let mut found = Vec::new();
    lines(object, |line| found.push(line.to_vec()))?;
    Ok(found)
}

#[test]
fn lines_are_found_in_gzip_and_plain_text() {
    let text = b"one\n\ntwo\nthree";
    let gzip = gzip(text);
    for object in [&text[..], &gzip] {
        assert_eq!(split(object).unwrap(), [&b"one"[..], b"two", b"three"]);
    }
    assert_eq!(split(&gzip[..gzip.len() / 2]), Err(InflateError::Damaged));
    let long = [&b"x".repeat(3 * LINE_BYTES)[..], b"\nnext"].concat();
    assert_eq!(split(&long).unwrap(), [&b""[..], b"next"]);
}
