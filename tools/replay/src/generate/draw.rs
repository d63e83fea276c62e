//! Draws values by weight, with basic arithmetic only, so that a seed gives the same values on every machine.

use fastrand::Rng;

/// One of the values, each as often as its weight says.
pub(super) fn weighted<T: Copy>(rng: &mut Rng, values: &[(T, u32)]) -> T {
    let mut left = rng.u32(..values.iter().map(|(_, weight)| weight).sum::<u32>());
    for &(value, weight) in values {
        if left < weight {
            return value;
        }
        left -= weight;
    }
    values[values.len() - 1].0
}

pub(super) fn one<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

pub(super) fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.f64() < probability
}

/// A number with at most so many decimals, also when it is written as text.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_drawn_by_weight() {
        let mut rng = Rng::with_seed(1);
        let drawn = (0..10_000).filter(|_| weighted(&mut rng, &[(true, 3), (false, 1)])).count();
        assert!((7_300..7_700).contains(&drawn), "{drawn}");
        let zero = (0..1_000).map(|_| weighted(&mut rng, &[(0, 0), (1, 1), (2, 0)])).all(|value| value == 1);
        assert!(zero, "a weight of 0 is never drawn");
    }
}
