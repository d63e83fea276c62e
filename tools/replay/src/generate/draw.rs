//! Drawing from measured distributions, by basic arithmetic alone, so that a seed gives the same values on every
//! machine (libraries' sines and logarithms differ in their last digit).

use fastrand::Rng;

/// A distribution by its quantiles, `(share of the rows, value)` from 0 to 1, straight in between.
pub(super) struct Curve(pub &'static [(f64, f64)]);

impl Curve {
    pub(super) fn draw(&self, rng: &mut Rng) -> f64 {
        self.at(rng.f64())
    }

    /// The value at a place of the curve; its first or last value outside it.
    pub(super) fn at(&self, x: f64) -> f64 {
        let mut before = self.0[0];
        for &point in self.0 {
            if x < point.0 {
                let part = (x - before.0) / (point.0 - before.0).max(f64::MIN_POSITIVE);
                return before.1 + part.clamp(0.0, 1.0) * (point.1 - before.1);
            }
            before = point;
        }
        before.1
    }
}

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

/// The index of one of the weights, each as often as it says.
pub(super) fn position(rng: &mut Rng, weights: &[u32]) -> u32 {
    let mut left = rng.u32(..weights.iter().sum::<u32>());
    let mut index = 0;
    for &weight in weights {
        if left < weight {
            return index;
        }
        left -= weight;
        index += 1;
    }
    index
}

pub(super) fn one<T: Copy>(rng: &mut Rng, values: &[T]) -> T {
    values[rng.usize(..values.len())]
}

pub(super) fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.f64() < probability
}

/// About the normal distribution: four even ones added up.
pub(super) fn normal(rng: &mut Rng, mean: f64, deviation: f64) -> f64 {
    const DEVIATION_OF_FOUR: f64 = 0.577_350_269_189_625_8;
    let sum = rng.f64() + rng.f64() + rng.f64() + rng.f64() - 2.0;
    mean + deviation * sum / DEVIATION_OF_FOUR
}

/// A number with no more than so many decimals, whose shortest text therefore has no more either.
pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_straight_between_its_points_and_flat_outside() {
        let curve = Curve(&[(0.0, 10.0), (0.5, 20.0), (0.5, 30.0), (1.0, 40.0)]);
        for (x, expected) in [(-1.0, 10.0), (0.0, 10.0), (0.25, 15.0), (0.5, 30.0), (0.75, 35.0), (1.0, 40.0)]
        {
            assert!((curve.at(x) - expected).abs() < 1e-12, "{x}: {}", curve.at(x));
        }
    }

    #[test]
    fn weights_are_kept() {
        let mut rng = Rng::with_seed(1);
        let drawn = (0..10_000).filter(|_| weighted(&mut rng, &[(true, 3), (false, 1)])).count();
        assert!((7_300..7_700).contains(&drawn), "{drawn}");
        let zero = (0..1_000).map(|_| position(&mut rng, &[0, 1, 0])).all(|index| index == 1);
        assert!(zero, "a weight of 0 is never drawn");
    }
}
