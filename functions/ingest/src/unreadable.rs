//! Counts what could not be read: the cells of each column, and the columns that only the file or only the data set
//! has.
//!
//! Its size is bounded by the number of columns, whatever the rows contain. It never stores a cell's text, only the
//! form of an example, such as `99/99/9999 99:99`.

use std::sync::Arc;

use serde::Serialize;
use shared::data::{
    cell,
    dataset::{Dataset, Type},
    time::{DateOrder, Unreadable},
};

use crate::rows::Header;

/// Names of unknown columns that are stored.
const NAMES: usize = 50;
/// Characters of an unknown column's name that are stored.
const NAME_CHARACTERS: usize = 64;
/// Characters of a form that are stored.
const FORM_CHARACTERS: usize = 32;
/// Common texts for "no value".
pub(crate) const NOTHINGS: [&str; 11] =
    ["NA", "N/A", "#N/A", "NULL", "None", "nil", "nan", "\\N", "?", "-", "--"];

/// Why a cell could not be read as the type of its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A time whose date can only be day, month, year; it was read as month, day, year.
    OnlyDmy,
    /// A time whose date can only be month, day, year; it was read as day, month, year.
    OnlyMdy,
    /// A time that was stored as text in an event, and needs a declared date order.
    NeedsDateOrder,
    /// A number with a fraction, in a column of whole numbers.
    Fraction,
    /// A number that is too large for the type of its column.
    OutOfRange,
    /// Digits with separators or units, such as `1,000` or `7 %`.
    FormattedNumber,
    /// An infinity in a column of numbers.
    NotFinite,
    /// Another text in a column of numbers.
    NotANumber,
    /// Another text in a column of booleans.
    NotABoolean,
    /// A word for "no value", such as `NA`.
    MeansNothing,
    /// An object or an array.
    Nested,
    /// Another text in a column of times or days.
    #[serde(untagged)]
    Time(Unreadable),
}

impl Reason {
    /// Why that text is not a cell of that type, with dates in that order.
    #[must_use]
    pub fn of(kind: Type, text: &str, order: DateOrder) -> Self {
        let text = cell::trim(text);
        if is_nothing(text) {
            return Self::MeansNothing;
        }
        if text.starts_with(['{', '[']) {
            return Self::Nested;
        }
        match kind {
            Type::Timestamp | Type::Date | Type::TimestampOrDate => Self::of_time(kind, text, order),
            Type::Int | Type::Double => Self::of_number(text),
            Type::Boolean => Self::NotABoolean,
            Type::String => Self::Nested,
        }
    }

    fn of_time(kind: Type, text: &str, order: DateOrder) -> Self {
        match cell::explain(kind, text, order) {
            None => Self::NeedsDateOrder,
            Some(Unreadable::OtherOrder) => match order {
                DateOrder::Mdy => Self::OnlyDmy,
                DateOrder::Dmy => Self::OnlyMdy,
            },
            Some(reason) => Self::Time(reason),
        }
    }

    fn of_number(text: &str) -> Self {
        if is_infinity(text) {
            return Self::NotFinite;
        }
        let is_number = text.bytes().any(|byte| byte.is_ascii_digit()) && text.parse::<f64>().is_ok();
        if is_number {
            return if text.contains('.') { Self::Fraction } else { Self::OutOfRange };
        }
        let [digits, letters] = [|c: char| c.is_ascii_digit(), char::is_alphabetic]
            .map(|is: fn(char) -> bool| text.chars().filter(|c| is(*c)).count());
        if digits > letters { Self::FormattedNumber } else { Self::NotANumber }
    }
}

/// Whether a trimmed text is a word for "no value", in any case.
#[must_use]
pub fn is_nothing(text: &str) -> bool {
    NOTHINGS.iter().any(|nothing| nothing.eq_ignore_ascii_case(text))
}

/// Whether a trimmed text is what programs write for an infinity, in any case.
fn is_infinity(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    text.eq_ignore_ascii_case("inf") || text.eq_ignore_ascii_case("infinity")
}

