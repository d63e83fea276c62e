//! Which series an event counts under: its sets of dimensions, with a bound on the number of distinct series.
//!
//! The bound needs no shared state, because the data set's list of values is the same in every container. The first
//! entries of the list, as many as fit, have series of their own. All others are counted as [`OTHER`], so that totals
//! stay exact.

use std::collections::HashSet;

/// The dimension value under which all values without a series of their own are counted.
pub use shared::data::dataset::OTHER;
use shared::data::{dataset::Dataset, dimension::dimension};

/// The sets of dimensions under which each event is counted.
#[derive(Debug, Clone)]
pub struct Series {
    /// The dimension with the severity, if there is one.
    severity: Option<usize>,
    /// The severities that the data set lists. All others share one series, so that an alarm can watch them.
    listed: Vec<String>,
    sets: Vec<Set>,
    bound: Option<Bound>,
}

/// A set of dimensions.
#[derive(Debug, Clone)]
struct Set {
    /// Positions among the data set's dimensions.
    dimensions: Vec<usize>,
    /// The values of the other dimensions that have series of their own, if the number of series is bounded.
    kept: HashSet<Vec<String>>,
}

/// The bound on the number of series.
#[derive(Debug, Clone)]
struct Bound {
    /// The severities that have series of their own.
    severities: Vec<String>,
    /// Entries of the data set's list that have series of their own.
    entries: usize,
}

/// The bound cannot be applied.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unbounded {
    /// It is below the least possible number of series.
    #[error("MAX_SERIES is {max}; expected 0 for no bound, or at least {least}")]
    TooFew {
        /// The requested bound.
        max: usize,
        /// The least possible number: the severities only.
        least: usize,
    },
    /// The data set's list of values is invalid.
    #[error("datasets/{dataset}/series.tsv:{line}: expected {expected}, found `{found}`")]
    Malformed {
        /// The data set's name.
        dataset: String,
        /// The line.
        line: usize,
        /// What is there.
        found: String,
        /// What was expected.
        expected: String,
    },
}

impl Series {
    /// Series without a bound: one for each combination of values that occurs, in each of the sets. Severities that the
    /// data set does not list share the value [`OTHER`].
    #[must_use]
    pub fn all(dataset: &Dataset, sets: &[Vec<usize>]) -> Self {
        let metric = &dataset.metric;
        let severity = metric.dimensions.iter().position(|(_, column)| *column == dataset.severity);
        let sets = sets.iter().map(|set| Set { dimensions: set.clone(), kept: HashSet::new() }).collect();
        let listed = dataset.severities.levels().iter().map(|listed| dimension(&listed.text)).collect();
        Self { severity, listed, sets, bound: None }
    }

    /// At most `max` series for events of a severity above `above`, whatever their values.
    pub fn bounded(
        dataset: &Dataset,
        sets: &[Vec<usize>],
        above: i64,
        max: usize,
    ) -> Result<Self, Unbounded> {
        let mut series = Self::all(dataset, sets);
        let severe = dataset.severities.levels().iter().filter(|listed| listed.level > above);
        let severities = severe.map(|listed| dimension(&listed.text)).collect();
        let mut bound = Bound { severities, entries: 0 };
        let least = series.count(&bound);
        if least > max {
            return Err(Unbounded::TooFew { max, least });
        }
        for entry in series.list(dataset, dataset.series().unwrap_or_default())? {
            let severity = series.severity;
            let new: Vec<Option<Vec<String>>> = series
                .sets
                .iter_mut()
                .map(|set| {
                    let rest = rest(&set.dimensions, severity).map(|dimension| entry[dimension].clone());
                    let rest: Vec<String> = rest.collect();
                    set.kept.insert(rest.clone()).then_some(rest)
                })
                .collect();
            if series.count(&bound) > max {
                for (set, new) in series.sets.iter_mut().zip(new) {
                    new.map(|rest| set.kept.remove(&rest));
                }
                break;
            }
            bound.entries += 1;
        }
        series.bound = Some(bound);
        Ok(series)
    }

    /// The entries of a list in the form of `series.tsv`, the most frequent first. Each has a value for every dimension
    /// except the severity.
    fn list(&self, dataset: &Dataset, text: &str) -> Result<Vec<Vec<String>>, Unbounded> {
        let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#'));
        let malformed = |line, found: &str, expected: String| Unbounded::Malformed {
            dataset: dataset.name.clone(),
            line,
            found: found.to_owned(),
            expected,
        };
        let dimensions = &dataset.metric.dimensions;
        let all: Vec<usize> = (0..dimensions.len()).collect();
        let rest: Vec<usize> = rest(&all, self.severity).collect();
        let names: Vec<_> =
            rest.iter().map(|dimension| dataset.columns[dimensions[*dimension].1].name.as_str()).collect();
        let header = names.join("\t");
        match lines.next() {
            Some((line, found)) if found != header => {
                return Err(malformed(line, found, format!("`{header}`")));
            }
            _ => {}
        }
        lines
            .map(|(line, found)| {
                let cells: Vec<_> = found.split('\t').map(dimension).collect();
                if cells.len() != rest.len() {
                    return Err(malformed(
                        line,
                        found,
                        format!("{} values with a tab between them", rest.len()),
                    ));
                }
                let mut entry = vec![String::new(); dimensions.len()];
                for (dimension, cell) in rest.iter().zip(cells) {
                    entry[*dimension] = cell;
                }
                Ok(entry)
            })
            .collect()
    }

