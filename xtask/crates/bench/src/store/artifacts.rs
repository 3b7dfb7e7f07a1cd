//! The sessions below a folder of artifacts, wherever they lie in it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// What was found: a session's journal, or an artifact that holds none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Where it is, relative to the folder of all.
    pub place: String,
    /// The journal, if there is one.
    pub journal: Option<PathBuf>,
}

/// Folders inside one another that are looked into: `artifact/results/runs/session` is four.
const DEEPEST: usize = 8;

/// Most folders that are looked into; a fleet of the largest plan has fewer.
const MOST_FOLDERS: usize = 2_000_000;

/// Name of a journal.
const JOURNAL: &str = "journal.jsonl";

/// Every session below `root`, and every artifact without one. Links are not followed: an artifact
/// may hold anything.
pub fn artifacts(root: &Path) -> Result<Vec<Artifact>> {
    let mut walk = Walk { root, found: Vec::new(), folders: 0 };
    // A results folder or a session by itself is one artifact, not a folder of them.
    let single = root.join(JOURNAL).is_file() || root.join("runs").is_dir();
    if single {
        walk.folder(root, 0)?;
        return Ok(walk.found);
    }
    for folder in folders(root)? {
        let before = walk.found.len();
        walk.folder(&folder, 1)?;
        if walk.found.len() == before {
            let place = walk.place(&folder);
            walk.found.push(Artifact { place, journal: None });
        }
    }
    Ok(walk.found)
}

struct Walk<'a> {
    root: &'a Path,
    found: Vec<Artifact>,
    folders: usize,
}

impl Walk<'_> {
    fn folder(&mut self, folder: &Path, depth: usize) -> Result<()> {
        self.folders += 1;
        if MOST_FOLDERS < self.folders {
            bail!("more than {MOST_FOLDERS} folders in `{}`", self.root.display());
        }
        let journal = folder.join(JOURNAL);
        if journal.is_file() {
            self.found.push(Artifact { place: self.place(folder), journal: Some(journal) });
            // What a session keeps beside its journal is its own.
            return Ok(());
        }
        if depth == DEEPEST {
            return Ok(());
        }
        folders(folder)?.iter().try_for_each(|inner| self.folder(inner, depth + 1))
    }

    fn place(&self, folder: &Path) -> String {
        let place = folder.strip_prefix(self.root).unwrap_or(folder).display().to_string();
        if place.is_empty() { ".".to_owned() } else { place }
    }
}

/// The folders in a folder, by name.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = fs::read_dir(folder)
        .with_context(|| format!("cannot list the folder `{}`", folder.display()))?;
    let mut inner = Vec::new();
    for entry in listing {
        let entry =
            entry.with_context(|| format!("cannot list the folder `{}`", folder.display()))?;
        // The type of a link is a link.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            inner.push(entry.path());
        }
    }
    inner.sort();
    Ok(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(root: &Path, file: &str) {
        let file = root.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "x").unwrap();
    }

    fn places(root: &Path) -> Vec<(String, bool)> {
        let found = artifacts(root).unwrap().into_iter();
        found.map(|artifact| (artifact.place, artifact.journal.is_some())).collect()
    }

    #[test]
    fn sessions_are_found_wherever_they_lie_and_empty_artifacts_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        make(root, "bench-a/runs/1/journal.jsonl");
        make(root, "bench-b/journal.jsonl");
        make(root, "bench-b/deeper/journal.jsonl");
        make(root, "bench-c/server.log");
        std::os::unix::fs::symlink(root, root.join("bench-d")).unwrap();
        let wanted = [("bench-a/runs/1", true), ("bench-b", true), ("bench-c", false)];
        assert_eq!(places(root), wanted.map(|(place, found)| (place.to_owned(), found)));
        assert_eq!(places(&root.join("bench-a")), [("runs/1".to_owned(), true)]);
        assert_eq!(places(&root.join("bench-b")), [(".".to_owned(), true)]);
        assert!(artifacts(&root.join("nowhere")).is_err());
    }
}
