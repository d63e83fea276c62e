//! Nothing is lost, nothing comes from nowhere, order is kept, repeats are bounded and the books balance: for every
//! scenario that a seed draws.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use tests::simulation::{Tally, check, scenario::Scenario, simulate};

/// Scenarios that are simulated; their seeds begin at nought.
const CASES: u64 = 10_000;

#[test]
fn every_promise_is_kept_whatever_fails() {
    let next = AtomicU64::new(0);
    let total = Mutex::new(Tally::default());
    let broken = Mutex::new(None);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= CASES || broken.lock().unwrap().is_some() {
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
    // What never happens shows nothing.
    let Tally { events, invocations, ended, refused, unanswered, rejected, discarded, repeats } =
        total.into_inner().unwrap();
    let happened = [events, invocations, ended, refused, unanswered, rejected, discarded, repeats]
        .map(|count| count >= 100);
    assert_eq!(
        happened,
        [true; 8],
        "{:?}",
        [events, invocations, ended, refused, unanswered, rejected, discarded, repeats]
    );
}

#[test]
fn a_seed_is_replayed_exactly() {
    for seed in 0..30 {
        let [first, second] = [(); 2].map(|()| simulate(&Scenario::draw(seed), true));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.tally, second.tally, "seed {seed}");
    }
}
