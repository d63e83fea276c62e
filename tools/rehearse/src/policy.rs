//! Filter policies of subscriptions, evaluated over message attributes as SNS does.
//!
//! Source: SNS developer guide, "Amazon SNS subscription filter policies" and the pages on the matching of keys, strings
//! and numbers.

use std::{borrow::Cow, cmp::Ordering, net::IpAddr};

use notify::word::Attribute;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

/// Keys of a rule; an object with one of them is not an alternative of `$or`.
const OPERATORS: [&str; 8] =
    ["anything-but", "cidr", "equals-ignore-case", "exists", "numeric", "prefix", "suffix", "wildcard"];
/// Digits after the decimal point that SNS compares.
const ACCURACY: f64 = 1e5;

#[derive(Debug, Clone)]
pub(crate) struct Policy(Vec<Clause>);

/// A condition of a policy. A message must meet all of them.
#[derive(Debug, Clone)]
enum Clause {
    /// One of the rules matches the attribute.
    Attribute(String, Vec<Rule>),
    /// One of the policies matches.
    Any(Vec<Policy>),
}

/// What a value of an attribute can match.
#[derive(Debug, Clone)]
enum Rule {
    Exists(bool),
    Text(Text),
    Number(f64),
    /// A boolean or `null`, as it is written.
    Word(&'static str),
    Numeric(Vec<(Comparison, f64)>),
    /// None of these rules matches.
    Not(Vec<Rule>),
}

/// What a text is compared with.
#[derive(Debug, Clone)]
enum Text {
    Is(String),
    IsInAnyCase(String),
    Begins(String),
    Ends(String),
    Wildcard(String),
    Network(IpAddr, u8),
}

/// Whether the order of a number to its bound satisfies a comparison.
type Comparison = fn(Ordering) -> bool;

#[derive(Debug)]
enum Candidate<'a> {
    Text(Cow<'a, str>),
    Number(f64),
    Word(&'static str),
}

/// An attribute of a message as it is published.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PublishedAttribute {
    pub(crate) name: String,
    /// `String`, `String.Array` or `Number`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) value: String,
}

impl From<&Attribute> for PublishedAttribute {
    fn from(attribute: &Attribute) -> Self {
        let (kind, value) = attribute.typed();
        Self { name: attribute.name.clone(), kind: kind.to_owned(), value: value.into_owned() }
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let policy = Map::<String, Value>::deserialize(deserializer)?;
        Self::read(&policy).map_err(D::Error::custom)
    }
}

impl Policy {
    /// Reads a policy; an error says what SNS would refuse, or what this program does not know.
    pub(crate) fn read(policy: &Map<String, Value>) -> Result<Self, String> {
        let clause = |(name, rules): (&String, &Value)| {
            if name == "$or"
                && let Some(policies) = alternatives(rules)
            {
                let policies: Result<_, _> = policies.into_iter().map(Self::read).collect();
                return policies.map(Clause::Any);
            }
            let rules = rules.as_array().ok_or_else(|| format!("the filter's {name} is not a list"))?;
            let rules: Result<_, _> = rules.iter().map(|rule| Rule::read(name, rule)).collect();
            rules.map(|rules| Clause::Attribute(name.clone(), rules))
        };
        policy.iter().map(clause).collect::<Result<_, _>>().map(Self)
    }

    /// Whether a message with these attributes is delivered.
    pub(crate) fn admits(&self, attributes: &[PublishedAttribute]) -> bool {
        self.0.iter().all(|clause| clause.holds(attributes))
    }

