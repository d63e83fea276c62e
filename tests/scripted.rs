//! Handlers over services that answer from a script, with the default configuration.

use std::sync::Mutex;

use bytes::Bytes;
use fakes::{Inbox, Registry, Scripted, catalog, firehose, invocation, stream, variable};
use ingest::error::IngestError;
use serde_json::Value;
use shared::{lambda::config::ConfigError, stream::StreamRecord};
use transform::partitions::{Partition, Registered};

/// The handler of ingest.
pub type Ingest = ingest::handler::Handler<Scripted<StreamRecord>, Scripted<Bytes>, Inbox>;

/// The handler of transform.
pub type Transform = transform::handler::Handler<
    Scripted<StreamRecord>,
    Scripted<Bytes>,
    Scripted<Bytes>,
    Registry<Scripted<Partition>>,
>;

/// The handler of ingest.
#[must_use]
pub fn ingest() -> Ingest {
    Ingest {
        config: read(ingest::handler::Config::read(&variable)),
        stream: stream(),
        rejects: firehose(),
        objects: Inbox::default(),
    }
}

/// The handler of transform.
#[must_use]
pub fn transform() -> Transform {
    Transform {
        config: read(transform::handler::Config::read(&variable)),
        severe: stream(),
        analytical: firehose(),
        rejects: firehose(),
        catalog: catalog(),
        registered: Mutex::new(Registered::default()),
    }
}

/// Invokes ingest with an event; returns its answer.
///
/// # Errors
///
/// Those of the handler.
///
/// # Panics
///
/// When the answer is not JSON.
pub async fn handle(ingest: &Ingest, event: &str) -> Result<Value, IngestError> {
    let answer = ingest.handle(event, &invocation()).await?;
    Ok(serde_json::to_value(answer).unwrap_or_else(|error| panic!("{error}")))
}

/// The body of an answer to HTTP.
///
/// # Panics
///
/// When it is not JSON.
#[must_use]
pub fn body(answer: &Value) -> Value {
    let body = answer["body"].as_str().unwrap_or_default();
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}"))
}

fn read<C>(config: Result<C, ConfigError>) -> C {
    config.unwrap_or_else(|error| panic!("{error}"))
}
