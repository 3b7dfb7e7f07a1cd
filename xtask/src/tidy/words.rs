//! Leftovers of work in progress, and paths that exist on one machine only.

use anyhow::Result;

use super::Fault;
use crate::repo::Repo;

/// What must not stand in a file of the repository, and why. Each word is put together here, so
/// that this file does not contain it.
const WORDS: [(&str, &str); 8] = [
    (concat!("to", "do!"), "unfinished code"),
    (concat!("unimplem", "ented!"), "unfinished code"),
    (concat!("db", "g!("), "a leftover of debugging"),
    (concat!("TO", "DO"), "an unfinished thought: finish it or file it"),
    (concat!("FIX", "ME"), "an unfinished thought: finish it or file it"),
    (concat!("/ho", "me/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
    (concat!("/wo", "rk/"), "a path of one machine"),
];

/// Home folders of nobody: the one of GitHub's runners, and the one of examples.
const OF_NOBODY: [&str; 2] = [concat!("/ho", "me/runner"), concat!("/ho", "me/me")];

/// Logs and outputs of real tools, which stand here to the byte.
const VERBATIM: &str = "tests/fixtures/";

/// Leftovers and machine paths, in files that are text.
pub(super) fn rule(repo: &Repo) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for path in repo.files()? {
        if path.contains(VERBATIM) {
            continue;
        }
        if let Ok(text) = repo.read(&path) {
            faults.extend(judge(&path, &text));
        }
    }
    Ok(faults)
}

fn judge(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = OF_NOBODY.iter().fold(line.to_owned(), |line, home| line.replace(home, ""));
        for (word, why) in WORDS.iter().filter(|(word, _)| stands_in(&line, word)) {
            faults.push(Fault {
                path: path.to_owned(),
                line: Some(index + 1),
                what: format!("`{word}` is {why}"),
            });
        }
    }
    faults
}

/// Whether a line has the word; a path only where it begins (`/run/x/` has no path `/x/`).
fn stands_in(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_inside = line[..at].ends_with(|c: char| c.is_alphanumeric());
        !(word.starts_with('/') && is_inside)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found_where_it_stands() {
        for (word, why) in WORDS {
            let faults = judge("a.rs", &format!("fine\nnot {word}x fine\n"));
            assert_eq!(faults.len(), 1, "{word}");
            assert_eq!(faults[0].to_string(), format!("a.rs:2: `{word}` is {why}"));
        }
    }

    #[test]
    fn ordinary_text_is_fine() {
        let [runner, example] = OF_NOBODY;
        let inside = concat!("/run/ho", "me/.cache");
        let text =
            format!("framework/profile, `.github/workflows/`, {runner}/a {example}/b {inside}");
        assert_eq!(judge("a.md", &text), []);
    }
}
