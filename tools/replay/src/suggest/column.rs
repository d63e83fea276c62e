//! What the cells of a column have in common, in memory that does not grow with the file.

use std::{
    collections::{HashMap, HashSet, hash_map::RandomState},
    hash::BuildHasher,
};

use ingest::unreadable::is_nothing;
use shared::data::{
    cell,
    dataset::{Type, fold},
    event::Cell,
    time::DateOrder,
};

/// Different values that are kept of a column.
pub(super) const DISTINCT: usize = 100;
/// Characters of a value that is kept.
const VALUE_CHARACTERS: usize = 64;
/// Characters of an example, and how many examples there are.
const EXAMPLE_CHARACTERS: usize = 40;
const EXAMPLES: usize = 3;
/// Spellings of "nothing" that are kept of a column. With so many, there may be more.
pub(super) const NOTHINGS: usize = 20;
/// The orders of dates, by their position in pairs.
pub(super) const ORDERS: [DateOrder; 2] = [DateOrder::Mdy, DateOrder::Dmy];

/// As what every cell so far can be read. Pairs are in the order of [`ORDERS`].
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each type is excluded by itself")]
struct Readable {
    int: bool,
    double: bool,
    boolean: bool,
    date: [bool; 2],
    time: [bool; 2],
    time_or_date: [bool; 2],
    /// Whether no digit would be lost by reading a number: there is none with a zero in front or a plus sign.
    keeps_digits: bool,
    /// Whether no number has a fraction.
    whole: bool,
}

/// The different values of a column by their first spelling, with how often each was found.
#[derive(Debug, Default)]
struct Values {
    places: HashMap<String, usize>,
    found: Vec<String>,
    too_many: bool,
}

/// Whether no value was found twice, as far as memory allows to know.
#[derive(Debug, Default)]
struct Uniqueness {
    hashes: HashSet<u64>,
    hasher: RandomState,
    has_repeated: bool,
}

/// What was found out about a column.
#[derive(Debug)]
pub(super) struct SurveyedColumn {
    pub(super) name: String,
    /// Rows in which it has a text.
    pub(super) filled: u64,
    /// The row that was counted last, from 1.
    last_row: u64,
    readable: Readable,
    /// Cells with a text that does not mean nothing.
    cells: u64,
    /// Times and days that can be read in only one order, by the order.
    pub(super) only: [u64; 2],
    /// Times and days that mean different days in the two orders.
    pub(super) ambiguous: u64,
    /// Texts for "nothing", as they are spelled.
    pub(super) nothings: Vec<String>,
    /// Bare `NaN` or `Infinity` of JSON among them, which no type can hold.
    pub(super) non_finite: Vec<String>,
    /// Whether a cell holds an object or an array.
    pub(super) is_nested: bool,
    values: Values,
    uniqueness: Uniqueness,
    examples: Vec<String>,
    least: Option<(f64, String)>,
    greatest: Option<(f64, String)>,
}

fn reads(kind: Type, text: &str, order: DateOrder, out: &mut Vec<u8>) -> bool {
    out.truncate(0);
    cell::write(kind, text, order, out).is_ok()
}

impl Readable {
    fn new() -> Self {
        let pair = [true; 2];
        Self {
            int: true,
            double: true,
            boolean: true,
            date: pair,
            time: pair,
            time_or_date: pair,
            keeps_digits: true,
            whole: true,
        }
    }

    /// Excludes the types as which that text cannot be read.
    fn add(&mut self, text: &str, out: &mut Vec<u8>) {
        let mdy = DateOrder::Mdy;
        self.int = self.int && reads(Type::Int, text, mdy, out);
        self.double = self.double && reads(Type::Double, text, mdy, out);
        self.boolean = self.boolean && reads(Type::Boolean, text, mdy, out);
        if self.int || self.double {
            let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
            let has_zero = matches!(digits, [b'0', b'0'..=b'9', ..]);
            self.keeps_digits &= !has_zero && !text.starts_with('+');
            self.whole &= !text.contains('.');
        }
        for (at, order) in ORDERS.into_iter().enumerate() {
            let pairs = [
                (&mut self.date, Type::Date),
                (&mut self.time, Type::Timestamp),
                (&mut self.time_or_date, Type::TimestampOrDate),
            ];
            for (readable, kind) in pairs {
                readable[at] = readable[at] && reads(kind, text, order, out);
            }
        }
    }
}

impl Values {
    fn add(&mut self, text: &str) {
        if self.too_many {
            return;
        }
        let text = text.trim();
        let key = fold(text);
        if self.places.contains_key(key.as_ref()) {
            return;
        }
        let is_kept = text.chars().count() <= VALUE_CHARACTERS && !text.contains(char::is_control);
        if self.found.len() == DISTINCT || !is_kept {
            *self = Self { too_many: true, ..Self::default() };
            return;
        }
        self.places.insert(key.into_owned(), self.found.len());
        self.found.push(text.to_owned());
    }
}

impl Uniqueness {
    fn add(&mut self, text: &str, most: usize) {
        if self.has_repeated || self.hashes.len() >= most {
            return;
        }
        if !self.hashes.insert(self.hasher.hash_one(text)) {
            self.has_repeated = true;
            self.hashes = HashSet::new();
        }
    }
}

