//! The ledger of a batch: what becomes of each of its user records, and from where the batch is to come again.
//!
//! A batch of 6 MB can have 700,000 user records, so that what is kept of each takes a few bytes.

use std::{iter, mem};

use bytes::Bytes;

use crate::{
    books::{Books, Fate},
    config::Common,
    delivery::Service,
    event,
    invocation::Invocation,
    kinesis::{self, BatchItemFailure, BatchResponse, NotABatch, Record, UserRecords},
    reject::{self, Collector, Detail, Refused},
    time::stamp,
    trail::Trail,
};

/// Bytes of a record in an event: what Lambda writes around its data has nearly as many. What is made for each record
/// is made room for at once, since room that grows is new to the machine every time.
const RECORD_BYTES: usize = 512;

/// Bytes around a user record in an aggregate, in base64.
const PART_BYTES: usize = 8;

/// What becomes of the user records of a batch, each named by its position among them.
#[derive(Debug)]
pub struct Ledger<'b> {
    function: &'static str,
    common: &'b Common,
    records: Vec<Record<'b>>,
    /// Records of the stream whose user records were all looked at, and how many were of the next.
    looked: (usize, u64),
    entries: Vec<Entry>,
    /// The ids of the events, where the log is to follow them.
    ids: String,
    /// The rejects of records that were refused when they were read.
    rejects: Collector,
    /// The first record of the stream with one of them.
    first_rejected: Option<usize>,
    /// Positions of the records that were refused later, with a short stable code and what is wrong.
    refused: Vec<(usize, &'static str, Detail)>,
    /// The first record that failed, and why.
    failure: Option<(usize, String)>,
    /// Times that something was sent again.
    pub retried: u64,
    /// Events that came more than the watermark behind.
    pub late: u64,
    /// Events of a severity that the data set does not list.
    pub unknown_severity: u64,
}

/// What is kept of a user record.
#[derive(Debug)]
struct Entry {
    /// Position of the record of the stream that holds it.
    record: u32,
    /// Where its id ends among the ids; it begins where the one before it ends.
    id_end: u32,
    status: Status,
}

/// A fate without its reason, which is kept of the first failure only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Open,
    Delivered,
    Filtered,
    Rejected,
    Failed,
}

impl Status {
    fn fate(self) -> Option<Fate> {
        match self {
            Self::Open => None,
            Self::Delivered => Some(Fate::Delivered),
            Self::Filtered => Some(Fate::Filtered),
            Self::Rejected => Some(Fate::Rejected),
            Self::Failed => Some(Fate::Failed(String::new())),
        }
    }
}

/// How many outputs of a batch are held at once. A batch of 6 MB can have 700,000 user records, so that those of a large
/// one are made and delivered in portions.
#[derive(Debug, Clone, Copy)]
pub struct Portion {
    /// Outputs after which no further record of the stream is looked at.
    pub enough: usize,
    /// Outputs after which a portion ends within a record of the stream.
    pub most: usize,
}

/// A user record, as a function sees it.
#[derive(Debug, Clone, Copy)]
pub struct UserRecord<'r> {
    /// Position of the record of the stream that holds it: what comes again together.
    pub record: usize,
    /// That record.
    pub held: &'r Record<'r>,
    /// The record as its producer wrote it.
    pub data: &'r [u8],
}

/// What a user record owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owed<T> {
    /// Nothing: it is not severe enough.
    Nothing,
    /// That output.
    Output(T),
    /// A reject.
    Reject {
        /// A short stable code.
        reason: &'static str,
        /// What is wrong, and what would be right.
        detail: String,
    },
}

impl<T> Owed<T> {
    /// The same with another output.
    #[must_use]
    pub fn map<U>(self, output: impl FnOnce(T) -> U) -> Owed<U> {
        match self {
            Self::Nothing => Owed::Nothing,
            Self::Output(owed) => Owed::Output(output(owed)),
            Self::Reject { reason, detail } => Owed::Reject { reason, detail },
        }
    }
}

