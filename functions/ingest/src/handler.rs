//! The handler: decodes the request, decides about its rows, delivers their events and reports.

use aws_lambda_events::{
    s3::S3Event,
    sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent},
};
use bytes::Bytes;
use serde::Serialize;
use shared::{
    audit::counts::Counts,
    delivery::Service,
    lambda::{
        config::{Common, ConfigError, Variables},
        invocation::Invocation,
    },
    stream::{StreamRecord, pack::Packing},
};
use tokio::time::Instant;

use crate::{
    checkpoint::{self, Checkpoints},
    error::IngestError,
    front::{HttpRequest, HttpResponse},
    http::{self, Posted},
    inflate::{BODY_BYTES, Inflate, InflateError},
    intake::{Intake, Origin, Summary},
    normalise::{Normaliser, RowRefusal},
    object::{ObjectIntake, fail_if_undelivered},
    report::ReadingReport,
    request::{Declared, Direct, Request},
    rows::Rows,
    s3::Objects,
    signature,
};

/// Bytes of a body that are read at once.
const BODY_STEP_BYTES: usize = 256 * 1024;

/// The configuration of ingest.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data set, where rejects go, and what the counts and the log are to contain.
    pub common: Common,
    /// `RAW_STREAM`: stream 1.
    pub raw_stream: String,
    /// `PACK_RANGES`: how events are packed into records.
    pub packing: Packing,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut variables = Variables::new(look_up);
        let raw_stream = variables.required("RAW_STREAM");
        let packing = Packing::into_ranges(variables.value("PACK_RANGES", 0));
        Ok(Self { common: variables.finish()?, raw_stream, packing })
    }
}

/// Ingests rows, however they are sent.
#[derive(Debug)]
pub struct Handler<S, R, O> {
    /// What the environment variables set.
    pub config: Config,
    /// Stream 1.
    pub stream: S,
    /// The rejects delivery stream.
    pub rejects: R,
    /// The inbox: objects and their checkpoints.
    pub objects: O,
}

/// The response, in the form that the caller expects.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To an invocation or an S3 event.
    Summary(Summary),
    /// To HTTP.
    Http(Box<HttpResponse>),
    /// To SQS.
    Queue(SqsBatchResponse),
}

