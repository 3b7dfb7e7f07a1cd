//! Statistics over samples, by numpy's definitions, so that numbers agree with those of the
//! Python tool. A statistic of nothing is `None`.

use domain::metric::Stat;

/// Samples in ascending order.
///
/// Sums run over the sorted values, so the order in which samples were taken changes no digit.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Sorts the values.
    pub fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The smallest.
    pub fn min(&self) -> Option<f64> {
        self.0.first().copied()
    }

    /// The largest.
    pub fn max(&self) -> Option<f64> {
        self.0.last().copied()
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> Option<f64> {
        mean(&self.0)
    }

    /// The standard deviation of a population (numpy's `ddof=0`).
    pub fn population_std(&self) -> Option<f64> {
        Some((self.squared_deviations()? / self.0.len() as f64).sqrt())
    }

    /// The standard deviation estimated from a sample (`ddof=1`); one value has none.
    pub fn sample_std(&self) -> Option<f64> {
        let degrees = self.0.len().checked_sub(1).filter(|degrees| 0 < *degrees)?;
        Some((self.squared_deviations()? / degrees as f64).sqrt())
    }

    /// The percentile `q`, from 0 to 100, by linear interpolation at rank `q / 100 * (n - 1)`.
    pub fn percentile(&self, q: f64) -> Option<f64> {
        let (below, share) = rank(q, self.0.len())?;
        let low = *self.0.get(below)?;
        Some(between(low, self.0.get(below + 1).copied().unwrap_or(low), share))
    }

    /// The statistic of a metric's card.
    pub fn stat(&self, stat: Stat) -> Option<f64> {
        match stat {
            Stat::Mean => self.mean(),
            Stat::Median => self.percentile(50.0),
            Stat::Std => self.population_std(),
            Stat::P90 => self.percentile(90.0),
            Stat::P95 => self.percentile(95.0),
            Stat::P99 => self.percentile(99.0),
        }
    }

    fn squared_deviations(&self) -> Option<f64> {
        let mean = self.mean()?;
        Some(self.0.iter().map(|value| (value - mean).powi(2)).sum())
    }
}

/// The statistic of values in any order, as [`Samples`] has it but for rounding. It takes time in
/// proportion to their number, and leaves them in another order.
pub(crate) fn stat_of(values: &mut [f64], stat: Stat) -> Option<f64> {
    let percentile = match stat {
        Stat::Mean => return mean(values),
        Stat::Std => {
            let mean = mean(values)?;
            let deviations = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            return Some((deviations / values.len() as f64).sqrt());
        }
        Stat::Median => 50.0,
        Stat::P90 => 90.0,
        Stat::P95 => 95.0,
        Stat::P99 => 99.0,
    };
    let (below, share) = rank(percentile, values.len())?;
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(*low);
    Some(between(*low, high, share))
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Where the percentile `q` lies among so many sorted values: behind which, and how far towards
/// the next.
fn rank(q: f64, count: usize) -> Option<(usize, f64)> {
    let rank = q / 100.0 * count.checked_sub(1)? as f64;
    // The rank lies between 0 and the last, so the cast is exact.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let below = rank.floor() as usize;
    Some((below, rank - rank.floor()))
}

/// The point `share` of the way from `low` to `high`, from the nearer end, as numpy does it: the
/// result then never leaves the two.
fn between(low: f64, high: f64, share: f64) -> f64 {
    let width = high - low;
    if share < 0.5 { low + width * share } else { high - width * (1.0 - share) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentiles_interpolate_as_numpy_does() {
        let samples = Samples::new(vec![40.0, 10.0, 30.0, 20.0]);
        assert_eq!(samples.percentile(0.0), Some(10.0));
        assert_eq!(samples.percentile(50.0), Some(25.0));
        assert_eq!(samples.percentile(90.0), Some(37.0));
        assert_eq!(samples.percentile(99.0), Some(39.699_999_999_999_996));
        assert_eq!(samples.percentile(100.0), Some(40.0));
    }

    #[test]
    fn the_two_standard_deviations_differ_in_their_divisor() {
        let samples = Samples::new(vec![2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!(samples.population_std(), Some(2.0));
        assert_eq!(samples.sample_std(), Some((32.0_f64 / 7.0).sqrt()));
    }

    #[test]
    fn a_statistic_of_nothing_is_absent() {
        let nothing = Samples::new(Vec::new());
        for stat in Stat::ALL {
            assert_eq!(nothing.stat(stat), None, "{stat:?}");
        }
        assert_eq!((nothing.min(), nothing.max(), nothing.sample_std()), (None, None, None));
        assert_eq!(Samples::new(vec![3.0]).sample_std(), None);
    }

    proptest! {
        #[test]
        fn values_in_any_order_have_the_statistics_of_the_sorted(
            mut values in prop::collection::vec(0.0..1e6_f64, 0..60),
        ) {
            let sorted = Samples::new(values.clone());
            for stat in Stat::ALL {
                match (stat_of(&mut values, stat), sorted.stat(stat)) {
                    (Some(quick), Some(exact)) => {
                        prop_assert!((quick - exact).abs() <= 1e-9 * exact.max(1.0));
                    }
                    (quick, exact) => prop_assert_eq!(quick, exact),
                }
            }
        }

        #[test]
        fn percentiles_rise_within_the_range(
            values in prop::collection::vec(0.0..1e9_f64, 1..60),
            q in 0.0..100.0_f64,
        ) {
            let samples = Samples::new(values);
            let (min, max) = (samples.min().unwrap(), samples.max().unwrap());
            let at = samples.percentile(q).unwrap();
            prop_assert!(min <= at && at <= max);
            prop_assert!(at <= samples.percentile((q + 1.0).min(100.0)).unwrap());
        }
    }
}
