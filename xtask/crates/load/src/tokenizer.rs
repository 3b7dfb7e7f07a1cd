//! Tokenizers: a model's own from its folder, or the embedded one that needs no file.
//!
//! A tokenizer is used before the run only; nothing is tokenised while requests are in flight.

use std::path::{Path, PathBuf};

/// A tokenizer that can make prompts of a wanted length.
#[derive(Debug)]
pub struct Tokenizer(Kind);

#[derive(Debug)]
enum Kind {
    Embedded,
    Model(Box<tokenizers::Tokenizer>),
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

impl TokenizerError {
    /// What to do, if that is sure.
    pub fn hint(&self) -> Option<String> {
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
        let path = folder.join("tokenizer.json");
        match tokenizers::Tokenizer::from_file(&path) {
            Ok(model) => Ok(Self(Kind::Model(Box::new(model)))),
            Err(source) => Err(TokenizerError::Load { path, source }),
        }
    }

    /// The embedded tokenizer: every word between white space is one token, and the words of its
    /// own vocabulary are `t0` to `t4095`.
    pub const fn embedded() -> Self {
        Self(Kind::Embedded)
    }

    /// Size of the base vocabulary, without added tokens: what the Python tool draws ids below.
    pub fn vocab_size(&self) -> u32 {
        match &self.0 {
            Kind::Embedded => EMBEDDED_WORDS,
            Kind::Model(model) => u32::try_from(model.get_vocab_size(false)).unwrap_or(u32::MAX),
        }
    }

    /// Special tokens that the tokenizer puts around a text by itself.
    pub fn special_tokens_added(&self) -> u32 {
        use tokenizers::PostProcessor as _;

        match &self.0 {
            Kind::Embedded => 0,
            Kind::Model(model) => {
                let added = model.get_post_processor().map_or(0, |post| post.added_tokens(false));
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
            Kind::Model(model) => match model.encode_fast(text, true) {
                Ok(encoding) => Ok(encoding.get_ids().to_vec()),
                Err(source) => Err(TokenizerError::Encode { bytes: text.len(), source }),
            },
        }
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
            Kind::Model(model) => model
                .decode(ids, false)
                .map_err(|source| TokenizerError::Decode { ids: ids.len(), source }),
        }
    }
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
