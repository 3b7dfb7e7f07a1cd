//! The GitHub action, from its first step to its last, in the stand-in for the runner.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::runner::expression::Outcome;
use crate::runner::{Cancel, How, Job, Runner};
use crate::world::{World, event, part};

/// The binary under test, as the input `binary`.
const BINARY: (&str, &str) = ("binary", env!("CARGO_BIN_EXE_servegate"));

/// A session on the simulated server that is as small as it can be.
const SMALL: &str = "--num-prompts=6\n--random-input-len=16\n--random-output-len=8";

/// A steady card whose steps are slow, for a change that cannot be missed.
const SLOWER: &str = "--num-prompts=16\n--random-input-len=16\n--random-output-len=16\n\
                      --random-range-ratio=1\n--server-arg=--noise=0\n--server-arg=--drift=0\n\
                      --server-arg=--step-base-ms=20\n--candidate-server-arg=--step-base-ms=40";

/// A load that takes far longer than the test.
const LONG: &str = "--num-prompts=2000\n--max-concurrency=1";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().unwrap()
}

fn action() -> PathBuf {
    root().join(".github/actions/bench")
}

fn run(runner: &Runner, inputs: &[(&str, &str)]) -> Job {
    runner.job(&action(), inputs, Cancel::never())
}

/// The one file of an artifact with this name, somewhere in its tree.
#[track_caller]
fn file_in(job: &Job, name: &str) -> String {
    let found = tree(&job.artifact("servegate")).into_iter().filter(|path| path.ends_with(name));
    let found: Vec<_> = found.collect();
    let [file] = &found[..] else { panic!("{found:?}\n{}", job.transcript()) };
    fs::read_to_string(file).unwrap()
}

/// Every file below a folder.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if path.is_dir() { files.extend(tree(&path)) } else { files.push(path) }
    }
    files
}

fn has_errors(job: &Job) -> bool {
    job.commands.iter().any(|line| line.starts_with("::error"))
}

#[test]
fn a_first_run_measures_reports_and_uploads_and_leaves_nothing() {
    let world = World::new();
    let runner = Runner::new(world.path());
    let job = run(&runner, &[BINARY, ("args", SMALL)]);
    let shown = job.transcript();
    assert_eq!(job.outcome, Outcome::Success, "{shown}");
    assert_eq!(job.outputs["verdict"], "missing-baseline", "{shown}");
    assert_eq!(job.outputs["exit-code"], "0");
    assert!(job.summary.starts_with("## 🆕 servegate: missing baseline\n"), "{shown}");
    assert!(job.summary.contains(&format!("session {}", job.outputs["session"])), "{shown}");
    assert!(!has_errors(&job), "{shown}");
    assert_eq!(job.commands.iter().filter(|line| line.starts_with("::warning")).count(), 1);
    assert!(file_in(&job, "junit.xml").contains("<testsuite"));
    assert!(file_in(&job, "journal.jsonl").contains("session-closed"));
    assert!(Path::new(&job.outputs["report"]).is_file());
    assert_eq!(job.orphans, Vec::<u32>::new());
    assert!(world.is_untouched(), "nothing is written into the checkout");
}

#[test]
fn a_regression_fails_the_job_with_an_annotation_and_a_failed_case() {
    let world = World::new();
    let runner = Runner::new(world.path());
    let job = run(&runner, &[BINARY, ("mode", "ab"), ("args", SLOWER)]);
    let shown = job.transcript();
    assert_eq!(job.step("Measure"), Outcome::Failure, "{shown}");
    assert_eq!(job.outcome, Outcome::Failure);
    assert_eq!(
        (&*job.outputs["verdict"], &*job.outputs["exit-code"]),
        ("regressed", "1"),
        "{shown}"
    );
    let annotation = "::error title=servegate%3A regressed%3A ";
    assert!(job.commands.iter().any(|line| line.starts_with(annotation)), "{:?}", job.commands);
    assert!(file_in(&job, "junit.xml").contains("<failure "), "{shown}");
    assert!(job.summary.starts_with("## ❌ servegate: regressed\n"), "{shown}");
}

