//! A stand-in for GitHub's runner, for one composite action: it does with a step what the real
//! runner does, as far as this repository's action uses it, and fails the test at anything else.
//!
//! Faithful in what bites: a step's script is run by `bash --noprofile --norc -e -o pipefail FILE`
//! with a closed input; its file commands are files of that step alone; a line of its output that
//! begins with `::` is obeyed until `stop-commands`, which holds for that step; a cancelled job
//! signals the step's process and no other, with the real pauses; conditions are looked at again
//! after that; what is left at the end of the job is found by `RUNNER_TRACKING_ID` and killed.

pub mod expression;
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

use self::expression::{Outcome, Scope};
pub use self::process::{Cancel, How};
use self::process::{Console, Exited};

/// A runner with empty folders.
pub struct Runner {
    folder: tempfile::TempDir,
    workspace: PathBuf,
    variables: BTreeMap<String, String>,
}

/// A job of one step that uses the action, after its end.
pub struct Job {
    /// How it ended.
    pub outcome: Outcome,
    /// The action's outputs.
    pub outputs: BTreeMap<String, String>,
    /// How each step ended, by name.
    pub steps: Vec<(String, Outcome)>,
    /// Everything on the console.
    pub log: String,
    /// Lines that the runner obeyed.
    pub commands: Vec<String>,
    /// The job summary.
    pub summary: String,
    /// Processes that were left, and that the runner ended.
    pub orphans: Vec<u32>,
    /// Whether a step had to be killed.
    pub killed: bool,
    artifacts: PathBuf,
}

