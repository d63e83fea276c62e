//! The status of every record: the ledger of a batch, the counts, the trail of event ids, latencies, and the rows of
//! published alerts.

pub mod alerts;
pub mod counts;
pub mod latency;
pub mod ledger;
pub mod trail;
