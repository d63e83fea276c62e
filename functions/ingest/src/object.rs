//! Reads objects of the inbox as their events name them, from where an earlier invocation stopped.

use aws_lambda_events::s3::S3EventRecord;
use bytes::Bytes;
use shared::{
    data::{dataset::Dataset, time::DateOrder},
    delivery::{Failure, Fault, Service},
    stream::StreamRecord,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    charset::{self, Charset},
    checkpoint::{Checkpoint, Checkpoints, INTERVAL_BYTES, Own, Progress},
    error::IngestError,
    inflate::{Inflate, InflateError, OBJECT_BYTES},
    intake::{Intake, Origin},
    normalise::{Normaliser, RowRefusal},
    rows::{Format, Rows},
    s3::{Object, ObjectVersion, Objects},
};

/// Ingests the rows of one object.
#[derive(Debug)]
pub(crate) struct ObjectIntake<'t, 'i, S, R, O> {
    pub(crate) dataset: &'t Dataset,
    pub(crate) store: &'t O,
    pub(crate) intake: &'t mut Intake<'i, S, R>,
    /// When the invocation stops reading.
    pub(crate) stop_at: Instant,
    /// Whether the invocation spent all of its time on this object.
    pub(crate) is_first: bool,
}

/// Where the reading of an object stopped.
enum Stop {
    /// At its last byte.
    Whole,
    /// At a row, because the invocation ran out of time.
    TimeUp,
}

/// An object that is being read.
struct Reading<'d, D> {
    source: ObjectText<D>,
    rows: Rows<'d>,
    normaliser: Normaliser<'d>,
    origin: Origin,
    /// Rows accepted and rejected in the invocation before this object.
    before: (u64, u64),
    /// Where this invocation began.
    from: u64,
    /// The last row before which everything was delivered.
    delivered: Checkpoint,
}