impl Runner {
    /// A runner whose jobs work in `workspace`.
    pub fn new(workspace: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["temp", "tools", "work/models", "artifacts"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let path = |name: &str| folder.path().join(name).display().to_string();
        let fixed = [
            ("PATH", std::env::var("PATH").unwrap()),
            ("HOME", path("")),
            ("CI", "true".to_owned()),
            ("GITHUB_ACTIONS", "true".to_owned()),
            ("GITHUB_EVENT_NAME", "push".to_owned()),
            ("GITHUB_JOB", "bench".to_owned()),
            ("GITHUB_REPOSITORY", "team/models".to_owned()),
            ("GITHUB_RUN_ATTEMPT", "1".to_owned()),
            ("GITHUB_RUN_ID", "4711".to_owned()),
            ("GITHUB_SERVER_URL", "http://127.0.0.1:9".to_owned()),
            ("GITHUB_WORKSPACE", workspace.display().to_string()),
            ("RUNNER_ARCH", "X64".to_owned()),
            ("RUNNER_NAME", "gpu-0".to_owned()),
            ("RUNNER_OS", "Linux".to_owned()),
            ("RUNNER_TEMP", path("temp")),
            ("RUNNER_TOOL_CACHE", path("tools")),
            ("RUNNER_TRACKING_ID", format!("github_{}", path("").replace('/', "-"))),
            ("RUNNER_WORKSPACE", path("work/models")),
            ("SERVEGATE_LEASE_DIR", path("lease")),
        ];
        let variables = fixed.map(|(name, value)| (name.to_owned(), value)).into();
        Self { folder, workspace: workspace.to_owned(), variables }
    }

    /// The same with another variable in every step.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A folder of the runner: `temp`, `tools`, `work`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a job up to the step in which it is cancelled, as if the runner died with it; returns
    /// the processes that are left.
    pub fn without_an_end(
        &self,
        action: &Path,
        inputs: &[(&str, &str)],
        cancel: Cancel,
    ) -> Vec<u32> {
        let action_yml = read(action);
        let mut run = Run::new(self, action, declared_inputs(&action_yml, inputs), cancel);
        let mut steps = action_yml["runs"]["steps"].as_sequence().expect("steps").iter();
        while run.scope.job != Outcome::Cancelled {
            run.step(steps.next().expect("a step in which the job is cancelled"));
        }
        self.left()
    }

    /// Processes that a job has left.
    pub fn left(&self) -> Vec<u32> {
        process::tagged(&self.variables["RUNNER_TRACKING_ID"])
    }

    /// Runs a job that uses the action in this folder.
    pub fn job(&self, action: &Path, inputs: &[(&str, &str)], cancel: Cancel) -> Job {
        let action_yml = read(action);
        let mut run = Run::new(self, action, declared_inputs(&action_yml, inputs), cancel);
        for step in action_yml["runs"]["steps"].as_sequence().expect("steps") {
            run.step(step);
        }
        let orphans = process::end_orphans(&self.variables["RUNNER_TRACKING_ID"]);
        let outputs = action_yml["outputs"].as_mapping().expect("outputs");
        let outputs = outputs.iter().map(|(name, output)| {
            let value = run.scope.fill(output["value"].as_str().unwrap());
            (name.as_str().unwrap().to_owned(), value)
        });
        Job {
            outcome: run.scope.job,
            outputs: outputs.collect(),
            steps: run.ended,
            log: run.console.log,
            commands: run.console.obeyed,
            summary: run.summary,
            orphans,
            killed: run.killed,
            artifacts: self.path("artifacts"),
        }
    }
}

fn read(action: &Path) -> Value {
    let text = fs::read_to_string(action.join("action.yml")).expect("an action");
    serde_yaml::from_str(&text).expect("YAML")
}

/// The inputs with their defaults; one that is not declared fails, as the real linters have it.
fn declared_inputs(action: &Value, given: &[(&str, &str)]) -> BTreeMap<String, String> {
    let declared = action["inputs"].as_mapping().expect("inputs");
    let defaults = declared.iter().map(|(name, input)| {
        let default = input["default"].as_str().unwrap_or_default();
        (name.as_str().unwrap().to_owned(), default.to_owned())
    });
    let mut inputs: BTreeMap<String, String> = defaults.collect();
    for (name, value) in given {
        let input = inputs.get_mut(*name).unwrap_or_else(|| panic!("no input `{name}`"));
        (*value).clone_into(input);
    }
    inputs
}

impl Job {
    /// How the step of this name ended.
    #[track_caller]
    pub fn step(&self, name: &str) -> Outcome {
        let step = self.steps.iter().find(|(known, _)| known == name);
        step.unwrap_or_else(|| panic!("no step `{name}` in {:?}", self.steps)).1
    }

    /// An artifact's folder.
    pub fn artifact(&self, name: &str) -> PathBuf {
        self.artifacts.join(name)
    }

    /// Everything that a person sees.
    pub fn transcript(&self) -> String {
        format!("{:?} {:?}\n{}\n{}", self.steps, self.outputs, self.log, self.summary)
    }
}

/// A job under way.
struct Run<'a> {
    runner: &'a Runner,
    action: &'a Path,
    scope: Scope,
    console: Console,
    path: Vec<String>,
    summary: String,
    ended: Vec<(String, Outcome)>,
    killed: bool,
    cancel: Cancel,
}

impl<'a> Run<'a> {
    fn new(
        runner: &'a Runner,
        action: &'a Path,
        inputs: BTreeMap<String, String>,
        cancel: Cancel,
    ) -> Self {
        Self {
            runner,
            action,
            scope: Scope::new(inputs),
            console: Console::default(),
            path: Vec::new(),
            summary: String::new(),
            ended: Vec::new(),
            killed: false,
            cancel,
        }
    }

    fn step(&mut self, step: &Value) {
        let name = step["name"].as_str().expect("a name").to_owned();
        let id = step["id"].as_str().unwrap_or(&name).to_owned();
        let outcome = if self.scope.holds(step["if"].as_str()) {
            match (step["run"].as_str(), step["uses"].as_str()) {
                (Some(script), None) => self.script(step, &id, script),
                (None, Some(uses)) if uses.starts_with("actions/upload-artifact@") => {
                    self.upload(step)
                }
                other => panic!("the stand-in does not know {other:?}"),
            }
        } else {
            Outcome::Skipped
        };
        self.scope.end_step(&id, outcome);
        self.ended.push((name, outcome));
    }

