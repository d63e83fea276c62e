//! An event of a row: every cell typed by the data set, nothing guessed and nothing lost.

use std::borrow::Cow;

use shared::{
    cell,
    dataset::{Dataset, Type},
    event::{self, Cell, Event},
    time::DateOrder,
    writer::{Literal, Writer},
};

use crate::rows::{Cells, Content, Header, Row};

/// The key under which cells stand that cannot be typed.
const INVALID: &str = "_invalid";

/// Makes events of rows.
#[derive(Debug)]
pub struct Normaliser<'d> {
    dataset: &'d Dataset,
    date_order: DateOrder,
}

/// A row that cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// A short stable code.
    pub reason: &'static str,
    /// What is wrong, and what would be right.
    pub detail: String,
}

/// Cells under their names: what a row of any format is.
trait Source<'a> {
    /// The cell of a column of the data set.
    fn known(&self, column: usize) -> Cell<'a>;
    /// Cells that the data set does not know.
    fn unknown(&self) -> impl Iterator<Item = (&str, Cell<'a>)>;
    /// Cells that stand in the way of others and count for nothing.
    fn superseded(&self) -> impl Iterator<Item = (&str, Cell<'a>)>;
}

impl<'d> Normaliser<'d> {
    /// Makes events of that data set, ambiguous dates being read in that order.
    #[must_use]
    pub fn new(dataset: &'d Dataset, date_order: DateOrder) -> Self {
        Self { dataset, date_order }
    }

    /// The order in which ambiguous dates are read.
    #[must_use]
    pub fn date_order(&self) -> DateOrder {
        self.date_order
    }

    /// Writes the event of `row` to `out`: a JSON object and a line feed. `received` is the stamp of ingest.
    ///
    /// Gives the event's partition key. On error `out` is as it was.
    pub fn normalise(&self, row: &Row<'_>, received: &str, out: &mut Writer) -> Result<String, Refused> {
        let begin = out.len();
        let result = match (&row.content, row.header) {
            (Content::Cells(cells), Some(header)) => self.write(&CsvRow { header, cells }, received, out),
            (Content::Cells(_), None) | (Content::Json, _) => self.json(row.text, received, out),
            (Content::Broken { reason, detail }, _) => Err(Refused { reason, detail: detail.clone() }),
        };
        if result.is_err() {
            out.truncate(begin);
        }
        result
    }

    fn json(&self, text: &[u8], received: &str, out: &mut Writer) -> Result<String, Refused> {
        let text = event::text(text);
        let event = Event::parse(self.dataset, &text).map_err(|error| Refused {
            reason: "not_json",
            detail: format!("the row is not a JSON object: {error}"),
        })?;
        self.write(&JsonRow::new(self.dataset, event), received, out)
    }

    fn write<'a>(&self, row: &impl Source<'a>, received: &str, out: &mut Writer) -> Result<String, Refused> {
        self.check(row)?;
        let mut object = Object { begin: out.len(), out, invalid: Writer::default() };
        for (column, entry) in self.dataset.entries().iter().enumerate() {
            if column == self.dataset.received_at {
                object.out.literal(entry);
                cell::write_string(received, object.out);
                continue;
            }
            let name = &self.dataset.columns[column].name;
            match row.known(column) {
                Cell::Blank => {}
                Cell::Text(text) => {
                    object.typed(self.dataset.columns[column].kind, entry, name, &text, self.date_order);
                }
                Cell::Nested(json) => object.invalid(name, json),
            }
        }
        for (name, cell) in row.unknown() {
            match cell {
                Cell::Blank => {}
                // A column of that name would collide with the one that holds the invalid cells.
                cell if name == INVALID => object.invalid(name, &cell.into_text()),
                cell => {
                    object.out.text(&cell::entry(name));
                    cell::write_string(&cell.into_text(), object.out);
                }
            }
        }
        for (name, cell) in row.superseded() {
            if cell != Cell::Blank {
                object.invalid(name, &cell.into_text());
            }
        }
        object.close();
        Ok(self.partition_key(row))
    }

    /// An event is placed by its id and its severity; without either there is no place for it.
    fn check<'a>(&self, row: &impl Source<'a>) -> Result<(), Refused> {
        let Dataset { id, severity, columns, .. } = self.dataset;
        let name = &columns[*id].name;
        match row.known(*id) {
            Cell::Text(text) if !cell::trim(&text).is_empty() => {}
            Cell::Nested(_) => {
                return Err(refused("bad_id", format!("`{name}` holds an object or array: a text is right")));
            }
            Cell::Blank | Cell::Text(_) => {
                return Err(refused("missing_id", format!("`{name}` is blank: an id is needed")));
            }
        }
        let name = &columns[*severity].name;
        match row.known(*severity) {
            Cell::Text(text) if cell::trim(&text).is_empty() => {}
            Cell::Text(text) if cell::integer(cell::trim(&text)).is_some() => return Ok(()),
            Cell::Blank => {}
            Cell::Text(_) | Cell::Nested(_) => {
                return Err(refused(
                    "bad_severity",
                    format!("`{name}` is no integer: 3 or 3.0 would be right"),
                ));
            }
        }
        Err(refused("missing_severity", format!("`{name}` is blank: an integer is needed")))
    }

    /// The text of the data set's partition key, or of the id where that is blank.
    fn partition_key<'a>(&self, row: &impl Source<'a>) -> String {
        let text = row.known(self.dataset.partition_key).into_text();
        let text = if text.is_empty() { row.known(self.dataset.id).into_text() } else { text };
        text.into_owned()
    }
}

