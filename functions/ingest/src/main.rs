//! The ingest function of AWS Lambda.

use ingest::{
    handler::{Config, Handler},
    s3::Buckets,
};
use lambda_runtime::{Error, tracing};
use shared::{
    aws::{DeliveryStream, Stream, sdk_config},
    lambda::runtime::serve,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::read(&|name| std::env::var(name).ok())?;
    let sdk = sdk_config().await;
    let handler = Handler {
        stream: Stream::new(&sdk, &config.raw_stream),
        rejects: DeliveryStream::new(&sdk, &config.common.rejects_delivery_stream),
        objects: Buckets::new(&sdk),
        config,
    };
    serve(async |event, invocation| Box::pin(handler.handle(event, invocation)).await).await
}
