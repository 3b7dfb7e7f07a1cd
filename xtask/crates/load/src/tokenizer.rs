//! Tokenizers: a model's own from its folder, or the embedded one that needs no file.
//!
//! A tokenizer is used before the run only; nothing is tokenised while requests are in flight.

#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod vocabulary;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;

use domain::hint::Hinted;
use vocabulary::Vocabulary;

/// A tokenizer that can make prompts of a wanted length.
#[derive(Debug)]
pub struct Tokenizer(Kind);

#[derive(Debug)]
enum Kind {
    Embedded,
    Model(Model),
}

/// A model's tokenizer. Turning ids into text needs its vocabulary only, which is read in a
/// fraction of the time; the rest is loaded when a text is first tokenised.
#[derive(Debug)]
struct Model {
    file: PathBuf,
    vocabulary: Option<Vocabulary>,
    full: OnceLock<Box<tokenizers::Tokenizer>>,
}

impl Model {
    fn open(file: PathBuf) -> Result<Self, TokenizerError> {
        let vocabulary = std::fs::read(&file).ok().as_deref().and_then(Vocabulary::read);
        let model = Self { file, vocabulary, full: OnceLock::new() };
        if model.vocabulary.is_none() {
            // What the quick reader does not know, or a fault that the full one can name.
            model.full()?;
        }
        Ok(model)
    }

    fn full(&self) -> Result<&tokenizers::Tokenizer, TokenizerError> {
        if let Some(full) = self.full.get() {
            return Ok(full);
        }
        let loaded = tokenizers::Tokenizer::from_file(&self.file)
            .map_err(|source| TokenizerError::Load { path: self.file.clone(), source })?;
        Ok(self.full.get_or_init(|| Box::new(loaded)))
    }
}

/// A tokenizer could not be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// The folder has no readable `tokenizer.json`.
    #[error("cannot load the tokenizer `{path}`")]
    Load {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: tokenizers::Error,
    },
    /// A text could not be tokenised.
    #[error("cannot tokenise a text of {bytes} bytes")]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// What is wrong with it.
        source: tokenizers::Error,
    },
    /// Ids could not be turned into text.
    #[error("cannot turn {ids} token ids into text")]
    Decode {
        /// How many ids.
        ids: usize,
        /// What is wrong with them.
        source: tokenizers::Error,
    },
}

impl Hinted for TokenizerError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Load { path, .. } if !path.exists() => {
                Some("give the folder that holds the model's `tokenizer.json`".to_owned())
            }
            Self::Load { .. } | Self::Encode { .. } | Self::Decode { .. } => None,
        }
    }
}

/// Words of the embedded tokenizer: `t0` to `t4095`.
const EMBEDDED_WORDS: u32 = 4096;

impl Tokenizer {
    /// The tokenizer of the model in `folder`, from its `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Load`] when the file is absent or is not a tokenizer.
    pub fn from_folder(folder: &Path) -> Result<Self, TokenizerError> {
        Ok(Self(Kind::Model(Model::open(folder.join("tokenizer.json"))?)))
    }

    /// The embedded tokenizer: every word between white space is one token, and the words of its
    /// own vocabulary are `t0` to `t4095`.
    pub const fn embedded() -> Self {
        Self(Kind::Embedded)
    }

    /// Size of the base vocabulary, without added tokens: what the Python tool draws ids below.
    ///
    /// Never more than a `u32`, which token ids are.
    pub fn vocab_size(&self) -> u32 {
        match &self.0 {
            Kind::Embedded => EMBEDDED_WORDS,
            Kind::Model(Model { vocabulary: Some(words), .. }) => words.base_size(),
            Kind::Model(Model { full, .. }) => {
                let size = full.get().map_or(0, |full| full.get_vocab_size(false));
                u32::try_from(size).unwrap_or(u32::MAX)
            }
        }
    }

    /// The id of every token, added ones included, in ascending order.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Load`] when the tokenizer cannot be loaded.
    pub fn all_ids(&self) -> Result<Vec<u32>, TokenizerError> {
        let mut ids: Vec<u32> = match &self.0 {
            Kind::Embedded => (0..EMBEDDED_WORDS).collect(),
            Kind::Model(Model { vocabulary: Some(words), .. }) => words.all_ids(),
            Kind::Model(model) => model.full()?.get_vocab(true).into_values().collect(),
        };
        ids.sort_unstable();
        Ok(ids)
    }

