//! What `template.yaml` says of the data set.
//!
//! The template holds blocks between `# <columns raw: …>` and `# </columns raw>`; nothing in them is written by hand.

use std::collections::{BTreeMap, BTreeSet};

use shared::{
    dataset::{Column, Dataset, SEVERITY_KEY, Type, UNLISTED_SEVERITY},
    reject,
};

use crate::{glue_type, queries::question, raw_type};

/// What the column of unlisted severities means.
const UNLISTED: &str = "Severity of an event that the data set does not list; null for the others.";

/// What stands in the first line of every block, behind its name.
const ORIGIN: &str = "generated from the data set by make schema";

/// The default of `TransformSeverityAbove`, whatever the data set.
const DEFAULT_THRESHOLD: i64 = 2;

/// A data set with the saved queries on it.
struct Source<'a> {
    dataset: &'a Dataset,
    queries: &'a BTreeMap<String, String>,
}

/// A block of the template: its name and its lines.
type Block = (&'static str, fn(&Source<'_>) -> Vec<String>);

const BLOCKS: [Block; 11] = [
    ("default data set", |source| default(&source.dataset.name)),
    ("alarmed", |source| {
        let Dataset { metric, severity, severe_partition_key, .. } = source.dataset;
        let severity = metric.dimension(*severity).unwrap_or_default();
        // A metric that is not counted by area is watched by severity alone.
        let area = metric.dimension(*severe_partition_key).unwrap_or(severity);
        let key = &source.dataset.columns[*severe_partition_key];
        let (_, highest) = source.dataset.severity_range();
        let folder = format!("{}/{}", source.dataset.source, source.dataset.source_region);
        vec![
            format!("Source: {{Folder: {}}}", quoted(&folder)),
            format!("Metric: {{Namespace: {}, Name: {}}}", quoted(&metric.namespace), quoted(&metric.name)),
            format!("Severity: {{Dimension: {}, Highest: \"{highest}\"}}", quoted(severity)),
            format!(
                "Area: {{Dimension: {}, Name: {}, Example: {}}}",
                quoted(area),
                quoted(&key.name),
                quoted(key.examples.first().map_or("anywhere", String::as_str))
            ),
        ]
    }),
    ("mappings raw", |source| source.dataset.columns.iter().filter_map(mapping).collect()),
    ("columns raw", |source| {
        let column = |column: &Column| glue_column(&column.column, raw_type(column.kind), &column.comment);
        source.dataset.columns.iter().map(column).collect()
    }),
    ("thresholds", |source| {
        let allowed: Vec<_> = thresholds(source.dataset).iter().map(ToString::to_string).collect();
        vec![format!("AllowedValues: [{}]", allowed.join(", "))]
    }),
    ("severities", |source| {
        let dataset = source.dataset;
        let line = |above: &i64| {
            let (least, greatest) = projected(dataset, *above);
            format!("\"{above}\": {{Range: \"{least},{greatest}\"}}")
        };
        thresholds(dataset).iter().map(line).collect()
    }),
    ("columns analytical", |source| {
        let mut columns = without_severity(source.dataset);
        columns.push(glue_column(UNLISTED_SEVERITY, "bigint", UNLISTED));
        columns
    }),
    ("columns rejects", |_| {
        reject::COLUMNS.iter().map(|(name, kind, comment)| glue_column(name, kind, comment)).collect()
    }),
    ("columns latest", |source| with_severity(source.dataset)),
    ("query latest", |source| vec![latest(source.dataset)]),
    ("saved queries", |source| source.queries.iter().flat_map(saved_query).collect()),
];

/// A block is not where it must be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the template lacks the line `{0}`: put it back where the block belongs")]
pub struct NoBlock(String);

/// The template with every block as the data set has it.
pub fn render(
    dataset: &Dataset,
    queries: &BTreeMap<String, String>,
    template: &str,
) -> Result<String, NoBlock> {
    let source = Source { dataset, queries };
    BLOCKS.iter().try_fold(template.to_owned(), |template, block| fill(&source, &template, block))
}