    /// Why a message with these attributes is not delivered; `None` if it is.
    pub(crate) fn objection(&self, attributes: &[PublishedAttribute]) -> Option<String> {
        let clause = self.0.iter().find(|clause| !clause.holds(attributes))?;
        Some(match clause {
            Clause::Any(policies) => {
                let objections = policies.iter().filter_map(|policy| policy.objection(attributes));
                objections.collect::<Vec<_>>().join(", and ")
            }
            Clause::Attribute(name, _) => match attribute(name, attributes) {
                Some(found) => format!("its {name} is {}", found.value),
                None => format!("it has no {name}"),
            },
        })
    }
}

impl Clause {
    fn holds(&self, attributes: &[PublishedAttribute]) -> bool {
        match self {
            Self::Any(policies) => policies.iter().any(|policy| policy.admits(attributes)),
            Self::Attribute(name, rules) => {
                let found = attribute(name, attributes);
                let values = found.map(candidates).unwrap_or_default();
                rules.iter().any(|rule| match (rule, found) {
                    (Rule::Exists(exists), Some(found)) => *exists && !found.value.is_empty(),
                    // Without any attribute, SNS matches nothing.
                    (Rule::Exists(exists), None) => !exists && !attributes.is_empty(),
                    (rule, _) => values.iter().any(|value| rule.matches(value)),
                })
            }
        }
    }
}

fn attribute<'a>(name: &str, attributes: &'a [PublishedAttribute]) -> Option<&'a PublishedAttribute> {
    attributes.iter().find(|attribute| attribute.name == name)
}

/// The policies of which one must match; `None` if SNS reads `$or` as the name of an attribute.
fn alternatives(rules: &Value) -> Option<Vec<&Map<String, Value>>> {
    let policies: Vec<_> = rules.as_array()?.iter().map(Value::as_object).collect::<Option<_>>()?;
    let is_policy = |policy: &&Map<String, Value>| !OPERATORS.iter().any(|name| policy.contains_key(*name));
    (policies.len() > 1 && policies.iter().all(is_policy)).then_some(policies)
}

/// The values of an attribute. Any value of an array can match.
fn candidates(attribute: &PublishedAttribute) -> Vec<Candidate<'_>> {
    let text = || vec![Candidate::Text(Cow::Borrowed(attribute.value.as_str()))];
    match attribute.kind.as_str() {
        "Number" => {
            attribute.value.trim().parse().map_or_else(|_| text(), |number| vec![Candidate::Number(number)])
        }
        "String.Array" => match serde_json::from_str(&attribute.value) {
            Ok(Value::Array(values)) => values.iter().filter_map(Candidate::of).collect(),
            _ => text(),
        },
        _ => text(),
    }
}

impl Candidate<'_> {
    fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::String(text) => Self::Text(Cow::Owned(text.clone())),
            Value::Number(number) => Self::Number(number.as_f64()?),
            Value::Bool(true) => Self::Word("true"),
            Value::Bool(false) => Self::Word("false"),
            Value::Null => Self::Word("null"),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }
}

impl Rule {
    fn read(name: &str, rule: &Value) -> Result<Self, String> {
        let unknown =
            || format!("the filter's {name} has {rule}, which is not a rule of SNS that is known here");
        Ok(match rule {
            Value::String(text) => Self::Text(Text::Is(text.clone())),
            Value::Number(number) => Self::Number(number.as_f64().ok_or_else(unknown)?),
            Value::Bool(true) => Self::Word("true"),
            Value::Bool(false) => Self::Word("false"),
            Value::Null => Self::Word("null"),
            Value::Array(_) => return Err(unknown()),
            Value::Object(object) => {
                let (Some((operator, value)), 1) = (object.iter().next(), object.len()) else {
                    return Err(unknown());
                };
                match (operator.as_str(), value) {
                    ("exists", Value::Bool(exists)) => Self::Exists(*exists),
                    ("numeric", Value::Array(parts)) => {
                        Self::Numeric(comparisons(parts).ok_or_else(unknown)?)
                    }
                    ("anything-but", Value::Array(values)) => Self::Not(
                        values.iter().map(|value| Self::read(name, value)).collect::<Result<_, _>>()?,
                    ),
                    ("anything-but", value) => Self::Not(vec![Self::read(name, value)?]),
                    (operator, Value::String(text)) => {
                        Self::Text(Text::read(operator, text).ok_or_else(unknown)?)
                    }
                    _ => return Err(unknown()),
                }
            }
        })
    }

