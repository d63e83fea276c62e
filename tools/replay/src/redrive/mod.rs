//! `replay redrive`: sends the content of the rejects or failures bucket again to the functions that failed.
//!
//! What a function has accepted is marked in the bucket as soon as it has responded, so that a second run sends nothing
//! twice. A run that is interrupted between a response and its mark repeats that one request, and loses nothing.

mod bucket;
mod failure;
mod marks;
pub mod reject;
mod request;
mod since;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    future::Future,
    mem,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use clap::ValueEnum;
use serde::Serialize;
use shared::delivery::{Fault, backoff};
use tokio::time::Instant;

pub(crate) use self::{bucket::Bucket, since::Since};
use self::{
    marks::SettledItems,
    reject::{ReadReject, RejectReader},
    request::{Again, Item, RedriveRequest, Shape},
};
use crate::{error::Error, interrupt::Interrupt, progress::Progress, send::InvokeFailure};

/// How often a request is sent in total before its remaining items count as failed.
const ATTEMPTS: u32 = 8;

/// What to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RedriveSource {
    /// The rows and records that the functions rejected, from the rejects bucket.
    Rejects,
    /// The batches and events that Lambda discarded, from the failures bucket.
    Failures,
}

/// An item's place: an object among those that are read, and the item's position in it, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemPlace {
    /// Position of the object.
    pub object: usize,
    /// Position of the item.
    pub item: usize,
}

/// An object of the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListedObject {
    pub(crate) key: String,
    pub(crate) written: DateTime<Utc>,
}

/// The bucket with the objects and the marks.
pub(crate) trait Store {
    /// The objects whose keys begin with `prefix`, in the order of their keys.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<ListedObject>, Error>>;
    /// An object; `None` if there is no object with that key.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Bytes>, Error>>;
    fn put(&self, key: &str, body: Vec<u8>) -> impl Future<Output = Result<(), Error>>;
}

/// The deployed functions.
pub(crate) trait Functions {
    /// Invokes a function and returns its response.
    fn invoke(&self, name: &str, event: Vec<u8>) -> impl Future<Output = Result<Vec<u8>, InvokeFailure>>;
}

/// What is to be sent again.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) from: RedriveSource,
    /// The prefix of the keys of the objects.
    pub(crate) prefix: String,
    pub(crate) since: Option<DateTime<Utc>>,
    /// Also rejects that came back from an earlier run.
    pub(crate) also_came_back: bool,
    pub(crate) dry_run: bool,
}

/// What was found, and the outcome.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct RedriveSummary {
    /// Objects that were not done yet.
    pub(crate) objects: u64,
    /// Items in them that had not been sent before: rejects, records or events.
    pub(crate) found: u64,
    /// What was found, by function and reason.
    pub(crate) reasons: BTreeMap<String, u64>,
    /// Items that their function accepted.
    pub(crate) sent: u64,
    /// Items that their function did not accept: the next run sends them again.
    pub(crate) failed: u64,
    /// Rejects that came back from an earlier run and are not sent again.
    pub(crate) came_back: u64,
    /// Rejects for an object that could not be read.
    pub(crate) unread_objects: u64,
    /// Lines and objects that are neither a reject nor an invocation record.
    pub(crate) unreadable: u64,
    /// Payloads with missing parts.
    pub(crate) incomplete: u64,
    pub(crate) requests: u64,
    /// Whether nothing was sent because of the dry-run option.
    pub(crate) dry_run: bool,
    /// How long it took.
    pub(crate) seconds: f64,
}

impl RedriveSummary {
    /// The state in a few words.
    pub(crate) fn state(&self) -> String {
        let Self { found, sent, failed, .. } = self;
        format!("{found} found, {sent} sent, {failed} failed")
    }

