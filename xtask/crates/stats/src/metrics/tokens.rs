//! Which chunk brought how many tokens.

use domain::request::RequestRecord;

/// Longest answer that is believed, in tokens: more than any model's context. A count beyond it is
/// a fault of the server, and gaps are made per token, so it must not fill the memory.
const LONGEST_ANSWER: u32 = 1 << 22;

/// Tokens in each chunk of a request, in the order of the chunks.
///
/// Where the stream tells, that is it. Where only the total is known, tokens are spread over the
/// chunks as evenly as whole numbers allow, the first chunk first: with as many chunks as tokens
/// that is one each, with more chunks some bring none.
pub fn tokens_per_chunk(record: &RequestRecord) -> Vec<u32> {
    let told: Option<Vec<u32>> = record.chunks.iter().map(|chunk| chunk.tokens).collect();
    let believed =
        |told: &Vec<u32>| told.iter().map(|n| u64::from(*n)).sum::<u64>() <= LONGEST_ANSWER.into();
    told.filter(believed)
        .unwrap_or_else(|| spread(record.output_tokens().min(LONGEST_ANSWER), record.chunks.len()))
}

fn spread(tokens: u32, chunks: usize) -> Vec<u32> {
    let (tokens, chunks) = (u64::from(tokens), chunks as u64);
    let after = |chunk: u64| (tokens * chunk).div_ceil(chunks);
    let share = |chunk| u32::try_from(after(chunk + 1) - after(chunk)).unwrap_or(u32::MAX);
    (0..chunks).map(share).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
        }
    }
}
