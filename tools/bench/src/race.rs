//! Contenders timed in turn, so that what slows the machine down slows all of them down.

use std::{error::Error, time::Instant};

/// What one lap did: how much came out of it.
pub(crate) type Lap = Result<u64, Box<dyn Error>>;

/// How a contender did.
pub(crate) struct Timed {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its median time in seconds.
    pub(crate) seconds: f64,
    /// What came out of a lap.
    pub(crate) count: u64,
}

/// Has each contender run so many laps, in turn.
pub(crate) fn race(
    laps: usize,
    contenders: &mut [(&'static str, &mut dyn FnMut() -> Lap)],
) -> Result<Vec<Timed>, Box<dyn Error>> {
    let mut times = vec![Vec::with_capacity(laps); contenders.len()];
    let mut counts = vec![0; contenders.len()];
    for _ in 0..laps {
        for (index, (_, run)) in contenders.iter_mut().enumerate() {
            let begin = Instant::now();
            counts[index] = run()?;
            times[index].push(begin.elapsed().as_secs_f64());
        }
    }
    let timed = contenders.iter().zip(times).zip(counts).map(|(((name, _), mut times), count)| {
        times.sort_by(f64::total_cmp);
        Timed { name, seconds: times[laps / 2], count }
    });
    Ok(timed.collect())
}
