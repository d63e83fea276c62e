//! The transform function of AWS Lambda.

use std::sync::Mutex;

use lambda_runtime::{Error, tracing};
use shared::{
    aws::{DeliveryStream, Stream, glue::Glue, sdk_config},
    lambda::runtime::serve,
};
use transform::{
    glue::Table,
    handler::{Config, Handler},
    partitions::Registered,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let config = Config::read(&|name| std::env::var(name).ok())?;
    let sdk = sdk_config().await;
    let handler = Handler {
        severe: Stream::new(&sdk, &config.severe_stream),
        analytical: DeliveryStream::new(&sdk, &config.analytical_delivery_stream),
        rejects: DeliveryStream::new(&sdk, &config.common.rejects_delivery_stream),
        catalog: Table::new(Glue::new(&sdk), &config.glue_database, &config.glue_table),
        registered: Mutex::new(Registered::default()),
        config,
    };
    serve(async |event, invocation| Box::pin(handler.handle(event, invocation)).await).await
}
