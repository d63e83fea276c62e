//! The pace of the messages: how many reach the topic in a second.

use std::{cell::RefCell, rc::Rc, time::Duration};

use tokio::time::Instant;

use super::{chain::Chain, scenario::Scenario};

/// Invocations of notify that share the messages of a second: an on-demand stream begins with as many shards.
pub(super) const INVOCATIONS: u32 = 4;

/// When the topic accepted each message.
pub type Times = Rc<RefCell<Vec<Instant>>>;

/// The most messages that may reach the topic in any second; `None` without a bound. Each sequence of batches has a
/// share, so more sequences than notify expects send more messages.
pub(super) fn most_in_a_second(scenario: &Scenario) -> Option<usize> {
    if scenario.alerts_per_second == 0 {
        return None;
    }
    let splits = scenario.reshards.iter().filter(|reshard| reshard.stream == 2 && reshard.is_split).count();
    let sequences = (scenario.shards[1] + splits) * scenario.mappings.notify.parallelization;
    Some(sequences * (scenario.alerts_per_second / INVOCATIONS) as usize)
}

/// The most messages that reached the topic within any second. `None` if notify could not know the time of one: after
/// it had given up the request, or just before its process ended and the batch was discarded.
pub(super) fn reached_in_a_second(chain: &Chain<'_>) -> Option<usize> {
    let topic = &chain.services.topic;
    let is_unknown = chain.scenario.gives_up() && !chain.ended.notify.borrow().is_empty();
    if topic.late.get() > 0 || is_unknown {
        return None;
    }
    Some(most_within(Duration::from_secs(1), &chain.services.messages.borrow()))
}

/// The most of these sorted times that are within one period.
fn most_within(window: Duration, times: &[Instant]) -> usize {
    let within =
        |(first, begin): (usize, &Instant)| times[first..].partition_point(|time| *time < *begin + window);
    times.iter().enumerate().map(within).max().unwrap_or_default()
}
