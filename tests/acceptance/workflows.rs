//! The workflows and the action, held against linters and against rules of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_yaml::Value;

use crate::world::part;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap()
}

/// Every workflow, and the action last.
fn files(root: &Path) -> Vec<PathBuf> {
    let workflows = fs::read_dir(root.join(".github/workflows")).unwrap();
    let mut files: Vec<_> = workflows.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.push(root.join(".github/actions/bench/action.yml"));
    files
}

fn is_action(file: &Path) -> bool {
    file.ends_with("action.yml")
}

/// A linter of the part `actions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Linter {
    Zizmor,
    Jactionlint,
    Schema,
    /// A schema that is only about time limits.
    Timeouts,
}

const LINTERS: [Linter; 4] =
    [Linter::Zizmor, Linter::Jactionlint, Linter::Schema, Linter::Timeouts];

impl Linter {
    /// Runs it on files of one kind; nothing of it asks the network.
    fn run(self, part: &Path, folder: &Path, files: &[PathBuf]) -> Output {
        let mut command = match self {
            Self::Zizmor => {
                let mut zizmor = Command::new(part.join("bin/zizmor"));
                zizmor.args(["--offline", "--persona=pedantic", "--no-progress", "--color=never"]);
                zizmor
            }
            Self::Jactionlint => {
                let mut jactionlint = Command::new(part.join("bin/python"));
                jactionlint.args(["-m", "jactionlint", "--no-online", "--no-hints", "--no-color"]);
                jactionlint
            }
            Self::Schema | Self::Timeouts => {
                let schema = match (self, is_action(&files[0])) {
                    (Self::Timeouts, _) => "custom.github-workflows-require-timeout",
                    (_, true) => "vendor.github-actions",
                    (_, false) => "vendor.github-workflows",
                };
                let mut check = Command::new(part.join("bin/python"));
                check.args(["-m", "check_jsonschema", "--builtin-schema", schema]);
                check
            }
        };
        command.args(files).current_dir(folder).output().expect("the linter starts")
    }
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}{}", text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_linters_find_nothing_in_the_workflows_and_the_action() {
    let Some(part) = part("workflows::the_linters_find_nothing", "actions") else { return };
    let root = root();
    let (action, workflows): (Vec<_>, Vec<_>) =
        files(&root).into_iter().partition(|file| is_action(file));
    for linter in LINTERS {
        for files in [&workflows, &action] {
            if linter == Linter::Timeouts && is_action(&files[0]) {
                continue;
            }
            let output = linter.run(&part, &root, files);
            assert!(output.status.success(), "{linter:?}\n{}", shown(&output));
        }
    }
}

/// A workflow with nothing wrong in it.
const GOOD: &str = "\
name: good
on:
  push:
    branches: [main]
concurrency:
  group: good-${{ github.ref }}
  cancel-in-progress: true
permissions: {}
jobs:
  one:
    name: One
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    permissions:
      contents: read # to check the commit out
    steps:
      - name: Check the commit out
        uses: actions/checkout@9c091bb21b7c1c1d1991bb908d89e4e9dddfe3e0 # v7.0.0
        with:
          persist-credentials: false
  two:
    name: Two
    needs: one
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - name: Say who it was
        run: echo \"$TITLE\"
        env:
          TITLE: ${{ github.event.head_commit.message }}
";

/// A fault, what it is planted in the place of, and who finds it by which words.
struct Fault {
    name: &'static str,
    from: &'static str,
    to: &'static str,
    found: &'static [(Linter, &'static str)],
    /// What our own rules say, if they know it too.
    ours: Option<&'static str>,
}

const FAULTS: [Fault; 6] = [
    Fault {
        name: "unpinned action",
        from: "@9c091bb21b7c1c1d1991bb908d89e4e9dddfe3e0 # v7.0.0",
        to: "@v7",
        found: &[(Linter::Zizmor, "unpinned-uses")],
        ours: Some("is not pinned"),
    },
    Fault {
        name: "template injection",
        from: "echo \"$TITLE\"",
        to: "echo \"${{ github.event.head_commit.message }}\"",
        found: &[(Linter::Zizmor, "template-injection")],
        ours: Some("an expression in a shell line"),
    },
    Fault {
        name: "missing timeout",
        from: "    timeout-minutes: 5\n",
        to: "",
        found: &[(Linter::Timeouts, "timeout-minutes")],
        ours: Some("has no timeout-minutes"),
    },
    Fault {
        name: "bad needs",
        from: "needs: one",
        to: "needs: eno",
        found: &[(Linter::Jactionlint, "eno")],
        ours: None,
    },
    Fault {
        name: "excess permission",
        from: "permissions: {}",
        to: "permissions: write-all",
        found: &[(Linter::Zizmor, "excessive-permissions")],
        ours: Some("permissions of the workflow are not empty"),
    },
    Fault {
        name: "unknown key",
        from: "    runs-on: ubuntu-24.04\n",
        to: "    runs-on: ubuntu-24.04\n    runs-of: ubuntu-24.04\n",
        found: &[(Linter::Jactionlint, "runs-of"), (Linter::Schema, "schema")],
        ours: None,
    },
];