#[test]
fn its_junit_is_accepted_whether_or_not_there_was_a_session() {
    let Some(junit) = part("actions::its_junit_is_accepted", "junit") else { return };
    let world = World::new();
    let runner = Runner::new(world.path());
    for (args, verdict) in [(SMALL, "missing-baseline"), ("--no-such-flag", "broken")] {
        let job = run(&runner, &[BINARY, ("args", args)]);
        assert_eq!(job.outputs["verdict"], verdict, "{}", job.transcript());
        let script = root().join("tests/parts/check_junit.py");
        let checked = Command::new(junit.join("bin/python"))
            .arg(script)
            .arg(&job.outputs["junit"])
            .output()
            .expect("python starts");
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    }
}

/// Whether a session below the runner's folder is sending its load.
fn is_measuring(work: &Path) -> bool {
    let journals = tree(work).into_iter().filter(|path| path.ends_with("journal.jsonl"));
    let mut texts = journals.filter_map(|journal| fs::read_to_string(journal).ok());
    texts.any(|text| {
        // The last line may be half written.
        let mut entries = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        entries.any(|entry: Value| {
            let name = entry["name"].as_str().unwrap_or_default();
            event(&entry) == "step-started" && name.ends_with("/measure")
        })
    })
}

/// The runner is handed on: what it keeps goes with it.
fn cancelled(world: &World, how: How, args: &str) -> (Runner, Job) {
    let runner = Runner::new(world.path());
    let work = runner.path("work");
    let cancel = Cancel::measuring(how, move || is_measuring(&work));
    let job = runner.job(&action(), &[BINARY, ("args", args)], cancel);
    (runner, job)
}

fn assert_reported_and_gone(job: &Job) {
    let shown = job.transcript();
    assert_eq!(job.step("Measure"), Outcome::Cancelled, "{shown}");
    assert_eq!(job.step("Report"), Outcome::Success, "{shown}");
    assert_eq!(job.orphans, Vec::<u32>::new(), "{shown}");
    assert!(file_in(job, "junit.xml").contains("<error "), "{shown}");
    assert!(file_in(job, "server.log").len() < 1 << 20);
    // A servegate that was killed could not write down that it was told to stop.
    let titles = ["## 🛑 servegate: cancelled\n", "## 💥 servegate: broken\n"];
    assert!(titles.iter().any(|title| job.summary.starts_with(title)), "{shown}");
}

#[test]
fn a_cancelled_job_ends_its_server_and_keeps_its_results_within_the_runners_ten_seconds() {
    for args in [LONG.to_owned(), format!("{LONG}\n--server-arg=--fault=ignore-sigterm")] {
        let (_runner, job) = cancelled(&World::new(), How::Signals, &args);
        assert!(!job.killed, "servegate ended by itself\n{}", job.transcript());
        assert_reported_and_gone(&job);
        assert_eq!((&*job.outputs["verdict"], &*job.outputs["exit-code"]), ("cancelled", "143"));
    }
}

#[test]
fn what_a_killed_servegate_leaves_is_ended_by_the_report_step() {
    let (_runner, job) = cancelled(&World::new(), How::Killed, LONG);
    assert_reported_and_gone(&job);
    assert_eq!((&*job.outputs["verdict"], &*job.outputs["exit-code"]), ("broken", ""));
}

