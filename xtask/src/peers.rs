//! `cargo xtask peers`: load clients side by side, and the table of the README.
//!
//! `servegate` does the measuring; here is what it needs from the repository. Clients are never
//! installed on the way: one that is missing is listed as missing, with how to get it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::codegen::with_region;
use crate::parts;
use crate::product::{self, Build};
use crate::repo::Repo;
use crate::tasks::Usage;

/// A small tokenizer: how long a client takes to load a large one is another question.
const TOKENIZER: &str = "tests/fixtures/bench_serving/tok_nobos";

/// The region of the README that holds the table.
const REGION: &str = "peers";

/// Measures, and replaces the README's table.
pub(crate) fn task(repo: &Repo, arguments: &[String]) -> Result<()> {
    let vllm = vllm_python(arguments)?;
    let sglang = parts::installed(repo, &parts::SGLANG_TOOL)?;
    if sglang.is_none() {
        eprintln!("SGLang's clients are not installed: `cargo xtask parts sglang-tool` does it");
    }
    if vllm.is_none() {
        eprintln!("vLLM is left out: `--vllm-python PROGRAM` names a Python that has it");
    }
    let servegate = product::build(repo, Build::Tool)?;
    let table = repo.target().join("peers.md");
    let mut command = Command::new(servegate);
    command.arg("peers").current_dir(&repo.root).stdin(Stdio::null());
    command.args(["--tokenizer", TOKENIZER]).arg("--markdown").arg(&table);
    if let Some(folder) = sglang {
        command.arg("--sglang-python").arg(folder.join("bin/python"));
    }
    if let Some(python) = vllm {
        command.arg("--vllm-python").arg(python);
    }
    let status = command.status().context("cannot start `servegate`")?;
    if !status.success() {
        bail!("`servegate peers` ended with {status}");
    }
    publish(&repo.root.join("README.md"), &table)
}

/// The value of `--vllm-python`, which is all that can be given.
fn vllm_python(arguments: &[String]) -> Result<Option<PathBuf>, Usage> {
    match arguments {
        [] => Ok(None),
        [flag, program] if flag == "--vllm-python" => Ok(Some(PathBuf::from(program))),
        _others => Err(Usage("`peers` takes only `--vllm-python PROGRAM`".to_owned())),
    }
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
    fn only_vllms_python_can_be_named() {
        assert_eq!(vllm_python(&[]).unwrap(), None);
        let given = vllm_python(&words(&["--vllm-python", "p"])).unwrap();
        assert_eq!(given, Some(PathBuf::from("p")));
        assert!(vllm_python(&words(&["--vllm-python"])).is_err());
        assert!(vllm_python(&words(&["--quick"])).is_err());
    }

    #[test]
    fn the_readme_has_a_place_for_the_table() {
        let page = Repo::here().unwrap().read("README.md").unwrap();
        with_region(&page, REGION, "x").unwrap();
    }
}
