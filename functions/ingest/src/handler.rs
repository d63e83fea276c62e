//! The handler: tell what is asked, read rows, deliver them, answer.

use aws_lambda_events::{
    s3::{S3Event, S3EventRecord},
    sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent},
};
use bytes::Bytes;
use lambda_runtime::Diagnostic;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use shared::{
    aws::StreamRecord,
    books::Books,
    config::{Common, ConfigError, Variables},
    delivery::{Failure, Fault, Service},
    invocation::Invocation,
    pack::Packing,
    time::DateOrder,
};
use tokio::time::Instant;

use crate::{
    checkpoint::{self, Checkpoint, Checkpoints, LARGE_BYTES},
    front::{HttpRequest, HttpResponse},
    http,
    inflate::{Inflate, OBJECT_BYTES},
    intake::{Intake, Origin, Summary},
    normalise::{Normaliser, Refused},
    request::{Direct, NotUnderstood, Request},
    rows::{Format, Position, Rows},
    s3::{Object, Objects},
};

/// The configuration of ingest.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every function needs.
    pub common: Common,
    /// `RAW_STREAM`: stream 1.
    pub raw_stream: String,
    /// `PACK_RANGES`: how events are packed into records.
    pub packing: Packing,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (common, (raw_stream, packing)) = Variables::new(look_up).read(|variables| {
            (variables.required("RAW_STREAM"), Packing::into_ranges(variables.value("PACK_RANGES", 0)))
        })?;
        Ok(Self { common, raw_stream, packing })
    }
}

/// Takes rows in, by whatever way they are sent.
#[derive(Debug)]
pub struct Handler<S, R, O> {
    /// The configuration.
    pub config: Config,
    /// Stream 1.
    pub stream: S,
    /// The rejects delivery stream.
    pub rejects: R,
    /// Where objects and their checkpoints are.
    pub objects: O,
}

/// The answer, in the form of the way that was asked.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To an invocation or an S3 event.
    Summary(Summary),
    /// To HTTP.
    Http(Box<HttpResponse>),
    /// To SQS.
    Queue(SqsBatchResponse),
}

/// Why an invocation fails.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// What was asked is not understood.
    #[error(transparent)]
    NotUnderstood(#[from] NotUnderstood),
    /// An object could not be read.
    #[error("the object was not taken in: {}", .0.detail)]
    Unreadable(Failure),
    /// A large object's checkpoint could not be read or kept, or its rest not be put into the inbox.
    #[error("the object is not taken in to its end: {}", .0.detail)]
    NotContinued(Failure),
    /// The time of an invocation was up before a row of a large object was done.
    #[error(
        "reading on from byte {0} came no further within the invocation: raise ingest's Timeout in template.yaml"
    )]
    NoProgress(u64),
    /// Rows were not taken, and the caller does not wait for an answer that says which.
    #[error("{failed} rows were not taken, so that all are to be sent again: {why}")]
    Undelivered {
        /// How many.
        failed: u64,
        /// Why.
        why: String,
    },
}