impl SurveyedColumn {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            filled: 0,
            last_row: 0,
            readable: Readable::new(),
            cells: 0,
            only: [0; 2],
            ambiguous: 0,
            nothings: Vec::new(),
            non_finite: Vec::new(),
            is_nested: false,
            values: Values::default(),
            uniqueness: Uniqueness::default(),
            examples: Vec::new(),
            least: None,
            greatest: None,
        }
    }

    /// Looks at the cell of a row, numbered from 1. `most_ids` bounds the values that are remembered to find one twice.
    pub(super) fn add(&mut self, row: u64, cell: &Cell<'_>, most_ids: usize, out: &mut Vec<u8>) {
        let text = match cell {
            Cell::Blank => return,
            Cell::Text(text) => text.trim(),
            Cell::Nested(_) => {
                self.is_nested = true;
                return;
            }
            Cell::NonFinite(text) => {
                keep(&mut self.non_finite, text);
                return;
            }
        };
        if text.is_empty() {
            return;
        }
        if self.last_row != row {
            (self.last_row, self.filled) = (row, self.filled + 1);
        }
        self.values.add(text);
        self.uniqueness.add(text, most_ids);
        if is_nothing(text) {
            keep(&mut self.nothings, text);
            return;
        }
        self.cells += 1;
        self.compare_orders(text, out);
        self.readable.add(text, out);
        self.note_range(text);
        let is_example = text.chars().count() <= EXAMPLE_CHARACTERS && !text.contains(char::is_control);
        if is_example && self.examples.len() < EXAMPLES && !self.examples.iter().any(|known| known == text) {
            self.examples.push(text.to_owned());
        }
    }

    /// Counts what a text says about the order of dates.
    fn compare_orders(&mut self, text: &str, out: &mut Vec<u8>) {
        if self.readable.time_or_date == [false; 2] || cell::needs_no_order(Type::TimestampOrDate, text) {
            return;
        }
        match ORDERS.map(|order| reads(Type::TimestampOrDate, text, order, out)) {
            [true, true] => self.ambiguous += 1,
            [true, false] => self.only[0] += 1,
            [false, true] => self.only[1] += 1,
            [false, false] => {}
        }
    }

    fn note_range(&mut self, text: &str) {
        if !self.readable.double {
            return;
        }
        let Ok(number) = text.parse::<f64>() else { return };
        if self.least.as_ref().is_none_or(|(least, _)| number < *least) {
            self.least = Some((number, text.to_owned()));
        }
        if self.greatest.as_ref().is_none_or(|(greatest, _)| number > *greatest) {
            self.greatest = Some((number, text.to_owned()));
        }
    }

    /// The type of the column if dates are read in that order, without the texts for "nothing".
    pub(super) fn kind(&self, order: DateOrder) -> Type {
        let Readable { int, double, boolean, date, time, time_or_date, keeps_digits, whole } = self.readable;
        let at = usize::from(order == DateOrder::Dmy);
        if self.cells == 0 {
            return if self.non_finite.is_empty() { Type::String } else { Type::Double };
        }
        if int || double {
            return match keeps_digits {
                true if int && whole => Type::Int,
                true if double => Type::Double,
                _ => Type::String,
            };
        }
        if boolean {
            Type::Boolean
        } else if date[at] {
            Type::Date
        } else if time[at] {
            Type::Timestamp
        } else if time_or_date[at] {
            Type::TimestampOrDate
        } else {
            Type::String
        }
    }

    /// Whether every cell is a time or a day in at least one order.
    pub(super) fn has_dates(&self) -> bool {
        self.cells > 0 && self.readable.time_or_date.contains(&true)
    }

    /// Whether every cell is an integer, with a fraction of zeros or without.
    pub(super) fn holds_integers(&self) -> bool {
        self.cells > 0 && self.readable.int && self.nothings.is_empty() && self.non_finite.is_empty()
    }

    /// Whether every cell is a number between those two.
    pub(super) fn is_between(&self, least: f64, greatest: f64) -> bool {
        let ends = self.least.as_ref().zip(self.greatest.as_ref());
        self.readable.double && ends.is_some_and(|((low, _), (high, _))| *low >= least && *high <= greatest)
    }

    /// The different values in the order in which they were found, if they are few and short.
    pub(super) fn values(&self) -> Option<&[String]> {
        (!self.values.too_many && !self.values.found.is_empty()).then_some(self.values.found.as_slice())
    }

    /// Whether no value was found twice.
    pub(super) fn is_unique(&self) -> bool {
        self.filled > 0 && !self.uniqueness.has_repeated
    }

    /// Examples for a column of that type: the least and the greatest of numbers, else the first.
    pub(super) fn examples(&self, kind: Type) -> Vec<String> {
        if let (Type::Int | Type::Double, Some((_, least)), Some((_, greatest))) =
            (kind, &self.least, &self.greatest)
        {
            let ends = if least == greatest { vec![least] } else { vec![least, greatest] };
            let is_short = |text: &&String| text.len() <= EXAMPLE_CHARACTERS;
            return ends.into_iter().filter(is_short).cloned().collect();
        }
        self.examples.clone()
    }
}

fn keep(texts: &mut Vec<String>, text: &str) {
    if texts.len() < NOTHINGS && !texts.iter().any(|known| known == text) {
        texts.push(text.to_owned());
    }
}