fn planted(fault: &Fault) -> String {
    let text = GOOD.replacen(fault.from, fault.to, 1);
    assert_ne!(text, GOOD, "{}", fault.name);
    text
}

#[test]
fn each_planted_fault_is_found_and_nothing_else_is() {
    let Some(part) = part("workflows::each_planted_fault_is_found", "actions") else { return };
    let folder = tempfile::tempdir().unwrap();
    let workflows = folder.path().join(".github/workflows");
    fs::create_dir_all(&workflows).unwrap();
    let file = workflows.join("planted.yml");
    let lint = |linter: Linter, text: &str| {
        fs::write(&file, text).unwrap();
        linter.run(&part, folder.path(), std::slice::from_ref(&file))
    };
    for linter in LINTERS {
        let output = lint(linter, GOOD);
        assert!(output.status.success(), "{linter:?}\n{}", shown(&output));
    }
    for fault in &FAULTS {
        for (linter, words) in fault.found {
            let output = lint(*linter, &planted(fault));
            let said = shown(&output);
            assert!(!output.status.success(), "{}: {linter:?} sees nothing", fault.name);
            assert!(said.to_lowercase().contains(words), "{}: {linter:?}\n{said}", fault.name);
        }
    }
}

#[test]
fn our_own_rules_find_what_they_are_for() {
    assert_eq!(complaints(GOOD), Vec::<String>::new());
    for fault in &FAULTS {
        let found = complaints(&planted(fault));
        match fault.ours {
            Some(words) => {
                assert!(found.iter().any(|line| line.contains(words)), "{}: {found:?}", fault.name);
            }
            None => assert!(!fault.found.is_empty(), "nobody finds {}", fault.name),
        }
    }
}

#[test]
fn our_own_rules_hold_for_every_workflow_and_the_action() {
    for file in files(&root()) {
        let found = complaints(&fs::read_to_string(&file).unwrap());
        assert_eq!(found, Vec::<String>::new(), "{}", file.display());
    }
}

/// What breaks a rule of ours: a job without a time limit, an action that is not pinned to a
/// commit, permissions that are not a job's own, an expression that becomes part of a shell line,
/// a checkout that leaves its token behind.
fn complaints(text: &str) -> Vec<String> {
    let file: Value = serde_yaml::from_str(text).expect("YAML");
    let mut found = Vec::new();
    let jobs = file["jobs"].as_mapping();
    if jobs.is_some() && file["permissions"].as_mapping().is_none_or(|some| !some.is_empty()) {
        found.push("the permissions of the workflow are not empty".to_owned());
    }
    for (name, job) in jobs.into_iter().flatten() {
        let name = name.as_str().unwrap();
        // A job that calls a workflow has the limits of that workflow's jobs.
        let calls = job["uses"].as_str();
        if calls.is_none() && job["timeout-minutes"].is_null() {
            found.push(format!("the job {name} has no timeout-minutes"));
        }
        found.extend(calls.filter(|uses| !is_pinned(uses)).map(not_pinned));
        found.extend(of_steps(&job["steps"]));
    }
    found.extend(of_steps(&file["runs"]["steps"]));
    found
}

fn of_steps(steps: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for step in steps.as_sequence().into_iter().flatten() {
        let uses = step["uses"].as_str();
        found.extend(uses.filter(|uses| !is_pinned(uses)).map(not_pinned));
        let checks_out = uses.is_some_and(|uses| uses.starts_with("actions/checkout@"));
        if checks_out && step["with"]["persist-credentials"] != Value::Bool(false) {
            found.push("a checkout leaves its token in the folder".to_owned());
        }
        if step["run"].as_str().is_some_and(|script| script.contains("${{")) {
            found.push(format!("an expression in a shell line: {:?}", step["run"]));
        }
    }
    found
}

fn not_pinned(uses: &str) -> String {
    format!("`{uses}` is not pinned to a commit")
}

/// Of this repository at the workflow's own commit, or of a commit named with all 40 digits.
fn is_pinned(uses: &str) -> bool {
    let is_sha = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    uses.starts_with("$/") || uses.rsplit_once('@').is_some_and(|(_, commit)| is_sha(commit))
}
