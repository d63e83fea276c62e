//! Severities as files have them, and their levels.
//!
//! The level is a number, the higher the worse. Thresholds, partitions and filter policies compare it. Events keep the
//! text or number that was sent; all readers get its level from this module.

use std::{borrow::Cow, collections::HashMap};

use serde_json::{Map, Value};

use super::{Type, fold};
use crate::data::{cell, excerpt::excerpt};

/// The severities of a data set that lists none.
const DEFAULT: std::ops::RangeInclusive<i64> = 0..=9;
/// The greatest level; its negative is the least. The key of the partitions has 32 bits.
const LIMIT: i64 = 1_000_000;
/// The most severities that a data set may list.
///
/// Source: AWS `CloudFormation` user guide, "Understand `CloudFormation` quotas": a mapping has at most 200 attributes.
const LISTED: usize = 100;
/// The most characters of a word.
const WORD_CHARS: usize = 64;
/// Words that a message names at most.
const NAMED: usize = 10;
/// The value under which metrics count severities that are not listed. No word may equal it.
pub const OTHER: &str = "other";

/// The severities that a data set lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Severities {
    scale: Scale,
    /// The severities, from the least.
    levels: Vec<Level>,
}

/// A severity that a data set lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// How severe it is: the higher, the worse.
    pub level: i64,
    /// The text shown to people: the word as in the data set's file, or the number as in the files.
    pub text: String,
}

/// How a cell is converted to a level.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Scale {
    /// The cell is the level.
    Ascending,
    /// The cell is a number, the lower the worse. The listed numbers, from the least severe; the level is the place.
    Descending(Vec<i64>),
    /// The cell is a word.
    Words {
        /// The levels by word, without regard to case.
        levels: HashMap<String, i64>,
        /// The words with their levels, as the data set's file has them.
        listed: Vec<(String, i64)>,
    },
}

impl Default for Severities {
    fn default() -> Self {
        Self::ascending(DEFAULT)
    }
}

