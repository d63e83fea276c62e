//! S3 objects, streamed.

use std::future::Future;

use aws_sdk_s3::{Client, config::retry::RetryConfig, primitives::ByteStream};
use bytes::Bytes;
use shared::{
    aws::Request,
    delivery::{Failure, Fault},
};

/// Where objects are read from.
pub trait Objects {
    /// An object being read.
    type Object: Object;

    /// Opens an object.
    fn open(&self, bucket: &str, key: &str) -> impl Future<Output = Result<Self::Object, Failure>>;
}

/// An object being read.
pub trait Object {
    /// The user-defined metadata of that name.
    fn metadata(&self, name: &str) -> Option<&str>;

    /// The next chunk; `None` at the end.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, Failure>>;
}

/// Buckets of S3.
#[derive(Debug, Clone)]
pub struct Buckets(Client);

/// An object of S3 being read.
#[derive(Debug)]
pub struct Download {
    metadata: std::collections::HashMap<String, String>,
    body: ByteStream,
    name: String,
}

impl Buckets {
    /// The buckets that the client reaches. Opening an object is retried as the SDK has it: nothing else retries it.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        let config = aws_sdk_s3::config::Builder::from(config)
            .retry_config(RetryConfig::standard())
            // Endpoints other than AWS do not resolve a bucket in the host's name.
            .force_path_style(config.endpoint_url().is_some())
            .build();
        Self(Client::from_conf(config))
    }
}

impl Objects for Buckets {
    type Object = Download;

    async fn open(&self, bucket: &str, key: &str) -> Result<Download, Failure> {
        let name = format!("object {bucket}/{key}");
        let request = Request { action: "s3:GetObject", resource: &name };
        let answer = self.0.get_object().bucket(bucket).key(key).send().await;
        let answer = answer.map_err(|error| request.failure(&error))?;
        let metadata = answer.metadata.unwrap_or_default();
        Ok(Download { metadata, body: answer.body, name })
    }
}

impl Object for Download {
    fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        self.body.try_next().await.map_err(|_| Failure {
            fault: Fault::Transient,
            detail: format!("reading {} broke off", self.name),
        })
    }
}
