//! The data set: what `datasets/<name>.toml` says of the columns and of their part in the pipeline.

use std::{collections::HashMap, fmt};

use serde::Deserialize;
use serde_json::Value;

use crate::time::DateOrder;

/// The files of `datasets/`, by name.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/datasets.rs"));

/// One data set: its columns and the part that some of them play. Columns are named by their index.
#[derive(Debug)]
pub struct Dataset {
    /// Name of the file and of everything that is deployed for it.
    pub name: String,
    /// What one event is, for people.
    pub title: String,
    /// The column that identifies an event.
    pub id: usize,
    /// The column that says how severe an event is; an integer.
    pub severity: usize,
    /// The column that ingest stamps; a timestamp.
    pub received_at: usize,
    /// How `2/8/2016` is to be read where the sender does not say.
    pub date_order: DateOrder,
    /// The column that spreads the events over the shards of stream 1.
    pub partition_key: usize,
    /// The column whose events stay in order on stream 2.
    pub severe_partition_key: usize,
    /// The columns of an event on stream 2, in order.
    pub projection: Vec<usize>,
    /// The metric that counts the severe events.
    pub metric: Metric,
    /// The wording of an alert.
    pub alert: Alert,
    /// Every column, in the order in which they are written.
    pub columns: Vec<Column>,
    index: HashMap<String, usize>,
}

/// A column of the data set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name in the files and on the streams.
    pub name: String,
    /// Name in Glue: lower case, digits and underscores.
    pub column: String,
    /// What its cells hold.
    #[serde(rename = "type")]
    pub kind: Type,
    /// What it means, with its unit.
    pub comment: String,
}

/// What the cells of a column hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Type {
    /// Text, kept exactly as it stands.
    String,
    /// A whole number of 64 bits.
    Int,
    /// A finite number of 64 bits, whose digits are kept.
    Double,
    /// `true` or `false`.
    Boolean,
    /// An ISO-8601 time, with or without an offset.
    Timestamp,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
        })
    }
}

/// The CloudWatch metric that counts the severe events.
#[derive(Debug)]
pub struct Metric {
    /// CloudWatch namespace.
    pub namespace: String,
    /// Name of the metric.
    pub name: String,
    /// Names of the dimensions and the columns that give their values, in the file's order.
    pub dimensions: Vec<(String, usize)>,
}

impl Metric {
    /// The dimension whose value is the severity, which the rollup keeps, if the data set has it.
    #[must_use]
    pub fn severity_dimension(&self, severity: usize) -> Option<usize> {
        self.dimensions.iter().position(|(_, column)| *column == severity)
    }
}

/// The wording of an alert: templates in which `{Column}` stands for the event's value.
#[derive(Debug)]
pub struct Alert {
    /// One line for the subject of an e-mail.
    pub subject: Template,
    /// The text of an e-mail.
    pub text: Template,
    /// A short text for phones.
    pub sms: Template,
    /// Message attributes for filter policies, and the columns that give their values.
    pub attributes: Vec<(String, usize)>,
}

/// A text with places for the values of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Column(usize),
}

impl Template {
    /// Fills the places in, with `value` giving the text of a column.
    pub fn fill<'v>(&self, value: impl Fn(usize) -> std::borrow::Cow<'v, str>) -> String {
        self.0.iter().fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Column(column) => text.push_str(&value(*column)),
            }
            text
        })
    }
}

/// Why a data set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// There is no file of that name.
    #[error("there is no data set `{name}`: datasets/ holds {known}")]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// The file is not TOML of the expected form.
    #[error("datasets/{name}.toml cannot be read: {reason}")]
    Malformed {
        /// The data set's name.
        name: String,
        /// What the parser says.
        reason: String,
    },
    /// The file contradicts itself.
    #[error("datasets/{name}.toml: {reason}")]
    Inconsistent {
        /// The data set's name.
        name: String,
        /// What does not fit, and what would.
        reason: String,
    },
}

