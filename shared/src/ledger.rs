//! The ledger of a batch: what becomes of each of its user records, and from where the batch is to come again.

use bytes::Bytes;

use crate::{
    books::{Books, Fate},
    config::Common,
    delivery::Service,
    invocation::Invocation,
    kinesis::{Batch, BatchItemFailure, BatchResponse, NotABatch, Record},
    reject::{self, Reject},
    trail::Trail,
};

/// What becomes of the user records of a batch, each named by its position among them.
#[derive(Debug)]
pub struct Ledger<'b> {
    function: &'static str,
    batch: &'b Batch<'b>,
    entries: Vec<Entry<'b>>,
    /// Positions of the records that are to go to rejects, with a short stable code and what is wrong.
    refused: Vec<(usize, &'static str, String)>,
    /// Times that something was sent again.
    pub retried: u64,
    /// Events that came more than the watermark behind.
    pub late: u64,
}

#[derive(Debug)]
struct Entry<'b> {
    /// Position of the record of the stream that holds it.
    record: usize,
    data: &'b Bytes,
    fate: Option<Fate>,
}

/// A user record, as a function sees it.
#[derive(Debug, Clone, Copy)]
pub struct UserRecord<'b> {
    /// Position among the user records of the batch.
    pub index: usize,
    /// Position of the record of the stream that holds it: what comes again together.
    pub record: usize,
    /// That record.
    pub held: &'b Record<'b>,
    /// The record as its producer wrote it.
    pub data: &'b Bytes,
}

/// Decodes the event of an invocation; one that is no batch stands in the books, too.
pub fn decode<'e>(
    function: &'static str,
    event: &'e str,
    common: &Common,
    invocation: &Invocation,
) -> Result<Batch<'e>, NotABatch> {
    Batch::decode(event).inspect_err(|_| {
        Books::of_what_is_not_understood().close(&common.whose(function), invocation);
    })
}

impl<'b> Ledger<'b> {
    /// Opens the ledger of a batch, and gives the user records to work on. Records that do not come apart are refused
    /// already.
    #[must_use]
    pub fn open(function: &'static str, batch: &'b Batch<'b>) -> (Self, Vec<UserRecord<'b>>) {
        let mut ledger = Self {
            function,
            batch,
            entries: Vec::with_capacity(batch.records.len()),
            refused: Vec::new(),
            retried: 0,
            late: 0,
        };
        let mut records = Vec::with_capacity(batch.records.len());
        for (record, held) in batch.records.iter().enumerate() {
            match &held.content {
                Ok(content) => {
                    for data in content {
                        records.push(UserRecord { index: ledger.entries.len(), record, held, data });
                        ledger.entries.push(Entry { record, data, fate: None });
                    }
                }
                Err(poison) => {
                    ledger.refused.push((ledger.entries.len(), poison.reason, poison.detail.clone()));
                    ledger.entries.push(Entry { record, data: &poison.payload, fate: None });
                }
            }
        }
        (ledger, records)
    }

    /// Enters the fate of a record.
    pub fn enter(&mut self, index: usize, fate: Fate) {
        self.entries[index].fate = Some(fate);
    }

    /// Notes that a record is to go to rejects; `reason` is a short stable code, `detail` a sentence.
    pub fn refuse(&mut self, index: usize, reason: &'static str, detail: String) {
        self.refused.push((index, reason, detail));
    }

    /// Writes what was refused to rejects. A reject that cannot be written fails like any delivery.
    pub async fn write_rejects<R: Service<Entry = Bytes>>(&mut self, service: &R, invocation: &Invocation) {
        let refused = std::mem::take(&mut self.refused);
        let rejects: Vec<Reject> = refused
            .iter()
            .map(|(index, reason, detail)| {
                let Entry { record, data, .. } = &self.entries[*index];
                Reject {
                    function: self.function,
                    reason,
                    detail: detail.clone(),
                    source: self.batch.records[*record].source(),
                    payload: Bytes::clone(data),
                    file: None,
                }
            })
            .collect();
        let written = reject::write(service, &rejects, invocation.now, invocation.terms).await;
        self.retried += written.resent;
        for ((index, ..), failure) in refused.iter().zip(written.failures) {
            self.enter(*index, failure.map_or(Fate::Rejected, Fate::Failed));
        }
    }