fn fill(source: &Source<'_>, template: &str, (name, lines): &Block) -> Result<String, NoBlock> {
    let (begin, end) = (format!("# <{name}: {ORIGIN}>"), format!("# </{name}>"));
    let (before, rest) = template.split_once(&begin).ok_or_else(|| NoBlock(begin.clone()))?;
    let (_, after) = rest.split_once(&end).ok_or_else(|| NoBlock(end.clone()))?;
    let indent = before.rsplit('\n').next().unwrap_or_default();
    let lines = lines(source);
    let body: Vec<_> = lines
        .iter()
        .map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{indent}{line}\n") })
        .collect();
    let body = body.concat();
    Ok(format!("{before}{begin}\n{body}{indent}{end}{after}"))
}

/// The thresholds of transform that make a difference, and its default. Athena looks for the severities above the one that is
/// chosen, and a template cannot add, so that each has its range.
fn thresholds(dataset: &Dataset) -> BTreeSet<i64> {
    let (lowest, highest) = dataset.severity_range();
    let severities = dataset.severities.iter().copied().filter(|severity| *severity < highest);
    severities.chain([lowest - 1, DEFAULT_THRESHOLD]).collect()
}

/// The partitions of the events above a threshold, those of severities that the data set does not list included.
fn projected(dataset: &Dataset, above: i64) -> (i64, i64) {
    (dataset.severity_partition(above.saturating_add(1)), dataset.severity_partition(i64::MAX))
}

fn default(value: &str) -> Vec<String> {
    vec![format!("Default: {}", quoted(value))]
}

/// The key of the JSON, in lower case as the deserialiser reads it, where it is not the column's own name.
fn mapping(column: &Column) -> Option<String> {
    let key = column.name.to_lowercase();
    (key != column.column).then(|| format!("mapping.{}: {}", column.column, quoted(&key)))
}

/// The columns but the one that the partitions' key stands for: Glue takes no column twice.
fn without_severity(dataset: &Dataset) -> Vec<String> {
    let column = |column: &Column| glue_column(&column.column, glue_type(column.kind), &column.comment);
    dataset.columns.iter().filter(|column| column.column != SEVERITY_KEY).map(column).collect()
}

/// The columns where there are no partitions, the severity last.
fn with_severity(dataset: &Dataset) -> Vec<String> {
    let mut columns = without_severity(dataset);
    columns.push(glue_column(SEVERITY_KEY, "bigint", "Severity of the event."));
    columns
}

fn glue_column(name: &str, kind: &str, comment: &str) -> String {
    format!("- {{Name: {}, Type: {kind}, Comment: {}}}", scalar(name), quoted(comment))
}

/// The definition of the view without repeats, in the form in which Athena keeps one: JSON, which the template encodes.
fn latest(dataset: &Dataset) -> String {
    let id = &dataset.columns[dataset.id].column;
    let received_at = &dataset.columns[dataset.received_at].column;
    let columns: Vec<(&str, &str)> = dataset
        .columns
        .iter()
        .filter(|column| column.column != SEVERITY_KEY)
        .map(|column| (column.column.as_str(), athena_type(column.kind)))
        .chain([(SEVERITY_KEY, "bigint")])
        .collect();
    let name = |(name, _): &(&str, &str)| match *name {
        // The partitions' key is the severity of those events alone that are listed.
        SEVERITY_KEY => format!("coalesce(\\\"{UNLISTED_SEVERITY}\\\", \\\"{name}\\\") AS \\\"{name}\\\""),
        name => format!("\\\"{name}\\\""),
    };
    let names: Vec<_> = columns.iter().map(name).collect();
    let names = names.join(", ");
    let typed: Vec<_> =
        columns.iter().map(|(name, kind)| format!("{{\"name\":\"{name}\",\"type\":\"{kind}\"}}")).collect();
    format!(
        "Fn::Base64: !Sub '{{\"originalSql\":\"SELECT {names} FROM (SELECT *, row_number() OVER (PARTITION BY \\\"{id}\\\" \
         ORDER BY \\\"{received_at}\\\" DESC NULLS LAST) AS nth_newest FROM \\\"{table}\\\") AS numbered WHERE nth_newest = 1\",\
         \"catalog\":\"awsdatacatalog\",\"schema\":\"${{Database}}\",\"columns\":[{typed}]}}'",
        table = format_args!("{}_analytical", dataset.name),
        typed = typed.join(","),
    )
}