impl<S, R, O> ObjectIntake<'_, '_, S, R, O>
where
    S: Service<Entry = StreamRecord>,
    R: Service<Entry = Bytes>,
    O: Objects + Checkpoints,
{
    /// Ingests the object of a record, or what remains of it.
    pub(crate) async fn take(mut self, record: &S3EventRecord) -> Result<(), IngestError> {
        let object = ObjectVersion::of(record);
        let own = Own::by_name(&object.key);
        if own == Some(Own::Checkpoint) || is_folder(&object.key, record.s3.object.size) {
            return Ok(());
        }
        let progress = if own == Some(Own::Continuation) {
            Progress::resume(self.store, &object.bucket, &object.key).await?
        } else if Format::of_name(&object.key).is_some() {
            Progress::load(self.store, object).await?
        } else {
            let detail = "the key has no known suffix: expected .csv, .json, .ndjson or .jsonl, or one of these and .gz";
            let refused = RowRefusal { reason: "unknown_format", detail: detail.to_owned() };
            self.refuse(refused, Bytes::new(), object.name());
            return Ok(());
        };
        if progress.saved.finished {
            return Ok(());
        }
        self.take_from(progress).await
    }

    /// Ingests what follows the checkpoint, and stores how far that is.
    async fn take_from(&mut self, mut progress: Progress) -> Result<(), IngestError> {
        let Some(format) = Format::of_name(&progress.object.key) else { return Ok(()) };
        let source = ObjectText::open(self.store, &progress.object, &progress.saved).await?;
        let name = progress.object.name();
        let (order, charset) = match source.declared() {
            Ok(declared) => declared,
            Err(refused) => {
                self.refuse(refused, Bytes::new(), name);
                return Ok(());
            }
        };
        let summary = &mut self.intake.summary;
        let mut reading = Reading {
            source,
            rows: Rows::resume(self.dataset, format, &progress.saved.position).with_charset(charset),
            normaliser: Normaliser::new(self.dataset, order),
            origin: Origin { name, group: 0 },
            before: (summary.accepted, summary.rejected),
            from: progress.saved.position.offset,
            delivered: progress.saved.clone(),
        };
        summary.accepted += progress.saved.accepted;
        summary.rejected += progress.saved.rejected;
        let ended = match self.read(&mut reading, &mut progress).await {
            Ok(end) => self.deliver(&mut reading).await.map(|()| end),
            Err(error) => {
                // The rows before the error are delivered, so that a retry need not send them again.
                self.deliver(&mut reading).await.ok();
                Err(error)
            }
        };
        self.save_stop(ended, reading, progress).await
    }

    /// Saves where the reading stopped, and lets another invocation resume it if its time is up.
    async fn save_stop<D: Object>(
        &mut self,
        ended: Result<Stop, IngestError>,
        reading: Reading<'_, D>,
        mut progress: Progress,
    ) -> Result<(), IngestError> {
        let Reading { delivered, from, .. } = reading;
        let moved = delivered.position.offset > from;
        match ended {
            Ok(Stop::Whole) => {
                let end = Checkpoint { finished: true, ..delivered };
                if progress.needs_end(&end) { progress.save(self.store, end).await } else { Ok(()) }
            }
            Ok(Stop::TimeUp) if moved || !self.is_first => {
                progress.save(self.store, delivered).await?;
                progress.write_continuation(self.store).await
            }
            Ok(Stop::TimeUp) => Err(IngestError::NoProgress(from)),
            Err(error) => {
                if moved && delivered.is_further(&progress.saved) {
                    // Without the checkpoint a retry sends more rows again; the first error is the one to report.
                    progress.save(self.store, delivered).await.ok();
                }
                Err(error)
            }
        }
    }

    /// Reads an object to its end, or until time runs out.
    async fn read<D: Object>(
        &mut self,
        reading: &mut Reading<'_, D>,
        progress: &mut Progress,
    ) -> Result<Stop, IngestError> {
        loop {
            let chunk = match timeout_at(self.stop_at, reading.source.chunk()).await {
                Ok(chunk) => chunk.map_err(IngestError::Unreadable)?,
                Err(_) if reading.source.is_at_end() => None,
                Err(_) => return Ok(Stop::TimeUp),
            };
            let Some(mut chunk) = chunk else { return self.read_end(reading).await };
            while !chunk.is_empty() {
                let step = chunk.split_to(reading.source.inflate.step_bytes().min(chunk.len()));
                if let Err(error) = reading.source.inflate(&step, &mut reading.rows) {
                    return self.read_damaged(reading, error).await;
                }
                if let Some(end) = self.take_rows(reading).await? {
                    return Ok(end);
                }
                // The last row of an object takes less time than another invocation.
                if self.is_time_up() && !(chunk.is_empty() && reading.source.is_at_end()) {
                    return Ok(Stop::TimeUp);
                }
                self.save_interval(reading, progress).await?;
            }
        }
    }

    /// Takes the last rows of an object.
    async fn read_end<D: Object>(&mut self, reading: &mut Reading<'_, D>) -> Result<Stop, IngestError> {
        if let Err(error) = reading.source.finish(&mut reading.rows) {
            return self.read_damaged(reading, error).await;
        }
        reading.rows.finish();
        Ok(self.take_rows(reading).await?.unwrap_or(Stop::Whole))
    }

    /// Takes the rows before unreadable data; the data itself becomes a reject.
    async fn read_damaged<D: Object>(
        &mut self,
        reading: &mut Reading<'_, D>,
        error: InflateError,
    ) -> Result<Stop, IngestError> {
        reading.rows.finish_damaged(&error);
        if let Some(end) = self.take_rows(reading).await? {
            return Ok(end);
        }
        let refused = RowRefusal { reason: error.reason(), detail: error.to_string() };
        let payload = if let InflateError::Trailing(begin) = error { begin.into() } else { Bytes::new() };
        self.refuse(refused, payload, reading.origin.name.clone());
        Ok(Stop::Whole)
    }

    /// Takes every complete row until time runs out.
    async fn take_rows<D: Object>(
        &mut self,
        reading: &mut Reading<'_, D>,
    ) -> Result<Option<Stop>, IngestError> {
        let format = reading.rows.format();
        while let Some(row) = reading.rows.next() {
            self.intake.take(&row, format, &reading.normaliser, &reading.origin);
            if self.intake.is_full() {
                self.intake.deliver_buffered().await;
                self.mark_delivered(reading)?;
                if self.is_time_up() {
                    return Ok(Some(Stop::TimeUp));
                }
            }
        }
        Ok(None)
    }

    /// Delivers all rows so far. Rows after an undelivered one would only have to be sent again.
    async fn deliver<D: Object>(&mut self, reading: &mut Reading<'_, D>) -> Result<(), IngestError> {
        self.intake.deliver().await;
        self.mark_delivered(reading)
    }

    /// Remembers how far everything is delivered. Rows that wait in a shared reject are read again if this invocation
    /// ends before they are written.
    fn mark_delivered<D: Object>(&mut self, reading: &mut Reading<'_, D>) -> Result<(), IngestError> {
        fail_if_undelivered(self.intake)?;
        if self.intake.holds_rejects() {
            return Ok(());
        }
        if let Some(position) = reading.rows.position() {
            let summary = &self.intake.summary;
            reading.delivered = Checkpoint {
                position,
                accepted: summary.accepted - reading.before.0,
                rejected: summary.rejected - reading.before.1,
                finished: false,
                gzip: reading.source.is_gzip(),
                size: reading.source.size,
            };
        }
        Ok(())
    }

    /// Saves a checkpoint now and then, for a retry after a crash.
    async fn save_interval<D: Object>(
        &mut self,
        reading: &mut Reading<'_, D>,
        progress: &mut Progress,
    ) -> Result<(), IngestError> {
        let saved = progress.saved.position.offset;
        if reading.source.text < saved + INTERVAL_BYTES {
            return Ok(());
        }
        self.deliver(reading).await?;
        if reading.delivered.position.offset > saved {
            progress.save(self.store, reading.delivered.clone()).await?;
        }
        Ok(())
    }

    fn is_time_up(&self) -> bool {
        Instant::now() >= self.stop_at
    }

    fn refuse(&mut self, refused: RowRefusal, payload: Bytes, name: String) {
        self.intake.refuse(refused, payload, &Origin { name, group: 0 });
    }
}

