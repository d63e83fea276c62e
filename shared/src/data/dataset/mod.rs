//! The data set: the columns that `datasets/<name>/dataset.toml` describes, and how the pipeline uses them.

mod blanks;
mod check;
mod file;
mod name;
mod severity;
mod template;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt};

use serde::Deserialize;

use self::file::File;
pub use self::{
    blanks::Blanks,
    check::MACHINE_FIELDS,
    name::fold,
    severity::{Level, OTHER, Severities},
    template::{Place, Template},
};
use crate::data::time::DateOrder;

/// The files `datasets/<name>/dataset.toml`, by name.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/datasets.rs"));

/// The files `datasets/<name>/series.tsv`, by name.
const SERIES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/series.rs"));

/// The key of an event's entry that holds its unreadable cells by their columns' names.
pub const INVALID: &str = "_invalid";
/// The key below [`INVALID`] that holds a row's bytes in base64, if its text could not be read in full.
pub const ORIGINAL_BYTES: &str = "_bytes";
/// The key of the partitions that holds the severity, whatever the name of the data set's own column.
pub const SEVERITY_KEY: &str = "severity";
/// The column of the analytical table that holds a severity that the data set does not list.
pub const UNLISTED_SEVERITY: &str = "unlisted_severity";

/// Columns that an event may omit in a row before one of its keys is looked up by name.
const LOOK_AHEAD: usize = 4;

/// One data set: its columns and the roles of some of them. Columns are identified by index.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Name of the file and of everything that is deployed for it.
    pub name: String,
    /// A name for one event, for people.
    pub title: String,
    /// The column that identifies an event.
    pub id: usize,
    /// The column with an event's severity: an integer, or a text if the severities are words.
    pub severity: usize,
    /// The listed severities; 0 to 9 if the file lists none. Other numbers are accepted too, but do not get their own
    /// series if the number of series is bounded.
    pub severities: Severities,
    /// The texts that mean that a cell is blank.
    pub blanks: Blanks,
    /// The columns with an event's location, latitude and longitude in degrees, if there are any.
    pub location: Option<Location>,
    /// The column that ingest stamps; a timestamp.
    pub received_at: usize,
    /// Where the data comes from; the first folder of every object in the lake.
    pub source: String,
    /// The region that the data is about; the second folder.
    pub source_region: String,
    /// How `2/8/2016` is read if the sender does not declare an order.
    pub date_order: DateOrder,
    /// The column that spreads the events over the shards of stream 1.
    pub partition_key: usize,
    /// The column whose events stay in order on stream 2.
    pub severe_partition_key: usize,
    /// The columns of an event on stream 2, in order; null if blank.
    pub projection: Vec<usize>,
    /// The columns that follow them on stream 2, for alerts; left out if blank.
    pub details: Vec<usize>,
    /// The metric that counts the severe events.
    pub metric: Metric,
    /// The wording of an alert.
    pub alert: Alert,
    /// All columns, in the order in which they are written.
    pub columns: Vec<Column>,
    index: HashMap<String, usize>,
    /// The columns by their names without regard to case.
    folded: HashMap<String, usize>,
    /// The beginning of each column's entry in an event: `,"Temperature(F)":`.
    entries: Vec<Vec<u8>>,
    /// The key of each column's entry: `"Temperature(F)":`.
    keys: Vec<Vec<u8>>,
}

/// A column of the data set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name in the files and on the streams.
    pub name: String,
    /// Name in Glue: lower case, digits and underscores.
    pub column: String,
    /// The type of its cells.
    #[serde(rename = "type")]
    pub kind: Type,
    /// Its meaning, with its unit.
    pub comment: String,
    /// Sample values in the form of the files, for the documentation and for generated rows. May be empty.
    #[serde(default)]
    pub examples: Vec<String>,
    /// Name in Glue of the column for those cells of a `timestamp` that hold a day without a time.
    #[serde(default)]
    pub day_column: Option<String>,
}