    fn matches(&self, value: &Candidate<'_>) -> bool {
        match (self, value) {
            (Self::Text(rule), Candidate::Text(text)) => rule.matches(text),
            (Self::Number(rule), Candidate::Number(number)) => compared(*number, *rule).is_eq(),
            (Self::Word(rule), Candidate::Word(word)) => rule == word,
            (Self::Word(rule), Candidate::Text(text)) => rule == text,
            (Self::Numeric(rules), Candidate::Number(number)) => {
                rules.iter().all(|(holds, bound)| holds(compared(*number, *bound)))
            }
            (Self::Not(rules), value) => !rules.iter().any(|rule| rule.matches(value)),
            _ => false,
        }
    }
}

impl Text {
    fn read(operator: &str, text: &str) -> Option<Self> {
        let owned = || text.to_owned();
        Some(match operator {
            "equals-ignore-case" => Self::IsInAnyCase(text.to_lowercase()),
            "prefix" => Self::Begins(owned()),
            "suffix" => Self::Ends(owned()),
            "wildcard" => Self::Wildcard(owned()),
            "cidr" => {
                let (address, bits) = text.split_once('/')?;
                Self::Network(address.parse().ok()?, bits.parse().ok()?)
            }
            _ => return None,
        })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Is(other) => text == other,
            Self::IsInAnyCase(other) => text.to_lowercase() == *other,
            Self::Begins(begin) => text.starts_with(begin.as_str()),
            Self::Ends(end) => text.ends_with(end.as_str()),
            Self::Wildcard(pattern) => is_like(text, pattern),
            Self::Network(network, bits) => {
                text.parse().is_ok_and(|address| is_within(address, *network, *bits))
            }
        }
    }
}

/// Whether a text is like a pattern, in which `*` is any text.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|begin| text.strip_prefix(begin)) else { return false };
    let Some(end) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(end)
}

/// Whether an address is in a network whose first bits are given.
fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let number = |address| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32_u8),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((one, length), (other, other_length)) = (number(address), number(network));
    let free = u32::from(length).saturating_sub(bits.into());
    length == other_length && one.checked_shr(free) == other.checked_shr(free)
}

/// The comparisons of `[">=", 4, "<", 7]`.
fn comparisons(parts: &[Value]) -> Option<Vec<(Comparison, f64)>> {
    let pairs = parts.chunks(2).map(|pair| {
        let [operator, bound] = pair else { return None };
        let comparison: Comparison = match operator.as_str()? {
            "=" => Ordering::is_eq,
            "<" => Ordering::is_lt,
            "<=" => Ordering::is_le,
            ">" => Ordering::is_gt,
            ">=" => Ordering::is_ge,
            _ => return None,
        };
        Some((comparison, bound.as_f64()?))
    });
    pairs.collect::<Option<Vec<_>>>().filter(|pairs| !pairs.is_empty())
}

