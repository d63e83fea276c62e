//! Puts the severe events in the order of their times, whatever the order of the files, in bounded memory.
//!
//! Events are collected up to a bound, sorted and written to a temporary file. The sorted files are merged when they are
//! read. Events of the same time keep the order of the files.

use std::{
    env,
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    process,
};

use crate::{error::Error, outcome::PieceOutcome, severe_event::SevereEvent};

/// Bytes of events that are held in memory.
const HELD_BYTES: usize = 48 * 1024 * 1024;
/// Sorted files that are merged at once. If there are more, they are merged into one first.
const FILES: usize = 64;
/// Bytes that are read ahead of each file.
const READ_AHEAD: usize = 64 * 1024;

/// A severe event, as the settings are simulated with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timed {
    /// Its time, in microseconds since 1970.
    pub(crate) time: i64,
    /// The hash of its partition key.
    pub(crate) hash_key: u128,
    /// Its severity, if that is in the data set's range; else a number outside the range.
    pub(crate) severity: i64,
    /// The event as it is on stream 2.
    pub(crate) data: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Collector {
    held_bytes: usize,
    files: usize,
    held: Held,
    sorted: Vec<File>,
    events: u64,
}

/// Events in memory.
#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Each event, after the position at which its bytes begin.
    events: Vec<(usize, SevereEvent)>,
}

impl Default for Collector {
    fn default() -> Self {
        Self::new(HELD_BYTES, FILES)
    }
}

impl Collector {
    fn new(held_bytes: usize, files: usize) -> Self {
        Self { held_bytes, files, held: Held::default(), sorted: Vec::new(), events: 0 }
    }

    pub(crate) fn len(&self) -> u64 {
        self.events
    }

    pub(crate) fn add(&mut self, outcome: &PieceOutcome) -> Result<(), Error> {
        if self.held.bytes.len() + outcome.projections.len() > self.held_bytes && !self.held.events.is_empty()
        {
            self.spill().map_err(temporary)?;
        }
        let mut begin = self.held.bytes.len();
        self.held.bytes.extend_from_slice(&outcome.projections);
        for event in &outcome.severe {
            self.held.events.push((begin, *event));
            begin += event.bytes as usize;
        }
        self.events += outcome.severe.len() as u64;
        Ok(())
    }

    /// Writes the events in memory to a file of their own.
    fn spill(&mut self) -> io::Result<()> {
        if self.sorted.len() >= self.files {
            let all = std::mem::take(&mut self.sorted);
            let mut merged = Merge::new(all, Held::default())?;
            let mut writer = BufWriter::new(temporary_file()?);
            while let Some(event) = merged.next()? {
                write(&mut writer, &event)?;
            }
            self.sorted.push(writer.into_inner().map_err(io::IntoInnerError::into_error)?);
        }
        self.held.sort();
        let mut writer = BufWriter::new(temporary_file()?);
        for event in &self.held.events {
            write(&mut writer, &self.held.timed(*event))?;
        }
        self.sorted.push(writer.into_inner().map_err(io::IntoInnerError::into_error)?);
        self.held.bytes.clear();
        self.held.events.clear();
        Ok(())
    }

    /// Ends the collection, and returns the events in order.
    pub(crate) fn finish(mut self) -> Result<InOrder, Error> {
        self.held.sort();
        Ok(InOrder(Merge::new(self.sorted, self.held).map_err(temporary)?))
    }
}

impl Held {
    /// Sorts by time; events of the same time keep their order.
    fn sort(&mut self) {
        self.events.sort_by_key(|(_, event)| event.time);
    }

    fn timed(&self, (begin, event): (usize, SevereEvent)) -> Timed {
        let SevereEvent { time, hash_key, severity, bytes, .. } = event;
        let data = self.bytes[begin..begin + bytes as usize].to_vec();
        Timed { time, hash_key, severity, data }
    }
}

/// Severe events in the order of their times.
#[derive(Debug)]
pub(crate) struct InOrder(Merge);

impl InOrder {
    pub(crate) fn next(&mut self) -> Result<Option<Timed>, Error> {
        self.0.next().map_err(temporary)
    }
}

/// Merges the sorted files with the sorted events in memory, which were read after those of all files.
#[derive(Debug)]
struct Merge {
    files: Vec<(BufReader<File>, Option<Timed>)>,
    held: Held,
    next_held: usize,
}

