//! A rehearsal from the files to its tables.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, mpsc},
    thread,
};

use ingest::{report::ReadingReport, unreadable::Tally};
use replay::{input::Input, progress::Progress};
use serde::Serialize;
use shared::data::dataset::Dataset;

use crate::{
    alerts::{Alerts, Simulation, incident},
    counts::{Counter, Counts},
    difference::{Comparison, Difference},
    error::Error,
    order::{Collector, InOrder, Timed},
    piece::{Above, NO_TIME, Outcome, Rejected, Sizes, Times},
    pieces::Pieces,
    settings::{Configured, Reading, Request, Settings},
    tables::{Calendar, Rate},
    thresholds::{self, AtThreshold},
};

/// Severe events that are handed on at once.
const BLOCK: usize = 2_000;
/// Blocks that wait for the counts of metrics.
const WAITING: usize = 4;
/// Microseconds of a second.
const SECOND: i64 = 1_000_000;
/// Rows at the beginning that may have no time. More of them would be held in memory for nothing.
const TIMELESS_ROWS: usize = 1_000_000;

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
    /// Files without rows, each with the reason.
    pub empty: Vec<String>,
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
    /// The first setting with other thresholds.
    pub thresholds: Vec<AtThreshold>,
    /// What differs between two settings.
    pub difference: Option<Difference>,
}

/// Rehearses the request, and shows the progress on standard error if `show` says so.
///
/// # Errors
///
/// When a file or a setting cannot be used.
pub fn rehearse<'r>(dataset: &'r Dataset, request: &'r Request, show: bool) -> Result<Rehearsal, Error> {
    let reading = Reading::new(dataset, request)?;
    let configured = |setting: &'r Settings| Ok((setting.configured()?, setting));
    let settings: Vec<_> = request.settings.iter().map(configured).collect::<Result<_, Error>>()?;
    let written = settings.iter().map(|(each, _)| each.transform.severity_above).min();
    let watermark = settings.first().map_or(0, |(each, _)| each.transform.watermark_seconds);
    let Some(written) = written.filter(|_| settings.len() <= 2) else {
        return Err(Error::Request(format!("there are {} settings; expected one or two", settings.len())));
    };
    let thresholds = thresholds::all(dataset).into_iter();
    let lowest = thresholds.clone().min().filter(|_| request.every_threshold);
    let above = Above { passed: written.min(lowest.unwrap_or(written)), written };
    let mut read = Read::new(&reading, i64::from(watermark) * SECOND);
    for path in &request.files {
        let (mut input, progress) = Input::open(path, reading.format, show)?;
        read.file(&Pieces::new(reading, above), &mut input, &progress)?;
        progress.finish();
    }
    let Read { severe, .. } = &read;
    let progress = if show { Progress::of_rows(severe.len()) } else { Progress::hidden() };
    let (rows, events) = read.finish(&reading)?;
    let thresholds = thresholds.filter(|_| request.every_threshold);
    let simulations = Simulations::new(dataset, &settings, thresholds);
    let (counts, simulated) = decide(dataset, &settings, simulations, events, &progress)?;
    progress.finish();
    let Simulated { of_settings, thresholds, difference } = simulated;
    let tables = of_settings.into_iter().zip(counts).zip(&settings);
    let tables = tables.map(|((alerts, severe), (_, setting))| {
        let name = setting.name.clone();
        OfSetting { name, severe, alerts }
    });
    Ok(Rehearsal { rows, settings: tables.collect(), thresholds, difference })
}

/// What the files hold.
struct Read {
    /// The column with the time.
    column: String,
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
    /// The latest time so far.
    latest: i64,
    times: Times,
    /// Files without rows.
    empty: Vec<String>,
}

impl Read {
    fn new(reading: &Reading<'_>, watermark: i64) -> Self {
        Self {
            column: reading.dataset.columns[reading.time].name.clone(),
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
            times: Times::default(),
            empty: Vec::new(),
        }
    }

    fn file(&mut self, pieces: &Pieces<'_>, input: &mut Input, progress: &Progress) -> Result<(), Error> {
        let name = input.name.clone();
        let end = pieces.read(input, |outcome| {
            let added = self.add(outcome);
            progress.say(|| format!("{} rows accepted, {} severe", self.accepted, self.severe.len()));
            added
        })?;
        self.empty.extend(end.no_rows.map(|why| format!("{name}: {why}")));
        Ok(())
    }

    fn add(&mut self, outcome: Outcome) -> Result<(), Error> {
        for outcome in self.times.add(outcome) {
            self.count(outcome)?;
        }
        if self.times.waiting_rows() > TIMELESS_ROWS {
            return Err(Error::NoTime {
                rows: self.times.waiting_rows() as u64,
                column: self.column.clone(),
            });
        }
        Ok(())
    }

