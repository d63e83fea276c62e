//! A simulation of the whole chain: the real handlers between simulated streams, mappings and services, with its own
//! clock and scripted faults. One seed replays it exactly.
//!
//! [`scenario`] draws the inputs and faults, [`chain`] runs them, and [`promises`] checks the promises afterwards.
//! [`mapping`] is a model of Lambda's event source mapping, which has its own tests, too. [`mapping_file`] runs it on the
//! scenario files that the local cloud's mapping is tested with.

pub mod chain;
pub mod function;
pub mod ingress;
pub mod mapping;
pub mod mapping_file;
pub mod pace;
pub mod port;
pub mod promises;
pub mod rejects;
pub mod scenario;
pub mod services;
pub mod stage;
pub mod stream;
pub mod tally;
pub mod trace;
pub mod unit;

use std::time::Duration;

use tokio::{runtime::Builder, task::LocalSet, time::timeout};

pub use self::tally::Tally;
use self::{chain::Chain, scenario::Scenario};

/// The longest time of a chain on its own clock. After it, the chain counts as stuck.
const ENDLESS: Duration = Duration::from_hours(24 * 30);

/// The result of a simulation.
#[derive(Debug)]
pub struct Outcome {
    /// The broken promises, each in a sentence.
    pub broken: Vec<String>,
    /// The trace, if it was kept.
    pub trace: Vec<String>,
    /// How often each thing happened.
    pub tally: Tally,
}

/// Runs a scenario and checks the promises.
///
/// # Panics
///
/// When the runtime cannot be built.
#[must_use]
pub fn simulate(scenario: &Scenario, traced: bool) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    // A request that a service accepts late is a separate task.
    LocalSet::new().block_on(&runtime, async {
        let chain = Chain::build(scenario, traced);
        let broken = match timeout(ENDLESS, chain.run()).await {
            Ok(()) => promises::broken(&chain),
            Err(_) => vec!["the chain never comes to rest".to_owned()],
        };
        Outcome { broken, trace: chain.trace.lines(), tally: Tally::of(&chain) }
    })
}

/// Simulates the scenario of a seed. If a promise is broken, the error reports the seed, the scenario and the trace.
pub fn check(seed: u64) -> Result<Tally, String> {
    let scenario = Scenario::draw(seed);
    let outcome = simulate(&scenario, false);
    if outcome.broken.is_empty() {
        return Ok(outcome.tally);
    }
    Err(report(&scenario).0)
}

/// A full report: the scenario, the trace and the broken promises; true if all were kept.
#[must_use]
pub fn report(scenario: &Scenario) -> (String, bool) {
    let Outcome { broken, trace, tally } = simulate(scenario, true);
    let mut report = format!("{scenario:#?}\n\n");
    for line in trace {
        report.push_str(&format!("{line}\n"));
    }
    report.push_str(&format!("\n{tally}\n\nseed {}: ", scenario.seed));
    if broken.is_empty() {
        return (report + "every promise was kept\n", true);
    }
    report.push_str(&format!("{} promises were broken\n", broken.len()));
    for sentence in broken {
        report.push_str(&format!("  - {sentence}\n"));
    }
    (report + &format!("see it again with: make simulate SEED={}\n", scenario.seed), false)
}
