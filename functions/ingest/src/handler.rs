//! The handler: tell what is asked, read rows, deliver them, answer.

use aws_lambda_events::{
    apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
    s3::{S3Event, S3EventRecord},
    sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent},
};
use bytes::Bytes;
use lambda_runtime::Diagnostic;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{
    aws::StreamRecord,
    books::Books,
    config::{Common, ConfigError, Variables},
    delivery::{Failure, Service},
    invocation::Invocation,
    time::DateOrder,
};

use crate::{
    http,
    inflate::{Inflate, OBJECT_BYTES},
    intake::{Intake, Origin, Summary},
    normalise::{Normaliser, Refused},
    request::{Direct, NotUnderstood, Request},
    rows::{Format, Rows},
    s3::{Object, Objects},
};

/// The configuration of ingest.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every function needs.
    pub common: Common,
    /// `RAW_STREAM`: stream 1.
    pub raw_stream: String,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let (common, raw_stream) =
            Variables::new(look_up).read(|variables| variables.required("RAW_STREAM"))?;
        Ok(Self { common, raw_stream })
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
    /// Where objects are read from.
    pub objects: O,
}

/// The answer, in the form of the way that was asked.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// To an invocation or an S3 event.
    Summary(Summary),
    /// To HTTP.
    Http(Box<ApiGatewayV2httpResponse>),
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
            IngestError::Undelivered { .. } => "Undelivered",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

impl<S, R, O> Handler<S, R, O>
where
    S: Service<Entry = StreamRecord>,
    R: Service<Entry = Bytes>,
    O: Objects,
{
    /// Handles one event and enters what became of its rows in the books.
    pub async fn handle(&self, event: &RawValue, invocation: &Invocation) -> Result<Answer, IngestError> {
        let mut intake = Intake::new(&self.stream, &self.rejects, invocation, self.config.common.followed());
        let request = Request::tell(event).inspect_err(|_| {
            Books::of_what_is_not_understood().close(&self.config.common.whose("ingest"), invocation);
        })?;
        let answer = match request {
            Request::Direct(direct) => self.direct(&direct, &mut intake, invocation).await,
            Request::Http(request) => Ok(self.http(*request, &mut intake, invocation).await),
            Request::Queue(event) => Ok(self.queue(event, &mut intake).await),
            Request::Objects(event) => self.objects(event, &mut intake).await,
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
        request: ApiGatewayV2httpRequest,
        intake: &mut Intake<'_, S, R>,
        invocation: &Invocation,
    ) -> Answer {
        let origin = Origin { name: invocation.request_id.clone(), group: 0 };
        let answer = match http::read(&request) {
            Ok(posted) => {
                self.take(posted.format, &posted.body, posted.date_order, &origin, intake).await;
                intake.deliver().await;
                http::answer(&intake.summary)
            }
            Err(answer) => answer,
        };
        Answer::Http(Box::new(answer.into_response()))
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

    async fn objects(&self, event: S3Event, intake: &mut Intake<'_, S, R>) -> Result<Answer, IngestError> {
        for record in &event.records {
            let outcome = self.object(record, intake).await;
            intake.deliver().await;
            outcome.inspect_err(|error| intake.miss(error.to_string()))?;
            fail_if_undelivered(intake)?;
        }
        Ok(Answer::Summary(intake.summary.clone()))
    }

    async fn object(&self, record: &S3EventRecord, intake: &mut Intake<'_, S, R>) -> Result<(), IngestError> {
        let bucket = record.s3.bucket.name.as_deref().unwrap_or_default();
        let key = &decoded(record.s3.object.key.as_deref().unwrap_or_default());
        let origin = Origin { name: format!("{bucket}/{key}"), group: 0 };
        let Some((format, gzip)) = format_of(key) else {
            let detail = "the key ends in no known way: .csv, .json, .ndjson or .jsonl, or one of these and .gz, is right";
            let refused = Refused { reason: "unknown_format", detail: detail.to_owned() };
            intake.refuse(refused, Bytes::new(), &origin);
            return Ok(());
        };
        let mut object = self.objects.open(bucket, key).await.map_err(IngestError::Unreadable)?;
        let order = match ["date_order", "date-order"]
            .iter()
            .find_map(|name| object.metadata(name))
            .map(str::parse)
        {
            None => None,
            Some(Ok(order)) => Some(order),
            Some(Err(detail)) => {
                intake.refuse(Refused { reason: "bad_date_order", detail }, Bytes::new(), &origin);
                return Ok(());
            }
        };
        let mut inflate = if gzip { Inflate::gzip(OBJECT_BYTES) } else { Inflate::plain() };
        let normaliser = self.normaliser(order);
        let mut rows = Rows::new(&self.config.common.dataset, format);
        loop {
            let chunk = object.chunk().await.map_err(IngestError::Unreadable)?;
            let mut read = Ok(());
            for step in chunk.as_deref().unwrap_or_default().chunks(inflate.step_bytes()) {
                read = inflate.push(step, |text| rows.push(text));
                if read.is_err() {
                    break;
                }
                intake.take_all(&mut rows, &normaliser, &origin).await;
            }
            if chunk.is_none() {
                read = inflate.finish(|text| rows.push(text));
            }
            if chunk.is_none() || read.is_err() {
                rows.finish();
            }
            intake.take_all(&mut rows, &normaliser, &origin).await;
            if let Err(error) = read {
                let refused = Refused { reason: "bad_gzip", detail: error.to_string() };
                intake.refuse(refused, Bytes::new(), &origin);
                return Ok(());
            }
            if chunk.is_none() {
                return Ok(());
            }
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
        let dataset = &self.config.common.dataset;
        Normaliser::new(dataset, order.unwrap_or(dataset.date_order))
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