fn refused(reason: &'static str, detail: String) -> Refused {
    Refused { reason, detail }
}

/// A JSON object being written, each entry with its comma: that of the first becomes the bracket.
struct Object<'o> {
    begin: usize,
    out: &'o mut Writer,
    invalid: Writer,
}

impl Object<'_> {
    /// Writes a cell as its type, or keeps its text among the invalid ones. A cell without text is left out.
    fn typed(&mut self, kind: Type, entry: &Literal, name: &str, text: &str, order: DateOrder) {
        if text.is_empty() || kind != Type::String && cell::trim(text).is_empty() {
            return;
        }
        let begin = self.out.len();
        self.out.literal(entry);
        if cell::write(kind, text, order, self.out).is_err() {
            self.out.truncate(begin);
            self.invalid(name, text);
        }
    }

    fn invalid(&mut self, name: &str, text: &str) {
        self.invalid.text(&cell::entry(name));
        cell::write_string(text, &mut self.invalid);
    }

    fn close(self) {
        if let Some((_comma, invalid)) = self.invalid.written().split_first() {
            self.out.text(&cell::entry(INVALID));
            self.out.byte(b'{');
            self.out.text(invalid);
            self.out.byte(b'}');
        }
        if let Some(first) = self.out.written_from(self.begin).first_mut() {
            *first = b'{';
        }
        self.out.text(b"}\n");
    }
}

struct CsvRow<'a> {
    header: &'a Header,
    cells: &'a Cells,
}

impl<'a> Source<'a> for CsvRow<'a> {
    fn known(&self, column: usize) -> Cell<'a> {
        self.header.columns[column].map_or(Cell::Blank, |position| self.cell(position))
    }

    fn unknown(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        self.header.unknown.iter().map(|(position, name)| (name.as_str(), self.cell(*position)))
    }

    fn superseded(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        std::iter::empty()
    }
}

impl<'a> CsvRow<'a> {
    fn cell(&self, position: usize) -> Cell<'a> {
        match self.cells.get(position) {
            "" => Cell::Blank,
            text => Cell::Text(Cow::Borrowed(text)),
        }
    }
}

/// A JSON object; one that ingest wrote before has its invalid cells put back in their places.
struct JsonRow<'a> {
    event: Event<'a>,
    unknown: Vec<(Cow<'a, str>, &'a str)>,
}

