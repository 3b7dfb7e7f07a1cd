//! The datasets `random` and `random-ids`: drawn lengths, filled with text or with consecutive ids.

use std::iter::repeat_with;

use domain::profile::Profile;

use super::{Row, WorkloadError};
use crate::rng::{Numpy, Python};
use crate::tokenizer::Tokenizer;

/// Drawn lengths of one request, in tokens.
pub(super) struct Lengths {
    prompt: u32,
    output: u32,
}

/// Draws the lengths of all requests: first every prompt's, then every answer's.
///
/// The tokenizer's own special tokens are taken off the prompt's length after the draw.
pub(super) fn lengths(profile: &Profile, tokenizer: &Tokenizer, rng: &mut Numpy) -> Vec<Lengths> {
    let ratio = profile.random_range_ratio;
    let n = profile.num_prompts as usize;
    let mut draw = |longest: u32| -> Vec<u32> {
        let shortest = shortest(longest, ratio);
        repeat_with(|| rng.integer(shortest, longest - shortest)).take(n).collect()
    };
    let (prompts, outputs) = (draw(profile.random_input_len), draw(profile.random_output_len));
    let specials = tokenizer.special_tokens_added();
    let lengths = prompts.into_iter().zip(outputs);
    lengths
        .map(|(prompt, output)| Lengths { prompt: prompt.saturating_sub(specials).max(1), output })
        .collect()
}

/// The shortest length: a share of the longest, rounded down, and at least 1.
fn shortest(longest: u32, ratio: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the ratio is 0 to 1, so that the product lies between 0 and a u32"
    )]
    let share = (f64::from(longest) * ratio) as u32;
    share.max(1)
}

/// `random-ids`: request i has the ids offset_i + i, offset_i + i + 1, … around the vocabulary.
pub(super) fn consecutive_ids(
    lengths: &[Lengths],
    tokenizer: &Tokenizer,
    rng: &mut Numpy,
) -> Result<Vec<Row>, WorkloadError> {
    let vocab = tokenizer.vocab_size();
    let last = vocab.checked_sub(1).ok_or(WorkloadError::EmptyVocabulary)?;
    let offsets: Vec<u32> = lengths.iter().map(|_| rng.integer(0, last)).collect();
    let mut ids = Vec::new();
    let rows = (0u64..).zip(lengths.iter().zip(offsets)).map(|(i, (length, offset))| {
        let first = (u64::from(offset) + i) % u64::from(vocab);
        ids.clear();
        // The remainder is below the size of the vocabulary, which is a u32.
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a u32")]
        ids.extend((first..).map(|id| (id % u64::from(vocab)) as u32).take(length.prompt as usize));
        Ok(Row {
            prompt: tokenizer.decode(&ids)?,
            prompt_len: length.prompt,
            output_len: length.output,
        })
    });
    rows.collect()
}

/// `random`: shuffled texts, each cut or repeated to the next drawn length.
///
/// A text without tokens uses up no length. Fewer texts than lengths give fewer rows.
pub(super) fn texts(
    lengths: &[Lengths],
    mut texts: Vec<String>,
    seed: u32,
    tokenizer: &Tokenizer,
) -> Result<Vec<Row>, WorkloadError> {
    Python::seeded(seed).shuffle(&mut texts);
    let mut lengths = lengths.iter();
    let mut rows = Vec::with_capacity(lengths.len());
    for text in texts {
        if lengths.len() == 0 {
            break;
        }
        let ids = tokenizer.encode(&text)?;
        if ids.is_empty() {
            continue;
        }
        if let Some(length) = lengths.next() {
            let ids: Vec<u32> = ids.into_iter().cycle().take(length.prompt as usize).collect();
            rows.push(Row {
                prompt: tokenizer.decode(&ids)?,
                prompt_len: length.prompt,
                output_len: length.output,
            });
        }
    }
    Ok(rows)
}