fn athena_type(kind: Type) -> &'static str {
    match kind {
        Type::String => "varchar",
        other => glue_type(other),
    }
}

/// A saved query as a resource, with an empty line before it.
fn saved_query((name, text): (&String, &String)) -> Vec<String> {
    let lines = [
        String::new(),
        format!("{}Query:", pascal(name)),
        "  Type: AWS::Athena::NamedQuery".to_owned(),
        "  Properties:".to_owned(),
        format!("    Name: {name}"),
        format!("    Description: {}", quoted(question(text))),
        "    Database: !Ref Database".to_owned(),
        "    WorkGroup: !Ref QueryWorkGroup".to_owned(),
        "    QueryString: |".to_owned(),
    ];
    let indented = |line: &str| if line.is_empty() { String::new() } else { format!("      {line}") };
    lines.into_iter().chain(text.lines().map(indented)).collect()
}

/// `severe_by_county` as a logical id has it, `SevereByCounty`.
fn pascal(name: &str) -> String {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .flat_map(|word| {
            word.char_indices().map(|(index, c)| if index == 0 { c.to_ascii_uppercase() } else { c })
        })
        .collect()
}

/// Words that YAML takes for something other than a text.
///
/// Source: YAML 1.1, "Boolean" and "Null" language-independent types.
const YAML_WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// A name of lower case letters, digits and underscores as YAML reads it as a text.
fn scalar(name: &str) -> String {
    if YAML_WORDS.contains(&name) { quoted(name) } else { name.to_owned() }
}

/// A text in YAML's double quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = include_str!("../../../template.yaml");

    fn rendered(template: &str) -> Result<String, NoBlock> {
        render(&Dataset::named("us_accidents").unwrap(), &BTreeMap::new(), template)
    }

    #[test]
    fn a_block_is_rewritten_whole_and_the_rest_is_left_alone() {
        let spoilt = TEMPLATE.replacen("{Name: city, Type: string", "{Name: town, Type: string", 1);
        assert_ne!(spoilt, TEMPLATE);
        assert_eq!(rendered(&spoilt), rendered(TEMPLATE));
        let error = rendered(&TEMPLATE.replace("# </columns raw>", "")).unwrap_err().to_string();
        assert_eq!(
            error,
            "the template lacks the line `# </columns raw>`: put it back where the block belongs"
        );
    }

    #[test]
    fn a_saved_query_is_a_resource_with_its_question() {
        let query = ("by_county".to_owned(), "-- Where \"is\" it?\n\nselect 1\n".to_owned());
        let lines = saved_query((&query.0, &query.1));
        assert_eq!(lines[1], "ByCountyQuery:");
        assert!(lines.contains(&"    Description: \"Where \\\"is\\\" it?\"".to_owned()));
        assert_eq!(&lines[lines.len() - 3..], ["      -- Where \"is\" it?", "", "      select 1"]);
    }

    #[test]
    fn names_and_texts_stay_texts_in_yaml() {
        for (name, expected) in
            [("no", "\"no\""), ("null", "\"null\""), ("y", "\"y\""), ("city", "city"), ("_1", "_1")]
        {
            assert_eq!(scalar(name), expected);
        }
        assert_eq!(quoted("a\"b\\c\n\u{85}é"), "\"a\\\"b\\\\c\\u000a\\u0085é\"");
    }

    #[test]
    fn every_partition_that_transform_names_is_projected() {
        for name in Dataset::names() {
            let dataset = Dataset::named(name).unwrap();
            let template = render(&dataset, &BTreeMap::new(), TEMPLATE).unwrap();
            for above in thresholds(&dataset) {
                let (_, range) = template.split_once(&format!("\"{above}\": {{Range: \"")).unwrap();
                let (least, greatest) = range.split('"').next().unwrap().split_once(',').unwrap();
                let projected = least.parse::<i64>().unwrap()..=greatest.parse().unwrap();
                for severity in [i64::MIN, -1, 0, 1, 2, 3, 4, 5, 99, i64::MAX] {
                    let shown = projected.contains(&dataset.severity_partition(severity));
                    assert!(shown || severity <= above, "{severity} of {name} above {above}");
                }
            }
        }
    }
}
