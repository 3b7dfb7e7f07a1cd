//! The simulator's tokenizer: every whitespace-separated word is one token.
//!
//! It needs no file, is the same everywhere, and agrees with a client that counts words. It must
//! never be taken for the tokenizer of a real model.

/// Number of tokens in a text. An empty prompt counts as one token, as if it were a start mark.
pub fn count(text: &str) -> u32 {
    u32::try_from(text.split_whitespace().count()).unwrap_or(u32::MAX).max(1)
}

/// Token ids of a text: equal words have equal ids, so that equal prompts share a prefix.
pub fn ids(text: &str) -> Vec<u32> {
    let mut ids: Vec<u32> = text.split_whitespace().map(id).collect();
    if ids.is_empty() {
        ids.push(START);
    }
    ids
}

/// Text of the token at this place of an answer, from 0: a space and one word.
pub fn word(position: u32) -> String {
    format!(" w{position}")
}

/// Stands for the empty prompt.
const START: u32 = 0;

/// FNV-1a over the word's bytes: two words rarely share an id, and if they do, the only effect is
/// a prefix that looks equal.
fn id(word: &str) -> u32 {
    word.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_a_token() {
        assert_eq!(count("t1 t2\n t3 "), 3);
        assert_eq!(count(""), 1);
        assert_eq!(count("  "), 1);
        assert_eq!(ids("a b a").len(), 3);
        assert_eq!(ids(""), [START]);
    }

    #[test]
    fn equal_words_have_equal_ids_and_others_differ() {
        let ids = ids("t17 t18 t17");
        assert_eq!(ids[0], ids[2]);
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn the_words_of_an_answer_count_as_its_tokens() {
        let answer: String = (0..50).map(word).collect();
        assert_eq!(count(&answer), 50);
    }
}