/// The form of a text: each digit as `9`, each letter as `A` or `a`, marks as they are. Words for "nothing" and for
/// infinities stay.
pub(crate) fn form(text: &str) -> String {
    let text = cell::trim(text);
    if is_nothing(text) || is_infinity(text) {
        return text.to_owned();
    }
    let mut characters = text.chars();
    let mut form: String = characters
        .by_ref()
        .take(FORM_CHARACTERS)
        .map(|c| match c {
            _ if c.is_numeric() => '9',
            _ if c.is_uppercase() => 'A',
            _ if c.is_alphabetic() => 'a',
            _ if c.is_ascii_graphic() => c,
            _ if c.is_whitespace() => ' ',
            _ => '·',
        })
        .collect();
    if characters.next().is_some() {
        form.push('…');
    }
    form
}

/// Cells of one column that could not be read for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnreadableCells {
    /// Their number.
    pub cells: u64,
    /// The form of the first.
    pub form: String,
}

/// Cells of one column that could not be read, by reason.
type Reasons = Vec<(Reason, UnreadableCells)>;

/// Counts what could not be read.
#[derive(Debug, Default)]
pub struct Tally {
    /// Cells of each column that are not blank.
    cells: Vec<u64>,
    unreadable: Vec<Reasons>,
    /// Rows with a cell that could not be read, or with bytes that are not text.
    rows: u64,
    /// Rows with bytes that are not text in their charset.
    undecodable: u64,
    unknown: Names,
    /// Columns that a header did not have.
    missing: Vec<bool>,
    /// The last header that was compared.
    header: Option<Arc<str>>,
}

/// Names in the order in which they were found, bounded in number.
#[derive(Debug, Default)]
struct Names {
    listed: Vec<String>,
    /// Where the next name is expected: most rows have the same names in the same order.
    next: usize,
    /// Whether there are names beyond the bound.
    has_more: bool,
}

impl Names {
    fn add(&mut self, name: &str) {
        if self.has_more {
            return;
        }
        let is = |known: &String| match known.strip_suffix('…') {
            Some(begin) => name.starts_with(begin),
            None => known == name,
        };
        if self.listed.get(self.next).is_some_and(is) {
            self.next += 1;
        } else if let Some(at) = self.listed.iter().position(is) {
            self.next = at + 1;
        } else if self.listed.len() == NAMES {
            self.has_more = true;
        } else {
            let mut kept: String = name.chars().take(NAME_CHARACTERS).collect();
            if kept.len() < name.len() {
                kept.push('…');
            }
            self.listed.push(kept);
            self.next = self.listed.len();
        }
    }
}

/// The counters for the cells of a row.
#[derive(Debug)]
pub(crate) struct RowTally<'t> {
    /// Cells of each column that are not blank.
    pub(crate) cells: &'t mut [u64],
    unreadable: &'t mut Vec<Reasons>,
    rows: &'t mut u64,
    undecodable: &'t mut u64,
    has_unreadable: bool,
}

impl RowTally<'_> {
    /// Counts a cell that could not be read as the type of its column.
    #[cold]
    pub(crate) fn unreadable(&mut self, column: usize, kind: Type, text: &str, order: DateOrder) {
        self.count_row();
        // Most files need no room for reasons.
        if self.unreadable.len() != self.cells.len() {
            self.unreadable.resize(self.cells.len(), Reasons::new());
        }
        self.cells[column] += 1;
        let reason = Reason::of(kind, text, order);
        let reasons = &mut self.unreadable[column];
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, found)) => found.cells += 1,
            None => reasons.push((reason, UnreadableCells { cells: 1, form: form(text) })),
        }
    }

    /// Counts a row with bytes that are not text in its charset.
    #[cold]
    pub(crate) fn undecodable(&mut self) {
        self.count_row();
        *self.undecodable += 1;
    }

    fn count_row(&mut self) {
        *self.rows += u64::from(!self.has_unreadable);
        self.has_unreadable = true;
    }
}

