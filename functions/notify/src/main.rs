//! The notify function of AWS Lambda.

use std::sync::Mutex;

use aws_sdk_cloudwatch::Client as CloudWatch;
use aws_sdk_sns::Client as Sns;
use lambda_runtime::{Error, tracing};
use notify::{
    handler::{Config, Handler},
    pace::NextTurn,
    sns::Topic,
};
use shared::{
    audit::latency::EVENT_TO_ALERT,
    aws::{DeliveryStream, Latencies, LatencyMetric, Namespace, sdk_config},
    lambda::runtime::serve,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::read(&|name| std::env::var(name).ok())?;
    let sdk = sdk_config().await;
    let handler = Handler {
        topic: Topic::new(Sns::new(&sdk), &config.topic_arn),
        latency: Latencies {
            namespace: Namespace::new(CloudWatch::new(&sdk), &config.namespace),
            metric: LatencyMetric::new(EVENT_TO_ALERT, &config.common),
        },
        alerts: DeliveryStream::new(&sdk, &config.alerts_delivery_stream),
        rejects: DeliveryStream::new(&sdk, &config.common.rejects_delivery_stream),
        memory: Mutex::default(),
        turn: NextTurn::default(),
        config,
    };
    serve(async |event, invocation| Box::pin(handler.handle(event, invocation)).await).await
}
