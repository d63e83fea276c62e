//! The header of a CSV, which assigns the cells of a row to the columns of the data set.

use std::{collections::HashSet, sync::Arc};

use shared::data::dataset::{Dataset, fold};

use super::{Cells, Content, separator};
use crate::{charset::NOT_IN_CHARSET, keys::UnknownKeys};

/// The reason code of rows below an unusable header: unreadable, without an id or severity, or with a column named
/// twice.
pub(super) const BAD_HEADER: &str = "bad_header";
/// Bytes kept of a first line that cannot be read as a header.
pub(super) const HEADER_EXCERPT_BYTES: usize = 1024;
/// Names that an error quotes of an unusable header.
const QUOTED_NAMES: usize = 3;
/// Characters of each of these names.
const QUOTED_NAME_CHARACTERS: usize = 12;
/// Characters of a repeated name that an error quotes.
const REPEATED_NAME_CHARACTERS: usize = 64;

/// The header of a CSV, with its cells assigned to the data set's columns.
#[derive(Debug, Clone)]
pub struct Header {
    /// The header line without its line end, or only its beginning if it is unreadable. It starts with a `sep=` line if
    /// the separator is not obvious.
    pub line: Arc<str>,
    /// For each column of the data set, the position of its cell in a row.
    pub columns: Vec<Option<usize>>,
    /// Cells that are unknown to the data set and become entries of an event, with their names. A column without a name
    /// is called by its position: `column_4` is the fourth.
    pub unknown: Vec<(usize, String)>,
    /// Cells that are unknown to the data set and go under `_invalid`, because another name is the same ignoring case.
    pub invalid: Vec<(usize, String)>,
    /// Cells that a row must have: the header's cells without blank names at its end.
    pub required_cells: usize,
    /// Cells of the header, including blank names at its end.
    all_cells: usize,
    /// Why no row below it is accepted.
    pub problem: Option<String>,
}

impl Header {
    /// A header whose cells are not assigned yet.
    fn empty(dataset: &Dataset, line: &str) -> Self {
        Self {
            line: line.into(),
            columns: vec![None; dataset.columns.len()],
            unknown: Vec::new(),
            invalid: Vec::new(),
            required_cells: 0,
            all_cells: 0,
            problem: None,
        }
    }

    /// The header of a text whose first line cannot be read. Of that line, `excerpt` is the beginning.
    pub(super) fn unreadable(dataset: &Dataset, excerpt: &str, problem: String) -> Self {
        Self { problem: Some(problem), ..Self::empty(dataset, excerpt) }
    }

    /// Assigns the cells of the first line to the columns of the data set.
    ///
    /// A name that differs from a column's only in case means that column, unless another cell has the exact name or an
    /// earlier cell matches, too.
    pub(super) fn read(dataset: &Dataset, line: &str, cells: &Cells, separator: u8) -> Self {
        let mut header = Self::empty(dataset, line);
        header.all_cells = cells.len();
        let (mut repeated, mut unknown, mut nameless) = (None, HashSet::new(), Vec::new());
        for position in 0..cells.len() {
            let name = cells.get(position).trim();
            if name.is_empty() {
                nameless.push(position);
                continue;
            }
            header.required_cells = position + 1;
            let is_repeated = match dataset.column(name) {
                Some(column) => header.columns[column].replace(position).is_some(),
                None => {
                    header.unknown.push((position, name.to_owned()));
                    !unknown.insert(name)
                }
            };
            if is_repeated {
                repeated.get_or_insert(name);
            }
        }
        header.match_without_case(dataset);
        header.name_the_nameless(dataset, &nameless);
        let mut keys = UnknownKeys::new(dataset);
        (header.unknown, header.invalid) =
            header.unknown.into_iter().partition(|(_, name)| keys.admits(name));
        header.problem = header.find_problem(dataset, cells, separator, repeated);
        header
    }

    /// Assigns each column that no cell names exactly to the first cell that names it in another case.
    fn match_without_case(&mut self, dataset: &Dataset) {
        let columns = &mut self.columns;
        self.unknown.retain(|(position, name)| match column_in_another_case(dataset, name) {
            Some(column) if columns[column].is_none() => {
                columns[column] = Some(*position);
                false
            }
            _ => true,
        });
    }

