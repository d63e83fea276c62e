//! The intake: turns rows into events and delivers them, with several requests in flight and in bounded memory.

mod buffer;
mod failed_keys;

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use serde::Serialize;
use shared::{
    audit::{
        counts::{Counts, Status},
        trail::Trail,
    },
    data::{dataset::Dataset, event, time::stamp},
    delivery::{
        Outcome, Report, Service,
        reject::{self, Collector, Detail, FileContext, Written},
    },
    lambda::invocation::Invocation,
    stream::{
        StreamRecord,
        pack::{self, Packing},
    },
};

use self::{
    buffer::{BufferedEvents, RowPlace, as_sent},
    failed_keys::FailedKeys,
};
use crate::{
    normalise::{Normaliser, RowRefusal},
    ranges::Ranges,
    report::ReadingReport,
    rows::{Content, Format, Row, Rows},
    unreadable::Tally,
};

/// The least that a message adds to the event of a queue, in bytes.
const MESSAGE_BYTES: usize = 400;
/// Rejects that the response lists.
const LISTED: usize = 20;
/// Reason codes of rejected rows that are complete, so that they can be stored next to each other.
const CLOSED: [&str; 2] = ["cell_count", "bad_header"];

/// The outcome of the rows of a request.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Rows that stream 1 accepted.
    pub accepted: u64,
    /// Rows that were rejected.
    pub rejected: u64,
    /// Rows that were not delivered and must be sent again.
    pub failed: u64,
    /// The first rejects.
    pub rejects: Vec<Listed>,
    /// Positions of the rows that must be sent again: ordered ranges with their last position included.
    pub failed_indexes: Ranges,
    /// What could not be read of the accepted rows.
    #[serde(flatten)]
    pub report: ReadingReport,
}

/// A reject, as the response lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Position of the row in the request, from 0.
    pub index: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// A short stable code.
    pub reason: &'static str,
    /// What is wrong, and what was expected.
    pub detail: Detail,
}

/// Where rows come from: an object's key, a request id, a message id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Origin {
    /// What comes before the line in a reject's source.
    pub(crate) name: String,
    /// The position of the message among those of a batch.
    pub(crate) group: usize,
}

/// Ingests rows and delivers them.
#[derive(Debug)]
pub(crate) struct Intake<'a, S, R> {
    stream: &'a S,
    rejects: &'a R,
    packing: Packing,
    invocation: &'a Invocation,
    followed: Option<&'a Dataset>,
    received: String,
    buffered: BufferedEvents,
    refused: Collector,
    /// The file that rows were refused of last.
    file: Option<FileContext>,
    /// The names of the origins so far, by group.
    names: Vec<(usize, String)>,
    failed_keys: FailedKeys,
    /// Whether the summary lists the positions of failed rows. The response to a queue lists messages instead.
    lists_positions: bool,
    /// The outcome of the rows so far.
    pub(crate) summary: Summary,
    /// What could not be read in them.
    pub(crate) tally: Tally,
    /// The counts of the invocation.
    pub(crate) counts: Counts,
    /// Groups with a failed row, in order.
    pub(crate) failed_groups: Vec<usize>,
    /// Why rows failed, if any did.
    pub(crate) failure: Option<String>,
}

