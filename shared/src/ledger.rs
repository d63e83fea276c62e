//! The ledger of a batch: what becomes of each of its user records, and from where the batch is to come again.
//!
//! A batch of 6 MB can have 700,000 user records, so that what is kept of each takes a few bytes.

use std::iter;

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
    /// Reads the batch of an invocation, and enters what each user record owes: a fate where that is nothing. Gives the
    /// outputs, each with the position of its record. Records that do not come apart are refused, and an event that is no
    /// batch stands in the books, too.
    ///
    /// A record is looked at as soon as it is read, while its text and what is decoded of it are in the cache:
    /// looked at once all are read, they take transform 5 % more time.
    pub fn read<T>(
        function: &'static str,
        event: &'b str,
        common: &'b Common,
        invocation: &Invocation,
        mut owes: impl FnMut(UserRecord<'_>) -> Owed<T>,
    ) -> Result<(Self, Vec<(usize, T)>), NotABatch> {
        let mut ledger = Self::new(function, event, common, invocation);
        let (mut outputs, mut buffer) = (Vec::new(), Vec::new());
        kinesis::read(event, |held| {
            ledger.look(&held, &mut buffer, |ledger, data, part| {
                let owed = owes(UserRecord { record: ledger.records.len(), held: &held, data });
                let index = ledger.add(data);
                match owed {
                    Owed::Nothing => ledger.enter(index, Fate::Filtered),
                    Owed::Output(output) => outputs.push((index, output)),
                    Owed::Reject { reason, detail } => {
                        ledger.first_rejected.get_or_insert(ledger.records.len());
                        ledger.reject(index, &held, (part, data), reason, &detail.into());
                    }
                }
            });
            ledger.records.push(held);
        })
        .inspect_err(|_| Books::of_what_is_not_understood().close(&common.whose(function), invocation))?;
        Ok((ledger, outputs))
    }

    fn new(function: &'static str, event: &str, common: &'b Common, invocation: &Invocation) -> Self {
        Self {
            function,
            common,
            records: Vec::with_capacity(event.len() / RECORD_BYTES),
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

    /// Hands on each user record of a record of the stream, with its position there if it is one of several.
    fn look(
        &mut self,
        held: &Record<'_>,
        buffer: &mut Vec<u8>,
        mut each: impl FnMut(&mut Self, &[u8], Option<u64>),
    ) {
        match held.user_records(buffer) {
            Ok(UserRecords::Itself(data)) => {
                self.rejects.came_in(data.len() + RECORD_BYTES / 2);
                each(self, data, None);
            }
            Ok(UserRecords::Parts(parts)) => {
                for (part, data) in (0..).zip(parts) {
                    self.rejects.came_in(data.len() + PART_BYTES);
                    each(self, data, Some(part));
                }
            }
            Err(poison) => {
                let payload = held.payload();
                self.rejects.came_in(payload.len() + RECORD_BYTES / 2);
                let index = self.add(&payload);
                self.first_rejected.get_or_insert(self.records.len());
                self.reject(index, held, (None, &payload), poison.reason, &poison.detail.into());
            }
        }
    }

    /// Adds a user record of the record that is being read; gives its position.
    fn add(&mut self, data: &[u8]) -> usize {
        if let Some(id) = self.common.followed().and_then(|dataset| event::id(dataset, data)) {
            self.ids.push_str(&id);
        }
        self.entries.push(Entry {
            record: short(self.records.len()),
            id_end: short(self.ids.len()),
            status: Status::Open,
        });
        self.entries.len() - 1
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
        let mut refused = std::mem::take(&mut self.refused);
        refused.sort_by_key(|(index, ..)| *index);
        let records = std::mem::take(&mut self.records);
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
            self.look(held, &mut buffer, |ledger, data, part| {
                if let Some((index, reason, detail)) = refused.next_if(|(refused, ..)| *refused == index) {
                    ledger.reject(*index, held, (part, data), reason, detail);
                }
                index += 1;
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
    use super::*;

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
            Ledger::read("notify", event, common, &invocation, |_| Owed::Output(())).unwrap();
        assert_eq!(outputs.len(), records);
        ledger
    }

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
        Ledger::read("metrics", "{}", &common(), &invocation, |_| Owed::Output(())).unwrap_err();
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
}
