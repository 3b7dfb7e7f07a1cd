//! `cargo xtask peers`: load clients side by side, and the table of the README.
//!
//! `servegate` does the measuring; here is what it needs from the repository. Clients are never
//! installed on the way: one that is missing is listed as missing, with how to get it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::arguments::Usage;
use crate::codegen::with_region;
use crate::parts;
use crate::product::{self, Build};
use crate::repo::Repo;

/// A small tokenizer: how long a client takes to load a large one is another question.
const TOKENIZER: &str = "tests/fixtures/bench_serving/tok_nobos";

/// The region of the README that holds the table.
const REGION: &str = "peers";

/// Measures, and replaces the README's table.
pub(crate) fn task(repo: &Repo, arguments: &[String]) -> Result<()> {
    let pythons = pythons(arguments)?;
    let sglang = parts::installed(repo, &parts::SGLANG_TOOL)?;
    if sglang.is_none() {
        eprintln!("SGLang's clients are not installed: `cargo xtask parts sglang-tool` does it");
    }
    for (flag, client, install) in OTHERS {
        if !pythons.iter().any(|(given, _)| *given == flag) {
            eprintln!(
                "{client} is left out: install it with `{install}`, and name that Python with `{flag} PROGRAM`"
            );
        }
    }
    let servegate = product::build(repo, Build::Tool)?;
    let table = repo.target().join("peers.md");
    let mut command = Command::new(servegate);
    command.arg("peers").current_dir(&repo.root).stdin(Stdio::null());
    command.arg("--tokenizer").arg(repo.root.join(TOKENIZER)).arg("--markdown").arg(&table);
    if let Some(folder) = sglang {
        command.arg("--sglang-python").arg(folder.join("bin/python"));
    }
    for (flag, python) in pythons {
        command.arg(flag).arg(python);
    }
    let status = command.status().context("cannot start `servegate`")?;
    if !status.success() {
        bail!("`servegate peers` ended with {status}");
    }
    publish(&repo.root.join("README.md"), &table)
}

/// Clients that are too large for test parts: the flag that names their Python, what they are
/// called, and how to get them into an environment of their own.
const OTHERS: [(&str, &str, &str); 3] = [
    ("--vllm-python", "vLLM", "python3 -m venv vllm && vllm/bin/pip install vllm"),
    (
        "--guidellm-python",
        "GuideLLM",
        "python3 -m venv guidellm && guidellm/bin/pip install guidellm",
    ),
    ("--aiperf-python", "AIPerf", "python3 -m venv aiperf && aiperf/bin/pip install aiperf"),
];

/// The Pythons that were named, with their flags; each flag at most once.
fn pythons(arguments: &[String]) -> Result<Vec<(&'static str, PathBuf)>, Usage> {
    let wrong = || {
        let flags = OTHERS.map(|(flag, ..)| format!("`{flag} PROGRAM`"));
        Usage(format!("`peers` takes only {}, each once", flags.join(", ")))
    };
    let mut pythons: Vec<(&'static str, PathBuf)> = Vec::new();
    for pair in arguments.chunks(2) {
        let [flag, program] = pair else { return Err(wrong()) };
        let known = OTHERS.iter().find(|(known, ..)| known == flag).ok_or_else(wrong)?.0;
        if pythons.iter().any(|(given, _)| *given == known) {
            return Err(wrong());
        }
        pythons.push((known, PathBuf::from(program)));
    }
    Ok(pythons)
}

fn publish(readme: &Path, table: &Path) -> Result<()> {
    let (page, table) = (crate::repo::read(readme)?, crate::repo::read(table)?);
    let fresh = with_region(&page, REGION, &table).context("in `README.md`")?;
    fs::write(readme, fresh).context("cannot write `README.md`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_pythons_of_clients_can_be_named_once_each_and_nothing_else() {
        assert_eq!(pythons(&[]).unwrap(), []);
        let given = pythons(&words(&["--aiperf-python", "a", "--vllm-python", "v"])).unwrap();
        let (aiperf, vllm) = (PathBuf::from("a"), PathBuf::from("v"));
        assert_eq!(given, [("--aiperf-python", aiperf), ("--vllm-python", vllm)]);
        for wrong in
            [&["--vllm-python"][..], &["--quick"], &["--vllm-python", "a", "--vllm-python", "b"]]
        {
            assert!(pythons(&words(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_readme_has_a_place_for_the_table() {
        let page = Repo::here().unwrap().read("README.md").unwrap();
        with_region(&page, REGION, "x").unwrap();
    }
}
