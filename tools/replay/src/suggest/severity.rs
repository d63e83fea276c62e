//! The column that is the severity, and its values from the least severe, as far as their texts show it.

use std::collections::HashSet;

use shared::data::{
    cell,
    dataset::{OTHER, fold},
};

use super::{column::SurveyedColumn, names::words};

/// Words of names that mean a severity, and words that may.
const NAMED: [&str; 6] = ["severity", "priority", "urgency", "criticality", "severities", "prio"];
const LIKELY: [&str; 10] =
    ["sev", "level", "impact", "risk", "grade", "class", "danger", "alarm", "importance", "injury"];
/// The most different values of a column that is not named like a severity.
const FEW: usize = 12;
/// The greatest level of a data set, and its negative the least.
const LIMIT: i64 = 1_000_000;
/// Words of severities, from the least severe.
const RANKS: [&[&str]; 5] = [
    &[
        "none",
        "no",
        "info",
        "information",
        "informational",
        "trivial",
        "planning",
        "negligible",
        "cosmetic",
        "lowest",
    ],
    &["low", "minor", "slight", "light", "green", "routine", "mild", "note", "notice"],
    &[
        "normal", "medium", "moderate", "middle", "average", "standard", "warning", "yellow", "amber",
        "elevated",
    ],
    &["high", "major", "serious", "significant", "important", "error", "orange"],
    &[
        "critical",
        "severe",
        "urgent",
        "emergency",
        "fatal",
        "highest",
        "blocker",
        "extreme",
        "red",
        "immediate",
    ],
];

/// The severity of a data set to start from.
pub(super) struct Severity {
    pub(super) column: usize,
    pub(super) scale: SuggestedScale,
    /// How the order was found, for the comment.
    pub(super) evidence: &'static str,
}

/// The values of a severity, from the least severe.
pub(super) enum SuggestedScale {
    /// Whole numbers; none are listed where there are many.
    Numbers(Vec<i64>),
    Words(Vec<String>),
}

/// The column that is most likely the severity. `id` is not it, unless there is no other.
pub(super) fn choose<'c>(columns: &[(usize, &'c SurveyedColumn)], rows: u64, id: usize) -> Option<Severity> {
    let rank = |&(at, column): &(usize, &'c SurveyedColumn)| {
        let likelihood = likelihood(column, rows)? - if at == id { 200 } else { 0 };
        // Of several the first.
        Some((likelihood, std::cmp::Reverse(at), column))
    };
    let (_, at, column) =
        columns.iter().filter_map(rank).max_by_key(|(likelihood, at, _)| (*likelihood, *at))?;
    Some(order(at.0, column))
}

/// Whether the name of a column means a severity.
pub(super) fn is_named(column: &SurveyedColumn) -> bool {
    words(&column.name).iter().any(|word| NAMED.contains(&word.as_str()))
}

/// How likely a column is the severity; nothing if it cannot be.
fn likelihood(column: &SurveyedColumn, rows: u64) -> Option<i32> {
    let values = column.values().filter(|values| are_listable(values));
    if values.is_none() && !column.holds_integers() {
        return None;
    }
    let words = words(&column.name);
    let has = |names: &[&str]| words.iter().any(|word| names.contains(&word.as_str()));
    let few = values.filter(|values| (2..=FEW).contains(&values.len()));
    let by_values = match few {
        Some(values) if ranks(values).is_some() => 50,
        Some(values) if numbers_in(values).is_some() && !column.holds_integers() => 30,
        Some(_) if column.holds_integers() && column.is_between(0.0, 10.0) => 20,
        Some(_) => 10,
        None => i32::from(column.holds_integers()),
    };
    let by_name = if is_named(column) {
        100
    } else if has(&LIKELY) && values.is_some() {
        60
    } else {
        0
    };
    // A row without a severity is rejected.
    let blanks = if column.filled < rows { -45 } else { 0 };
    Some(by_name + by_values + blanks)
}

/// Whether a data set can list those texts.
fn are_listable(values: &[String]) -> bool {
    values.iter().all(|value| fold(value) != OTHER)
}

