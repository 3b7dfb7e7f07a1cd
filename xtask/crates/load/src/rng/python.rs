//! `random` after `random.seed(S)`: CPython's global generator.

use super::twister::Twister;

/// The generator of CPython's `random`.
pub(crate) struct Python(Twister);

impl Python {
    /// `random.seed(seed)`.
    pub(crate) fn seeded(seed: u32) -> Self {
        Self(Twister::from_key(&[seed]))
    }

    /// `random.shuffle(items)`.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i + 1);
            items.swap(i, j);
        }
    }

    /// One index of `random.choices(items, k)` for `n` items.
    pub(crate) fn choice(&mut self, n: usize) -> usize {
        // A product of a number below 1 is below `n`, and a vocabulary is far below 2^53.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "Python rounds in the same way"
        )]
        let index = (self.0.fraction() * n as f64) as usize;
        index
    }

    /// `random._randbelow(n)` for 1 to 2^32 - 1: as many high bits as `n` has, until they are
    /// below it.
    fn below(&mut self, n: usize) -> usize {
        let bits = usize::BITS - n.leading_zeros();
        loop {
            let drawn = (self.0.word() >> (32 - bits)) as usize;
            if drawn < n {
                return drawn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_is_that_of_cpython() {
        let mut rng = Python::seeded(42);
        let mut items: Vec<u32> = (0..10).collect();
        rng.shuffle(&mut items);
        assert_eq!(items, [7, 3, 2, 8, 5, 6, 9, 4, 0, 1]);
        let choices: Vec<usize> = (0..8).map(|_| rng.choice(2000)).collect();
        assert_eq!(choices, [1180, 63, 187, 465, 1204, 1122, 1432, 1402]);
    }
}
