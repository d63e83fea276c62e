//! The queue of entries that wait, and how they form requests.

use hashbrown::HashSet;

use super::{Limits, Outcome, attempts::Settled};

/// Entries that were not sent yet, by position.
pub(super) struct Queue<'a> {
    sizes: &'a [usize],
    keys: Vec<Option<&'a str>>,
    limits: Limits,
    waiting: Vec<usize>,
    /// Keys with an entry that is in flight or has failed. Their later entries wait.
    held: HashSet<&'a str>,
}

impl<'a> Queue<'a> {
    /// Queues all entries except those that exceed the limit on their own.
    pub(super) fn new(sizes: &'a [usize], keys: Vec<Option<&'a str>>, limits: Limits) -> Self {
        let waiting = (0..sizes.len()).filter(|index| sizes[*index] <= limits.entry_bytes).collect();
        Self { sizes, keys, limits, waiting, held: HashSet::new() }
    }

    /// The next request within the limits: the first entries whose keys are not held.
    pub(super) fn next_request(&mut self) -> Option<Vec<usize>> {
        let Self { sizes, keys, limits, waiting, held } = self;
        let (mut request, mut bytes, mut full) = (Vec::new(), 0, false);
        waiting.retain(|index| {
            let size = sizes[*index];
            if full || keys[*index].is_some_and(|key| held.contains(key)) {
                return true;
            }
            full =
                request.len() == limits.entries || !request.is_empty() && bytes + size > limits.request_bytes;
            if !full {
                bytes += size;
                request.push(*index);
            }
            full
        });
        held.extend(request.iter().filter_map(|index| keys[*index]));
        (!request.is_empty()).then_some(request)
    }

    /// Releases the keys of a finished request, so that their later entries follow. Keys with a failed entry stay held.
    pub(super) fn release(&mut self, settled: &Settled) {
        let (failed, done): (Vec<_>, Vec<_>) =
            settled.outcomes.iter().partition(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
        for key in done.into_iter().filter_map(|(index, _)| self.keys[*index]) {
            self.held.remove(key);
        }
        self.held.extend(failed.into_iter().filter_map(|(index, _)| self.keys[*index]));
    }
}