/// The column with its values from the least severe.
fn order(at: usize, column: &SurveyedColumn) -> Severity {
    let values = column.values().filter(|values| are_listable(values)).unwrap_or_default();
    if column.holds_integers() {
        let mut numbers: Vec<i64> = values.iter().filter_map(|value| cell::integer(value)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.iter().any(|number| number.abs() > LIMIT) {
            numbers.clear();
        }
        let evidence = "the higher the worse; if 1 is the worst, turn the list round: [3, 2, 1]";
        return Severity { column: at, scale: SuggestedScale::Numbers(numbers), evidence };
    }
    let (words, evidence) = order_words(values);
    Severity { column: at, scale: SuggestedScale::Words(words), evidence }
}

/// Texts from the least severe, and how their order was found.
fn order_words(values: &[String]) -> (Vec<String>, &'static str) {
    let sorted_by = |keys: &[i64]| {
        let mut pairs: Vec<_> = keys.iter().zip(values).collect();
        pairs.sort_by_key(|(key, _)| **key);
        pairs.into_iter().map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    if let Some(numbers) = numbers_in(values) {
        let mut words = sorted_by(&numbers);
        return match direction(&words) {
            Some(true) => {
                words.reverse();
                (words, "by their numbers and words: 1 is the worst; check the order")
            }
            Some(false) => (words, "by their numbers and words; check the order"),
            None => (words, "by their numbers, the higher the worse; if 1 is the worst, turn the list round"),
        };
    }
    match ranks(values) {
        Some(ranks) => (sorted_by(&ranks), "by their words; check the order"),
        None => {
            // Words that say nothing stay in the middle.
            let partly: Vec<i64> = values.iter().map(|value| rank(value).unwrap_or(2)).collect();
            (sorted_by(&partly), "their words do not say the order: PUT THEM IN ORDER from the least severe")
        }
    }
}

/// Whether the words after numbers go from the worst to the least; nothing if they do not say it.
fn direction(words: &[String]) -> Option<bool> {
    let ranks: Vec<i64> = words.iter().filter_map(|word| rank(word)).collect();
    let (first, last) = (ranks.first()?, ranks.last()?);
    (first != last).then_some(first > last)
}

/// The place in the order that each of the texts names by itself, if all do and no two are equal.
fn ranks(values: &[String]) -> Option<Vec<i64>> {
    let ranks = values.iter().map(|value| rank(value)).collect::<Option<Vec<_>>>()?;
    let different: HashSet<_> = ranks.iter().collect();
    (different.len() == values.len()).then_some(ranks)
}

/// The place in the order that a text names.
fn rank(text: &str) -> Option<i64> {
    let words = words(text);
    let of = |word: &String| RANKS.iter().position(|rank| rank.contains(&word.as_str()));
    words.iter().find_map(of).and_then(|place| i64::try_from(place).ok())
}

/// The number in each of the texts, such as those of `3 - Moderate` and `P1`, if each has one and no two are equal.
fn numbers_in(values: &[String]) -> Option<Vec<i64>> {
    let numbers = values.iter().map(|value| number_in(value)).collect::<Option<Vec<_>>>()?;
    let different: HashSet<_> = numbers.iter().collect();
    (different.len() == values.len()).then_some(numbers)
}

fn number_in(text: &str) -> Option<i64> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let number = numbers.next()?.parse().ok()?;
    let is_first = text.starts_with(|c: char| c.is_ascii_digit());
    (is_first || numbers.next().is_none()).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(values: &[&str]) -> (Vec<String>, &'static str) {
        order_words(&values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_ordered_as_far_as_they_say() {
        for (values, expected, evidence) in [
            (
                &["Critical", "Low", "High", "Medium"][..],
                &["Low", "Medium", "High", "Critical"][..],
                "by their words",
            ),
            (
                &["3 - Moderate", "1 - Critical", "2 - High"],
                &["3 - Moderate", "2 - High", "1 - Critical"],
                "1 is the worst",
            ),
            (&["P2", "P10", "P1"], &["P1", "P2", "P10"], "turn the list round"),
            (&["2 Minor", "4 Severe"], &["2 Minor", "4 Severe"], "by their numbers and words"),
            (&["Rot", "Blau"], &["Rot", "Blau"], "PUT THEM IN ORDER"),
            (&["Fatal", "Tow-away", "Minor"], &["Minor", "Tow-away", "Fatal"], "PUT THEM IN ORDER"),
        ] {
            let (words, found) = ordered(values);
            assert_eq!(words, expected);
            assert!(found.contains(evidence), "{found}");
        }
    }
}
