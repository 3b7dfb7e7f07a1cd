//! The quick reader of vocabularies beside the full tokenizer, which is the judge.

use tokenizers::PostProcessor as _;

use super::vocabulary::Vocabulary;

/// What a reader of a `tokenizer.json` makes of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// Number of tokens without added ones.
    pub base_size: usize,
    /// Special tokens that are put around a text.
    pub specials_added: usize,
    /// Every id, in ascending order, with the text that it alone gives.
    pub texts: Vec<(u32, String)>,
    /// The text of all ids in a row.
    pub together: String,
}

/// The quick reader's and the full tokenizer's account, where both take the file.
pub fn vocabulary(file: &[u8]) -> Option<(Read, Read)> {
    let quick = Vocabulary::read(file)?;
    let full = tokenizers::Tokenizer::from_bytes(file).ok()?;
    let quickly = Read {
        base_size: quick.base_size() as usize,
        specials_added: quick.specials_added() as usize,
        texts: quick.all_ids().into_iter().map(|id| (id, quick.decode(&[id]))).collect(),
        together: quick.decode(&quick.all_ids()),
    };
    let mut ids: Vec<u32> = full.get_vocab(true).into_values().collect();
    ids.sort_unstable();
    let decode = |ids: &[u32]| full.decode(ids, false).unwrap_or_default();
    let fully = Read {
        base_size: full.get_vocab_size(false),
        specials_added: full.get_post_processor().map_or(0, |post| post.added_tokens(false)),
        texts: ids.iter().map(|id| (*id, decode(&[*id]))).collect(),
        together: decode(&ids),
    };
    Some((quickly, fully))
}
