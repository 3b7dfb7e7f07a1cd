//! The quick reader against the full tokenizer, which is the judge.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tokenizers::PostProcessor as _;

use super::*;

/// Tokenizers that are here: the two of the captures, and a real one of 151,000 tokens where the
/// test part that holds it is installed.
fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let fixtures = root.join("tests/fixtures/bench_serving");
    let parts =
        std::env::var_os("SERVEGATE_PARTS").map_or(root.join("target/parts"), PathBuf::from);
    let all =
        [fixtures.join("tok_bos"), fixtures.join("tok_nobos"), parts.join("llama/tiny-qwen2")];
    all.into_iter().filter(|folder| folder.join("tokenizer.json").is_file()).collect()
}

fn both(folder: &Path) -> (Vocabulary, tokenizers::Tokenizer) {
    let file = folder.join("tokenizer.json");
    let quick = Vocabulary::read(&std::fs::read(&file).unwrap());
    let quick = quick.unwrap_or_else(|| panic!("{} is of the known kind", folder.display()));
    (quick, tokenizers::Tokenizer::from_file(file).unwrap())
}

#[test]
fn the_quick_reader_agrees_with_the_full_tokenizer_on_every_token() {
    for folder in folders() {
        let (quick, full) = both(&folder);
        assert_eq!(quick.base_size() as usize, full.get_vocab_size(false));
        let specials = full.get_post_processor().map_or(0, |post| post.added_tokens(false));
        assert_eq!(quick.specials_added() as usize, specials);
        let mut ids: Vec<u32> = full.get_vocab(true).into_values().collect();
        ids.sort_unstable();
        assert_eq!(quick.all_ids(), ids);
        let last = *ids.last().unwrap();
        for id in ids.into_iter().chain([last + 1, last + 7, u32::MAX]) {
            assert_eq!(quick.decode(&[id]), full.decode(&[id], false).unwrap(), "{id}");
        }
    }
}

#[test]
fn the_quick_reader_agrees_with_the_full_tokenizer_on_texts() {
    let mut run = proptest::test_runner::TestRunner::default();
    for folder in folders() {
        let (quick, full) = both(&folder);
        let ids = proptest::collection::vec(0..quick.base_size() + 30, 0..60);
        run.run(&ids, |ids| {
            prop_assert_eq!(quick.decode(&ids), full.decode(&ids, false).unwrap());
            Ok(())
        })
        .unwrap();
    }
}

/// A tokenizer of three tokens, with changes.
fn tiny(decoder: &str, added: &str, post: &str) -> Option<Vocabulary> {
    let text = format!(
        r#"{{"normalizer":{{"type":"NFC"}},"added_tokens":[{added}],"decoder":{decoder},
        "post_processor":{post},"model":{{"type":"BPE","vocab":{{"a":0,"Ġb":1,"é":2}},"merges":[]}}}}"#
    );
    Vocabulary::read(text.as_bytes())
}

const LEVEL: &str = r#"{"type":"ByteLevel"}"#;

#[test]
fn what_is_not_known_exactly_is_left_to_the_full_tokenizer() {
    let token = |id: u32, content: &str, normalized: bool| {
        format!(r#"{{"id":{id},"content":"{content}","normalized":{normalized}}}"#)
    };
    let usual = tiny(LEVEL, &token(3, "<x>", false), "null").unwrap();
    // `é` alone stands for the byte 0xe9, which is no text.
    assert_eq!(usual.decode(&[0, 1, 3, 2, 9]), "a b<x>\u{fffd}");
    assert!(tiny("null", "", "null").is_none());
    assert!(tiny(r#"{"type":"Metaspace"}"#, "", "null").is_none());
    assert!(tiny(LEVEL, "", r#"{"type":"BertProcessing"}"#).is_none());
    assert!(tiny(LEVEL, &token(7, "<x>", false), "null").is_none(), "a gap before the id");
    assert!(tiny(LEVEL, &token(1, "a", false), "null").is_none(), "another id than the word's");
    assert!(tiny(LEVEL, &token(3, "<x>", true), "null").is_none(), "normalised");
    assert!(Vocabulary::read(b"{").is_none());
    let twice = r#"{"decoder":{"type":"ByteLevel"},"added_tokens":[],
        "model":{"type":"BPE","vocab":{"a":0,"b":1,"a":2}}}"#;
    assert!(Vocabulary::read(twice.as_bytes()).is_none(), "a word that stands twice");
    let once = twice.replace(r#""a":2"#, r#""c":2"#);
    assert!(Vocabulary::read(once.as_bytes()).is_some());
}
