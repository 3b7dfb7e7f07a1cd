//! `cargo xtask tidy`: the rules of the house that the compiler does not know.
//!
//! A rule is one function from the repository to its faults. It reads text and decides; it never
//! mends anything. Each has a unit test with a planted fault, so that a rule that no longer sees
//! anything is noticed.

use std::fmt;

use anyhow::{Context, Result, bail};

use crate::repo::Repo;
use crate::{arguments, codegen};

mod floors;
mod functions;
mod mentions;
mod purity;
mod source;
mod words;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// File, relative to the root.
    path: String,
    /// Line, from 1; `None` when it is about the file.
    line: Option<usize>,
    /// What is wrong and what would be right.
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}

/// A rule: its name, and what finds its faults.
type Rule = (&'static str, fn(&Repo) -> Result<Vec<Fault>>);

/// The last one builds `servegate`; the others only read.
const RULES: [Rule; 7] = [
    ("a crate uses only lower floors", floors::uses),
    ("every crate has the workspace's lints", floors::lints),
    ("floors 0 to 2 do no I/O and know no clock", purity::rule),
    ("functions are short", functions::rule),
    ("no leftovers and no paths of one machine", words::rule),
    ("documentation names tasks that exist", mentions::rule),
    ("generated files are fresh", generated),
];

/// Prints every fault; fails if there is one.
pub(crate) fn task(repo: &Repo, arguments: &[String]) -> Result<()> {
    arguments::only("tidy", arguments, &[])?;
    check(repo)
}

/// All rules, each even if an earlier one found something or could not be checked.
pub(crate) fn check(repo: &Repo) -> Result<()> {
    let mut broken = Vec::new();
    for (name, rule) in RULES {
        match rule(repo) {
            Ok(faults) if faults.is_empty() => {}
            Ok(faults) => {
                for fault in faults {
                    eprintln!("{fault}");
                }
                broken.push(format!("`{name}` is broken"));
            }
            Err(error) => broken.push(format!("`{name}` cannot be checked: {error:#}")),
        }
    }
    if broken.is_empty() { Ok(()) } else { bail!("{}", broken.join("\n       ")) }
}

fn generated(repo: &Repo) -> Result<Vec<Fault>> {
    let stale = codegen::stale(repo)?;
    Ok(stale
        .into_iter()
        .map(|(path, _)| Fault {
            path: path.to_owned(),
            line: None,
            what: format!("is out of date: {}", codegen::MEND),
        })
        .collect())
}

/// The Rust files of the repository with their text.
fn rust_files(repo: &Repo) -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for path in repo.files()?.into_iter().filter(|path| path.ends_with(".rs")) {
        let text = repo.read(&path).context("cannot check a source file")?;
        files.push((path, text));
    }
    Ok(files)
}