/// The file as it stands, its columns referred to by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    title: String,
    id: String,
    severity: String,
    received_at: String,
    date_order: DateOrder,
    partition_key: String,
    severe_partition_key: String,
    projection: Vec<String>,
    metric: MetricFile,
    alert: AlertFile,
    column: Vec<Column>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricFile {
    namespace: String,
    name: String,
    dimensions: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertFile {
    subject: String,
    text: String,
    sms: String,
    attributes: serde_json::Map<String, Value>,
}

impl Dataset {
    /// The data set of that name among those compiled in.
    pub fn named(name: &str) -> Result<Self, DatasetError> {
        let (_, text) =
            FILES.iter().find(|(file, _)| *file == name).ok_or_else(|| DatasetError::Unknown {
                name: name.to_owned(),
                known: Self::names().collect::<Vec<_>>().join(", "),
            })?;
        Self::parse(name, text)
    }

    /// The names of the data sets compiled in.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FILES.iter().map(|(name, _)| *name)
    }

    /// Reads the text of `datasets/<name>.toml` and checks that it fits together.
    pub fn parse(name: &str, text: &str) -> Result<Self, DatasetError> {
        let file: File = toml::from_str(text).map_err(|error| DatasetError::Malformed {
            name: name.to_owned(),
            reason: error.to_string().trim().replace('\n', " "),
        })?;
        Self::from_file(name, file)
            .map_err(|reason| DatasetError::Inconsistent { name: name.to_owned(), reason })
    }

    fn from_file(name: &str, file: File) -> Result<Self, String> {
        if file.name != name {
            return Err(format!("`name` is `{}`, but must be the file's own name, `{name}`", file.name));
        }
        let index = index(&file.column)?;
        let column = |role: &str, name: &str| {
            index
                .get(name)
                .copied()
                .ok_or_else(|| format!("`{role}` names `{name}`, but there is no [[column]] of that name"))
        };
        let typed = |role: &str, name: &str, kind: Type| {
            let found = column(role, name)?;
            match file.column[found].kind {
                actual if actual == kind => Ok(found),
                actual => Err(format!("`{role}` names `{name}`, a {actual}, where a {kind} is needed")),
            }
        };
        let dataset = Self {
            id: typed("id", &file.id, Type::String)?,
            severity: typed("severity", &file.severity, Type::Int)?,
            received_at: typed("received_at", &file.received_at, Type::Timestamp)?,
            date_order: file.date_order,
            partition_key: column("partition_key", &file.partition_key)?,
            severe_partition_key: column("severe_partition_key", &file.severe_partition_key)?,
            projection: file
                .projection
                .iter()
                .map(|name| column("projection", name))
                .collect::<Result<_, _>>()?,
            metric: Metric {
                namespace: file.metric.namespace,
                name: file.metric.name,
                dimensions: references("metric.dimensions", &file.metric.dimensions, &column)?,
            },
            alert: Alert {
                subject: template("alert.subject", &file.alert.subject, &file.title, &column)?,
                text: template("alert.text", &file.alert.text, &file.title, &column)?,
                sms: template("alert.sms", &file.alert.sms, &file.title, &column)?,
                attributes: references("alert.attributes", &file.alert.attributes, &column)?,
            },
            name: file.name,
            title: file.title,
            columns: file.column,
            index,
        };
        dataset.check_projection()?;
        Ok(dataset)
    }

    /// Whatever the consumers of stream 2 need must be on stream 2.
    fn check_projection(&self) -> Result<(), String> {
        let templates = [&self.alert.subject, &self.alert.text, &self.alert.sms];
        let needed = [self.id, self.severity, self.received_at, self.severe_partition_key]
            .into_iter()
            .chain(self.metric.dimensions.iter().map(|(_, column)| *column))
            .chain(self.alert.attributes.iter().map(|(_, column)| *column))
            .chain(templates.into_iter().flat_map(|template| {
                template.0.iter().filter_map(|piece| match piece {
                    Piece::Column(column) => Some(*column),
                    Piece::Text(_) => None,
                })
            }));
        for column in needed {
            if !self.projection.contains(&column) {
                let name = &self.columns[column].name;
                return Err(format!("`projection` lacks `{name}`, which metrics or alerts need: add it"));
            }
        }
        Ok(())
    }

    /// The index of the column of that name in the files and on the streams.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }
}

