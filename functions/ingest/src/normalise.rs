//! Turns a row into an event: every cell typed by the data set, without guessing and without losing any text.

use std::borrow::Cow;

use shared::{
    data::{
        cell,
        dataset::{Blanks, Dataset, ORIGINAL_BYTES, Type},
        event::{Cell, Event, unmarked},
        time::DateOrder,
    },
    json::{self, is_non_finite},
};

use crate::{
    charset::NOT_IN_CHARSET,
    keys::InvalidCells,
    rows::{Content, Row},
    source::{CsvRow, JsonRow, Source, WithBlanks, is_left_out},
    unreadable::Tally,
};

/// The longest row whose bytes are kept with its event if they are not text in its charset. Base64 adds a third, and a
/// record is at most 1 MiB.
const ORIGINAL_ROW_BYTES: usize = 256 * 1024;

/// Turns rows into events.
#[derive(Debug)]
pub struct Normaliser<'d> {
    dataset: &'d Dataset,
    date_order: DateOrder,
    /// Whether the sender declared the date order.
    declared: bool,
}

/// Why a row cannot become an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowRefusal {
    /// A short stable code.
    pub reason: &'static str,
    /// What is wrong, and what was expected.
    pub detail: String,
}

impl<'d> Normaliser<'d> {
    /// Normalises rows of that data set. `date_order` is the order of ambiguous dates that the sender declared, if any.
    /// Otherwise the data set's order applies.
    #[must_use]
    pub fn new(dataset: &'d Dataset, date_order: impl Into<Option<DateOrder>>) -> Self {
        let declared = date_order.into();
        let date_order = declared.unwrap_or(dataset.date_order);
        Self { dataset, date_order, declared: declared.is_some() }
    }

    /// The order in which ambiguous dates are read.
    #[must_use]
    pub fn date_order(&self) -> DateOrder {
        self.date_order
    }

    /// Writes the event of `row` to `out`: a JSON object and a line feed. `received` is the stamp of ingest.
    ///
    /// Returns the event's partition key. On error `out` is unchanged. The tally counts the unreadable cells of the
    /// event.
    pub fn normalise(
        &self,
        row: &Row<'_>,
        received: &str,
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<String, RowRefusal> {
        let begin = out.len();
        let result = match (&row.content, row.header) {
            (Content::Cells(cells), Some(header)) => {
                tally.header(self.dataset, header);
                let altered = row.is_altered.then_some(row);
                self.place(&CsvRow { header, cells }, altered, received, out, tally)
            }
            (Content::Cells(_), None) | (Content::Json, _) => self.json(row, received, out, tally),
            (Content::Broken { reason, detail }, _) => Err(RowRefusal { reason, detail: detail.clone() }),
        };
        if result.is_err() {
            out.truncate(begin);
        }
        result
    }

    fn json(
        &self,
        row: &Row<'_>,
        received: &str,
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<String, RowRefusal> {
        let (text, is_altered) = row.charset.decode(unmarked(row.text));
        let event = Event::as_sent(self.dataset, &text).map_err(|error| RowRefusal {
            reason: "not_json",
            detail: format!("the row is not a JSON object: {error}"),
        })?;
        let source = JsonRow::new(self.dataset, event);
        let key = self.place(&source, is_altered.then_some(row), received, out, tally)?;
        source.unknown().for_each(|(name, _)| tally.unknown(name));
        Ok(key)
    }

    /// Writes the event of a row, treating cells with a text for "no value" as blank.
    fn place<'a>(
        &self,
        row: &impl Source<'a>,
        altered: Option<&Row<'_>>,
        received: &str,
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<String, RowRefusal> {
        let blanks = &self.dataset.blanks;
        // Most data sets list no such texts, so that the search can be skipped.
        if blanks.is_empty() {
            self.write(row, altered, received, out, tally)
        } else {
            self.write(&WithBlanks { row, blanks }, altered, received, out, tally)
        }
    }

    /// Writes the event of `row`. `altered` is the original row if its text could not be decoded in full.
    fn write<'a>(
        &self,
        row: &impl Source<'a>,
        altered: Option<&Row<'_>>,
        received: &str,
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Result<String, RowRefusal> {
        self.check(row).map_err(|mut refused| {
            // The word of a severity may be lost to the charset.
            if altered.is_some() {
                refused.detail.push_str(NOT_IN_CHARSET);
            }
            refused
        })?;
        let original = altered.map(original_bytes).transpose()?;
        let mut tally = tally.row(self.dataset.columns.len());
        if altered.is_some() {
            tally.undecodable();
        }
        let invalid = InvalidCells::new(self.dataset);
        let mut object = ObjectWriter { begin: out.len(), out, invalid, blanks: &self.dataset.blanks };
        for (column, entry) in self.dataset.entries().iter().enumerate() {
            if column == self.dataset.received_at {
                object.out.extend_from_slice(entry);
                json::write_string(received, object.out);
                continue;
            }
            let kind = self.dataset.columns[column].kind;
            let unreadable = match row.known(column) {
                Cell::Blank => continue,
                Cell::Text(text) if row.was_invalid(column) && !self.tries_again(kind, &text) => text,
                Cell::Text(text) => {
                    let begin = object.out.len();
                    if object.typed(kind, entry, &text, self.date_order) {
                        tally.cells[column] += u64::from(object.out.len() > begin);
                        continue;
                    }
                    text
                }
                Cell::Nested(json) | Cell::NonFinite(json) => Cow::Borrowed(json),
            };
            object.invalid.column(column, &unreadable);
            tally.unreadable(column, kind, &unreadable, self.date_order);
        }
        self.write_others(row, original.as_deref(), &mut object);
        object.close();
        Ok(self.partition_key(row))
    }

    /// Writes the cells that are not in a column of the data set, and puts aside what an event keeps without a type.
    fn write_others<'a>(&self, row: &impl Source<'a>, original: Option<&str>, object: &mut ObjectWriter<'_>) {
        for (name, cell) in row.unknown() {
            if !cell.is_blank() {
                object.out.extend_from_slice(&json::entry(name));
                json::write_string(&cell.into_text(), object.out);
            }
        }
        // First, so that it keeps its name.
        if let Some(original) = original {
            object.invalid.aside(ORIGINAL_BYTES, original, |_| false);
        }
        for (name, cell) in row.aside() {
            if !cell.is_blank() {
                object.invalid.aside(name, &cell.into_text(), |column| {
                    is_left_out(self.dataset, column, &row.known(column))
                });
            }
        }
    }

    /// Whether a cell that could not be typed earlier is to be tried again.
    ///
    /// An event does not record the date order of its file. A date that needs an order therefore stays a text unless an
    /// order is declared now. An object, an array or `NaN` never becomes a value.
    fn tries_again(&self, kind: Type, text: &str) -> bool {
        match kind {
            Type::String => !text.starts_with(['{', '[']) && !is_non_finite(text),
            _ => self.declared || cell::needs_no_order(kind, text.trim()),
        }
    }

    /// An event needs its id and its severity.
    fn check<'a>(&self, row: &impl Source<'a>) -> Result<(), RowRefusal> {
        let Dataset { id, severity, columns, .. } = self.dataset;
        let name = &columns[*id].name;
        match row.known(*id) {
            Cell::Text(text) if !text.trim().is_empty() => {}
            Cell::Nested(_) | Cell::NonFinite(_) => {
                let detail =
                    format!("`{name}` is an object, an array or not a finite number: expected a text");
                return Err(refused("bad_id", detail));
            }
            Cell::Blank | Cell::Text(_) => {
                return Err(refused("missing_id", format!("`{name}` has no value: expected an id")));
            }
        }
        match row.known(*severity) {
            Cell::Text(text) if !self.is_blank_severity(&text) => {
                match self.dataset.severities.level(&text) {
                    Some(_) => Ok(()),
                    None => Err(refused("bad_severity", self.dataset.bad_severity())),
                }
            }
            Cell::Blank | Cell::Text(_) => {
                let name = &columns[*severity].name;
                let expected = self.dataset.severities.expected();
                Err(refused("missing_severity", format!("`{name}` has no value: {expected}")))
            }
            Cell::Nested(_) | Cell::NonFinite(_) => Err(refused("bad_severity", self.dataset.bad_severity())),
        }
    }

