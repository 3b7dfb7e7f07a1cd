//! Commands that documentation and workflows name, held against the tasks that exist.

use anyhow::Result;

use super::Fault;
use crate::repo::Repo;
use crate::tasks;

/// What stands before the name of a task in running text, in code and in workflows.
const BEFORE: [&str; 2] = ["cargo xtask ", "`servegate "];

/// Names in documents that are no tasks.
pub(super) fn rule(repo: &Repo) -> Result<Vec<Fault>> {
    let mut faults = Vec::new();
    for path in repo.files()? {
        let is_document = [".md", ".yml", ".yaml", ".sh"].iter().any(|end| path.ends_with(end));
        let is_ours = !path.contains("tests/fixtures/");
        if is_ours && (is_document || path.starts_with(".ci/")) {
            faults.extend(judge_document(&path, &repo.read(&path)?));
        }
    }
    Ok(faults)
}

fn judge_document(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let names = BEFORE.iter().flat_map(|before| line.split(before).skip(1)).map(word);
        for name in names.filter(|name| !name.is_empty() && !tasks::exists(name)) {
            faults.push(Fault {
                path: path.to_owned(),
                line: Some(index + 1),
                what: format!("there is no task `{name}`"),
            });
        }
    }
    faults
}

/// The word of small letters and hyphens that a text begins with; `<TASK>` and `…` give none.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(text.len());
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_names_a_task_that_is_none_is_found() {
        let text =
            "Run `cargo xtask bench --runs 3`,\nthen `cargo xtask bnech` or `servegate fly`.\n";
        let found: Vec<String> =
            judge_document("a.md", text).iter().map(Fault::to_string).collect();
        assert_eq!(found, ["a.md:2: there is no task `bnech`", "a.md:2: there is no task `fly`"]);
    }

    #[test]
    fn placeholders_and_flags_are_no_tasks() {
        let text = "`cargo xtask <TASK>`, `cargo xtask --help`, servegate benchmarks servers\n";
        assert_eq!(judge_document("a.md", text), []);
    }
}
