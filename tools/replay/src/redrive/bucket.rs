//! The S3 buckets of the stack.

use aws_config::SdkConfig;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use ingest::s3::Buckets;
use shared::{
    aws::{Operation, glue::Glue},
    delivery::Failure,
};

use super::{ListedObject, Store};
use crate::error::Error;

/// A bucket, and the prefix of the objects that are to be sent.
#[derive(Debug)]
pub(crate) struct Bucket {
    buckets: Buckets,
    name: String,
    /// What the keys begin with.
    pub(crate) prefix: String,
}

impl Bucket {
    /// The bucket of a Glue table, such as the rejects table.
    pub(crate) async fn of_table(config: &SdkConfig, database: &str, table: &str) -> Result<Self, Error> {
        let resource = format!("table {database}.{table}");
        let request = Operation { action: "glue:GetTable", resource: &resource };
        let storage = Glue::new(config).storage(database, table).await;
        let storage = storage.map_err(|error| cloud(request.failure(&error)))?.unwrap_or_default();
        match in_bucket(storage.location()) {
            Some((bucket, prefix)) => {
                Ok(Self { buckets: Buckets::new(config), name: bucket.to_owned(), prefix })
            }
            None => Err(Error::Cloud(format!("the {resource} is not in S3: deploy the stack again"))),
        }
    }

    /// Another bucket of the same stack, such as `failures` instead of `rejects`, without a prefix. The names of a
    /// stack's buckets differ only in that part.
    pub(crate) fn sibling(&self, part: &str, other: &str) -> Result<Self, Error> {
        let region = self.buckets.client().config().region().map(ToString::to_string).unwrap_or_default();
        let name = sibling(&self.name, &region, part, other).ok_or_else(|| {
            Error::Cloud(format!(
                "the name of bucket {} is not <company>-{part}-{region}-<account>-<environment>: deploy the stack again",
                self.name
            ))
        })?;
        Ok(Self { buckets: self.buckets.clone(), name, prefix: String::new() })
    }
}

fn cloud(failure: Failure) -> Error {
    Error::Cloud(failure.detail)
}

/// `perishable-failures-eu-west-1-…` of `perishable-rejects-eu-west-1-…`.
fn sibling(name: &str, region: &str, part: &str, other: &str) -> Option<String> {
    let (company, rest) = name.split_once(&format!("-{part}-{region}-"))?;
    Some(format!("{company}-{other}-{region}-{rest}"))
}

/// The bucket and the prefix, with a final slash, of `s3://<bucket>/<prefix>`.
fn in_bucket(location: &str) -> Option<(&str, String)> {
    let (bucket, prefix) = location.strip_prefix("s3://")?.split_once('/')?;
    let prefix = prefix.trim_end_matches('/');
    Some((bucket, if prefix.is_empty() { String::new() } else { format!("{prefix}/") }))
}

impl Store for Bucket {
    async fn list(&self, prefix: &str) -> Result<Vec<ListedObject>, Error> {
        let resource = format!("bucket {}", self.name);
        let request = Operation { action: "s3:ListBucket", resource: &resource };
        let call = self.buckets.client().list_objects_v2().bucket(&self.name).prefix(prefix);
        let mut pages = call.into_paginator().send();
        let mut listed = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| cloud(request.failure(&error)))?;
            listed.extend(page.contents().iter().filter_map(|object| {
                let written = object.last_modified()?;
                let written: DateTime<Utc> =
                    DateTime::from_timestamp(written.secs(), written.subsec_nanos())?;
                Some(ListedObject { key: object.key()?.to_owned(), written })
            }));
        }
        Ok(listed)
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.buckets.get(&self.name, key).await.map_err(cloud)
    }

    async fn put(&self, key: &str, body: Vec<u8>) -> Result<(), Error> {
        self.buckets.put(&self.name, key, body.into()).await.map_err(cloud)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_found_by_location_and_by_name() {
        for (location, expected) in [
            (
                "s3://rejects/traffic/us/us_accidents_rejects/",
                Some(("rejects", "traffic/us/us_accidents_rejects/")),
            ),
            ("s3://rejects/table", Some(("rejects", "table/"))),
            ("s3://rejects/", Some(("rejects", ""))),
            ("file:///rejects", None),
            ("", None),
        ] {
            let found = in_bucket(location);
            assert_eq!(
                found.as_ref().map(|(bucket, prefix)| (*bucket, prefix.as_str())),
                expected,
                "{location}"
            );
        }
        let other = |name: &str| sibling(name, "eu-west-1", "rejects", "failures");
        assert_eq!(
            other("the-rejects-rejects-eu-west-1-000000000000-dev").as_deref(),
            Some("the-rejects-failures-eu-west-1-000000000000-dev")
        );
        assert_eq!(other("some-bucket"), None);
    }
}
