//! The metrics that alarms and dashboards may read. Each metric is a constant, and the project's own use the constants
//! of the functions that emit them. So a metric that nothing emits cannot be named.
//!
//! Names of a data set are variables such as `${MetricName}`, which the template or the dashboard fills in.

use serde_json::{Value, json};
use shared::{
    audit::{counts, latency},
    data::dataset::{self, Dataset},
};

pub(crate) use ::metrics::series::OTHER;

pub(crate) const FUNCTIONS: [&str; 4] = ["ingest", "transform", "metrics", "notify"];
/// The functions that read a stream.
pub(crate) const CONSUMERS: [&str; 3] = ["transform", "metrics", "notify"];
pub(crate) const DELIVERIES: [&str; 4] = ["raw", "analytical", "rejects", "alerts"];

pub(crate) const EVENTS: &str = "${MetricNamespace}";
pub(crate) const EVENT_COUNT: &str = "${MetricName}";
pub(crate) const SEVERITY: &str = "${SeverityDimension}";
pub(crate) const AREA: &str = "${AreaDimension}";
/// The display name of the area, such as County.
pub(crate) const AREA_NAME: &str = "${AreaName}";
/// The suffix of the alert topic's name: `.fifo` if it is a FIFO topic.
pub(crate) const TOPIC_SUFFIX: &str = "${TopicSuffix}";
pub(crate) const FAILURES_BUCKET: &str = "${FailuresBucket}";

/// Every value of a dimension: a line for each.
pub(crate) const ANY: &str = "*";
/// The area that is selected in a dashboard.
pub(crate) const CHOSEN_AREA: &str = "${Area}";

/// A metric under one set of dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WatchedMetric {
    pub(crate) namespace: &'static str,
    pub(crate) name: &'static str,
    pub(crate) dimensions: &'static [&'static str],
}

/// Declares metrics as constants, and all of them as `ALL`.
macro_rules! metrics {
    ($($namespace:expr, $dimensions:expr => { $($metric:ident = $name:expr),+ $(,)? })+) => {
        $($(
            pub(crate) const $metric: WatchedMetric =
                WatchedMetric { namespace: $namespace, name: $name, dimensions: &$dimensions };
        )+)+
        const ALL: &[WatchedMetric] = &[$($($metric),+),+];
    };
}

