//! The datasets `random` and `random-ids`: drawn lengths, filled with text or with consecutive ids.

use std::iter::zip;

use domain::profile::{Dataset, Profile, PromptForm};

use super::streams::{Streams, shortest};
use super::{Prompt, Row, WorkloadError, conversations, prompts};
use crate::tokenizer::Tokenizer;

/// Drawn lengths of one request, in tokens.
struct Lengths {
    prompt: u32,
    output: u32,
}

/// The requests of either dataset.
pub(super) fn rows(
    profile: &Profile,
    tokenizer: &Tokenizer,
    streams: &mut Streams,
) -> Result<Vec<Row>, WorkloadError> {
    super::at_least_one([
        ("num_prompts", profile.num_prompts),
        ("random_input_len", profile.random_input_len),
        ("random_output_len", profile.random_output_len),
    ])?;
    super::fraction("random_range_ratio", profile.random_range_ratio)?;
    let lengths = lengths(profile, tokenizer, streams);
    let ids = match (profile.dataset_name, &profile.dataset_path) {
        (Dataset::Random, Some(path)) => {
            let ids = texts(&lengths, conversations::share_gpt(path)?, streams, tokenizer)?;
            if ids.is_empty() {
                return Err(WorkloadError::NothingUsable { path: path.clone() });
            }
            ids
        }
        (dataset @ Dataset::Random, None) => return Err(WorkloadError::NoFile { dataset }),
        (
            Dataset::RandomIds
            | Dataset::GeneratedSharedPrefix
            | Dataset::Sharegpt
            | Dataset::Custom,
            _,
        ) => consecutive_ids(&lengths, tokenizer, streams)?,
    };
    let prompts = prompts(profile.workload.prompts, ids, tokenizer)?;
    Ok(zip(lengths, prompts).map(|(length, prompt)| length.row(prompt)).collect())
}

impl Lengths {
    const fn row(self, prompt: Prompt) -> Row {
        Row { prompt, prompt_len: self.prompt, output_len: self.output }
    }
}

/// Draws the lengths of all requests: first every prompt's, then every answer's.
///
/// The tokenizer's own special tokens are taken off a text's length after the draw, because the
/// server puts them on again.
fn lengths(profile: &Profile, tokenizer: &Tokenizer, streams: &mut Streams) -> Vec<Lengths> {
    let (n, ratio) = (profile.num_prompts as usize, profile.random_range_ratio);
    let compat = profile.workload.compat;
    let (longest_in, longest_out) = (profile.random_input_len, profile.random_output_len);
    let inputs = streams.lengths(shortest(longest_in, ratio, 1), longest_in, n);
    // Before 0.5.7 an answer could be asked to have no token.
    let least_out = u32::from(compat.at_least([0, 5, 7]));
    let outputs = streams.lengths(shortest(longest_out, ratio, least_out), longest_out, n);
    let takes_off = profile.workload.prompts == PromptForm::Text && compat.at_least([0, 5, 9]);
    let specials = if takes_off { tokenizer.special_tokens_added() } else { 0 };
    // 0.5.9 alone could leave nothing of a prompt.
    let least_in = u32::from(compat.at_least([0, 5, 10]) || !takes_off);
    zip(inputs, outputs)
        .map(|(input, output)| Lengths {
            prompt: input.saturating_sub(specials).max(least_in),
            output,
        })
        .collect()
}

/// `random-ids`: request i has the ids offset_i + i, offset_i + i + 1, … around the vocabulary.
fn consecutive_ids(
    lengths: &[Lengths],
    tokenizer: &Tokenizer,
    streams: &mut Streams,
) -> Result<Vec<Vec<u32>>, WorkloadError> {
    let vocab = tokenizer.vocab_size();
    let last = vocab.checked_sub(1).ok_or(WorkloadError::EmptyVocabulary)?;
    let offsets = streams.texts(last, lengths.len());
    let rows = (0u64..).zip(zip(lengths, offsets)).map(|(i, (length, offset))| {
        // A remainder of a u32 is one.
        #[expect(clippy::cast_possible_truncation, reason = "a remainder of a u32")]
        let first = ((u64::from(offset) + i) % u64::from(vocab)) as u32;
        let around = (first..vocab).chain((0..vocab).cycle());
        around.take(length.prompt as usize).collect()
    });
    Ok(rows.collect())
}

/// `random`: shuffled texts, each cut or repeated to the next drawn length.
///
/// A text without tokens uses up no length. Fewer texts than lengths give fewer rows.
fn texts(
    lengths: &[Lengths],
    mut texts: Vec<(String, String)>,
    streams: &mut Streams,
    tokenizer: &Tokenizer,
) -> Result<Vec<Vec<u32>>, WorkloadError> {
    streams.python.shuffle(&mut texts);
    let mut lengths = lengths.iter();
    let mut rows = Vec::with_capacity(lengths.len());
    for (text, _) in texts {
        if lengths.len() == 0 {
            break;
        }
        let ids = tokenizer.encode(&text)?;
        if ids.is_empty() {
            continue;
        }
        if let Some(length) = lengths.next() {
            rows.push(ids.into_iter().cycle().take(length.prompt as usize).collect());
        }
    }
    Ok(rows)
}
