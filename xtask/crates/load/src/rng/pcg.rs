//! `numpy.random.default_rng(S)`: PCG64, seeded through numpy's `SeedSequence`.

/// The multiplier of the 128-bit generator.
const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;
/// Words in the pool of a seed sequence.
const POOL: usize = 4;

/// numpy's newer generator.
pub(crate) struct DefaultRng {
    state: u128,
    increment: u128,
}

impl DefaultRng {
    /// `numpy.random.default_rng(seed)`.
    pub(crate) fn seeded(seed: u32) -> Self {
        let [state_high, state_low, stream_high, stream_low] = seed_words(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let mut rng = Self { state: 0, increment: wide(stream_high, stream_low) << 1 | 1 };
        rng.step();
        rng.state = rng.state.wrapping_add(wide(state_high, state_low));
        rng.step();
        rng
    }

    /// `rng.choice(len(weights), size=n, replace=True, p=weights / weights.sum())`.
    pub(crate) fn choices(&mut self, weights: &[f64], n: usize) -> Vec<usize> {
        let total = pairwise_sum(weights);
        let mut sum = 0.0;
        let sums: Vec<f64> = weights
            .iter()
            .map(|weight| {
                sum += weight / total;
                sum
            })
            .collect();
        let upto: Vec<f64> = sums.iter().map(|part| part / sum).collect();
        let draw = |_| {
            let drawn = self.fraction();
            upto.partition_point(|part| *part <= drawn)
        };
        (0..n).map(draw).collect()
    }

    /// A number in [0, 1) with 53 bits.
    fn fraction(&mut self) -> f64 {
        // 53 bits are what a double holds.
        #[expect(clippy::cast_precision_loss, reason = "53 bits")]
        let bits = (self.word() >> 11) as f64;
        bits / 9_007_199_254_740_992.0
    }

    fn word(&mut self) -> u64 {
        self.step();
        #[expect(clippy::cast_possible_truncation, reason = "the two halves and the top six bits")]
        let (high, low, turn) =
            ((self.state >> 64) as u64, self.state as u64, (self.state >> 122) as u32);
        (high ^ low).rotate_right(turn)
    }

    const fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }
}

/// `SeedSequence(seed).generate_state(4, uint64)`.
fn seed_words(seed: u32) -> [u64; 4] {
    let mut factor = 0x43b0_d7e5_u32;
    let mut hash = |value: u32| {
        let mixed = value ^ factor;
        factor = factor.wrapping_mul(0x931e_8875);
        fold(mixed.wrapping_mul(factor))
    };
    let mut pool = [hash(seed), hash(0), hash(0), hash(0)];
    for from in 0..POOL {
        for to in (0..POOL).filter(|to| *to != from) {
            let (left, right) = (pool[to], hash(pool[from]));
            let mixed = left.wrapping_mul(0xca01_f9dd);
            pool[to] = fold(mixed.wrapping_sub(right.wrapping_mul(0x4973_f715)));
        }
    }
    let mut factor = 0x8b51_f9dd_u32;
    let mut next = |at: usize| {
        let mixed = pool[at % POOL] ^ factor;
        factor = factor.wrapping_mul(0x58f3_8ded);
        u64::from(fold(mixed.wrapping_mul(factor)))
    };
    [0, 1, 2, 3].map(|word: usize| next(2 * word) | next(2 * word + 1) << 32)
}

const fn fold(value: u32) -> u32 {
    value ^ value >> 16
}

/// `numpy.sum`, whose order of addition decides the last digit.
fn pairwise_sum(values: &[f64]) -> f64 {
    match values.len() {
        0..8 => values.iter().sum(),
        8..=128 => {
            let whole = values.len() / 8 * 8;
            let mut parts = [0.0; 8];
            for eight in values[..whole].chunks_exact(8) {
                parts.iter_mut().zip(eight).for_each(|(part, value)| *part += value);
            }
            let [a, b, c, d, e, f, g, h] = parts;
            let sum = ((a + b) + (c + d)) + ((e + f) + (g + h));
            values[whole..].iter().fold(sum, |sum, value| sum + value)
        }
        n => {
            let half = n / 2 / 8 * 8;
            pairwise_sum(&values[..half]) + pairwise_sum(&values[half..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_and_choices_are_those_of_numpy() {
        // From numpy 2.4.6.
        let mut rng = DefaultRng::seeded(42);
        let drawn = [(); 3].map(|()| format!("{:.17}", rng.fraction()));
        assert_eq!(drawn, ["0.77395604855596334", "0.43887843975205232", "0.85859791991138246"]);
        let choices = |seed, groups: u32, alpha: f64| {
            let weights: Vec<_> =
                (1..=groups).map(|rank| 1.0 / f64::from(rank).powf(alpha)).collect();
            DefaultRng::seeded(seed).choices(&weights, 20)
        };
        assert_eq!(
            choices(42, 5, 1.2),
            [2, 0, 3, 1, 0, 4, 2, 2, 0, 0, 0, 3, 1, 2, 0, 0, 1, 0, 2, 1]
        );
        assert_eq!(
            choices(7, 200, 0.8),
            [44, 138, 85, 3, 6, 126, 0, 103, 93, 19, 6, 5, 4, 17, 24, 31, 196, 91, 43, 192]
        );
        assert_eq!(
            choices(1, 64, 2.0),
            [0, 9, 0, 9, 0, 0, 2, 0, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0]
        );
    }
}
