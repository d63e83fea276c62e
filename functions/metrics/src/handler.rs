//! The handler: decode, decide, deliver, report.

use bytes::Bytes;
use shared::{
    audit::{
        counts::Status,
        ledger::{Ledger, Portion, RecordOutput, UserRecord},
    },
    data::{dataset::Metric, decision::Decision},
    delivery::{self, Order, Outcome, Report, Service},
    lambda::{
        config::{Common, ConfigError, Variables},
        invocation::Invocation,
    },
    stream::batch::{BatchResponse, NotABatch},
};

use crate::{
    aggregate::{CountedEvent, DataRequest, aggregate},
    count::{One, count},
    series::Series,
};

/// The most events that are counted at once. All events of a record are counted together, because they are retried
/// together.
const PORTION: Portion = Portion { soft_limit: 32_000, hard_limit: 64_000 };

/// The configuration of metrics.
#[derive(Debug, Clone)]
pub struct Config {
    /// The data set, and what else every function needs.
    pub common: Common,
    /// `METRIC_NAMESPACE`; by default the data set's.
    pub namespace: String,
    /// `METRIC_NAME`; by default the data set's.
    pub name: String,
    /// `SEVERITY_ABOVE`: events above it are counted.
    pub severity_above: i64,
    /// `DIMENSION_SETS` and `MAX_SERIES`: the series that events count under.
    pub series: Series,
}

impl Config {
    /// Reads the configuration from variables.
    pub fn read(look_up: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut variables = Variables::new(look_up);
        let namespace = variables.optional("METRIC_NAMESPACE");
        let name = variables.optional("METRIC_NAME");
        let severity_above = variables.value("SEVERITY_ABOVE", 2);
        let sets = variables.optional("DIMENSION_SETS");
        let max_series = variables.value("MAX_SERIES", 0);
        let common = variables.finish()?;
        let dataset = &common.dataset;
        let metric = &dataset.metric;
        let sets = sets.map_or_else(|| Ok(metric.sets.clone()), |text| dimension_sets(metric, &text))?;
        let series = match max_series {
            0 => Series::all(dataset, &sets),
            max => Series::bounded(dataset, &sets, severity_above, max)
                .map_err(|error| ConfigError::new(error.to_string()))?,
        };
        let namespace = namespace.unwrap_or_else(|| metric.namespace.clone());
        let name = name.unwrap_or_else(|| metric.name.clone());
        Ok(Self { common, namespace, name, severity_above, series })
    }
}

/// The sets of dimensions in `severity_accident+city_accident,severity_accident`. Repeated sets are dropped, whatever
/// the order of their dimensions, so that no event counts twice.
fn dimension_sets(metric: &Metric, text: &str) -> Result<Vec<Vec<usize>>, ConfigError> {
    let set = |names: &str| metric.set(&names.split('+').map(str::trim).collect::<Vec<_>>());
    let mut sets: Vec<Vec<usize>> = Vec::new();
    for names in text.split(',') {
        let set = set(names).map_err(|unknown| unknown_dimension(metric, &unknown))?;
        if !sets.contains(&set) {
            sets.push(set);
        }
    }
    Ok(sets)
}

fn unknown_dimension(metric: &Metric, unknown: &str) -> ConfigError {
    let known: Vec<_> = metric.dimensions.iter().map(|(name, _)| name.as_str()).collect();
    ConfigError::new(format!(
        "DIMENSION_SETS names `{unknown}`; expected one of {}, in sets such as {}",
        known.join(", "),
        known.join("+")
    ))
}

/// Counts the severe events of stream 2.
#[derive(Debug)]
pub struct Handler<M, R> {
    /// Thresholds, limits and names.
    pub config: Config,
    /// The metric.
    pub metric: M,
    /// The rejects delivery stream.
    pub rejects: R,
}

impl<M, R> Handler<M, R>
where
    M: Service<Entry = DataRequest>,
    R: Service<Entry = Bytes>,
{
    /// Handles one batch and returns the record from which it is to be retried.
    pub async fn handle(&self, event: &str, invocation: &Invocation) -> Result<BatchResponse, NotABatch> {
        let mut ledger = Ledger::decode("metrics", event, &self.config.common, invocation)?;
        while ledger.has_more() {
            let counted = ledger.decide(PORTION, |record| self.decide(record, invocation));
            let deliver = async |counted| self.deliver(counted, invocation).await;
            ledger.deliver_in_order(counted, &self.rejects, invocation, deliver, record).await;
        }
        Ok(ledger.report(invocation))
    }

    /// Decides under what a record counts.
    fn decide(
        &self,
        UserRecord { stream_record_index, stream_record, data }: UserRecord<'_>,
        invocation: &Invocation,
    ) -> Decision<CountedEvent> {
        let Config { common, severity_above, .. } = &self.config;
        let arrived = stream_record.arrived.unwrap_or(invocation.now);
        count(&common.dataset, *severity_above, data, arrived, invocation.now)
            .map(|One { at, values }| CountedEvent { record: stream_record_index, at, values })
    }

    /// Sends the counts.
    async fn deliver(&self, counted: Vec<RecordOutput<CountedEvent>>, invocation: &Invocation) -> Delivered {
        let (indexes, events): (Vec<usize>, Vec<CountedEvent>) =
            counted.into_iter().map(|RecordOutput { index, output }| (index, output)).unzip();
        let requests = aggregate(&events, &self.config.series);
        let report = delivery::deliver(&self.metric, &requests, Order::Kept, invocation.deadline).await;
        Delivered { indexes, requests, report }
    }
}