/// The type of a column's cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Text, kept exactly as it is.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A finite number of 64 bits, whose digits are kept.
    Double,
    /// `true` or `false`.
    Boolean,
    /// An ISO-8601 time, with or without an offset.
    Timestamp,
    /// A day without a time.
    Date,
    /// A time, or a day without one: a `timestamp` in the file that has a `day_column`.
    #[serde(skip)]
    TimestampOrDate,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Date => "date",
            Self::TimestampOrDate => "timestamp with a day_column",
        })
    }
}

/// The CloudWatch metric that counts the severe events.
#[derive(Debug, Clone)]
pub struct Metric {
    /// CloudWatch namespace.
    pub namespace: String,
    /// Name of the metric.
    pub name: String,
    /// Names of the dimensions and the columns with their values, in the file's order.
    pub dimensions: Vec<(String, usize)>,
    /// The sets of dimensions under which each event counts, by position among them: first all of them, then the
    /// rollups.
    pub sets: Vec<Vec<usize>>,
}

/// The columns with an event's location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Degrees north.
    pub latitude: usize,
    /// Degrees east.
    pub longitude: usize,
}

/// The wording of an alert: templates in which `{Column}` is replaced by the event's value.
#[derive(Debug, Clone)]
pub struct Alert {
    /// The texts about one event.
    pub one: Wording,
    /// The texts about many events of one key in one message.
    pub digest: Wording,
    /// The texts about many events of several severities or areas in one message.
    pub storm: Wording,
    /// Message attributes for filter policies, and the columns with their values.
    pub attributes: Vec<(String, usize)>,
}

/// The texts of a message.
#[derive(Debug, Clone)]
pub struct Wording {
    /// One line for the subject of an e-mail.
    pub subject: Template,
    /// The text of an e-mail.
    pub text: Template,
    /// A short text for phones.
    pub sms: Template,
}

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No file has that name.
    #[error("there is no data set `{name}`: datasets/ holds {known}")]
    Unknown {
        /// The requested name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The file is not TOML of the expected form.
    #[error("datasets/{name}/dataset.toml:{line}: {reason}")]
    Malformed {
        /// The data set's name.
        name: String,
        /// The line, from 1.
        line: usize,
        /// The parser's message.
        reason: String,
    },
    /// The file contradicts itself.
    #[error("datasets/{name}/dataset.toml: {reason}")]
    Inconsistent {
        /// The data set's name.
        name: String,
        /// What is wrong, and what was expected.
        reason: String,
    },
}

/// The line of a TOML file that has an error, from 1.
#[must_use]
pub fn line_of(text: &str, error: &toml::de::Error) -> usize {
    let start = error.span().map_or(0, |span| span.start);
    text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1
}

impl Dataset {
    /// The compiled-in data set of that name.
    pub fn named(name: &str) -> Result<Self, DatasetError> {
        let (_, text) =
            FILES.iter().find(|(file, _)| *file == name).ok_or_else(|| DatasetError::Unknown {
                name: name.to_owned(),
                known: Self::names().collect::<Vec<_>>().join(", "),
            })?;
        Self::parse(name, text)
    }