#[test]
fn hostile_inputs_leave_no_trace() {
    let world = World::new();
    let runner = Runner::new(world.path());
    let evil = "$(touch x)`touch x`'\"; touch x #\n::error::pwned\n##[error]pwned\n::set-output \
                name=verdict::pass\nverdict=pass\r\n--json";
    let cases = [("model", evil), ("framework", evil), ("profile", evil), ("gate", evil)];
    let more = [("runs", evil), ("device", evil), ("mode", evil), ("baselines", evil)];
    for (name, value) in cases.into_iter().chain(more) {
        let job = run(&runner, &[BINARY, ("args", SMALL), (name, value)]);
        let shown = job.transcript();
        assert_ne!(job.outputs["verdict"], "pass", "{name}: {shown}");
        let own = |line: &String| line.starts_with("::") && !line.starts_with("::error::pwned");
        assert!(job.commands.iter().all(own), "{name}: {shown}");
        let folders = [world.path().to_owned(), runner.path("work"), runner.path("temp"), action()];
        for folder in folders {
            let traces = tree(&folder).into_iter().filter(|path| path.ends_with("x"));
            assert_eq!(traces.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{name}: {shown}");
        }
    }
    let args = format!("{SMALL}\n{evil}");
    let job = run(&runner, &[BINARY, ("args", args.as_str())]);
    assert_eq!(job.outcome, Outcome::Failure, "{}", job.transcript());
    assert!(!job.commands.iter().any(|line| line.starts_with("::error::pwned")));
}

#[test]
fn wrong_inputs_end_before_anything_is_touched() {
    let world = World::new();
    let runner = Runner::new(world.path());
    for (name, value) in [("mode", "bnech"), ("runs", "0"), ("gate", "yes"), ("device", "tpu")] {
        let job = run(&runner, &[BINARY, (name, value)]);
        assert_eq!(job.step("Prepare"), Outcome::Failure);
        let [line] = &job.commands[..] else { panic!("{:?}", job.commands) };
        assert!(line.contains(&format!("{name} is `{value}`")), "{line}");
        assert_eq!(tree(&runner.path("work")), Vec::<PathBuf>::new());
    }
}

/// A copy of the action where the runner keeps those of other repositories.
fn fetched_action(runner: &Runner) -> PathBuf {
    let place = runner.path("work").join("_actions/team/servegate/v1");
    let action = place.join(".github/actions/bench");
    fs::create_dir_all(&action).unwrap();
    for file in tree(&self::action()) {
        fs::copy(&file, action.join(file.file_name().unwrap())).unwrap();
    }
    fs::copy(root().join("Cargo.toml"), place.join("Cargo.toml")).unwrap();
    action
}

/// Serves a release on a free port until the test process ends; returns the server's URL.
fn release(files: Vec<(String, Vec<u8>)>) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let found = files.iter().find(|(name, _)| request.contains(&format!("/{name} ")));
            let (status, body) =
                found.map_or(("404 Not Found", &[][..]), |(_, bytes)| ("200 OK", bytes.as_slice()));
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
        }
    });
    url
}

const ARCHIVE: &str = "servegate-x86_64-unknown-linux-gnu.tar.gz";

/// An archive with a program that only tells its version, and the line of SHA256SUMS for it.
fn archive(folder: &Path) -> (Vec<u8>, String) {
    let program = folder.join("servegate");
    executable(&program, "#!/bin/sh\necho servegate 0.1.0\n");
    let tar = Command::new("tar").args(["-czf", ARCHIVE, "servegate"]).current_dir(folder).status();
    assert!(tar.unwrap().success());
    let sum = Command::new("sha256sum").arg(ARCHIVE).current_dir(folder).output().unwrap();
    (fs::read(folder.join(ARCHIVE)).unwrap(), String::from_utf8(sum.stdout).unwrap())
}

