//! The status of every record: the ledger of a batch, the counts, the trail of event ids, and latencies.

pub mod counts;
pub mod latency;
pub mod ledger;
pub mod trail;
