//! S3: opens objects as their events name them, streams them, and stores checkpoints.

use std::{borrow::Cow, collections::HashMap, future::Future};

use aws_lambda_events::s3::S3EventRecord;
use aws_sdk_s3::{
    Client,
    config::retry::RetryConfig,
    error::ProvideErrorMetadata,
    operation::get_object::{GetObjectError, GetObjectOutput},
    primitives::ByteStream,
};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use shared::{
    aws::Operation,
    delivery::{Failure, Fault},
};

use crate::checkpoint::Checkpoints;

/// One put of an object, as its event names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectVersion {
    /// The bucket.
    pub bucket: String,
    /// The key, decoded.
    pub key: String,
    /// The version that the put made, in a bucket that has versions.
    pub version_id: Option<String>,
    /// The entity tag, without quotes.
    pub etag: Option<String>,
    /// The order of the puts of a key.
    pub sequencer: Option<String>,
}

impl ObjectVersion {
    /// The object that a record of an event is about.
    #[must_use]
    pub fn of(record: &S3EventRecord) -> Self {
        let object = &record.s3.object;
        let stated = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
        Self {
            bucket: record.s3.bucket.name.clone().unwrap_or_default(),
            key: decoded(object.key.as_deref().unwrap_or_default()),
            // The null version of a bucket with suspended versioning can be overwritten, like an object without
            // versions.
            version_id: stated(&object.version_id).filter(|version| version != "null"),
            etag: stated(&object.e_tag),
            sequencer: stated(&object.sequencer),
        }
    }

    /// Bucket and key.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.bucket, self.key)
    }

    /// An identifier of this put of the key; an event that arrives twice has the same.
    #[must_use]
    pub fn put_id(&self) -> &str {
        [&self.version_id, &self.sequencer, &self.etag]
            .into_iter()
            .find_map(Option::as_deref)
            .unwrap_or_default()
    }
}

/// Decodes a key: S3 encodes a blank as a plus in its events, and percent-encodes special characters.
fn decoded(key: &str) -> String {
    let key: Cow<'_, str> = if key.contains('+') { key.replace('+', " ").into() } else { key.into() };
    percent_decode_str(&key).decode_utf8_lossy().into_owned()
}

/// Where objects are read from.
pub trait Objects {
    /// The type of an object being read.
    type Object: Object;

    /// Opens that put of an object, and no other, from that byte on. Opened at its end, it has no chunk.
    fn open(&self, object: &ObjectVersion, from: u64) -> impl Future<Output = Result<Self::Object, Failure>>;
}

/// An object being read.
pub trait Object {
    /// The user-defined metadata of that name.
    fn metadata(&self, name: &str) -> Option<&str>;

    /// The content type, if it has one.
    fn content_type(&self) -> Option<&str>;

    /// Size of the whole object in bytes, unless it was opened at its end.
    fn size(&self) -> Option<u64>;

    /// The next chunk; `None` at the end.
    fn chunk(&mut self) -> impl Future<Output = Result<Option<Bytes>, Failure>>;
}

/// Buckets of S3. The SDK retries its requests, because nothing else does.
#[derive(Debug, Clone)]
pub struct Buckets(Client);

/// An object of S3 being read.
#[derive(Debug)]
pub struct Download {
    metadata: HashMap<String, String>,
    content_type: Option<String>,
    size: Option<u64>,
    body: ByteStream,
    name: String,
}

impl Buckets {
    /// The buckets that the client can access.
    #[must_use]
    pub fn new(config: &aws_config::SdkConfig) -> Self {
        let config = aws_sdk_s3::config::Builder::from(config)
            .retry_config(RetryConfig::standard())
            // Endpoints other than AWS do not resolve a bucket in the host name.
            .force_path_style(config.endpoint_url().is_some())
            .build();
        Self(Client::from_conf(config))
    }