fn index(columns: &[Column]) -> Result<HashMap<String, usize>, String> {
    let mut by_name = HashMap::with_capacity(columns.len());
    let mut glue = HashMap::with_capacity(columns.len());
    for (position, column) in columns.iter().enumerate() {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if column.column.is_empty() || !column.column.chars().all(plain) {
            return Err(format!(
                "column = `{}` of `{}` is no Glue name: lower case letters, digits and underscores are",
                column.column, column.name
            ));
        }
        if by_name.insert(column.name.clone(), position).is_some() {
            return Err(format!("name = `{}` stands twice among the columns", column.name));
        }
        if glue.insert(column.column.as_str(), position).is_some() {
            return Err(format!("column = `{}` stands twice among the columns", column.column));
        }
    }
    Ok(by_name)
}

/// A table of names to columns, in the file's order.
fn references(
    role: &str,
    table: &serde_json::Map<String, Value>,
    column: &impl Fn(&str, &str) -> Result<usize, String>,
) -> Result<Vec<(String, usize)>, String> {
    table
        .iter()
        .map(|(name, value)| match value {
            Value::String(value) => Ok((name.clone(), column(role, value)?)),
            other => Err(format!("`{role}.{name}` is {other}, where the name of a column is needed")),
        })
        .collect()
}

fn template(
    role: &str,
    text: &str,
    title: &str,
    column: &impl Fn(&str, &str) -> Result<usize, String>,
) -> Result<Template, String> {
    let mut pieces = Vec::new();
    let mut rest = text.trim_start_matches('\n');
    while let Some((literal, tail)) = rest.split_once('{') {
        let (place, tail) = tail
            .split_once('}')
            .ok_or_else(|| format!("`{role}` opens a place with {{ that no }} closes"))?;
        pieces.push(Piece::Text(literal.to_owned()));
        pieces.push(match place {
            "title" => Piece::Text(title.to_owned()),
            name => Piece::Column(column(role, name)?),
        });
        rest = tail;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(Template(pieces))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn us_accidents() -> &'static str {
        FILES.iter().find(|(name, _)| *name == "us_accidents").unwrap().1
    }

    #[test]
    fn every_data_set_compiled_in_is_consistent() {
        for name in Dataset::names() {
            Dataset::named(name).unwrap();
        }
    }

    #[test]
    fn us_accidents_holds_the_union_of_the_published_layouts() {
        let dataset = Dataset::named("us_accidents").unwrap();
        assert_eq!(dataset.columns.len(), 49 + 1, "49 published columns and the one that ingest stamps");
        assert_eq!(dataset.columns[dataset.id].name, "ID");
        assert_eq!(dataset.columns[dataset.column("Temperature(F)").unwrap()].column, "temperature_f");
        let names: Vec<_> = dataset.projection.iter().map(|c| dataset.columns[*c].name.as_str()).collect();
        assert_eq!(names, ["ID", "Severity", "City", "County", "Txn_Timestamp"]);
        let dimensions: Vec<_> = dataset.metric.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(dimensions, ["severity_accident", "city_accident", "county_accident"]);
    }

    #[test]
    fn an_unknown_data_set_is_answered_with_those_that_exist() {
        let error = Dataset::named("tickets_of_mars").unwrap_err().to_string();
        assert!(error.starts_with("there is no data set `tickets_of_mars`: datasets/ holds "), "{error}");
        assert!(error.contains("us_accidents"), "{error}");
    }

    #[test]
    fn what_does_not_fit_together_is_said_in_one_sentence() {
        let cases = [
            ("id = \"ID\"", "id = \"Id\"", "`id` names `Id`, but there is no [[column]] of that name"),
            ("severity = \"Severity\"", "severity = \"City\"", "a string, where a int is needed"),
            ("\"City\", \"County\", \"Txn", "\"City\", \"Txn", "`projection` lacks `County`"),
            ("column = \"city\"", "column = \"City\"", "is no Glue name"),
            ("column = \"city\"", "column = \"county\"", "column = `county` stands twice"),
            ("{Severity} accident was", "{Sev} accident was", "`alert.text` names `Sev`"),
            ("name = \"us_accidents\"", "name = \"other\"", "must be the file's own name"),
            ("type = \"int\"", "type = \"integer\"", "unknown variant `integer`"),
        ];
        for (from, to, expected) in cases {
            let text = us_accidents().replacen(from, to, 1);
            assert_ne!(text, us_accidents(), "{from} must stand in the file");
            let error = Dataset::parse("us_accidents", &text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}\nshould say: {expected}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