impl From<IngestError> for Diagnostic {
    fn from(error: IngestError) -> Self {
        let error_type = match error {
            IngestError::NotUnderstood(_) => "NotUnderstood",
            IngestError::Unreadable(_) => "Unreadable",
            IngestError::NotContinued(_) => "NotContinued",
            IngestError::NoProgress(_) => "NoProgress",
            IngestError::Undelivered { .. } => "Undelivered",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

impl<S, R, O> Handler<S, R, O>
where
    S: Service<Entry = StreamRecord>,
    R: Service<Entry = Bytes>,
    O: Objects + Checkpoints,
{
    /// Handles one event and enters what became of its rows in the books.
    pub async fn handle(&self, event: &str, invocation: &Invocation) -> Result<Answer, IngestError> {
        let Config { common, packing, .. } = &self.config;
        let mut intake = Intake::new(&self.stream, &self.rejects, *packing, invocation, common.followed());
        let request = Request::tell(event).inspect_err(|_| {
            Books::of_what_is_not_understood().close(&self.config.common.whose("ingest"), invocation);
        })?;
        let answer = match request {
            Request::Direct(direct) => self.direct(&direct, &mut intake, invocation).await,
            Request::Http(request) => Ok(self.http(*request, &mut intake, invocation).await),
            Request::Queue(event) => Ok(self.queue(event, &mut intake).await),
            Request::Objects(event) => self.objects(event, &mut intake, invocation).await,
        };
        self.close(&intake.books, intake.failure.as_deref(), invocation);
        answer
    }

    async fn direct(
        &self,
        direct: &Direct<'_>,
        intake: &mut Intake<'_, S, R>,
        invocation: &Invocation,
    ) -> Result<Answer, IngestError> {
        let origin = Origin { name: invocation.request_id.clone(), group: 0 };
        self.take(direct.format, direct.body.as_bytes(), direct.date_order, &origin, intake).await;
        intake.deliver().await;
        if direct.asynchronous {
            fail_if_undelivered(intake)?;
        }
        Ok(Answer::Summary(intake.summary.clone()))
    }

    async fn http(
        &self,
        request: HttpRequest,
        intake: &mut Intake<'_, S, R>,
        invocation: &Invocation,
    ) -> Answer {
        let origin = Origin { name: invocation.request_id.clone(), group: 0 };
        let front_end = request.front_end;
        let answer = match http::read(request) {
            Ok(posted) => {
                self.take(posted.format, &posted.body, posted.date_order, &origin, intake).await;
                intake.deliver().await;
                http::answer(&intake.summary, posted.format)
            }
            Err(answer) => answer,
        };
        Answer::Http(Box::new(answer.into_response(front_end)))
    }

    /// Takes the messages of a batch in together; those of which a row failed come again.
    async fn queue(&self, event: SqsEvent, intake: &mut Intake<'_, S, R>) -> Answer {
        let mut ids = Vec::with_capacity(event.records.len());
        for (group, message) in event.records.into_iter().enumerate() {
            let id = message.message_id.unwrap_or_default();
            let origin = Origin { name: id.clone(), group };
            ids.push(id);
            let body = message.body.unwrap_or_default();
            match Direct::read(&body) {
                Ok(direct) => {
                    self.take(direct.format, direct.body.as_bytes(), direct.date_order, &origin, intake)
                        .await;
                }
                Err(error) => {
                    let refused = Refused { reason: "bad_message", detail: error.to_string() };
                    intake.refuse(refused, Bytes::from(body), &origin);
                }
            }
        }
        intake.deliver().await;
        let mut response = SqsBatchResponse::default();
        response.batch_item_failures = intake
            .failed_groups
            .iter()
            .map(|group| {
                let mut failure = BatchItemFailure::default();
                failure.item_identifier.clone_from(&ids[*group]);
                failure
            })
            .collect();
        Answer::Queue(response)
    }

    async fn objects(
        &self,
        event: S3Event,
        intake: &mut Intake<'_, S, R>,
        invocation: &Invocation,
    ) -> Result<Answer, IngestError> {
        let stop_at = checkpoint::stop_at(Instant::now(), invocation.terms.deadline);
        for record in event.records {
            let (record, continued_from) = self.continued(record).await?;
            let outcome = self.object(&record, continued_from, stop_at, intake).await;
            intake.deliver().await;
            let end = outcome.inspect_err(|error| intake.miss(error.to_string()))?;
            fail_if_undelivered(intake)?;
            match end {
                End::Whole(None) => {}
                End::Whole(Some(kept)) => kept.save(&self.objects, &intake.summary, true).await?,
                End::Stopped(kept) => {
                    kept.save(&self.objects, &intake.summary, false).await?;
                    kept.leave_rest(&self.objects, record).await?;
                }
            }
        }
        Ok(Answer::Summary(intake.summary.clone()))
    }

    /// The object that a record is about; for the rest of one, that object and the byte at which it was left.
    async fn continued(&self, record: S3EventRecord) -> Result<(S3EventRecord, Option<u64>), IngestError> {
        let key = decoded(record.s3.object.key.as_deref().unwrap_or_default());
        if !checkpoint::is_rest(&key) {
            return Ok((record, None));
        }
        let bucket = record.s3.bucket.name.as_deref().unwrap_or_default();
        let rest = self.objects.load(bucket, &key).await.map_err(IngestError::NotContinued)?;
        let rest = rest.and_then(|rest| serde_json::from_slice(&rest).ok()).ok_or_else(|| {
            let detail = format!("{bucket}/{key} is not the rest of an object: put the object itself again");
            IngestError::NotContinued(Failure { fault: Fault::Permanent, detail })
        })?;
        let Rest { from, object } = rest;
        Ok((object, Some(from)))
    }

    /// Takes the rows of an object in, those of a large one from its checkpoint on and until `stop_at`.
    async fn object(
        &self,
        record: &S3EventRecord,
        continued_from: Option<u64>,
        stop_at: Instant,
        intake: &mut Intake<'_, S, R>,
    ) -> Result<End, IngestError> {
        let bucket = record.s3.bucket.name.as_deref().unwrap_or_default();
        let key = &decoded(record.s3.object.key.as_deref().unwrap_or_default());
        let etag = record.s3.object.e_tag.as_deref().unwrap_or_default();
        let size = record.s3.object.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
        let origin = Origin { name: format!("{bucket}/{key}"), group: 0 };
        let Some((format, gzip)) = format_of(key) else {
            let detail = "the key ends in no known way: .csv, .json, .ndjson or .jsonl, or one of these and .gz, is right";
            let refused = Refused { reason: "unknown_format", detail: detail.to_owned() };
            intake.refuse(refused, Bytes::new(), &origin);
            return Ok(End::Whole(None));
        };
        let mut kept = (size >= LARGE_BYTES).then(|| Kept::new(bucket, key, etag));
        if let Some(kept) = &mut kept {
            let Some(begun) = kept.load(&self.objects).await? else { return Ok(End::Whole(None)) };
            intake.summary.accepted += begun.accepted;
            intake.summary.rejected += begun.rejected;
        }
        let from = kept.as_ref().map(|kept| kept.position.clone()).unwrap_or_default();
        if continued_from.is_some_and(|offset| from.offset < offset) {
            return Err(IngestError::NoProgress(from.offset));
        }
        // Gzip can be read from its beginning alone; what was taken in of it is passed over.
        let (begin, mut passed_over) = if gzip { (0, from.offset) } else { (from.offset, 0) };
        let mut object =
            self.objects.open(bucket, key, begin, etag).await.map_err(IngestError::Unreadable)?;
        let order = match DateOrder::OPTIONS.iter().find_map(|name| object.metadata(name)).map(str::parse) {
            None => None,
            Some(Ok(order)) => Some(order),
            Some(Err(detail)) => {
                intake.refuse(Refused { reason: "bad_date_order", detail }, Bytes::new(), &origin);
                return Ok(End::Whole(None));
            }
        };
        let mut inflate = if gzip { Inflate::gzip(OBJECT_BYTES) } else { Inflate::plain() };
        let normaliser = self.normaliser(order);
        let mut rows = Rows::resume(&self.config.common.dataset, format, &from);
        loop {
            let chunk = object.chunk().await.map_err(IngestError::Unreadable)?;
            let mut pass = |text: &[u8], rows: &mut Rows<'_>| {
                let over = usize::try_from(passed_over).unwrap_or(usize::MAX).min(text.len());
                passed_over -= over as u64;
                rows.push(&text[over..]);
            };
            let mut read = Ok(());
            for step in chunk.as_deref().unwrap_or_default().chunks(inflate.step_bytes()) {
                read = inflate.push(step, |text| pass(text, &mut rows));
                if read.is_err() {
                    break;
                }
                intake.take_all(&mut rows, &normaliser, &origin).await;
            }
            if chunk.is_none() {
                read = inflate.finish(|text| pass(text, &mut rows));
            }
            if chunk.is_none() || read.is_err() {
                rows.finish();
            }
            intake.take_all(&mut rows, &normaliser, &origin).await;
            if let Err(error) = read {
                let refused = Refused { reason: "bad_gzip", detail: error.to_string() };
                intake.refuse(refused, Bytes::new(), &origin);
                return Ok(End::Whole(None));
            }
            // What follows rows that were not taken would only have to be sent again.
            fail_if_undelivered(intake)?;
            let Some(kept) = kept.as_mut().filter(|_| chunk.is_some()) else {
                if chunk.is_none() {
                    return Ok(End::Whole(kept));
                }
                continue;
            };
            let late = Instant::now() >= stop_at;
            let Some(position) = rows.position().filter(|position| {
                late || position.offset - kept.position.offset >= checkpoint::INTERVAL_BYTES
            }) else {
                continue;
            };
            intake.deliver().await;
            fail_if_undelivered(intake)?;
            kept.position = position;
            if late {
                if kept.position.offset <= from.offset {
                    return Err(IngestError::NoProgress(from.offset));
                }
                return Ok(End::Stopped(kept.clone()));
            }
            kept.save(&self.objects, &intake.summary, false).await?;
        }
    }

    async fn take(
        &self,
        format: Format,
        body: &[u8],
        order: Option<DateOrder>,
        origin: &Origin,
        intake: &mut Intake<'_, S, R>,
    ) {
        let mut rows = Rows::new(&self.config.common.dataset, format);
        rows.push(body);
        rows.finish();
        intake.take_all(&mut rows, &self.normaliser(order), origin).await;
    }

    fn normaliser(&self, order: Option<DateOrder>) -> Normaliser<'_> {
        Normaliser::new(&self.config.common.dataset, order)
    }

    fn close(&self, books: &Books, failure: Option<&str>, invocation: &Invocation) {
        if let Some(why) = failure {
            tracing::warn!(
                failed = books.failed,
                why,
                "rows were not taken and are reported to their sender"
            );
        }
        books.close(&self.config.common.whose("ingest"), invocation);
    }
}

/// How an object was left.
enum End {
    /// Read to its end; a large one with what is kept of it.
    Whole(Option<Kept>),
    /// At a row, because the time was up.
    Stopped(Kept),
}

/// What is kept of a large object.
#[derive(Clone)]
struct Kept {
    bucket: String,
    name: String,
    rest: String,
    position: Position,
}

/// The rest of an object, as an object of its own.
#[derive(Serialize, Deserialize)]
struct Rest {
    /// The byte of its text up to which it has been taken in.
    from: u64,
    /// What S3 told of it.
    object: S3EventRecord,
}

impl Kept {
    fn new(bucket: &str, key: &str, etag: &str) -> Self {
        Self {
            bucket: bucket.to_owned(),
            name: Checkpoint::name(key, etag),
            rest: checkpoint::rest_of(key, etag),
            position: Position::default(),
        }
    }

