//! A rehearsal from the files to its tables.

use std::{
    collections::BTreeMap,
    sync::{Arc, mpsc},
    thread,
};

use ingest::{report::ReadingReport, unreadable::Tally};
use replay::{input::Input, progress::Progress};
use serde::Serialize;
use shared::data::dataset::Dataset;

use crate::{
    alerts::{Alerts, Simulation},
    counts::{Counter, Counts},
    difference::Difference,
    error::Error,
    order::{Collector, InOrder, Timed},
    piece::{NO_TIME, Outcome, Rejected, Sizes},
    pieces::Pieces,
    settings::{Configured, Reading, Request, Settings},
    tables::{Calendar, Rate},
};

/// Severe events that are handed on at once.
const BLOCK: usize = 2_000;
/// Blocks that wait for the counts of metrics.
const WAITING: usize = 4;
/// Microseconds of a second.
const SECOND: i64 = 1_000_000;

/// What became of the rows.
#[derive(Debug, Serialize)]
pub struct Rows {
    /// Events on stream 1.
    pub accepted: u64,
    /// Rejected rows.
    pub rejected: u64,
    /// The same by reason, with what is wrong with the first.
    pub rejects: Vec<(&'static str, u64, String)>,
    /// Rows with cells that could not be read.
    pub unreadable_rows: u64,
    /// What could not be read.
    pub report: ReadingReport,
    /// The column with the time of an event.
    pub time: String,
    /// Accepted rows without a time that can be read.
    pub timeless: u64,
    /// Rows that are older than a row before them by more than transform's watermark.
    pub late: u64,
    /// Their rate over time.
    pub rate: Rate,
    /// Severe events of the setting that has the most.
    pub severe: u64,
    /// Bytes of what is written for them.
    pub sizes: Sizes,
}

/// The tables of one setting.
#[derive(Debug, Serialize)]
pub struct OfSetting {
    /// Its name.
    pub name: String,
    /// What metrics counts.
    pub severe: Counts,
    /// What notify alerts.
    pub alerts: Alerts,
}

/// A rehearsal.
#[derive(Debug, Serialize)]
pub struct Rehearsal {
    /// What became of the rows.
    pub rows: Rows,
    /// The tables of each setting.
    pub settings: Vec<OfSetting>,
    /// What differs between two settings.
    pub difference: Option<Difference>,
}

/// Rehearses the request, and shows the progress on standard error if `show` says so.
///
/// # Errors
///
/// When a file or a setting cannot be used.
pub fn rehearse(dataset: &Dataset, request: &Request, show: bool) -> Result<Rehearsal, Error> {
    let reading = Reading::new(dataset, request)?;
    let configured: Vec<Configured> =
        request.settings.iter().map(Settings::configured).collect::<Result<_, _>>()?;
    let above = configured.iter().map(|each| each.transform.severity_above).min();
    let watermark = configured.first().map_or(0, |each| each.transform.watermark_seconds);
    let Some(above) = above.filter(|_| configured.len() <= 2) else {
        return Err(Error::Request(format!("there are {} settings; expected one or two", configured.len())));
    };
    let mut read = Read::new(i64::from(watermark) * SECOND);
    for path in &request.files {
        let (mut input, progress) = Input::open(path, reading.format, show)?;
        read.file(&Pieces::new(reading, above), &mut input, &progress)?;
        progress.finish();
    }
    let Read { severe, .. } = &read;
    let progress = if show { Progress::of_rows(severe.len()) } else { Progress::hidden() };
    let (rows, events) = read.finish(&reading)?;
    let (settings, difference) = decide(dataset, &configured, &request.settings, events, &progress)?;
    progress.finish();
    Ok(Rehearsal { rows, settings, difference })
}

/// What the files hold.
struct Read {
    /// How much older than the latest row before it a row may be without being late, in microseconds.
    watermark: i64,
    accepted: u64,
    timeless: u64,
    late: u64,
    rejects: BTreeMap<&'static str, Rejected>,
    tally: Tally,
    sizes: Sizes,
    calendar: Calendar,
    severe: Collector,
    /// The latest time so far, and the time of the last row.
    latest: i64,
    last: i64,
    why_nothing: Option<String>,
}

impl Read {
    fn new(watermark: i64) -> Self {
        Self {
            watermark,
            accepted: 0,
            timeless: 0,
            late: 0,
            rejects: BTreeMap::new(),
            tally: Tally::default(),
            sizes: Sizes::default(),
            calendar: Calendar::default(),
            severe: Collector::default(),
            latest: NO_TIME,
            last: NO_TIME,
            why_nothing: None,
        }
    }

    fn file(&mut self, pieces: &Pieces<'_>, input: &mut Input, progress: &Progress) -> Result<(), Error> {
        let name = input.name.clone();
        let end = pieces.read(input, |outcome| {
            let added = self.add(outcome);
            progress.say(|| format!("{} rows accepted, {} severe", self.accepted, self.severe.len()));
            added
        })?;
        self.why_nothing = end.no_rows.map(|why| format!("{name}: {why}")).or(self.why_nothing.take());
        Ok(())
    }

