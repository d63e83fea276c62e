//! Latencies: the ages of events when they are counted or published, as distributions that give percentiles.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// Distinct values of a datum at most.
///
/// Source: CloudWatch API reference, `MetricDatum`.
const VALUES: usize = 150;
/// The greatest age that is reported. Up to it there are 110 ages of one digit, fewer than a datum takes.
const OLDEST_MS: i64 = 1_000_000_000_000;

/// Metric of the ages of events when metrics counts them.
pub const EVENT_TO_METRIC: &str = "EventToMetric";
/// Metric of the ages of events when notify has published their alert.
pub const EVENT_TO_ALERT: &str = "EventToAlert";
/// Dimensions of both.
pub const DIMENSIONS: [&str; 2] = ["Dataset", "Environment"];

/// Events that were counted or published at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LatencySample {
    /// The moment.
    pub at: DateTime<Utc>,
    /// When ingest received each of them.
    pub received: Vec<DateTime<Utc>>,
}

/// How often each age occurs, in milliseconds, from the youngest.
///
/// If there are more distinct ages than a datum takes, they are rounded up to fewer digits. So an age is never
/// understated. It is overstated by a hundredth, or by a tenth at most for all but the widest spread.
#[must_use]
pub fn distribution(ages_ms: &[i64]) -> Vec<(i64, u64)> {
    (1..=3).rev().fold(counted(ages_ms, |age| age), |counts, digits| {
        if counts.len() <= VALUES { counts } else { counted(ages_ms, |age| round_up(age, digits)) }
    })
}

fn counted(ages_ms: &[i64], round: impl Fn(i64) -> i64) -> Vec<(i64, u64)> {
    let mut counts = BTreeMap::new();
    for age in ages_ms {
        // The clocks of two machines may differ by more than the age.
        *counts.entry(round((*age).clamp(0, OLDEST_MS))).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn round_up(age: i64, digits: u32) -> i64 {
    let step = 10_i64.pow((age.max(1).ilog10() + 1).saturating_sub(digits));
    (age + step - 1) / step * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_distinct_values_are_sent_unchanged() {
        assert_eq!(distribution(&[]), []);
        assert_eq!(distribution(&[1_503, 12, 1_503, -4]), [(0, 1), (12, 1), (1_503, 2)]);
    }

    #[test]
    fn many_are_rounded_up_and_none_is_lost() {
        let ages: Vec<i64> = (0..10_000).map(|n| 900 + n).collect();
        let counts = distribution(&ages);
        assert!(counts.len() <= VALUES, "{}", counts.len());
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), 10_000);
        let above =
            |age: i64| counts.iter().filter(|(value, _)| *value >= age).map(|(_, count)| count).sum::<u64>();
        assert!(above(10_000) >= 900, "an age is never understated");
        let middle = counts.iter().scan(0, |sum, (value, count)| {
            *sum += count;
            Some((*value, *sum))
        });
        let median = middle.into_iter().find(|(_, sum)| *sum >= 5_000).unwrap().0;
        assert!((5_900..=6_500).contains(&median), "{median}");
    }

    #[test]
    fn the_widest_spread_fits_too() {
        let ages: Vec<i64> = (0..63)
            .flat_map(|bit| (0..40).map(move |n| (1_i64 << bit).saturating_mul(20 + n) / 20))
            .collect();
        let counts = distribution(&ages);
        assert!(counts.len() <= VALUES, "{}", counts.len());
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<u64>(), ages.len() as u64);
    }

    #[test]
    fn rounding_goes_up_to_the_digits_that_are_kept() {
        let cases = [
            (0, 1, 0),
            (7, 1, 7),
            (10, 1, 10),
            (11, 1, 20),
            (1_234, 2, 1_300),
            (1_234, 3, 1_240),
            (999, 2, 1_000),
        ];
        for (age, digits, expected) in cases {
            assert_eq!(round_up(age, digits), expected, "{age} to {digits}");
        }
    }
}