    /// The first record of the stream that is to go to rejects, by position.
    #[must_use]
    pub fn first_refused(&self) -> Option<usize> {
        self.refused.iter().map(|(index, ..)| self.entries[*index].record).min()
    }

    /// The first record of the stream that failed, by position: it and everything behind it comes again.
    #[must_use]
    pub fn comes_again_from(&self) -> Option<usize> {
        self.entries
            .iter()
            .find(|entry| matches!(entry.fate, Some(Fate::Failed(_))))
            .map(|entry| entry.record)
    }

    /// Closes the ledger: writes the books, and answers from where the batch is to come again.
    #[must_use]
    pub fn close(self, common: &Common, invocation: &Invocation) -> BatchResponse {
        let mut books = Books {
            received: self.entries.len() as u64,
            retried: self.retried,
            late: self.late,
            ..Books::default()
        };
        self.entries.iter().filter_map(|entry| entry.fate.as_ref()).for_each(|fate| books.enter(fate));
        let first = self.comes_again_from();
        if let Some(Fate::Failed(why)) = self
            .entries
            .iter()
            .filter_map(|entry| entry.fate.as_ref())
            .find(|fate| matches!(fate, Fate::Failed(_)))
        {
            tracing::warn!(failed = books.failed, why, "records failed and come again");
        }
        books.close(&common.whose(self.function), invocation);
        if let Some(dataset) = common.followed() {
            let mut trail = Trail::default();
            for Entry { data, fate, .. } in &self.entries {
                if let Some(fate) = fate {
                    trail.enter(dataset, data, fate);
                }
            }
            trail.close(self.function, invocation);
        }
        BatchResponse {
            batch_item_failures: first
                .map(|record| BatchItemFailure {
                    item_identifier: self.batch.records[record].sequence_number.clone().into_owned(),
                })
                .into_iter()
                .collect(),
        }
    }
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
        let batch = Batch::decode(&event).unwrap();
        let (mut ledger, records) = Ledger::open("metrics", &batch);
        assert_eq!(records.len(), 3);
        for index in [2, 1] {
            ledger.enter(index, Fate::Failed("throttled".to_owned()));
        }
        ledger.enter(0, Fate::Delivered);
        assert_eq!(ledger.comes_again_from(), Some(1));
        let invocation = Invocation::begin("r", 0, chrono::DateTime::default(), 0);
        assert_eq!(
            serde_json::to_string(&ledger.close(&common(), &invocation)).unwrap(),
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
        let batch = Batch::decode(event).unwrap();
        for (log_event_ids, expected) in [(true, 1), (false, 0)] {
            let (mut ledger, _) = Ledger::open("notify", &batch);
            ledger.enter(0, Fate::Delivered);
            let answer = ledger.close(&Common { log_event_ids, ..common() }, &invocation);
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
        let event = "{}".to_owned();
        decode("metrics", &event, &common(), &invocation).unwrap_err();
        let lines = LINES.take();
        assert_eq!(lines.len(), 1);
        let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
        let counts = ["In", "Failed", "Unaccounted"].map(|name| line[name].as_u64());
        assert_eq!((line["Function"].as_str(), counts), (Some("metrics"), [Some(1), Some(1), Some(0)]));
    }

    #[test]
    fn a_batch_that_is_done_answers_with_an_empty_list() {
        let event = event(&["1"]);
        let batch = Batch::decode(&event).unwrap();
        let (mut ledger, _) = Ledger::open("metrics", &batch);
        ledger.enter(0, Fate::Filtered);
        let invocation = Invocation::begin("r", 0, chrono::DateTime::default(), 0);
        let response = ledger.close(&common(), &invocation);
        assert_eq!(serde_json::to_string(&response).unwrap(), r#"{"batchItemFailures":[]}"#);
    }
}
