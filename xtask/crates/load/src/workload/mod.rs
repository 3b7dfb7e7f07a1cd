//! Request sets: what is sent, decided and fixed before the run.
//!
//! For the same profile, seed and tokenizer a set holds the same prompts and lengths as the
//! Python tool 0.5.23 sends, to the byte. The order of random draws is therefore part of the
//! format: input lengths, output lengths, prompts, arrival gaps.

mod random;
mod sharegpt;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use domain::profile::{Dataset, Profile};
use sha2::{Digest as _, Sha256};

use crate::arrivals::due_times;
use crate::rng::Numpy;
use crate::tokenizer::{Tokenizer, TokenizerError};

/// One request of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Position in the set, from 0.
    pub index: u32,
    /// Text of the prompt.
    pub prompt: String,
    /// Tokens that the prompt was made of.
    pub prompt_len: u32,
    /// Tokens to generate.
    pub output_len: u32,
    /// When it is due, counted from the run's start.
    pub due: Duration,
}

/// The requests of a run, in the order in which they are due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestSet {
    requests: Vec<Request>,
    asked: u32,
    seed: u32,
}

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
    /// `random` needs a file.
    #[error("dataset `random` needs `dataset_path`")]
    NoFile,
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

impl WorkloadError {
    /// What to do, if that is sure.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoFile => Some(
                "use the dataset `random-ids`, which needs no file, or give a ShareGPT file"
                    .to_owned(),
            ),
            Self::Tokenizer { source } => source.hint(),
            Self::OutOfRange { .. }
            | Self::Unreadable { .. }
            | Self::TooLarge { .. }
            | Self::NotShareGpt { .. }
            | Self::NothingUsable { .. }
            | Self::EmptyVocabulary => None,
        }
    }
}

/// A prompt and its lengths, before it is given its place and time.
struct Row {
    prompt: String,
    prompt_len: u32,
    output_len: u32,
}

/// Makes the requests of `profile`, drawn with `seed`.
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
    check(profile)?;
    let mut rng = Numpy::seeded(seed);
    let lengths = random::lengths(profile, tokenizer, &mut rng);
    let rows = match profile.dataset_name {
        Dataset::RandomIds => random::consecutive_ids(&lengths, tokenizer, &mut rng)?,
        Dataset::Random => {
            let path = profile.dataset_path.as_ref().ok_or(WorkloadError::NoFile)?;
            let prompts = sharegpt::prompts(path)?;
            let rows = random::texts(&lengths, prompts, seed, tokenizer)?;
            if rows.is_empty() {
                return Err(WorkloadError::NothingUsable { path: path.clone() });
            }
            rows
        }
    };
    let due = due_times(profile.request_rate, profile.arrivals, rng);
    let requests = (0u32..).zip(rows).zip(due).map(|((index, row), due)| Request {
        index,
        prompt: row.prompt,
        prompt_len: row.prompt_len,
        output_len: row.output_len,
        due,
    });
    Ok(RequestSet { requests: requests.collect(), asked: profile.num_prompts, seed })
}

fn check(profile: &Profile) -> Result<(), WorkloadError> {
    let counts = [
        ("num_prompts", profile.num_prompts),
        ("random_input_len", profile.random_input_len),
        ("random_output_len", profile.random_output_len),
    ];
    if let Some((field, value)) = counts.into_iter().find(|(_, value)| *value == 0) {
        let value = value.to_string();
        return Err(WorkloadError::OutOfRange { field, value, wanted: "at least 1" });
    }
    let ratio = profile.random_range_ratio;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(WorkloadError::OutOfRange {
            field: "random_range_ratio",
            value: ratio.to_string(),
            wanted: "0 to 1",
        });
    }
    Ok(())
}

impl RequestSet {
    /// The requests, in the order in which they are due.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// How many requests the profile asked for; a small file gives fewer.
    pub const fn asked(&self) -> u32 {
        self.asked
    }

    /// The seed that it was drawn with.
    pub const fn seed(&self) -> u32 {
        self.seed
    }

    /// SHA-256 over the prompts and lengths in order, in hexadecimal: equal work has an equal
    /// fingerprint. Due times are not in it, for they are part of the profile.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for request in &self.requests {
            // Every part has a length before it, so that no two sets give the same bytes.
            hash.update((request.prompt.len() as u64).to_le_bytes());
            hash.update(&request.prompt);
            hash.update(request.prompt_len.to_le_bytes());
            hash.update(request.output_len.to_le_bytes());
        }
        hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            // Writing into a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

#[cfg(test)]
mod tests;