/// The bytes of an object on their way to text.
struct ObjectText<D> {
    /// `None` if the object was read to its end before.
    download: Option<D>,
    inflate: Inflate,
    name: String,
    /// Size of the object in bytes, if known.
    size: Option<u64>,
    /// Bytes of the object that were received or skipped.
    received: u64,
    /// Bytes of text before the checkpoint that are still to be skipped.
    to_skip: u64,
    /// Bytes of text so far, including those before the checkpoint.
    text: u64,
}

impl<D: Object> ObjectText<D> {
    /// Opens an object to resume it at a checkpoint.
    async fn open(
        store: &impl Objects<Object = D>,
        object: &ObjectVersion,
        from: &Checkpoint,
    ) -> Result<Self, IngestError> {
        let offset = from.position.offset;
        // Gzip can only be read from its start: the text before the checkpoint is skipped.
        let (received, to_skip) = if from.gzip { (0, offset) } else { (offset, 0) };
        let download = if from.is_at_end() {
            None
        } else {
            Some(store.open(object, received).await.map_err(IngestError::Unreadable)?)
        };
        let size = download.as_ref().map_or(from.size, Object::size);
        let inflate = if received > 0 { Inflate::plain() } else { Inflate::new(OBJECT_BYTES) };
        Ok(Self { download, inflate, name: object.name(), size, received, to_skip, text: offset })
    }