    /// Finds out why the header cannot be used, if so.
    fn find_problem(
        &self,
        dataset: &Dataset,
        cells: &Cells,
        separator: u8,
        repeated: Option<&str>,
    ) -> Option<String> {
        let required = [dataset.id, dataset.severity];
        if let Some(missing) = required.into_iter().find(|column| self.columns[*column].is_none()) {
            return Some(format!(
                "the header has no column `{}`: the first line must name the columns of the data set {}; it was read as {}{}",
                dataset.columns[missing].name,
                dataset.name,
                quote_names(cells, separator),
                // Letters outside ASCII may have been lost because of the wrong charset.
                if is_altered(cells) { NOT_IN_CHARSET } else { "" }
            ));
        }
        let name = excerpt(repeated?, REPEATED_NAME_CHARACTERS);
        Some(format!("expected each column once in the header, found `{name}` twice; rename or remove one"))
    }

    /// Names columns without a name by their position, so that no text below them is lost.
    fn name_the_nameless(&mut self, dataset: &Dataset, nameless: &[usize]) {
        if nameless.is_empty() {
            return;
        }
        let known = dataset.columns.iter().map(|column| column.name.to_lowercase());
        let unknown = self.unknown.iter().map(|(_, name)| name.to_lowercase());
        let taken: HashSet<String> = known.chain(unknown).collect();
        for position in nameless {
            let mut name = format!("column_{}", position + 1);
            while taken.contains(&name) {
                name.push('_');
            }
            self.unknown.push((*position, name));
        }
    }

    /// The content of a row with these cells below this header.
    pub(super) fn content_of<'a>(&self, cells: &'a Cells) -> Content<'a> {
        if let Some(problem) = &self.problem {
            return Content::Broken { reason: BAD_HEADER, detail: problem.clone() };
        }
        // Text after the last column has no name under which it could be kept.
        if cells.len() < self.required_cells || !cells.are_blank_from(self.all_cells) {
            let detail =
                format!("expected {} cells as in the header, found {}", self.required_cells, cells.len());
            return Content::Broken { reason: "cell_count", detail };
        }
        Content::Cells(cells)
    }
}

/// The column with that name, ignoring case. The column that ingest fills itself is excluded, because the sender's text
/// would be lost.
pub(crate) fn column_in_another_case(dataset: &Dataset, name: &str) -> Option<usize> {
    dataset.column_folded(&fold(name)).filter(|column| *column != dataset.received_at)
}

/// Whether cells name the columns that every accepted row needs.
pub(super) fn has_required_columns(dataset: &Dataset, cells: &Cells) -> bool {
    let column = |position| {
        let name = cells.get(position).trim();
        dataset.column(name).or_else(|| column_in_another_case(dataset, name))
    };
    let named: HashSet<usize> = (0..cells.len()).filter_map(column).collect();
    named.contains(&dataset.id) && named.contains(&dataset.severity)
}

/// Whether the line had bytes that are not text in the charset in which it was read.
fn is_altered(cells: &Cells) -> bool {
    (0..cells.len()).any(|position| cells.get(position).contains(char::REPLACEMENT_CHARACTER))
}

/// Quotes the first cells of a header, with their separator, for an error.
fn quote_names(cells: &Cells, separator: u8) -> String {
    let first = (0..cells.len().min(QUOTED_NAMES)).map(|position| {
        let name = excerpt(cells.get(position).trim(), QUOTED_NAME_CHARACTERS);
        format!("`{name}`")
    });
    let first = first.collect::<Vec<_>>().join(", ");
    let separated = format!("separated by {}", separator::name(separator));
    match cells.len().saturating_sub(QUOTED_NAMES) {
        0 => format!("{first}, {separated}"),
        more => format!("{first} and {more} more, {separated}"),
    }
}

/// The beginning of a name that may be long.
fn excerpt(name: &str, characters: usize) -> String {
    let begin: String = name.chars().take(characters).collect();
    if begin.len() < name.len() { begin + "…" } else { begin }
}
