//! The Glue catalog: where partitions are registered.

use std::future::Future;

use aws_sdk_glue::{
    Client,
    types::{PartitionInput, StorageDescriptor},
};
use shared::{
    aws::Request,
    delivery::{Failure, Fault},
};
use tokio::sync::OnceCell;

use crate::partitions::Partition;

/// Partitions in a call.
///
/// Source: Glue web API reference, `BatchCreatePartition`.
const BATCH_CREATE_PARTITION: usize = 100;

/// Where partitions are registered.
pub trait Catalog {
    /// Registers partitions; one that exists already is as good as registered. Gives those that now are.
    fn register(&self, partitions: &[Partition]) -> impl Future<Output = Result<Vec<Partition>, Failure>>;
}

/// A table of the Glue catalog.
#[derive(Debug)]
pub struct Table {
    client: Client,
    database: String,
    name: String,
    resource: String,
    /// How the table's objects are stored, which its partitions share; read once.
    storage: OnceCell<StorageDescriptor>,
}

impl Table {
    /// The table of that name.
    #[must_use]
    pub fn new(client: Client, database: &str, name: &str) -> Self {
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
                let request = Request { action: "glue:GetTable", resource: &self.resource };
                let answer =
                    self.client.get_table().database_name(&self.database).name(&self.name).send().await;
                let answer = answer.map_err(|error| request.failure(&error))?;
                answer.table.and_then(|table| table.storage_descriptor).ok_or_else(|| Failure {
                    fault: Fault::Permanent,
                    detail: format!("{} has no storage descriptor: deploy the stack again", self.resource),
                })
            })
            .await
    }

    async fn create(&self, partitions: &[Partition]) -> Result<Vec<Partition>, Failure> {
        let storage = self.storage().await?;
        let base = storage.location().unwrap_or_default().trim_end_matches('/');
        let inputs = partitions.iter().map(|partition| {
            let mut storage = storage.clone();
            storage.location = Some(format!("{base}/{}", partition.prefix()));
            PartitionInput::builder()
                .set_values(Some(partition.values().to_vec()))
                .storage_descriptor(storage)
                .build()
        });
        let request = Request { action: "glue:BatchCreatePartition", resource: &self.resource };
        let answer = self
            .client
            .batch_create_partition()
            .database_name(&self.database)
            .table_name(&self.name)
            .set_partition_input_list(Some(inputs.collect()))
            .send()
            .await
            .map_err(|error| request.failure(&error))?;
        let refused: Vec<_> = answer
            .errors()
            .iter()
            .filter(|error| {
                error.error_detail().and_then(|detail| detail.error_code()) != Some("AlreadyExistsException")
            })
            .map(|error| error.partition_values().to_vec())
            .collect();
        Ok(partitions
            .iter()
            .filter(|partition| !refused.contains(&partition.values().to_vec()))
            .copied()
            .collect())
    }
}

impl Catalog for Table {
    async fn register(&self, partitions: &[Partition]) -> Result<Vec<Partition>, Failure> {
        let mut registered = Vec::new();
        for partitions in partitions.chunks(BATCH_CREATE_PARTITION) {
            registered.extend(self.create(partitions).await?);
        }
        Ok(registered)
    }
}