impl Severities {
    /// Reads `severities` in a data set's file; an error says what was expected.
    pub(super) fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Array(list) => Self::list(list),
            Value::Object(table) => Self::table(table),
            other => Err(unexpected(&other.to_string())),
        }
    }

    fn ascending(numbers: impl IntoIterator<Item = i64>) -> Self {
        let levels = numbers.into_iter().map(|level| Level { level, text: level.to_string() });
        Self { scale: Scale::Ascending, levels: levels.collect() }
    }

    fn list(list: &[Value]) -> Result<Self, String> {
        check_count(list.len())?;
        if let Some(numbers) = list.iter().map(Value::as_i64).collect::<Option<Vec<_>>>() {
            return Self::numbers(numbers);
        }
        match list.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
            Some(words) => Self::words((1..).zip(words).map(|(level, word)| (word, level))),
            None => Err(unexpected(&excerpt(&Value::from(list).to_string()))),
        }
    }

    fn numbers(numbers: Vec<i64>) -> Result<Self, String> {
        let is_ascending = numbers.is_sorted_by(|one, next| one < next);
        if !is_ascending && !numbers.is_sorted_by(|one, next| one > next) {
            return Err(format!(
                "`severities`: expected each severity once, from the least, such as [1, 2, 3, 4], or [4, 3, 2, 1] if 1 is \
                 the worst, found {}",
                excerpt(&format!("{numbers:?}"))
            ));
        }
        numbers.iter().try_for_each(|number| check_limit(*number))?;
        if is_ascending {
            return Ok(Self::ascending(numbers));
        }
        let levels = (1..).zip(&numbers).map(|(level, number)| Level { level, text: number.to_string() });
        Ok(Self { levels: levels.collect(), scale: Scale::Descending(numbers) })
    }

    fn table(table: &Map<String, Value>) -> Result<Self, String> {
        check_count(table.len())?;
        let entry = |(word, level): (&'_ String, &Value)| match level.as_i64() {
            Some(level) => check_limit(level).map(|()| (word.clone(), level)),
            None => Err(format!(
                "`severities`: expected an integer for `{}`, found {}",
                excerpt(word),
                excerpt(&level.to_string())
            )),
        };
        let entries = table.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
        Self::words(entries.iter().map(|(word, level)| (word.as_str(), *level)))
    }

    /// Words with their levels. If several words have one level, the first is shown.
    fn words<'w>(words: impl Iterator<Item = (&'w str, i64)>) -> Result<Self, String> {
        let (mut by_word, mut listed): (HashMap<_, _>, Vec<(String, i64)>) = Default::default();
        for (word, level) in words {
            let text = word.trim();
            check_word(text)?;
            if by_word.insert(fold(text).into_owned(), level).is_some() {
                let earlier = listed.iter().find(|(earlier, _)| fold(earlier) == fold(text));
                return Err(format!(
                    "`severities`: expected each text once, found `{}` and `{text}`; upper and lower case and blanks around \
                     a text do not count",
                    earlier.map_or(text, |(earlier, _)| earlier)
                ));
            }
            listed.push((text.to_owned(), level));
        }
        let level = |(text, level): &(String, i64)| Level { level: *level, text: text.clone() };
        let mut levels: Vec<_> = listed.iter().map(level).collect();
        // The sort is stable, so the first word of a level is kept.
        levels.sort_by_key(|listed| listed.level);
        levels.dedup_by_key(|listed| listed.level);
        Ok(Self { scale: Scale::Words { levels: by_word, listed }, levels })
    }

    /// Whether files have the levels themselves: integers, the higher the worse.
    #[must_use]
    pub fn are_levels(&self) -> bool {
        self.scale == Scale::Ascending
    }

    /// The type of the severity's column.
    #[must_use]
    pub fn column_type(&self) -> Type {
        if matches!(self.scale, Scale::Words { .. }) { Type::String } else { Type::Int }
    }

    /// The severities that are listed, from the least.
    #[must_use]
    pub fn levels(&self) -> &[Level] {
        &self.levels
    }

    /// The texts or numbers by which files name a level that is listed, as the data set's file has them.
    #[must_use]
    pub fn names(&self, level: i64) -> Vec<&str> {
        if let Scale::Words { listed, .. } = &self.scale {
            return listed.iter().filter(|(_, of)| *of == level).map(|(text, _)| text.as_str()).collect();
        }
        self.listed(level).map(|listed| listed.text.as_str()).into_iter().collect()
    }

    /// The level of a cell; nothing if it has no place in the order. Numbers that are not listed may have a place.
    #[must_use]
    pub fn level(&self, text: &str) -> Option<i64> {
        match &self.scale {
            Scale::Ascending => cell::integer(text.trim()),
            Scale::Descending(numbers) => place(numbers, cell::integer(text.trim())?),
            Scale::Words { levels, .. } => levels.get(fold(text.trim()).as_ref()).copied(),
        }
    }

    /// The text shown to people for a level.
    #[must_use]
    pub fn text(&self, level: i64) -> Cow<'_, str> {
        if let Some(listed) = self.listed(level) {
            return Cow::Borrowed(&listed.text);
        }
        let number = match &self.scale {
            Scale::Descending(numbers) => at_place(numbers, level),
            Scale::Ascending | Scale::Words { .. } => level,
        };
        Cow::Owned(number.to_string())
    }

    /// Whether the level is listed.
    #[must_use]
    pub fn lists(&self, level: i64) -> bool {
        self.listed(level).is_some()
    }

    fn listed(&self, level: i64) -> Option<&Level> {
        let at = self.levels.binary_search_by_key(&level, |listed| listed.level).ok()?;
        self.levels.get(at)
    }

    /// The least and the greatest level.
    #[must_use]
    pub fn range(&self) -> (i64, i64) {
        let ends = self.levels.first().zip(self.levels.last());
        ends.map_or((0, 0), |(least, greatest)| (least.level, greatest.level))
    }

    /// The cells that have a level, for an error. It does not quote the cell itself.
    #[must_use]
    pub fn expected(&self) -> String {
        if self.are_levels() {
            return "expected an integer such as 3 or 3.0".to_owned();
        }
        let named: Vec<_> =
            self.levels.iter().take(NAMED).map(|listed| format!("`{}`", listed.text)).collect();
        match self.levels.len() - named.len() {
            0 => format!("expected one of {}", named.join(", ")),
            more => format!("expected one of {} and {more} more", named.join(", ")),
        }
    }
}

