//! The vocabulary of a byte-level BPE tokenizer, read without building the tokenizer.
//!
//! Enough to turn ids into text, which is all that drawn prompts need. Whatever is not exactly of
//! the known shape is left to the full tokenizer: this reader never guesses.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Ids beyond this are no vocabulary; it bounds the table that is made.
const MOST_IDS: u32 = 1 << 24;

/// Text of every id, as bytes, because a token may be a part of a character.
#[derive(Debug)]
pub(super) struct Vocabulary {
    bytes: Vec<u8>,
    /// Where the bytes of each id stand; nothing for an id without a token.
    places: Vec<Option<(u32, u32)>>,
    base_size: u32,
    specials_added: u32,
}

#[derive(Deserialize)]
struct File {
    model: Bpe,
    added_tokens: Vec<Added>,
    normalizer: Option<Value>,
    decoder: Option<Value>,
    post_processor: Option<Value>,
}

#[derive(Deserialize)]
struct Bpe {
    r#type: String,
    vocab: Words,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
    normalized: bool,
}

/// The tokens of a vocabulary with their ids.
struct Words(Vec<(String, u32)>);

impl Vocabulary {
    /// Reads a `tokenizer.json`; `None` if it is of another kind than the one that is known here.
    pub(super) fn read(file: &[u8]) -> Option<Self> {
        let File { model, added_tokens, normalizer, decoder, post_processor } =
            serde_json::from_slice(file).ok()?;
        let byte_level = |part: &Value| part["type"] == "ByteLevel";
        if model.r#type != "BPE" || !decoder.as_ref().is_some_and(byte_level) {
            return None;
        }
        let specials_added = specials_added(post_processor.as_ref())?;
        let Words(words) = model.vocab;
        // Of a word that stands twice the full tokenizer keeps one.
        let mut seen = HashSet::with_capacity(words.len());
        if !words.iter().all(|(word, _)| seen.insert(word.as_str())) {
            return None;
        }
        let base_size = u32::try_from(words.len()).ok()?;
        let added = new_tokens(&words, &added_tokens, normalizer.is_some_and(|it| !it.is_null()))?;
        let mut vocabulary =
            Self { bytes: Vec::new(), places: Vec::new(), base_size, specials_added };
        let table = byte_table();
        for (token, id) in words.iter().chain(&added) {
            vocabulary.enter(token, *id, &table)?;
        }
        Some(vocabulary)
    }

    /// Number of tokens without added ones.
    pub(super) const fn base_size(&self) -> u32 {
        self.base_size
    }

    /// Special tokens that are put around a text.
    pub(super) const fn specials_added(&self) -> u32 {
        self.specials_added
    }

    /// Every id that has a token.
    pub(super) fn all_ids(&self) -> Vec<u32> {
        let known = (0u32..).zip(&self.places).filter(|(_, place)| place.is_some());
        known.map(|(id, _)| id).collect()
    }

    /// The text of ids; what is no text becomes replacement characters, as in every decoder.
    pub(super) fn decode(&self, ids: &[u32]) -> String {
        let mut text = Vec::with_capacity(ids.len() * 4);
        for id in ids {
            if let Some(Some((start, end))) = self.places.get(*id as usize) {
                text.extend_from_slice(&self.bytes[*start as usize..*end as usize]);
            }
        }
        match String::from_utf8(text) {
            Ok(text) => text,
            Err(broken) => String::from_utf8_lossy(broken.as_bytes()).into_owned(),
        }
    }

    /// Enters a token; `None` if its id is taken or absurd.
    fn enter(&mut self, token: &str, id: u32, table: &[Option<u8>]) -> Option<()> {
        if MOST_IDS <= id {
            return None;
        }
        let start = self.bytes.len();
        let byte = |char: char| table.get(char as usize).copied().flatten();
        if token.chars().all(|char| byte(char).is_some()) {
            self.bytes.extend(token.chars().filter_map(byte));
        } else {
            self.bytes.extend_from_slice(token.as_bytes());
        }
        let place = (u32::try_from(start).ok()?, u32::try_from(self.bytes.len()).ok()?);
        let at = id as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, None);
        }
        self.places[at].replace(place).is_none().then_some(())
    }
}

/// Added tokens that the vocabulary does not hold already, if all have the ids that they say.
fn new_tokens(
    words: &[(String, u32)],
    added: &[Added],
    normalizes: bool,
) -> Option<Vec<(String, u32)>> {
    // A normalised token is shown in another spelling than its own.
    if normalizes && added.iter().any(|token| token.normalized) {
        return None;
    }
    let mut wanted: HashMap<&str, u32> = HashMap::with_capacity(added.len());
    for token in added {
        if wanted.insert(&token.content, token.id).is_some() || token.content.is_empty() {
            return None;
        }
    }
    let mut known: Vec<&str> = Vec::new();
    for (word, id) in words {
        match wanted.get(word.as_str()) {
            Some(said) if said != id => return None,
            Some(_) => known.push(word),
            None => {}
        }
    }
    for word in known {
        wanted.remove(word);
    }
    // New tokens are numbered behind the vocabulary, in the order of the file.
    let fresh: Vec<(String, u32)> = added
        .iter()
        .filter(|token| wanted.contains_key(token.content.as_str()))
        .map(|token| (token.content.clone(), token.id))
        .collect();
    let behind = (u32::try_from(words.len()).ok()?..).zip(&fresh);
    let as_said = behind.into_iter().all(|(expected, (_, id))| expected == *id);
    as_said.then_some(fresh)
}

/// How many special tokens a post-processor puts around one text, if it is of a known kind.
fn specials_added(post_processor: Option<&Value>) -> Option<u32> {
    let Some(part) = post_processor.filter(|part| !part.is_null()) else { return Some(0) };
    match part["type"].as_str()? {
        "ByteLevel" => Some(0),
        "TemplateProcessing" => {
            let pieces = part["single"].as_array()?.iter();
            let special = |piece: &Value| -> Option<usize> {
                if piece.get("Sequence").is_some() {
                    return Some(0);
                }
                let id = piece["SpecialToken"]["id"].as_str()?;
                Some(part["special_tokens"][id]["ids"].as_array()?.len())
            };
            u32::try_from(pieces.map(special).sum::<Option<usize>>()?).ok()
        }
        "Sequence" => {
            let parts = part["processors"].as_array()?.iter();
            parts.map(|part| specials_added(Some(part))).sum()
        }
        _ => None,
    }
}

/// The byte that each character of a byte-level token stands for: printable ones for themselves,
/// the others for characters from U+0100 on, in ascending order.
fn byte_table() -> Vec<Option<u8>> {
    let mut table = vec![None; 0x200];
    let mut next = 0x100;
    for byte in 0..=u8::MAX {
        let shown = match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => usize::from(byte),
            _ => {
                next += 1;
                next - 1
            }
        };
        table[shown] = Some(byte);
    }
    table
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Look;

        impl<'de> Visitor<'de> for Look {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tokens with their ids")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = map.next_entry()? {
                    words.push(word);
                }
                Ok(Words(words))
            }
        }

        from.deserialize_map(Look)
    }
}

#[cfg(test)]
mod tests;
