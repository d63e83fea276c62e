//! The data set: what `datasets/<name>.toml` says of the columns and of their part in the pipeline.

use std::{collections::HashMap, fmt};

use serde::Deserialize;
use serde_json::Value;

use crate::{cell, time::DateOrder, writer::Literal};

/// The files of `datasets/`, by name.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/datasets.rs"));

/// The files `datasets/<name>.series.tsv`, by name.
const SERIES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/series.rs"));

/// Where a data set does not say which severities there are.
const SEVERITIES: std::ops::RangeInclusive<i64> = 0..=9;

/// Columns that an event may leave out in a row before one of its keys is looked up by its name.
const LOOK_AHEAD: usize = 4;

/// One data set: its columns and the part that some of them play. Columns are named by their index.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// Name of the file and of everything that is deployed for it.
    pub name: String,
    /// What one event is, for people.
    pub title: String,
    /// The column that identifies an event.
    pub id: usize,
    /// The column that says how severe an event is; an integer.
    pub severity: usize,
    /// The severities that there are, from the least; 0 to 9 where the file does not say. Others get through all the
    /// same, but have no series of their own where their number is bounded.
    pub severities: Vec<i64>,
    /// The columns that say where an event was, latitude and longitude in degrees, if any do.
    pub location: Option<Location>,
    /// The column that ingest stamps; a timestamp.
    pub received_at: usize,
    /// Where the data comes from; the first folder of every object in the lake.
    pub source: String,
    /// The region that the data is about; the second folder.
    pub source_region: String,
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
    /// The beginning of each column's entry in an event: `,"Temperature(F)":`.
    entries: Vec<Literal>,
    /// The key of each column's entry: `"Temperature(F)":`.
    keys: Vec<Literal>,
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
    /// Values as files hold them, for the documentation and for generated rows; none need be given.
    #[serde(default)]
    pub examples: Vec<String>,
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
#[derive(Debug, Clone)]
pub struct Metric {
    /// CloudWatch namespace.
    pub namespace: String,
    /// Name of the metric.
    pub name: String,
    /// Names of the dimensions and the columns that give their values, in the file's order.
    pub dimensions: Vec<(String, usize)>,
    /// The sets of dimensions under which each event counts, by position among them: first all of them, then the
    /// rollups.
    pub sets: Vec<Vec<usize>>,
}

/// The columns that say where an event was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    /// Degrees north.
    pub latitude: usize,
    /// Degrees east.
    pub longitude: usize,
}

/// The wording of an alert: templates in which `{Column}` stands for the event's value.
#[derive(Debug, Clone)]
pub struct Alert {
    /// The texts about one event.
    pub one: Wording,
    /// The texts about many events of one key in one message.
    pub digest: Wording,
    /// Message attributes for filter policies, and the columns that give their values.
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

/// A text with places for the values of an event, or of many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Place(Place),
}

/// What a place in a text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `{Column}`: the value of the column.
    Column(usize),
    /// `{count}` in a digest: how many events it tells of.
    Count,
    /// `{ids}` in a digest: the ids of the first of them.
    Ids,
}

impl Template {
    /// Fills the places in, with `value` giving the text of each.
    pub fn fill<'v>(&self, value: impl Fn(Place) -> std::borrow::Cow<'v, str>) -> String {
        self.0.iter().fold(String::new(), |mut text, piece| {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Place(place) => text.push_str(&value(*place)),
            }
            text
        })
    }

    fn columns(&self) -> impl Iterator<Item = usize> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Place(Place::Column(column)) => Some(*column),
            _ => None,
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
    severities: Option<Vec<i64>>,
    location: Option<LocationFile>,
    received_at: String,
    #[serde(default = "unnamed")]
    source: String,
    #[serde(default = "unnamed")]
    source_region: String,
    date_order: DateOrder,
    partition_key: String,
    severe_partition_key: String,
    projection: Vec<String>,
    metric: MetricFile,
    alert: Option<AlertFile>,
    column: Vec<Column>,
}