    /// The client of these buckets.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0
    }

    /// A whole object; `None` if there is no object with that key.
    pub async fn get(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, Failure> {
        let resource = format!("object {bucket}/{key}");
        let request = Operation { action: "s3:GetObject", resource: &resource };
        let answer = match self.0.get_object().bucket(bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if error.as_service_error().is_some_and(GetObjectError::is_no_such_key) => {
                return Ok(None);
            }
            Err(error) => return Err(request.failure(&error)),
        };
        let body = answer.body.collect().await.map_err(|_| broken_off(&resource))?;
        Ok(Some(body.into_bytes()))
    }

    /// Writes an object.
    pub async fn put(&self, bucket: &str, key: &str, body: Bytes) -> Result<(), Failure> {
        let resource = format!("object {bucket}/{key}");
        let request = Operation { action: "s3:PutObject", resource: &resource };
        let call = self.0.put_object().bucket(bucket).key(key).body(body.into());
        call.send().await.map(|_| ()).map_err(|error| request.failure(&error))
    }
}

fn broken_off(resource: &str) -> Failure {
    Failure { fault: Fault::Transient, detail: format!("reading {resource} broke off") }
}

impl Objects for Buckets {
    type Object = Download;

    async fn open(&self, object: &ObjectVersion, from: u64) -> Result<Download, Failure> {
        let name = format!("object {}", object.name());
        let mut call = self.0.get_object().bucket(&object.bucket).key(&object.key);
        let mut request = Operation { action: "s3:GetObject", resource: &name };
        if let Some(version) = &object.version_id {
            call = call.version_id(version);
            request = Operation { action: "s3:GetObjectVersion", ..request };
        } else if let Some(etag) = &object.etag {
            // Without a version, the newest object is read: it must still be the one of the event.
            call = call.if_match(format!("\"{etag}\""));
        }
        if from > 0 {
            call = call.range(format!("bytes={from}-"));
        }
        match call.send().await {
            Ok(answer) => Ok(Download::of(answer, name.clone())),
            // The object was read up to here before; nothing remains.
            Err(error) if from > 0 && error.code() == Some("InvalidRange") => Ok(Download {
                metadata: HashMap::new(),
                content_type: None,
                size: None,
                body: ByteStream::default(),
                name: name.clone(),
            }),
            Err(error) => Err(request.failure(&error)),
        }
    }
}

impl Download {
    fn of(answer: GetObjectOutput, name: String) -> Self {
        // For a range, the content length is that of the range: `bytes 100-199/200`.
        let whole = answer.content_range.as_deref().and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        let length = answer.content_length.and_then(|length| u64::try_from(length).ok());
        let size = if answer.content_range.is_some() { whole } else { length };
        let metadata = answer.metadata.unwrap_or_default();
        Self { metadata, content_type: answer.content_type, size, body: answer.body, name }
    }
}

impl Object for Download {
    fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }

    fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    fn size(&self) -> Option<u64> {
        self.size
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        self.body.try_next().await.map_err(|_| broken_off(&self.name))
    }
}

impl Checkpoints for Buckets {
    async fn load(&self, bucket: &str, name: &str) -> Result<Option<Bytes>, Failure> {
        self.get(bucket, name).await
    }

    async fn save(&self, bucket: &str, name: &str, checkpoint: Bytes) -> Result<(), Failure> {
        self.put(bucket, name, checkpoint).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn version(object: &Value) -> ObjectVersion {
        let mut event: Value = serde_json::from_str(include_str!("../../../events/ingest-s3.json")).unwrap();
        event["Records"][0]["s3"]["object"] = object.clone();
        ObjectVersion::of(&serde_json::from_value(event["Records"][0].clone()).unwrap())
    }

    #[test]
    fn keys_are_decoded() {
        for (key, decoded) in [
            ("morning+rows/a%2Bb+%C3%B1.csv", "morning rows/a+b ñ.csv"),
            ("100%25.csv", "100%.csv"),
            ("A.CSV", "A.CSV"),
        ] {
            assert_eq!(version(&json!({"key": key})).key, decoded);
        }
    }

    #[test]
    fn a_put_is_named_by_its_version_else_sequencer_else_etag() {
        for (object, id) in [
            (json!({"versionId": "v", "sequencer": "s", "eTag": "e"}), "v"),
            (json!({"versionId": "null", "sequencer": "s", "eTag": "e"}), "s"),
            (json!({"versionId": "", "sequencer": null, "eTag": "e"}), "e"),
            (json!({}), ""),
        ] {
            assert_eq!(version(&object).put_id(), id, "{object}");
        }
    }
}