    /// The most series that are possible under a bound.
    fn count(&self, bound: &Bound) -> usize {
        let severities = bound.severities.len();
        let of = |set: &Set| {
            let has_severity = self.severity.is_some_and(|severity| set.dimensions.contains(&severity));
            match (has_severity, set.dimensions.len()) {
                // An event of an unlisted severity is `other` in all dimensions.
                (true, 1) => severities + 1,
                (true, _) => severities * (set.kept.len() + 1) + 1,
                (false, _) => set.kept.len() + 1,
            }
        };
        self.sets.iter().map(of).sum()
    }

    /// The most distinct series that are possible; `None` without a bound.
    #[must_use]
    pub fn most(&self) -> Option<usize> {
        self.bound.as_ref().map(|bound| self.count(bound))
    }

    /// The number of entries of the data set's list that have series of their own.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.bound.as_ref().map_or(0, |bound| bound.entries)
    }

    /// The dimensions, by position, and values under which such an event is counted: once in each set.
    pub fn of<'s>(&'s self, values: &'s [String]) -> impl Iterator<Item = Vec<(usize, String)>> + 's {
        self.sets.iter().map(move |set| {
            let keeps_severity = self.keeps_severity(values);
            let keeps_rest = match &self.bound {
                Some(_) => keeps_severity && self.keeps_rest(set, values),
                None => true,
            };
            set.dimensions
                .iter()
                .map(|dimension| {
                    let keeps = if Some(*dimension) == self.severity { keeps_severity } else { keeps_rest };
                    (*dimension, if keeps { values[*dimension].clone() } else { OTHER.to_owned() })
                })
                .collect()
        })
    }

    fn keeps_severity(&self, values: &[String]) -> bool {
        let kept = self.bound.as_ref().map_or(&self.listed, |bound| &bound.severities);
        self.severity.is_none_or(|severity| kept.contains(&values[severity]))
    }

    fn keeps_rest(&self, set: &Set, values: &[String]) -> bool {
        let rest = || rest(&set.dimensions, self.severity).map(|dimension| values[dimension].clone());
        set.kept.contains(&rest().collect::<Vec<_>>())
    }
}