impl<'a> JsonRow<'a> {
    fn new(dataset: &Dataset, mut event: Event<'a>) -> Self {
        let mut unknown = std::mem::take(&mut event.unknown);
        let held = unknown.iter().position(|(name, _)| name == INVALID);
        if let Some(held) = held
            && let Ok(invalid) = Event::parse(dataset, unknown[held].1)
            && invalid.superseded.is_empty()
        {
            unknown.remove(held);
            for (column, value) in invalid.columns.into_iter().enumerate() {
                if let Some(value) = value {
                    match event.columns[column] {
                        None => event.columns[column] = Some(value),
                        Some(_) => {
                            event.superseded.push((dataset.columns[column].name.clone().into(), value))
                        }
                    }
                }
            }
            for (name, value) in invalid.unknown {
                event.superseded.push((name, value));
            }
        }
        Self { event, unknown }
    }
}

impl<'a> Source<'a> for JsonRow<'a> {
    fn known(&self, column: usize) -> Cell<'a> {
        self.event.cell(column)
    }

    fn unknown(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        self.unknown.iter().map(|(name, value)| (name.as_ref(), Cell::of(Some(*value))))
    }

    fn superseded(&self) -> impl Iterator<Item = (&str, Cell<'a>)> {
        self.event.superseded.iter().map(|(name, value)| (name.as_ref(), Cell::of(Some(*value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::{Format, Rows};

    const RECEIVED: &str = "2022-12-24T04:53:57.450051Z";

    /// The events of a text, or the reasons for refusing its rows.
    fn events(format: Format, order: DateOrder, text: &[u8]) -> Vec<Result<String, String>> {
        let dataset = Dataset::named("us_accidents").unwrap();
        let normaliser = Normaliser::new(&dataset, order);
        let mut rows = Rows::new(&dataset, format);
        rows.push(text);
        rows.finish();
        let mut events = Vec::new();
        while let Some(row) = rows.next() {
            let mut out = Writer::default();
            let result = normaliser.normalise(&row, RECEIVED, &mut out);
            assert_eq!(result.is_err(), out.is_empty());
            events.push(match result {
                Ok(_) => Ok(String::from_utf8(out.into_bytes()).unwrap()),
                Err(refused) => Err(format!("{}: {}", refused.reason, refused.detail)),
            });
        }
        events
    }

    fn csv(text: &str) -> Vec<Result<String, String>> {
        events(Format::Csv, DateOrder::Mdy, text.as_bytes())
    }

    fn json(text: &str) -> Result<String, String> {
        events(Format::Ndjson, DateOrder::Mdy, text.as_bytes()).remove(0)
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with a result")]
    fn event(fields: &str) -> Result<String, String> {
        let (before, after) = fields.split_once('|').unwrap_or((fields, ""));
        Ok(format!("{{{before},\"Txn_Timestamp\":\"{RECEIVED}\"{after}}}\n"))
    }

    #[test]
    fn cells_are_typed_and_written_in_the_order_of_the_data_set() {
        let text = "Amenity,Temperature(F),Start_Time,Severity,ID,Zipcode,Street\n\
                    True,42.10,2016-02-08 00:37:08.000000000,3.0,A-1,01234, Forest Ridge Dr\n";
        let expected = event(
            "\"ID\":\"A-1\",\"Severity\":3,\"Start_Time\":\"2016-02-08T00:37:08\",\"Street\":\" Forest Ridge Dr\",\
             \"Zipcode\":\"01234\",\"Temperature(F)\":42.10,\"Amenity\":true",
        );
        assert_eq!(csv(text), [expected]);
    }

    #[test]
    fn blank_cells_are_left_out_and_blanks_in_a_text_are_kept() {
        let expected = event("\"ID\":\"A-1\",\"Severity\":3,\"City\":\" \"");
        assert_eq!(csv("ID,Severity,Start_Lat,City,County\nA-1, 3 , , ,\n"), [expected]);
    }

    #[test]
    fn a_cell_that_cannot_be_typed_never_costs_the_row() {
        let text =
            "ID,Severity,Start_Time,Number,Amenity\nA-1,2,45:00.0,abc,yes\nA-2,2,13/08/2016 1:00,1,1\n";
        assert_eq!(
            csv(text),
            [
                event(
                    "\"ID\":\"A-1\",\"Severity\":2|,\"_invalid\":{\"Start_Time\":\"45:00.0\",\"Number\":\"abc\",\"Amenity\":\"yes\"}"
                ),
                event(
                    "\"ID\":\"A-2\",\"Severity\":2,\"Number\":1,\"Amenity\":true|,\"_invalid\":{\"Start_Time\":\"13/08/2016 1:00\"}"
                ),
            ]
        );
        let dmy = events(Format::Csv, DateOrder::Dmy, b"ID,Severity,Start_Time\nA-2,2,13/08/2016 1:00\n");
        assert_eq!(dmy, [event("\"ID\":\"A-2\",\"Severity\":2,\"Start_Time\":\"2016-08-13T01:00:00\"")]);
    }

    #[test]
    fn columns_that_the_data_set_does_not_know_are_kept_as_text_after_the_known_ones() {
        let expected = event("\"ID\":\"A-1\",\"Severity\":2|,\"Unnamed: 0\":\"7\",\"extra\":\"1.50\"");
        assert_eq!(csv("Unnamed: 0,ID,Severity,extra,blank\n7,A-1,2,1.50,\n"), [expected]);
        let expected = event("\"ID\":\"A-1\",\"Severity\":2|,\"extra\":\"{\\\"a\\\":[1]}\",\"n\":\"1.50\"");
        assert_eq!(json(r#"{"extra":{"a":[1]},"n":1.50,"z":null,"ID":"A-1","Severity":2}"#), expected);
    }

    #[test]
    fn json_rows_are_typed_like_cells() {
        let expected = event(
            "\"ID\":\"7\",\"Severity\":4,\"Start_Lat\":39.928059000000005,\"City\":\"Doña Ana\",\"Zipcode\":\"43017\"\
             |,\"_invalid\":{\"Street\":\"[1]\"}",
        );
        let row = r#"{"Zipcode":43017,"ID":7,"Severity":"4.0","Start_Lat":39.928059000000005,"City":"Do\u00f1a Ana","Street":[1]}"#;
        assert_eq!(json(row), expected);
    }

    #[test]
    fn a_key_that_stands_twice_counts_as_the_last_and_loses_nothing() {
        let expected = event("\"ID\":\"A-1\",\"Severity\":2,\"City\":\"b\"|,\"_invalid\":{\"City\":\"a\"}");
        assert_eq!(json(r#"{"ID":"A-1","Severity":2,"City":"a","City":"b"}"#), expected);
    }

    #[test]
    fn a_row_is_refused_only_when_it_cannot_be_placed() {
        let cases = [
            ("ID,Severity\n,3\n", "missing_id: `ID` is blank"),
            ("ID,Severity\n  ,3\n", "missing_id: `ID` is blank"),
            ("ID,Severity\nA-1,\n", "missing_severity: `Severity` is blank"),
            ("ID,Severity\nA-1,3.5\n", "bad_severity: `Severity` is no integer"),
            ("ID,Severity\nA-1,high\n", "bad_severity: `Severity` is no integer"),
            ("ID,Severity\nA-1,3,4\n", "cell_count: the row has 3 cells where the header has 2"),
            ("ID,City\nA-1,3\n", "bad_header: the header has no column `Severity`"),
        ];
        for (text, expected) in cases {
            let refused = csv(text).remove(0).unwrap_err();
            assert!(refused.starts_with(expected), "{refused}\nshould begin: {expected}");
        }
        for (row, expected) in [
            ("{\"ID\":\"A-1\",\"Severity\":3", "not_json: "),
            ("[1]", "not_json: "),
            ("{\"ID\":{},\"Severity\":3}", "bad_id: "),
            ("{\"ID\":\"A-1\",\"Severity\":[3]}", "bad_severity: "),
        ] {
            let refused = json(row).unwrap_err();
            assert!(refused.starts_with(expected), "{refused}");
        }
    }

    #[test]
    fn an_event_taken_in_again_stays_as_it_is() {
        let text = "ID,Severity,Start_Time,City,own\nA-1,2,45:00.0,\"Do\u{f1}a \"\"A\"\"\t\",x\n";
        let once = csv(text).remove(0).unwrap();
        assert!(once.contains("_invalid"));
        assert_eq!(json(once.trim_end()), Ok(once));
    }
}
