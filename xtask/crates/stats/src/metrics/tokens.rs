//! Which chunk brought how many tokens.

use domain::request::{Chunk, RequestRecord};

/// Longest answer that is believed, in tokens: more than any model's context. A count beyond it is
/// a fault of the server, and gaps are made per token, so it must not fill the memory.
const LONGEST_ANSWER: u32 = 1 << 22;

/// Each chunk of a request and the tokens in it, in the order of the chunks.
///
/// Where the stream tells, that is it. Where only the total is known, tokens are spread over the
/// chunks as evenly as whole numbers allow, the first chunk first: with as many chunks as tokens
/// that is one each, with more chunks some bring none.
pub fn tokens_per_chunk(record: &RequestRecord) -> impl Iterator<Item = (&Chunk, u32)> {
    let told = record.chunks.iter().try_fold(0_u64, |sum, chunk| {
        let sum = sum + u64::from(chunk.tokens?);
        (sum <= LONGEST_ANSWER.into()).then_some(sum)
    });
    let total = record.output_tokens().min(LONGEST_ANSWER);
    let mut spread = Spread::new(total, record.chunks.len());
    let mut tokens = move |chunk: &Chunk| match told.and(chunk.tokens) {
        Some(tokens) => tokens,
        None => spread.share(),
    };
    record.chunks.iter().map(move |chunk| (chunk, tokens(chunk)))
}

/// Tokens that are spread over chunks: after each the whole number at or above its part of them.
struct Spread {
    chunks: u64,
    /// What every chunk brings.
    each: u32,
    /// Tokens beyond that.
    beyond: u64,
    /// Of those, how many are to be brought, times `chunks`; at or below zero if more were.
    owed: i64,
}

impl Spread {
    fn new(tokens: u32, chunks: usize) -> Self {
        let (tokens, chunks) = (u64::from(tokens), chunks as u64);
        let each = tokens.checked_div(chunks).and_then(|each| u32::try_from(each).ok());
        let beyond = tokens.checked_rem(chunks);
        Self { chunks, each: each.unwrap_or(0), beyond: beyond.unwrap_or(0), owed: 0 }
    }

    /// The tokens of the next chunk.
    fn share(&mut self) -> u32 {
        self.owed = self.owed.saturating_add_unsigned(self.beyond);
        if self.owed <= 0 {
            return self.each;
        }
        self.owed = self.owed.saturating_sub_unsigned(self.chunks);
        self.each + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spread(tokens: u32, chunks: usize) -> Vec<u32> {
        let mut spread = Spread::new(tokens, chunks);
        (0..chunks).map(|_| spread.share()).collect()
    }

    #[test]
    fn tokens_are_spread_evenly_with_the_first_chunk_first() {
        assert_eq!(spread(4, 4), [1, 1, 1, 1]);
        assert_eq!(spread(16, 6), [3, 3, 2, 3, 3, 2]);
        assert_eq!(spread(2, 5), [1, 0, 1, 0, 0]);
        assert_eq!(spread(0, 2), [0, 0]);
        assert_eq!(spread(7, 0), [0; 0]);
    }

    proptest! {
        #[test]
        fn no_token_is_lost_or_made_up(tokens in 0..5000_u32, chunks in 1..300_usize) {
            let spread = spread(tokens, chunks);
            prop_assert_eq!(spread.iter().sum::<u32>(), tokens);
            prop_assert!(spread.iter().max().unwrap() - spread.iter().min().unwrap() <= 1);
            let (mut so_far, chunks) = (0, u32::try_from(chunks).unwrap());
            for (share, nth) in spread.iter().zip(1..) {
                so_far += share;
                prop_assert_eq!(so_far, (tokens * nth).div_ceil(chunks));
            }
        }
    }
}