impl<'a, S, R> Intake<'a, S, R>
where
    S: Service<Entry = StreamRecord>,
    R: Service<Entry = Bytes>,
{
    /// An intake into `stream`. Rejects go to `rejects`, and the log follows the events of a data set.
    /// `lists_positions` says whether the summary lists the positions of failed rows.
    pub(crate) fn new(
        stream: &'a S,
        rejects: &'a R,
        packing: Packing,
        invocation: &'a Invocation,
        followed: Option<&'a Dataset>,
        lists_positions: bool,
    ) -> Self {
        Self {
            stream,
            rejects,
            packing,
            invocation,
            followed,
            received: stamp(invocation.now),
            buffered: BufferedEvents::default(),
            refused: Collector::new("ingest", stamp(invocation.now)),
            file: None,
            names: Vec::new(),
            failed_keys: FailedKeys::default(),
            lists_positions,
            summary: Summary::default(),
            tally: Tally::default(),
            counts: Counts::default(),
            failed_groups: Vec::new(),
            failure: None,
        }
    }

    /// Takes every complete row and delivers whenever enough events are buffered.
    pub(crate) async fn take_all(
        &mut self,
        rows: &mut Rows<'_>,
        normaliser: &Normaliser<'_>,
        origin: &Origin,
    ) {
        let format = rows.format();
        while let Some(row) = rows.next() {
            self.take(&row, format, normaliser, origin);
            if self.is_full() {
                self.deliver_buffered().await;
            }
        }
    }

    /// The summary, with the report of what could not be read, as a response.
    pub(crate) fn summarise(&self, dataset: &Dataset) -> Summary {
        Summary { report: ReadingReport::new(dataset, &self.tally), ..self.summary.clone() }
    }

    /// Remembers the name of an origin for the rejects of its events.
    fn remember(&mut self, origin: &Origin) {
        if self.names.last().is_none_or(|(group, name)| (*group, name) != (origin.group, &origin.name)) {
            self.names.push((origin.group, origin.name.clone()));
        }
    }

    /// Records that an object could not be read to its end. It counts as one failed record.
    pub(crate) fn record_unread_object(&mut self, why: String) {
        self.counts.received += 1;
        self.counts.record(&Status::Failed(String::new()));
        self.failure.get_or_insert(why);
    }

    /// Takes a reject for a whole message or object that cannot be read.
    pub(crate) fn refuse(&mut self, refused: RowRefusal, payload: impl Into<Bytes>, origin: &Origin) {
        let payload = payload.into();
        self.counts.received += 1;
        self.refused.came_in(payload.len() + MESSAGE_BYTES);
        let place = RowPlace { group: origin.group, index: 0, line: 0 };
        let detail = refused.detail.into();
        self.refused.add(reject::RefusedRow {
            owner: (place.group, place.index),
            reason: refused.reason,
            detail: &detail,
            name: &origin.name,
            line: None,
            row_index: None,
            payload: &payload,
            is_separate: true,
            file: None,
        });
        self.list(place, refused.reason, detail);
    }

    /// Takes a row and turns it into an event or a reject.
    pub(crate) fn take(
        &mut self,
        row: &Row<'_>,
        format: Format,
        normaliser: &Normaliser<'_>,
        origin: &Origin,
    ) {
        self.counts.received += 1;
        // JSON needs nothing between two elements.
        let line_end = usize::from(format != Format::Json);
        self.refused.came_in(row.text.len() + line_end);
        let begin = self.buffered.text.len();
        let refused = match normaliser.normalise(
            row,
            &self.received,
            &mut self.buffered.text,
            &mut self.tally,
        ) {
            Ok(key) => {
                let key = as_sent(key);
                let bytes = self.buffered.text.len() - begin;
                let limit = self.stream.limits().entry_bytes;
                if bytes + key.len() <= limit {
                    self.remember(origin);
                    self.buffered.events.push((key, self.buffered.text.len()));
                    let place = RowPlace { group: origin.group, index: row.index, line: row.line };
                    self.buffered.places.push(place);
                    return;
                }
                self.buffered.text.truncate(begin);
                RowRefusal {
                    reason: "too_large",
                    detail: format!(
                        "the event has {bytes} bytes, and stream 1 accepts at most {limit}: shorten its texts"
                    ),
                }
            }
            Err(refused) => refused,
        };
        self.reject_row(row, refused, format, normaliser, origin);
    }

    fn reject_row(
        &mut self,
        row: &Row<'_>,
        refused: RowRefusal,
        format: Format,
        normaliser: &Normaliser<'_>,
        origin: &Origin,
    ) {
        let header = row.header.map(|header| &header.line);
        let date_order = Some(normaliser.date_order());
        let same = |file: &FileContext| {
            (file.format, file.date_order) == (format.name(), date_order)
                && match (file.header(), header) {
                    (Some(own), Some(header)) => Arc::ptr_eq(own, header),
                    (own, header) => own.is_none() && header.is_none(),
                }
        };
        let file = match self.file.take().filter(same) {
            Some(file) => file,
            None => {
                self.refused.came_in(header.map_or(0, |header| header.len() + 1));
                FileContext::new(format.name(), header.cloned(), date_order)
            }
        };
        let detail = refused.detail.into();
        let payload = self.readable_payload(row);
        self.refused.add(reject::RefusedRow {
            owner: (origin.group, row.index),
            reason: refused.reason,
            detail: &detail,
            name: &origin.name,
            line: Some(row.line),
            row_index: Some(row.index),
            payload: &payload,
            // An unclosed row would absorb the rows after it.
            is_separate: matches!(row.content, Content::Broken { reason, .. } if !CLOSED.contains(&reason)),
            file: Some(&file),
        });
        self.file = Some(file);
        let place = RowPlace { group: origin.group, index: row.index, line: row.line };
        self.list(place, refused.reason, detail);
    }

    /// The text of a row in a declared charset other than UTF-8, so that its reject need not name the charset. If the
    /// text would not keep every byte, the bytes themselves.
    fn readable_payload<'r>(&mut self, row: &Row<'r>) -> Cow<'r, [u8]> {
        match row.charset.decode(row.text) {
            (Cow::Owned(text), false) => {
                self.refused.came_in(text.len().saturating_sub(row.text.len()));
                Cow::Owned(text.into_bytes())
            }
            _ => Cow::Borrowed(row.text),
        }
    }

    /// Lists a reject in the summary; it is removed again if it cannot be written.
    fn list(&mut self, place: RowPlace, reason: &'static str, detail: Detail) {
        if self.summary.rejects.len() < LISTED {
            self.summary.rejects.push(Listed { index: place.index, line: place.line, reason, detail });
        }
    }

    /// Whether enough is buffered for a delivery.
    pub(crate) fn is_full(&self) -> bool {
        self.buffered.is_full() || self.refused.is_full()
    }

    /// Delivers everything taken so far and records the outcome.
    pub(crate) async fn deliver(&mut self) {
        self.refused.finish();
        self.deliver_buffered().await;
        // Events that the stream never accepts are rejects by now.
        self.refused.finish();
        if self.refused.has_finished() {
            self.deliver_buffered().await;
        }
        self.summary.failed_indexes.settle();
    }

    /// Whether rejects wait to be written, including those for events that the stream never accepts.
    pub(crate) fn holds_rejects(&self) -> bool {
        self.refused.has_gathered() || self.refused.has_finished()
    }

    /// Delivers the events and the complete rejects. Rows that share a reject wait for more rows. Otherwise a long
    /// header would be written again for each delivery.
    pub(crate) async fn deliver_buffered(&mut self) {
        let mut buffered = std::mem::take(&mut self.buffered);
        let text = Bytes::from(std::mem::take(&mut buffered.text));
        let mut events = buffered.take_events(&text);
        let mut places = buffered.places;
        if !self.failed_keys.is_empty() {
            (events, places) = self.hold_back(events, places);
        }
        let finished = self.refused.take();
        let deadline = self.invocation.deadline;
        let (report, written) = tokio::join!(
            pack::deliver(self.stream, &events, self.packing, deadline),
            reject::write(self.rejects, finished, deadline),
        );
        self.follow(&report, &events);
        self.note_events(report, &events, &places);
        self.note_rejects(written);
    }

    /// Removes the events of keys with an earlier failed event; they fail, too.
    fn hold_back(
        &mut self,
        events: Vec<StreamRecord>,
        places: Vec<RowPlace>,
    ) -> (Vec<StreamRecord>, Vec<RowPlace>) {
        let (held, sent): (Vec<_>, Vec<_>) = events
            .into_iter()
            .zip(places)
            .partition(|(event, _)| self.failed_keys.must_wait(event.partition_key()));
        let why = "not sent, since an earlier event of its key failed".to_owned();
        let report = Report { outcomes: vec![Outcome::Failed(why); held.len()], ..Report::default() };
        let (events, places): (Vec<_>, Vec<_>) = held.into_iter().unzip();
        self.follow(&report, &events);
        self.note_events(report, &events, &places);
        sent.into_iter().unzip()
    }

    /// Logs the outcome of each event. Rejects have a table of their own.
    fn follow(&self, report: &Report, events: &[StreamRecord]) {
        let Some(dataset) = self.followed else { return };
        let mut trail = Trail::default();
        for (outcome, record) in report.outcomes.iter().zip(events) {
            let delivered = matches!(outcome, Outcome::Delivered);
            let status = if delivered { Status::Delivered } else { Status::Failed(String::new()) };
            if let Some(id) = event::id(dataset, &record.data) {
                trail.record(&id, &status);
            }
        }
        trail.log("ingest", self.invocation);
    }

    fn note_events(&mut self, report: Report, events: &[StreamRecord], places: &[RowPlace]) {
        self.counts.retried += report.resent;
        for (outcome, (event, place)) in report.outcomes.into_iter().zip(events.iter().zip(places)) {
            match outcome {
                Outcome::Delivered => {
                    self.summary.accepted += 1;
                    self.counts.record(&Status::Delivered);
                }
                Outcome::Failed(why) => {
                    self.failed_keys.add(event.partition_key());
                    self.note_failure(place.group, place.index, why);
                }
                Outcome::Unacceptable(why) => self.reject_event(event, *place, why.into()),
            }
        }
    }

    /// Rejects an event that the stream never accepts. Sent again unchanged, it would fail again.
    fn reject_event(&mut self, event: &StreamRecord, place: RowPlace, detail: Detail) {
        const REASON: &str = "unacceptable";
        let name = self.names.iter().rev().find(|(group, _)| *group == place.group);
        self.refused.add(reject::RefusedRow {
            owner: (place.group, place.index),
            reason: REASON,
            detail: &detail,
            name: name.map_or("", |(_, name)| name),
            line: Some(place.line),
            row_index: Some(place.index),
            payload: event.data.strip_suffix(b"\n").unwrap_or(&event.data),
            is_separate: false,
            file: Some(&FileContext::new(Format::Ndjson.name(), None, None)),
        });
        self.list(place, REASON, detail);
    }

    fn note_rejects(&mut self, written: Written) {
        self.counts.retried += written.resent;
        for (owners, failure) in written.outcomes {
            let Some(why) = failure else {
                self.summary.rejected += owners.rows;
                self.counts.rejected += owners.rows;
                continue;
            };
            let failed = |index| owners.ranges.iter().any(|(first, last)| (*first..=*last).contains(&index));
            self.summary.rejects.retain(|listed| !failed(listed.index));
            for index in owners.positions() {
                self.note_failure(owners.group, index, why.clone());
            }
        }
    }

    fn note_failure(&mut self, group: usize, index: u64, why: String) {
        self.summary.failed += 1;
        if self.lists_positions {
            self.summary.failed_indexes.add(index);
        }
        if let Err(at) = self.failed_groups.binary_search(&group) {
            self.failed_groups.insert(at, group);
        }
        self.counts.record(&Status::Failed(String::new()));
        self.failure.get_or_insert(why);
    }
}