impl Merge {
    fn new(files: Vec<File>, held: Held) -> io::Result<Self> {
        let open = |mut file: File| {
            file.seek(SeekFrom::Start(0))?;
            let mut reader = BufReader::with_capacity(READ_AHEAD, file);
            let first = read(&mut reader)?;
            Ok((reader, first))
        };
        Ok(Self { files: files.into_iter().map(open).collect::<io::Result<_>>()?, held, next_held: 0 })
    }

    fn next(&mut self) -> io::Result<Option<Timed>> {
        let heads = self.files.iter().enumerate();
        let heads = heads.filter_map(|(place, (_, head))| Some((head.as_ref()?.time, place)));
        let held = self.held.events.get(self.next_held).copied();
        match (heads.min(), held) {
            // Of events at the same time, those in the files were read first.
            (Some((time, place)), held) if held.is_none_or(|(_, held)| time <= held.time) => {
                let (reader, head) = &mut self.files[place];
                let next = read(reader)?;
                Ok(std::mem::replace(head, next))
            }
            (_, Some(event)) => {
                self.next_held += 1;
                Ok(Some(self.held.timed(event)))
            }
            (_, None) => Ok(None),
        }
    }
}

/// A file that exists as long as this process has it open.
pub(crate) fn temporary_file() -> io::Result<File> {
    let folder = env::temp_dir();
    for attempt in 0.. {
        let path = folder.join(format!("rehearse-{}-{attempt}", process::id()));
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no name is free"))
}

pub(crate) fn temporary(source: io::Error) -> Error {
    Error::Temporary { folder: env::temp_dir().display().to_string(), source }
}

/// Writes an event, which [`read`] reads.
pub(crate) fn write(out: &mut impl Write, event: &Timed) -> io::Result<()> {
    let Timed { time, hash_key, severity, data } = event;
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.write_all(&time.to_le_bytes())?;
    out.write_all(&hash_key.to_le_bytes())?;
    out.write_all(&severity.to_le_bytes())?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(data)
}

/// The next event of a file; `None` at its end.
pub(crate) fn read(file: &mut impl Read) -> io::Result<Option<Timed>> {
    let mut time = [0; 8];
    match file.read_exact(&mut time) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let (mut hash_key, mut severity, mut length) = ([0; 16], [0; 8], [0; 4]);
    file.read_exact(&mut hash_key)?;
    file.read_exact(&mut severity)?;
    file.read_exact(&mut length)?;
    let mut data = vec![0; u32::from_le_bytes(length) as usize];
    file.read_exact(&mut data)?;
    let [time, severity] = [time, severity].map(i64::from_le_bytes);
    Ok(Some(Timed { time, hash_key: u128::from_le_bytes(hash_key), severity, data }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A piece of events with these times; the data of each says its time and its place in the text.
    fn piece(first: usize, times: &[i64]) -> PieceOutcome {
        let mut outcome = PieceOutcome::default();
        for (place, time) in (first..).zip(times) {
            let data = format!("{time} {place}");
            outcome.severe.push(SevereEvent {
                time: *time,
                row: 0,
                hash_key: place as u128,
                severity: 3,
                bytes: u32::try_from(data.len()).unwrap(),
                stamp: 0,
            });
            outcome.projections.extend(data.bytes());
        }
        outcome
    }

    proptest! {
        #[test]
        fn events_come_in_the_order_of_their_times_and_then_of_the_text(
            pieces in proptest::collection::vec(proptest::collection::vec(-3_i64..4, 0..20), 0..30),
            held_bytes in 1_usize..200,
            files in 1_usize..5,
        ) {
            let mut collector = Collector::new(held_bytes, files);
            let mut expected = Vec::new();
            for times in &pieces {
                collector.add(&piece(expected.len(), times)).unwrap();
                let begin = expected.len();
                expected.extend((begin..).zip(times).map(|(place, time)| (*time, place)));
                prop_assert!(collector.sorted.len() <= files.max(2));
            }
            prop_assert_eq!(collector.len(), expected.len() as u64);
            expected.sort_unstable();
            let mut events = collector.finish().unwrap();
            for (time, place) in expected {
                let event = events.next().unwrap().unwrap();
                prop_assert_eq!(String::from_utf8(event.data).unwrap(), format!("{time} {place}"));
                prop_assert_eq!((event.time, event.hash_key), (time, place as u128));
            }
            prop_assert_eq!(events.next().unwrap(), None);
        }
    }
}
