//! `numpy.random` after `numpy.random.seed(S)`: the legacy global generator.

use super::twister::Twister;

/// The legacy generator of numpy.
#[derive(Clone)]
pub(crate) struct Numpy(Twister);

impl Numpy {
    /// `numpy.random.seed(seed)`.
    pub(crate) fn seeded(seed: u32) -> Self {
        Self(Twister::from_word(seed))
    }

    /// One element of `numpy.random.randint(low, low + span + 1, size=n)`.
    ///
    /// numpy draws nothing at all where only one value is possible.
    pub(crate) fn integer(&mut self, low: u32, span: u32) -> u32 {
        if span == 0 {
            return low;
        }
        let mask = u32::MAX >> span.leading_zeros();
        loop {
            let drawn = self.0.word() & mask;
            if drawn <= span {
                return low + drawn;
            }
        }
    }

    /// `numpy.random.exponential(1.0)`.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.0.fraction()).ln()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn integers(rng: &mut Numpy, low: u32, high: u32, n: usize) -> Vec<u32> {
        (0..n).map(|_| rng.integer(low, high - 1 - low)).collect()
    }

    #[test]
    fn lengths_offsets_and_gaps_are_those_of_numpy() {
        let mut rng = Numpy::seeded(42);
        assert_eq!(integers(&mut rng, 1, 1025, 6), [103, 436, 861, 271, 107, 72]);
        assert_eq!(integers(&mut rng, 1, 1025, 6), [701, 21, 615, 122, 467, 215]);
        assert_eq!(
            integers(&mut rng, 0, 128_000, 6),
            [37194, 87498, 112_727, 126_324, 44131, 60263]
        );
        let gaps = [(); 3].map(|()| format!("{:.9}", rng.exponential() / 4.0));
        assert_eq!(gaps, ["0.307812515", "0.005199827", "0.875889369"]);
    }

    #[test]
    fn a_single_possible_value_draws_nothing() {
        let mut rng = Numpy::seeded(42);
        assert_eq!(rng.integer(32, 0), 32);
        assert_eq!(
            integers(&mut rng, 0, 2000, 6),
            [1126, 1459, 860, 1294, 1130, 1095],
            "the stream still stands at its first word"
        );
    }

    proptest! {
        #[test]
        fn an_integer_stays_in_its_range(seed: u32, low in 0..1_000_000u32, span in 0..1_000_000u32) {
            let drawn = Numpy::seeded(seed).integer(low, span);
            prop_assert!(low <= drawn && drawn <= low + span);
        }
    }
}
