//! The Mersenne Twister MT19937 of Matsumoto and Nishimura, 2002 version.

/// Words of state.
const WORDS: usize = 624;
/// Distance of the word that is mixed in.
const MIDDLE: usize = 397;

/// The generator's state and the position of the next word in it.
#[derive(Clone)]
pub(super) struct Twister {
    state: [u32; WORDS],
    next: usize,
}

impl Twister {
    /// `init_genrand`: from one word.
    pub(super) fn from_word(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        let mut last = seed;
        for (word, i) in state.iter_mut().skip(1).zip(1u32..) {
            last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i);
            *word = last;
        }
        Self { state, next: WORDS }
    }

    /// `init_by_array`: from a key of any length but zero.
    pub(super) fn from_key(key: &[u32]) -> Self {
        let mut twister = Self::from_word(19_650_218);
        let state = &mut twister.state;
        let mut i = 1;
        // Both loops write word i from word i - 1 and wrap from the last word to the first.
        let wrap = |state: &mut [u32; WORDS], i: &mut usize| {
            *i += 1;
            if *i == WORDS {
                state[0] = state[WORDS - 1];
                *i = 1;
            }
        };
        let rounds = key.iter().zip(0u32..).cycle().take(WORDS.max(key.len()));
        for (word, j) in rounds {
            let mixed = (state[i - 1] ^ (state[i - 1] >> 30)).wrapping_mul(1_664_525);
            state[i] = (state[i] ^ mixed).wrapping_add(*word).wrapping_add(j);
            wrap(state, &mut i);
        }
        for _ in 1..WORDS {
            let mixed = (state[i - 1] ^ (state[i - 1] >> 30)).wrapping_mul(1_566_083_941);
            // The index is below 624.
            #[expect(clippy::cast_possible_truncation, reason = "an index into 624 words")]
            let index = i as u32;
            state[i] = (state[i] ^ mixed).wrapping_sub(index);
            wrap(state, &mut i);
        }
        state[0] = 0x8000_0000;
        twister
    }

    /// The next 32 random bits.
    pub(super) fn word(&mut self) -> u32 {
        if self.next == WORDS {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A random number in [0, 1) with 53 bits, from two words.
    pub(super) fn fraction(&mut self) -> f64 {
        let high = f64::from(self.word() >> 5);
        let low = f64::from(self.word() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    fn refill(&mut self) {
        for i in 0..WORDS {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % WORDS] & 0x7fff_ffff);
            let odd = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + MIDDLE) % WORDS] ^ (mixed >> 1) ^ odd;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_outputs_of_both_seedings() {
        // First outputs in the authors' `mt19937ar.out`, and the 10,000th of C++'s mt19937.
        let mut by_key = Twister::from_key(&[0x123, 0x234, 0x345, 0x456]);
        assert_eq!(
            [by_key.word(), by_key.word(), by_key.word()],
            [1_067_595_299, 955_945_823, 477_289_528]
        );
        let mut by_word = Twister::from_word(5489);
        assert_eq!((0..10_000).map(|_| by_word.word()).last(), Some(4_123_659_995));
    }
}
