//! Cells under their names: the common form of rows of all formats.

use std::borrow::Cow;

use shared::data::{
    dataset::{Blanks, Dataset, INVALID, Type},
    event::{self, Cell, Event},
};

use crate::{
    keys::UnknownKeys,
    rows::{Cells, Header, column_in_another_case},
};

/// Cells under their names.
pub(crate) trait Source<'a> {
    /// The cell of a column of the data set.
    fn known(&self, column: usize) -> Cell<'a>;
    /// Whether the cell of a column was among the invalid cells of an event that is sent again.
    fn was_invalid(&self, _column: usize) -> bool {
        false
    }
    /// Cells that are unknown to the data set and become entries of the event.
    fn unknown(&self) -> impl Iterator<Item = (&str, Cell<'a>)>;
    /// Cells that cannot be entries of the event, because others have their names.
    fn aside(&self) -> impl Iterator<Item = (&str, Cell<'a>)>;
}

/// Whether an event has no entry for that cell of a column, because the cell is blank.
pub(crate) fn is_left_out(dataset: &Dataset, column: usize, cell: &Cell<'_>) -> bool {
    match cell {
        _ if column == dataset.received_at => false,
        Cell::Blank => true,
        Cell::Text(text) => dataset.columns[column].kind != Type::String && text.trim().is_empty(),
        Cell::Nested(_) | Cell::NonFinite(_) => false,
    }
}

/// A row that treats cells with a text for "no value" as blank.
pub(crate) struct WithBlanks<'b, R> {
    pub(crate) row: &'b R,
    pub(crate) blanks: &'b Blanks,
}

impl<'a, R: Source<'a>> Source<'a> for WithBlanks<'_, R> {
    fn known(&self, column: usize) -> Cell<'a> {
        self.row.known(column).unless(self.blanks)
    }

    fn was_invalid(&self, column: usize) -> bool {
        self.row.was_invalid(column)
    }

    fn unknown(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        self.row.unknown().map(|(name, cell)| (name, cell.unless(self.blanks)))
    }

    fn aside(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        self.row.aside().map(|(name, cell)| (name, cell.unless(self.blanks)))
    }
}

/// The cells of a line under its header.
pub(crate) struct CsvRow<'a> {
    pub(crate) header: &'a Header,
    pub(crate) cells: &'a Cells,
}

impl<'a> Source<'a> for CsvRow<'a> {
    // This runs for every column of every row: without inlining, ingest would need a tenth more instructions.
    #[inline(always)]
    fn known(&self, column: usize) -> Cell<'a> {
        self.header.columns[column].map_or(Cell::Blank, |position| self.cell(position))
    }

    fn unknown(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        self.header.unknown.iter().map(|(position, name)| (name.as_str(), self.cell(*position)))
    }

    fn aside(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        self.header.invalid.iter().map(|(position, name)| (name.as_str(), self.cell(*position)))
    }
}

impl<'a> CsvRow<'a> {
    #[inline(always)]
    fn cell(&self, position: usize) -> Cell<'a> {
        match self.cells.get(position) {
            "" => Cell::Blank,
            text => Cell::Text(Cow::Borrowed(text)),
        }
    }
}

type Pair<'a> = (Cow<'a, str>, &'a str);

/// A JSON object. The invalid cells of an event that ingest wrote are read as cells of their columns again.
pub(crate) struct JsonRow<'a> {
    columns: Vec<Option<&'a str>>,
    /// Columns whose values were among the invalid cells.
    put_back: Vec<usize>,
    unknown: Vec<Pair<'a>>,
    aside: Vec<Pair<'a>>,
}

impl<'a> JsonRow<'a> {
    pub(crate) fn new(dataset: &Dataset, event: Event<'a>) -> Self {
        let Event { columns, unknown, superseded } = event;
        let mut row = Self { columns, put_back: Vec::new(), unknown: Vec::new(), aside: Vec::new() };
        if unknown.is_empty() && superseded.is_empty() {
            return row;
        }
        let mut keys = UnknownKeys::new(dataset);
        let (mut invalid, mut repeated) = (Vec::new(), Vec::new());
        for (name, value) in unknown {
            if Cell::of(Some(value)).is_blank() {
                continue;
            }
            if name == INVALID && value.starts_with('{') {
                invalid = event::pairs(value).unwrap_or_default();
            } else if keys.admits(&name) {
                row.unknown.push((name, value));
            } else {
                match column_in_another_case(dataset, &name) {
                    // As in a header, a key in the column's exact case wins, otherwise the first in another case.
                    Some(column) if row.columns[column].is_none() => row.columns[column] = Some(value),
                    _ => repeated.push((name, value)),
                }
            }
        }
        // Before the other cells, so that these keys keep their names.
        row.put_back(dataset, invalid);
        row.aside.extend(repeated);
        row.aside.extend(superseded);
        row
    }

    /// Turns invalid cells into cells of their columns again; a cell stays as it is if its column has another.
    fn put_back(&mut self, dataset: &Dataset, cells: Vec<Pair<'a>>) {
        for (name, value) in cells {
            let place = dataset.column(&name).filter(|column| {
                let cell = Cell::of(self.columns[*column]);
                is_left_out(dataset, *column, &cell)
            });
            match place {
                Some(column) if !Cell::of(Some(value)).is_blank() => {
                    self.columns[column] = Some(value);
                    self.put_back.push(column);
                }
                _ => self.aside.push((name, value)),
            }
        }
    }
}

impl<'a> Source<'a> for JsonRow<'a> {
    fn known(&self, column: usize) -> Cell<'a> {
        Cell::of(self.columns[column])
    }

    fn was_invalid(&self, column: usize) -> bool {
        self.put_back.contains(&column)
    }

    fn unknown(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        self.unknown.iter().map(|(name, value)| (name.as_ref(), Cell::of(Some(*value))))
    }

    fn aside(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        self.aside.iter().map(|(name, value)| (name.as_ref(), Cell::of(Some(*value))))
    }
}
