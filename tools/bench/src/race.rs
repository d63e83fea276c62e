//! Times contenders in turn, so that a slow machine slows down all of them.

use std::{error::Error, time::Instant};

/// The size of the output of one lap.
pub(crate) type Lap = Result<u64, Box<dyn Error>>;

pub(crate) struct Timed {
    pub(crate) name: &'static str,
    /// Its median time in seconds.
    pub(crate) seconds: f64,
    /// The size of the output of a lap.
    pub(crate) count: u64,
}

/// Runs each contender so many laps, in turn.
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
    let timed = contenders.iter().zip(times).zip(counts);
    Ok(timed.map(|(((name, _), times), count)| Timed { name, seconds: median(times), count }).collect())
}

/// The middle value; zero if there is none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
