//! Decides about the rows of a piece of text: which are ingest's events, and which of these are severe for transform.

use std::{borrow::Cow, collections::BTreeMap, mem, ops::AddAssign};

use chrono::DateTime;
use ingest::{
    normalise::Normaliser,
    rows::{Content, Row, Rows},
    unreadable::Tally,
};
use md5::{Digest as _, Md5};
use memchr::memmem::Finder;
use serde::Serialize;
use shared::{
    data::{
        decision::Decision,
        event::{Cell, Event, unmarked},
        time::{Timestamp, stamp},
    },
    json,
};
use transform::select::{Selector, Severe};

use crate::settings::Reading;

/// A time of receipt in ingest's format, which an event has until its own time is known.
const UNSTAMPED: &str = "0001-01-01T00:00:00.000000Z";
/// Marks a row without a time. Times are in microseconds since 1970.
pub(crate) const NO_TIME: i64 = i64::MIN;

/// A severe event, as transform writes it to stream 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SevereEvent {
    /// Its time, in microseconds since 1970.
    pub(crate) time: i64,
    /// Its position among the accepted rows of the piece.
    pub(crate) row: u32,
    /// The hash of its partition key.
    pub(crate) hash: u128,
    /// Its severity, if that is in the data set's range; else a number outside the range.
    pub(crate) severity: i64,
    /// How many bytes it has.
    pub(crate) bytes: u32,
    /// Where its time of receipt is in these bytes.
    pub(crate) stamp: u16,
}

/// Rejected rows of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) rows: u64,
    /// What is wrong with the first.
    pub(crate) first: String,
}

/// The outcome of the rows of a piece.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The time of each accepted row, in the order of the text.
    pub(crate) times: Vec<i64>,
    pub(crate) rejected: BTreeMap<&'static str, Rejected>,
    /// What could not be read of the accepted rows.
    pub(crate) tally: Tally,
    /// The severe events in the order of the text.
    pub(crate) severe: Vec<SevereEvent>,
    /// The bytes of the severe events.
    pub(crate) projections: Vec<u8>,
    /// How many bytes are written for the events.
    pub(crate) sizes: Sizes,
    /// Accepted rows without a time that can be read.
    pub(crate) timeless: u64,
}

/// Severities above which events are severe.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Above {
    /// Events above it are passed on to the simulations.
    pub(crate) passed: i64,
    /// Only events above it count as written to stream 2 and to the analytical layer.
    pub(crate) written: i64,
}

impl From<i64> for Above {
    fn from(above: i64) -> Self {
        Self { passed: above, written: above }
    }
}

/// Bytes of the outputs, and how many severe events they have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Sizes {
    /// On stream 1.
    pub(crate) raw: u64,
    /// On stream 2.
    pub(crate) severe: u64,
    /// Of the analytical records.
    pub(crate) analytical: u64,
    pub(crate) severe_events: u64,
}

