//! Positions of rows as ranges, bounded in number so that they fit into a response.

use serde::Serialize;

/// Ranges that a response lists: at most about 200 KB.
const LISTED: usize = 10_000;

/// Ordered ranges of positions with their last position included: `[[0,499],[1200,1200]]`.
///
/// If there are more than 10,000 ranges, the last one covers everything after it, including the gaps.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds a position. Positions may come in any order; [`Self::settle`] sorts them.
    pub fn add(&mut self, position: u64) {
        if let Some((first, last)) = self.0.last_mut()
            && *first <= position
            && position <= last.saturating_add(1)
        {
            *last = position.max(*last);
            return;
        }
        self.0.push((position, position));
        if self.0.len() >= 2 * LISTED {
            self.settle();
        }
    }

    /// Sorts the ranges, joins adjacent ones and limits their number.
    pub fn settle(&mut self) {
        self.0.sort_unstable();
        self.0.dedup_by(|(first, last), (_, last_before)| {
            let touches = *first <= last_before.saturating_add(1);
            if touches {
                *last_before = (*last).max(*last_before);
            }
            touches
        });
        if let Some(last) = self.0.last().map(|(_, last)| *last)
            && self.0.len() > LISTED
        {
            self.0.truncate(LISTED);
            self.0[LISTED - 1].1 = last;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn ranges(positions: impl IntoIterator<Item = u64>) -> Ranges {
        let mut ranges = Ranges::default();
        for position in positions {
            ranges.add(position);
        }
        ranges.settle();
        ranges
    }

    proptest! {
        #[test]
        fn positions_in_any_order_become_their_ranges(positions in vec(0_u64..60, 0..60)) {
            let ranges = ranges(positions.iter().copied());
            let listed: Vec<u64> = ranges.0.iter().flat_map(|(first, last)| *first..=*last).collect();
            let expected: Vec<u64> = positions.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
            prop_assert_eq!(listed, expected);
            prop_assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0));
        }
    }

    #[test]
    fn a_million_rows_are_one_range() {
        let json = serde_json::to_string(&ranges(0..1_300_000)).unwrap();
        assert_eq!(json, "[[0,1299999]]");
    }

    #[test]
    fn too_many_ranges_end_in_one_that_covers_the_rest() {
        let even = || (0..500_000_u64).map(|half| 2 * half).collect::<Vec<_>>();
        for positions in [even(), even().into_iter().rev().collect()] {
            let ranges = ranges(positions);
            assert_eq!(ranges.0.len(), LISTED);
            assert_eq!(ranges.0[LISTED - 2], (19_996, 19_996));
            assert_eq!(ranges.0[LISTED - 1], (19_998, 999_998));
            assert!(serde_json::to_string(&ranges).unwrap().len() < 300_000);
        }
    }
}