/// The dimensions other than the severity.
fn rest(dimensions: &[usize], severity: Option<usize>) -> impl Iterator<Item = usize> {
    dimensions.iter().copied().filter(move |dimension| Some(*dimension) != severity)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn dataset() -> Dataset {
        Dataset::named("us_accidents").unwrap()
    }

    fn bounded(max: usize) -> Series {
        let dataset = dataset();
        Series::bounded(&dataset, &dataset.metric.sets, 2, max).unwrap()
    }

    fn values(severity: &str, city: &str, county: &str) -> Vec<String> {
        [severity, city, county].map(str::to_owned).to_vec()
    }

    fn names(series: &Series, values: &[String]) -> Vec<String> {
        let join =
            |set: Vec<(usize, String)>| set.into_iter().map(|(_, value)| value).collect::<Vec<_>>().join("/");
        series.of(values).map(join).collect()
    }

    #[test]
    fn series_list_of_every_data_set_is_valid() {
        for name in Dataset::names() {
            let dataset = Dataset::named(name).unwrap();
            Series::bounded(&dataset, &dataset.metric.sets, 0, 1_000_000).unwrap();
        }
    }

    #[test]
    fn frequent_values_have_names_and_all_others_are_other() {
        let series = bounded(1_000);
        assert!(series.entries() > 200, "{}", series.entries());
        assert_eq!(
            names(&series, &values("4", "Los Angeles", "Los Angeles")),
            ["4/Los Angeles/Los Angeles", "4", "4/Los Angeles"]
        );
        assert_eq!(
            names(&series, &values("3", "Nowhere", "Los Angeles")),
            ["3/other/other", "3", "3/Los Angeles"]
        );
        assert_eq!(names(&series, &values("3", "unknown", "unknown")), ["3/other/other", "3", "3/other"]);
        assert_eq!(
            names(&series, &values("77", "Los Angeles", "Los Angeles")),
            ["other/other/other", "other", "other/other"]
        );
    }

    #[test]
    fn unbounded_series_name_every_combination() {
        let dataset = dataset();
        let series = Series::all(&dataset, &dataset.metric.sets);
        assert_eq!(names(&series, &values("4", "Nowhere", "x")), ["4/Nowhere/x", "4", "4/x"]);
        assert_eq!(names(&series, &values("77", "Nowhere", "x")), ["other/Nowhere/x", "other", "other/x"]);
        assert_eq!(series.most(), None);
    }

    #[test]
    fn severity_words_have_series_if_above_the_threshold() {
        let text = include_str!("../../../datasets/us_accidents/dataset.toml")
            .replacen(
                "severities = [1, 2, 3, 4]",
                "severities = [\"Low\", \"\u{c9}lev\u{e9}\", \"Worst\"]",
                1,
            )
            .replacen("column = \"severity\"\ntype = \"int\"", "column = \"impact\"\ntype = \"string\"", 1);
        let dataset = Dataset::parse("us_accidents", &text).unwrap();
        for series in [
            Series::all(&dataset, &dataset.metric.sets),
            Series::bounded(&dataset, &dataset.metric.sets, 1, 100).unwrap(),
        ] {
            for word in ["Eleve", "Worst"] {
                assert_eq!(names(&series, &values(word, "x", "y"))[1], word);
            }
        }
    }

    #[test]
    fn too_small_bound_is_refused_with_the_least_possible() {
        let dataset = dataset();
        let error = Series::bounded(&dataset, &dataset.metric.sets, 2, 8).unwrap_err().to_string();
        assert_eq!(error, "MAX_SERIES is 8; expected 0 for no bound, or at least 9");
        assert_eq!((bounded(9).most(), bounded(9).entries()), (Some(9), 0));
    }

    #[test]
    fn line_of_a_list_that_is_wrong_is_reported() {
        let dataset = dataset();
        let series = Series::all(&dataset, &dataset.metric.sets);
        for (text, expected) in [
            ("# Places.\nCounty\tCity\n", "2: expected `City\tCounty`, found `County\tCity`"),
            ("City\tCounty\nDayton\n", "2: expected 2 values with a tab between them, found `Dayton`"),
        ] {
            let error = series.list(&dataset, text).unwrap_err().to_string();
            assert_eq!(error, format!("datasets/us_accidents/series.tsv:{expected}"));
        }
    }

    #[test]
    fn bound_that_is_reached_exactly_is_used_up() {
        for max in [50, 1_000] {
            let series = bounded(max);
            let most = series.most().unwrap();
            assert_eq!(bounded(most).entries(), series.entries());
            assert!(bounded(most - 1).entries() < series.entries());
        }
    }

    #[test]
    fn series_of_many_cities_are_bounded_with_exact_totals() {
        let dataset = dataset();
        // Some of the sets are without the severity.
        let sets = [&dataset.metric.sets[..], &[vec![2], vec![1, 2]]].concat();
        for max in [11, 100, 1_000, 5_000] {
            let series = Series::bounded(&dataset, &sets, 2, max).unwrap();
            let mut counts: BTreeMap<Vec<(usize, String)>, u64> = BTreeMap::new();
            // Listed cities, and fifty thousand that are not listed.
            let listed = series.list(&dataset, dataset.series().unwrap()).unwrap();
            let listed = listed.into_iter().map(|entry| (entry[1].clone(), entry[2].clone()));
            let unheard = (0..50_000).map(|n| (format!("city {n}"), format!("county {}", n % 3_000)));
            let mut events = 0;
            for (n, (city, county)) in listed.chain(unheard).enumerate() {
                for severity in ["3", "4", if n % 2 == 0 { "5" } else { "123456789" }] {
                    events += 1;
                    for set in series.of(&values(severity, &city, &county)) {
                        *counts.entry(set).or_default() += 1;
                    }
                }
            }
            assert!(counts.len() <= max, "{} series of at most {max}", counts.len());
            assert_eq!(Some(counts.len()), series.most(), "the computed number is exact");
            for set in &sets {
                let is_of_set = |of: &[(usize, String)]| of.iter().map(|(dimension, _)| dimension).eq(set);
                let total: u64 = counts.iter().filter(|(of, _)| is_of_set(of)).map(|(_, count)| count).sum();
                assert_eq!(total, events, "{set:?}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// The series that alarms watch: one for each listed severity, and one for all others.
        #[test]
        fn severity_is_counted_under_its_name_or_as_other(
            severity in prop_oneof![-9_i64..99, any::<i64>()],
            max in prop_oneof![Just(0_usize), 15_usize..400],
        ) {
            let dataset = dataset();
            let series = match max {
                0 => Series::all(&dataset, &dataset.metric.sets),
                max => Series::bounded(&dataset, &dataset.metric.sets, i64::MIN, max).unwrap(),
            };
            let expected = if dataset.severities.lists(severity) { severity.to_string() } else { OTHER.to_owned() };
            prop_assert_eq!(&names(&series, &values(&severity.to_string(), "x", "y"))[1], &expected);
        }

        #[test]
        fn any_data_stays_within_the_bound_with_exact_totals(
            max in 9_usize..400,
            events in prop::collection::vec(("[0-9]{1,3}", "[A-Z]?[a-z]{0,2}", "[A-Z]?[a-z]{0,2}"), 0..300),
        ) {
            let series = bounded(max);
            let mut seen = BTreeSet::new();
            let mut totals = [0_usize; 3];
            for (severity, city, county) in &events {
                for (set, total) in series.of(&values(severity, city, county)).zip(&mut totals) {
                    *total += 1;
                    seen.insert(set);
                }
            }
            prop_assert!(seen.len() <= max);
            prop_assert_eq!(totals, [events.len(); 3]);
        }
    }
}
