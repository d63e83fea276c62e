//! A simulation of the whole chain: the real handlers between simulated streams, mappings and services, on a clock of its
//! own, with faults by script, and replayed exactly from one seed.
//!
//! [`scenario`] draws what happens, [`chain`] lets it happen, and [`promises`] holds what happened against what is
//! promised. [`mapping`] is the machine of Lambda's event source mapping, which runs by itself, too.

pub mod chain;
pub mod function;
pub mod ingress;
pub mod mapping;
pub mod pace;
pub mod port;
pub mod promises;
pub mod rejects;
pub mod scenario;
pub mod services;
pub mod stream;
pub mod tally;
pub mod trace;
pub mod unit;

use std::time::Duration;

use tokio::{runtime::Builder, task::LocalSet, time::timeout};

pub use self::tally::Tally;
use self::{chain::Chain, scenario::Scenario};

/// How long a chain may go on, on its own clock, until it is held to hang.
const ENDLESS: Duration = Duration::from_hours(24 * 30);

/// How a simulation ended.
#[derive(Debug)]
pub struct Outcome {
    /// The promises that were broken, each in a sentence.
    pub broken: Vec<String>,
    /// What happened, where it was traced.
    pub trace: Vec<String>,
    /// How much of it there was.
    pub tally: Tally,
}

/// Lets a scenario happen, and holds it against the promises.
///
/// # Panics
///
/// When the machine offers no clock.
#[must_use]
pub fn simulate(scenario: &Scenario, traced: bool) -> Outcome {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    // What a service takes late is a task of its own.
    LocalSet::new().block_on(&runtime, async {
        let chain = Chain::build(scenario, traced);
        let broken = match timeout(ENDLESS, chain.run()).await {
            Ok(()) => promises::broken(&chain),
            Err(_) => vec!["the chain never comes to rest".to_owned()],
        };
        Outcome { broken, trace: chain.trace.lines(), tally: Tally::of(&chain) }
    })
}

/// Simulates the scenario of a seed; where a promise was broken, gives a report with the seed, the scenario and what
/// happened.
pub fn check(seed: u64) -> Result<Tally, String> {
    let scenario = Scenario::draw(seed);
    let outcome = simulate(&scenario, false);
    if outcome.broken.is_empty() {
        return Ok(outcome.tally);
    }
    Err(report(&scenario).0)
}

/// A simulation in full: the scenario, what happened, and which promises were broken; true where all were kept.
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
