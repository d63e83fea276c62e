//! The intake: rows made events and delivered, several requests in flight, in memory that does not grow.

use bytes::Bytes;
use serde::Serialize;
use shared::{
    aws::StreamRecord,
    books::{Books, Fate},
    dataset::Dataset,
    delivery::{IN_FLIGHT, Outcome, Report, Service},
    event,
    invocation::Invocation,
    pack::{self, Packing},
    reject::{self, FileContext, Reject, Written},
    time::stamp,
    trail::Trail,
    writer::Writer,
};

use crate::{
    normalise::{Normaliser, Refused},
    rows::{Row, Rows},
};

/// Events gathered before they are delivered: as many as the requests in flight hold.
const GATHERED: usize = IN_FLIGHT * 500;
/// Bytes of events and rejects gathered before they are delivered.
const GATHERED_BYTES: usize = 4 * 1024 * 1024;
/// Rejects that the answer lists.
const LISTED: usize = 20;

/// What became of the rows of a request.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Rows that stream 1 took.
    pub accepted: u64,
    /// Rows that stand in rejects.
    pub rejected: u64,
    /// Rows that were not taken and must be sent again.
    pub failed: u64,
    /// The first rejects.
    pub rejects: Vec<Listed>,
    /// Positions of the rows that must be sent again, in order.
    pub failed_indexes: Vec<u64>,
}

/// A reject, as the answer lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Position of the row in the request, from 0.
    pub index: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// A short stable code.
    pub reason: &'static str,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// Where rows come from: an object's key, a request id, a message id.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// What precedes the line in a reject's source.
    pub name: String,
    /// The position of the message among those of a batch.
    pub group: usize,
}

/// Takes rows in and delivers them.
#[derive(Debug)]
pub struct Intake<'a, S, R> {
    stream: &'a S,
    rejects: &'a R,
    packing: Packing,
    invocation: &'a Invocation,
    followed: Option<&'a Dataset>,
    received: String,
    gathered: Gathered,
    /// What became of the rows so far.
    pub summary: Summary,
    /// The books of the invocation.
    pub books: Books,
    /// Groups of rows some of which failed, in order.
    pub failed_groups: Vec<usize>,
    /// Why rows failed, if any did.
    pub failure: Option<String>,
}

/// What waits for delivery.
#[derive(Debug, Default)]
struct Gathered {
    text: Writer,
    /// Partition key and end of each event in `text`.
    events: Vec<(String, usize)>,
    event_places: Vec<Place>,
    rejects: Vec<Reject>,
    reject_places: Vec<Place>,
    reject_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    group: usize,
    index: u64,
    line: u64,
}