impl Tally {
    /// The counters for a row of a data set of that many columns.
    pub(crate) fn row(&mut self, columns: usize) -> RowTally<'_> {
        let Self { cells, unreadable, rows, undecodable, .. } = self;
        if cells.len() != columns {
            cells.resize(columns, 0);
        }
        RowTally { cells, unreadable, rows, undecodable, has_unreadable: false }
    }

    /// Compares a header with the data set, once for all of its rows.
    pub(crate) fn header(&mut self, dataset: &Dataset, header: &Header) {
        if self.header.as_ref().is_some_and(|last| Arc::ptr_eq(last, &header.line)) {
            return;
        }
        self.header = Some(header.line.clone());
        self.missing.resize(dataset.columns.len(), false);
        for (column, position) in header.columns.iter().enumerate() {
            self.missing[column] |= position.is_none() && column != dataset.received_at;
        }
        header.unknown.iter().for_each(|(_, name)| self.unknown(name));
    }

    /// Records the name of a column that is unknown to the data set.
    pub(crate) fn unknown(&mut self, name: &str) {
        self.unknown.add(name);
    }

    /// Adds the counts of another part of the same text. The form of a reason stays that of the first part that has it.
    pub fn add(&mut self, other: &Self) {
        let columns = self.cells.len().max(other.cells.len());
        self.cells.resize(columns, 0);
        self.cells.iter_mut().zip(&other.cells).for_each(|(cells, more)| *cells += more);
        self.unreadable.resize(self.unreadable.len().max(other.unreadable.len()), Reasons::new());
        for (reasons, more) in self.unreadable.iter_mut().zip(&other.unreadable) {
            for (reason, found) in more {
                match reasons.iter_mut().find(|(known, _)| known == reason) {
                    Some((_, known)) => known.cells += found.cells,
                    None => reasons.push((*reason, found.clone())),
                }
            }
        }
        self.rows += other.rows;
        self.undecodable += other.undecodable;
        other.unknown.listed.iter().for_each(|name| self.unknown(name));
        self.unknown.has_more |= other.unknown.has_more;
        self.missing.resize(self.missing.len().max(other.missing.len()), false);
        self.missing.iter_mut().zip(&other.missing).for_each(|(missing, more)| *missing |= more);
    }

    /// Rows with a cell that could not be read, or with bytes that are not text.
    #[must_use]
    pub fn unreadable_rows(&self) -> u64 {
        self.rows
    }

    /// Rows with bytes that are not text in the charset in which they were read.
    pub(crate) fn undecodable_rows(&self) -> u64 {
        self.undecodable
    }

    /// The columns with unreadable cells: the column, its cells that are not blank, and the unreadable ones.
    pub(crate) fn unreadable(&self) -> impl Iterator<Item = (usize, u64, &[(Reason, UnreadableCells)])> {
        let columns = self.unreadable.iter().enumerate().filter(|(_, reasons)| !reasons.is_empty());
        columns.map(|(column, reasons)| (column, self.cells[column], reasons.as_slice()))
    }

    /// Columns of the data set that a header did not have.
    pub(crate) fn missing(&self) -> impl Iterator<Item = usize> {
        self.missing.iter().enumerate().filter(|(_, missing)| **missing).map(|(column, _)| column)
    }

    /// The first names of columns that are unknown to the data set.
    pub(crate) fn unknown_names(&self) -> &[String] {
        &self.unknown.listed
    }

    /// Whether there are unknown columns in addition to those that are named.
    pub(crate) fn has_more_unknown(&self) -> bool {
        self.unknown.has_more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_says_what_the_text_is() {
        let (time, mdy) = (Type::Timestamp, DateOrder::Mdy);
        let cases = [
            (time, "13/08/2016 1:00", Reason::OnlyDmy),
            (time, "2/8/2016", Reason::Time(Unreadable::DayOnly)),
            (time, "45:00.0", Reason::Time(Unreadable::TimeOnly)),
            (Type::Date, "2016-02-08 00:37", Reason::Time(Unreadable::DayAndTime)),
            (time, "nan", Reason::MeansNothing),
            (Type::Int, "3.5", Reason::Fraction),
            (Type::Int, "99999999999999999999", Reason::OutOfRange),
            (Type::Double, "1e999", Reason::OutOfRange),
            (Type::Int, "1,000", Reason::FormattedNumber),
            (Type::Double, "12 %", Reason::FormattedNumber),
            (Type::Double, "infinity", Reason::NotFinite),
            (Type::Int, " -Inf ", Reason::NotFinite),
            (Type::Int, "--inf", Reason::NotANumber),
            (time, "Infinity", Reason::Time(Unreadable::NotATime)),
            (Type::Int, "high", Reason::NotANumber),
            (Type::Int, "-", Reason::MeansNothing),
            (Type::Boolean, "yes", Reason::NotABoolean),
            (Type::String, "[1]", Reason::Nested),
            (Type::Int, "{\"a\":1}", Reason::Nested),
        ];
        for (kind, text, reason) in cases {
            assert_eq!(Reason::of(kind, text, mdy), reason, "{text}");
        }
        assert_eq!(Reason::of(time, "8/13/2016 1:00", DateOrder::Dmy), Reason::OnlyMdy);
        assert_eq!(Reason::of(time, "8/3/2016 1:00", DateOrder::Dmy), Reason::NeedsDateOrder);
        let codes = [Reason::OnlyDmy, Reason::Time(Unreadable::NoSuchTime), Reason::Nested];
        assert_eq!(serde_json::json!(codes), serde_json::json!(["only_dmy", "no_such_time", "nested"]));
    }

    #[test]
    fn form_hides_letters_and_digits() {
        for (text, expected) in [
            (" 13/08/2016 1:00 PM", "99/99/9999 9:99 AA"),
            ("Doña Ana", "Aaaa Aaa"),
            ("a\tb\u{1}", "a a·"),
            ("٣ €", "9 ·"),
            ("n/a", "n/a"),
            ("-Infinity", "-Infinity"),
            ("", ""),
        ] {
            assert_eq!(form(text), expected, "{text}");
        }
        assert_eq!(form(&"12".repeat(100)), format!("{}…", "9".repeat(32)));
    }

    #[test]
    fn counts_of_two_parts_are_those_of_the_whole() {
        let cells = [(0, "x"), (1, "7"), (0, "1,000"), (1, "soon"), (0, "y"), (0, "-")];
        let tally = |cells: &[(usize, &str)]| {
            let mut tally = Tally::default();
            for (column, text) in cells {
                tally.row(2).unreadable(*column, Type::Int, text, DateOrder::Mdy);
                tally.unknown(text);
            }
            tally
        };
        for middle in 0..=cells.len() {
            let mut parts = tally(&cells[..middle]);
            parts.add(&tally(&cells[middle..]));
            let counts = |tally: &Tally| {
                let reasons =
                    tally.unreadable().map(|(column, cells, reasons)| (column, cells, reasons.to_vec()));
                (reasons.collect::<Vec<_>>(), tally.unreadable_rows(), tally.unknown_names().to_vec())
            };
            assert_eq!(counts(&parts), counts(&tally(&cells)));
        }
    }

    #[test]
    fn unknown_names_are_bounded_in_number_and_length() {
        let mut tally = Tally::default();
        for _ in 0..3 {
            for name in ["b", "a", &"ñ".repeat(1_000)] {
                tally.unknown(name);
            }
        }
        let long = format!("{}…", "ñ".repeat(NAME_CHARACTERS));
        assert_eq!(tally.unknown_names(), ["b".to_owned(), "a".to_owned(), long]);
        for number in 0..NAMES - 3 {
            tally.unknown(&number.to_string());
        }
        tally.unknown("a");
        assert_eq!((tally.unknown_names().len(), tally.has_more_unknown()), (NAMES, false));
        for number in 0..100_000 {
            tally.unknown(&number.to_string());
        }
        assert_eq!((tally.unknown_names().len(), tally.has_more_unknown()), (NAMES, true));
        let mut sum = Tally::default();
        sum.add(&tally);
        assert!(sum.has_more_unknown());
    }
}
