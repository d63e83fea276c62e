//! The header of a CSV, and how the cells of its rows are matched with the columns of the data set.

use std::{collections::HashSet, sync::Arc};

use shared::dataset::Dataset;

use super::{Cells, Content};
use crate::keys::Unknown;

/// Why no row is accepted below a header that names no id or severity, or cannot be read.
pub(super) const BAD_HEADER: &str = "bad_header";
/// Bytes that are kept of a first line that cannot be read as a header.
pub(super) const HEADER_BEGIN: usize = 1024;
/// Characters of a column's name that a sentence repeats.
const NAME_CHARACTERS: usize = 64;

/// The header of a CSV, its cells matched with the data set's columns.
#[derive(Debug, Clone)]
pub struct Header {
    /// The line as it is in the text, without its end; its beginning if it cannot be read.
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
    pub(super) fn read(dataset: &Dataset, line: &str, cells: &Cells) -> Self {
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
        header.name_the_nameless(dataset, &nameless);
        let mut keys = Unknown::new(dataset);
        (header.unknown, header.aside) = header.unknown.into_iter().partition(|(_, name)| keys.admits(name));
        header.problem = problem(dataset, &header.columns, twice);
        header
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

/// Why a header with these columns cannot be used.
fn problem(dataset: &Dataset, columns: &[Option<usize>], twice: Option<&str>) -> Option<String> {
    let missing = [dataset.id, dataset.severity].into_iter().find(|column| columns[*column].is_none());
    match (missing, twice) {
        (Some(column), _) => Some(format!(
            "the header has no column `{}`: the first line must name the columns of the data set {}",
            dataset.columns[column].name, dataset.name
        )),
        (None, Some(name)) => {
            let begin: String = name.chars().take(NAME_CHARACTERS).collect();
            let more = if begin.len() < name.len() { "…" } else { "" };
            Some(format!("the header names `{begin}{more}` twice: a header names each column once"))
        }
        (None, None) => None,
    }
}