    /// The names of the compiled-in data sets.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    /// The text of `datasets/<name>/series.tsv`, if there is one: the combinations of values that a bounded metric keeps
    /// under their own names, the most frequent first.
    #[must_use]
    pub fn series(&self) -> Option<&'static str> {
        SERIES.iter().find(|(name, _)| *name == self.name).map(|(_, text)| *text)
    }

    /// Reads the text of `datasets/<name>/dataset.toml` and checks that it is consistent.
    pub fn parse(name: &str, text: &str) -> Result<Self, DatasetError> {
        let file: File = toml::from_str(text).map_err(|error| DatasetError::Malformed {
            name: name.to_owned(),
            line: line_of(text, &error),
            reason: error.message().trim().replace('\n', " "),
        })?;
        file.into_dataset(name).map_err(|reason| DatasetError::Inconsistent { name: name.to_owned(), reason })
    }

    /// The columns that an event may have on stream 2.
    pub fn on_stream_2(&self) -> impl Iterator<Item = usize> {
        self.projection.iter().chain(&self.details).copied()
    }

    /// The least and the greatest level of severity.
    #[must_use]
    pub fn severity_range(&self) -> (i64, i64) {
        self.severities.range()
    }

    /// What is wrong with an event whose severity has no level.
    #[must_use]
    pub fn bad_severity(&self) -> String {
        format!("`{}`: {}", self.columns[self.severity].name, self.severities.expected())
    }

    /// The name of the message attribute with the severity's text; nothing if severities have only levels. `name` is
    /// the name of the level's attribute.
    #[must_use]
    pub fn severity_text_attribute(&self, name: &str) -> Option<String> {
        (!self.severities.are_levels()).then(|| format!("{name}_text"))
    }

    /// Whether the values of a column are numbers for filter policies, such as degrees. A column of integers may hold
    /// names.
    #[must_use]
    pub fn is_filtered_as_number(&self, column: usize) -> bool {
        self.columns[column].kind == Type::Double
    }

    /// The attributes of an alert: each name, and whether its values are numbers. A severity is filtered by its level, and
    /// by its text if it has one.
    pub fn attributes(&self) -> impl Iterator<Item = (String, bool)> {
        self.alert.attributes.iter().flat_map(|(name, column)| {
            let is_severity = *column == self.severity;
            let text = self.severity_text_attribute(name).filter(|_| is_severity);
            let is_number = is_severity || self.is_filtered_as_number(*column);
            std::iter::once((name.clone(), is_number)).chain(text.map(|name| (name, false)))
        })
    }

    /// The least and the greatest level that name partitions of the analytical table: one below the data set's range,
    /// and one above it.
    #[must_use]
    pub fn severity_partitions(&self) -> (i64, i64) {
        let (least, greatest) = self.severity_range();
        (least - 1, greatest + 1)
    }

    /// The level that names an event's partition: its own, if that is in the data set's range. All levels below the
    /// range share one partition, and so do all above it. With a partition for each there could be any number of them,
    /// and Athena would not find them.
    #[must_use]
    pub fn severity_partition(&self, severity: i64) -> i64 {
        let (below, above) = self.severity_partitions();
        severity.clamp(below, above)
    }

    /// The column of that name without regard to case, as the tables' readers compare keys. `folded` is the result of
    /// [`fold`] for the name.
    #[must_use]
    pub fn column_folded(&self, folded: &str) -> Option<usize> {
        self.folded.get(folded).copied()
    }

    /// Whether an unknown entry of an event cannot have that name, since a reader that ignores case would confuse it
    /// with a column of the data set or with the unreadable cells. `folded` is the result of [`fold`] for the name.
    #[must_use]
    pub fn reserves(&self, folded: &str) -> bool {
        folded == INVALID || self.folded.contains_key(folded)
    }

    /// The index of the column of that name in the files and on the streams.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The beginning of each column's entry in an event, with comma and colon: `,"Temperature(F)":`.
    #[must_use]
    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// The column whose key, as written in an event, is at the beginning of `text`, and the key's length. Compares only
    /// the column at `next` and a few after it.
    ///
    /// Events hold their columns in the data set's order, with some omitted, so an expected key need not be read.
    /// Without this, transform takes 28 % more time.
    #[must_use]
    pub fn key_from(&self, next: usize, text: &[u8]) -> Option<(usize, usize)> {
        let mut near = self.keys.iter().enumerate().skip(next).take(LOOK_AHEAD);
        near.find_map(|(column, key)| text.starts_with(key).then_some((column, key.len())))
    }
}

impl Metric {
    /// The name of the dimension whose value is that of the column, if there is one.
    #[must_use]
    pub fn dimension(&self, column: usize) -> Option<&str> {
        self.dimensions.iter().find(|(_, of)| *of == column).map(|(name, _)| name.as_str())
    }

    /// The positions of dimensions by their names, in the file's order. The error is a name that is not a dimension.
    pub fn set<N: AsRef<str>>(&self, names: &[N]) -> Result<Vec<usize>, String> {
        let place = |name: &N| {
            let found = self.dimensions.iter().position(|(dimension, _)| dimension == name.as_ref());
            found.ok_or_else(|| name.as_ref().to_owned())
        };
        let mut set = names.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        set.sort_unstable();
        set.dedup();
        Ok(set)
    }
}