    /// The summary for people.
    pub(crate) fn text(&self) -> String {
        let Self { objects, found, requests, seconds, .. } = self;
        let first = if self.dry_run {
            format!(
                "{found} found in {objects} objects; nothing was sent, because of --dry-run (DRY_RUN=1 of make)"
            )
        } else {
            format!("{} in {seconds:.1} s: {objects} objects, {requests} requests", self.state())
        };
        let mut lines = vec![first];
        lines.extend(self.reasons.iter().map(|(reason, count)| format!("  {count:>7}  {reason}")));
        let notes = [
            (self.failed, "were not accepted; run it again once the functions work"),
            (
                self.came_back,
                "came back from an earlier redrive and were not sent; correct them at their source, or add --again (AGAIN=1 of make) once the functions have changed",
            ),
            (
                self.unread_objects,
                "are about a file that could not be read; put the corrected file into the inbox again",
            ),
            (self.incomplete, "miss parts that have not arrived yet; run it again later"),
            (self.unreadable, "are neither rejects nor invocation records, and were skipped"),
        ];
        lines.extend(
            notes.iter().filter(|(count, _)| *count > 0).map(|(count, note)| format!("{count} {note}")),
        );
        lines.join("\n")
    }
}

/// An object that is read: how many items it has, and which of them are settled.
struct Opened {
    key: String,
    items: usize,
    settled: SettledItems,
    /// For an item whose rows are sent separately, how many requests it still waits for.
    waiting: HashMap<usize, usize>,
}

/// The requests that are not full yet, by function and shape.
type Gathered = BTreeMap<(String, Shape), RedriveRequest>;

struct Run<'a, S, F> {
    store: &'a S,
    functions: &'a F,
    selection: &'a Selection,
    summary: &'a mut RedriveSummary,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
    opened: Vec<Opened>,
    /// Parts that were read before, each with a place of their reject.
    repeated: Vec<(ItemPlace, ItemPlace)>,
    jitter: fastrand::Rng,
}

/// Sends everything of the selection, and counts into `summary` as it goes. `name` returns the deployed name of a
/// function.
pub(crate) async fn redrive<S: Store, F: Functions>(
    store: &S,
    functions: &F,
    name: impl Fn(&str) -> String,
    selection: &Selection,
    summary: &mut RedriveSummary,
    progress: &Progress,
    interrupt: &Interrupt,
) -> Result<(), Error> {
    let begin = Instant::now();
    summary.dry_run = selection.dry_run;
    let jitter = fastrand::Rng::new();
    let mut run = Run {
        store,
        functions,
        selection,
        summary,
        progress,
        interrupt,
        opened: Vec::new(),
        repeated: Vec::new(),
        jitter,
    };
    let done = run.run(name).await;
    summary.seconds = begin.elapsed().as_secs_f64();
    done
}

