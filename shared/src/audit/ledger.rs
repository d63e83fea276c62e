//! The ledger of a batch: the status of each user record, and the record from which the batch is retried.
//!
//! A batch of 6 MB can have 700,000 user records, so the ledger keeps only a few bytes for each.

use std::{iter, mem};

use bytes::Bytes;

use crate::{
    audit::{
        counts::{Counts, Status},
        trail::Trail,
    },
    data::{decision::Decision, event, time::stamp},
    delivery::{
        Service,
        reject::{self, Collector, Detail, RefusedRow},
    },
    lambda::{config::Common, invocation::Invocation},
    stream::batch::{self, BatchItemFailure, BatchResponse, NotABatch, Poison, Record},
};

/// The reason of a record whose output a service refuses permanently.
const UNACCEPTABLE: &str = "unacceptable";
/// Bytes of Lambda's fields around a record's data.
const FIELD_BYTES: usize = 256;
/// Bytes around a user record in an aggregate, in base64.
const PART_BYTES: usize = 8;

/// The statuses of a batch's user records, each identified by its position among them.
#[derive(Debug)]
pub struct Ledger<'b> {
    function: &'static str,
    common: &'b Common,
    records: Vec<Record<'b>>,
    /// Records of the stream whose user records were all decided, and how many user records of the next were.
    decided: (usize, u64),
    entries: Vec<Entry>,
    /// The ids of the events, if the log is to follow them.
    ids: String,
    /// The rejects of records that were refused while they were read.
    rejects: Collector,
    /// Positions of the records whose outputs were refused, and why.
    refused: Vec<(usize, Detail)>,
    /// The first record that failed, and why.
    failure: Option<(usize, String)>,
    /// How many times an entry was retried.
    pub retried: u64,
    /// Rows of the alerts table that could not be delivered.
    pub unrecorded: u64,
    /// Events that arrived later than the watermark allows.
    pub late: u64,
    /// Events of a severity that the data set does not list.
    pub unknown_severity: u64,
}

/// The ledger's entry for a user record.
#[derive(Debug)]
struct Entry {
    /// Position of the record of the stream that holds it.
    record: u32,
    /// Where its id ends among the ids; it begins where the one before it ends.
    id_end: u32,
    state: State,
}

/// A status without its reason. Only the first failure's reason is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// To be written to the rejects.
    Refused,
    Delivered,
    Filtered,
    Rejected,
    Failed,
}

impl State {
    fn status(self) -> Option<Status> {
        match self {
            Self::Open | Self::Refused => None,
            Self::Delivered => Some(Status::Delivered),
            Self::Filtered => Some(Status::Filtered),
            Self::Rejected => Some(Status::Rejected),
            Self::Failed => Some(Status::Failed(String::new())),
        }
    }
}

/// How many outputs of a batch are in memory at once. A batch of 6 MB can have 700,000 user records, so the outputs of a
/// large batch are made and delivered in portions.
#[derive(Debug, Clone, Copy)]
pub struct Portion {
    /// Outputs after which no further record of the stream is read.
    pub soft_limit: usize,
    /// Outputs after which a portion ends within a record of the stream.
    pub hard_limit: usize,
}

/// A user record, as functions read it.
#[derive(Debug, Clone, Copy)]
pub struct UserRecord<'r> {
    /// Position of the record of the stream that contains it; the user records of one are retried together.
    pub stream_record_index: usize,
    /// That record.
    pub stream_record: &'r Record<'r>,
    /// The record as its producer wrote it.
    pub data: &'r [u8],
}

/// What a function makes of a user record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOutput<T> {
    /// Position of the user record in the batch.
    pub index: usize,
    /// What is to be delivered.
    pub output: T,
}

impl<'b> Ledger<'b> {
    /// Decodes the batch of an invocation. An event that is not a batch is counted as one failed record.
    pub fn decode(
        function: &'static str,
        event: &'b str,
        common: &'b Common,
        invocation: &Invocation,
    ) -> Result<Self, NotABatch> {
        let records = batch::records(event).inspect_err(|_| {
            Counts::unreadable_event().log(&common.emitter(function), invocation);
        })?;
        Ok(Self {
            function,
            common,
            records,
            decided: (0, 0),
            entries: Vec::new(),
            ids: String::new(),
            rejects: Collector::new(function, stamp(invocation.now)),
            refused: Vec::new(),
            failure: None,
            retried: 0,
            unrecorded: 0,
            late: 0,
            unknown_severity: 0,
        })
    }

