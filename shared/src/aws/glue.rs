//! The two operations of Glue that the project uses.

use aws_config::SdkConfig;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    caller::{Call, CallError, Caller},
    endpoint::ServiceName,
};

const GLUE: ServiceName = ServiceName { id: "Glue", host: "glue" };

/// The field of a storage descriptor that differs between partitions.
const LOCATION: &str = "Location";

/// How a table or partition is stored. Its fields are copied as they are, also those that are newer than this code.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StorageDescriptor(Map<String, Value>);

impl StorageDescriptor {
    /// Where the objects are, `s3://<bucket>/<prefix>`; empty if the descriptor does not say.
    #[must_use]
    pub fn location(&self) -> &str {
        self.0.get(LOCATION).and_then(Value::as_str).unwrap_or_default()
    }

    /// The same storage at another location.
    #[must_use]
    pub fn at(&self, location: String) -> Self {
        let mut fields = self.0.clone();
        fields.insert(LOCATION.to_owned(), location.into());
        Self(fields)
    }
}

/// A client of the Glue catalog.
#[derive(Debug)]
pub struct Glue {
    get_table: Caller<Described>,
    create_partitions: Caller<Created>,
}

/// A partition to register.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PartitionInput {
    /// The values of the partition keys.
    pub values: Vec<String>,
    /// Where and how its objects are stored.
    pub storage_descriptor: StorageDescriptor,
}

/// A partition that was not registered.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct PartitionError {
    /// The values of the partition keys.
    pub partition_values: Vec<String>,
    /// The reason.
    pub error_detail: Option<ErrorDetail>,
}

/// Why a partition was not registered.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorDetail {
    /// The error code.
    pub error_code: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Described {
    table: Option<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Table {
    storage_descriptor: Option<StorageDescriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    errors: Option<Vec<PartitionError>>,
}

impl Glue {
    /// The catalog of the configured account and region.
    #[must_use]
    pub fn new(config: &SdkConfig) -> Self {
        Self {
            get_table: caller(config, "GetTable"),
            create_partitions: caller(config, "BatchCreatePartition"),
        }
    }

    /// The storage descriptor of a table, unless it has none.
    ///
    /// # Errors
    ///
    /// When Glue does not answer or refuses the call.
    pub async fn storage(&self, database: &str, table: &str) -> Result<Option<StorageDescriptor>, CallError> {
        let input = json!({"DatabaseName": database, "Name": table});
        let described = self.get_table.call(call("AWSGlue.GetTable", &input)).await?;
        Ok(described.table.and_then(|table| table.storage_descriptor))
    }

    /// Registers partitions, and returns those that Glue refuses.
    ///
    /// # Errors
    ///
    /// When Glue does not answer or refuses the whole call.
    pub async fn create_partitions(
        &self,
        database: &str,
        table: &str,
        partitions: &[PartitionInput],
    ) -> Result<Vec<PartitionError>, CallError> {
        let input = json!({"DatabaseName": database, "TableName": table, "PartitionInputList": partitions});
        let created = self.create_partitions.call(call("AWSGlue.BatchCreatePartition", &input)).await?;
        Ok(created.errors.unwrap_or_default())
    }
}

fn caller<T>(config: &SdkConfig, operation: &'static str) -> Caller<T>
where
    T: DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    Caller::new(config, GLUE, operation, |_, body| Ok(serde_json::from_slice(body)?))
}

fn call(target: &'static str, input: &Value) -> Call {
    Call::json(target, input.to_string().into_bytes())
}
