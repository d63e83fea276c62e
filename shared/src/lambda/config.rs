//! Configuration: read once at start. One error reports all its faults.

use std::{fmt::Display, str::FromStr};

use crate::data::dataset::Dataset;

/// Reads variables and collects their faults.
pub struct Variables<'f> {
    look_up: &'f dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
    common: Option<Common>,
}

/// All faults of the configuration.
#[derive(Debug, thiserror::Error)]
#[error("the configuration is wrong: {}", .0.join("; "))]
pub struct ConfigError(Vec<String>);

impl ConfigError {
    /// A configuration with one fault.
    #[must_use]
    pub fn new(problem: String) -> Self {
        Self(vec![problem])
    }
}

/// The configuration that every function needs.
#[derive(Debug, Clone)]
pub struct Common {
    /// `DATASET`.
    pub dataset: Dataset,
    /// `REJECTS_DELIVERY_STREAM`.
    pub rejects_delivery_stream: String,
    /// `ENVIRONMENT`, a dimension of the counts.
    pub environment: String,
    /// `LOG_EVENT_IDS`: whether the log has the status of each event.
    pub log_event_ids: bool,
}

/// The dimensions of the counts.
#[derive(Debug, Clone, Copy)]
pub struct Emitter<'a> {
    /// The data set's name.
    pub dataset: &'a str,
    /// The environment's name.
    pub environment: &'a str,
    /// The function's name.
    pub function: &'a str,
}

impl Common {
    /// The data set whose events the log follows; nothing if it follows none.
    #[must_use]
    pub fn followed(&self) -> Option<&Dataset> {
        self.log_event_ids.then_some(&self.dataset)
    }

    /// The dimensions of that function's counts.
    #[must_use]
    pub fn emitter(&self, function: &'static str) -> Emitter<'_> {
        Emitter { dataset: &self.dataset.name, environment: &self.environment, function }
    }
}

impl<'f> Variables<'f> {
    /// Reads variables by `look_up`. Those that every function needs are read at once.
    pub fn new(look_up: &'f dyn Fn(&str) -> Option<String>) -> Self {
        let mut variables = Self { look_up, problems: Vec::new(), common: None };
        variables.common = variables.read_common();
        variables
    }

    /// A required text.
    pub fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is missing"));
            String::new()
        })
    }

    /// An optional text; nothing if it is missing or blank.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        (self.look_up)(name).filter(|text| !text.trim().is_empty())
    }

    /// A value with a default.
    pub fn value<T: FromStr + Display>(&mut self, name: &str, default: T) -> T {
        let Some(text) = self.optional(name) else { return default };
        text.trim().parse().unwrap_or_else(|_| {
            self.problems.push(format!("{name} is `{text}`; expected a value such as {default}"));
            default
        })
    }

    /// The configuration that every function needs; nothing if the data set is unknown.
    fn read_common(&mut self) -> Option<Common> {
        let name = self.optional("DATASET").unwrap_or_else(|| "us_accidents".to_owned());
        let rejects_delivery_stream = self.required("REJECTS_DELIVERY_STREAM");
        let environment = self.optional("ENVIRONMENT").unwrap_or_else(|| "dev".to_owned());
        let log_event_ids = self.value("LOG_EVENT_IDS", true);
        match Dataset::named(&name) {
            Ok(dataset) => Some(Common { dataset, rejects_delivery_stream, environment, log_event_ids }),
            Err(error) => {
                self.problems.push(format!("DATASET: {error}"));
                None
            }
        }
    }

    /// The configuration that every function needs. Call it after all other variables are read: its error reports the
    /// faults of all of them.
    ///
    /// # Errors
    ///
    /// If a variable is missing or invalid.
    pub fn finish(self) -> Result<Common, ConfigError> {
        match self.common {
            Some(common) if self.problems.is_empty() => Ok(common),
            _ => Err(ConfigError(self.problems)),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The configuration of a function of US accidents that logs no ids.
    pub(crate) fn common() -> Common {
        let look_up = |name: &str| match name {
            "REJECTS_DELIVERY_STREAM" => Some("rejects".to_owned()),
            "LOG_EVENT_IDS" => Some("false".to_owned()),
            _ => None,
        };
        Variables::new(&look_up).finish().unwrap()
    }

    #[test]
    fn every_variable_that_is_missing_or_wrong_is_named_at_once() {
        let look_up = |name: &str| match name {
            "DATASET" => Some("nope".to_owned()),
            "SEVERITY_ABOVE" => Some("high".to_owned()),
            "RAW_STREAM" => Some("  ".to_owned()),
            _ => None,
        };
        let mut variables = Variables::new(&look_up);
        variables.required("RAW_STREAM");
        variables.value("SEVERITY_ABOVE", 2_i64);
        let error = variables.finish().unwrap_err().to_string();
        assert!(
            error.starts_with("the configuration is wrong: REJECTS_DELIVERY_STREAM is missing; "),
            "{error}"
        );
        assert!(error.contains("DATASET: there is no data set `nope`"), "{error}");
        assert!(error.contains("RAW_STREAM is missing"), "{error}");
        assert!(error.contains("SEVERITY_ABOVE is `high`; expected a value such as 2"), "{error}");
    }

    #[test]
    fn defaults_hold_where_nothing_is_said() {
        let look_up = |name: &str| (name == "REJECTS_DELIVERY_STREAM").then(|| "rejects".to_owned());
        let mut variables = Variables::new(&look_up);
        let above = variables.value("SEVERITY_ABOVE", 2_i64);
        let common = variables.finish().unwrap();
        assert_eq!((common.dataset.name.as_str(), above), ("us_accidents", 2));
        assert_eq!((common.environment.as_str(), common.log_event_ids), ("dev", true));
    }
}
