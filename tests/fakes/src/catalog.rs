//! A Glue catalog over any service that accepts partitions.

use shared::delivery::{Failure, Limits, Service};
use transform::{glue::Catalog, partitions::Partition};

use crate::Scripted;

/// The partitions in a request to Glue.
///
/// Source: Glue API reference, `BatchCreatePartition`.
pub const GLUE: Limits = Limits { entries: 100, request_bytes: usize::MAX, entry_bytes: usize::MAX };

/// A catalog that registers every partition.
#[must_use]
pub fn catalog() -> Registry<Scripted<Partition>> {
    Registry(Scripted::new(GLUE, |_| 1))
}

/// A catalog that registers the partitions that its service accepts.
pub struct Registry<S>(pub S);

impl<S: Service<Entry = Partition>> Catalog for Registry<S> {
    async fn register(&self, partitions: &[Partition]) -> Result<Vec<Partition>, Failure> {
        let entries: Vec<&Partition> = partitions.iter().collect();
        let refusals = self.0.send(&entries).await?;
        let is_refused = |index: usize| refusals.iter().any(|refusal| refusal.index == index);
        let registered = partitions.iter().enumerate().filter(|(index, _)| !is_refused(*index));
        Ok(registered.map(|(_, partition)| *partition).collect())
    }
}
