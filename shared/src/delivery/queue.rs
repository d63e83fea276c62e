//! The entries that wait, and the requests that they go out in.

use hashbrown::HashSet;

use super::{Limits, Outcome, attempts::Settled};

/// The entries that were not sent yet, by position.
pub(super) struct Queue<'a> {
    sizes: &'a [usize],
    keys: Vec<Option<&'a str>>,
    limits: Limits,
    waiting: Vec<usize>,
    /// Keys of which an entry is in flight or has failed: their later entries wait.
    held: HashSet<&'a str>,
}

impl<'a> Queue<'a> {
    /// All entries but those that are too large by themselves.
    pub(super) fn new(sizes: &'a [usize], keys: Vec<Option<&'a str>>, limits: Limits) -> Self {
        let waiting = (0..sizes.len()).filter(|index| sizes[*index] <= limits.entry_bytes).collect();
        Self { sizes, keys, limits, waiting, held: HashSet::new() }
    }

    /// The next request that keeps to the limits: the first entries whose keys nothing holds.
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

    /// Lets the later entries of a request's keys follow, but for those of which an entry failed.
    pub(super) fn release(&mut self, settled: &Settled) {
        let (failed, done): (Vec<_>, Vec<_>) =
            settled.outcomes.iter().partition(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
        for key in done.into_iter().filter_map(|(index, _)| self.keys[*index]) {
            self.held.remove(key);
        }
        self.held.extend(failed.into_iter().filter_map(|(index, _)| self.keys[*index]));
    }
}
