//! Names that the services take, made of the names in a file.

use std::collections::HashSet;

use shared::data::dataset::{INVALID, ORIGINAL_BYTES, SEVERITY_KEY, UNLISTED_SEVERITY, fold};

/// Characters of a name in Glue.
const GLUE_CHARACTERS: usize = 100;
/// Characters of a data set's name.
const NAME_CHARACTERS: usize = 20;
/// Columns that the tables have themselves.
const TAKEN: [&str; 6] = ["year", "month", "day", "invalid", UNLISTED_SEVERITY, SEVERITY_KEY];
/// Words of Athena's SQL that a query can use as a name only in quotes.
///
/// Source: Athena user guide, "Escape reserved keywords in queries", for DDL and for SELECT.
const RESERVED: &str = " all alter and array as authorization between bigint binary boolean both by case cashe cast \
     char column conf constraint commit create cross cube current current_catalog current_date current_path \
     current_role current_schema current_time current_timestamp current_user cursor database date dayofweek deallocate \
     decimal delete describe distinct double drop else end escape except exchange execute exists extended external \
     extract false fetch first float following for foreign from full function grant group grouping having if import in \
     inner insert int integer intersect interval into is join json_array json_exists json_object json_query json_table \
     json_value last lateral left less like listagg local localtime localtimestamp macro map more natural none normalize \
     not null numeric of on only or order out outer over partialscan partition percent preceding precision prepare \
     preserve primary procedure range reads recursive reduce references regexp revoke right rlike rollback rollup row \
     rows select set skip smallint start table tablesample then timestamp to transform trigger trim true truncate \
     uescape unbounded union unique uniquejoin unnest update user using utc_timestamp values varchar views when where \
     window with ";

/// Names that are given once each.
#[derive(Debug, Default)]
pub(super) struct ColumnNames(HashSet<String>);

impl ColumnNames {
    /// The name in Glue of the column of that name, at that place in the file, from 1.
    pub(super) fn glue(&mut self, name: &str, place: usize) -> String {
        let mut glue = plain(name);
        glue.truncate(GLUE_CHARACTERS);
        if !glue.contains(|c: char| c.is_ascii_lowercase()) {
            glue = format!("column_{place}");
        }
        if glue.starts_with(|c: char| c.is_ascii_digit()) {
            glue.insert_str(0, "n_");
        }
        if TAKEN.contains(&glue.as_str()) || is_reserved(&glue) {
            glue.push_str("_of_event");
        }
        self.unused(&glue)
    }

    /// The name, with a number if it is taken.
    pub(super) fn unused(&mut self, name: &str) -> String {
        let numbered = (2_u64..).map(|number| format!("{name}_{number}"));
        let mut names = std::iter::once(name.to_owned()).chain(numbered);
        let unused = names.find(|name| !self.0.contains(name)).unwrap_or_default();
        self.0.insert(unused.clone());
        unused
    }
}

fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&format!(" {word} "))
}

/// Lower case ASCII letters and digits, and one underscore for anything between them.
fn plain(name: &str) -> String {
    let characters =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    let spaced: String = characters.collect();
    spaced.split('_').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("_")
}

/// The name of a data set for a file of that name.
pub(super) fn of_file(file: &str) -> String {
    let base = file.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = base.split('.').next().unwrap_or_default();
    let mut name = plain(stem);
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert_str(0, if name.is_empty() { "events" } else { "events_" });
    }
    name.truncate(NAME_CHARACTERS);
    let name = name.trim_end_matches('_');
    if name.len() < 2 { format!("{name}_events") } else { name.to_owned() }
}

/// The words of a name in lower case: those of `startTime (local)` are `start`, `time` and `local`.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if (!c.is_alphanumeric() || c.is_uppercase() && after_lower)
            && words.last().is_some_and(|word| !word.is_empty())
        {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Why a data set can have no column of that name, if it cannot.
pub(super) fn problem(name: &str) -> Option<&'static str> {
    let folded = fold(name);
    if name.trim().is_empty() {
        Some("it has no name")
    } else if name.trim() != name {
        Some("its name has blanks around it")
    } else if name.contains(char::is_control) {
        Some("its name is not on one line")
    } else if folded == INVALID || folded == ORIGINAL_BYTES {
        Some("events use its name themselves")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glue_names_are_plain_unique_and_not_reserved() {
        let mut names = ColumnNames::default();
        for (name, expected) in [
            ("Call No.", "call_no"),
            ("call-no", "call_no_2"),
            ("CALL_NO_2", "call_no_2_2"),
            ("Year", "year_of_event"),
            ("Severity", "severity_of_event"),
            ("select", "select_of_event"),
            ("Date", "date_of_event"),
            ("2nd unit", "n_2nd_unit"),
            ("Größe(m)", "gr_e_m"),
            ("優先度", "column_11"),
            ("%", "column_12"),
        ] {
            let place = if name == "%" { 12 } else { 11 };
            assert_eq!(names.glue(name, place), expected, "{name}");
        }
    }

    #[test]
    fn a_data_set_is_named_by_its_file() {
        for (file, expected) in [
            ("data/Calls 911.csv.gz", "calls_911"),
            ("2023-03.csv", "events_2023_03"),
            ("a.csv", "a_events"),
            ("standard input", "standard_input"),
            (".csv", "events"),
            ("Beschwerden über die Verwaltung.csv", "beschwerden_ber_die"),
        ] {
            assert_eq!(of_file(file), expected, "{file}");
        }
    }

    #[test]
    fn words_of_a_name_are_found_in_any_style() {
        assert_eq!(words("startTime (local)"), ["start", "time", "local"]);
        assert_eq!(words("ID"), ["id"]);
        assert_eq!(words("Start_Lat"), ["start", "lat"]);
    }
}
