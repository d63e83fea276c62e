//! The functions as deployed, with ports that prepare requests as for the services and count them, but send nothing.

use std::{sync::Mutex, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use fakes::{LIMITS, Registry, RepeatedObject, Scripted};
use metrics::{aggregate::DataRequest, cloudwatch::CountMetric};
use notify::{pace::NextTurn, sns::Topic, word::Alert};
use shared::{
    audit::latency::{EVENT_TO_ALERT, EVENT_TO_METRIC, LatencySample},
    aws::{DeliveryStream, Latencies, LatencyMetric, Namespace, Stream},
    lambda::{config::ConfigError, invocation::Invocation},
    stream::StreamRecord,
};
use transform::partitions::{Partition, Registered};

pub(crate) type Ingest = ingest::handler::Handler<Scripted<StreamRecord>, Scripted<Bytes>, RepeatedObject>;
pub(crate) type Transform = transform::handler::Handler<
    Scripted<StreamRecord>,
    Scripted<Bytes>,
    Scripted<Bytes>,
    Registry<Scripted<Partition>>,
>;
pub(crate) type Metrics = metrics::handler::Handler<Scripted<DataRequest>, Scripted<Bytes>>;
pub(crate) type Notify = notify::handler::Handler<Scripted<Alert>, Scripted<LatencySample>, Scripted<Bytes>>;

/// Bytes of a chunk of an object, as they arrive from the network.
const CHUNK: usize = 64 * 1024;

/// The parameters of the stack at their defaults.
fn variables(name: &str) -> Option<String> {
    let value = match name {
        "RAW_STREAM" => "us-accidents-data-stream-1-dev",
        "SEVERE_STREAM" => "us-accidents-data-stream-2-dev",
        "ANALYTICAL_DELIVERY_STREAM" => "us-accidents-analytical-dev",
        "ALERTS_DELIVERY_STREAM" => "us-accidents-alerts-dev",
        "REJECTS_DELIVERY_STREAM" => "us-accidents-rejects-dev",
        "GLUE_DATABASE" => "us_accidents_dev",
        "GLUE_TABLE" => "us_accidents_analytical",
        "TOPIC_ARN" => "arn:aws:sns:eu-west-1:000000000000:us-accidents-alerts-dev",
        // The pauses between messages are not measured.
        "ALERTS_PER_SECOND" => "0",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The configuration of clients that are never called.
fn sdk_config() -> SdkConfig {
    SdkConfig::builder().behavior_version(BehaviorVersion::latest()).build()
}

/// An object with that text.
pub(crate) fn once(text: Bytes) -> RepeatedObject {
    RepeatedObject::new(Bytes::new(), text, 1, CHUNK)
}

/// An object with the rows of that CSV, repeated so many times.
pub(crate) fn repeated(csv: &Bytes, blocks: u64) -> RepeatedObject {
    let header = csv.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    RepeatedObject::new(csv.slice(..header), csv.slice(header..), blocks, CHUNK)
}

/// A delivery stream that accepts everything.
fn delivery() -> Scripted<Bytes> {
    Scripted::like(DeliveryStream::new(&sdk_config(), "rejects"))
}

pub(crate) fn ingest(objects: RepeatedObject) -> Result<Ingest, ConfigError> {
    Ok(Ingest {
        config: ingest::handler::Config::read(&variables)?,
        stream: Scripted::like(Stream::new(&sdk_config(), "raw")),
        rejects: delivery(),
        objects,
    })
}

pub(crate) fn transform() -> Result<Transform, ConfigError> {
    Ok(Transform {
        config: transform::handler::Config::read(&variables)?,
        severe: Scripted::like(Stream::new(&sdk_config(), "severe")),
        analytical: Scripted::like(DeliveryStream::new(&sdk_config(), "analytical")),
        rejects: delivery(),
        catalog: Registry(Scripted::counting(LIMITS, |_| 1)),
        registered: Mutex::new(Registered::default()),
    })
}

pub(crate) fn metrics() -> Result<Metrics, ConfigError> {
    let config = metrics::handler::Config::read(&variables)?;
    let dimensions = config.common.dataset.metric.dimensions.iter().map(|(name, _)| name.clone());
    let metric = CountMetric::new(
        Namespace::new(aws_sdk_cloudwatch::Client::new(&sdk_config()), &config.namespace),
        &config.name,
        dimensions,
        LatencyMetric::new(EVENT_TO_METRIC, &config.common),
    );
    Ok(Metrics { metric: Scripted::like(metric), rejects: delivery(), config })
}

pub(crate) fn notify() -> Result<Notify, ConfigError> {
    let config = notify::handler::Config::read(&variables)?;
    let topic = Topic::new(aws_sdk_sns::Client::new(&sdk_config()), &config.topic_arn);
    let latency = Latencies {
        namespace: Namespace::new(aws_sdk_cloudwatch::Client::new(&sdk_config()), &config.namespace),
        metric: LatencyMetric::new(EVENT_TO_ALERT, &config.common),
    };
    Ok(Notify {
        topic: Scripted::like(topic),
        latency: Scripted::like(latency),
        alerts: delivery(),
        rejects: delivery(),
        memory: Mutex::default(),
        turn: NextTurn::default(),
        config,
    })
}

/// An invocation with an hour left.
pub(crate) fn invocation(at: DateTime<Utc>) -> Invocation {
    invocation_of(at, Duration::from_hours(1))
}

/// An invocation with that time left.
pub(crate) fn invocation_of(at: DateTime<Utc>, left: Duration) -> Invocation {
    let left = u64::try_from(left.as_millis()).unwrap_or_default();
    let deadline = u64::try_from(at.timestamp_millis()).unwrap_or_default() + left;
    Invocation::begin("bench", deadline, at, 7)
}
