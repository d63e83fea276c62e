//! Generates rows of any data set from its file: the types of its columns, their examples and their parts.

use chrono::{DateTime, Duration, NaiveDateTime};
use fastrand::Rng;
use shared::data::{
    dataset::{Column, Dataset, Type},
    time::DateOrder,
};

use super::draw::{chance, rounded, weighted};

/// The time of the first event, 5 January 2026 at eight; the others follow.
const FIRST_EVENT: i64 = 1_767_600_000;
const SECONDS_BETWEEN_EVENTS: i64 = 37;
/// The time between two timestamps of one event, such as a question and its answer.
const LONGEST_MINUTES: i64 = 90;
/// The share of blank cells in columns that no metric or alert needs.
const BLANKS: f64 = 0.05;
/// The share of days without a time in columns that may have both.
const DAYS_WITHOUT_TIME: f64 = 0.2;
/// Severities that occur. Each is half as frequent as the one before, so more of them would hardly occur.
const MOST_SEVERITIES: usize = 21;
/// Distinct texts of a column without examples.
const TEXTS: u32 = 20;

/// The rows of a data set, without end; the same seed gives the same rows.
pub(super) struct Samples<'d> {
    dataset: &'d Dataset,
    /// The columns of the file: all except the one that ingest fills itself.
    columns: Vec<usize>,
    rng: Rng,
    rows: u32,
}

impl<'d> Samples<'d> {
    pub(super) fn new(dataset: &'d Dataset, seed: u64) -> Self {
        let columns = (0..dataset.columns.len()).filter(|column| *column != dataset.received_at).collect();
        Self { dataset, columns, rng: Rng::with_seed(seed), rows: 0 }
    }

    pub(super) fn columns(&self) -> impl Iterator<Item = &'d str> {
        self.columns.iter().map(|column| self.dataset.columns[*column].name.as_str())
    }

    pub(super) fn next_row(&mut self) -> Vec<String> {
        self.rows += 1;
        let start = FIRST_EVENT + SECONDS_BETWEEN_EVENTS * i64::from(self.rows);
        let mut time = DateTime::from_timestamp(start, 0).unwrap_or_default().naive_utc();
        let columns = self.columns.clone();
        columns.into_iter().map(|column| self.cell(column, &mut time)).collect()
    }

    fn cell(&mut self, index: usize, time: &mut NaiveDateTime) -> String {
        let Dataset { id, severity, .. } = *self.dataset;
        let column = &self.dataset.columns[index];
        if index == id {
            return self.id(column);
        }
        if index == severity {
            return self.severity();
        }
        let blank = chance(&mut self.rng, BLANKS);
        if blank && !self.dataset.projection.contains(&index) {
            return String::new();
        }
        match column.kind {
            Type::String => self.text(column),
            Type::Int => rounded(self.number(column), 0).to_string(),
            Type::Double => rounded(self.number(column), decimals(column)).to_string(),
            Type::Boolean => self.rng.bool().to_string(),
            Type::Timestamp | Type::Date | Type::TimestampOrDate => {
                let day_only = match column.kind {
                    Type::Timestamp => false,
                    Type::Date => true,
                    _ => chance(&mut self.rng, DAYS_WITHOUT_TIME),
                };
                let cell = time.format(self.form(column, day_only)).to_string();
                *time += Duration::seconds(self.rng.i64(60..60 * LONGEST_MINUTES));
                cell
            }
        }
    }

    /// The prefix before the digits of the example, and the row's number.
    fn id(&self, column: &Column) -> String {
        let prefix = column
            .examples
            .first()
            .map_or("E-", |example| example.trim_end_matches(|c: char| c.is_ascii_digit()));
        format!("{prefix}{}", 100_000 + self.rows)
    }

    /// A severity, each half as often as the one before.
    fn severity(&mut self) -> String {
        let levels = self.dataset.severities.levels();
        let most = levels.len().min(MOST_SEVERITIES);
        let weights = (0..most).rev().map(|below| 1 << below);
        let texts: Vec<_> = levels.iter().map(|listed| listed.text.as_str()).zip(weights).collect();
        weighted(&mut self.rng, &texts).to_owned()
    }

    fn text(&mut self, column: &Column) -> String {
        if column.examples.is_empty() {
            return format!("{} {}", column.column, self.rng.u32(1..=TEXTS));
        }
        column.examples[self.rng.usize(..column.examples.len())].clone()
    }

    /// Uniformly between the least and the greatest example; 0 and 100 if there are none.
    fn number(&mut self, column: &Column) -> f64 {
        let examples = || column.examples.iter().filter_map(|example| example.parse::<f64>().ok());
        let least = examples().reduce(f64::min).unwrap_or(0.0);
        let greatest = examples().reduce(f64::max).unwrap_or(100.0);
        least + self.rng.f64() * (greatest - least)
    }

    /// The format of the example: an ISO date, or one in the data set's order.
    fn form(&self, column: &Column, day_only: bool) -> &'static str {
        let is_local = column.examples.first().is_some_and(|example| example.contains('/'));
        match (is_local, self.dataset.date_order, day_only) {
            (false, _, false) => "%Y-%m-%d %H:%M:%S",
            (false, _, true) => "%Y-%m-%d",
            (true, DateOrder::Mdy, false) => "%m/%d/%Y %H:%M",
            (true, DateOrder::Mdy, true) => "%m/%d/%Y",
            (true, DateOrder::Dmy, false) => "%d/%m/%Y %H:%M",
            (true, DateOrder::Dmy, true) => "%d/%m/%Y",
        }
    }
}