/// The outcome of counts.
struct Delivered {
    /// Positions of the records that were counted.
    indexes: Vec<usize>,
    requests: Vec<DataRequest>,
    report: Report,
}

/// Records the outcome of counts. A failed request is not split and sent again, because CloudWatch refuses requests as
/// a whole.
fn record(ledger: &mut Ledger<'_>, delivered: Delivered) -> Vec<RecordOutput<CountedEvent>> {
    let Delivered { indexes, requests, report } = delivered;
    ledger.retried += report.resent;
    for (request, outcome) in requests.iter().zip(report.outcomes) {
        let status = match outcome {
            Outcome::Delivered => Status::Delivered,
            Outcome::Failed(why) | Outcome::Unacceptable(why) => Status::Failed(why),
        };
        for index in &indexes[request.events.clone()] {
            ledger.record(*index, status.clone());
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(own: &[(&str, &str)]) -> Result<Config, ConfigError> {
        Config::read(&|name| {
            let own = own.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
            own.or_else(|| (name == "REJECTS_DELIVERY_STREAM").then(|| "rejects".to_owned()))
        })
    }

    #[test]
    fn dimension_sets_and_max_series_are_configured() {
        let values = ["4", "Los Angeles", "Los Angeles"].map(str::to_owned);
        let sizes = |config: &Config| config.series.of(&values).map(|set| set.len()).collect::<Vec<_>>();
        let config = read(&[]).unwrap();
        assert_eq!((sizes(&config), config.series.most()), (vec![3, 1, 2], None));
        let config = read(&[
            ("DIMENSION_SETS", "severity_accident + county_accident, severity_accident"),
            ("MAX_SERIES", "50"),
        ])
        .unwrap();
        assert_eq!(sizes(&config), [2, 1]);
        assert!((48..=50).contains(&config.series.most().unwrap()), "{:?}", config.series.most());
    }

    #[test]
    fn metric_and_threshold_are_configured() {
        let config = read(&[]).unwrap();
        let metric = &config.common.dataset.metric;
        assert_eq!(
            (&config.namespace, &config.name, config.severity_above),
            (&metric.namespace, &metric.name, 2)
        );
        let own = [("METRIC_NAMESPACE", "own"), ("METRIC_NAME", "high"), ("SEVERITY_ABOVE", "3")];
        let config = read(&own).unwrap();
        assert_eq!((&*config.namespace, &*config.name, config.severity_above), ("own", "high", 3));
    }

    #[test]
    fn repeated_dimension_set_counts_once() {
        let values = ["4", "Los Angeles", "Los Angeles"].map(str::to_owned);
        for (text, expected) in [
            ("severity_accident,severity_accident", vec![1]),
            ("severity_accident+county_accident, county_accident+severity_accident", vec![2]),
            ("severity_accident+severity_accident", vec![1]),
            (
                "severity_accident,city_accident+severity_accident,severity_accident,severity_accident+city_accident",
                vec![1, 2],
            ),
        ] {
            for max_series in ["0", "50"] {
                let config = read(&[("DIMENSION_SETS", text), ("MAX_SERIES", max_series)]).unwrap();
                let sizes: Vec<_> = config.series.of(&values).map(|set| set.len()).collect();
                assert_eq!(sizes, expected, "{text}");
            }
        }
    }

    #[test]
    fn invalid_values_are_explained() {
        for (name, value, expected) in [
            (
                "DIMENSION_SETS",
                "severity_accident+town",
                "DIMENSION_SETS names `town`; expected one of severity_accident, city_accident, county_accident, in \
                 sets such as severity_accident+city_accident+county_accident",
            ),
            ("MAX_SERIES", "3", "MAX_SERIES is 3; expected 0 for no bound, or at least 9"),
            ("MAX_SERIES", "many", "MAX_SERIES is `many`; expected a value such as 0"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert_eq!(error, format!("the configuration is wrong: {expected}"));
        }
    }
}
