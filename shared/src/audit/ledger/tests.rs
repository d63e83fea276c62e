use std::cell::RefCell;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{lambda::config::tests::common, stream::kpl};

fn event(sequence_numbers: &[&str]) -> String {
    let records: Vec<_> = sequence_numbers
        .iter()
        .map(|number| format!(r#"{{"kinesis":{{"sequenceNumber":"{number}","data":"e30="}}}}"#))
        .collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

/// The ledger of a batch of that many records, each of which has outputs.
fn ledger<'b>(event: &'b str, common: &'b Common, records: usize) -> Ledger<'b> {
    let mut ledger = Ledger::decode("notify", event, common, &invocation()).unwrap();
    assert_eq!(ledger.decide(WHOLE, |_| Decision::Output(())).len(), records);
    ledger
}

const WHOLE: Portion = Portion { soft_limit: usize::MAX, hard_limit: usize::MAX };

thread_local!(static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

/// An invocation whose log is [`LINES`].
fn invocation() -> Invocation {
    Invocation {
        log: |line| LINES.with_borrow_mut(|lines| lines.push(line.to_owned())),
        ..Invocation::begin("r", 0, chrono::DateTime::default(), 0)
    }
}

#[test]
fn batch_is_retried_from_the_first_failed_record() {
    let event = event(&["100000000000000000000001", "100000000000000000000002", "100000000000000000000003"]);
    let common = common();
    let mut ledger = ledger(&event, &common, 3);
    for index in [2, 1] {
        ledger.record(index, Status::Failed("throttled".to_owned()));
    }
    ledger.record(0, Status::Delivered);
    assert_eq!(ledger.retry_from(), Some(1));
    assert_eq!(
        serde_json::to_string(&ledger.report(&invocation())).unwrap(),
        r#"{"batchItemFailures":[{"itemIdentifier":"100000000000000000000002"}]}"#
    );
}

#[test]
fn log_has_the_reason_of_the_first_failed_record() {
    let event = event(&["1", "2", "3"]);
    let common = common();
    let mut ledger = ledger(&event, &common, 3);
    for (index, why) in [(1, "second"), (2, "third"), (1, "second again"), (0, "first"), (1, "later")] {
        ledger.record(index, Status::Failed(why.to_owned()));
    }
    assert_eq!(ledger.failure, Some((0, "first".to_owned())));
    let mut ledger = self::ledger(&event, &common, 3);
    for why in ["once", "twice"] {
        ledger.record(1, Status::Failed(why.to_owned()));
    }
    assert_eq!(ledger.failure, Some((1, "once".to_owned())));
}

#[test]
fn status_of_each_id_is_logged_if_configured() {
    LINES.take();
    // {"ID":"A-1"}
    let event = r#"{"Records":[{"kinesis":{"sequenceNumber":"1","data":"eyJJRCI6IkEtMSJ9"}}]}"#;
    for (log_event_ids, expected) in [(true, 1), (false, 0)] {
        let common = Common { log_event_ids, ..common() };
        let mut ledger = ledger(event, &common, 1);
        ledger.record(0, Status::Delivered);
        let answer = ledger.report(&invocation());
        assert_eq!(answer.batch_item_failures, []);
        let named = LINES.take().into_iter().filter(|line| line.contains(r#""ids":["A-1"]"#));
        assert_eq!(named.count(), expected);
    }
}

#[test]
fn event_that_is_not_a_batch_counts_as_one_failed_record() {
    LINES.take();
    Ledger::decode("metrics", "{}", &common(), &invocation()).unwrap_err();
    let lines = LINES.take();
    assert_eq!(lines.len(), 1);
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let counts = ["In", "Failed", "Unaccounted"].map(|name| line[name].as_u64());
    assert_eq!((line["Function"].as_str(), counts), (Some("metrics"), [Some(1), Some(1), Some(0)]));
}

#[test]
fn a_batch_that_is_done_answers_with_an_empty_list() {
    let event = event(&["1"]);
    let common = common();
    let mut ledger = ledger(&event, &common, 1);
    ledger.record(0, Status::Filtered);
    let response = ledger.report(&invocation());
    assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"batchItemFailures":[]}"#);
}

/// The event of records with so many user records each; one is not aggregated, and `None` is a damaged aggregate.
fn event_of(records: &[Option<usize>]) -> String {
    let mut number = 0;
    let mut data = |count: &Option<usize>| {
        let count = count.unwrap_or(1);
        let each: Vec<Bytes> = (number..number + count).map(|n| Bytes::from(n.to_string())).collect();
        number += count;
        match &each[..] {
            [one] => one.to_vec(),
            several => kpl::aggregate("0", several.iter().map(|each| ("k", each))),
        }
    };
    let records: Vec<_> = records
        .iter()
        .enumerate()
        .map(|(index, count)| {
            let encoded = base64_simd::STANDARD.encode_to_string(data(count));
            let encoded = if count.is_some() { encoded } else { "*".to_owned() };
            format!(r#"{{"kinesis":{{"sequenceNumber":"{index}","data":"{encoded}"}}}}"#)
        })
        .collect();
    format!(r#"{{"Records":[{}]}}"#, records.join(","))
}

proptest! {
    #[test]
    fn portions_have_each_record_once_in_order_until_a_failure(
        records in vec(prop_oneof![4 => (1_usize..12).prop_map(Some), 1 => Just(None)], 1..12),
        soft_limit in 1_usize..10,
        more in 0_usize..10,
        fails in prop::option::of(0_usize..40),
    ) {
        let (event, common) = (event_of(&records), common());
        let portion = Portion { soft_limit, hard_limit: soft_limit + more };
        let decide = |record: UserRecord<'_>| Decision::Output((record.stream_record_index, record.data.to_vec()));
        let mut ledger = Ledger::decode("notify", &event, &common, &invocation()).unwrap();
        let (mut found, mut failed) = (Vec::new(), None);
        while ledger.has_more() {
            prop_assert_eq!(failed, None, "no portion follows a failure");
            let outputs = ledger.decide(portion, decide);
            prop_assert!(outputs.len() <= portion.hard_limit, "{} outputs", outputs.len());
            // The last record is looked at because the outputs before it were not enough.
            let last = outputs.last().map(|last| last.output.0);
            let before_last = outputs.iter().filter(|other| Some(other.output.0) != last).count();
            prop_assert!(before_last < portion.soft_limit, "{before_last} outputs before the last record");
            for RecordOutput { index, output: (record, data) } in outputs {
                found.push((index, record, data));
                let fails = fails == Some(index);
                failed = if fails { Some(record) } else { failed };
                ledger.record(index, if fails { Status::Failed(String::new()) } else { Status::Delivered });
            }
        }
        let numbers = records.iter().enumerate().flat_map(|(record, count)| vec![(record, count.is_some()); count.unwrap_or(1)]);
        let expected: Vec<_> = numbers
            .enumerate()
            .filter(|(_, (_, is_whole))| *is_whole)
            .map(|(index, (record, _))| (index, record, index.to_string().into_bytes()))
            .collect();
        prop_assert!(expected.starts_with(&found));
        prop_assert!(failed.is_some() || found.len() == expected.len());
        prop_assert_eq!(ledger.retry_from(), failed);
        // Every user record is in the ledger, and none that was not looked at is open.
        prop_assert_eq!(ledger.entries.len(), records.iter().map(|count| count.unwrap_or(1)).sum::<usize>());
        let looked_at = found.last().map_or(0, |(index, ..)| index + 1);
        let open = |entry: &Entry| entry.state.status().is_none();
        let damaged = records.iter().filter(|count| count.is_none()).count();
        prop_assert!(ledger.entries.iter().filter(|entry| open(entry)).count() <= damaged);
        prop_assert!(failed.is_none() || ledger.entries[looked_at..].iter().all(|entry| entry.state == State::Failed || open(entry)));
    }
}
