//! Reads the filter of a department, and refuses what no alert can pass.

use shared::data::dataset::Dataset;
use toml::{Table, Value};

use crate::yaml::json;

/// Attributes of a filter policy. Source: Amazon SNS developer guide, "Filter policy constraints".
const ATTRIBUTES_AT_MOST: usize = 5;
/// Rules that compare text. Source: Amazon SNS developer guide, "String value matching".
const OF_TEXT: [&str; 5] = ["cidr", "equals-ignore-case", "prefix", "suffix", "wildcard"];

/// The attributes that alerts have.
#[derive(Debug)]
pub(crate) struct Attributes {
    dataset: String,
    /// Each name, and whether the values are numbers.
    sent: Vec<(String, bool)>,
    /// Names that only alerts of other data sets have: their departments are in the same file.
    others: Vec<String>,
}

impl Attributes {
    /// Those of a data set's alerts.
    pub(crate) fn of(dataset: &Dataset) -> Self {
        let others = Dataset::names().filter_map(|name| Dataset::named(name).ok());
        let others = others.flat_map(|other| other.attributes().map(|(name, _)| name).collect::<Vec<_>>());
        Self { dataset: dataset.name.clone(), sent: dataset.attributes().collect(), others: others.collect() }
    }
}

/// The filter in the file.
pub(super) fn read(value: &Value, attributes: &Attributes) -> Result<Table, String> {
    let Some(policy) = value.as_table().filter(|policy| !policy.is_empty()) else {
        let expected = "expected a table such as { county = [\"Franklin\"] }, or no line for every alert";
        return Err(format!("has filter = {}; {expected}", json(value)));
    };
    check(policy, attributes)?;
    Ok(policy.clone())
}

fn check(policy: &Table, attributes: &Attributes) -> Result<(), String> {
    if policy.len() > ATTRIBUTES_AT_MOST {
        return Err(format!(
            "has a filter of {} attributes; a policy takes {ATTRIBUTES_AT_MOST}",
            policy.len()
        ));
    }
    for (attribute, allowed) in policy {
        let list = allowed.as_array();
        if attribute == "$or"
            && let Some(alternatives) = list
        {
            alternatives.iter().filter_map(Value::as_table).try_for_each(|each| check(each, attributes))?;
            continue;
        }
        let Some(list) = list.filter(|list| !list.is_empty()) else {
            let expected = "expected a list of values as in { county = [\"Franklin\"] }";
            return Err(format!("filters by {attribute} = {}; {expected}", json(allowed)));
        };
        list.iter().try_for_each(|rule| check_rule(attribute, rule))?;
        check_attribute(attribute, list, attributes)?;
    }
    Ok(())
}

fn check_rule(attribute: &str, rule: &Value) -> Result<(), String> {
    let is_rule = match rule {
        Value::Array(_) | Value::Datetime(_) => false,
        Value::Table(comparison) => !comparison.is_empty(),
        Value::Float(number) => number.is_finite(),
        Value::String(_) | Value::Integer(_) | Value::Boolean(_) => true,
    };
    if is_rule {
        return Ok(());
    }
    let expected = "expected a text, a number or a comparison such as { numeric = [\">=\", 4] }";
    Err(format!("filters by {attribute} with {}; {expected}", json(rule)))
}

/// SNS accepts a policy that can match nothing, and delivers nothing.
fn check_attribute(name: &str, rules: &[Value], attributes: &Attributes) -> Result<(), String> {
    let Attributes { dataset, sent, others } = attributes;
    let Some((_, is_number)) = sent.iter().find(|(each, _)| each == name) else {
        if others.iter().any(|other| other == name) {
            return Ok(());
        }
        let names: Vec<_> = sent.iter().map(|(name, _)| name.as_str()).collect();
        let names = names.join(", ");
        return Err(format!("filters by {name}, which no alert of {dataset} has; expected one of {names}"));
    };
    let Some(wrong) = rules.iter().find(|rule| compares_numbers(rule).is_some_and(|it| it != *is_number))
    else {
        return Ok(());
    };
    let expected = if *is_number {
        "alerts have it as a number; expected a number such as 4, or { numeric = [\">=\", 4] }"
    } else {
        "alerts have it as a text; expected a text in quotation marks"
    };
    Err(format!("filters by {name} with {}, and {expected}", json(wrong)))
}

/// Whether a rule compares numbers, or else text; nothing if it matches neither or both.
fn compares_numbers(rule: &Value) -> Option<bool> {
    match rule {
        Value::Integer(_) | Value::Float(_) => Some(true),
        Value::String(_) => Some(false),
        Value::Table(comparison) => {
            let (operator, value) = comparison.iter().next()?;
            match (operator.as_str(), value) {
                ("numeric", _) => Some(true),
                ("anything-but", Value::Array(values)) => values.iter().find_map(compares_numbers),
                ("anything-but", value) => compares_numbers(value),
                (operator, _) => OF_TEXT.contains(&operator).then_some(false),
            }
        }
        Value::Boolean(_) | Value::Datetime(_) | Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(dataset: &str, policy: &str) -> Result<Table, String> {
        let document: Table = toml::from_str(&format!("filter = {policy}")).unwrap();
        read(&document["filter"], &Attributes::of(&Dataset::named(dataset).unwrap()))
    }

    #[test]
    fn a_filter_that_no_alert_can_pass_is_refused() {
        for (policy, said) in [
            (
                "{ conty = ['Franklin'] }",
                "filters by conty, which no alert of us_accidents has; expected one of",
            ),
            ("{ '$or' = [{ county = ['A'] }, { conty = ['A'] }] }", "filters by conty, which"),
            ("{ severity = ['4'] }", "filters by severity with \"4\", and alerts have it as a number"),
            ("{ severity = [4, { prefix = '4' }] }", "and alerts have it as a number"),
            ("{ severity = [{ anything-but = ['4'] }] }", "and alerts have it as a number"),
            ("{ county = [7] }", "filters by county with 7, and alerts have it as a text"),
            ("{ county = [{ numeric = ['>', 7] }] }", "and alerts have it as a text"),
            ("{ county = [{ anything-but = 7 }] }", "and alerts have it as a text"),
        ] {
            let error = filtered("us_accidents", policy).unwrap_err();
            assert!(error.contains(said), "{policy}: {error}");
        }
    }

    #[test]
    fn a_filter_that_alerts_can_pass_is_taken() {
        for policy in [
            "{ severity = [4, { numeric = ['>=', 4] }], latitude = [{ numeric = ['<', 41.5] }] }",
            "{ county = ['Franklin', { prefix = 'St' }, { anything-but = ['Lucas'] }], id = [{ exists = true }] }",
            "{ '$or' = [{ county = ['A'] }, { severity = [4] }], city = [{ anything-but = { prefix = 'A' } }] }",
        ] {
            assert!(filtered("us_accidents", policy).is_ok(), "{policy}");
        }
        // A department of another data set is in the same file.
        assert!(filtered("us_accidents", "{ channel = ['phone'] }").is_ok());
        assert!(filtered("support_tickets", "{ channel = ['phone'], severity = [4] }").is_ok());
    }
}
