//! Tests of the whole crate: from files to faults, and from files to plans.

mod broken;
mod experiments;
mod laws;
mod plans;

use std::fs;
use std::path::{Path, PathBuf};

use crate::Source;

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The skills in the sub-folders of a folder, shown by their paths below it.
fn skills_in(folder: &Path) -> Vec<Source> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.map(|path| path.join("skill.yaml")).filter(|path| path.is_file()).collect();
    files.sort();
    let source = |file: &PathBuf| Source {
        path: file.strip_prefix(folder).unwrap().display().to_string(),
        text: fs::read_to_string(file).unwrap(),
    };
    files.iter().map(source).collect()
}

/// A skill file of this text.
fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}
