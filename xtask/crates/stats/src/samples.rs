//! Statistics over samples, by numpy's definitions, so that numbers agree with those of the
//! Python tool. A statistic of nothing is `None`.

use domain::metric::Stat;

use crate::metrics::NS_PER_MS;

/// Samples in ascending order.
///
/// Sums run over the sorted values, so the order in which samples were taken changes no digit.
#[derive(Clone, Debug, PartialEq)]
pub struct Samples {
    /// Different values; `count` is how many samples are not above it.
    runs: Vec<Run>,
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

    /// The arithmetic mean, summed in the order in which the samples were taken.
    pub(crate) fn mean(&self) -> Option<f64> {
        let count: usize = self.runs.iter().map(|run| run.count).sum();
        let of_each = |run: &Run| (run.value, run.count);
        (0 < count).then(|| sum(self.runs.iter().map(of_each)) / count as f64)
    }

    /// Sorts the samples.
    pub(crate) fn sorted(self) -> Samples {
        let Self { mut runs } = self;
        runs.sort_unstable_by(|one, other| one.value.total_cmp(&other.value));
        runs.dedup_by(|later, kept| {
            let same = later.value.to_bits() == kept.value.to_bits();
            kept.count += if same { later.count } else { 0 };
            same
        });
        let mut before = 0;
        for run in &mut runs {
            before += run.count;
            run.count = before;
        }
        Samples { runs }
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
        self.runs.last().map_or(0, |run| run.count)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The smallest.
    pub fn min(&self) -> Option<f64> {
        self.runs.first().map(|run| run.value)
    }

    /// The largest.
    pub fn max(&self) -> Option<f64> {
        self.runs.last().map(|run| run.value)
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
        let run = self.runs.partition_point(|run| run.count <= place);
        self.runs.get(run).map(|run| run.value)
    }

    /// Each different value, and how many samples have it.
    fn each(&self) -> impl Iterator<Item = (f64, usize)> {
        self.runs.iter().scan(0, |before, run| {
            let count = run.count - *before;
            *before = run.count;
            Some((run.value, count))
        })
    }

    fn squared_deviations(&self) -> Option<f64> {
        let mean = self.mean()?;
        Some(sum(self.each().map(|(value, count)| ((value - mean).powi(2), count))))
    }
}

/// The sum of values that each stand so many times, as adding all of them one by one gives it.
fn sum(runs: impl Iterator<Item = (f64, usize)>) -> f64 {
    runs.fold(0.0, |sum, (value, count)| add_repeatedly(sum, value, count))
}

/// Adds `value` to `sum` so many times, with the rounding of each of these additions.
///
/// Between two powers of two all numbers are equally far apart. From the second addition on that
/// stays there, each rounds in the same way (a tie ends at an even number, after which all ties are
/// alike), so that many of them are one multiplication, which is exact.
fn add_repeatedly(mut sum: f64, value: f64, mut count: usize) -> f64 {
    while 0 < count && value != 0.0 {
        let before = sum;
        sum += value;
        count -= 1;
        if 0 < count && 0.0 < before && 0.0 <= value && sum <= greatest_alike(before) {
            let step = sum + value - sum;
            let room = greatest_alike(sum) - sum;
            // Nothing here is negative, and what is no number becomes zero.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let steps = ((room / step) as usize).saturating_sub(1).min(count);
            sum += steps as f64 * step;
            count -= steps;
        }
    }
    sum
}

/// The greatest number with the exponent of `number`, which is positive.
fn greatest_alike(number: f64) -> f64 {
    f64::from_bits(number.to_bits() | ((1 << (f64::MANTISSA_DIGITS - 1)) - 1))
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
            let mean_of = |values: &[f64]| {
                (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
            };
            prop_assert_eq!(gathered.mean(), mean_of(&plain));
            let samples = gathered.sorted();
            plain.sort_by(f64::total_cmp);
            prop_assert_eq!(samples.len(), plain.len());
            let each: Vec<_> = (0..=plain.len()).map(|place| samples.at(place)).collect();
            let known: Vec<_> = (0..=plain.len()).map(|place| plain.get(place).copied()).collect();
            prop_assert_eq!(each, known);
            let mean = mean_of(&plain);
            prop_assert_eq!(samples.mean(), mean);
            let deviations = mean.map(|mean| plain.iter().map(|v| (v - mean).powi(2)).sum::<f64>());
            prop_assert_eq!(samples.squared_deviations(), deviations);
        }

        #[test]
        fn adding_many_times_at_once_rounds_like_adding_one_by_one(
            sum in prop_oneof![Just(0.0), 0.0..1e6_f64, (1..1000_u32).prop_map(f64::from)],
            value in prop_oneof![
                Just(0.0),
                0.0..1.0_f64,
                (any::<u64>(), -60..10_i32).prop_map(|(m, e)| (m >> 11) as f64 * 2_f64.powi(e - 53)),
                (0..9_u32, 0..60_i32).prop_map(|(m, e)| f64::from(m) * 2_f64.powi(-e)),
            ],
            count in 0..5000_usize,
        ) {
            let one_by_one = (0..count).fold(sum, |sum, _| sum + value);
            prop_assert_eq!(add_repeatedly(sum, value, count).to_bits(), one_by_one.to_bits());
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