metrics! {
    // The data set's own.
    EVENTS, [SEVERITY] => { EVENTS_BY_SEVERITY = EVENT_COUNT }
    EVENTS, [SEVERITY, AREA] => { EVENTS_OF_AREA = EVENT_COUNT }
    EVENTS, latency::DIMENSIONS => {
        EVENT_TO_ALERT = latency::EVENT_TO_ALERT,
        EVENT_TO_METRIC = latency::EVENT_TO_METRIC,
    }
    counts::NAMESPACE, counts::DIMENSIONS => {
        IN = counts::IN,
        DELIVERED = counts::DELIVERED,
        FILTERED = counts::FILTERED,
        REJECTED = counts::REJECTED,
        FAILED = counts::FAILED,
        RETRIED = counts::RETRIED,
        LATE = counts::LATE,
        UNKNOWN_SEVERITY = counts::UNKNOWN_SEVERITY,
        UNRECORDED = counts::UNRECORDED,
        UNACCOUNTED = counts::UNACCOUNTED,
        UNREADABLE_CELLS = counts::UNREADABLE_CELLS,
        UNREADABLE_ROWS = counts::UNREADABLE_ROWS,
    }
    counts::NAMESPACE, counts::COLUMN_DIMENSIONS => { UNREADABLE_CELLS_OF_COLUMN = counts::UNREADABLE_CELLS }
    // Source: Lambda developer guide, "Types of metrics for Lambda functions".
    "AWS/Lambda", ["FunctionName"] => {
        ERRORS = "Errors",
        THROTTLES = "Throttles",
        DURATION = "Duration",
        ITERATOR_AGE = "IteratorAge",
        DESTINATION_FAILURES = "DestinationDeliveryFailures",
        ASYNC_DROPPED = "AsyncEventsDropped",
    }
    // For mappings whose MetricsConfig includes EventCount.
    "AWS/Lambda", ["EventSourceMappingUUID"] => {
        SENT_TO_FAILURES = "OnFailureDestinationDeliveredEventCount",
        DROPPED = "DroppedEventCount",
    }
    // Source: SQS developer guide, "Available CloudWatch metrics for Amazon SQS".
    "AWS/SQS", ["QueueName"] => {
        OLDEST_MESSAGE = "ApproximateAgeOfOldestMessage",
        MESSAGES = "ApproximateNumberOfMessagesVisible",
    }
    // Source: Kinesis developer guide, "Monitor the Amazon Kinesis Data Streams service with Amazon CloudWatch".
    "AWS/Kinesis", ["StreamName"] => {
        STREAM_RECORDS = "IncomingRecords",
        READS_REFUSED = "ReadProvisionedThroughputExceeded",
        WRITES_REFUSED = "WriteProvisionedThroughputExceeded",
    }
    // Source: Firehose developer guide, "Monitor Amazon Data Firehose with CloudWatch metrics".
    "AWS/Firehose", ["DeliveryStreamName"] => {
        DELIVERY_RECORDS = "IncomingRecords",
        DELIVERY_LAG = "KinesisMillisBehindLatest",
        FRESHNESS = "DeliveryToS3.DataFreshness",
        SUCCESS = "DeliveryToS3.Success",
        FAILED_CONVERSION = "FailedConversion.Records",
        KEY_DENIED = "KMSKeyAccessDenied",
        KEY_DISABLED = "KMSKeyDisabled",
        KEY_INVALID = "KMSKeyInvalidState",
        KEY_NOT_FOUND = "KMSKeyNotFound",
        PARTITIONS_EXCEEDED = "PartitionCountExceeded",
        THROTTLED_RECORDS = "ThrottledRecords",
    }
    // Source: S3 user guide, "Metrics and dimensions".
    "AWS/S3", ["BucketName", "FilterId"] => { PUT_REQUESTS = "PutRequests" }
    // Source: SNS developer guide, "Monitoring Amazon SNS topics using CloudWatch".
    "AWS/SNS", ["TopicName"] => {
        PUBLISHED = "NumberOfMessagesPublished",
        NOTIFICATIONS_FAILED = "NumberOfNotificationsFailed",
    }
}

/// A metric under values of its dimensions, as one line; a line for each value if one of them is [`ANY`].
#[derive(Debug, Clone)]
pub(crate) struct MetricLine {
    pub(crate) metric: WatchedMetric,
    values: Vec<String>,
    pub(crate) statistic: &'static str,
    pub(crate) label: String,
    /// The template's condition under which the measured resource exists.
    pub(crate) condition: Option<&'static str>,
}

impl MetricLine {
    pub(crate) fn labelled(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    pub(crate) fn with(self, statistic: &'static str) -> Self {
        Self { statistic, ..self }
    }

    pub(crate) fn only_if(self, condition: &'static str) -> Self {
        Self { condition: Some(condition), ..self }
    }

    /// Names and values of its dimensions.
    pub(crate) fn dimensions(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.metric.dimensions.iter().copied().zip(self.values.iter().map(String::as_str))
    }
}

impl WatchedMetric {
    /// The sum of the metric over these values of its dimensions.
    pub(crate) fn line<const N: usize>(self, values: [&str; N]) -> MetricLine {
        let values = values.map(str::to_owned).to_vec();
        MetricLine { metric: self, values, statistic: "Sum", label: String::new(), condition: None }
    }

    pub(crate) fn of_resource(self, name: &str) -> MetricLine {
        self.line([&format!("${{Name}}-{name}-${{Environment}}")]).labelled(name)
    }