    /// Goes to where an earlier invocation came to, and gives what became of the rows before it; nothing where that
    /// was the end.
    async fn load(&mut self, checkpoints: &impl Checkpoints) -> Result<Option<Summary>, IngestError> {
        let found = checkpoints.load(&self.bucket, &self.name).await.map_err(IngestError::NotContinued)?;
        let Some(found) = found else { return Ok(Some(Summary::default())) };
        let checkpoint: Checkpoint = serde_json::from_slice(&found).map_err(|_| {
            let detail = format!("{} is no checkpoint: delete it to have the object read anew", self.name);
            IngestError::NotContinued(Failure { fault: Fault::Permanent, detail })
        })?;
        self.position = checkpoint.position;
        let Checkpoint { accepted, rejected, finished, .. } = checkpoint;
        Ok((!finished).then(|| Summary { accepted, rejected, ..Summary::default() }))
    }

    async fn save(
        &self,
        checkpoints: &impl Checkpoints,
        summary: &Summary,
        finished: bool,
    ) -> Result<(), IngestError> {
        let checkpoint = Checkpoint::of(self.position.clone(), summary, finished);
        let json = serde_json::to_vec(&checkpoint).unwrap_or_else(|error| unreachable!("{error}"));
        checkpoints.save(&self.bucket, &self.name, json.into()).await.map_err(IngestError::NotContinued)
    }

