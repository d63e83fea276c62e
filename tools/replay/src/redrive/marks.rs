//! Marks: which items of an object have been sent. They are stored in the same bucket, so that nothing is sent twice.

use serde::{Deserialize, Serialize};

/// The prefix of the marks in the bucket.
pub(crate) const PREFIX: &str = "redrive/";
const DONE: &str = ".done";
const PART: &str = ".part";

/// Which items of an object are settled, as ordered ranges with gaps between them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SettledItems(Vec<(usize, usize)>);

impl SettledItems {
    pub(crate) fn settle(&mut self, item: usize) {
        let at = self.0.partition_point(|(_, last)| *last < item);
        if self.0.get(at).is_some_and(|(first, _)| *first <= item) {
            return;
        }
        let joins_left = at > 0 && self.0[at - 1].1 + 1 == item;
        let joins_right = self.0.get(at).is_some_and(|(first, _)| *first == item + 1);
        match (joins_left, joins_right) {
            (true, true) => {
                let (_, last) = self.0.remove(at);
                self.0[at - 1].1 = last;
            }
            (true, false) => self.0[at - 1].1 = item,
            (false, true) => self.0[at].0 = item,
            (false, false) => self.0.insert(at, (item, item)),
        }
    }

    pub(crate) fn has(&self, item: usize) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < item);
        self.0.get(at).is_some_and(|(first, _)| *first <= item)
    }

    /// Whether the first so many items are all settled.
    pub(crate) fn is_all(&self, items: usize) -> bool {
        items == 0 || self.0.first().is_some_and(|(first, last)| *first == 0 && *last + 1 >= items)
    }
}

/// The mark of an object: its key and its content.
pub(crate) fn mark(key: &str, items: usize, settled: &SettledItems) -> (String, Vec<u8>) {
    let ending = if settled.is_all(items) { DONE } else { PART };
    let json = serde_json::to_vec(settled)
        .unwrap_or_else(|error| unreachable!("numbers can be written as JSON: {error}"));
    (format!("{PREFIX}{key}{ending}"), json)
}

/// The key of the mark of an object that has been sent completely.
pub(crate) fn done(key: &str) -> String {
    format!("{PREFIX}{key}{DONE}")
}

/// The key of the mark of an object that has been sent in part.
pub(crate) fn part(key: &str) -> String {
    format!("{PREFIX}{key}{PART}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn items_are_settled_in_any_order_and_joined() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..200 {
            let (mut settled, mut model) = (SettledItems::default(), BTreeSet::new());
            for _ in 0..random.usize(0..30) {
                let item = random.usize(0..20);
                settled.settle(item);
                model.insert(item);
            }
            assert!((0..20).all(|item| settled.has(item) == model.contains(&item)), "{settled:?}");
            let all = |items| (0..items).all(|item| model.contains(&item));
            assert!((0..20).all(|items| settled.is_all(items) == all(items)), "{settled:?}");
            assert!(settled.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{settled:?}");
        }
    }

    #[test]
    fn mark_lists_the_sent_items_and_its_name_says_if_all() {
        let mut settled = SettledItems::default();
        settled.settle(0);
        settled.settle(2);
        assert_eq!(mark("a/b", 3, &settled), (part("a/b"), b"[[0,0],[2,2]]".to_vec()));
        settled.settle(1);
        assert_eq!(mark("a/b", 3, &settled), (done("a/b"), b"[[0,2]]".to_vec()));
        assert_eq!(serde_json::from_slice::<SettledItems>(b"[[0,2]]").unwrap(), settled);
    }
}
