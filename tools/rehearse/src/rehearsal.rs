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
    decider::Thresholds,
    difference::{Comparison, Difference},
    error::Error,
    order::{Collector, InOrder, Timed},
    outcome::{PieceOutcome, RejectedRows, Sizes},
    pieces::Pieces,
    settings::{Configured, Reading, RehearsalRequest, Settings},
    tables::{Calendar, Rate},
    thresholds::{self, AtThreshold},
    times::{NO_TIME, Times},
};

/// Severe events of a block.
const BLOCK: usize = 2_000;
/// Blocks that can wait to be counted as metrics does.
const WAITING: usize = 4;
/// Microseconds of a second.
const SECOND: i64 = 1_000_000;
/// Rows at the beginning that may have no time. They are held in memory until there is one.
const TIMELESS_ROWS: usize = 1_000_000;

#[derive(Debug, Serialize)]
pub(crate) struct RowCounts {
    /// Events on stream 1.
    accepted: u64,
    rejected: u64,
    /// Rejected rows by reason, with what is wrong with the first.
    rejects: Vec<(&'static str, u64, String)>,
    /// Rows with cells that could not be read.
    unreadable_rows: u64,
    /// What could not be read.
    report: ReadingReport,
    /// The column with the time of an event.
    time: String,
    /// Accepted rows without a time that can be read.
    timeless: u64,
    /// Rows that are older than a row before them by more than transform's watermark.
    late: u64,
    rate: Rate,
    /// Severe events of the setting that has the most.
    severe: u64,
    /// Files without rows, each with the reason.
    empty: Vec<String>,
    /// How many bytes are written for them.
    sizes: Sizes,
}

/// The tables of one setting.
#[derive(Debug, Serialize)]
pub(crate) struct OfSetting {
    name: String,
    severe: Counts,
    alerts: Alerts,
}

#[derive(Debug, Serialize)]
pub(crate) struct Rehearsal {
    rows: RowCounts,
    settings: Vec<OfSetting>,
    /// The first setting with other thresholds.
    thresholds: Vec<AtThreshold>,
    difference: Option<Difference>,
}

/// Rehearses the request, and shows the progress on standard error.
pub(crate) fn rehearse(dataset: &Dataset, request: &RehearsalRequest) -> Result<Rehearsal, Error> {
    let reading = Reading::new(dataset, request)?;
    let settings: Vec<_> = request.settings.iter().map(Settings::configured).collect::<Result<_, _>>()?;
    let ([first] | [first, _]) = settings.as_slice() else {
        return Err(Error::Request(format!("there are {} settings; expected one or two", settings.len())));
    };
    let thresholds = if request.every_threshold { thresholds::all(dataset) } else { Vec::new() };
    let written = settings.iter().map(|each| each.transform.severity_above).fold(i64::MAX, i64::min);
    let above = Thresholds {
        simulated_above: thresholds.iter().copied().fold(written, i64::min),
        written_above: written,
    };
    let mut read = Read {
        column: dataset.columns[reading.time].name.clone(),
        watermark: i64::from(first.transform.watermark_seconds) * SECOND,
        ..Read::default()
    };
    for path in &request.files {
        let (mut input, progress) = Input::open(path, reading.format, true)?;
        read.file(&Pieces::new(reading, above), &mut input, &progress)?;
        progress.finish();
    }
    let progress = Progress::of_rows(read.severe.len());
    let (rows, events) = read.finish(dataset)?;
    let simulations = Simulations::new(dataset, &settings, &thresholds);
    let (counts, simulated) = decide(dataset, &settings, simulations, events, &progress)?;
    progress.finish();
    let Simulated { of_settings, thresholds, difference } = simulated;
    let tables = of_settings.into_iter().zip(counts).zip(&request.settings);
    let tables = tables.map(|((alerts, severe), setting)| {
        let name = setting.name.clone();
        OfSetting { name, severe, alerts }
    });
    Ok(Rehearsal { rows, settings: tables.collect(), thresholds, difference })
}

/// What has been read of the files.
#[derive(Default)]
struct Read {
    /// The column with the time.
    column: String,
    /// How much older than the latest row before it a row may be without being late, in microseconds.
    watermark: i64,
    accepted: u64,
    timeless: u64,
    late: u64,
    rejects: BTreeMap<&'static str, RejectedRows>,
    tally: Tally,
    sizes: Sizes,
    calendar: Calendar,
    severe: Collector,
    /// The latest time so far.
    latest: Option<i64>,
    times: Times,
    empty: Vec<String>,
}

impl Read {
    fn file(&mut self, pieces: &Pieces<'_>, input: &mut Input, progress: &Progress) -> Result<(), Error> {
        let name = input.name.clone();
        let (no_rows, _) = pieces.read(input, |outcome| {
            let added = self.add(outcome);
            progress.say(|| format!("{} rows accepted, {} severe", self.accepted, self.severe.len()));
            added
        })?;
        self.empty.extend(no_rows.map(|why| format!("{name}: {why}")));
        Ok(())
    }

