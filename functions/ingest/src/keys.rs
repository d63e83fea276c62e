//! Keys of an event: unique regardless of case, because readers that ignore case reject an event with equal keys.

use std::collections::{HashMap, HashSet};

use shared::{
    data::dataset::{Dataset, INVALID, fold},
    json,
};

/// Decides which keys that are unknown to the data set can become entries of an event.
#[derive(Debug)]
pub(crate) struct UnknownKeys<'d> {
    dataset: &'d Dataset,
    taken: HashSet<String>,
}

impl<'d> UnknownKeys<'d> {
    /// An event of that data set, without unknown entries.
    pub(crate) fn new(dataset: &'d Dataset) -> Self {
        Self { dataset, taken: HashSet::new() }
    }

    /// Whether `name` can be an entry next to the columns and the entries admitted before it. Other cells go into
    /// `_invalid`.
    pub(crate) fn admits(&mut self, name: &str) -> bool {
        let folded = fold(name);
        !self.dataset.reserves(&folded) && self.taken.insert(folded.into_owned())
    }
}

/// The entry `_invalid` of an event: the texts that cannot be entries themselves, each under its own key.
///
/// A cell that could not be typed is stored under its column's name. Other texts include an earlier value of a repeated
/// key, or a key that differs from another only in case. They are stored under their own name, or under `name#2`,
/// `name#3` and so on if that is taken.
#[derive(Debug)]
pub(crate) struct InvalidCells<'d> {
    dataset: &'d Dataset,
    entries: Vec<u8>,
    columns: Vec<usize>,
    /// The keys regardless of case, with the last number given to each; filled on first use.
    keys: Option<HashMap<String, usize>>,
}

impl<'d> InvalidCells<'d> {
    /// An event of that data set, without such cells.
    pub(crate) fn new(dataset: &'d Dataset) -> Self {
        Self { dataset, entries: Vec::new(), columns: Vec::new(), keys: None }
    }

    /// Stores the untypable cell of a column. At most one for each column, before any other text.
    pub(crate) fn column(&mut self, column: usize, text: &str) {
        self.columns.push(column);
        self.write_entry(&self.dataset.columns[column].name, text);
    }

    /// Stores a text that cannot be an entry itself. `is_left_out` says whether the event has neither an entry nor an
    /// invalid cell for a column. Under such a column's name, the text would be mistaken for its cell when the event is
    /// sent again.
    pub(crate) fn aside(&mut self, name: &str, text: &str, is_left_out: impl Fn(usize) -> bool) {
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
        // The number is remembered, so that many repeats of one key are numbered quickly.
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
        self.entries.extend_from_slice(&json::entry(name));
        json::write_string(text, &mut self.entries);
    }

    /// Writes the entry to the end of an event, if it has any cells.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        if let Some((_comma, entries)) = self.entries.split_first() {
            out.extend_from_slice(&json::entry(INVALID));
            out.push(b'{');
            out.extend_from_slice(entries);
            out.push(b'}');
        }
    }
}
