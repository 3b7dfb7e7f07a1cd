//! Request sets: what is sent, decided and fixed before the run.
//!
//! For the same profile, seed and tokenizer a set holds the same prompts and lengths as the
//! Python tool of the profile's release sends, to the byte. The order of random draws is therefore
//! part of the format: input lengths, output lengths, prompts, arrival gaps.
//!
//! A repeat of a profile has another seed, and then only the prompts differ: lengths and arrivals
//! are drawn with the profile's own. Repeats do equal work, and none finds the prompts of an
//! earlier one in a prefix cache. (The conversations of `sharegpt` and `custom` have the lengths
//! that they have: there another seed takes other conversations.)

mod body;
mod conversations;
mod json;
mod random;
mod set;
mod shared_prefix;
mod streams;

use std::path::PathBuf;

use domain::hint::Hinted;
use domain::profile::{Dataset, Profile, PromptForm};

use crate::arrivals::due_times;
use crate::tokenizer::{Tokenizer, TokenizerError};

pub use body::{Extra, Logprobs, NotAnObject, Prompt, ToolBodies};
pub use json::Json;
pub use set::{Request, RequestSet};
use streams::Streams;

/// A request set could not be made.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// A number of the profile is out of its range.
    #[error("`{field}` is {value}, it must be {wanted}")]
    OutOfRange {
        /// Field of the profile.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would be allowed.
        wanted: &'static str,
    },
    /// The dataset needs a file.
    #[error("dataset `{dataset}` needs `dataset_path`")]
    NoFile {
        /// The dataset.
        dataset: Dataset,
    },
    /// The file cannot be read.
    #[error("cannot read `{path}`")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is larger than a dataset may be.
    #[error("`{path}` has {bytes} bytes, more than the {limit} that a dataset may have")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is not in ShareGPT's format.
    #[error("`{path}` is not a list of conversations")]
    NotShareGpt {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The file has no conversation that could be used.
    #[error("`{path}` has no conversation of two turns with a prompt")]
    NothingUsable {
        /// The file.
        path: PathBuf,
    },
    /// Releases before this one drew prompts in an order that nobody can know.
    #[error("dataset `{dataset}` of the Python tool can be followed from {since} on")]
    NotReproducible {
        /// The dataset.
        dataset: Dataset,
        /// The first release that can be.
        since: &'static str,
    },
    /// These prompts are texts.
    #[error("prompts of dataset `{dataset}` cannot be sent as token ids")]
    OnlyText {
        /// The dataset.
        dataset: Dataset,
    },
    /// The tokenizer has no words.
    #[error("the tokenizer has an empty vocabulary")]
    EmptyVocabulary,
    /// The tokenizer failed.
    #[error("cannot make the prompts")]
    Tokenizer {
        /// Why.
        #[from]
        source: TokenizerError,
    },
}

impl Hinted for WorkloadError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoFile { .. } => Some(
                "nothing is downloaded: give a local file, or use the dataset `random-ids`, which \
                 needs none"
                    .to_owned(),
            ),
            Self::NotReproducible { .. } => Some("leave out `compat`".to_owned()),
            Self::Tokenizer { source } => source.hint(),
            Self::OutOfRange { .. }
            | Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::NotShareGpt { .. }
            | Self::NothingUsable { .. }
            | Self::OnlyText { .. }
            | Self::EmptyVocabulary => None,
        }
    }
}

/// A prompt and its lengths, before it is given its place and time.
struct Row {
    prompt: Prompt,
    prompt_len: u32,
    output_len: u32,
}

/// Makes the requests of `profile`, drawn with `seed`; where that is not the profile's own, only
/// the prompts are.
///
/// A file with too few usable conversations gives fewer requests, as in the Python tool; compare
/// [`RequestSet::asked`] with [`RequestSet::requests`].
///
/// # Errors
///
/// [`WorkloadError`] when the profile is out of range, its file cannot be used, or the tokenizer
/// fails.
pub fn prepare(
    profile: &Profile,
    seed: u32,
    tokenizer: &Tokenizer,
) -> Result<RequestSet, WorkloadError> {
    let mut streams = Streams::new(profile.seed, seed);
    let rows = match profile.dataset_name {
        Dataset::RandomIds | Dataset::Random => random::rows(profile, tokenizer, &mut streams)?,
        Dataset::GeneratedSharedPrefix => shared_prefix::rows(profile, tokenizer, &mut streams)?,
        Dataset::Sharegpt | Dataset::Custom => {
            conversations::rows(profile, tokenizer, &mut streams)?
        }
    };
    let due = due_times(profile.request_rate, profile.arrivals, streams.into_arrivals());
    let requests = (0u32..).zip(rows).zip(due).map(|((index, row), due)| Request {
        index,
        prompt: row.prompt,
        prompt_len: row.prompt_len,
        output_len: row.output_len,
        due,
    });
    Ok(RequestSet::new(requests.collect(), asked(profile), seed))
}

/// Requests that the profile asks for.
fn asked(profile: &Profile) -> u32 {
    let gsp = &profile.workload.gsp;
    match profile.dataset_name {
        // The Python tool does not read `num_prompts` here.
        Dataset::GeneratedSharedPrefix => gsp.num_groups.saturating_mul(gsp.prompts_per_group),
        Dataset::Random | Dataset::RandomIds | Dataset::Sharegpt | Dataset::Custom => {
            profile.num_prompts
        }
    }
}

/// Refuses the first count that is zero.
fn at_least_one<const N: usize>(counts: [(&'static str, u32); N]) -> Result<(), WorkloadError> {
    match counts.into_iter().find(|(_, value)| *value == 0) {
        Some((field, value)) => {
            let value = value.to_string();
            Err(WorkloadError::OutOfRange { field, value, wanted: "at least 1" })
        }
        None => Ok(()),
    }
}

fn fraction(field: &'static str, value: f64) -> Result<(), WorkloadError> {
    if (0.0..=1.0).contains(&value) {
        return Ok(());
    }
    Err(WorkloadError::OutOfRange { field, value: value.to_string(), wanted: "0 to 1" })
}

/// Token ids as a prompt of the wanted form.
fn prompts(
    form: PromptForm,
    ids: Vec<Vec<u32>>,
    tokenizer: &Tokenizer,
) -> Result<Vec<Prompt>, WorkloadError> {
    Ok(match form {
        PromptForm::Ids => ids.into_iter().map(Prompt::Ids).collect(),
        PromptForm::Text => tokenizer.decode_each(&ids)?.into_iter().map(Prompt::Text).collect(),
    })
}

#[cfg(test)]
mod captures;
#[cfg(test)]
mod tests;