/// The place of a number in a descending list, from 1. A number beyond either end has a place beyond it; one in a gap
/// has none.
fn place(numbers: &[i64], number: i64) -> Option<i64> {
    let (least, worst) = (*numbers.first()?, *numbers.last()?);
    let last = i64::try_from(numbers.len()).ok()?;
    if number > least {
        return Some(least.saturating_sub(number).saturating_add(1));
    }
    if number < worst {
        return Some(worst.saturating_sub(number).saturating_add(last));
    }
    let at = numbers.binary_search_by(|listed| number.cmp(listed)).ok()?;
    i64::try_from(at + 1).ok()
}

/// The number at a place beyond an end of a descending list.
fn at_place(numbers: &[i64], place: i64) -> i64 {
    let (least, worst) = (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0));
    let last = i64::try_from(numbers.len()).unwrap_or(0);
    if place < 1 {
        least.saturating_add(1_i64.saturating_sub(place))
    } else {
        worst.saturating_sub(place.saturating_sub(last))
    }
}

fn check_count(count: usize) -> Result<(), String> {
    if (1..=LISTED).contains(&count) {
        return Ok(());
    }
    Err(format!("`severities`: expected 1 to {LISTED} severities, found {count}"))
}

fn check_limit(number: i64) -> Result<(), String> {
    if (-LIMIT..=LIMIT).contains(&number) {
        return Ok(());
    }
    Err(format!("`severities`: expected numbers from -{LIMIT} to {LIMIT}, found {number}"))
}

fn check_word(word: &str) -> Result<(), String> {
    if word.is_empty() || word.chars().count() > WORD_CHARS || word.contains(char::is_control) {
        return Err(format!(
            "`severities`: expected texts of one line and 1 to {WORD_CHARS} characters, found `{}`",
            excerpt(word)
        ));
    }
    if fold(word) == OTHER {
        return Err(format!(
            "`severities`: expected another text than `{word}`, under which metrics count severities that are not listed"
        ));
    }
    Ok(())
}