    fn add(&mut self, mut outcome: Outcome) -> Result<(), Error> {
        self.last = outcome.fill_times(self.last);
        for time in outcome.times.iter().copied().filter(|time| *time != NO_TIME) {
            self.calendar.add(time);
            self.late += u64::from(time.saturating_add(self.watermark) < self.latest);
            self.latest = self.latest.max(time);
        }
        self.accepted += outcome.times.len() as u64;
        self.timeless += outcome.timeless;
        self.tally.add(&outcome.tally);
        self.sizes.add(outcome.sizes);
        self.severe.add(&outcome)?;
        for (reason, Rejected { rows, first }) in outcome.rejected {
            self.rejects.entry(reason).or_insert(Rejected { rows: 0, first }).rows += rows;
        }
        Ok(())
    }

    fn finish(self, reading: &Reading<'_>) -> Result<(Rows, InOrder), Error> {
        let dataset = reading.dataset;
        let time = dataset.columns[reading.time].name.clone();
        let rejected: u64 = self.rejects.values().map(|each| each.rows).sum();
        if self.accepted == 0 {
            let first = self.rejects.values().next();
            let why = first
                .map(|first| format!("all {rejected} rows are rejected, the first because {}", first.first));
            return Err(Error::NothingUsed(
                why.or(self.why_nothing).unwrap_or_else(|| "no file is named".to_owned()),
            ));
        }
        if self.timeless == self.accepted {
            return Err(Error::NoTime { rows: self.accepted, column: time });
        }
        let rejects = self.rejects.into_iter().map(|(reason, each)| (reason, each.rows, each.first));
        let rows = Rows {
            accepted: self.accepted,
            rejected,
            rejects: rejects.collect(),
            unreadable_rows: self.tally.unreadable_rows(),
            report: ReadingReport::new(dataset, &self.tally),
            time,
            timeless: self.timeless,
            late: self.late,
            rate: self.calendar.rate(),
            severe: self.severe.len(),
            sizes: self.sizes,
        };
        Ok((rows, self.severe.finish()?))
    }
}

impl Sizes {
    fn add(&mut self, other: Self) {
        self.raw += other.raw;
        self.severe += other.severe;
        self.analytical += other.analytical;
    }
}

/// Counts and alerts, the two next to each other.
fn decide(
    dataset: &Dataset,
    configured: &[Configured],
    settings: &[Settings],
    mut events: InOrder,
    progress: &Progress,
) -> Result<(Vec<OfSetting>, Option<Difference>), Error> {
    let (to_counters, blocks) = mpsc::sync_channel::<Arc<Vec<Timed>>>(WAITING);
    thread::scope(|scope| {
        let counting = scope.spawn(move || {
            let mut counters: Vec<_> = configured.iter().map(|each| Counter::new(dataset, each)).collect();
            for block in blocks {
                for counter in &mut counters {
                    block.iter().for_each(|event| counter.add(event));
                }
            }
            counters.into_iter().map(Counter::finish).collect::<Vec<_>>()
        });
        let is_compared = settings.len() == 2;
        let new = |(configured, settings): (&Configured, &Settings)| {
            Simulation::new(dataset, configured, &settings.mapping, &settings.departments, is_compared)
        };
        let mut simulations: Vec<_> = configured.iter().zip(settings).map(new).collect();
        let (mut difference, mut number) = (Difference::default(), 0);
        loop {
            let block = Arc::new(next_block(&mut events)?);
            if block.is_empty() || to_counters.send(block.clone()).is_err() {
                break;
            }
            for (place, simulation) in simulations.iter_mut().enumerate() {
                for (number, event) in (number..).zip(block.iter()) {
                    simulation.receive(number, event);
                }
                difference.add(place, simulation.take_decisions());
            }
            number += block.len() as u64;
            progress.at(number);
        }
        drop(to_counters);
        let counts = counting.join().map_err(|_| {
            Error::Request("the counts ended early, which is a fault of this program".to_owned())
        })?;
        let of_setting =
            |(place, ((simulation, severe), settings)): (usize, ((Simulation<'_>, Counts), &Settings))| {
                let (alerts, decisions) = simulation.finish();
                difference.add(place, decisions);
                OfSetting { name: settings.name.clone(), severe, alerts }
            };
        let tables = simulations.into_iter().zip(counts).zip(settings).enumerate().map(of_setting).collect();
        Ok((tables, is_compared.then_some(difference)))
    })
}

fn next_block(events: &mut InOrder) -> Result<Vec<Timed>, Error> {
    let mut block = Vec::with_capacity(BLOCK);
    while block.len() < BLOCK {
        let Some(event) = events.next()? else { break };
        block.push(event);
    }
    Ok(block)
}
