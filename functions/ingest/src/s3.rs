//! S3: objects, streamed, and the checkpoints of the large ones.

use std::future::Future;

use aws_sdk_s3::{
    Client, config::retry::RetryConfig, operation::get_object::GetObjectError, primitives::ByteStream,
};
use bytes::Bytes;
use shared::{
    aws::Request,
    delivery::{Failure, Fault},
};

use crate::checkpoint::Checkpoints;

/// Where objects are read from.
pub trait Objects {
    /// An object being read.
    type Object: Object;

    /// Opens an object from that byte on. Where it is not read from its beginning, it must still be what it was then,
    /// by its entity tag.
    fn open(
        &self,
        bucket: &str,
        key: &str,
        from: u64,
        etag: &str,
    ) -> impl Future<Output = Result<Self::Object, Failure>>;
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

    async fn open(&self, bucket: &str, key: &str, from: u64, etag: &str) -> Result<Download, Failure> {
        let name = format!("object {bucket}/{key}");
        let request = Request { action: "s3:GetObject", resource: &name };
        let mut call = self.0.get_object().bucket(bucket).key(key);
        if from > 0 {
            call = call.range(format!("bytes={from}-")).if_match(format!("\"{etag}\""));
        }
        let answer = call.send().await.map_err(|error| request.failure(&error))?;
        let metadata = answer.metadata.unwrap_or_default();
        Ok(Download { metadata, body: answer.body, name })
    }
}

impl Checkpoints for Buckets {
    async fn load(&self, bucket: &str, name: &str) -> Result<Option<Bytes>, Failure> {
        let resource = format!("object {bucket}/{name}");
        let request = Request { action: "s3:GetObject", resource: &resource };
        let answer = match self.0.get_object().bucket(bucket).key(name).send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(None);
            }
            Err(error) => return Err(request.failure(&error)),
        };
        let body = answer.body.collect().await.map_err(|_| Failure {
            fault: Fault::Transient,
            detail: format!("reading {resource} broke off"),
        })?;
        Ok(Some(body.into_bytes()))
    }

    async fn save(&self, bucket: &str, name: &str, checkpoint: Bytes) -> Result<(), Failure> {
        let resource = format!("object {bucket}/{name}");
        let request = Request { action: "s3:PutObject", resource: &resource };
        let call = self.0.put_object().bucket(bucket).key(name).body(checkpoint.into());
        call.send().await.map(|_| ()).map_err(|error| request.failure(&error))
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