    /// Calls `decide` for the output of each user record of the next portion, and returns the outputs. Records without an output are marked filtered. Records that cannot be de-aggregated are rejected.
    pub fn decide<T>(
        &mut self,
        portion: Portion,
        mut decide: impl FnMut(UserRecord<'_>) -> Decision<T>,
    ) -> Vec<RecordOutput<T>> {
        let (mut outputs, mut buffer) = (Vec::new(), Vec::new());
        let records = mem::take(&mut self.records);
        for stream_record in &records[self.decided.0..] {
            if self.decide_record(stream_record, &mut buffer, portion, &mut decide, &mut outputs) {
                break;
            }
        }
        self.records = records;
        outputs
    }

    /// Whether a portion follows. Once a record failed, all later ones are retried with it, and fail here.
    pub fn has_more(&mut self) -> bool {
        if self.decided.0 < self.records.len() && self.retry_from().is_some() {
            self.fail_rest();
        }
        self.decided.0 < self.records.len()
    }

    /// Reads the user records of the next record of the stream, and adds their outputs. Returns whether the portion is
    /// full.
    fn decide_record<T>(
        &mut self,
        stream_record: &Record<'_>,
        buffer: &mut Vec<u8>,
        portion: Portion,
        decide: &mut impl FnMut(UserRecord<'_>) -> Decision<T>,
        outputs: &mut Vec<RecordOutput<T>>,
    ) -> bool {
        let (stream_record_index, from) = self.decided;
        match stream_record.user_records(buffer) {
            Ok(user_records) => {
                for (part, data) in user_records.from(from) {
                    let decision = decide(UserRecord { stream_record_index, stream_record, data });
                    let index = self.add(data, part);
                    match decision {
                        Decision::Nothing => self.record(index, Status::Filtered),
                        Decision::Output(output) => outputs.push(RecordOutput { index, output }),
                        Decision::Reject { reason, detail } => {
                            self.reject_read(index, stream_record, (part, data), reason, detail);
                        }
                    }
                    self.decided.1 = part.map_or(0, |part| part + 1);
                    if part.is_some() && outputs.len() >= portion.hard_limit {
                        return true;
                    }
                }
            }
            Err(Poison { reason, detail }) => {
                let payload = stream_record.payload();
                let index = self.add(&payload, None);
                self.reject_read(index, stream_record, (None, &payload), reason, detail);
            }
        }
        self.decided = (stream_record_index + 1, 0);
        outputs.len() >= portion.soft_limit
    }

    /// Rejects a user record of the record that is being read.
    fn reject_read(
        &mut self,
        index: usize,
        stream_record: &Record<'_>,
        row: (Option<u64>, &[u8]),
        reason: &'static str,
        detail: String,
    ) {
        self.entries[index].state = State::Refused;
        self.reject(index, stream_record, row, reason, &detail.into());
    }

    /// Adds a user record of the record that is being read; returns its position.
    fn add(&mut self, data: &[u8], part: Option<u64>) -> usize {
        let around = if part.is_some() { PART_BYTES } else { FIELD_BYTES };
        self.rejects.came_in(data.len() + around);
        if let Some(id) = self.common.followed().and_then(|dataset| event::id(dataset, data)) {
            self.ids.push_str(&id);
        }
        self.entries.push(Entry {
            record: short(self.decided.0),
            id_end: short(self.ids.len()),
            state: State::Open,
        });
        self.entries.len() - 1
    }

    /// Records every user record that was not decided as failed.
    fn fail_rest(&mut self) {
        let mut buffer = Vec::new();
        let records = mem::take(&mut self.records);
        for stream_record in &records[self.decided.0..] {
            match stream_record.user_records(&mut buffer) {
                Ok(user_records) => {
                    user_records.from(self.decided.1).for_each(|(part, data)| self.fail(data, part));
                }
                Err(_) => self.fail(&stream_record.payload(), None),
            }
            self.decided = (self.decided.0 + 1, 0);
        }
        self.records = records;
    }

    fn fail(&mut self, data: &[u8], part: Option<u64>) {
        let index = self.add(data, part);
        self.record(index, Status::Failed("an earlier record is retried".to_owned()));
    }

    /// Records the status of a user record.
    pub fn record(&mut self, index: usize, status: Status) {
        self.entries[index].state = match status {
            Status::Delivered => State::Delivered,
            Status::Filtered => State::Filtered,
            Status::Rejected => State::Rejected,
            Status::Failed(why) => {
                if self.failure.as_ref().is_none_or(|(first, _)| index < *first) {
                    self.failure = Some((index, why));
                }
                State::Failed
            }
        };
    }

    /// Marks a record to be rejected, since a service refuses its output permanently; the sentence says why.
    pub fn refuse(&mut self, index: usize, why: String) {
        self.entries[index].state = State::Refused;
        self.refused.push((index, why.into()));
    }

    /// Rejects a user record, given with its position in the record of the stream.
    fn reject(
        &mut self,
        index: usize,
        stream_record: &Record<'_>,
        (part, data): (Option<u64>, &[u8]),
        reason: &'static str,
        detail: &Detail,
    ) {
        self.rejects.add(RefusedRow {
            owner: (0, index as u64),
            reason,
            detail,
            name: &stream_record.source(),
            line: None,
            row_index: part,
            payload: data,
            // A record of a stream is one event, whatever records are next to it.
            is_separate: true,
            file: None,
        });
    }

    /// Makes the rejects of records that were refused after they were read. Each record of the stream is split again,
    /// since its user records were not kept.
    fn reject_refused(&mut self) {
        let mut refused = mem::take(&mut self.refused);
        refused.sort_by_key(|(index, _)| *index);
        let records = mem::take(&mut self.records);
        let mut buffer = Vec::new();
        let of_one_record =
            |one: &usize, other: &usize| self.entries[*one].record == self.entries[*other].record;
        let by_record: Vec<_> = refused.chunk_by(|(one, _), (other, _)| of_one_record(one, other)).collect();
        for refused in by_record {
            let record = self.entries[refused[0].0].record;
            let first = self.entries.partition_point(|entry| entry.record < record);
            let stream_record = &records[record as usize];
            // A record that cannot be split was rejected when it was read.
            let Ok(user_records) = stream_record.user_records(&mut buffer) else { continue };
            let mut refused = refused.iter().peekable();
            for (index, row) in (first..).zip(user_records) {
                if let Some((_, why)) = refused.next_if(|(refused, _)| *refused == index) {
                    self.reject(index, stream_record, row, UNACCEPTABLE, why);
                }
                if refused.peek().is_none() {
                    break;
                }
            }
        }
        self.records = records;
    }

    /// Writes the refused records to the rejects. A reject that cannot be written fails like any delivery.
    pub async fn write_rejects<R: Service<Entry = Bytes>>(&mut self, service: &R, invocation: &Invocation) {
        self.reject_refused();
        self.rejects.finish();
        let written = reject::write(service, self.rejects.take(), invocation.deadline).await;
        self.retried += written.resent;
        for (owners, failure) in written.outcomes {
            let status = failure.map_or(Status::Rejected, Status::Failed);
            for index in owners.positions().filter_map(|index| usize::try_from(index).ok()) {
                self.record(index, status.clone());
            }
        }
    }

    /// Delivers the outputs of a portion in the order of their records, and writes its rejects.
    ///
    /// Outputs before the first reject are delivered while the rejects are written. Later outputs wait: if a reject
    /// cannot be written, the batch is retried from there, and they must not have been delivered already. `record`
    /// records the outcomes of outputs, and returns those that are to be delivered once more, in their order.
    pub async fn deliver_in_order<T, D, R: Service<Entry = Bytes>>(
        &mut self,
        mut outputs: Vec<RecordOutput<T>>,
        rejects: &R,
        invocation: &Invocation,
        mut deliver: impl AsyncFnMut(Vec<RecordOutput<T>>) -> D,
        mut record: impl FnMut(&mut Self, D) -> Vec<RecordOutput<T>>,
    ) {
        while !outputs.is_empty() || self.first_refused().is_some() {
            let after = self.split_off(&mut outputs, self.first_refused());
            let (delivered, ()) = tokio::join!(deliver(outputs), self.write_rejects(rejects, invocation));
            outputs = record(self, delivered);
            // These were before the reject, so all are in order.
            outputs.extend(after);
            // Records after one that is retried fail with it.
            for RecordOutput { index, .. } in self.split_off(&mut outputs, self.retry_from()) {
                self.record(index, Status::Failed("an earlier record is retried".to_owned()));
            }
        }
    }

    /// Removes and returns the outputs of that record of the stream and of those after it.
    fn split_off<T>(
        &self,
        outputs: &mut Vec<RecordOutput<T>>,
        record: Option<usize>,
    ) -> Vec<RecordOutput<T>> {
        let Some(record) = record else { return Vec::new() };
        let at = outputs.partition_point(|output| (self.entries[output.index].record as usize) < record);
        outputs.split_off(at)
    }

    /// The first record of the stream that is to be rejected, by position.
    fn first_refused(&self) -> Option<usize> {
        self.first(State::Refused)
    }

    /// The first record of the stream that failed, by position. It and all later ones are retried.
    fn retry_from(&self) -> Option<usize> {
        self.first(State::Failed)
    }

    fn first(&self, state: State) -> Option<usize> {
        self.entries.iter().find(|entry| entry.state == state).map(|entry| entry.record as usize)
    }

    /// Finishes the ledger: writes the counts, and returns the record from which the batch is retried.
    #[must_use]
    pub fn report(self, invocation: &Invocation) -> BatchResponse {
        let mut counts = Counts {
            received: self.entries.len() as u64,
            retried: self.retried,
            late: self.late,
            unknown_severity: self.unknown_severity,
            unrecorded: self.unrecorded,
            ..Counts::default()
        };
        self.entries
            .iter()
            .filter_map(|entry| entry.state.status())
            .for_each(|status| counts.record(&status));
        let first = self.retry_from();
        if let Some((_, why)) = &self.failure {
            tracing::warn!(failed = counts.failed, why, "records failed and are retried");
        }
        counts.log(&self.common.emitter(self.function), invocation);
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

    /// Logs the status of each event.
    fn log_ids(&self, invocation: &Invocation) {
        let mut trail = Trail::default();
        let begins = iter::once(0).chain(self.entries.iter().map(|entry| entry.id_end as usize));
        for (begin, entry) in begins.zip(&self.entries) {
            let id = &self.ids[begin..entry.id_end as usize];
            // An event without a readable id cannot be followed.
            if let Some(status) = entry.state.status()
                && !id.is_empty()
            {
                trail.record(id, &status);
            }
        }
        trail.log(self.function, invocation);
    }
}

/// A position or length within an event, which has at most 6 MB.
fn short(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