fn unexpected(found: &str) -> String {
    format!(
        "`severities`: expected a list of integers such as [1, 2, 3, 4], a list of texts from the least severe such as \
         [\"Low\", \"High\"], or a table such as {{ \"3 - Moderate\" = 3, \"1 - Critical\" = 5 }}, found {found}"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn words_have_levels_from_one() {
        let severities = Severities::read(&json!(["Low", " Medium ", "High", "Größte"])).unwrap();
        for (text, level) in [
            ("Low", Some(1)),
            ("low", Some(1)),
            (" MEDIUM\t", Some(2)),
            ("\u{a0}High", Some(3)),
            ("GRÖSSTE", Some(4)),
            ("GRÖßTE", Some(4)),
            ("größte", Some(4)),
            ("", None),
            ("Hi gh", None),
            ("4", None),
        ] {
            assert_eq!(severities.level(text), level, "{text}");
        }
        assert_eq!((severities.text(2), severities.range()), ("Medium".into(), (1, 4)));
        assert_eq!(severities.expected(), "expected one of `Low`, `Medium`, `High`, `Größte`");
        assert_eq!(severities.column_type(), Type::String);
    }

    #[test]
    fn table_has_a_level_for_each_text_and_shows_the_first() {
        let severities =
            Severities::read(&json!({"3 - Moderate": 3, "1 - Critical": 5, "P1": 5, "4 - Low": 2})).unwrap();
        assert_eq!(severities.level("1 - critical "), Some(5));
        assert_eq!(severities.level("p1"), Some(5));
        assert_eq!(severities.names(5), ["1 - Critical", "P1"]);
        assert_eq!((severities.text(5), severities.range()), ("1 - Critical".into(), (2, 5)));
        assert!(severities.lists(3) && !severities.lists(4));
        assert_eq!(severities.expected(), "expected one of `4 - Low`, `3 - Moderate`, `1 - Critical`");
    }

    #[test]
    fn of_descending_numbers_the_place_is_the_level() {
        let severities = Severities::read(&json!([4, 3, 2, 1])).unwrap();
        for (text, level) in [("4", 1), ("1", 4), (" 2.0 ", 3), ("5", 0), ("7", -2), ("0", 5), ("-3", 8)] {
            assert_eq!(severities.level(text), Some(level), "{text}");
            assert_eq!(severities.text(level), text.trim().trim_end_matches(".0"), "{text}");
        }
        assert_eq!(severities.level("urgent"), None);
        let gaps = Severities::read(&json!([30, 20, 10])).unwrap();
        assert_eq!((gaps.level("20"), gaps.level("25"), gaps.level("9")), (Some(2), None, Some(4)));
        assert_eq!(gaps.expected(), "expected one of `30`, `20`, `10`");
        assert_eq!(gaps.column_type(), Type::Int);
    }

    #[test]
    fn ascending_numbers_are_their_levels() {
        let severities = Severities::default();
        assert!(severities.are_levels());
        assert_eq!((severities.level(" 3.0"), severities.level("99")), (Some(3), Some(99)));
        assert_eq!((severities.text(99), severities.lists(99)), ("99".into(), false));
        assert_eq!(Severities::read(&json!([7])).unwrap().range(), (7, 7));
    }

    #[test]
    fn list_without_an_order_is_refused() {
        let long = "x".repeat(65);
        let many: Vec<_> = (0..101).collect();
        for (value, expected) in [
            (json!([]), "expected 1 to 100 severities, found 0"),
            (json!({}), "expected 1 to 100 severities, found 0"),
            (json!(many), "expected 1 to 100 severities, found 101"),
            (
                json!([1, 3, 2]),
                "expected each severity once, from the least, such as [1, 2, 3, 4], or [4, 3, 2, 1]",
            ),
            (json!([2, 2]), "found [2, 2]"),
            (json!([1, "High"]), "expected a list of integers such as"),
            (json!([1.5]), "expected a list of integers such as"),
            (json!("High"), "expected a list of integers such as"),
            (json!(["Low", " LOW "]), "expected each text once, found `Low` and `LOW`"),
            (json!({"Low": 1, "low ": 2}), "found `Low` and `low`"),
            (json!(["Low", " "]), "expected texts of one line and 1 to 64 characters, found ``"),
            (json!([long]), "expected texts of one line and 1 to 64 characters"),
            (json!(["a\nb"]), "found `a\u{fffd}b`"),
            (json!(["Low", "Other"]), "expected another text than `Other`"),
            (json!({"Low": "1"}), "expected an integer for `Low`, found \"1\""),
            (json!({"Low": 1_000_001}), "expected numbers from -1000000 to 1000000, found 1000001"),
            (json!([-9_000_000_000_i64, 2]), "found -9000000000"),
        ] {
            let error = Severities::read(&value).unwrap_err();
            assert!(error.starts_with("`severities`: expected ") && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn expectation_stays_short() {
        let words: Vec<_> = (0..100).map(|n| format!("{n}{}", "x".repeat(60))).collect();
        let expected = Severities::read(&json!(words)).unwrap().expected();
        assert!(expected.ends_with(" and 90 more") && expected.len() < 1_000, "{expected}");
    }

    proptest! {
        #[test]
        fn the_order_of_the_list_is_the_order_of_the_levels(
            words in proptest::collection::btree_set("[a-zé]{1,5}", 1..12).prop_map(Vec::from_iter).prop_shuffle(),
            blanks in "[ \t]{0,2}",
            upper: bool,
        ) {
            prop_assume!(words.iter().all(|word| word != OTHER));
            let severities = Severities::read(&json!(words)).unwrap();
            for (at, word) in words.iter().enumerate() {
                let level = i64::try_from(at + 1).unwrap();
                let sent = if upper { word.to_uppercase() } else { word.clone() };
                prop_assert_eq!(severities.level(&format!("{blanks}{sent}{blanks}")), Some(level));
                prop_assert_eq!(severities.text(level), word.as_str());
                prop_assert!(severities.lists(level));
            }
        }

        #[test]
        fn of_descending_numbers_less_is_never_less_severe(
            numbers in proptest::collection::btree_set(-50_i64..50, 2..9),
            one in -99_i64..99,
            other in -99_i64..99,
        ) {
            let numbers: Vec<_> = numbers.into_iter().rev().collect();
            let severities = Severities::read(&json!(numbers)).unwrap();
            let level = |number: i64| severities.level(&number.to_string());
            if let (Some(one_level), Some(other_level)) = (level(one), level(other)) {
                prop_assert_eq!(one < other, one_level > other_level);
                prop_assert_eq!(severities.text(one_level), one.to_string());
                prop_assert_eq!(severities.lists(one_level), numbers.contains(&one));
            }
        }
    }
}
