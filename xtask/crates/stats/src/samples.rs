//! Statistics over samples, by numpy's definitions, so that numbers agree with those of the
//! Python tool. A statistic of nothing is `None`.

use domain::metric::Stat;

use crate::time::NS_PER_MS;

/// Samples in ascending order.
///
/// Sums run over the sorted values, so the order in which samples were taken changes no digit.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Each different value once.
    steps: Vec<Step>,
}

/// A value and how many samples are not above it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    value: f64,
    up_to: usize,
}

/// Samples in the order in which they were taken.
///
/// Equal neighbours are counted instead of kept: where a server is faster than its client, nearly
/// all gaps of a run are zero.
#[derive(Clone, Debug)]
pub(crate) struct Gathered {
    runs: Vec<Run>,
}

/// A value and how many samples have it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    value: f64,
    count: usize,
}

impl Gathered {
    /// No samples.
    pub(crate) const fn new() -> Self {
        Self { runs: Vec::new() }
    }

    /// Adds `count` samples of one value.
    pub(crate) fn push(&mut self, value: f64, count: usize) {
        match self.runs.last_mut() {
            Some(last) if last.value.to_bits() == value.to_bits() => last.count += count,
            _ if count == 0 => {}
            _ => self.runs.push(Run { value, count }),
        }
    }

    /// Adds times in ns as samples in ms.
    pub(crate) fn extend_ms(&mut self, times_ns: impl Iterator<Item = u64>) {
        // To compare is cheaper than to divide.
        let (mut run_ns, mut count) = (0, 0);
        for ns in times_ns {
            if ns != run_ns {
                self.push(run_ns as f64 / NS_PER_MS, count);
                (run_ns, count) = (ns, 0);
            }
            count += 1;
        }
        self.push(run_ns as f64 / NS_PER_MS, count);
    }

    /// Sorts the samples.
    pub(crate) fn sorted(self) -> Samples {
        let Self { mut runs } = self;
        runs.sort_unstable_by(|one, other| one.value.total_cmp(&other.value));
        let (mut steps, mut up_to) = (Vec::<Step>::new(), 0);
        for Run { value, count } in runs {
            up_to += count;
            match steps.last_mut() {
                Some(last) if last.value.to_bits() == value.to_bits() => last.up_to = up_to,
                _ => steps.push(Step { value, up_to }),
            }
        }
        Samples { steps }
    }
}

impl FromIterator<f64> for Gathered {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        let values = values.into_iter();
        let mut gathered = Self { runs: Vec::with_capacity(values.size_hint().0) };
        values.for_each(|value| gathered.push(value, 1));
        gathered
    }
}

impl Samples {
    /// Sorts the values.
    pub fn new(values: Vec<f64>) -> Self {
        values.into_iter().collect::<Gathered>().sorted()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.steps.last().map_or(0, |step| step.up_to)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The smallest.
    pub fn min(&self) -> Option<f64> {
        self.steps.first().map(|step| step.value)
    }

    /// The largest.
    pub fn max(&self) -> Option<f64> {
        self.steps.last().map(|step| step.value)
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> Option<f64> {
        (!self.is_empty()).then(|| sum(self.each()) / self.len() as f64)
    }

    /// The standard deviation of a population (numpy's `ddof=0`).
    pub fn population_std(&self) -> Option<f64> {
        Some((self.squared_deviations()? / self.len() as f64).sqrt())
    }

    /// The standard deviation estimated from a sample (`ddof=1`); one value has none.
    pub fn sample_std(&self) -> Option<f64> {
        let degrees = self.len().checked_sub(1).filter(|degrees| 0 < *degrees)?;
        Some((self.squared_deviations()? / degrees as f64).sqrt())
    }

    /// The percentile `q`, from 0 to 100, by linear interpolation at rank `q / 100 * (n - 1)`.
    pub fn percentile(&self, q: f64) -> Option<f64> {
        let (below, share) = rank(q, self.len())?;
        let low = self.at(below)?;
        Some(between(low, self.at(below + 1).unwrap_or(low), share))
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

    /// The sample at `place`, counted from the smallest.
    fn at(&self, place: usize) -> Option<f64> {
        let step = self.steps.partition_point(|step| step.up_to <= place);
        self.steps.get(step).map(|step| step.value)
    }

    /// Each different value, and how many samples have it.
    fn each(&self) -> impl Iterator<Item = (f64, usize)> {
        self.steps.iter().scan(0, |before, step| {
            let count = step.up_to - *before;
            *before = step.up_to;
            Some((step.value, count))
        })
    }

    fn squared_deviations(&self) -> Option<f64> {
        let mean = self.mean()?;
        Some(sum(self.each().map(|(value, count)| ((value - mean).powi(2), count))))
    }
}

/// The sum of values that each stand so many times.
fn sum(runs: impl Iterator<Item = (f64, usize)>) -> f64 {
    runs.map(|(value, count)| value * count as f64).sum()
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
        fn counted_samples_have_the_statistics_of_each_by_itself(
            values in prop::collection::vec((prop_oneof![Just(0.0), 0.0..1e3_f64], 0..40_usize), 1..30),
        ) {
            let (mut gathered, mut plain) = (Gathered::new(), Vec::new());
            for (value, count) in values {
                gathered.push(value, count);
                plain.extend(std::iter::repeat_n(value, count));
            }
            let samples = gathered.sorted();
            plain.sort_by(f64::total_cmp);
            prop_assert_eq!(samples.len(), plain.len());
            let each: Vec<_> = (0..=plain.len()).map(|place| samples.at(place)).collect();
            let known: Vec<_> = (0..=plain.len()).map(|place| plain.get(place).copied()).collect();
            prop_assert_eq!(each, known);
            let mean = plain.iter().sum::<f64>() / plain.len() as f64;
            let deviations = plain.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            let near = |one: Option<f64>, other: f64| {
                one.map_or(plain.is_empty(), |one| (one - other).abs() <= 1e-9 * other.max(1.0))
            };
            prop_assert!(near(samples.mean(), mean));
            prop_assert!(near(samples.squared_deviations(), deviations));
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
