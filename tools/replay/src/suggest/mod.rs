//! `replay normalise --suggest`: a data set's file to start from, made of what the rows of a file show.
//!
//! The first pass looks at every cell and keeps only what columns have in common. The second pass reads the file with the
//! suggested data set, as ingest would, so that what is printed is known to work.

mod column;
mod names;
mod parts;
mod severity;
mod survey;
#[cfg(test)]
mod tests;
mod text;

use std::io;

use shared::data::{
    dataset::{Dataset, Type},
    time::DateOrder,
};

use self::{
    column::{NOTHINGS, SurveyedColumn},
    parts::IdColumn,
    severity::{Severity, SuggestedScale},
    survey::{Open, Survey},
};
use crate::{
    error::Error,
    normalise::{RowCounts, normalise},
    progress::Progress,
};

/// The most texts that mean blank.
const BLANKS: usize = 100;

/// A data set's file to start from.
#[derive(Debug)]
pub(crate) struct Suggestion {
    pub(crate) name: String,
    /// The text of `datasets/<name>/dataset.toml`.
    pub(crate) text: String,
    /// What became of the rows when they were read with it.
    pub(crate) counts: RowCounts,
    /// Rows that are not text in the charset.
    pub(crate) altered: u64,
}

/// What the columns are in the data set.
struct SuggestedParts {
    id: IdColumn,
    severity: Severity,
    area: Option<usize>,
    location: Option<(usize, usize)>,
    /// When it happened.
    time: Option<usize>,
    order: DateOrder,
    order_evidence: String,
    blanks: Vec<String>,
    kinds: Vec<Type>,
}

/// Suggests a data set for a file, which is opened at least twice. Without a name it is called like the file.
pub(crate) fn suggest(
    name: Option<&str>,
    declared: Option<DateOrder>,
    open: Open<'_>,
    reject: impl FnMut(u64, &str, &str),
    progress: &Progress,
) -> Result<Suggestion, Error> {
    let survey = survey::survey(open)?;
    let mut input = open()?;
    let file = input.name.clone();
    if let Some(why) = &survey.nothing {
        return Err(Error::NothingUsed { name: file, why: why.clone() });
    }
    let name = name.map_or_else(|| names::of_file(&file), str::to_owned);
    let parts = SuggestedParts::of(&survey, declared)
        .map_err(|problem| Error::BadHeader { name: file.clone(), problem })?;
    let base = file.rsplit('/').next().unwrap_or(&file);
    let text = text::write(&name, base, &survey, &parts);
    let dataset = Dataset::parse(&name, &text).map_err(|error| Error::Suggestion(error.to_string()))?;
    let counts = normalise(&dataset, &mut input, None, io::sink(), reject, progress)?;
    Ok(Suggestion { name, text, counts, altered: survey.altered })
}

impl Suggestion {
    /// What became of the rows, in lines for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let RowCounts { normalised, rejected, report, separator, .. } = &self.counts;
        let mut lines = Vec::new();
        if let Some(separator) = separator {
            lines.push(format!("the cells are separated by {separator}"));
        }
        if self.altered > 0 {
            lines.push(format!(
                "rows that are not UTF-8: {}; name the file's charset, for example --charset=windows-1252",
                self.altered
            ));
        }
        lines.extend(crate::reading::lines(report));
        let cells = if report.unreadable.is_empty() { ", and every cell of them can be read" } else { "" };
        lines.push(format!(
            "read with this data set, {normalised} rows are accepted{cells}; {rejected} are rejected"
        ));
        lines.push(format!(
            "save the output as datasets/{}/dataset.toml, read its remarks, and run `make render`",
            self.name
        ));
        lines
    }
}