fn executable(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_release_is_downloaded_once_and_only_used_with_the_right_digest() {
    let world = World::new();
    let (bytes, sums) = archive(world.path());
    let release_url = |bytes: &[u8]| {
        release(vec![
            (ARCHIVE.to_owned(), bytes.to_vec()),
            ("SHA256SUMS".to_owned(), sums.clone().into_bytes()),
        ])
    };
    let runner = Runner::new(world.path()).with("GITHUB_SERVER_URL", &release_url(b"changed"));
    let action = fetched_action(&runner);
    let install = |runner: &Runner, digest: &str| {
        let inputs = [("mode", "install"), ("sha256", digest)];
        runner.job(&action, &inputs, Cancel::never())
    };
    let refused = install(&runner, "");
    assert_eq!(refused.step("Install servegate"), Outcome::Failure, "{}", refused.transcript());
    assert!(refused.commands[0].contains("it is not used"), "{:?}", refused.commands);

    let runner = runner.with("GITHUB_SERVER_URL", &release_url(&bytes));
    let job = install(&runner, "");
    assert_eq!(job.outcome, Outcome::Success, "{}", job.transcript());
    assert!(job.log.contains("servegate 0.1.0: "), "{}", job.log);

    let runner = runner.with("GITHUB_SERVER_URL", "http://127.0.0.1:9");
    let cached = install(&runner, sums.split(' ').next().unwrap());
    assert_eq!(cached.outcome, Outcome::Success, "needs no network\n{}", cached.transcript());
    let other = install(&runner, &"0".repeat(64));
    assert_eq!(other.outcome, Outcome::Failure, "the caller's digest counts");
}

#[test]
fn without_a_release_it_is_built_from_the_source_beside_the_action() {
    let world = World::new();
    let tools = world.path().join("bin");
    fs::create_dir(&tools).unwrap();
    let cargo = "#!/bin/sh\necho cargo \"$@\"\nmkdir -p \"$CARGO_TARGET_DIR/tool\"\n\
                 printf '#!/bin/sh\\necho servegate built\\n' >\"$CARGO_TARGET_DIR/tool/servegate\"\n\
                 chmod +x \"$CARGO_TARGET_DIR/tool/servegate\"\n";
    executable(&tools.join("cargo"), cargo);
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let runner = Runner::new(world.path()).with("PATH", &path);
    let job = runner.job(&action(), &[("mode", "install")], Cancel::never());
    assert_eq!(job.outcome, Outcome::Success, "{}", job.transcript());
    assert!(job.log.contains("cargo build --locked --profile tool"), "{}", job.log);
    assert!(job.log.contains("servegate built: "), "{}", job.log);
}

/// The README's workflow, as its first block of YAML with a job has it.
fn newcomers_file() -> serde_yaml::Value {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut blocks = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let block = blocks.find(|block| block.contains("\njobs:\n"));
    serde_yaml::from_str(block.expect("a block of YAML")).expect("YAML")
}

#[test]
fn a_newcomer_gets_a_verdict_from_one_file_with_one_uses_line_and_at_most_five_inputs() {
    let file = newcomers_file();
    let jobs = file["jobs"].as_mapping().unwrap();
    let [(_, job)] = jobs.iter().collect::<Vec<_>>()[..] else { panic!("one job: {jobs:?}") };
    let [step] = &job["steps"].as_sequence().unwrap()[..] else { panic!("one step") };
    let uses = step["uses"].as_str().unwrap();
    assert!(uses.starts_with("OWNER/servegate/.github/actions/bench@"), "{uses}");
    let inputs = step["with"].as_mapping().unwrap();
    assert!(inputs.len() <= 5, "{inputs:?}");

    // The same inputs, but for a server that needs no GPU; servegate is on the runner's PATH.
    let simulated = |name: &str| match name {
        "framework" => "sim",
        "model" => "sim/tiny",
        "profile" => "smoke",
        "args" => SMALL,
        other => panic!("an input `{other}` that this test does not know"),
    };
    let inputs: Vec<_> = inputs.keys().map(|name| name.as_str().unwrap()).collect();
    let inputs: Vec<_> = inputs.iter().map(|name| (*name, simulated(name))).collect();
    let world = World::new();
    let bin = Path::new(BINARY.1).parent().unwrap().display();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let runner = Runner::new(world.path()).with("PATH", &path);
    let action = fetched_action(&runner);
    let job = runner.job(&action, &inputs, Cancel::never());
    assert_eq!(job.outcome, Outcome::Success, "{}", job.transcript());
    assert_eq!(job.outputs["verdict"], "missing-baseline", "{}", job.transcript());
}

#[test]
fn the_hooks_end_what_a_crash_left_and_ask_whether_the_machine_is_fit() {
    let world = World::new();
    let runner = Runner::new(world.path());
    let work = runner.path("work");
    // The runner itself dies with the job: nothing of it comes after.
    let cancel = Cancel::measuring(How::Killed, move || is_measuring(&work));
    let inputs = [BINARY, ("args", LONG)];
    let left = runner.without_an_end(&action(), &inputs, cancel);
    assert!(!left.is_empty(), "a server is left");
    for (hook, says) in [("job-started.sh", "fit to measure on"), ("job-completed.sh", "")] {
        let workspace = runner.path("work").join("models");
        let output = Command::new(root().join(".github/runner").join(hook))
            .envs([("SERVEGATE", Path::new(BINARY.1)), ("RUNNER_WORKSPACE", workspace.as_path())])
            .env("SERVEGATE_LEASE_DIR", runner.path("lease"))
            .current_dir(world.path())
            .output()
            .expect("the hook starts");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains(says), "{hook}: {said}");
        assert_eq!(runner.left(), Vec::<u32>::new(), "{hook}: {said}");
    }
}
