//! What is rehearsed: the files, and one or two settings of a stack as its template resolves them.

use std::{collections::BTreeMap, path::PathBuf, str::FromStr};

use chrono::TimeDelta;
use ingest::{charset::Charset, rows::Format};
use serde::{Deserialize, Serialize};
use shared::data::{
    dataset::{Dataset, Type},
    time::DateOrder,
};

use crate::{error::Error, policy::Policy};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RehearsalRequest {
    /// The files, in the order in which ingest would receive them.
    pub(crate) files: Vec<PathBuf>,
    /// The column with an event's time; by default the data set decides.
    pub(crate) time: Option<String>,
    /// `csv`, `ndjson` or `json`; by default each file's name decides.
    pub(crate) format: Option<String>,
    pub(crate) charset: Option<String>,
    /// How `2/8/2016` is read; by default as in the data set.
    pub(crate) date_order: Option<DateOrder>,
    /// Whether to try all thresholds too, which takes longer.
    #[serde(default)]
    pub(crate) every_threshold: bool,
    /// One setting, or two to compare.
    pub(crate) settings: Vec<Settings>,
}

/// The functions' variables by name, as the template resolves them.
type Variables = BTreeMap<String, String>;

/// A stack's settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Its name in tables and texts.
    pub(crate) name: String,
    pub(crate) transform: Variables,
    pub(crate) metrics: Variables,
    pub(crate) notify: Variables,
    /// How notify reads stream 2.
    pub(crate) mapping: Mapping,
    pub(crate) departments: Vec<Department>,
}

/// How Lambda hands the records of stream 2 to notify.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mapping {
    /// Shards of the stream.
    pub(crate) shards: u32,
    /// Concurrent batches of a shard.
    pub(crate) factor: u32,
    /// The most records of a batch.
    pub(crate) batch: usize,
    /// The longest wait for a batch to fill, in seconds.
    pub(crate) window_seconds: u32,
    /// The longest that an invocation may take, in seconds.
    pub(crate) timeout_seconds: u32,
}

/// A subscription to the alerts.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Department {
    pub(crate) name: String,
    /// How its messages are delivered: email, sms and so on.
    pub(crate) protocol: String,
    /// The filter policy; without one it receives every alert.
    #[serde(skip_serializing)]
    pub(crate) filter: Option<Policy>,
}

/// A setting with the functions' configurations.
#[derive(Debug)]
pub(crate) struct Configured<'s> {
    pub(crate) settings: &'s Settings,
    pub(crate) transform: transform::handler::Config,
    /// metrics with its bound on the series, and without one.
    pub(crate) metrics: [metrics::handler::Config; 2],
    pub(crate) notify: notify::handler::Config,
}

impl Settings {
    /// The configurations, read as the functions read them.
    pub(crate) fn configured(&self) -> Result<Configured<'_>, Error> {
        let refused = |function: &'static str| {
            move |error| Error::Refused { setting: self.name.clone(), function, error }
        };
        let own = |variables: &Variables, name: &str| variables.get(name).cloned();
        let unbounded = |name: &str| match name {
            "MAX_SERIES" => Some("0".to_owned()),
            name => own(&self.metrics, name),
        };
        Ok(Configured {
            settings: self,
            transform: transform::handler::Config::read(&|name| own(&self.transform, name))
                .map_err(refused("transform"))?,
            metrics: [
                metrics::handler::Config::read(&|name| own(&self.metrics, name))
                    .map_err(refused("metrics"))?,
                metrics::handler::Config::read(&unbounded).map_err(refused("metrics"))?,
            ],
            notify: notify::handler::Config::read(&|name| own(&self.notify, name))
                .map_err(refused("notify"))?,
        })
    }
}

/// The severities above which an event passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// Of transform.
    pub(crate) transform: i64,
    /// Of notify.
    pub(crate) notify: i64,
}

impl Thresholds {
    /// The severity above which an event is alerted.
    pub(crate) fn alerted(self) -> i64 {
        self.transform.max(self.notify)
    }
}

impl Configured<'_> {
    pub(crate) fn thresholds(&self) -> Thresholds {
        Thresholds { transform: self.transform.severity_above, notify: self.notify.severity_above }
    }
}