    fn count(&mut self, outcome: Outcome) -> Result<(), Error> {
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

    fn finish(mut self, reading: &Reading<'_>) -> Result<(Rows, InOrder), Error> {
        for outcome in mem::take(&mut self.times).rest() {
            self.count(outcome)?;
        }
        let dataset = reading.dataset;
        let time = self.column;
        let rejected: u64 = self.rejects.values().map(|each| each.rows).sum();
        if self.accepted == 0 {
            let first = self.rejects.values().next();
            let why = first
                .map(|first| format!("all {rejected} rows are rejected, the first because {}", first.first));
            return Err(Error::NothingUsed(
                why.or(self.empty.into_iter().next()).unwrap_or_else(|| "no file is named".to_owned()),
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
            severe: self.sizes.severe_events,
            empty: self.empty,
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
        self.severe_events += other.severe_events;
    }
}

/// What is alerted by each setting and with each threshold, and what differs.
struct Simulated {
    of_settings: Vec<Alerts>,
    thresholds: Vec<AtThreshold>,
    difference: Option<Difference>,
}

/// What the settings and the thresholds decide about the events.
struct Simulations<'d> {
    dataset: &'d Dataset,
    settings: Vec<Simulation<'d>>,
    /// The first setting with other thresholds.
    swept: Vec<(i64, Simulation<'d>)>,
    /// The threshold of the first setting.
    current: i64,
    /// Events of a severity up to it are alerted by none.
    quiet: i64,
    comparison: Option<Comparison<'d>>,
}

impl<'d> Simulations<'d> {
    fn new(
        dataset: &'d Dataset,
        settings: &[(Configured, &Settings)],
        thresholds: impl Iterator<Item = i64>,
    ) -> Self {
        let is_compared = settings.len() == 2;
        let new = |(configured, setting): &(Configured, &Settings)| {
            Simulation::new(dataset, (configured, setting), configured.thresholds(), is_compared)
        };
        let current = settings.first().map(|(configured, _)| configured.thresholds().alerted());
        let swept = thresholds.filter(|above| Some(*above) != current).filter_map(|above| {
            let (configured, setting) = settings.first()?;
            let thresholds = thresholds::lowered(configured.thresholds(), above);
            Some((above, Simulation::new(dataset, (configured, setting), thresholds, false)))
        });
        let swept: Vec<_> = swept.collect();
        let alerted = settings.iter().map(|(configured, _)| configured.thresholds().alerted());
        Self {
            dataset,
            quiet: alerted.chain(swept.iter().map(|(above, _)| *above)).min().unwrap_or_default(),
            swept,
            settings: settings.iter().map(new).collect(),
            current: current.unwrap_or_default(),
            comparison: is_compared.then(|| Comparison::new(dataset)),
        }
    }

    /// Receives events, the first of them the `first`th.
    fn receive(&mut self, first: u64, block: &[Timed]) -> Result<(), Error> {
        for (number, event) in (first..).zip(block) {
            let (least, greatest) = self.dataset.severity_range();
            let is_quiet = (least..=greatest.min(self.quiet)).contains(&event.severity);
            let incident = if is_quiet { None } else { incident(self.dataset, event) };
            let severity = match &incident {
                Some(incident) => Some(incident.key.severity),
                None => is_quiet.then_some(event.severity),
            };
            for simulation in self.settings.iter_mut().chain(self.swept.iter_mut().map(|(_, each)| each)) {
                simulation.receive(number, event, severity, incident.as_ref())?;
            }
        }
        self.compare();
        Ok(())
    }

    fn compare(&mut self) {
        if let Some(comparison) = &mut self.comparison {
            for (place, simulation) in self.settings.iter_mut().enumerate() {
                comparison.add(place > 0, simulation.take_decisions());
            }
        }
    }

    /// What is alerted by each setting and with each threshold, and what differs.
    fn finish(mut self) -> Result<Simulated, Error> {
        for (_, simulation) in &mut self.swept {
            while simulation.continue_to_end()? {}
        }
        for place in 0..self.settings.len() {
            while self.settings[place].continue_to_end()? {
                self.compare();
            }
        }
        let dataset = self.dataset;
        let of_settings: Vec<_> = self.settings.into_iter().map(Simulation::finish).collect();
        let current = of_settings.first().map(|alerts| AtThreshold::new(dataset, self.current, alerts));
        let swept = self.swept.into_iter();
        let swept = swept.map(|(above, simulation)| AtThreshold::new(dataset, above, &simulation.finish()));
        let mut thresholds: Vec<_> = swept.chain(current).collect();
        thresholds.sort_by_key(|each| each.above);
        let difference = self.comparison.map(Comparison::finish);
        Ok(Simulated { of_settings, thresholds, difference })
    }
}

/// Counts and alerts, the two next to each other.
fn decide(
    dataset: &Dataset,
    settings: &[(Configured, &Settings)],
    mut simulations: Simulations<'_>,
    mut events: InOrder,
    progress: &Progress,
) -> Result<(Vec<Counts>, Simulated), Error> {
    let (to_counters, blocks) = mpsc::sync_channel::<Arc<Vec<Timed>>>(WAITING);
    thread::scope(|scope| {
        let counting = scope.spawn(move || {
            let mut counters: Vec<_> = settings.iter().map(|(each, _)| Counter::new(dataset, each)).collect();
            for block in blocks {
                for counter in &mut counters {
                    block.iter().for_each(|event| counter.add(event));
                }
            }
            counters.into_iter().map(Counter::finish).collect::<Vec<_>>()
        });
        let mut number = 0;
        loop {
            let block = Arc::new(next_block(&mut events)?);
            if block.is_empty() || to_counters.send(block.clone()).is_err() {
                break;
            }
            simulations.receive(number, &block)?;
            number += block.len() as u64;
            progress.at(number);
        }
        drop(to_counters);
        let counts = counting.join().map_err(|_| {
            Error::Request("the counts ended early, which is a fault of this program".to_owned())
        })?;
        Ok((counts, simulations.finish()?))
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