impl<'a, S, R> Intake<'a, S, R>
where
    S: Service<Entry = StreamRecord>,
    R: Service<Entry = Bytes>,
{
    /// An intake into `stream`, with what is refused going to `rejects`, and the log following the events of a data set.
    pub fn new(
        stream: &'a S,
        rejects: &'a R,
        packing: Packing,
        invocation: &'a Invocation,
        followed: Option<&'a Dataset>,
    ) -> Self {
        Self {
            stream,
            rejects,
            packing,
            invocation,
            followed,
            received: stamp(invocation.now),
            gathered: Gathered::default(),
            summary: Summary::default(),
            books: Books::default(),
            failed_groups: Vec::new(),
            failure: None,
        }
    }

    /// Takes every row that is whole, delivering whenever enough is gathered.
    pub async fn take_all(&mut self, rows: &mut Rows<'_>, normaliser: &Normaliser<'_>, origin: &Origin) {
        let format = rows.format();
        while let Some(row) = rows.next() {
            self.take(&row, format.name(), normaliser, origin);
            if self.is_full() {
                self.deliver().await;
            }
        }
    }

    /// Notes that an object could not be read to its end; it stands in the books as one record that failed.
    pub fn miss(&mut self, why: String) {
        self.books.received += 1;
        self.books.enter(&Fate::Failed(String::new()));
        self.failure.get_or_insert(why);
    }

    /// Takes a reject that is not of a row: a message or an object that cannot be read.
    pub fn refuse(&mut self, refused: Refused, payload: Bytes, origin: &Origin) {
        self.books.received += 1;
        let place = Place { group: origin.group, index: 0, line: 0 };
        self.keep_reject(
            place,
            Reject {
                function: "ingest",
                reason: refused.reason,
                detail: refused.detail,
                source: origin.name.clone(),
                payload,
                file: None,
            },
        );
    }

    /// Takes a row, or the reject that it becomes.
    pub(crate) fn take(
        &mut self,
        row: &Row<'_>,
        format: &'static str,
        normaliser: &Normaliser<'_>,
        origin: &Origin,
    ) {
        self.books.received += 1;
        let place = Place { group: origin.group, index: row.index, line: row.line };
        let begin = self.gathered.text.len();
        let refused = match normaliser.normalise(row, &self.received, &mut self.gathered.text) {
            Ok(key) => {
                let bytes = self.gathered.text.len() - begin;
                let limit = self.stream.limits().entry_bytes;
                if bytes + key.len() <= limit {
                    self.gathered.events.push((key, self.gathered.text.len()));
                    self.gathered.event_places.push(place);
                    return;
                }
                self.gathered.text.truncate(begin);
                Refused {
                    reason: "too_large",
                    detail: format!(
                        "the event has {bytes} bytes where stream 1 takes {limit}: shorten its texts"
                    ),
                }
            }
            Err(refused) => refused,
        };
        self.keep_reject(
            place,
            Reject {
                function: "ingest",
                reason: refused.reason,
                detail: refused.detail,
                source: format!("{}:{}", origin.name, row.line),
                payload: Bytes::copy_from_slice(row.text),
                file: Some(FileContext {
                    format,
                    header: row.header.map(|header| header.line.to_string()),
                    date_order: normaliser.date_order(),
                }),
            },
        );
    }

    fn keep_reject(&mut self, place: Place, reject: Reject) {
        self.gathered.reject_bytes += reject.payload.len();
        self.gathered.rejects.push(reject);
        self.gathered.reject_places.push(place);
    }

    /// Whether enough is gathered to be delivered.
    pub(crate) fn is_full(&self) -> bool {
        let Gathered { text, events, rejects, reject_bytes, .. } = &self.gathered;
        events.len() >= GATHERED || rejects.len() >= GATHERED || text.len() + reject_bytes >= GATHERED_BYTES
    }

    /// Delivers what is gathered and notes what became of it.
    pub async fn deliver(&mut self) {
        let mut gathered = std::mem::take(&mut self.gathered);
        let text = Bytes::from(std::mem::take(&mut gathered.text).into_bytes());
        let events = gathered.take_events(&text);
        let terms = self.invocation.terms;
        let (report, written) = tokio::join!(
            pack::deliver(self.stream, &events, self.packing, terms),
            reject::write(self.rejects, &gathered.rejects, self.invocation.now, terms),
        );
        self.follow(&report, &events);
        self.note_events(report, &gathered.event_places);
        self.note_rejects(written, &gathered);
        drop(events);
        // The next are written over these: room that is new has to be cleared first.
        if text.is_unique() {
            self.gathered.text = Writer::over(text.into());
        }
    }

    /// Logs what became of which event; rejects have their own table.
    fn follow(&self, report: &Report, events: &[StreamRecord]) {
        let Some(dataset) = self.followed else { return };
        let mut trail = Trail::default();
        for (outcome, record) in report.outcomes.iter().zip(events) {
            let delivered = matches!(outcome, Outcome::Delivered);
            let fate = if delivered { Fate::Delivered } else { Fate::Failed(String::new()) };
            if let Some(id) = event::id(dataset, &record.data) {
                trail.enter(&id, &fate);
            }
        }
        trail.close("ingest", self.invocation);
    }

    fn note_events(&mut self, report: Report, places: &[Place]) {
        self.books.retried += report.resent;
        for (outcome, place) in report.outcomes.into_iter().zip(places) {
            match outcome {
                Outcome::Delivered => {
                    self.summary.accepted += 1;
                    self.books.enter(&Fate::Delivered);
                }
                Outcome::Failed(why) | Outcome::Unacceptable(why) => self.note_failure(*place, why),
            }
        }
    }

    fn note_rejects(&mut self, written: Written, gathered: &Gathered) {
        self.books.retried += written.resent;
        for ((failure, place), reject) in
            written.failures.into_iter().zip(&gathered.reject_places).zip(&gathered.rejects)
        {
            if let Some(why) = failure {
                self.note_failure(*place, why);
                continue;
            }
            self.summary.rejected += 1;
            self.books.enter(&Fate::Rejected);
            if self.summary.rejects.len() < LISTED {
                self.summary.rejects.push(Listed {
                    index: place.index,
                    line: place.line,
                    reason: reject.reason,
                    detail: reject.detail.clone(),
                });
            }
        }
    }

    fn note_failure(&mut self, place: Place, why: String) {
        self.summary.failed += 1;
        let at = self.summary.failed_indexes.partition_point(|index| *index <= place.index);
        self.summary.failed_indexes.insert(at, place.index);
        if let Err(at) = self.failed_groups.binary_search(&place.group) {
            self.failed_groups.insert(at, place.group);
        }
        self.books.enter(&Fate::Failed(String::new()));
        self.failure.get_or_insert(why);
    }
}

impl Gathered {
    /// The events as records that share the text that was gathered.
    fn take_events(&mut self, text: &Bytes) -> Vec<StreamRecord> {
        let mut begin = 0;
        std::mem::take(&mut self.events)
            .into_iter()
            .map(|(key, end)| {
                let data = text.slice(begin..end);
                begin = end;
                StreamRecord::new(key, data)
            })
            .collect()
    }
}