impl<'b> Ledger<'b> {
    /// Reads the batch of an invocation, and enters what each user record of the first portion owes: a fate where that is
    /// nothing. Gives the outputs, each with the position of its record. Records that do not come apart are refused, and
    /// an event that is no batch stands in the books, too.
    ///
    /// A record is looked at as soon as it is read, while its text and what is decoded of it are in the cache:
    /// looked at once all are read, they take transform 5 % more time.
    pub fn read<T>(
        function: &'static str,
        event: &'b str,
        common: &'b Common,
        invocation: &Invocation,
        portion: Portion,
        mut owes: impl FnMut(UserRecord<'_>) -> Owed<T>,
    ) -> Result<(Self, Vec<(usize, T)>), NotABatch> {
        let mut ledger = Self::new(function, event, common, invocation);
        let (mut outputs, mut buffer, mut goes_on) = (Vec::new(), Vec::new(), true);
        kinesis::read(event, |held| {
            goes_on = goes_on && ledger.look_at(&held, &mut buffer, portion, &mut owes, &mut outputs);
            ledger.records.push(held);
        })
        .inspect_err(|_| Books::of_what_is_not_understood().close(&common.whose(function), invocation))?;
        Ok((ledger, outputs))
    }

    /// The same for the next portion.
    pub fn read_on<T>(
        &mut self,
        portion: Portion,
        mut owes: impl FnMut(UserRecord<'_>) -> Owed<T>,
    ) -> Vec<(usize, T)> {
        let (mut outputs, mut buffer) = (Vec::new(), Vec::new());
        let records = mem::take(&mut self.records);
        for held in &records[self.looked.0..] {
            if !self.look_at(held, &mut buffer, portion, &mut owes, &mut outputs) {
                break;
            }
        }
        self.records = records;
        outputs
    }

    /// Whether another portion follows. Once a record failed, all after it are retried with it, and fail here.
    pub fn has_more(&mut self) -> bool {
        if self.looked.0 < self.records.len() && self.comes_again_from().is_some() {
            self.fail_rest();
        }
        self.looked.0 < self.records.len()
    }

    fn new(function: &'static str, event: &str, common: &'b Common, invocation: &Invocation) -> Self {
        Self {
            function,
            common,
            records: Vec::with_capacity(event.len() / RECORD_BYTES),
            looked: (0, 0),
            entries: Vec::with_capacity(event.len() / RECORD_BYTES),
            ids: String::new(),
            rejects: Collector::new(function, stamp(invocation.now)),
            first_rejected: None,
            refused: Vec::new(),
            failure: None,
            retried: 0,
            late: 0,
            unknown_severity: 0,
        }
    }

    /// Looks at the user records of the next record of the stream, and enters what each owes. Gives false where the portion
    /// is full.
    fn look_at<T>(
        &mut self,
        held: &Record<'_>,
        buffer: &mut Vec<u8>,
        portion: Portion,
        owes: &mut impl FnMut(UserRecord<'_>) -> Owed<T>,
        outputs: &mut Vec<(usize, T)>,
    ) -> bool {
        let (record, from) = self.looked;
        let is_whole = self.look(held, buffer, from, |ledger, data, part| {
            let owed = owes(UserRecord { record, held, data });
            let index = ledger.add(data, part);
            match owed {
                Owed::Nothing => ledger.enter(index, Fate::Filtered),
                Owed::Output(output) => outputs.push((index, output)),
                Owed::Reject { reason, detail } => {
                    ledger.first_rejected.get_or_insert(record);
                    ledger.reject(index, held, (part, data), reason, &detail.into());
                }
            }
            ledger.looked.1 = part.map_or(0, |part| part + 1);
            part.is_none() || outputs.len() < portion.most
        });
        if is_whole {
            self.looked = (record + 1, 0);
        }
        is_whole && outputs.len() < portion.enough
    }

    /// Hands on each user record of a record of the stream, from one on, with its position there if it is one of several.
    /// Gives false where `each` does, which ends it.
    fn look(
        &mut self,
        held: &Record<'_>,
        buffer: &mut Vec<u8>,
        from: u64,
        mut each: impl FnMut(&mut Self, &[u8], Option<u64>) -> bool,
    ) -> bool {
        match held.user_records(buffer) {
            Ok(UserRecords::Itself(data)) => each(self, data, None),
            Ok(UserRecords::Parts(parts)) => {
                let from_there = (0_u64..).zip(parts).skip_while(|(part, _)| *part < from);
                for (part, data) in from_there {
                    if !each(self, data, Some(part)) {
                        return false;
                    }
                }
                true
            }
            Err(poison) => {
                let payload = held.payload();
                let index = self.add(&payload, None);
                self.first_rejected.get_or_insert(self.looked.0);
                self.reject(index, held, (None, &payload), poison.reason, &poison.detail.into());
                true
            }
        }
    }

    /// Adds a user record of the record that is being read; gives its position.
    fn add(&mut self, data: &[u8], part: Option<u64>) -> usize {
        let around = if part.is_some() { PART_BYTES } else { RECORD_BYTES / 2 };
        self.rejects.came_in(data.len() + around);
        if let Some(id) = self.common.followed().and_then(|dataset| event::id(dataset, data)) {
            self.ids.push_str(&id);
        }
        self.entries.push(Entry {
            record: short(self.looked.0),
            id_end: short(self.ids.len()),
            status: Status::Open,
        });
        self.entries.len() - 1
    }

    /// Enters the records that were not looked at as failed.
    fn fail_rest(&mut self) {
        let mut buffer = Vec::new();
        let records = mem::take(&mut self.records);
        for held in &records[self.looked.0..] {
            match held.user_records(&mut buffer) {
                Ok(UserRecords::Itself(data)) => self.fail(data, None),
                Ok(UserRecords::Parts(parts)) => {
                    let from = self.looked.1;
                    let rest = (0_u64..).zip(parts).skip_while(|(part, _)| *part < from);
                    rest.for_each(|(part, data)| self.fail(data, Some(part)));
                }
                Err(_) => self.fail(&held.payload(), None),
            }
            self.looked = (self.looked.0 + 1, 0);
        }
        self.records = records;
    }

    fn fail(&mut self, data: &[u8], part: Option<u64>) {
        let index = self.add(data, part);
        self.enter(index, Fate::Failed("an earlier record is retried".to_owned()));
    }

    /// Enters the fate of a record.
    pub fn enter(&mut self, index: usize, fate: Fate) {
        self.entries[index].status = match fate {
            Fate::Delivered => Status::Delivered,
            Fate::Filtered => Status::Filtered,
            Fate::Rejected => Status::Rejected,
            Fate::Failed(why) => {
                if self.failure.as_ref().is_none_or(|(first, _)| index < *first) {
                    self.failure = Some((index, why));
                }
                Status::Failed
            }
        };
    }

    /// Notes that a record is to go to rejects; `reason` is a short stable code, `detail` a sentence.
    pub fn refuse(&mut self, index: usize, reason: &'static str, detail: String) {
        self.refused.push((index, reason, detail.into()));
    }

    /// Makes the reject of a user record, given with its position in the record of the stream.
    fn reject(
        &mut self,
        index: usize,
        held: &Record<'_>,
        (part, data): (Option<u64>, &[u8]),
        reason: &'static str,
        detail: &Detail,
    ) {
        self.rejects.add(Refused {
            owner: (0, index as u64),
            reason,
            detail,
            name: &held.source(),
            line: None,
            row_index: part,
            payload: data,
            // A record of a stream is an event, whatever is next to it.
            alone: true,
            file: None,
        });
    }

    /// Makes the rejects of the records that were refused after they were read. Each record of the stream is taken apart
    /// once more, since what is in it was not kept.
    fn reject_refused(&mut self) {
        let mut refused = mem::take(&mut self.refused);
        refused.sort_by_key(|(index, ..)| *index);
        let records = mem::take(&mut self.records);
        let mut buffer = Vec::new();
        let of_one_record =
            |one: &usize, other: &usize| self.entries[*one].record == self.entries[*other].record;
        let by_record: Vec<_> =
            refused.chunk_by(|(one, ..), (other, ..)| of_one_record(one, other)).collect();
        for refused in by_record {
            let record = self.entries[refused[0].0].record;
            let first = self.entries.partition_point(|entry| entry.record < record);
            let held = &records[record as usize];
            let mut refused = refused.iter().peekable();
            let mut index = first;
            self.look(held, &mut buffer, 0, |ledger, data, part| {
                if let Some((index, reason, detail)) = refused.next_if(|(refused, ..)| *refused == index) {
                    ledger.reject(*index, held, (part, data), reason, detail);
                }
                index += 1;
                refused.peek().is_some()
            });
        }
        self.records = records;
    }

    /// Writes what was refused to rejects. A reject that cannot be written fails like any delivery.
    pub async fn write_rejects<R: Service<Entry = Bytes>>(&mut self, service: &R, invocation: &Invocation) {
        self.first_rejected = None;
        self.reject_refused();
        self.rejects.finish();
        let written = reject::write(service, self.rejects.take(), invocation.terms).await;
        self.retried += written.resent;
        for (owners, failure) in written.outcomes {
            let fate = failure.map_or(Fate::Rejected, Fate::Failed);
            for index in owners.positions().filter_map(|index| usize::try_from(index).ok()) {
                self.enter(index, fate.clone());
            }
        }
    }

    /// The first record of the stream that is to go to rejects, by position.
    #[must_use]
    pub fn first_refused(&self) -> Option<usize> {
        let later = self.refused.iter().map(|(index, ..)| self.entries[*index].record as usize);
        later.chain(self.first_rejected).min()
    }

    /// The first record of the stream that failed, by position: it and everything behind it comes again.
    #[must_use]
    pub fn comes_again_from(&self) -> Option<usize> {
        self.entries.iter().find(|entry| entry.status == Status::Failed).map(|entry| entry.record as usize)
    }

    /// Closes the ledger: writes the books, and answers from where the batch is to come again.
    #[must_use]
    pub fn close(self, invocation: &Invocation) -> BatchResponse {
        let mut books = Books {
            received: self.entries.len() as u64,
            retried: self.retried,
            late: self.late,
            unknown_severity: self.unknown_severity,
            ..Books::default()
        };
        self.entries.iter().filter_map(|entry| entry.status.fate()).for_each(|fate| books.enter(&fate));
        let first = self.comes_again_from();
        if let Some((_, why)) = &self.failure {
            tracing::warn!(failed = books.failed, why, "records failed and come again");
        }
        books.close(&self.common.whose(self.function), invocation);
        self.log_ids(invocation);
        BatchResponse {
            batch_item_failures: first
                .map(|record| BatchItemFailure {
                    item_identifier: self.records[record].sequence_number.clone().into_owned(),
                })
                .into_iter()
                .collect(),
        }
    }

    /// Logs what became of which event.
    fn log_ids(&self, invocation: &Invocation) {
        let mut trail = Trail::default();
        let begins = iter::once(0).chain(self.entries.iter().map(|entry| entry.id_end as usize));
        for (begin, entry) in begins.zip(&self.entries) {
            let id = &self.ids[begin..entry.id_end as usize];
            // An event without a readable id cannot be followed.
            if let Some(fate) = entry.status.fate()
                && !id.is_empty()
            {
                trail.enter(id, &fate);
            }
        }
        trail.close(self.function, invocation);
    }
}

/// A position or length within an event, which has at most 6 MB.
fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::kpl;

    fn event(sequence_numbers: &[&str]) -> String {
        let records: Vec<_> = sequence_numbers
            .iter()
            .map(|number| format!(r#"{{"kinesis":{{"sequenceNumber":"{number}","data":"e30="}}}}"#))
            .collect();
        format!(r#"{{"Records":[{}]}}"#, records.join(","))
    }

    /// The ledger of a batch all of whose records owe something; there are so many.
    fn ledger<'b>(event: &'b str, common: &'b Common, records: usize) -> Ledger<'b> {
        let invocation = Invocation::begin("r", 0, chrono::DateTime::default(), 0);
        let (ledger, outputs) =
            Ledger::read("notify", event, common, &invocation, WHOLE, |_| Owed::Output(())).unwrap();
        assert_eq!(outputs.len(), records);
        ledger
    }

    const WHOLE: Portion = Portion { enough: usize::MAX, most: usize::MAX };

    fn common() -> Common {
        Common {
            dataset: crate::dataset::Dataset::named("us_accidents").unwrap(),
            rejects_delivery_stream: String::new(),
            environment: "dev".to_owned(),
            log_event_ids: false,
        }
    }

    #[test]
    fn a_batch_comes_again_from_the_first_record_that_failed() {
        let event =
            event(&["100000000000000000000001", "100000000000000000000002", "100000000000000000000003"]);
        let common = common();
        let mut ledger = ledger(&event, &common, 3);
        for index in [2, 1] {
            ledger.enter(index, Fate::Failed("throttled".to_owned()));
        }
        ledger.enter(0, Fate::Delivered);
        assert_eq!(ledger.comes_again_from(), Some(1));
        let invocation = Invocation::begin("r", 0, chrono::DateTime::default(), 0);
        assert_eq!(
            serde_json::to_string(&ledger.close(&invocation)).unwrap(),
            r#"{"batchItemFailures":[{"itemIdentifier":"100000000000000000000002"}]}"#
        );
    }

    #[test]
    fn what_became_of_an_event_is_logged_by_its_id_where_it_is_asked_for() {
        thread_local!(static LINES: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) });
        let invocation = Invocation {
            log: |line| LINES.with_borrow_mut(|lines| lines.push(line.to_owned())),
            ..Invocation::begin("r", 0, chrono::DateTime::default(), 0)
        };
        // {"ID":"A-1"}
        let event = r#"{"Records":[{"kinesis":{"sequenceNumber":"1","data":"eyJJRCI6IkEtMSJ9"}}]}"#;
        for (log_event_ids, expected) in [(true, 1), (false, 0)] {
            let common = Common { log_event_ids, ..common() };
            let mut ledger = ledger(event, &common, 1);
            ledger.enter(0, Fate::Delivered);
            let answer = ledger.close(&invocation);
            assert_eq!(answer.batch_item_failures, []);
            let named = LINES.take().into_iter().filter(|line| line.contains(r#""ids":["A-1"]"#));
            assert_eq!(named.count(), expected);
        }
    }

    #[test]
    fn an_event_that_is_no_batch_stands_in_the_books_as_one_record_that_failed() {
        thread_local!(static LINES: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) });
        let invocation = Invocation {
            log: |line| LINES.with_borrow_mut(|lines| lines.push(line.to_owned())),
            ..Invocation::begin("r", 0, chrono::DateTime::default(), 0)
        };
        Ledger::read("metrics", "{}", &common(), &invocation, WHOLE, |_| Owed::Output(())).unwrap_err();
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
        ledger.enter(0, Fate::Filtered);
        let invocation = Invocation::begin("r", 0, chrono::DateTime::default(), 0);
        let response = ledger.close(&invocation);
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
        fn portions_give_each_user_record_once_and_in_order_until_one_fails(
            records in vec(prop_oneof![4 => (1_usize..12).prop_map(Some), 1 => Just(None)], 1..12),
            enough in 1_usize..10,
            more in 0_usize..10,
            fails in prop::option::of(0_usize..40),
        ) {
            let (event, common) = (event_of(&records), common());
            let invocation = Invocation::begin("r", 0, chrono::DateTime::default(), 0);
            let portion = Portion { enough, most: enough + more };
            let owes = |record: UserRecord<'_>| Owed::Output((record.record, record.data.to_vec()));
            let (mut ledger, mut outputs) =
                Ledger::read("notify", &event, &common, &invocation, portion, owes).unwrap();
            let (mut found, mut failed) = (Vec::new(), None);
            loop {
                prop_assert!(outputs.len() <= portion.most.max(1) + 1, "{} outputs", outputs.len());
                for (index, (record, data)) in mem::take(&mut outputs) {
                    found.push((index, record, data));
                    let fails = fails == Some(index);
                    failed = if fails { Some(record) } else { failed };
                    ledger.enter(index, if fails { Fate::Failed(String::new()) } else { Fate::Delivered });
                }
                if !ledger.has_more() {
                    break;
                }
                outputs = ledger.read_on(portion, owes);
            }
            let numbers = records.iter().enumerate().flat_map(|(record, count)| vec![(record, count.is_some()); count.unwrap_or(1)]);
            let expected: Vec<_> = numbers
                .enumerate()
                .filter(|(_, (_, is_whole))| *is_whole)
                .map(|(index, (record, _))| (index, record, index.to_string().into_bytes()))
                .collect();
            prop_assert!(expected.starts_with(&found));
            prop_assert!(failed.is_some() || found.len() == expected.len());
            prop_assert_eq!(ledger.comes_again_from(), failed);
            // Every user record is in the ledger, and none that was not looked at is open.
            prop_assert_eq!(ledger.entries.len(), records.iter().map(|count| count.unwrap_or(1)).sum::<usize>());
            let looked_at = found.last().map_or(0, |(index, ..)| index + 1);
            let open = |entry: &Entry| entry.status == Status::Open;
            let damaged = records.iter().filter(|count| count.is_none()).count();
            prop_assert!(ledger.entries.iter().filter(|entry| open(entry)).count() <= damaged);
            prop_assert!(failed.is_none() || ledger.entries[looked_at..].iter().all(|entry| entry.status == Status::Failed || open(entry)));
        }
    }
}