    /// Whether a severity is blank, or is written as a text for "no value": `-1.0` is written as `-1`.
    fn is_blank_severity(&self, text: &str) -> bool {
        let Dataset { blanks, severities, .. } = self.dataset;
        let text = text.trim();
        let is_written_as_blank = || match severities.column_type() {
            Type::Int => cell::integer(text).is_some_and(|number| blanks.hold(&number.to_string())),
            _ => false,
        };
        text.is_empty() || !blanks.is_empty() && is_written_as_blank()
    }

    /// The data set's partition key, or the id if that is blank.
    fn partition_key<'a>(&self, row: &impl Source<'a>) -> String {
        let text = row.known(self.dataset.partition_key).into_text();
        let text = if text.is_empty() { row.known(self.dataset.id).into_text() } else { text };
        text.into_owned()
    }
}

/// The bytes of a row in base64, so that the row can be decoded once its charset is known.
fn original_bytes(row: &Row<'_>) -> Result<String, RowRefusal> {
    if row.text.len() > ORIGINAL_ROW_BYTES {
        let detail = format!(
            "the row is not text in {} and longer than {ORIGINAL_ROW_BYTES} bytes, so that its bytes cannot be kept with the event: declare its charset",
            row.charset.name()
        );
        return Err(refused("bad_charset", detail));
    }
    Ok(base64_simd::STANDARD.encode_to_string(row.text))
}

fn refused(reason: &'static str, detail: String) -> RowRefusal {
    RowRefusal { reason, detail }
}

/// A JSON object that is being written, each entry with its comma; the first comma becomes the bracket.
struct ObjectWriter<'o> {
    begin: usize,
    out: &'o mut Vec<u8>,
    invalid: InvalidCells<'o>,
    blanks: &'o Blanks,
}

impl ObjectWriter<'_> {
    /// Writes a cell as its type; false if it cannot be read as that type. A blank cell is left out.
    fn typed(&mut self, kind: Type, entry: &[u8], text: &str, order: DateOrder) -> bool {
        if text.is_empty() || kind != Type::String && cell::trim(text).is_empty() {
            return true;
        }
        let begin = self.out.len();
        self.out.extend_from_slice(entry);
        let value = self.out.len();
        let typed = cell::write(kind, text, order, self.out).is_ok();
        if !typed || !self.blanks.is_empty() && self.means_nothing(value) {
            self.out.truncate(begin);
        }
        typed
    }

    /// Whether the value written from `begin` on is a text for "no value": `-1.0` is written as `-1`. Such a value
    /// would be left out when the event is sent again.
    fn means_nothing(&self, begin: usize) -> bool {
        let value = std::str::from_utf8(&self.out[begin..]).unwrap_or_default();
        self.blanks.hold(value.trim_matches('"'))
    }

    fn close(self) {
        self.invalid.write(self.out);
        if let Some(first) = self.out.get_mut(self.begin) {
            *first = b'{';
        }
        self.out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests;