    fn add(&mut self, outcome: PieceOutcome) -> Result<(), Error> {
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

    fn count(&mut self, outcome: PieceOutcome) -> Result<(), Error> {
        for time in outcome.times.iter().copied().filter(|time| *time != NO_TIME) {
            self.calendar.add(time);
            self.late += u64::from(Some(time.saturating_add(self.watermark)) < self.latest);
            self.latest = self.latest.max(Some(time));
        }
        self.accepted += outcome.times.len() as u64;
        self.timeless += outcome.timeless;
        self.tally.add(&outcome.tally);
        self.sizes += outcome.sizes;
        self.severe.add(&outcome)?;
        for (reason, RejectedRows { rows, first }) in outcome.rejected {
            self.rejects.entry(reason).or_insert(RejectedRows { rows: 0, first }).rows += rows;
        }
        Ok(())
    }

    fn finish(mut self, dataset: &Dataset) -> Result<(RowCounts, InOrder), Error> {
        for outcome in mem::take(&mut self.times).into_waiting() {
            self.count(outcome)?;
        }
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
        let rows = RowCounts {
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

/// What is alerted by each setting and with each threshold, and what differs.
struct Simulated {
    of_settings: Vec<Alerts>,
    thresholds: Vec<AtThreshold>,
    difference: Option<Difference>,
}

/// The simulations of the settings and of the thresholds.
struct Simulations<'d> {
    dataset: &'d Dataset,
    settings: Vec<Simulation<'d>>,
    /// The first setting with other thresholds.
    swept: Vec<Simulation<'d>>,
    /// No setting and no threshold alerts events up to this severity.
    quiet: i64,
    comparison: Option<Comparison<'d>>,
}

impl<'d> Simulations<'d> {
    /// One or two settings, and the first of them with these thresholds.
    fn new(dataset: &'d Dataset, settings: &[Configured<'_>], thresholds: &[i64]) -> Self {
        let is_compared = settings.len() == 2;
        let alerted = |setting: &Configured<'_>| setting.thresholds().alerted();
        let first = &settings[0];
        let others = thresholds.iter().copied().filter(|above| *above != alerted(first));
        let lowered =
            |above| Simulation::new(dataset, first, thresholds::lowered(first.thresholds(), above), false);
        let unchanged = |setting| Simulation::new(dataset, setting, setting.thresholds(), is_compared);
        let quiet = settings.iter().map(alerted).chain(thresholds.iter().copied()).min();
        Self {
            dataset,
            settings: settings.iter().map(unchanged).collect(),
            swept: others.map(lowered).collect(),
            quiet: quiet.unwrap_or_default(),
            comparison: is_compared.then(|| Comparison::new(dataset)),
        }
    }

    /// Receives events; `first` is the number of the first of them.
    fn receive(&mut self, first: u64, block: &[Timed]) -> Result<(), Error> {
        for (number, event) in (first..).zip(block) {
            let (least, greatest) = self.dataset.severity_range();
            let is_quiet = (least..=greatest.min(self.quiet)).contains(&event.severity);
            let incident = if is_quiet { None } else { incident(self.dataset, event) };
            let severity = match &incident {
                Some(incident) => Some(incident.key.severity),
                None => is_quiet.then_some(event.severity),
            };
            for simulation in self.settings.iter_mut().chain(&mut self.swept) {
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
        for simulation in &mut self.swept {
            while simulation.continue_to_end()? {}
        }
        for place in 0..self.settings.len() {
            while self.settings[place].continue_to_end()? {
                self.compare();
            }
        }
        let of_settings: Vec<_> = self.settings.into_iter().map(Simulation::finish).collect();
        let swept: Vec<_> = self.swept.into_iter().map(Simulation::finish).collect();
        let tried = of_settings.iter().take(1).chain(&swept);
        let mut thresholds: Vec<_> = tried.map(|alerts| AtThreshold::new(self.dataset, alerts)).collect();
        thresholds.sort_by_key(|each| each.above);
        let difference = self.comparison.map(Comparison::finish);
        Ok(Simulated { of_settings, thresholds, difference })
    }
}

/// Counts and alerts the events, each in a thread of its own.
fn decide(
    dataset: &Dataset,
    settings: &[Configured<'_>],
    mut simulations: Simulations<'_>,
    mut events: InOrder,
    progress: &Progress,
) -> Result<(Vec<Counts>, Simulated), Error> {
    let (to_counters, blocks) = mpsc::sync_channel::<Arc<Vec<Timed>>>(WAITING);
    thread::scope(|scope| {
        let counting = scope.spawn(move || {
            let mut counters: Vec<_> = settings.iter().map(|each| Counter::new(dataset, each)).collect();
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