/// The order of two numbers by the digits that SNS compares.
fn compared(one: f64, other: f64) -> Ordering {
    // Adding zero turns a negative zero into a positive one.
    let [one, other] = [one, other].map(|number| (number * ACCURACY).round() + 0.0);
    one.total_cmp(&other)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn admits(policy: &Value, attributes: &[(&str, &str, &str)]) -> bool {
        let policy: Policy = serde_json::from_value(policy.clone()).unwrap();
        let published = attributes.iter().map(|(name, kind, value)| PublishedAttribute {
            name: (*name).to_owned(),
            kind: (*kind).to_owned(),
            value: (*value).to_owned(),
        });
        let published: Vec<_> = published.collect();
        assert_eq!(policy.admits(&published), policy.objection(&published).is_none());
        policy.admits(&published)
    }

    #[test]
    fn rules_match_as_the_developer_guide_says() {
        let county = |value| ("county", "String", value);
        let counties = ("county", "String.Array", r#"["Franklin","Lucas"]"#);
        let severity = |value| ("severity", "Number", value);
        for (policy, attribute, expected) in [
            (json!({"county": ["Franklin"]}), county("Franklin"), true),
            (json!({"county": ["Franklin"]}), county("franklin"), false),
            (json!({"county": ["Lucas"]}), counties, true),
            (json!({"county": ["Allen"]}), counties, false),
            (json!({"county": [{"prefix": "Fra"}]}), counties, true),
            (json!({"county": [{"suffix": "cas"}]}), counties, true),
            (json!({"county": [{"equals-ignore-case": "FRANKLIN"}]}), county("Franklin"), true),
            (json!({"county": [{"wildcard": "F*k*n"}]}), county("Franklin"), true),
            (json!({"county": [{"wildcard": "F*k"}]}), county("Franklin"), false),
            (json!({"county": [{"wildcard": "Franklin"}]}), county("Franklin"), true),
            (json!({"county": [{"anything-but": ["Franklin"]}]}), county("Franklin"), false),
            (json!({"county": [{"anything-but": ["Franklin"]}]}), counties, true),
            (json!({"county": [{"anything-but": "Lucas"}]}), county("Franklin"), true),
            (json!({"county": [{"anything-but": {"prefix": "Fr"}}]}), county("Franklin"), false),
            (json!({"county": [{"exists": true}]}), county("Franklin"), true),
            (json!({"city": [{"exists": false}]}), county("Franklin"), true),
            (json!({"city": [{"exists": true}]}), county("Franklin"), false),
            (json!({"city": [{"anything-but": "x"}]}), county("Franklin"), false),
            (json!({"severity": [4]}), severity("4"), true),
            (json!({"severity": [4]}), severity("4.000001"), true),
            (json!({"severity": ["4"]}), severity("4"), false),
            (json!({"severity": [4]}), ("severity", "String", "4"), false),
            (json!({"severity": [{"numeric": [">", 3, "<=", 4]}]}), severity("4"), true),
            (json!({"severity": [{"numeric": [">", 3, "<", 4]}]}), severity("4"), false),
            (json!({"severity": [{"numeric": ["=", 4]}]}), ("severity", "String.Array", "[3,4]"), true),
            (json!({"severity": [{"anything-but": [3, 4]}]}), severity("4"), false),
            (json!({"county": [true]}), ("county", "String.Array", "[true]"), true),
            (json!({"county": [{"cidr": "10.0.0.0/8"}]}), county("10.1.2.3"), true),
            (json!({"county": [{"cidr": "10.0.0.0/8"}]}), county("11.1.2.3"), false),
            (json!({"county": [{"cidr": "0.0.0.0/0"}]}), county("11.1.2.3"), true),
            (json!({"county": [{"cidr": "::/0"}]}), county("11.1.2.3"), false),
        ] {
            assert_eq!(admits(&policy, &[attribute]), expected, "{policy} {attribute:?}");
        }
        assert!(!admits(&json!({"city": [{"exists": false}]}), &[]), "no attribute matches nothing");
    }

    #[test]
    fn every_attribute_must_match_or_one_alternative() {
        let both = json!({"county": ["Franklin"], "severity": [4]});
        let either = json!({"$or": [{"county": ["Franklin"]}, {"severity": [4]}], "id": [{"exists": true}]});
        let id = ("id", "String", "A-1");
        for (county, severity, of_both, of_either) in
            [("Franklin", "4", true, true), ("Lucas", "4", false, true), ("Lucas", "3", false, false)]
        {
            let attributes = [("county", "String", county), ("severity", "Number", severity), id];
            assert_eq!(admits(&both, &attributes), of_both);
            assert_eq!(admits(&either, &attributes), of_either);
            assert!(!admits(&either, &attributes[..2]), "the id is missing");
        }
    }

    #[test]
    fn objection_names_the_attribute() {
        let policy: Policy =
            serde_json::from_value(json!({"$or": [{"county": ["Franklin"]}, {"city": ["Dublin"]}]})).unwrap();
        let county =
            PublishedAttribute { name: "county".into(), kind: "String".into(), value: "Lucas".into() };
        assert_eq!(policy.objection(&[county]).unwrap(), "its county is Lucas, and it has no city");
    }

    #[test]
    fn rules_that_are_not_known_are_refused() {
        for rule in [
            json!({"like": "x"}),
            json!({}),
            json!([1]),
            json!({"numeric": ["~", 1]}),
            json!({"numeric": []}),
        ] {
            let error = serde_json::from_value::<Policy>(json!({"county": [rule]})).unwrap_err().to_string();
            assert!(error.contains("which is not a rule of SNS that is known here"), "{error}");
        }
        assert!(serde_json::from_value::<Policy>(json!({"county": "Lucas"})).is_err());
    }
}
