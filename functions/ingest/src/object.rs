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
            Progress::go_on(self.store, &object.bucket, &object.key).await?
        } else if format_of(&object.key).is_some() {
            Progress::load(self.store, object).await?
        } else {
            let detail = "the key has no known suffix: expected .csv, .json, .ndjson or .jsonl, or one of these and .gz";
            self.refuse("unknown_format", detail.to_owned(), Bytes::new(), object.name());
            return Ok(());
        };
        if progress.noted.finished {
            return Ok(());
        }
        self.take_from(progress).await
    }

    /// Ingests what follows the checkpoint, and stores how far that is.
    async fn take_from(&mut self, mut progress: Progress) -> Result<(), IngestError> {
        let Some(format) = format_of(&progress.object.key) else { return Ok(()) };
        let source = ObjectText::open(self.store, &progress.object, &progress.noted).await?;
        let name = progress.object.name();
        let order = match source.date_order() {
            Ok(order) => order,
            Err(detail) => {
                self.refuse("bad_date_order", detail, Bytes::new(), name);
                return Ok(());
            }
        };
        let charset = match source.charset() {
            Ok(charset) => charset,
            Err(detail) => {
                self.refuse("bad_charset", detail, Bytes::new(), name);
                return Ok(());
            }
        };
        let summary = &mut self.intake.summary;
        let mut reading = Reading {
            source,
            rows: Rows::resume(self.dataset, format, &progress.noted.position).with_charset(charset),
            normaliser: Normaliser::new(self.dataset, order),
            origin: Origin { name, group: 0 },
            before: (summary.accepted, summary.rejected),
            from: progress.noted.position.offset,
            delivered: progress.noted.clone(),
        };
        summary.accepted += progress.noted.accepted;
        summary.rejected += progress.noted.rejected;
        let ended = match self.read(&mut reading, &mut progress).await {
            Ok(end) => self.deliver(&mut reading).await.map(|()| end),
            Err(error) => {
                // The rows before the error are delivered, so that a retry need not send them again.
                self.deliver(&mut reading).await.ok();
                Err(error)
            }
        };
        self.note(ended, reading, progress).await
    }

    /// Records where the reading stopped.
    async fn note<D: Object>(
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
                if progress.notes_end(&end) { progress.save(self.store, end).await } else { Ok(()) }
            }
            Ok(Stop::TimeUp) if moved || !self.is_first => {
                progress.save(self.store, delivered).await?;
                progress.leave(self.store).await
            }
            Ok(Stop::TimeUp) => Err(IngestError::NoProgress(from)),
            Err(error) => {
                if moved && delivered.is_further(&progress.noted) {
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
                self.note_interval(reading, progress).await?;
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
        if error.cuts_rows() {
            reading.rows.finish_cut_short();
        } else {
            reading.rows.finish();
        }
        if let Some(end) = self.take_rows(reading).await? {
            return Ok(end);
        }
        let (reason, detail) = (error.reason(), error.to_string());
        let payload = if let InflateError::Trailing(begin) = error { begin.into() } else { Bytes::new() };
        self.refuse(reason, detail, payload, reading.origin.name.clone());
        Ok(Stop::Whole)
    }

    /// Takes every complete row until time runs out.
    async fn take_rows<D: Object>(
        &mut self,
        reading: &mut Reading<'_, D>,
    ) -> Result<Option<Stop>, IngestError> {
        let format = reading.rows.format().name();
        while let Some(row) = reading.rows.next() {
            self.intake.take(&row, format, &reading.normaliser, &reading.origin);
            if self.intake.is_full() {
                self.intake.deliver_gathered().await;
                self.note_delivered(reading)?;
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
        self.note_delivered(reading)
    }

    /// Records how far everything is delivered. Rows that wait in a shared reject are read again if this invocation
    /// ends before they are written.
    fn note_delivered<D: Object>(&mut self, reading: &mut Reading<'_, D>) -> Result<(), IngestError> {
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
    async fn note_interval<D: Object>(
        &mut self,
        reading: &mut Reading<'_, D>,
        progress: &mut Progress,
    ) -> Result<(), IngestError> {
        let noted = progress.noted.position.offset;
        if reading.source.text < noted + INTERVAL_BYTES {
            return Ok(());
        }
        self.deliver(reading).await?;
        if reading.delivered.position.offset > noted {
            progress.save(self.store, reading.delivered.clone()).await?;
        }
        Ok(())
    }

    fn is_time_up(&self) -> bool {
        Instant::now() >= self.stop_at
    }

    fn refuse(&mut self, reason: &'static str, detail: String, payload: Bytes, name: String) {
        self.intake.refuse(RowRefusal { reason, detail }, payload, &Origin { name, group: 0 });
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
    passing: u64,
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
        let (received, passing) = if from.gzip { (0, offset) } else { (offset, 0) };
        let download = if from.is_at_end() {
            None
        } else {
            Some(store.open(object, received).await.map_err(IngestError::Unreadable)?)
        };
        let size = download.as_ref().map_or(from.size, Object::size);
        let inflate = if received > 0 { Inflate::plain() } else { Inflate::new(OBJECT_BYTES) };
        Ok(Self { download, inflate, name: object.name(), size, received, passing, text: offset })
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
        let (passing, text) = (&mut self.passing, &mut self.text);
        self.inflate.push(bytes, |piece| pass(piece, passing, text, rows))
    }

    /// Adds the remaining text to the rows.
    fn finish(&mut self, rows: &mut Rows<'_>) -> Result<(), InflateError> {
        let (passing, text) = (&mut self.passing, &mut self.text);
        self.inflate.finish(|piece| pass(piece, passing, text, rows))
    }
}

/// Adds a piece of text to the rows, without the part to be skipped.
fn pass(piece: &[u8], passing: &mut u64, text: &mut u64, rows: &mut Rows<'_>) {
    let over = usize::try_from(*passing).unwrap_or(usize::MAX).min(piece.len());
    *passing -= over as u64;
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

/// The format that the suffix of a key names, in any case; a final `.gz` is ignored.
fn format_of(key: &str) -> Option<Format> {
    let key = key.to_ascii_lowercase();
    let (_, extension) = key.strip_suffix(".gz").unwrap_or(&key).rsplit_once('.')?;
    extension.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffix_of_a_key_names_its_format_in_any_case() {
        for (key, format) in [
            ("a.csv", Some(Format::Csv)),
            ("A.CSV", Some(Format::Csv)),
            ("a.csv.GZ", Some(Format::Csv)),
            ("deep.json/a.Json", Some(Format::Json)),
            ("a.ndjson.gz", Some(Format::Ndjson)),
            ("a.JSONL", Some(Format::Ndjson)),
            ("a.gz", None),
            ("a.txt", None),
            ("csv", None),
            ("", None),
        ] {
            assert_eq!(format_of(key), format, "{key}");
        }
    }

    #[test]
    fn a_folder_of_the_console_is_not_a_file() {
        assert!(is_folder("morning/", Some(0)));
        assert!(
            !is_folder("morning/", Some(1)) && !is_folder("morning/", None) && !is_folder("a.csv", Some(0))
        );
    }
}
