//! For every scenario of a seed: nothing is lost or invented, order is kept, repeats are bounded, and the counts balance.

use std::{
    env,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tests::simulation::{Tally, check, scenario::Scenario, simulate};

/// The default number of scenarios, if `SCENARIOS` is not set. Their seeds begin at 0.
const SCENARIOS: u64 = 2_500;
/// From this number of scenarios on, everything that is simulated must happen in at least one.
const RARE: u64 = 500;

/// The number of scenarios.
fn scenarios() -> u64 {
    let Ok(text) = env::var("SCENARIOS") else { return SCENARIOS };
    text.parse().unwrap_or_else(|_| panic!("SCENARIOS is `{text}`, expected a number such as {SCENARIOS}"))
}

#[test]
fn every_promise_is_kept_under_any_faults() {
    let scenarios = scenarios();
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let broken = Mutex::new(None);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= scenarios || broken.lock().unwrap().is_some() {
                return;
            }
            match check(seed) {
                Ok(tally) => *total.lock().unwrap() += tally,
                Err(report) => *broken.lock().unwrap() = Some(report),
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    if let Some(report) = broken.into_inner().unwrap() {
        panic!("{report}");
    }
    // A fault that never happens proves nothing.
    let total = total.into_inner().unwrap();
    println!("{total}");
    let least = usize::try_from(scenarios / RARE).unwrap();
    let rare = total.rarer_than(least);
    assert!(rare.is_empty(), "in fewer than {least} of {scenarios} scenarios there were {rare:?}:\n{total}");
}

#[test]
fn a_seed_is_replayed_exactly() {
    for seed in 0..30 {
        let [first, second] = [(); 2].map(|()| simulate(&Scenario::draw(seed), true));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.tally, second.tally, "seed {seed}");
    }
}
