//! The first pass over a file: its rows, read as ingest reads them, whatever they hold.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write as _,
};

use ingest::rows::{Content, Format, Row, Rows};
use shared::data::{
    dataset::{Dataset, fold},
    event::{self, Cell, unmarked},
};

use super::{column::SurveyedColumn, names::problem, text::quoted};
use crate::{
    error::Error,
    input::{Input, TextState},
};

/// Rows that show what separates the cells.
const TRIED: u64 = 1_000;
/// Values that are remembered in all columns together, to find a repeated id.
const IDS: usize = 4_000_000;
/// The most columns of objects.
const COLUMNS: usize = 500;

/// What the rows of a file show.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// The columns, in the file's order.
    pub(super) columns: Vec<SurveyedColumn>,
    /// Columns that a data set cannot describe, with the reason. ingest keeps their cells as text.
    pub(super) left_out: Vec<(String, String)>,
    /// Rows with cells.
    pub(super) rows: u64,
    /// Rows that are not text in the charset.
    pub(super) altered: u64,
    /// Why there was no row, if there was none.
    pub(super) nothing: Option<String>,
}

/// Opens the file from its beginning.
pub(super) type Open<'o> = &'o dyn Fn() -> Result<Input, Error>;

pub(super) fn survey(open: Open<'_>) -> Result<Survey, Error> {
    let input = open()?;
    if input.format != Format::Csv {
        return survey_objects(input);
    }
    let (name, candidates) = read_header_names(input)?;
    let mut best = (0, candidates.first());
    // The separator is the one with which the rows have as many cells as the header.
    if candidates.iter().filter(|names| names.len() > 1).count() > 1 {
        for names in candidates.iter().filter(|names| names.len() > 1) {
            let rows = survey_table(&name, names, open()?, TRIED)?.rows;
            if rows > best.0 {
                best = (rows, Some(names));
            }
        }
    }
    match best.1 {
        Some(names) => survey_table(&name, names, open()?, u64::MAX),
        None => Ok(Survey {
            nothing: Some("there is nothing but blank space: expected rows".to_owned()),
            ..Survey::default()
        }),
    }
}

/// Reads the header of a CSV. Returns the file's name, and the names in the header for each separator that it may have.
fn read_header_names(input: Input) -> Result<(String, Vec<Vec<String>>), Error> {
    let (name, charset) = (input.name.clone(), input.charset);
    let dataset = provisional(&[])?;
    let mut rows = Rows::new(&dataset, Format::Csv).with_charset(charset);
    let mut names = Vec::new();
    read(input, &mut rows, |rows| {
        while rows.next().is_some() && rows.header().is_none() {}
        names = rows.names();
        names.is_empty()
    })?;
    Ok((name, names))
}

/// Reads a CSV whose header has those names, up to so many rows.
fn survey_table(file: &str, names: &[String], input: Input, most: u64) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    let (mut known, mut folded) = (HashSet::new(), HashSet::new());
    for name in names {
        if !name.is_empty() && !known.insert(name) {
            let problem = format!(
                "expected each column once in the header, found `{name}` twice; rename or remove one"
            );
            return Err(Error::BadHeader { name: file.to_owned(), problem });
        }
        match problem(name) {
            Some(why) => survey.leave_out(name, why),
            None if folded.insert(fold(name)) => survey.columns.push(SurveyedColumn::new(name)),
            None => survey.leave_out(name, "another column has its name but for the case"),
        }
    }
    let described: Vec<&str> = survey.columns.iter().map(|column| column.name.as_str()).collect();
    let dataset = provisional(&described)?;
    let mut rows = Rows::new(&dataset, Format::Csv).with_charset(input.charset);
    let most_ids = IDS / survey.columns.len().max(1);
    let mut out = Vec::new();
    let mut rejected = 0_u64;
    read(input, &mut rows, |rows| {
        while survey.rows + rejected < most {
            let Some(row) = rows.next() else { return true };
            let (Content::Cells(cells), Some(header)) = (&row.content, row.header) else {
                rejected += 1;
                continue;
            };
            survey.count_row(&row);
            for (column, position) in survey.columns.iter_mut().zip(&header.columns) {
                let text = position.map_or("", |position| cells.get(position));
                column.add(survey.rows, &Cell::Text(text.into()), most_ids, &mut out);
            }
        }
        false
    })?;
    survey.explain_nothing(&rows, rejected);
    Ok(survey)
}