    fn script(&mut self, step: &Value, id: &str, script: &str) -> Outcome {
        assert_eq!(step["shell"].as_str(), Some("bash"), "a composite step names its shell");
        let temp = self.runner.path("temp");
        let file = temp.join(format!("{id}-script.sh"));
        fs::write(&file, script).unwrap();
        let mut environment = self.runner.variables.clone();
        for (name, value) in step["env"].as_mapping().into_iter().flatten() {
            let value = self.scope.fill(value.as_str().expect("a text"));
            environment.insert(name.as_str().unwrap().to_owned(), value);
        }
        let commands = ["OUTPUT", "ENV", "PATH", "STATE", "STEP_SUMMARY"].map(|name| {
            let file = temp.join(format!("{name}-{id}"));
            fs::write(&file, "").unwrap();
            (format!("GITHUB_{name}"), file)
        });
        for (name, file) in &commands {
            environment.insert(name.clone(), file.display().to_string());
        }
        environment.insert("GITHUB_ACTION_PATH".to_owned(), self.action.display().to_string());
        let found: Vec<&str> = self.path.iter().rev().map(String::as_str).collect();
        let path = [&found[..], &[self.runner.variables["PATH"].as_str()]].concat().join(":");
        environment.insert("PATH".to_owned(), path);
        let cancel = if id == self.cancel.step { Some(&self.cancel) } else { None };
        let exited =
            process::run(&file, &self.runner.workspace, &environment, &mut self.console, cancel);
        self.obey_files(id, &commands);
        self.judge(&exited)
    }

    fn judge(&mut self, exited: &Exited) -> Outcome {
        self.killed |= exited.killed;
        match (exited.cancelled, exited.code) {
            (true, _) => Outcome::Cancelled,
            (false, Some(0)) => Outcome::Success,
            (false, code) => {
                self.console.log += &format!("Error: Process completed with exit code {code:?}.\n");
                Outcome::Failure
            }
        }
    }

    fn obey_files(&mut self, id: &str, commands: &[(String, PathBuf); 5]) {
        let [output, environment, path, _, summary] =
            commands.each_ref().map(|(_, file)| fs::read_to_string(file).unwrap());
        assert_eq!(environment, "", "the action sets no variable for the caller's later steps");
        for line in output.lines() {
            let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("output {line:?}"));
            self.scope.set_output(id, name, value);
        }
        self.path.extend(path.lines().map(str::to_owned));
        assert!(summary.len() <= 1 << 20, "over 1 MiB the real runner shows nothing of it");
        self.summary += &summary;
    }

    fn upload(&self, step: &Value) -> Outcome {
        let with = |name: &str| self.scope.fill(step["with"][name].as_str().unwrap_or_default());
        let (name, paths) = (with("name"), with("path"));
        let (without, of): (Vec<&str>, Vec<&str>) =
            paths.lines().filter(|line| !line.is_empty()).partition(|line| line.starts_with('!'));
        let [root] = of[..] else { panic!("one folder: {paths}") };
        let without: Vec<PathBuf> = without.iter().map(|line| PathBuf::from(&line[1..])).collect();
        let artifact = self.runner.path("artifacts").join(name);
        let _ = fs::remove_dir_all(&artifact);
        copy(Path::new(root), &artifact, &without);
        Outcome::Success
    }
}

fn copy(from: &Path, to: &Path, without: &[PathBuf]) {
    for entry in fs::read_dir(from).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        let target = to.join(entry.file_name().unwrap());
        if without.contains(&entry) {
            continue;
        }
        if entry.is_dir() {
            copy(&entry, &target, without);
        } else {
            fs::create_dir_all(to).unwrap();
            fs::copy(&entry, &target).unwrap();
        }
    }
}
