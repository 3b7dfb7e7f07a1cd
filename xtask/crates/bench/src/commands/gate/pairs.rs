//! A file of pairs, as it was written by whoever measured them.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use anyhow::Context as _;
use stats::gate::PairsFile;

use crate::failure::Failure;

/// Most bytes of a file of pairs that are read: a million values, and far more than anyone measures.
const PAIRS_BYTES: u64 = 32 << 20;

/// Reads one.
pub(super) fn read(file: &Path) -> Result<PairsFile, Failure> {
    let shown = || format!("cannot read the pairs `{}`", file.display());
    let text = text(file).with_context(shown).map_err(Failure::usage)?;
    serde_json::from_str(&without_bare_words(&text)).with_context(shown).map_err(Failure::usage)
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(PAIRS_BYTES + 1).read_to_string(&mut text)?;
    // A part of a file could be another file's whole.
    if PAIRS_BYTES < text.len() as u64 {
        return Err(io::Error::other(format!("it has more than {PAIRS_BYTES} bytes")));
    }
    Ok(text)
}

/// The bare words `NaN` and `Infinity`, which Python writes and JSON does not know, as null:
/// a value that is no number is judged as such and named, not refused as bad syntax.
fn without_bare_words(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut in_text, mut rest) = (false, text);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| rest.starts_with(word));
        if let Some(word) = word.filter(|_| !in_text) {
            kept.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        let escaped = if in_text && c == '\\' { rest.chars().nth(1) } else { None };
        in_text ^= c == '"';
        let taken = c.len_utf8() + escaped.map_or(0, char::len_utf8);
        kept.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bare_words_outside_of_texts_become_null() {
        let text = r#"{"NaN": [NaN, -Infinity, 1.5, "a \" NaN"], "ü": Infinity}"#;
        insta::assert_snapshot!(without_bare_words(text), @r#"{"NaN": [null, null, 1.5, "a \" NaN"], "ü": null}"#);
    }
}
