//! CloudWatch as a service of [`shared::delivery`]: each entry is a request of its own.

use aws_sdk_cloudwatch::{
    Client,
    types::{Dimension, MetricDatum, StandardUnit},
};
use aws_smithy_types::DateTime;
use shared::{
    aws,
    delivery::{Answer, Limits, Service},
};

use crate::aggregate::{Datum, Request};

/// Seconds of a high-resolution metric, as in the original.
const STORAGE_RESOLUTION: i32 = 1;

/// The metric that is written to.
#[derive(Debug, Clone)]
pub struct Metric {
    client: Client,
    namespace: String,
    name: String,
    dimensions: Vec<String>,
    resource: String,
}

impl Metric {
    /// The metric of that name, whose dimensions have those names.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        dimensions: impl IntoIterator<Item = String>,
    ) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            dimensions: dimensions.into_iter().collect(),
            resource: format!("namespace {namespace}"),
        }
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

    async fn send(&self, requests: &[&Request]) -> Answer {
        let data = requests.iter().flat_map(|request| &request.data).map(|datum| self.datum(datum)).collect();
        let asked = aws::Request { action: "cloudwatch:PutMetricData", resource: &self.resource };
        let call = self.client.put_metric_data().namespace(&self.namespace).set_metric_data(Some(data));
        match call.send().await {
            Ok(_) => Ok(Vec::new()),
            Err(error) => Err(asked.failure(&error)),
        }
    }
}