    /// Puts the rest of the object into the inbox, so that another invocation goes on with it.
    async fn leave_rest(
        &self,
        checkpoints: &impl Checkpoints,
        object: S3EventRecord,
    ) -> Result<(), IngestError> {
        let rest = Rest { from: self.position.offset, object };
        let json = serde_json::to_vec(&rest).unwrap_or_else(|error| unreachable!("{error}"));
        checkpoints.save(&self.bucket, &self.rest, json.into()).await.map_err(IngestError::NotContinued)
    }
}

fn fail_if_undelivered<S, R>(intake: &Intake<'_, S, R>) -> Result<(), IngestError> {
    match &intake.failure {
        None => Ok(()),
        Some(why) => Err(IngestError::Undelivered { failed: intake.summary.failed, why: why.clone() }),
    }
}

/// A key as it is: S3 writes a blank as a plus in its events, and what is not plain as per cent and hexadecimals.
fn decoded(key: &str) -> String {
    percent_decode_str(&key.replace('+', " ")).decode_utf8_lossy().into_owned()
}

/// The format that a key's ending names, and whether the object is gzip.
fn format_of(key: &str) -> Option<(Format, bool)> {
    let key = key.to_ascii_lowercase();
    let (name, gzip) = key.strip_suffix(".gz").map_or((key.as_str(), false), |name| (name, true));
    let (_, extension) = name.rsplit_once('.')?;
    Some((extension.parse().ok()?, gzip))
}