    /// The date order and the charset that the object declares.
    fn declared(&self) -> Result<(Option<DateOrder>, Charset), RowRefusal> {
        let refused = |reason: &'static str| move |detail: String| RowRefusal { reason, detail };
        let order = self.date_order().map_err(refused("bad_date_order"))?;
        let charset = self.charset().map_err(refused("bad_charset"))?;
        Ok((order, charset))
    }

    /// The date order that the object's metadata declares.
    fn date_order(&self) -> Result<Option<DateOrder>, String> {
        let Some(download) = &self.download else { return Ok(None) };
        // S3 stores the names in lower case.
        let names = DateOrder::OPTIONS.into_iter().chain(["dateorder"]);
        let mut declared = names.filter_map(|name| download.metadata(name)).map(str::parse::<DateOrder>);
        let Some(first) = declared.next() else { return Ok(None) };
        let first = first?;
        for other in declared {
            if other? != first {
                return Err("the metadata declares two date orders: expected one".to_owned());
            }
        }
        Ok(Some(first))
    }

    /// The charset that the object declares in its metadata, or else in its content type, which many tools set
    /// automatically.
    fn charset(&self) -> Result<Charset, String> {
        let Some(download) = &self.download else { return Ok(Charset::default()) };
        let in_type = || download.content_type().and_then(charset::of_content_type);
        download.metadata("charset").or_else(in_type).map_or(Ok(Charset::default()), str::parse)
    }

    fn is_gzip(&self) -> bool {
        self.inflate.is_gzip()
    }

    /// Whether every byte of the object was received.
    fn is_at_end(&self) -> bool {
        self.size.is_some_and(|size| self.received >= size)
    }

    /// The next chunk; `None` at the end. An end before the last byte is an error.
    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        let Some(download) = &mut self.download else { return Ok(None) };
        let chunk = download.chunk().await?;
        match (&chunk, self.size) {
            (Some(chunk), _) => self.received += chunk.len() as u64,
            (None, Some(size)) if self.received < size => {
                let detail = format!("object {} broke off at byte {} of {size}", self.name, self.received);
                return Err(Failure { fault: Fault::Transient, detail });
            }
            (None, _) => {}
        }
        Ok(chunk)
    }

    /// Adds the text of some bytes to the rows.
    fn inflate(&mut self, bytes: &[u8], rows: &mut Rows<'_>) -> Result<(), InflateError> {
        let (to_skip, text) = (&mut self.to_skip, &mut self.text);
        self.inflate.push(bytes, |piece| push_unskipped(piece, to_skip, text, rows))
    }

    /// Adds the remaining text to the rows.
    fn finish(&mut self, rows: &mut Rows<'_>) -> Result<(), InflateError> {
        let (to_skip, text) = (&mut self.to_skip, &mut self.text);
        self.inflate.finish(|piece| push_unskipped(piece, to_skip, text, rows))
    }
}

/// Adds a piece of text to the rows, without the part to be skipped.
fn push_unskipped(piece: &[u8], to_skip: &mut u64, text: &mut u64, rows: &mut Rows<'_>) {
    let over = usize::try_from(*to_skip).unwrap_or(usize::MAX).min(piece.len());
    *to_skip -= over as u64;
    let piece = &piece[over..];
    *text += piece.len() as u64;
    rows.push(piece);
}

/// Fails an invocation whose caller does not read a response that lists the rows.
pub(crate) fn fail_if_undelivered<S, R>(intake: &Intake<'_, S, R>) -> Result<(), IngestError> {
    match &intake.failure {
        None => Ok(()),
        Some(why) => Err(IngestError::Undelivered { failed: intake.summary.failed, why: why.clone() }),
    }
}

/// Whether the object is only a placeholder for a folder, as the S3 console creates them.
fn is_folder(key: &str, size: Option<i64>) -> bool {
    key.ends_with('/') && size == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_console_is_not_a_file() {
        assert!(is_folder("morning/", Some(0)));
        assert!(
            !is_folder("morning/", Some(1)) && !is_folder("morning/", None) && !is_folder("a.csv", Some(0))
        );
    }
}
