//! The Glue catalog, which stores the table's partitions.

use std::{collections::BTreeMap, future::Future};

use shared::{
    aws::{
        Operation,
        glue::{Glue, PartitionError, PartitionInput, StorageDescriptor},
    },
    delivery::{Failure, Fault},
};
use tokio::sync::OnceCell;

use crate::partitions::Partition;

/// Partitions in one request.
///
/// Source: Glue web API reference, `BatchCreatePartition`.
const BATCH_CREATE_PARTITION: usize = 100;
/// The error code for a partition that is registered already.
const ALREADY_EXISTS: &str = "AlreadyExistsException";
/// Refused partitions that a log line names.
const NAMED: usize = 5;

/// Where partitions are registered.
pub trait Catalog {
    /// Registers partitions. Returns those that are registered now, including those that already were.
    fn register(&self, partitions: &[Partition]) -> impl Future<Output = Result<Vec<Partition>, Failure>>;
}

/// A table of the Glue catalog.
#[derive(Debug)]
pub struct Table {
    client: Glue,
    database: String,
    name: String,
    resource: String,
    /// The storage descriptor of the table, which its partitions share; read once.
    storage: OnceCell<StorageDescriptor>,
}

impl Table {
    /// The table of that name.
    #[must_use]
    pub fn new(client: Glue, database: &str, name: &str) -> Self {
        Self {
            client,
            database: database.to_owned(),
            name: name.to_owned(),
            resource: format!("Glue table {database}.{name}"),
            storage: OnceCell::new(),
        }
    }

    async fn storage(&self) -> Result<&StorageDescriptor, Failure> {
        self.storage
            .get_or_try_init(|| async {
                let request = Operation { action: "glue:GetTable", resource: &self.resource };
                let storage = self.client.storage(&self.database, &self.name).await;
                storage.map_err(|error| request.failure(&error))?.ok_or_else(|| Failure {
                    fault: Fault::Permanent,
                    detail: format!("{} has no storage descriptor: deploy the stack again", self.resource),
                })
            })
            .await
    }

    async fn create(&self, partitions: &[Partition]) -> Result<Vec<Partition>, Failure> {
        let storage = self.storage().await?;
        let base = storage.location().trim_end_matches('/');
        let input = |partition: &Partition| PartitionInput {
            values: partition.values().to_vec(),
            storage_descriptor: storage.at(format!("{base}/{}", partition.prefix())),
        };
        let inputs: Vec<_> = partitions.iter().map(input).collect();
        let request = Operation { action: "glue:BatchCreatePartition", resource: &self.resource };
        let errors = self.client.create_partitions(&self.database, &self.name, &inputs).await;
        let errors = errors.map_err(|error| request.failure(&error))?;
        let refused = refused(&errors);
        for (code, refused) in &refused {
            let partitions = named(refused);
            tracing::warn!(code, count = refused.len(), partitions, "Glue refused partitions");
        }
        Ok(registered(partitions, &refused))
    }
}

/// The partitions that a response refuses, by error code and named by their values.
fn refused(errors: &[PartitionError]) -> BTreeMap<&str, Vec<&[String]>> {
    let mut refused: BTreeMap<&str, Vec<&[String]>> = BTreeMap::new();
    for error in errors {
        let detail = error.error_detail.as_ref();
        let code = detail.and_then(|detail| detail.error_code.as_deref()).unwrap_or("an unnamed error");
        if code != ALREADY_EXISTS {
            refused.entry(code).or_default().push(&error.partition_values);
        }
    }
    refused
}

/// The first partitions of a list as a short text for the log.
fn named(partitions: &[&[String]]) -> String {
    let named: Vec<String> = partitions.iter().take(NAMED).map(|values| values.join("/")).collect();
    let more = if partitions.len() > NAMED { ", …" } else { "" };
    format!("{}{more}", named.join(", "))
}

/// The partitions of a request that the response does not refuse. If it refuses a partition that is not in the request,
/// it is unclear which one is meant, and none counts as registered.
fn registered(partitions: &[Partition], refused: &BTreeMap<&str, Vec<&[String]>>) -> Vec<Partition> {
    let mut registered: Vec<Partition> = partitions.to_vec();
    for values in refused.values().flatten() {
        if !partitions.iter().any(|partition| partition.values() == **values) {
            return Vec::new();
        }
        registered.retain(|partition| partition.values() != **values);
    }
    registered
}

impl Catalog for Table {
    async fn register(&self, partitions: &[Partition]) -> Result<Vec<Partition>, Failure> {
        let mut registered = Vec::new();
        for partitions in partitions.chunks(BATCH_CREATE_PARTITION) {
            match self.create(partitions).await {
                Ok(created) => registered.extend(created),
                Err(failure) if registered.is_empty() => return Err(failure),
                // A partition that is registered stays registered.
                Err(failure) => {
                    tracing::warn!(why = failure.detail, "could not register some partitions");
                    break;
                }
            }
        }
        Ok(registered)
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use shared::aws::glue::ErrorDetail;

    use super::*;
    use crate::partitions::Registered;

    fn error(values: &[String], code: Option<&str>) -> PartitionError {
        let error_detail = code.map(|code| ErrorDetail { error_code: Some(code.to_owned()) });
        PartitionError { partition_values: values.to_vec(), error_detail }
    }

    /// The partitions of severities 1 to 7 on a day.
    fn partitions() -> Vec<Partition> {
        let noon: DateTime<Utc> = "2022-12-24T12:00:00Z".parse().unwrap();
        Registered::default().due(1..=7, noon)
    }

    #[test]
    fn existing_partitions_count_as_registered_refused_ones_do_not() {
        let partitions = partitions();
        let values = |index: usize| partitions[index].values();
        let errors = [
            error(&values(5), Some("ResourceNumberLimitExceededException")),
            error(&values(1), Some("AlreadyExistsException")),
            error(&values(2), Some("ResourceNumberLimitExceededException")),
            error(&values(0), None),
        ];
        let refused = refused(&errors);
        let codes: Vec<_> = refused.iter().map(|(code, refused)| (*code, named(refused))).collect();
        let expected = [
            ("ResourceNumberLimitExceededException", "6/2022/12/24, 3/2022/12/24"),
            ("an unnamed error", "1/2022/12/24"),
        ];
        assert_eq!(codes, expected.map(|(code, named)| (code, named.to_owned())));
        let severities: Vec<_> =
            registered(&partitions, &refused).iter().map(|partition| partition.severity).collect();
        assert_eq!(severities, [2, 4, 5, 7]);
        assert_eq!(registered(&partitions, &BTreeMap::new()), partitions);
    }

    #[test]
    fn unknown_refused_partition_means_none_is_registered() {
        let partitions = partitions();
        for values in [&[][..], &["8", "2022", "12", "24"].map(str::to_owned)] {
            let errors = [error(values, Some("InternalServiceException"))];
            assert_eq!(registered(&partitions, &refused(&errors)), []);
        }
    }

    #[test]
    fn log_line_names_the_first_refused_partitions() {
        let values: Vec<_> = partitions().iter().map(Partition::values).collect();
        let refused: Vec<&[String]> = values.iter().map(<[String; 4]>::as_slice).collect();
        assert!(named(&refused).ends_with("5/2022/12/24, …"), "{}", named(&refused));
        assert!(named(&refused[..5]).ends_with("5/2022/12/24"));
    }
}
