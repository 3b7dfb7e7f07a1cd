//! When each request is due: decided before the run, as a pure schedule.
//!
//! Due times count from the run's start and are absolute, so that lateness of one request never
//! shifts the next one.

use std::time::Duration;

use domain::profile::{Arrivals, RequestRate};

use crate::rng::Numpy;

/// The due times of a load, without end, in order.
///
/// The first request is due at once. Poisson gaps are read from the generator that drew the
/// request set, as the Python tool does.
pub(crate) fn due_times(
    rate: RequestRate,
    arrivals: Arrivals,
    mut rng: Numpy,
) -> impl Iterator<Item = Duration> {
    let mut due_s = 0.0;
    (0u32..).map(move |index| {
        let Some(per_second) = rate.per_second() else { return Duration::ZERO };
        let now_s = match arrivals {
            // A product and not a sum of gaps, so that rounding does not add up.
            Arrivals::Constant => f64::from(index) / per_second,
            Arrivals::Poisson => {
                let now_s = due_s;
                due_s += (1.0 / per_second) * rng.exponential();
                now_s
            }
        };
        // A rate near zero puts a request beyond what a duration holds: it is never due.
        Duration::try_from_secs_f64(now_s).unwrap_or(Duration::MAX)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn due(rate: &str, arrivals: Arrivals, seed: u32, n: usize) -> Vec<Duration> {
        due_times(rate.parse().unwrap(), arrivals, Numpy::seeded(seed)).take(n).collect()
    }

    #[test]
    fn without_a_rate_everything_is_due_at_once() {
        for arrivals in Arrivals::ALL {
            assert_eq!(due("inf", *arrivals, 1, 3), [Duration::ZERO; 3]);
        }
    }

    #[test]
    fn poisson_gaps_are_the_exponentials_of_numpy() {
        let mut rng = Numpy::seeded(42);
        let gaps = [rng.exponential() / 4.0, rng.exponential() / 4.0];
        let [_, first, second] = due("4", Arrivals::Poisson, 42, 3)[..] else { panic!() };
        assert_eq!(first, Duration::from_secs_f64(gaps[0]));
        assert_eq!(second, Duration::from_secs_f64(gaps[0] + gaps[1]));
    }

    #[test]
    fn the_mean_gap_is_one_over_the_rate() {
        for arrivals in Arrivals::ALL {
            let last = due("50", *arrivals, 7, 20_001)[20_000].as_secs_f64();
            let mean = last / 20_000.0;
            assert!((mean - 0.02).abs() < 0.02 * 0.03, "{arrivals}: {mean}");
        }
    }

    proptest! {
        #[test]
        fn a_schedule_starts_at_zero_and_never_goes_back(
            rate in 1e-9..1e9f64, seed: u32, poisson: bool, n in 1..200usize,
        ) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Constant };
            let due = due(&rate.to_string(), arrivals, seed, n);
            prop_assert_eq!(due.len(), n);
            prop_assert_eq!(due[0], Duration::ZERO);
            prop_assert!(due.is_sorted());
        }
    }
}
