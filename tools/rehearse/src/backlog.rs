//! The events that wait for the next batch of a lane, in bounded memory and in their order.
//!
//! notify pauses between messages, so that a lane can have any number of them, for example if all events of a file have one
//! time. The first are in memory and the last in a buffer; what is between them is in a temporary file.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    rc::Rc,
};

use notify::incident::Incident;
use shared::data::dataset::Dataset;

use crate::{
    alerts::incident,
    error::Error,
    order::{self, Timed},
};

/// Events that are in memory at each end, about as many as a batch has.
const HELD: usize = 1_000;

/// An event that waits for its batch.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// The position of its record in the lane.
    pub(crate) record: u64,
    /// The number of its event.
    pub(crate) event: u64,
    /// Its time, in microseconds since 1970.
    pub(crate) time: i64,
    /// What notify reads of it.
    pub(crate) incident: Rc<Incident>,
}

/// The events of a lane.
pub(crate) struct Backlog<'d> {
    dataset: &'d Dataset,
    held: usize,
    first: VecDeque<Pending>,
    /// The events after `first`: in the file, from `begin` to `end`.
    file: Option<File>,
    begin: u64,
    end: u64,
    /// The last events, as the bytes that the file will get, and their number.
    last: Vec<u8>,
    last_events: usize,
}

impl<'d> Backlog<'d> {
    pub(crate) fn new(dataset: &'d Dataset) -> Self {
        Self {
            dataset,
            held: HELD,
            first: VecDeque::new(),
            file: None,
            begin: 0,
            end: 0,
            last: Vec::new(),
            last_events: 0,
        }
    }

    pub(crate) fn push(&mut self, pending: Pending, event: &Timed) -> Result<(), Error> {
        if self.begin == self.end && self.last_events == 0 && self.first.len() < self.held {
            self.first.push_back(pending);
            return Ok(());
        }
        self.add(&pending, event).map_err(order::temporary)
    }

    fn add(&mut self, pending: &Pending, event: &Timed) -> io::Result<()> {
        self.last.extend_from_slice(&pending.record.to_le_bytes());
        self.last.extend_from_slice(&pending.event.to_le_bytes());
        order::write(&mut self.last, event)?;
        self.last_events += 1;
        if self.last_events < self.held {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(order::temporary_file()?),
        };
        file.seek(SeekFrom::Start(self.end))?;
        file.write_all(&self.last)?;
        self.end += self.last.len() as u64;
        self.last.clear();
        self.last_events = 0;
        Ok(())
    }

    /// Takes the next event, if its record is before `record`.
    pub(crate) fn pop_before(&mut self, record: u64) -> Result<Option<Pending>, Error> {
        if self.first.is_empty() {
            self.refill().map_err(order::temporary)?;
        }
        Ok(self.first.pop_front_if(|first| first.record < record))
    }

    fn refill(&mut self) -> io::Result<()> {
        if let Some(file) = self.file.as_mut().filter(|_| self.begin < self.end) {
            file.seek(SeekFrom::Start(self.begin))?;
            let mut reader = BufReader::new(file).take(self.end - self.begin);
            let left = reader.limit();
            for _ in 0..self.held {
                let Some(pending) = read(self.dataset, &mut reader)? else { break };
                self.first.push_back(pending);
            }
            self.begin += left - reader.limit();
            if self.begin == self.end {
                reader.into_inner().into_inner().set_len(0)?;
                (self.begin, self.end) = (0, 0);
            }
            return Ok(());
        }
        let mut last = self.last.as_slice();
        while let Some(pending) = read(self.dataset, &mut last)? {
            self.first.push_back(pending);
        }
        self.last.clear();
        self.last_events = 0;
        Ok(())
    }
}

/// The next event; `None` at the end.
fn read(dataset: &Dataset, file: &mut impl Read) -> io::Result<Option<Pending>> {
    let mut record = [0; 8];
    match file.read_exact(&mut record) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut event = [0; 8];
    file.read_exact(&mut event)?;
    let timed = order::read(file)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let incident = incident(dataset, &timed).ok_or(io::ErrorKind::InvalidData)?;
    let [record, event] = [record, event].map(u64::from_le_bytes);
    Ok(Some(Pending { record, event, time: timed.time, incident }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn events_leave_in_their_order(
            steps in proptest::collection::vec((0_u64..40, 0_u64..40), 0..40),
            held in 1_usize..10,
        ) {
            let dataset = Dataset::named("us_accidents").unwrap();
            let mut backlog = Backlog { held, ..Backlog::new(&dataset) };
            let (mut pushed, mut popped) = (0, 0);
            for (pushes, pops) in steps {
                for _ in 0..pushes {
                    let data = format!(r#"{{"ID":"A-{pushed}","Severity":4}}"#).into_bytes();
                    let event = Timed { time: -7, hash_key: 9, severity: 4, data };
                    let incident = incident(&dataset, &event).unwrap();
                    let pending = Pending { record: 2 * pushed, event: pushed, time: -7, incident };
                    backlog.push(pending, &event).unwrap();
                    pushed += 1;
                    prop_assert!(backlog.first.len() <= held && backlog.last_events < held);
                }
                let most = (popped + pops).min(pushed);
                while let Some(pending) = backlog.pop_before(2 * most).unwrap() {
                    let name = pending.incident.name();
                    prop_assert_eq!((pending.record, pending.event, pending.time), (2 * popped, popped, -7));
                    prop_assert_eq!(name, format!("A-{popped}"));
                    popped += 1;
                }
                prop_assert_eq!(popped, most);
            }
        }
    }
}