impl Mapping {
    /// Batches that may run at once, each with its own share of the partition keys.
    pub(crate) fn lanes(&self) -> usize {
        (self.shards.max(1) * self.factor.max(1)) as usize
    }

    /// The longest wait for a batch to fill. Lambda polls a shard about once a second, whatever the window.
    ///
    /// Source: Lambda developer guide, "Using AWS Lambda with Amazon Kinesis".
    pub(crate) fn window(&self) -> TimeDelta {
        TimeDelta::seconds(self.window_seconds.max(1).into())
    }

    /// The lane of a partition key by its hash: shards have equal ranges of hashes, and a shard's lanes share its keys.
    pub(crate) fn lane(&self, hash: u128) -> usize {
        let shards = u128::from(self.shards.max(1));
        let factor = u128::from(self.factor.max(1));
        let shard = (hash / (u128::MAX / shards)).min(shards - 1);
        usize::try_from(shard * factor + hash % factor).unwrap_or_default()
    }
}

/// How the files are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'d> {
    pub(crate) dataset: &'d Dataset,
    /// The column with an event's time.
    pub(crate) time: usize,
    pub(crate) format: Option<Format>,
    pub(crate) charset: Charset,
    /// The declared date order.
    pub(crate) date_order: Option<DateOrder>,
}

impl<'d> Reading<'d> {
    pub(crate) fn new(dataset: &'d Dataset, request: &RehearsalRequest) -> Result<Self, Error> {
        Ok(Self {
            dataset,
            time: time_column(dataset, request.time.as_deref())?,
            format: parsed(request.format.as_deref())?,
            charset: parsed(request.charset.as_deref())?.unwrap_or_default(),
            date_order: request.date_order,
        })
    }
}

fn parsed<T: FromStr<Err = String>>(name: Option<&str>) -> Result<Option<T>, Error> {
    name.map(str::parse).transpose().map_err(Error::Request)
}

/// The column with an event's time. By default it is the first time among the details of an alert, then the first time of
/// all, and the time of receipt only if there is no other.
fn time_column(dataset: &Dataset, named: Option<&str>) -> Result<usize, Error> {
    let is_time =
        |column: &usize| matches!(dataset.columns[*column].kind, Type::Timestamp | Type::TimestampOrDate);
    let times = || (0..dataset.columns.len()).filter(is_time);
    let Some(name) = named else {
        let others = || times().filter(|column| *column != dataset.received_at);
        let detail = dataset.details.iter().copied().find(|column| others().any(|other| other == *column));
        return Ok(detail.or_else(|| others().next()).unwrap_or(dataset.received_at));
    };
    dataset.column(name).filter(is_time).ok_or_else(|| {
        let names: Vec<_> = times().map(|column| dataset.columns[column].name.as_str()).collect();
        Error::Request(format!("TIME={name} is not a column with times; expected {}", names.join(" or ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_a_detail_of_the_alert_or_the_named_column() {
        let accidents = Dataset::named("us_accidents").unwrap();
        let name =
            |dataset: &Dataset, named| time_column(dataset, named).map(|at| dataset.columns[at].name.clone());
        assert_eq!(name(&accidents, None).unwrap(), "Start_Time");
        assert_eq!(name(&accidents, Some("End_Time")).unwrap(), "End_Time");
        let error = name(&accidents, Some("City")).unwrap_err().to_string();
        assert!(
            error.starts_with("TIME=City is not a column with times; expected Start_Time or "),
            "{error}"
        );
        let tickets = Dataset::named("support_tickets").unwrap();
        assert_eq!(name(&tickets, None).unwrap(), "Opened_At");
    }

    #[test]
    fn lanes_share_the_hashes_equally() {
        let mapping = Mapping { shards: 3, factor: 2, batch: 1, window_seconds: 0, timeout_seconds: 60 };
        assert_eq!(mapping.lanes(), 6);
        assert_eq!([0, 1, u128::MAX - 1, u128::MAX].map(|hash| mapping.lane(hash)), [0, 1, 4, 5]);
        assert_eq!(mapping.lane(u128::MAX / 2), 3);
        let one = Mapping { shards: 1, factor: 1, ..mapping };
        assert_eq!([0, u128::MAX].map(|hash| one.lane(hash)), [0, 0]);
    }
}