impl SuggestedParts {
    fn of(survey: &Survey, declared: Option<DateOrder>) -> Result<Self, String> {
        // These names change once the file is read in its real charset, so the suggestion would name columns that do
        // not exist.
        if survey.columns.iter().any(|column| column.name.contains(char::REPLACEMENT_CHARACTER)) {
            let problem = "the name of a column has bytes that are not text in this charset; declare the charset in which \
                           the file was written, for example --charset=windows-1252";
            return Err(problem.to_owned());
        }
        let all: Vec<(usize, &SurveyedColumn)> = survey.columns.iter().enumerate().collect();
        // Alert templates use braces for placeholders, so a column with a brace in its name cannot be used in them.
        let nameable = |(_, column): &(usize, &SurveyedColumn)| !column.name.contains(['{', '}']);
        let usable: Vec<_> = all.iter().copied().filter(nameable).collect();
        let (order, order_evidence) = parts::date_order(&all, declared);
        let id = parts::id(&usable, survey.rows, order).ok_or("no column has a text that can be the id")?;
        let severity = severity::choose(&usable, survey.rows, id.column)
            .filter(|severity| severity.column != id.column)
            .ok_or(
                "no column can be the severity; expected a column other than the id with integers, or with at most 100 \
                 different short texts",
            )?;
        let area = parts::area(&usable, survey.rows, [id.column, severity.column]);
        let others = [id.column, severity.column, area.unwrap_or(id.column)];
        let location = parts::location(&usable, others);
        // The types depend on these parts. Texts for "nothing" depend on the types, and change some of them.
        let mut parts = Self {
            id,
            severity,
            area,
            location,
            time: None,
            order,
            order_evidence,
            blanks: Vec::new(),
            kinds: Vec::new(),
        };
        parts.kinds = all.iter().map(|(at, column)| parts.kind(*at, column)).collect();
        parts.blanks = parts.list_blank_texts(&survey.columns);
        parts.make_ambiguous_columns_text(&survey.columns);
        parts.time = usable
            .iter()
            .map(|(at, _)| *at)
            .find(|at| matches!(parts.kinds[*at], Type::Timestamp | Type::TimestampOrDate | Type::Date));
        Ok(parts)
    }

    /// The type of a column, if all of its texts for "nothing" are blank.
    fn kind(&self, at: usize, column: &SurveyedColumn) -> Type {
        match column.kind(self.order) {
            _ if at == self.id.column => Type::String,
            _ if at == self.severity.column => match self.severity.scale {
                SuggestedScale::Numbers(_) => Type::Int,
                SuggestedScale::Words(_) => Type::String,
            },
            _ if self.location.is_some_and(|(north, east)| at == north || at == east) => Type::Double,
            Type::Int | Type::Double if parts::is_code(column) => Type::String,
            kind => kind,
        }
    }

    /// Lists the texts that mean blank. A text that occurs in the id or the severity is never treated as blank.
    fn list_blank_texts(&self, columns: &[SurveyedColumn]) -> Vec<String> {
        let [id, severity] = [self.id.column, self.severity.column].map(|at| &columns[at].nothings);
        let mut blanks: Vec<String> = Vec::new();
        for (column, kind) in columns.iter().zip(&self.kinds) {
            let typed = column.nothings.iter().filter(|_| *kind != Type::String);
            for text in typed.chain(&column.non_finite) {
                let means_something = id.contains(text) || severity.contains(text);
                if blanks.len() < BLANKS && !means_something && !blanks.contains(text) {
                    blanks.push(text.clone());
                }
            }
        }
        blanks
    }

    /// Turns a typed column into a text column if it contains a text for "nothing" that is not treated as blank.
    fn make_ambiguous_columns_text(&mut self, columns: &[SurveyedColumn]) {
        for (at, column) in columns.iter().enumerate() {
            let is_blank = |text: &String| self.blanks.contains(text);
            // With as many spellings as are kept, there may be others that are not in the list.
            let is_readable = column.nothings.len() < NOTHINGS && column.nothings.iter().all(is_blank);
            if self.kinds[at] != Type::String && at != self.severity.column && !is_readable {
                self.kinds[at] = Type::String;
                // A location is made of two numbers.
                self.location = self.location.filter(|(north, east)| at != *north && at != *east);
            }
        }
    }

    /// The columns of an event on stream 2, without the one that ingest stamps.
    fn projection(&self) -> impl Iterator<Item = usize> {
        let mut listed = vec![self.id.column, self.severity.column];
        for column in self.area.into_iter().chain(self.time) {
            if !listed.contains(&column) {
                listed.push(column);
            }
        }
        listed.into_iter()
    }

    /// Whether the cells of a column are the levels of severity.
    fn is_level_itself(&self, at: usize) -> bool {
        at == self.severity.column && matches!(self.severity.scale, SuggestedScale::Numbers(_))
    }

    fn id_remark(&self) -> &'static str {
        match (self.id.is_filled, self.id.is_unique) {
            (true, true) => "in every row, and different in each",
            (true, false) => "CHECK: no column is different in each row; this one is never blank",
            (false, _) => "CHECK: it is blank in some rows, which are rejected",
        }
    }

    fn examples(&self, at: usize, column: &SurveyedColumn) -> Vec<String> {
        let examples = match &self.severity.scale {
            SuggestedScale::Words(words) if at == self.severity.column => words.clone(),
            _ => column.examples(self.kinds[at]),
        };
        examples.into_iter().filter(|text| !self.blanks.contains(text)).collect()
    }
}
