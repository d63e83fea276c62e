//! CloudWatch: a namespace for metric data, and the latencies as a service of [`crate::delivery`].

use aws_sdk_cloudwatch::{
    Client,
    types::{Dimension, MetricDatum, StandardUnit},
};
use aws_smithy_types::DateTime;
use chrono::{DateTime as Instant, Utc};

use crate::{
    audit::latency::{self, LatencySample},
    aws::Operation,
    delivery::{Answer, Failure, Limits, Service},
    lambda::config::Common,
};

/// A CloudWatch namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    client: Client,
    name: String,
    resource: String,
}

impl Namespace {
    /// The namespace of that name.
    #[must_use]
    pub fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned(), resource: format!("namespace {name}") }
    }

    /// Puts the data of one request, which must be within its limits.
    pub async fn put(&self, data: Vec<MetricDatum>) -> Result<(), Failure> {
        let asked = Operation { action: "cloudwatch:PutMetricData", resource: &self.resource };
        match self.client.put_metric_data().namespace(&self.name).set_metric_data(Some(data)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(asked.failure(&error)),
        }
    }
}

/// The ages of a batch's events as one datum: their distinct values and how often each occurs.
#[derive(Debug, Clone)]
pub struct LatencyMetric {
    name: &'static str,
    dimensions: Vec<Dimension>,
}

impl LatencyMetric {
    /// The metric of that name, for the data set and environment of a function.
    #[must_use]
    pub fn new(name: &'static str, common: &Common) -> Self {
        let values = [&common.dataset.name, &common.environment];
        let dimension = |(name, value): (&str, &String)| Dimension::builder().name(name).value(value).build();
        Self { name, dimensions: latency::DIMENSIONS.into_iter().zip(values).map(dimension).collect() }
    }

    /// The datum of a sample of latencies; nothing if the sample has no events.
    #[must_use]
    pub fn datum(&self, received: &[Instant<Utc>], now: Instant<Utc>) -> Option<MetricDatum> {
        let ages: Vec<i64> = received.iter().map(|received| (now - received).num_milliseconds()).collect();
        #[expect(clippy::cast_precision_loss, reason = "ages and counts of a batch are below 2^53")]
        let (values, counts) =
            latency::distribution(&ages).into_iter().map(|(age, count)| (age as f64, count as f64)).unzip();
        let datum = MetricDatum::builder()
            .metric_name(self.name)
            .set_dimensions(Some(self.dimensions.clone()))
            .timestamp(DateTime::from_millis(now.timestamp_millis()))
            .unit(StandardUnit::Milliseconds)
            .set_values(Some(values))
            .set_counts(Some(counts))
            .build();
        (!ages.is_empty()).then_some(datum)
    }
}

/// Puts latencies. Each entry holds the events counted or published at one moment, and is a request of its own.
#[derive(Debug, Clone)]
pub struct Latencies {
    /// The namespace to put them into.
    pub namespace: Namespace,
    /// The metric of the latencies.
    pub metric: LatencyMetric,
}

impl Service for Latencies {
    type Entry = LatencySample;

    fn limits(&self) -> Limits {
        Limits { entries: 1, request_bytes: usize::MAX, entry_bytes: usize::MAX }
    }

    fn size(&self, sample: &LatencySample) -> usize {
        sample.received.len()
    }

    async fn send(&self, entries: &[&LatencySample]) -> Answer {
        let data = entries.iter().filter_map(|entry| self.metric.datum(&entry.received, entry.at)).collect();
        self.namespace.put(data).await.map(|()| Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::lambda::config::tests::common;

    #[test]
    fn a_datum_has_each_age_with_the_number_of_events_of_it() {
        let metric = LatencyMetric::new(latency::EVENT_TO_ALERT, &common());
        let now = Utc::now();
        let received = [1_500, 20, 1_500, 1_500].map(|age| now - TimeDelta::milliseconds(age));
        let datum = metric.datum(&received, now).unwrap();
        assert_eq!(datum.metric_name(), Some("EventToAlert"));
        assert_eq!((datum.values(), datum.counts()), (&[20.0, 1_500.0][..], &[1.0, 3.0][..]));
        assert_eq!(datum.unit(), Some(&StandardUnit::Milliseconds));
        let dimensions: Vec<_> =
            datum.dimensions().iter().map(|dimension| (dimension.name(), dimension.value())).collect();
        let expected = [("Dataset", "us_accidents"), ("Environment", "dev")];
        assert_eq!(dimensions, expected.map(|(name, value)| (Some(name), Some(value))));
        assert_eq!(metric.datum(&[], now), None);
    }
}