/// The number of decimals: the most that an example has.
fn decimals(column: &Column) -> i32 {
    let decimals = |example: &String| example.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let most = column.examples.iter().map(decimals).max().unwrap_or(2);
    i32::try_from(most).unwrap_or(2)
}

#[cfg(test)]
mod tests {
    use shared::data::cell;

    use super::*;

    fn rows(count: usize, seed: u64) -> Vec<Vec<String>> {
        let dataset = Dataset::named("support_tickets").unwrap();
        let mut samples = Samples::new(&dataset, seed);
        (0..count).map(|_| samples.next_row()).collect()
    }

    #[test]
    fn every_cell_is_of_its_columns_type() {
        let dataset = Dataset::named("support_tickets").unwrap();
        let columns: Vec<_> = Samples::new(&dataset, 1).columns().collect();
        for row in rows(500, 1) {
            for (name, cell) in columns.iter().zip(row) {
                let column = &dataset.columns[dataset.column(name).unwrap()];
                let fits = cell.is_empty()
                    || match column.kind {
                        Type::String => true,
                        Type::Int => cell.parse::<i64>().is_ok(),
                        Type::Double => cell.parse::<f64>().is_ok(),
                        Type::Boolean => cell.parse::<bool>().is_ok(),
                        kind => cell::explain(kind, &cell, dataset.date_order).is_none(),
                    };
                assert!(fits, "{name}: {cell}");
            }
        }
    }

    #[test]
    fn days_are_drawn_without_a_time() {
        let file = include_str!("../../../../datasets/support_tickets/dataset.toml")
            .replacen("column = \"opened_at\"", "column = \"opened_at\"\nday_column = \"opened_on\"", 1)
            .replacen(
                "column = \"answered_at\"\ntype = \"timestamp\"",
                "column = \"answered_at\"\ntype = \"date\"",
                1,
            );
        let dataset = Dataset::parse("support_tickets", &file).unwrap();
        let mut samples = Samples::new(&dataset, 1);
        let place = |name| samples.columns().position(|column| column == name).unwrap();
        let (opened, answered) = (place("Opened_At"), place("Answered_At"));
        let rows: Vec<_> = (0..500).map(|_| samples.next_row()).collect();
        let is_day = |cell: &String| cell::explain(Type::Date, cell, dataset.date_order).is_none();
        assert!(rows.iter().all(|row| row[answered].is_empty() || is_day(&row[answered])));
        let days = rows.iter().filter(|row| is_day(&row[opened])).count();
        assert!((50..200).contains(&days), "{days}");
        let is_cell = |cell: &String| {
            cell.is_empty() || cell::explain(Type::TimestampOrDate, cell, dataset.date_order).is_none()
        };
        assert!(rows.iter().all(|row| is_cell(&row[opened])));
    }

    #[test]
    fn every_severity_occurs_and_every_id_once() {
        let dataset = Dataset::named("support_tickets").unwrap();
        let rows = rows(500, 2);
        let distinct = |column: usize| {
            rows.iter().map(|row| row[column].clone()).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(distinct(dataset.id).len(), 500);
        assert_eq!(distinct(dataset.severity).into_iter().collect::<Vec<_>>(), ["1", "2", "3", "4"]);
    }

    #[test]
    fn a_seed_gives_the_same_rows_always() {
        assert_eq!(rows(20, 3), rows(20, 3));
        assert_ne!(rows(20, 3), rows(20, 4));
    }

    #[test]
    fn severities_are_written_as_in_files() {
        for (severities, kind, expected) in [
            (r#"["Low", "High", "Urgent"]"#, "string", ["High", "Low", "Urgent"]),
            ("[3, 2, 1]", "int", ["1", "2", "3"]),
            ("[10, 20, 30]", "int", ["10", "20", "30"]),
        ] {
            let text = include_str!("../../../../datasets/support_tickets/dataset.toml")
                .replacen("severities = [1, 2, 3, 4]", &format!("severities = {severities}"), 1)
                .replacen(
                    "column = \"priority\"\ntype = \"int\"",
                    &format!("column = \"priority\"\ntype = \"{kind}\""),
                    1,
                );
            let dataset = Dataset::parse("support_tickets", &text).unwrap();
            let mut samples = Samples::new(&dataset, 1);
            let drawn: std::collections::BTreeSet<_> =
                (0..200).map(|_| samples.next_row()[dataset.severity].clone()).collect();
            assert_eq!(drawn.into_iter().collect::<Vec<_>>(), expected);
        }
    }
}
