//! CloudWatch as a service of [`shared::delivery`]: each entry is a request of its own.

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_smithy_types::DateTime;
use chrono::Utc;
use shared::{
    aws::{AgeMetric, Namespace},
    delivery::{Answer, Limits, Service},
};

use crate::aggregate::{Datum, Request};

/// Seconds of a high-resolution metric, as in the original.
const STORAGE_RESOLUTION: i32 = 1;

/// The metric that is written to, with that of the ages of what it counts.
#[derive(Debug, Clone)]
pub struct Metric {
    namespace: Namespace,
    name: String,
    dimensions: Vec<String>,
    ages: AgeMetric,
}

impl Metric {
    /// The metric of that name, whose dimensions have those names.
    #[must_use]
    pub fn new(
        namespace: Namespace,
        name: &str,
        dimensions: impl IntoIterator<Item = String>,
        ages: AgeMetric,
    ) -> Self {
        Self { namespace, name: name.to_owned(), dimensions: dimensions.into_iter().collect(), ages }
    }

    fn datum(&self, datum: &Datum) -> MetricDatum {
        let dimensions = datum.dimensions.iter().map(|(dimension, value)| {
            Dimension::builder().name(&self.dimensions[*dimension]).value(value).build()
        });
        #[expect(clippy::cast_precision_loss, reason = "a batch counts no more than 2^53 events")]
        MetricDatum::builder()
            .metric_name(&self.name)
            .set_dimensions(Some(dimensions.collect()))
            .timestamp(DateTime::from_secs(datum.second))
            .unit(StandardUnit::Count)
            .storage_resolution(STORAGE_RESOLUTION)
            .value(datum.count as f64)
            .build()
    }
}

impl Service for Metric {
    type Entry = Request;

    /// [`crate::aggregate`] has kept to the limits of a request.
    fn limits(&self) -> Limits {
        Limits { entries: 1, request_bytes: usize::MAX, entry_bytes: usize::MAX }
    }

    fn size(&self, request: &Request) -> usize {
        request.data.len()
    }

    /// Counts and ages go in one request, so that each event's age is told exactly as often as it is counted.
    async fn send(&self, requests: &[&Request]) -> Answer {
        let now = Utc::now();
        let counts = requests.iter().flat_map(|request| &request.data).map(|datum| self.datum(datum));
        let ages = requests.iter().filter_map(|request| self.ages.datum(&request.received, now));
        self.namespace.put(counts.chain(ages).collect()).await.map(|()| Vec::new())
    }
}
