//! The header of a CSV, and how the cells of its rows are matched with the columns of the data set.

use std::{collections::HashSet, sync::Arc};

use shared::data::dataset::{Dataset, fold};

use super::{Cells, Content, separator};
use crate::keys::Unknown;

/// Why no row is accepted below a header that names no id or severity, or cannot be read.
pub(super) const BAD_HEADER: &str = "bad_header";
/// Bytes that are kept of a first line that cannot be read as a header.
pub(super) const HEADER_BEGIN: usize = 1024;
/// Characters of a column's name that a sentence repeats.
const NAME_CHARACTERS: usize = 64;
/// Names that a sentence repeats of a header that cannot be used.
const NAMES: usize = 3;
/// Characters of each of them.
const SHORT_NAME_CHARACTERS: usize = 12;

/// The header of a CSV, its cells matched with the data set's columns.
#[derive(Debug, Clone)]
pub struct Header {
    /// The line as it is in the text, without its end; its beginning if it cannot be read. Where it does not show by
    /// itself what separates its cells, a line before it declares that.
    pub line: Arc<str>,
    /// For each column of the data set, the position of its cell in a row.
    pub columns: Vec<Option<usize>>,
    /// Cells that the data set does not know and that become entries of an event, with their names. A cell whose
    /// column has no name is called by its position: `column_4` is the fourth.
    pub unknown: Vec<(usize, String)>,
    /// Cells that the data set does not know and that go under `_invalid`: another name is the same ignoring case.
    pub aside: Vec<(usize, String)>,
    /// Cells that a row must have: as many as the header has without the blank names at its end.
    pub len: usize,
    /// Cells of the header, with the blank names at its end.
    most: usize,
    /// Why no row below it is accepted.
    pub problem: Option<String>,
}

impl Header {
    /// The header of a text whose first line cannot be read.
    pub(super) fn unreadable(dataset: &Dataset, begin: &str, problem: String) -> Self {
        Self {
            line: begin.into(),
            columns: vec![None; dataset.columns.len()],
            unknown: Vec::new(),
            aside: Vec::new(),
            len: 0,
            most: 0,
            problem: Some(problem),
        }
    }

    /// Matches the cells of the first line with the columns of the data set.
    ///
    /// A name that is that of a column but for its case names the column, unless another cell has the exact name or
    /// comes first.
    pub(super) fn read(dataset: &Dataset, line: &str, cells: &Cells, separator: u8) -> Self {
        let mut header = Self::unreadable(dataset, line, String::new());
        header.most = cells.len();
        let (mut twice, mut unknown, mut nameless) = (None, HashSet::new(), Vec::new());
        for position in 0..cells.len() {
            let name = cells.get(position).trim();
            if name.is_empty() {
                nameless.push(position);
                continue;
            }
            header.len = position + 1;
            let earlier = match dataset.column(name) {
                Some(column) => header.columns[column].replace(position).is_some(),
                None => {
                    header.unknown.push((position, name.to_owned()));
                    !unknown.insert(name)
                }
            };
            if earlier {
                twice.get_or_insert(name);
            }
        }
        header.match_without_case(dataset);
        header.name_the_nameless(dataset, &nameless);
        let mut keys = Unknown::new(dataset);
        (header.unknown, header.aside) = header.unknown.into_iter().partition(|(_, name)| keys.admits(name));
        header.problem = header.problem(dataset, cells, separator, twice);
        header
    }

    /// Gives columns that no cell names exactly the first cell that names them in another case.
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

    /// Why the header cannot be used, if it cannot.
    fn problem(
        &self,
        dataset: &Dataset,
        cells: &Cells,
        separator: u8,
        twice: Option<&str>,
    ) -> Option<String> {
        let needed = [dataset.id, dataset.severity];
        if let Some(missing) = needed.into_iter().find(|column| self.columns[*column].is_none()) {
            return Some(format!(
                "the header has no column `{}`: the first line must name the columns of the data set {}; it was read as {}",
                dataset.columns[missing].name,
                dataset.name,
                names(cells, separator)
            ));
        }
        let name = twice?;
        let name = begin(name, NAME_CHARACTERS);
        Some(format!("the header names `{name}` twice: a header names each column once"))
    }

    /// Gives columns without a name the name of their position, so that no text below them is lost.
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

    /// What the cells of a row below this header are.
    pub(super) fn check<'a>(&self, cells: &'a Cells) -> Content<'a> {
        if let Some(problem) = &self.problem {
            return Content::Broken { reason: BAD_HEADER, detail: problem.clone() };
        }
        // What follows the last column has no name to be kept under.
        if cells.len() < self.len || !cells.are_blank_from(self.most) {
            let detail = format!("the row has {} cells where the header has {}", cells.len(), self.len);
            return Content::Broken { reason: "cell_count", detail };
        }
        Content::Cells(cells)
    }
}

/// The column that a name is of but for its case. The column that ingest stamps is not one: what a sender has there
/// would be lost.
pub(crate) fn column_in_another_case(dataset: &Dataset, name: &str) -> Option<usize> {
    dataset.column_folded(&fold(name)).filter(|column| *column != dataset.received_at)
}

/// Whether cells name the columns without which no row can be accepted.
pub(super) fn names_what_is_needed(dataset: &Dataset, cells: &Cells) -> bool {
    let column = |position| {
        let name = cells.get(position).trim();
        dataset.column(name).or_else(|| column_in_another_case(dataset, name))
    };
    let named: HashSet<usize> = (0..cells.len()).filter_map(column).collect();
    named.contains(&dataset.id) && named.contains(&dataset.severity)
}

/// The first cells of a header for a sentence, and what separates them.
fn names(cells: &Cells, separator: u8) -> String {
    let first = (0..cells.len().min(NAMES)).map(|position| {
        let name = begin(cells.get(position).trim(), SHORT_NAME_CHARACTERS);
        format!("`{name}`")
    });
    let first = first.collect::<Vec<_>>().join(", ");
    let separated = format!("separated by {}", separator::name(separator));
    match cells.len().saturating_sub(NAMES) {
        0 => format!("{first}, {separated}"),
        more => format!("{first} and {more} more, {separated}"),
    }
}

/// The beginning of a name that may be long.
fn begin(name: &str, characters: usize) -> String {
    let begin: String = name.chars().take(characters).collect();
    if begin.len() < name.len() { begin + "…" } else { begin }
}