    /// Special tokens that the tokenizer puts around a text by itself.
    pub fn special_tokens_added(&self) -> u32 {
        use tokenizers::PostProcessor as _;

        match &self.0 {
            Kind::Embedded => 0,
            Kind::Model(Model { vocabulary: Some(words), .. }) => words.specials_added(),
            Kind::Model(Model { full, .. }) => {
                let post = full.get().and_then(|full| full.get_post_processor());
                let added = post.map_or(0, |post| post.added_tokens(false));
                u32::try_from(added).unwrap_or(u32::MAX)
            }
        }
    }

    /// The ids of a text, with special tokens.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Encode`] when the model's tokenizer refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        match &self.0 {
            Kind::Embedded => Ok(text.split_whitespace().map(embedded_id).collect()),
            Kind::Model(model) => match model.full()?.encode_fast(text, true) {
                Ok(encoding) => Ok(encoding.get_ids().to_vec()),
                Err(source) => Err(TokenizerError::Encode { bytes: text.len(), source }),
            },
        }
    }

    /// How many tokens each text has, with special tokens; on as many threads as there are cores.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn lengths(&self, texts: &[&str]) -> Result<Vec<u32>, TokenizerError> {
        // Loaded once, not by every thread at once.
        if let Kind::Model(model) = &self.0 {
            model.full()?;
        }
        in_parallel(texts, |text| Ok(u32::try_from(self.encode(text)?.len()).unwrap_or(u32::MAX)))
    }

    /// The text of ids, special tokens included.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Decode`] when the model's tokenizer cannot decode.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        match &self.0 {
            Kind::Embedded => {
                let words: Vec<_> = ids.iter().map(|id| format!("t{id}")).collect();
                Ok(words.join(" "))
            }
            Kind::Model(Model { vocabulary: Some(words), .. }) => Ok(words.decode(ids)),
            Kind::Model(model) => model
                .full()?
                .decode(ids, false)
                .map_err(|source| TokenizerError::Decode { ids: ids.len(), source }),
        }
    }

    /// The text of each list of ids; on as many threads as there are cores.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::decode`].
    pub fn decode_each(&self, lists: &[Vec<u32>]) -> Result<Vec<String>, TokenizerError> {
        in_parallel(lists, |ids| self.decode(ids))
    }
}

/// Does the work for each item, in order, on as many threads as there are cores.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R, TokenizerError> + Sync,
) -> Result<Vec<R>, TokenizerError> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let share = items.len().div_ceil(threads).max(1);
    let work = &work;
    thread::scope(|scope| {
        let start = |part: &'_ [T]| part.iter().map(work).collect::<Result<Vec<R>, _>>();
        let started: Vec<_> =
            items.chunks(share).map(|part| scope.spawn(move || start(part))).collect();
        let mut made = Vec::with_capacity(items.len());
        for thread in started {
            made.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(made)
    })
}

/// The id of a word: its number, or for a foreign word one that depends on the word alone (FNV-1a).
fn embedded_id(word: &str) -> u32 {
    let number = word.strip_prefix('t').and_then(|digits| digits.parse::<u32>().ok());
    number.filter(|id| *id < EMBEDDED_WORDS).unwrap_or_else(|| {
        let hash = word
            .bytes()
            .fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        hash % EMBEDDED_WORDS
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_missing_folder_is_named_and_a_way_out_is_told() {
        let error = Tokenizer::from_folder(Path::new("/nowhere")).unwrap_err();
        assert_eq!(error.to_string(), "cannot load the tokenizer `/nowhere/tokenizer.json`");
        assert!(error.hint().is_some());
    }

    proptest! {
        #[test]
        fn the_embedded_tokenizer_reads_what_it_writes(
            ids in proptest::collection::vec(0..EMBEDDED_WORDS, 0..50),
        ) {
            let tokenizer = Tokenizer::embedded();
            let text = tokenizer.decode(&ids).unwrap();
            prop_assert_eq!(text.split_whitespace().count(), ids.len());
            prop_assert_eq!(tokenizer.encode(&text).unwrap(), ids);
        }

        #[test]
        fn any_word_is_one_embedded_token(text in "\\PC{0,60}") {
            let ids = Tokenizer::embedded().encode(&text).unwrap();
            prop_assert_eq!(ids.len(), text.split_whitespace().count());
            prop_assert!(ids.iter().all(|id| *id < EMBEDDED_WORDS));
        }
    }
}
