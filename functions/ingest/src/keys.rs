//! Keys of an event: unique without regard to case, since readers that ignore it take equal keys for no event at all.

use std::collections::{HashMap, HashSet};

use shared::{
    data::dataset::{Dataset, INVALID, fold},
    json::{self, Writer},
};

/// Decides which keys that the data set does not know can be entries of an event.
#[derive(Debug)]
pub struct Unknown<'d> {
    dataset: &'d Dataset,
    taken: HashSet<String>,
}

impl<'d> Unknown<'d> {
    /// An event of that data set, without unknown entries.
    #[must_use]
    pub fn new(dataset: &'d Dataset) -> Self {
        Self { dataset, taken: HashSet::new() }
    }

    /// Whether `name` can be an entry next to the columns and to those that were admitted before it. The others go under
    /// `_invalid`.
    pub fn admits(&mut self, name: &str) -> bool {
        let folded = fold(name);
        !self.dataset.reserves(&folded) && self.taken.insert(folded.into_owned())
    }
}

/// The entry `_invalid` of an event: the texts that have no place of their own, each under a key of its own.
///
/// A cell that could not be typed is under the name of its column. Whatever else is there (an earlier value of a key that
/// is repeated, a key that differs from another in case only) is under its own name, or under `name#2`, `name#3` and so on
/// where that is taken.
#[derive(Debug)]
pub struct InvalidCells<'d> {
    dataset: &'d Dataset,
    entries: Writer,
    columns: Vec<usize>,
    /// The keys without regard to case, and the last number that was given to each; filled when one is needed.
    keys: Option<HashMap<String, usize>>,
}

impl<'d> InvalidCells<'d> {
    /// An event of that data set, without such cells.
    #[must_use]
    pub fn new(dataset: &'d Dataset) -> Self {
        Self { dataset, entries: Writer::default(), columns: Vec::new(), keys: None }
    }

    /// Keeps the cell of a column that could not be typed. Each column has one, before anything else is kept.
    pub fn column(&mut self, column: usize, text: &str) {
        self.columns.push(column);
        self.write_entry(&self.dataset.columns[column].name, text);
    }

    /// Keeps a text that has no place of its own. `is_left_out` says whether the event has neither an entry nor an invalid
    /// cell of a column: under the column's name a text would be taken for its cell when the event is sent in again.
    pub fn aside(&mut self, name: &str, text: &str, is_left_out: impl Fn(usize) -> bool) {
        let Self { dataset, columns, keys, .. } = self;
        let keys = keys.get_or_insert_with(|| {
            columns.iter().map(|column| (fold(&dataset.columns[*column].name).into_owned(), 1)).collect()
        });
        let folded = fold(name).into_owned();
        let is_for_column = dataset.column(name).is_some_and(is_left_out);
        if !is_for_column && !keys.contains_key(&folded) {
            keys.insert(folded, 1);
            return self.write_entry(name, text);
        }
        // The number is remembered, so that many repeats of one key take no time to number.
        let mut number = keys.get(&folded).copied().unwrap_or(1);
        let numbered = loop {
            number += 1;
            let numbered = format!("{name}#{number}");
            let folded = fold(&numbered).into_owned();
            if dataset.column_folded(&folded).is_none() && !keys.contains_key(&folded) {
                keys.insert(folded, 1);
                break numbered;
            }
        };
        keys.insert(folded, number);
        self.write_entry(&numbered, text);
    }

    fn write_entry(&mut self, name: &str, text: &str) {
        self.entries.text(&json::entry(name));
        json::write_string(text, &mut self.entries);
    }

    /// Writes the entry to the end of an event, if it has any cells.
    pub fn write(&self, out: &mut Writer) {
        if let Some((_comma, entries)) = self.entries.written().split_first() {
            out.text(&json::entry(INVALID));
            out.byte(b'{');
            out.text(entries);
            out.byte(b'}');
        }
    }
}
