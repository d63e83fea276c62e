//! What becomes of the rows of a piece of text: ingest's events, and transform's severe events among them.

use std::{borrow::Cow, collections::BTreeMap, mem};

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
        cell,
        decision::Decision,
        event::{Cell, Event, unmarked},
        time::{Timestamp, stamp},
    },
    json::{self, Writer},
};
use transform::select::{Selector, Severe};

use crate::settings::Reading;

/// The time of receipt until an event has its own time, as ingest stamps it.
const UNSTAMPED: &str = "0001-01-01T00:00:00.000000Z";
/// The time of a row without one, in microseconds since 1970.
pub const NO_TIME: i64 = i64::MIN;

/// A severe event, as transform writes it to stream 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SevereEvent {
    /// Its time, in microseconds since 1970.
    pub time: i64,
    /// Its position among the accepted rows of the piece.
    pub row: u32,
    /// The hash of its partition key.
    pub hash: u128,
    /// Its severity, if that is in the data set's range; else a number outside the range.
    pub severity: i64,
    /// Its bytes.
    pub bytes: u32,
    /// Where its time of receipt is in these bytes.
    pub stamp: u16,
}

/// Rejected rows of one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// How many there are.
    pub rows: u64,
    /// What is wrong with the first.
    pub first: String,
}

/// What became of rows.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The time of each accepted row, in the order of the text.
    pub times: Vec<i64>,
    /// Rejected rows by reason.
    pub rejected: BTreeMap<&'static str, Rejected>,
    /// What could not be read of the accepted rows.
    pub tally: Tally,
    /// The severe events in the order of the text.
    pub severe: Vec<SevereEvent>,
    /// The bytes of the severe events.
    pub projections: Vec<u8>,
    /// What is written for the events.
    pub sizes: Sizes,
    /// Accepted rows without a time that can be read.
    pub timeless: u64,
}

/// Which severe events are taken.
#[derive(Debug, Clone, Copy)]
pub struct Above {
    /// Events of a severity above it are passed on.
    pub passed: i64,
    /// Those above it are counted as what is written.
    pub written: i64,
}

impl From<i64> for Above {
    fn from(above: i64) -> Self {
        Self { passed: above, written: above }
    }
}

/// Bytes of the outputs, and how many severe events they have.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sizes {
    /// On stream 1.
    pub raw: u64,
    /// On stream 2.
    pub severe: u64,
    /// Of the analytical records.
    pub analytical: u64,
    /// Severe events.
    pub severe_events: u64,
}

/// Decides about rows as ingest and transform do.
pub struct Decider<'d> {
    reading: Reading<'d>,
    normaliser: Normaliser<'d>,
    selector: Selector<'d>,
    written_above: i64,
    /// Finds the time of receipt in an event.
    received: Finder<'static>,
    event: Writer,
    outputs: Writer,
}

impl<'d> Decider<'d> {
    /// Decides about rows that are read so; events of a severity above `above` are severe.
    #[must_use]
    pub fn new(reading: Reading<'d>, above: impl Into<Above>) -> Self {
        let (dataset, above) = (reading.dataset, above.into());
        let mut entry = json::entry(&dataset.columns[dataset.received_at].name);
        entry.extend_from_slice(format!("\"{UNSTAMPED}\"").as_bytes());
        Self {
            reading,
            normaliser: Normaliser::new(dataset, reading.date_order),
            // Late is what transform sees late, which has no meaning while the time of an event is the clock.
            selector: Selector::new(dataset, above.passed, DateTime::UNIX_EPOCH),
            written_above: above.written,
            // The first entry of an object has no comma.
            received: Finder::new(&entry[1..]).into_owned(),
            event: Writer::default(),
            outputs: Writer::default(),
        }
    }

    /// Decides about all rows that are complete.
    pub fn take(&mut self, rows: &mut Rows<'_>, outcome: &mut Outcome) {
        while self.take_one(rows, outcome) {}
    }

    /// Decides about the next row; false if none is complete.
    pub fn take_one(&mut self, rows: &mut Rows<'_>, outcome: &mut Outcome) -> bool {
        let Some(row) = rows.next() else { return false };
        self.row(&row, outcome);
        true
    }

    fn row(&mut self, row: &Row<'_>, outcome: &mut Outcome) {
        self.event.truncate(0);
        let normalised = self.normaliser.normalise(row, UNSTAMPED, &mut self.event, &mut outcome.tally);
        if let Err(refusal) = normalised {
            let known = outcome.rejected.entry(refusal.reason);
            known.or_insert(Rejected { rows: 0, first: refusal.detail }).rows += 1;
            return;
        }
        let time = self.time(row).unwrap_or(NO_TIME);
        outcome.timeless += u64::from(time == NO_TIME);
        outcome.times.push(time);
        outcome.sizes.raw += self.event.len() as u64;
        self.outputs.truncate(0);
        match self.selector.select(self.event.written(), &mut self.outputs).0 {
            Decision::Nothing => {}
            Decision::Output(severe) => self.severe(&severe, time, outcome),
            Decision::Reject { reason, detail } => {
                outcome.rejected.entry(reason).or_insert(Rejected { rows: 0, first: detail }).rows += 1;
            }
        }
    }

    fn severe(&self, severe: &Severe, time: i64, outcome: &mut Outcome) {
        let projection = &self.outputs.written()[severe.projection.clone()];
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
        let time = Timestamp::parse(cell::trim(&text), self.normaliser.date_order())?;
        Some(time.instant().timestamp_micros())
    }
}

impl SevereEvent {
    /// Sets its time, and writes it into its bytes as the time of receipt.
    pub fn receive(&mut self, time: i64, bytes: &mut [u8]) {
        self.time = time;
        let at = usize::from(self.stamp);
        let stamp = stamp(DateTime::from_timestamp_micros(time).unwrap_or_default());
        // The place is 0 if the data set does not pass the time of receipt on.
        if let (1.., Some(place)) = (at, bytes.get_mut(at..at + UNSTAMPED.len()))
            && stamp.len() == place.len()
        {
            place.copy_from_slice(stamp.as_bytes());
        }
    }
}

/// Gives each row without a time that of the row before, also across pieces. The rows before the first time have that
/// one, so their pieces wait for it.
#[derive(Debug)]
pub struct Times {
    /// The time of the last row.
    last: i64,
    waiting: Vec<Outcome>,
}

impl Default for Times {
    fn default() -> Self {
        Self { last: NO_TIME, waiting: Vec::new() }
    }
}

impl Times {
    /// Adds the next piece, and returns the pieces whose times are known by it.
    pub fn add(&mut self, outcome: Outcome) -> Vec<Outcome> {
        if self.last == NO_TIME {
            self.last = outcome.times.iter().copied().find(|time| *time != NO_TIME).unwrap_or(NO_TIME);
        }
        self.waiting.push(outcome);
        if self.last == NO_TIME {
            return Vec::new();
        }
        for outcome in &mut self.waiting {
            self.last = outcome.fill_times(self.last);
        }
        mem::take(&mut self.waiting)
    }

    /// Rows that wait for the first time.
    #[must_use]
    pub fn waiting_rows(&self) -> usize {
        self.waiting.iter().map(|outcome| outcome.times.len()).sum()
    }

    /// The pieces that wait still, since no row of any piece has a time.
    #[must_use]
    pub fn rest(self) -> Vec<Outcome> {
        self.waiting
    }
}

impl Outcome {
    /// Gives the rows without a time that of the row before; `last` is the time of the last row before the piece. Returns
    /// the time of the last row.
    pub fn fill_times(&mut self, last: i64) -> i64 {
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
