//! A hello world with one SDK client: the least that a cold start takes.

use aws_config::BehaviorVersion;
use aws_sdk_sns::Client;
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use serde_json::{Value, json};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let config = aws_config::defaults(BehaviorVersion::latest()).http_client(http).load().await;
    let client = Client::new(&config);
    let client = &client;
    run(service_fn(|_: LambdaEvent<Value>| async move {
        let region = client.config().region().map(ToString::to_string);
        Ok::<_, Error>(json!({"hello": region}))
    }))
    .await
}