impl<S, R, O> Handler<S, R, O>
where
    S: Service<Entry = StreamRecord>,
    R: Service<Entry = Bytes>,
    O: Objects + Checkpoints,
{
    /// Handles one event and counts the outcome of its rows.
    pub async fn handle(&self, event: &str, invocation: &Invocation) -> Result<Response, IngestError> {
        let Config { common, packing, .. } = &self.config;
        let request = Request::read(event).inspect_err(|_| {
            Counts::unreadable_event().log(&common.emitter("ingest"), invocation);
        })?;
        // The response to a queue lists messages, not rows.
        let lists_positions = !matches!(request, Request::Queue(_));
        let followed = common.followed();
        let mut intake =
            Intake::new(&self.stream, &self.rejects, *packing, invocation, followed, lists_positions);
        let response = match request {
            Request::Direct(direct) => self.handle_direct(&direct, &mut intake, invocation).await,
            Request::Http(request) => Ok(self.handle_http(*request, &mut intake, invocation).await),
            Request::Queue(event) => Ok(self.handle_queue(event, &mut intake).await),
            Request::Objects(event) => self.handle_objects(event, &mut intake, invocation).await,
        };
        self.report(&intake, invocation);
        response
    }

    async fn handle_direct(
        &self,
        direct: &Direct<'_>,
        intake: &mut Intake<'_, S, R>,
        invocation: &Invocation,
    ) -> Result<Response, IngestError> {
        let origin = Origin { name: invocation.request_id.clone(), group: 0 };
        self.ingest_body(direct.declared, direct.body.bytes(), &origin, intake).await;
        intake.deliver().await;
        if direct.asynchronous {
            fail_if_undelivered(intake)?;
        }
        Ok(Response::Summary(intake.summarise(&self.config.common.dataset)))
    }

    async fn handle_http(
        &self,
        request: HttpRequest,
        intake: &mut Intake<'_, S, R>,
        invocation: &Invocation,
    ) -> Response {
        let origin = Origin { name: invocation.request_id.clone(), group: 0 };
        let front_end = request.front_end;
        let response = match http::read(request) {
            Ok(posted) => {
                if posted.is_gzip {
                    self.ingest_gzip_body(&posted, &origin, intake).await;
                } else {
                    self.ingest_body(posted.declared, &posted.body, &origin, intake).await;
                }
                intake.deliver().await;
                http::answer(&intake.summarise(&self.config.common.dataset), posted.declared.format)
            }
            Err(response) => response,
        };
        Response::Http(Box::new(response.into_response(front_end)))
    }

    /// Ingests the messages of a batch together. A message with a row that was not delivered is retried.
    async fn handle_queue(&self, event: SqsEvent, intake: &mut Intake<'_, S, R>) -> Response {
        let mut ids = Vec::with_capacity(event.records.len());
        for (group, message) in event.records.into_iter().enumerate() {
            let id = message.message_id.unwrap_or_default();
            let origin = Origin { name: id.clone(), group };
            ids.push(id);
            let body = message.body.unwrap_or_default();
            match Direct::read(&body) {
                Ok(direct) => self.ingest_body(direct.declared, direct.body.bytes(), &origin, intake).await,
                Err(error) => {
                    let refused = RowRefusal { reason: "bad_message", detail: error.to_string() };
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
        Response::Queue(response)
    }

    async fn handle_objects(
        &self,
        event: S3Event,
        intake: &mut Intake<'_, S, R>,
        invocation: &Invocation,
    ) -> Result<Response, IngestError> {
        let stop_at = checkpoint::stop_at(Instant::now(), invocation.deadline.at);
        for (position, record) in event.records.iter().enumerate() {
            let object = ObjectIntake {
                dataset: &self.config.common.dataset,
                store: &self.objects,
                intake: &mut *intake,
                stop_at,
                is_first: position == 0,
            };
            let ingested = object.take(record).await;
            // A reject for the object itself may still wait for delivery.
            intake.deliver().await;
            if let Err(error) = ingested {
                // Undelivered rows were already counted, so the object is not counted as a failure as well.
                if !matches!(error, IngestError::Undelivered { .. }) {
                    intake.record_unread_object(error.to_string());
                }
                return Err(error);
            }
            fail_if_undelivered(intake)?;
        }
        Ok(Response::Summary(intake.summarise(&self.config.common.dataset)))
    }

    /// Ingests the rows of a body in pieces, so that the text is not in memory twice.
    async fn ingest_body(
        &self,
        declared: Declared,
        body: &[u8],
        origin: &Origin,
        intake: &mut Intake<'_, S, R>,
    ) {
        if let Some(format) = signature::of(body) {
            let error = InflateError::Foreign(format);
            let refused = RowRefusal { reason: error.reason(), detail: error.to_string() };
            intake.refuse(refused, Bytes::copy_from_slice(body), origin);
            return;
        }
        let (mut rows, normaliser) = self.start_reading(declared);
        for piece in body.chunks(BODY_STEP_BYTES) {
            rows.push(piece);
            intake.take_all(&mut rows, &normaliser, origin).await;
        }
        rows.finish();
        intake.take_all(&mut rows, &normaliser, origin).await;
    }

    /// Ingests the rows of a gzip body, inflated in pieces. The whole body was already checked to be valid.
    async fn ingest_gzip_body(&self, posted: &Posted, origin: &Origin, intake: &mut Intake<'_, S, R>) {
        let (mut rows, normaliser) = self.start_reading(posted.declared);
        let mut inflate = Inflate::new(BODY_BYTES);
        let mut inflated = Ok(());
        for piece in posted.body.chunks(inflate.step_bytes()) {
            inflated = inflated.and_then(|()| inflate.push(piece, |text| rows.push(text)));
            intake.take_all(&mut rows, &normaliser, origin).await;
        }
        if let Err(error) = inflated.and_then(|()| inflate.finish(|text| rows.push(text))) {
            unreachable!("the body was checked before: {error}");
        }
        rows.finish();
        intake.take_all(&mut rows, &normaliser, origin).await;
    }

    /// Starts to read rows as their sender declares them; returns them and their normaliser.
    fn start_reading(&self, declared: Declared) -> (Rows<'_>, Normaliser<'_>) {
        let dataset = &self.config.common.dataset;
        let rows = Rows::new(dataset, declared.format).with_charset(declared.charset);
        (rows, Normaliser::new(dataset, declared.date_order))
    }

    /// Logs the counts, and then what could not be read, because nobody reads the response to an S3 event or a queue.
    fn report(&self, intake: &Intake<'_, S, R>, invocation: &Invocation) {
        let Intake { counts, failure, tally, .. } = intake;
        if let Some(why) = failure {
            tracing::warn!(
                failed = counts.failed,
                why,
                "could not deliver some rows; they are reported as failed"
            );
        }
        let emitter = self.config.common.emitter("ingest");
        counts.log(&emitter, invocation);
        let report = ReadingReport::new(&self.config.common.dataset, tally);
        if report.is_notable() {
            for line in report.lines(tally.unreadable_rows(), &emitter, invocation) {
                (invocation.log)(&line);
            }
        }
    }
}
