//! Measures a function whole: started as Lambda starts it, with its requests sent by the SDK.

mod http;
pub(crate) mod process;
mod services;
mod share;

use std::{io, sync::Arc};

use process::{Process, Used};
use serde_json::{Value, json};
use services::Services;

use crate::race::median;

/// Invocations before the first that counts, so that one-time work is done, as for all but the first batch of a
/// container.
pub(crate) const WARM_UP: usize = 3;

/// What a function is measured with.
pub(crate) struct Load {
    /// The events, one for each invocation, including those that warm up.
    pub(crate) events: Vec<Arc<Vec<u8>>>,
    /// The object in its bucket.
    pub(crate) object: Vec<u8>,
    /// The records of one event.
    pub(crate) records: u32,
    /// The function's share of a processor in thousandths, if it does not have a whole one.
    pub(crate) thousandths: Option<u64>,
}

/// Starts a function, sends it the events and reports what it uses: medians of milliseconds for an invocation, what it
/// sent in all of them, and the most memory.
pub(crate) fn measure(command: &[&str], load: Load) -> io::Result<Value> {
    let mut process = Process::start(command, Services::with_object(load.object))?;
    let warm_up = WARM_UP.min(load.events.len() / 2);
    let mut events = load.events.into_iter();
    let first = events.next().ok_or_else(|| io::Error::other("there is no event to send"))?;
    process.invoke(first)?;
    let cold = process.age();
    for event in events.by_ref().take(warm_up.saturating_sub(1)) {
        process.invoke(event)?;
    }
    if let Some(thousandths) = load.thousandths {
        process.limit(thousandths)?;
    }
    process.services.take();
    let used: Vec<Used> = events.map(|event| process.invoke(event)).collect::<io::Result<_>>()?;
    let sent = process.services.take();
    Ok(json!({
        "records": load.records,
        "cpu_ms": median(used.iter().map(|used| used.cpu * 1e3)),
        "wall_ms": median(used.iter().map(|used| used.wall * 1e3)),
        "first_ms": cold * 1e3,
        "peak_bytes": process.peak()?,
        "invocations": used.len(),
        "requests": sent.requests,
        "entries": sent.entries,
        "bytes": sent.bytes,
    }))
}