/// The folder in the lake of a data set that names none.
fn unnamed() -> String {
    "all".to_owned()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MetricFile {
    namespace: String,
    name: String,
    dimensions: serde_json::Map<String, Value>,
    rollups: Option<Vec<Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LocationFile {
    latitude: String,
    longitude: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertFile {
    subject: String,
    text: String,
    sms: String,
    attributes: serde_json::Map<String, Value>,
    digest: Option<WordingFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WordingFile {
    subject: String,
    text: String,
    sms: String,
}

impl WordingFile {
    /// A digest in words that fit any trade.
    fn digest(file: &File, glue: &dyn Fn(&str) -> String) -> Self {
        let File { name, severity, severe_partition_key: area, .. } = file;
        let (severity_column, area_column) = (glue(severity), glue(area));
        let text = format!(
            "{{count}} events ({{title}}) of severity {{{severity}}} came in at once, {area} {{{area}}}. They are told in this \
             one message.\n\nFirst ids:  {{ids}}\n\nAll of them stand in the table {name}_analytical, under \
             {severity_column} {{{severity}}} and {area_column} {{{area}}}.\n"
        );
        Self {
            subject: format!("{{count}} alerts of severity {{{severity}}}: {{{area}}}"),
            text,
            sms: format!(
                "{{count}} alerts ({{title}}) of severity {{{severity}}}: {{{area}}}. First ids: {{ids}}."
            ),
        }
    }
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

    /// The text of `datasets/<name>.series.tsv`, if there is one: the combinations of values that a bounded metric keeps
    /// under their own names, the most frequent first.
    #[must_use]
    pub fn series(&self) -> Option<&'static str> {
        SERIES.iter().find(|(name, _)| *name == self.name).map(|(_, text)| *text)
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

    fn from_file(name: &str, mut file: File) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !(2..=20).contains(&name.len())
            || !name.starts_with(|c: char| c.is_ascii_lowercase())
            || !name.chars().all(plain)
        {
            return Err(
                "the file's name must be two to twenty lower case letters, digits and underscores, a letter first".to_owned()
            );
        }
        if file.name != name {
            return Err(format!("`name` is `{}`, but must be the file's own name, `{name}`", file.name));
        }
        let index = index(&file.column)?;
        let mut alert = file.alert.take().unwrap_or_else(|| {
            AlertFile::general(&file.severity, &file.severe_partition_key, &file.id, &file.projection)
        });
        let column = |role: &str, name: &str| {
            index
                .get(name)
                .copied()
                .ok_or_else(|| format!("`{role}` names `{name}`, but there is no [[column]] of that name"))
        };
        let glue =
            |name: &str| index.get(name).map_or_else(String::new, |at| file.column[*at].column.clone());
        let digest = alert.digest.take().unwrap_or_else(|| WordingFile::digest(&file, &glue));
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
            severities: severities(file.severities)?,
            location: match &file.location {
                None => None,
                Some(location) => Some(Location {
                    latitude: typed("location.latitude", &location.latitude, Type::Double)?,
                    longitude: typed("location.longitude", &location.longitude, Type::Double)?,
                }),
            },
            received_at: typed("received_at", &file.received_at, Type::Timestamp)?,
            source: folder("source", file.source)?,
            source_region: folder("source_region", file.source_region)?,
            date_order: file.date_order,
            partition_key: column("partition_key", &file.partition_key)?,
            severe_partition_key: column("severe_partition_key", &file.severe_partition_key)?,
            projection: file
                .projection
                .iter()
                .map(|name| column("projection", name))
                .collect::<Result<_, _>>()?,
            metric: Metric::from_file(file.metric, [&file.severity, &file.severe_partition_key], &column)?,
            alert: Alert {
                one: Wording {
                    subject: template("alert.subject", &alert.subject, &file.title, &column, &[])?,
                    text: template("alert.text", &alert.text, &file.title, &column, &[])?,
                    sms: template("alert.sms", &alert.sms, &file.title, &column, &[])?,
                },
                digest: Wording {
                    subject: template(
                        "alert.digest.subject",
                        &digest.subject,
                        &file.title,
                        &column,
                        &DIGEST,
                    )?,
                    text: template("alert.digest.text", &digest.text, &file.title, &column, &DIGEST)?,
                    sms: template("alert.digest.sms", &digest.sms, &file.title, &column, &DIGEST)?,
                },
                attributes: references("alert.attributes", &alert.attributes, &column)?,
            },
            name: file.name,
            title: file.title,
            entries: file.column.iter().map(|column| Literal::new(&cell::entry(&column.name))).collect(),
            keys: file.column.iter().map(|column| Literal::new(&cell::key(&column.name))).collect(),
            columns: file.column,
            index,
        };
        dataset.check_projection()?;
        dataset.check_names()?;
        if dataset.metric.dimension(dataset.severity).is_none() {
            return Err(format!(
                "`metric.dimensions` lacks the severity, by which the alarm watches: add `severity = \"{}\"`",
                dataset.columns[dataset.severity].name
            ));
        }
        Ok(dataset)
    }

    /// The tables have columns of their own beside those of the data set.
    fn check_names(&self) -> Result<(), String> {
        for (index, Column { name, column, .. }) in self.columns.iter().enumerate() {
            let is_the_severity_of_another = column == SEVERITY_KEY && index != self.severity;
            if is_the_severity_of_another || TAKEN.contains(&column.as_str()) {
                return Err(format!(
                    "column = `{column}` of `{name}` is a name that the tables need themselves: another, such as \
                     `{column}_of_event`, is right"
                ));
            }
        }
        Ok(())
    }

    /// Whatever the consumers of stream 2 need must be on stream 2.
    fn check_projection(&self) -> Result<(), String> {
        let Alert { one, digest, attributes } = &self.alert;
        let templates =
            [one, digest].into_iter().flat_map(|wording| [&wording.subject, &wording.text, &wording.sms]);
        let needed = [self.id, self.severity, self.received_at, self.severe_partition_key]
            .into_iter()
            .chain(self.metric.dimensions.iter().map(|(_, column)| *column))
            .chain(attributes.iter().map(|(_, column)| *column))
            .chain(templates.flat_map(Template::columns));
        for column in needed {
            if !self.projection.contains(&column) {
                let name = &self.columns[column].name;
                return Err(format!("`projection` lacks `{name}`, which metrics or alerts need: add it"));
            }
        }
        Ok(())
    }

    /// The least and the greatest severity that there are.
    #[must_use]
    pub fn severity_range(&self) -> (i64, i64) {
        let ends = self.severities.first().zip(self.severities.last());
        ends.map_or((0, 0), |(least, greatest)| (*least, *greatest))
    }

    /// The index of the column of that name in the files and on the streams.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// The beginning of each column's entry in an event, comma and colon included: `,"Temperature(F)":`.
    #[must_use]
    pub fn entries(&self) -> &[Literal] {
        &self.entries
    }

    /// The column whose key `text` begins with, as it is written in an event, and the key's length. It is looked for at
    /// `next` and shortly behind it.
    ///
    /// Events hold their columns in the data set's order, with some left out: a key that is as expected need not be
    /// read. Without it transform takes 28 % more time.
    #[inline(always)]
    #[must_use]
    pub fn key_from(&self, next: usize, text: &[u8]) -> Option<(usize, usize)> {
        // A loop, since iterators are not inlined here.
        for (ahead, key) in self.keys.get(next..)?.iter().take(LOOK_AHEAD).enumerate() {
            if key.begins(text) {
                return Some((next + ahead, key.bytes()));
            }
        }
        None
    }

    /// The column of that name, looked for first at `next` and shortly behind it.
    ///
    /// Events hold their columns in the data set's order, with some left out: a comparison or two instead of a hash
    /// of every key, which is a seventh of the time to read an event.
    #[must_use]
    pub fn column_from(&self, next: usize, name: &str) -> Option<usize> {
        let near = self.columns.iter().enumerate().skip(next).take(LOOK_AHEAD);
        near.into_iter()
            .find_map(|(index, column)| (column.name == name).then_some(index))
            .or_else(|| self.column(name))
    }
}

impl AlertFile {
    /// The wording for a data set that brings none: what stands on stream 2, a line for each column.
    fn general(severity: &str, area: &str, id: &str, projection: &[String]) -> Self {
        let lines: Vec<_> = projection.iter().map(|name| format!("{name}: {{{name}}}\n")).collect();
        let attribute = |name: &str, column: &str| (name.to_owned(), Value::String(column.to_owned()));
        Self {
            subject: format!("{{title}} of severity {{{severity}}}: {{{area}}}"),
            text: format!("One {{title}} of severity {{{severity}}} was reported.\n\n{}", lines.concat()),
            sms: format!("{{title}} of severity {{{severity}}}: {{{area}}}. Id {{{id}}}."),
            digest: None,
            attributes: [attribute("severity", severity), attribute("area", area), attribute("id", id)]
                .into_iter()
                .collect(),
        }
    }
}

/// A folder's name in the lake.
fn folder(role: &str, name: String) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if name.is_empty() || name.len() > 32 || !name.chars().all(plain) {
        return Err(format!(
            "`{role}` is `{name}`, where one to 32 lower case letters, digits, hyphens and underscores are right"
        ));
    }
    Ok(name)
}

/// Columns that the tables have beside the data set's own: keys of the partitions, and the text of unreadable cells.
const TAKEN: [&str; 4] = ["year", "month", "day", "invalid"];
/// The key of the partitions that holds the severity, whatever the data set's own column is called.
pub const SEVERITY_KEY: &str = "severity";

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

impl Metric {
    /// The name of the dimension whose value is that of the column, if there is one.
    #[must_use]
    pub fn dimension(&self, column: usize) -> Option<&str> {
        self.dimensions.iter().find(|(_, of)| *of == column).map(|(name, _)| name.as_str())
    }

    fn from_file(
        file: MetricFile,
        [severity, area]: [&str; 2],
        column: &impl Fn(&str, &str) -> Result<usize, String>,
    ) -> Result<Self, String> {
        let dimensions = references("metric.dimensions", &file.dimensions, column)?;
        let all: Vec<usize> = (0..dimensions.len()).collect();
        let mut metric = Self { namespace: file.namespace, name: file.name, dimensions, sets: vec![all] };
        // What alarms and dashboards read.
        let severity = metric.dimension(column("severity", severity)?).map(str::to_owned);
        let area = metric.dimension(column("severe_partition_key", area)?).map(str::to_owned);
        let read = severity.into_iter().flat_map(|severity| {
            let by_area = area.iter().map(|area| vec![severity.clone(), area.clone()]);
            std::iter::once(vec![severity.clone()]).chain(by_area).collect::<Vec<_>>()
        });
        for rollup in file.rollups.unwrap_or_else(|| read.collect()) {
            let set = metric.set(&rollup).map_err(|unknown| {
                format!("`metric.rollups` names `{unknown}`, which is none of `metric.dimensions`")
            })?;
            if !metric.sets.contains(&set) {
                metric.sets.push(set);
            }
        }
        Ok(metric)
    }

    /// The positions of dimensions by their names, in the file's order; an error is the name that is none.
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

fn severities(file: Option<Vec<i64>>) -> Result<Vec<i64>, String> {
    let severities = file.unwrap_or_else(|| SEVERITIES.collect());
    if severities.is_empty() || !severities.is_sorted_by(|one, next| one < next) {
        return Err("`severities` must name each severity once, from the least: [1, 2, 3, 4]".to_owned());
    }
    Ok(severities)
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

/// The places of a digest beside its columns.
const DIGEST: [(&str, Place); 2] = [("count", Place::Count), ("ids", Place::Ids)];

fn template(
    role: &str,
    text: &str,
    title: &str,
    column: &impl Fn(&str, &str) -> Result<usize, String>,
    own: &[(&str, Place)],
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
            name => Piece::Place(match own.iter().find(|(place, _)| *place == name) {
                Some((_, place)) => *place,
                None => Place::Column(column(role, name)?),
            }),
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
    fn events_count_under_all_dimensions_and_under_the_rollups() {
        let dataset = Dataset::named("us_accidents").unwrap();
        assert_eq!(dataset.metric.sets, [vec![0, 1, 2], vec![0], vec![0, 2]]);
        let rollups = r#"rollups = [["severity_accident"], ["severity_accident", "county_accident"]]"#;
        assert!(us_accidents().contains(rollups));
        let sets = |other| {
            Dataset::parse("us_accidents", &us_accidents().replace(rollups, other)).unwrap().metric.sets
        };
        assert_eq!(sets(""), dataset.metric.sets, "those that alarms and dashboards read");
        assert_eq!(sets("rollups = []"), [vec![0, 1, 2]]);
    }

    #[test]
    fn a_digest_has_words_of_its_own_or_those_that_fit_any_trade() {
        let (before, digest) = us_accidents().split_once("[alert.digest]").unwrap();
        let (_, after) = digest.split_once("[[column]]").unwrap();
        let dataset = Dataset::parse("us_accidents", &format!("{before}[[column]]{after}")).unwrap();
        let fill = |template: &Template| {
            template.fill(|place| match place {
                Place::Count => "12".into(),
                Place::Ids => "A-1, A-2".into(),
                Place::Column(column) => dataset.columns[column].name.clone().into(),
            })
        };
        let wording = &dataset.alert.digest;
        assert_eq!(fill(&wording.subject), "12 alerts of severity Severity: County");
        assert_eq!(
            fill(&wording.sms),
            "12 alerts (US accident) of severity Severity: County. First ids: A-1, A-2."
        );
        assert!(fill(&wording.text).ends_with(
            "stand in the table us_accidents_analytical, under severity Severity and county County.\n"
        ));
    }

    #[test]
    fn an_unknown_data_set_is_answered_with_those_that_exist() {
        let error = Dataset::named("tickets_of_mars").unwrap_err().to_string();
        assert!(error.starts_with("there is no data set `tickets_of_mars`: datasets/ holds "), "{error}");
        assert!(error.contains("us_accidents"), "{error}");
    }

    #[test]
    fn a_data_set_without_words_of_its_own_alerts_with_what_stands_on_stream_2() {
        let text = us_accidents();
        let (before, rest) = text.split_once("[alert]").unwrap();
        let (_, columns) = rest.split_once("[[column]]").unwrap();
        let dataset = Dataset::parse("us_accidents", &format!("{before}\n[[column]]{columns}")).unwrap();
        let value = |place: Place| match place {
            Place::Column(column) => format!("<{}>", dataset.columns[column].name).into(),
            place => unreachable!("{place:?} in the words about one event"),
        };
        assert_eq!(dataset.alert.one.subject.fill(value), "US accident of severity <Severity>: <County>");
        assert!(
            dataset
                .alert
                .one
                .text
                .fill(value)
                .ends_with("County: <County>\nTxn_Timestamp: <Txn_Timestamp>\n")
        );
        let attributes: Vec<_> = dataset.alert.attributes.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(attributes, ["severity", "area", "id"]);
    }

    #[test]
    fn what_does_not_fit_together_is_said_in_one_sentence() {
        let cases = [
            ("id = \"ID\"", "id = \"Id\"", "`id` names `Id`, but there is no [[column]] of that name"),
            ("severity = \"Severity\"", "severity = \"City\"", "a string, where a int is needed"),
            ("\"City\", \"County\", \"Txn", "\"City\", \"Txn", "`projection` lacks `County`"),
            ("column = \"city\"", "column = \"City\"", "is no Glue name"),
            ("column = \"city\"", "column = \"county\"", "column = `county` stands twice"),
            ("column = \"city\"", "column = \"day\"", "`day_of_event`, is right"),
            ("column = \"city\"", "column = \"severity\"", "column = `severity` stands twice"),
            ("source = \"traffic\"", "source = \"US traffic\"", "`source` is `US traffic`"),
            ("{Severity} accident was", "{Sev} accident was", "`alert.text` names `Sev`"),
            ("name = \"us_accidents\"", "name = \"other\"", "must be the file's own name"),
            ("type = \"int\"", "type = \"integer\"", "unknown variant `integer`"),
            (
                "[\"severity_accident\", \"county_acc",
                "[\"severity_accident\", \"town_acc",
                "`metric.rollups` names `town_accident`",
            ),
            ("severities = [1, 2", "severities = [2, 1", "`severities` must name each severity once"),
            ("text = \"\"\"\nA sev", "text = \"\"\"\n{count} sev", "`alert.text` names `count`"),
            ("\"Start_Lat\", long", "\"City\", long", "`location.latitude` names `City`, a string"),
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
