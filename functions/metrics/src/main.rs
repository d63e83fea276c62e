//! The metrics function of AWS Lambda.

use aws_sdk_cloudwatch::Client as CloudWatch;
use lambda_runtime::{Error, tracing};
use metrics::{
    cloudwatch::CountMetric,
    handler::{Config, Handler},
};
use shared::{
    audit::latency::EVENT_TO_METRIC,
    aws::{DeliveryStream, LatencyMetric, Namespace, sdk_config},
    lambda::runtime::serve,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::read(&|name| std::env::var(name).ok())?;
    let sdk = sdk_config().await;
    let dimensions = config.common.dataset.metric.dimensions.iter().map(|(name, _)| name.clone());
    let handler = Handler {
        metric: CountMetric::new(
            Namespace::new(CloudWatch::new(&sdk), &config.namespace),
            &config.name,
            dimensions,
            LatencyMetric::new(EVENT_TO_METRIC, &config.common),
        ),
        rejects: DeliveryStream::new(&sdk, &config.common.rejects_delivery_stream),
        config,
    };
    serve(async |event, invocation| Box::pin(handler.handle(event, invocation)).await).await
}