impl AddAssign for Sizes {
    fn add_assign(&mut self, other: Self) {
        self.raw += other.raw;
        self.severe += other.severe;
        self.analytical += other.analytical;
        self.severe_events += other.severe_events;
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
    /// Decides about rows that are read in this way; events of a severity above `above` are severe.
    pub(crate) fn new(reading: Reading<'d>, above: impl Into<Above>) -> Self {
        let (dataset, above) = (reading.dataset, above.into());
        let mut entry = json::entry(&dataset.columns[dataset.received_at].name);
        entry.extend_from_slice(format!("\"{UNSTAMPED}\"").as_bytes());
        Self {
            reading,
            normaliser: Normaliser::new(dataset, reading.date_order),
            // transform's clock decides what is late; here the time of an event is the clock, so nothing is.
            selector: Selector::new(dataset, above.passed, DateTime::UNIX_EPOCH),
            written_above: above.written,
            // The first entry of an object has no comma.
            received: Finder::new(&entry[1..]).into_owned(),
            event: Vec::new(),
        }
    }

    /// Decides about all rows that are complete.
    pub(crate) fn take(&mut self, rows: &mut Rows<'_>, outcome: &mut Outcome) {
        while self.take_one(rows, outcome) {}
    }

    /// Decides about the next row; false if none is complete.
    pub(crate) fn take_one(&mut self, rows: &mut Rows<'_>, outcome: &mut Outcome) -> bool {
        let Some(row) = rows.next() else { return false };
        self.row(&row, outcome);
        true
    }

    fn row(&mut self, row: &Row<'_>, outcome: &mut Outcome) {
        self.event.truncate(0);
        let normalised = self.normaliser.normalise(row, UNSTAMPED, &mut self.event, &mut outcome.tally);
        if let Err(refusal) = normalised {
            return outcome.reject(refusal.reason, refusal.detail);
        }
        let time = self.time(row).unwrap_or(NO_TIME);
        outcome.timeless += u64::from(time == NO_TIME);
        outcome.times.push(time);
        outcome.sizes.raw += self.event.len() as u64;
        match self.selector.select(&self.event) {
            Decision::Nothing => {}
            Decision::Output(severe) => self.severe(&severe, time, outcome),
            Decision::Reject { reason, detail } => outcome.reject(reason, detail),
        }
    }

    fn severe(&self, severe: &Severe, time: i64, outcome: &mut Outcome) {
        let projection = &severe.projection;
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
            hash: u128::from_be_bytes(Md5::digest(&severe.key).into()),
            severity: severe.partition,
            // A record is at most a mebibyte, and the time of receipt is within its first columns.
            bytes: u32::try_from(projection.len()).unwrap_or(u32::MAX),
            stamp: u16::try_from(stamp).unwrap_or_default(),
        };
        let begin = outcome.projections.len();
        outcome.projections.extend_from_slice(projection);
        if time != NO_TIME {
            event.receive(time, &mut outcome.projections[begin..]);
        }
        outcome.severe.push(event);
    }

    /// The time of a row, in microseconds since 1970.
    fn time(&self, row: &Row<'_>) -> Option<i64> {
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

impl SevereEvent {
    /// Sets its time, and writes it into its bytes as the time of receipt.
    pub(crate) fn receive(&mut self, time: i64, bytes: &mut [u8]) {
        self.time = time;
        let at = usize::from(self.stamp);
        let stamp = stamp(DateTime::from_timestamp_micros(time).unwrap_or_default());
        // The position is 0 if the data set does not pass the time of receipt on.
        if let (1.., Some(place)) = (at, bytes.get_mut(at..at + UNSTAMPED.len()))
            && stamp.len() == place.len()
        {
            place.copy_from_slice(stamp.as_bytes());
        }
    }
}

/// Gives each row without a time the time of the row before it, also across pieces. Rows before the first time get that
/// first time, so that their pieces wait for it.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// The time of the last row, once one is known.
    last: Option<i64>,
    waiting: Vec<Outcome>,
}

impl Times {
    /// Adds the next piece, and returns the pieces whose times are known now.
    pub(crate) fn add(&mut self, outcome: Outcome) -> Vec<Outcome> {
        let first = self.last.or_else(|| outcome.times.iter().copied().find(|time| *time != NO_TIME));
        self.waiting.push(outcome);
        let Some(mut last) = first else { return Vec::new() };
        for outcome in &mut self.waiting {
            last = outcome.fill_times(last);
        }
        self.last = Some(last);
        mem::take(&mut self.waiting)
    }

    pub(crate) fn waiting_rows(&self) -> usize {
        self.waiting.iter().map(|outcome| outcome.times.len()).sum()
    }

    /// The pieces that still wait, because no row of any piece has a time.
    pub(crate) fn rest(self) -> Vec<Outcome> {
        self.waiting
    }
}

impl Outcome {
    pub(crate) fn reject(&mut self, reason: &'static str, detail: String) {
        self.rejected.entry(reason).or_insert(Rejected { rows: 0, first: detail }).rows += 1;
    }

    /// Gives each row without a time the time of the row before it. Takes the time of the last row before the piece,
    /// and returns that of the piece's last row.
    pub(crate) fn fill_times(&mut self, last: i64) -> i64 {
        if self.timeless > 0 {
            let mut known = last;
            for time in &mut self.times {
                known = if *time == NO_TIME { known } else { *time };
                *time = known;
            }
            let mut begin = 0;
            for event in &mut self.severe {
                let end = begin + event.bytes as usize;
                if event.time == NO_TIME {
                    event.receive(self.times[event.row as usize], &mut self.projections[begin..end]);
                }
                begin = end;
            }
        }
        self.times.last().copied().unwrap_or(last)
    }
}
