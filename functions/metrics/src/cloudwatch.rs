//! CloudWatch as a service of [`shared::delivery`]: each entry is a request.

use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};
use aws_smithy_types::DateTime;
use chrono::Utc;
use shared::{
    aws::{LatencyMetric, Namespace},
    delivery::{Answer, Limits, Service},
};

use crate::aggregate::{DataRequest, Datum};

/// Seconds of a high-resolution metric, as in the original.
const STORAGE_RESOLUTION: i32 = 1;

/// The metric of the counts, and the metric of the latencies of the counted events.
#[derive(Debug, Clone)]
pub struct CountMetric {
    namespace: Namespace,
    name: String,
    dimensions: Vec<String>,
    ages: LatencyMetric,
}

impl CountMetric {
    /// The metric of that name, with dimensions of those names.
    #[must_use]
    pub fn new(
        namespace: Namespace,
        name: &str,
        dimensions: impl IntoIterator<Item = String>,
        ages: LatencyMetric,
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

impl Service for CountMetric {
    type Entry = DataRequest;

    /// [`crate::aggregate`] has already applied the limits of a request.
    fn limits(&self) -> Limits {
        Limits { entries: 1, request_bytes: usize::MAX, entry_bytes: usize::MAX }
    }

    fn size(&self, request: &DataRequest) -> usize {
        request.data.len()
    }

    /// Counts and latencies go in one request, so that each latency is recorded exactly as often as its event is
    /// counted.
    async fn send(&self, requests: &[&DataRequest]) -> Answer {
        let now = Utc::now();
        let counts = requests.iter().flat_map(|request| &request.data).map(|datum| self.datum(datum));
        let ages = requests.iter().filter_map(|request| self.ages.datum(&request.received, now));
        self.namespace.put(counts.chain(ages).collect()).await.map(|()| Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_cloudwatch::{Client, Config, config::BehaviorVersion};
    use shared::{audit::latency::EVENT_TO_METRIC, lambda::config::Variables};

    use super::*;

    #[test]
    fn datum_has_its_count_second_and_dimensions() {
        let look_up = |name: &str| (name == "REJECTS_DELIVERY_STREAM").then(|| "rejects".to_owned());
        let common = Variables::new(&look_up).finish().unwrap();
        let client = Client::from_conf(Config::builder().behavior_version(BehaviorVersion::latest()).build());
        let names = ["severity_accident", "city_accident"].map(str::to_owned);
        let ages = LatencyMetric::new(EVENT_TO_METRIC, &common);
        let metric = CountMetric::new(Namespace::new(client, "n"), "high", names, ages);
        let dimensions = vec![(1, "Dublin".to_owned()), (0, "3".to_owned())];
        let datum = metric.datum(&Datum { second: 1_700_000_000, dimensions, count: 7 });
        assert_eq!((datum.metric_name(), datum.value()), (Some("high"), Some(7.0)));
        assert_eq!((datum.storage_resolution(), datum.unit()), (Some(1), Some(&StandardUnit::Count)));
        assert_eq!(datum.timestamp(), Some(&DateTime::from_secs(1_700_000_000)));
        let dimensions: Vec<_> =
            datum.dimensions().iter().map(|dimension| (dimension.name(), dimension.value())).collect();
        let expected = [("city_accident", "Dublin"), ("severity_accident", "3")];
        assert_eq!(dimensions, expected.map(|(name, value)| (Some(name), Some(value))));
    }
}