    /// The metric of the resource with the name `name` and a suffix.
    pub(crate) fn of_suffixed_resource(self, name: &str, suffix: &str) -> MetricLine {
        self.line([&format!("${{Name}}-{name}-${{Environment}}{suffix}")]).labelled(name)
    }

    pub(crate) fn of_stream(self, stream: u8, label: &str) -> MetricLine {
        self.of_resource(&format!("data-stream-{stream}")).labelled(format!("stream {stream} {label}"))
    }

    /// A count of a function's records.
    pub(crate) fn counted_by(self, function: &str) -> MetricLine {
        let label = format!("{function}: {}", self.name.to_lowercase());
        self.line(["${Dataset}", "${Environment}", function]).labelled(label)
    }

    /// A latency of the data set's events.
    pub(crate) fn of_events(self, statistic: &'static str) -> MetricLine {
        self.line(["${Dataset}", "${Environment}"]).with(statistic)
    }
}

/// The names of the variables for the metric of a data set's events.
pub(crate) fn names(dataset: &Dataset) -> [(&'static str, &str); 5] {
    let dataset::Metric { namespace, name, .. } = &dataset.metric;
    let severity = dataset.metric.dimension(dataset.severity).unwrap_or_default();
    // A metric that is not counted by area is watched by severity only.
    let area = dataset.metric.dimension(dataset.severe_partition_key).unwrap_or(severity);
    let area_name = &dataset.columns[dataset.severe_partition_key].name;
    [(EVENTS, namespace), (EVENT_COUNT, name), (SEVERITY, severity), (AREA, area), (AREA_NAME, area_name)]
}

/// Everything that is emitted for a data set, under each set of dimensions, for tests of a deployed stack.
pub(crate) fn emitted(dataset: &Dataset) -> Value {
    let dataset::Metric { namespace, name, dimensions, sets } = &dataset.metric;
    let counts = sets.iter().map(|set| {
        let names: Vec<_> = set.iter().map(|place| &dimensions[*place].0).collect();
        json!({"namespace": namespace, "name": name, "dimensions": names})
    });
    let others = ALL.iter().filter(|metric| metric.name != EVENT_COUNT).map(|metric| {
        let namespace = if metric.namespace == EVENTS { namespace } else { metric.namespace };
        json!({"namespace": namespace, "name": metric.name, "dimensions": metric.dimensions})
    });
    counts.chain(others).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_count_of_the_functions_has_a_constant() {
        let counts = ALL.iter().filter(|metric| metric.namespace == counts::NAMESPACE);
        let emitted =
            counts::METRICS.into_iter().chain(counts::CELL_METRICS).chain([counts::UNREADABLE_CELLS]);
        assert!(counts.map(|metric| metric.name).eq(emitted));
    }

    #[test]
    fn a_line_has_a_value_for_each_dimension() {
        for line in crate::alarms::all().iter().flat_map(|alarm| &alarm.lines) {
            assert_eq!(line.values.len(), line.metric.dimensions.len(), "{line:?}");
        }
        for line in crate::story::rows().iter().flat_map(|row| &row.panels).flat_map(|panel| &panel.lines) {
            assert_eq!(line.values.len(), line.metric.dimensions.len(), "{line:?}");
        }
    }

    #[test]
    fn every_data_set_has_the_watched_metrics() {
        for name in Dataset::names() {
            let dataset = Dataset::named(name).unwrap();
            let emitted = emitted(&dataset);
            let [(_, namespace), (_, metric), (_, severity), (_, area), _] = names(&dataset);
            for watched in [BTreeSet::from([severity]), BTreeSet::from([severity, area])] {
                let is_emitted = emitted.as_array().unwrap().iter().any(|each| {
                    let dimensions = each["dimensions"].as_array().unwrap();
                    each["namespace"] == namespace
                        && each["name"] == metric
                        && dimensions.iter().map(|name| name.as_str().unwrap()).collect::<BTreeSet<_>>()
                            == watched
                });
                assert!(is_emitted, "{name}: {watched:?}");
            }
        }
    }
}
