//! Decides about the rows of a piece of text: which are ingest's events, and which of these are severe for transform.

use std::borrow::Cow;

use chrono::DateTime;
use ingest::{
    normalise::Normaliser,
    rows::{Content, Row, Rows},
};
use md5::{Digest as _, Md5};
use memchr::memmem::Finder;
use shared::{
    data::{
        decision::Decision,
        event::{Cell, Event, unmarked},
        time::Timestamp,
    },
    json,
};
use transform::select::{Selector, Severe};

use crate::{
    outcome::PieceOutcome,
    settings::Reading,
    severe_event::{SevereEvent, UNSTAMPED},
    times::NO_TIME,
};

/// Severity thresholds; an event is selected if it is above them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds {
    /// Events above it take part in the simulations.
    pub(crate) simulated_above: i64,
    /// Events above it count as written to stream 2 and to the analytical layer.
    pub(crate) written_above: i64,
}

impl From<i64> for Thresholds {
    fn from(above: i64) -> Self {
        Self { simulated_above: above, written_above: above }
    }
}

/// Decides about rows as ingest and transform do.
pub(crate) struct Decider<'d> {
    reading: Reading<'d>,
    normaliser: Normaliser<'d>,
    selector: Selector<'d>,
    written_above: i64,
    /// Finds the time of receipt in an event.
    received: Finder<'static>,
    event: Vec<u8>,
}

impl<'d> Decider<'d> {
    /// Decides about rows that are read in this way; events above the thresholds are severe.
    pub(crate) fn new(reading: Reading<'d>, thresholds: impl Into<Thresholds>) -> Self {
        let (dataset, thresholds) = (reading.dataset, thresholds.into());
        let mut entry = json::entry(&dataset.columns[dataset.received_at].name);
        entry.extend_from_slice(format!("\"{UNSTAMPED}\"").as_bytes());
        Self {
            reading,
            normaliser: Normaliser::new(dataset, reading.date_order),
            // In transform the clock decides which events are late. Here the clock is the event's own time, so none is.
            selector: Selector::new(dataset, thresholds.simulated_above, DateTime::UNIX_EPOCH),
            written_above: thresholds.written_above,
            // The first entry of an object has no comma.
            received: Finder::new(&entry[1..]).into_owned(),
            event: Vec::new(),
        }
    }

    /// Decides about all rows that are complete.
    pub(crate) fn take(&mut self, rows: &mut Rows<'_>, outcome: &mut PieceOutcome) {
        while self.take_one(rows, outcome) {}
    }

    /// Decides about the next row; false if none is complete.
    pub(crate) fn take_one(&mut self, rows: &mut Rows<'_>, outcome: &mut PieceOutcome) -> bool {
        let Some(row) = rows.next() else { return false };
        self.decide_row(&row, outcome);
        true
    }

    fn decide_row(&mut self, row: &Row<'_>, outcome: &mut PieceOutcome) {
        self.event.truncate(0);
        let normalised = self.normaliser.normalise(row, UNSTAMPED, &mut self.event, &mut outcome.tally);
        if let Err(refusal) = normalised {
            return outcome.reject(refusal.reason, refusal.detail);
        }
        let time = self.time_of(row).unwrap_or(NO_TIME);
        outcome.timeless += u64::from(time == NO_TIME);
        outcome.times.push(time);
        outcome.sizes.raw += self.event.len() as u64;
        match self.selector.select(&self.event) {
            Decision::Nothing => {}
            Decision::Output(severe) => self.add_severe(&severe, time, outcome),
            Decision::Reject { reason, detail } => outcome.reject(reason, detail),
        }
    }

    fn add_severe(&self, severe: &Severe, time: i64, outcome: &mut PieceOutcome) {
        let projection = &severe.projection;
        // The entry ends with the quoted placeholder: step back over the closing quote and the placeholder.
        let entry = self.received.find(projection);
        let stamp = entry.map_or(0, |at| at + self.received.needle().len() - UNSTAMPED.len() - 1);
        if severe.partition > self.written_above {
            outcome.sizes.severe += projection.len() as u64;
            outcome.sizes.analytical += severe.analytical.len() as u64;
            outcome.sizes.severe_events += 1;
        }
        let mut event = SevereEvent {
            time,
            row: u32::try_from(outcome.times.len() - 1).unwrap_or(u32::MAX),
            hash_key: u128::from_be_bytes(Md5::digest(&severe.key).into()),
            severity: severe.partition,
            // A record is at most a mebibyte, and the time of receipt is within its first columns.
            bytes: u32::try_from(projection.len()).unwrap_or(u32::MAX),
            stamp: u16::try_from(stamp).unwrap_or_default(),
        };
        let begin = outcome.projections.len();
        outcome.projections.extend_from_slice(projection);
        if time != NO_TIME {
            event.set_received_at(time, &mut outcome.projections[begin..]);
        }
        outcome.severe.push(event);
    }

    /// The time of a row, in microseconds since 1970.
    fn time_of(&self, row: &Row<'_>) -> Option<i64> {
        let column = self.reading.time;
        let text = match (&row.content, row.header) {
            (Content::Cells(cells), Some(header)) => Cow::Borrowed(cells.get(header.columns[column]?)),
            _ => {
                let (text, _) = row.charset.decode(unmarked(row.text));
                let event = Event::as_sent(self.reading.dataset, &text).ok()?;
                match event.cell(column) {
                    Cell::Text(text) => Cow::Owned(text.into_owned()),
                    Cell::Blank | Cell::Nested(_) | Cell::NonFinite(_) => return None,
                }
            }
        };
        let time = Timestamp::parse(text.trim(), self.normaliser.date_order())?;
        Some(time.instant().timestamp_micros())
    }
}