impl<S: Store, F: Functions> Run<'_, S, F> {
    async fn run(&mut self, name: impl Fn(&str) -> String) -> Result<(), Error> {
        let objects = self.pending().await?;
        self.progress.expect(objects.len() as u64);
        let mut reader = RejectReader::default();
        let mut gathered = Gathered::new();
        for (key, begun) in objects {
            self.continues()?;
            let Some(body) = self.store.get(&key).await? else { continue };
            let object = self.open(key, begun).await?;
            match self.selection.from {
                RedriveSource::Failures => self.send_discarded(object, &body).await?,
                RedriveSource::Rejects => {
                    for (function, shape, item) in self.read_rejects(object, &body, &mut reader) {
                        self.gather(name(&function), shape, item, &mut gathered).await?;
                    }
                }
            }
            self.progress.advance();
            self.progress.say(|| self.summary.state());
        }
        for ((function, _), request) in gathered {
            self.send(&function, request).await?;
        }
        self.settle_repeated().await?;
        self.summary.incomplete = reader.incomplete();
        Ok(())
    }

    /// Adds an item to the request for its function. A full request is sent before.
    async fn gather(
        &mut self,
        function: String,
        shape: Shape,
        item: Item,
        gathered: &mut Gathered,
    ) -> Result<(), Error> {
        let request = gathered.entry((function.clone(), shape)).or_insert_with(|| RedriveRequest::new(shape));
        if request.is_full_for(&item) {
            let full = mem::replace(request, RedriveRequest::new(shape));
            self.send(&function, full).await?;
        }
        request.push(item);
        Ok(())
    }

    /// An error if the run was interrupted.
    fn continues(&self) -> Result<(), Error> {
        if self.interrupt.happened() {
            return Err(Error::Interrupted(
                "before the end; what the functions accepted is marked, and the next run sends the rest"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    /// The keys of the unfinished objects, each with whether a mark lists what was sent. Objects written from now on,
    /// such as new rejects of this run, are not among them.
    async fn pending(&self) -> Result<Vec<(String, bool)>, Error> {
        let marks = self.store.list(marks::PREFIX).await?;
        let marks: HashSet<_> = marks.into_iter().map(|mark| mark.key).collect();
        let since = self.selection.since.unwrap_or(DateTime::UNIX_EPOCH);
        let objects = self.store.list(&self.selection.prefix).await?.into_iter();
        Ok(objects
            .filter(|object| object.written >= since && !object.key.starts_with(marks::PREFIX))
            .map(|object| object.key)
            .filter(|key| !marks.contains(&marks::done(key)))
            .map(|key| {
                let begun = marks.contains(&marks::part(&key));
                (key, begun)
            })
            .collect())
    }

    /// Opens an object with its mark from an earlier run; returns its position.
    async fn open(&mut self, key: String, begun: bool) -> Result<usize, Error> {
        let mark = if begun { self.store.get(&marks::part(&key)).await? } else { None };
        let settled = match mark {
            None => SettledItems::default(),
            Some(mark) => serde_json::from_slice(&mark).map_err(|_| {
                Error::Cloud(format!(
                    "could not read the mark {}; remove it to send {key} again",
                    marks::part(&key)
                ))
            })?,
        };
        self.summary.objects += 1;
        self.opened.push(Opened { key, items: 0, settled, waiting: HashMap::new() });
        Ok(self.opened.len() - 1)
    }

    fn read_rejects(
        &mut self,
        object: usize,
        body: &[u8],
        reader: &mut RejectReader,
    ) -> Vec<(String, Shape, Item)> {
        let mut decision = Vec::new();
        let mut items = 0;
        let settled = self.opened[object].settled.clone();
        let lines = reject::lines(body, |line| {
            let place = ItemPlace { object, item: items };
            items += 1;
            if settled.has(place.item) {
                return;
            }
            let rejected = match reader.read(line, place) {
                ReadReject::Whole(rejected) => rejected,
                ReadReject::Part => return,
                ReadReject::Repeated(whole) => {
                    self.repeated.push((place, whole));
                    return;
                }
                ReadReject::Unreadable => {
                    self.summary.unreadable += 1;
                    return;
                }
            };
            let reason = format!("{} {}", rejected.function, rejected.reason);
            let function = rejected.function.clone();
            let rows = rejected.row_count;
            match Again::of(*rejected, self.selection.also_came_back) {
                Again::Items(shape, items) => {
                    self.count(reason, rows);
                    self.wait_for(&items);
                    decision.extend(items.into_iter().map(|item| (function.clone(), shape, item)));
                }
                Again::CameBack => self.summary.came_back += rows,
                Again::Object => self.summary.unread_objects += 1,
            }
        });
        self.opened[object].items = items;
        if let Err(error) = lines {
            self.summary.unreadable += 1;
            self.progress.note(&format!("{}: {error}; its readable part is sent", self.opened[object].key));
            // Never marked as done, because its number of items is unknown.
            self.opened[object].items = usize::MAX;
        }
        decision
    }

    /// Counts how many requests each line waits for if its rows are sent separately.
    fn wait_for(&mut self, items: &[Item]) {
        if let [first, _, ..] = items {
            for place in &first.places {
                self.opened[place.object].waiting.insert(place.item, items.len());
            }
        }
    }

    /// Sends the content of an object of the failures bucket. A discarded batch stays a batch, because its records are
    /// of one shard and in its order. So nothing of it is sent after a request that failed.
    async fn send_discarded(&mut self, object: usize, body: &[u8]) -> Result<(), Error> {
        let Some((function, shape, items)) = self.read_failure(object, body) else { return Ok(()) };
        let mut items = items.into_iter().peekable();
        let mut request = RedriveRequest::new(shape);
        while let Some(item) = items.next() {
            request.push(item);
            if items.peek().is_some_and(|next| !request.is_full_for(next)) {
                continue;
            }
            if !self.send(&function, mem::replace(&mut request, RedriveRequest::new(shape))).await? {
                self.summary.failed += items.map(|item| item.rows).sum::<u64>();
                break;
            }
        }
        Ok(())
    }

    fn read_failure(&mut self, object: usize, body: &[u8]) -> Option<(String, Shape, Vec<Item>)> {
        let discarded = match failure::read(body) {
            Ok(discarded) => discarded,
            Err(problem) => {
                self.summary.unreadable += 1;
                self.progress.note(&format!("{}: {problem}", self.opened[object].key));
                return None;
            }
        };
        let (shape, items) = request::discarded(discarded.event, object);
        self.opened[object].items = items.len();
        let settled = &self.opened[object].settled;
        let is_settled = |item: &Item| item.places.iter().all(|place| settled.has(place.item));
        let items: Vec<_> = items.into_iter().filter(|item| !is_settled(item)).collect();
        self.count(format!("{} {}", discarded.function, discarded.condition), items.len() as u64);
        Some((discarded.function, shape, items))
    }

    fn count(&mut self, reason: String, items: u64) {
        self.summary.found += items;
        *self.summary.reasons.entry(reason).or_default() += items;
    }

    /// Sends a request, sends its failed items again, and marks the accepted ones. Returns whether all were accepted.
    async fn send(&mut self, function: &str, mut request: RedriveRequest) -> Result<bool, Error> {
        if self.selection.dry_run || request.items.is_empty() {
            return Ok(true);
        }
        let mut problem = Cow::Borrowed("it is too large for an invocation");
        let mut attempt = 0;
        while request.fits() && attempt < ATTEMPTS {
            if attempt > 0 {
                self.interrupt.sleep(backoff(Fault::Throttled, attempt, &mut self.jitter)).await;
            }
            self.continues()?;
            attempt += 1;
            self.summary.requests += 1;
            let invocation = self.functions.invoke(function, request.json());
            let answer = tokio::select! {
                biased;
                answer = invocation => answer,
                never = self.interrupt.note(self.progress) => never,
            };
            match answer {
                Ok(answer) => {
                    let done = request.settle(&answer).map_err(|error| {
                        Error::Cloud(format!("{function} does not respond like a function of this version ({error}); deploy it again"))
                    })?;
                    self.summary.sent += done.iter().map(|item| item.rows).sum::<u64>();
                    self.mark(done.into_iter().flat_map(|item| item.places)).await?;
                    if request.items.is_empty() {
                        return Ok(true);
                    }
                    problem = "it reports them as failed".into();
                }
                Err(InvokeFailure::Passing(why)) => problem = why.into(),
                // A function that fails on one batch may accept the next.
                Err(InvokeFailure::Function(why)) => {
                    problem = why.into();
                    break;
                }
                Err(InvokeFailure::Lasting(why)) => return Err(Error::Cloud(why)),
            }
        }
        let failed: u64 = request.items.iter().map(|item| item.rows).sum();
        self.summary.failed += failed;
        self.progress.note(&format!("{function} did not accept {failed}: {problem}"));
        Ok(false)
    }

    /// Settles parts that were delivered twice together with their reject.
    async fn settle_repeated(&mut self) -> Result<(), Error> {
        let repeated = mem::take(&mut self.repeated);
        let is_settled = |place: &ItemPlace| self.opened[place.object].settled.has(place.item);
        let settled: Vec<ItemPlace> =
            repeated.into_iter().filter(|(_, whole)| is_settled(whole)).map(|(place, _)| place).collect();
        self.mark(settled.into_iter()).await
    }

    /// Settles the items at those places, each after its last request, and writes the marks of their objects.
    async fn mark(&mut self, done: impl Iterator<Item = ItemPlace>) -> Result<(), Error> {
        let mut touched: Vec<usize> = Vec::new();
        for place in done {
            let Opened { settled, waiting, .. } = &mut self.opened[place.object];
            if let Some(left) = waiting.get_mut(&place.item) {
                *left -= 1;
                if *left > 0 {
                    continue;
                }
            }
            settled.settle(place.item);
            touched.push(place.object);
        }
        touched.sort_unstable();
        touched.dedup();
        for object in touched {
            let Opened { key, items, settled, .. } = &self.opened[object];
            let (mark, json) = marks::mark(key, *items, settled);
            self.store.put(&mark, json).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
