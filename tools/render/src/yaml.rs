//! Writes texts, names and JSON in the YAML of the template.

use std::io;

use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

/// Words that YAML does not read as a text.
///
/// Source: YAML 1.1, "Boolean" and "Null" language-independent types.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// The variables that are not parameters of the template, and their values.
pub(crate) const VARIABLES: [(&str, &str); 10] = [
    ("Name", "!Join [\"-\", !Split [\"_\", !Ref Dataset]]"),
    ("TopicSuffix", "!If [IsFifo, .fifo, \"\"]"),
    ("Source", "!FindInMap [Dataset, Source, Folder]"),
    ("MetricNamespace", "!FindInMap [Dataset, Metric, Namespace]"),
    ("MetricName", "!FindInMap [Dataset, Metric, Name]"),
    ("SeverityDimension", "!FindInMap [Dataset, Severity, Dimension]"),
    ("TopSeverity", "!FindInMap [Dataset, Severity, Highest]"),
    ("AreaDimension", "!FindInMap [Dataset, Area, Dimension]"),
    ("AreaName", "!FindInMap [Dataset, Area, Name]"),
    ("AreaExample", "!FindInMap [Dataset, Area, Example]"),
];

/// The variables in a text that are not parameters.
pub(crate) fn variables(text: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    VARIABLES.into_iter().filter(move |(name, _)| text.contains(&format!("${{{name}}}")))
}

/// A text with its variables filled in, like `!Sub`.
pub(crate) fn filled(text: &str) -> String {
    let variables: Vec<_> = variables(text).map(|(name, value)| format!("{name}: {value}")).collect();
    match (text.contains("${"), variables.is_empty()) {
        (false, _) => quoted(text),
        (true, true) => format!("!Sub {}", quoted(text)),
        (true, false) => format!("!Sub [{}, {{{}}}]", quoted(text), variables.join(", ")),
    }
}

/// A short value: a variable, a text with variables, or a name.
pub(crate) fn value(text: &str) -> String {
    if let Some(variable) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
        && !variable.contains('$')
    {
        let known = VARIABLES.iter().find(|(name, _)| *name == variable);
        return known.map_or_else(|| format!("!Ref {variable}"), |(_, value)| (*value).to_owned());
    }
    if text.contains("${") { filled(text) } else { scalar(text) }
}

/// The name of a deployed resource, with the data set and the environment in it.
pub(crate) fn deployed(name: &str) -> String {
    filled(&format!("${{Name}}-{name}-${{Environment}}"))
}

/// `severe_by_county` as a logical id: `SevereByCounty`.
pub(crate) fn pascal(name: &str) -> String {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .flat_map(|word| {
            word.char_indices().map(|(index, c)| if index == 0 { c.to_ascii_uppercase() } else { c })
        })
        .collect()
}

/// A text with that prefix before each of its lines.
pub(crate) fn indented(text: &str, indent: &str) -> String {
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("{indent}{line}\n") };
    text.lines().map(line).collect()
}

/// A name that YAML reads as a text.
pub(crate) fn scalar(name: &str) -> String {
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
    if is_number || WORDS.contains(&name) { quoted(name) } else { name.to_owned() }
}

/// A text in YAML's double quotes.
pub(crate) fn quoted(text: &str) -> String {
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

/// JSON in one line with spaces after commas and colons, which is valid YAML, too.
pub(crate) fn json(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut text, Spaced));
    written.map_or_else(|error| unreachable!("{error}"), |()| String::from_utf8_lossy(&text).into_owned())
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_stay_texts_in_yaml() {
        for (name, expected) in [
            ("no", "\"no\""),
            ("null", "\"null\""),
            ("y", "\"y\""),
            ("4", "\"4\""),
            ("city", "city"),
            ("_1", "_1"),
        ] {
            assert_eq!(scalar(name), expected);
        }
        assert_eq!(quoted("a\"b\\c\n\u{85}é"), "\"a\\\"b\\\\c\\u000a\\u0085é\"");
    }

    #[test]
    fn variables_in_texts_are_filled_in() {
        assert_eq!(value("${MetricName}"), "!FindInMap [Dataset, Metric, Name]");
        assert_eq!(value("${Environment}"), "!Ref Environment");
        assert_eq!(value("${Environment}-${Dataset}"), "!Sub \"${Environment}-${Dataset}\"");
        let name = "!Join [\"-\", !Split [\"_\", !Ref Dataset]]";
        assert_eq!(deployed("raw"), format!("!Sub [\"${{Name}}-raw-${{Environment}}\", {{Name: {name}}}]"));
    }

    #[test]
    fn yaml_reads_json() {
        let value = serde_json::json!({"county": ["Doña Ana", 4, true], "none": {}});
        assert_eq!(json(&value), r#"{"county": ["Doña Ana", 4, true], "none": {}}"#);
    }
}
