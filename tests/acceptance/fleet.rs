//! A fleet of runners: the matrix that it is given, and the runs that come back put together.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::{Ended, World, part};

/// A load that is small, with answers that are too long to come in one piece on a busy machine.
const LOAD: &str = "[--num-prompts=6, --random-input-len=16, --random-output-len=32, \
                    --random-range-ratio=1, --dataset-name=random-ids]";

/// The file that says which GPU the cells have, in the world's folder.
const GPU: &str = "gpu.json";

const H100: &str = "NVIDIA H100 80GB HBM3";

/// A scripted H100 in the world's folder, under a product name of one's own.
fn scripted_gpu(world: &World, file: &str, name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/gpu");
    let script = fs::read_to_string(fixtures.join("h100-idle.json")).unwrap();
    let mut script: Value = serde_json::from_str(&script).unwrap();
    rename(&mut script, name);
    let path = world.path().join(file);
    fs::write(&path, script.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}

fn rename(value: &mut Value, name: &str) {
    match value {
        Value::Object(map) => map.iter_mut().for_each(|(key, value)| match value {
            Value::String(text) if key == "name" && text.contains("H100") => {
                *text = name.to_owned()
            }
            value => rename(value, name),
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, name)),
        _ => {}
    }
}

/// Three frameworks, two profiles and two kinds of runner; the third is llama.cpp where it is
/// installed, and else one more way to run the simulated server.
fn plan(world: &World) -> PathBuf {
    let name = "fleet::cells_of_many_runners_are_put_together (llama.cpp as the third framework)";
    let third = match part(name, "llama") {
        Some(llama) => {
            let file = |name: &str| llama.join(name).to_str().unwrap().to_owned();
            let framework = format!(
                "{{name: llama-cpp, executable: {}, cost: 3, bench_args: [--engine=native, --device=cpu]}}",
                file("venv/bin/python")
            );
            let model = format!(
                "{{name: qwen2, model: {}, tokenizer: {}, frameworks: [llama-cpp]}}",
                file("tiny-qwen2.gguf"),
                file("tiny-qwen2")
            );
            (framework, model)
        }
        None => {
            let framework =
                "{name: sim-third, framework: sim, cost: 3, bench_args: [--device=cpu]}";
            (framework.to_owned(), "{name: third, frameworks: [sim-third]}".to_owned())
        }
    };
    let gpu = scripted_gpu(world, GPU, H100);
    let text = format!(
        "version: 1
frameworks:
  - {{name: sim, bench_args: [--device=gpu, --gpu-source={gpu}]}}
  - {{name: sim-slow, framework: sim, server_args: [--step-base-ms=8], cost: 2, bench_args: [--device=gpu, --gpu-source={gpu}]}}
  - {}
models:
  - {{name: tiny, frameworks: [sim, sim-slow]}}
  - {}
profiles: [smoke, {{name: random-256-256, cost: 4}}]
runners: [{{name: rack-a, labels: [self-hosted, rack-a]}}, rack-b]
bench_args: {LOAD}
",
        third.0, third.1
    );
    let file = world.path().join("fleet.yaml");
    fs::write(&file, text).unwrap();
    file
}

fn matrix(world: &World, plan: &Path) -> Vec<Value> {
    let ended = world.run(&["matrix", "--plan", plan.to_str().unwrap()]).expect(0);
    let matrix: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(matrix.as_object().unwrap().keys().collect::<Vec<_>>(), ["include"]);
    matrix["include"].as_array().unwrap().clone()
}

fn id(cell: &Value) -> &str {
    cell["id"].as_str().unwrap()
}

/// Runs a cell as its job would: a process of its own, results in a folder of its own.
fn job(world: &World, cell: &Value, artifact: &str, more: &[&str]) -> Ended {
    let folder = world.path().join("artifacts").join(artifact);
    let results = format!("--results={}", folder.display());
    let args = cell["args"].as_str().unwrap().lines();
    let args = ["bench"].into_iter().chain(args).chain(more.iter().copied());
    let args: Vec<&str> = args.chain([results.as_str()]).collect();
    let mut command = world.command(&args);
    command.env("SERVEGATE_CELL", id(cell)).env("SERVEGATE_LEASE_DIR", folder.join("lease"));
    crate::world::ended(world.start(command))
}

fn fan_in(world: &World, more: &[&str]) -> Ended {
    let args = ["compare", "--from", "artifacts", "--plan", "fleet.yaml"];
    world.run(&[&args[..], more].concat())
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn cells_of_many_runners_are_put_together_and_what_is_odd_is_named() {
    let world = World::impatient();
    let cells = matrix(&world, &plan(&world));
    assert_eq!(cells.len(), 12);
    assert_eq!(cells[0]["canary"], true);
    for cell in &cells {
        job(&world, cell, &format!("bench-{}", id(cell)), &[]).expect(0);
    }
    whole(&world);
    missing(&world, &cells[3]);
    duplicate(&world, &cells[4]);
    invalid(&world, &cells[1]);
    other_gpu(&world, &cells[0]);
    everything_at_once(&world, &cells);
}

/// All there: what is missing are baselines, and a comment and a summary say so.
fn whole(world: &World) {
    let files = ["--summary", "s.md", "--comment", "c.md", "--junit", "j.xml"];
    let ended = fan_in(world, &files).expect(0);
    assert!(ended.stdout.contains("12 missing-baseline (12 of 12 planned"), "{}", ended.stdout);
    fan_in(world, &["--require-baseline"]).expect(3);
    let read = |file: &str| fs::read_to_string(world.path().join(file)).unwrap();
    assert!(read("c.md").starts_with("<!-- servegate:servegate -->\n"));
    assert!(read("s.md").contains("| Mean TTFT (ms) |"), "{}", read("s.md"));
    assert_eq!(read("j.xml").matches("name=\"cell\"").count(), 12);
    let json: Value = serde_json::from_str(&fan_in(world, &["--json"]).expect(0).stdout).unwrap();
    assert_eq!(json["cells"].as_array().unwrap().len(), 12);
    let annotated = fan_in(world, &["--annotations"]).expect(0).stdout;
    let annotations = annotated.lines().filter(|line| line.starts_with("::"));
    assert_eq!(annotations.filter(|line| line.starts_with("::warning ")).count(), 2, "{annotated}");
}

fn missing(world: &World, cell: &Value) {
    let (artifact, aside) = (artifact(world, cell), world.path().join("aside"));
    fs::rename(&artifact, &aside).unwrap();
    let ended = fan_in(world, &[]).expect(4);
    assert_named(&ended, "MISSING", cell);
    // An artifact without a session is not nothing: its job was there.
    fs::create_dir(&artifact).unwrap();
    assert_named(&fan_in(world, &[]).expect(4), "FAILED", cell);
    fs::remove_dir(&artifact).unwrap();
    fs::rename(&aside, &artifact).unwrap();
    fan_in(world, &[]).expect(0);
}

fn duplicate(world: &World, cell: &Value) {
    let again = world.path().join("artifacts/downloaded-again");
    copy(&artifact(world, cell), &again);
    let ended = fan_in(world, &[]).expect(0);
    assert!(ended.stdout.contains("counted once"), "{}", ended.stdout);
    assert!(ended.stdout.contains("12 of 12 planned"), "{}", ended.stdout);
    // Changed afterwards it contradicts itself.
    let journal = journals(&again).pop().unwrap();
    let text = fs::read_to_string(&journal).unwrap();
    let (at, metric) = (text.find("\"mean_ttft_ms\":").unwrap(), "\"mean_ttft_ms\":".len());
    fs::write(&journal, format!("{}1{}", &text[..at + metric], &text[at + metric..])).unwrap();
    assert_named(&fan_in(world, &[]).expect(4), "INVALID", cell);
    fs::remove_dir_all(&again).unwrap();
    // A later session of the cell takes the place of the earlier one, and both are told of.
    job(world, cell, "second-attempt", &[]).expect(0);
    let ended = fan_in(world, &[]).expect(0);
    assert!(ended.stdout.contains("replaces the earlier session"), "{}", ended.stdout);
    fs::remove_dir_all(world.path().join("artifacts/second-attempt")).unwrap();
}

fn invalid(world: &World, cell: &Value) {
    let failing = ["--server-arg=--fault=error-mid-stream:after=8"];
    job(world, cell, "bad-attempt", &failing).expect(4);
    assert_named(&fan_in(world, &[]).expect(4), "INVALID", cell);
    let bad = world.path().join("artifacts/bad-attempt");
    let journal = journals(&bad).pop().unwrap();
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("step-succeeded", "step-scceeded", 1)).unwrap();
    // Nobody can read any more which cell it was: its name does not tell either.
    let ended = fan_in(world, &[]).expect(0);
    assert!(ended.stdout.contains("`bad-attempt/runs/"), "{}", ended.stdout);
    let named = world.path().join(format!("artifacts/bench-{}-2", id(cell)));
    fs::rename(&bad, &named).unwrap();
    fs::rename(artifact(world, cell), world.path().join("aside")).unwrap();
    assert_named(&fan_in(world, &[]).expect(4), "INVALID", cell);
    fs::rename(world.path().join("aside"), artifact(world, cell)).unwrap();
    fs::remove_dir_all(&named).unwrap();
}

fn other_gpu(world: &World, cell: &Value) {
    scripted_gpu(world, GPU, "NVIDIA A10G");
    let (runner, aside) = (artifact(world, cell), world.path().join("aside"));
    fs::rename(&runner, &aside).unwrap();
    job(world, cell, "other-gpu", &[]).expect(0);
    scripted_gpu(world, GPU, H100);
    let ended = fan_in(world, &[]).expect(3);
    assert_named(&ended, "INCOMPARABLE", cell);
    assert!(ended.stdout.contains("ran on NVIDIA A10G"), "{}", ended.stdout);
    fs::remove_dir_all(world.path().join("artifacts/other-gpu")).unwrap();
    fs::rename(&aside, &runner).unwrap();
}

/// The worst decides, and each is still named; so is what the plan does not have.
fn everything_at_once(world: &World, cells: &[Value]) {
    fs::remove_dir_all(artifact(world, &cells[3])).unwrap();
    copy(&artifact(world, &cells[4]), &world.path().join("artifacts/again"));
    let plan = fs::read_to_string(world.path().join("fleet.yaml")).unwrap();
    let smaller = plan.replace("[smoke, ", "[").replace(LOAD, &LOAD.replace("=6", "=7"));
    fs::write(world.path().join("fleet.yaml"), &smaller).unwrap();
    // Another plan: nothing that was measured is of it.
    let ended = fan_in(world, &[]).expect(4);
    assert!(ended.stdout.contains("6 missing (0 of 6 planned"), "{}", ended.stdout);
    assert!(ended.stdout.contains("which the plan does not have"), "{}", ended.stdout);
    fs::write(world.path().join("fleet.yaml"), plan).unwrap();
    let ended = fan_in(world, &["--annotations"]).expect(4);
    assert!(ended.stdout.contains("1 missing, 11 missing-baseline"), "{}", ended.stdout);
    assert!(ended.stdout.contains("\n::error title=servegate%3A "), "{}", ended.stdout);
}

fn artifact(world: &World, cell: &Value) -> PathBuf {
    world.path().join("artifacts").join(format!("bench-{}", id(cell)))
}

fn journals(artifact: &Path) -> Vec<PathBuf> {
    let runs = fs::read_dir(artifact.join("runs")).unwrap();
    runs.map(|run| run.unwrap().path().join("journal.jsonl")).collect()
}

#[track_caller]
fn assert_named(ended: &Ended, word: &str, cell: &Value) {
    let named =
        |line: &str| line.starts_with(word) && line.contains(cell["title"].as_str().unwrap());
    assert!(ended.stdout.lines().any(named), "{word}\n{}", ended.transcript());
}

#[test]
fn an_experiment_keeps_the_verdict_that_it_came_to() {
    let world = World::impatient();
    let slow = ["--noise=0", "--drift=0", "--step-base-ms=20"];
    let slow: Vec<String> = slow.iter().map(|arg| format!("--server-arg={arg}")).collect();
    let load = ["--num-prompts=16", "--random-input-len=16", "--random-output-len=16"];
    let more =
        ["--candidate-server-arg=--step-base-ms=30", "--results=artifacts/one", "--cell=one"];
    let slow: Vec<&str> = slow.iter().map(String::as_str).collect();
    world.run(&[&["ab"], &load[..], &slow, &more].concat()).expect(1);
    let ended = world.run(&["compare", "--from", "artifacts", "--annotations"]).expect(1);
    assert!(ended.stdout.contains("REGRESSED "), "{}", ended.stdout);
    assert!(ended.stdout.contains("\n::error title=servegate%3A smoke::1 regressed%0A"));
}

#[test]
fn an_empty_set_is_an_error_and_says_so_in_every_report() {
    let world = World::new();
    fs::create_dir(world.path().join("artifacts")).unwrap();
    let files = ["--summary", "s.md", "--comment", "c.md", "--junit", "j.xml", "--annotations"];
    let ended = world.run(&[&["compare", "--from", "artifacts"], &files[..]].concat()).expect(4);
    assert!(
        ended.stdout.contains("::error title=servegate::no cell was found"),
        "{}",
        ended.stdout
    );
    for file in ["s.md", "c.md", "j.xml"] {
        let text = fs::read_to_string(world.path().join(file)).unwrap();
        assert!(text.to_lowercase().contains("no cell was found"), "{text}");
    }
    let nowhere = world.run(&["compare", "--from", "nowhere"]).expect(64);
    insta::assert_snapshot!(nowhere.transcript());
}

const SMALL: &str = "version: 1
frameworks: [sim, {name: vllm-eager, framework: vllm, server_args: [--enforce-eager], cost: 3}]
models: [{name: qwen, model: \"$(touch x); `y` '\\\"\", tokenizer: tok}]
profiles: [smoke, {name: random-256-256, cost: 4}]
runners: [{name: h100, labels: [self-hosted, h100], gpu: NVIDIA H100}, {name: a10g, cost: 0.5}]
exclude: [{framework: vllm-eager, runner: a10g}]
";

#[test]
fn a_matrix_is_one_line_that_no_text_of_the_plan_can_break() {
    let world = World::new();
    fs::write(world.path().join("fleet.yaml"), SMALL).unwrap();
    let listed = world.run(&["matrix", "--plan", "fleet.yaml", "--list"]).expect(0);
    insta::assert_snapshot!(listed.transcript());
    let output = world.path().join("output");
    fs::write(&output, "before=1").unwrap();
    let mut command = world.command(&["matrix", "--plan", "fleet.yaml", "--output", "github"]);
    command.env("GITHUB_OUTPUT", &output);
    crate::world::ended(world.start(command)).expect(0);
    let text = fs::read_to_string(&output).unwrap();
    let names: Vec<_> = text.lines().map(|line| line.split('=').next().unwrap()).collect();
    assert_eq!(names, ["before", "matrix", "batches", "cells"]);
    let matrix: Value =
        serde_json::from_str(&text.lines().nth(1).unwrap()["matrix=".len()..]).unwrap();
    assert_eq!(matrix["include"].as_array().unwrap().len(), 6);
    assert_eq!(matrix["include"][0]["model"], "$(touch x); `y` '\"");
    let mut command = world.command(&["matrix", "--plan", "fleet.yaml", "--output", "github"]);
    command.env_remove("GITHUB_OUTPUT");
    let unset = crate::world::ended(world.start(command)).expect(64);
    assert!(unset.stderr.contains("GITHUB_OUTPUT"), "{}", unset.transcript());
}

#[test]
fn more_cells_than_a_matrix_holds_come_in_numbered_batches() {
    let world = World::new();
    let models: Vec<String> = (0..75).map(|number| format!("m{number}")).collect();
    let plan = SMALL.replace(
        "[{name: qwen, model: \"$(touch x); `y` '\\\"\", tokenizer: tok}]",
        &format!("[{}]", models.join(", ")),
    );
    fs::write(world.path().join("fleet.yaml"), plan).unwrap();
    let matrix = |more: &[&str]| -> Value {
        let args = [&["matrix", "--plan", "fleet.yaml"], more].concat();
        serde_json::from_str(&world.run(&args).expect(0).stdout).unwrap()
    };
    let all = matrix(&[]);
    let sizes: Vec<usize> = all["batches"]
        .as_array()
        .unwrap()
        .iter()
        .map(|batch| batch["include"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [256, 194]);
    assert_eq!(matrix(&["--batch", "2"])["include"], all["batches"][1]["include"]);
    let beyond = world.run(&["matrix", "--plan", "fleet.yaml", "--batch", "3"]).expect(64);
    assert!(beyond.stderr.contains("there is no batch 3"), "{}", beyond.transcript());
}

#[test]
fn a_wrong_plan_is_refused_with_every_fault_and_its_line() {
    let world = World::new();
    let plan = SMALL
        .replace("frameworks:", "framework:")
        .replace("profiles: [smoke,", "profiles: [smok,")
        .replace("runner: a10g", "runner: a100");
    fs::write(world.path().join("fleet.yaml"), plan).unwrap();
    insta::assert_snapshot!(world.run(&["matrix", "--plan", "fleet.yaml"]).expect(64).transcript());
    let none = world.run(&["matrix", "--plan", "none.yaml"]).expect(64);
    assert!(none.stderr.contains("cannot read `none.yaml`"), "{}", none.transcript());
}