/// Reads objects, whose keys are the columns.
fn survey_objects(input: Input) -> Result<Survey, Error> {
    let mut survey = Survey::default();
    let dataset = provisional(&[])?;
    let mut rows = Rows::new(&dataset, input.format).with_charset(input.charset);
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut out = Vec::new();
    let mut rejected = 0_u64;
    read(input, &mut rows, |rows| {
        while let Some(row) = rows.next() {
            let (text, _) = row.charset.decode(unmarked(row.text));
            let pairs = event::pairs(&text).filter(|_| matches!(row.content, Content::Json));
            let Some(pairs) = pairs else {
                rejected += 1;
                continue;
            };
            survey.count_row(&row);
            for (name, value) in pairs {
                let next = survey.columns.len();
                if next == COLUMNS && !places.contains_key(fold(&name).as_ref()) {
                    continue;
                }
                let place = *places.entry(fold(&name).into_owned()).or_insert(next);
                if place == next {
                    survey.columns.push(SurveyedColumn::new(&name));
                }
                survey.columns[place].add(survey.rows, &Cell::of(Some(value)), IDS / COLUMNS, &mut out);
            }
        }
        true
    })?;
    survey.explain_nothing(&rows, rejected);
    for column in std::mem::take(&mut survey.columns) {
        match problem(&column.name) {
            Some(why) => survey.leave_out(&column.name, why),
            None if column.is_nested => survey.leave_out(&column.name, "it holds objects or arrays"),
            None => survey.columns.push(column),
        }
    }
    Ok(survey)
}

impl Survey {
    fn leave_out(&mut self, name: &str, why: &str) {
        self.left_out.push((name.to_owned(), why.to_owned()));
    }

    fn count_row(&mut self, row: &Row<'_>) {
        self.rows += 1;
        self.altered += u64::from(row.is_altered);
    }

    fn explain_nothing(&mut self, rows: &Rows<'_>, rejected: u64) {
        self.nothing = match (self.rows, rows.no_rows()) {
            (1.., _) => None,
            (0, Some(why)) => Some(why.to_string()),
            (0, None) => {
                Some(format!("none of {rejected} rows has the columns of the header, or is an object"))
            }
        };
    }
}

/// Reads a file to its end, or until `take` has what it needs. What breaks off is reported by the second pass.
fn read<'d>(
    mut input: Input,
    rows: &mut Rows<'d>,
    mut take: impl FnMut(&mut Rows<'d>) -> bool,
) -> Result<(), Error> {
    loop {
        let fed = input.feed(rows)?;
        if !take(rows) || !matches!(fed, TextState::More) {
            return Ok(());
        }
    }
}

/// A data set with only texts, with which any file can be read. Its first two columns are the id and the severity, since
/// ingest recognises a header by them.
fn provisional(names: &[&str]) -> Result<Dataset, Error> {
    let nobody = ["no column has this name", "and none has this"];
    let names = if names.is_empty() { &nobody[..] } else { names };
    let (id, severity) = (quoted(names[0]), quoted(names[names.len().min(2) - 1]));
    let received = quoted(&super::text::received_at(names.iter().copied()));
    let wording = "subject = \"x\"\ntext = \"x\"\nsms = \"x\"\n";
    let mut text = format!(
        "name = \"file\"\ntitle = \"row\"\nid = {id}\nseverity = {severity}\nseverities = [\"x\"]\nreceived_at = {received}\n\
         date_order = \"mdy\"\npartition_key = {id}\nsevere_partition_key = {id}\n"
    );
    let unique = if id == severity { id.clone() } else { format!("{id}, {severity}") };
    _ = write!(text, "projection = [{unique}, {received}]\n[metric]\nnamespace = \"x\"\nname = \"x\"\n");
    _ = writeln!(text, "dimensions = {{ severity = {severity} }}");
    _ = write!(
        text,
        "[alert]\n{wording}attributes = {{}}\n[alert.digest]\n{wording}[alert.storm]\n{wording}"
    );
    for (place, name) in names.iter().enumerate() {
        let name = quoted(name);
        _ = write!(
            text,
            "[[column]]\nname = {name}\ncolumn = \"c{place}\"\ntype = \"string\"\ncomment = \"\"\n"
        );
    }
    _ = write!(text, "[[column]]\nname = {received}\ncolumn = \"r\"\ntype = \"timestamp\"\ncomment = \"\"\n");
    Dataset::parse("file", &text).map_err(|error| Error::Suggestion(error.to_string()))
}
