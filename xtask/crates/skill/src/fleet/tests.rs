use std::collections::BTreeSet;

use super::*;

const PROFILES: [&str; 2] = ["smoke", "random-256-256"];

fn read(text: &str) -> Result<Vec<Cell>, Faults> {
    cells(&Source { path: "fleet.yaml".to_owned(), text: text.to_owned() }, &PROFILES)
}

const PLAN: &str = "\
version: 1
frameworks: [sim, {name: vllm-eager, framework: vllm, server_args: [--enforce-eager], cost: 3}]
models: [{name: qwen, model: Qwen/Qwen2.5-7B, tokenizer: ./tok}]
profiles: [smoke, {name: random-256-256, cost: 10, timeout: 2h}]
runners: [{name: h100, labels: [self-hosted, h100], gpu: NVIDIA H100}, {name: a10g, cost: 0.5}]
exclude: [{framework: vllm-eager, runner: a10g}]
runs: 3
";

#[test]
fn the_cheapest_cell_comes_first_and_excluded_ones_do_not_come() {
    let cells = read(PLAN).unwrap();
    let shown = cells.iter().map(|cell| format!("{} {} {}\n", cell.cost, cell.title, cell.canary));
    insta::assert_snapshot!(shown.collect::<String>(), @r"
    1.5 sim/qwen/smoke on a10g true
    3 sim/qwen/smoke on h100 false
    9 vllm-eager/qwen/smoke on h100 false
    15 sim/qwen/random-256-256 on a10g false
    30 sim/qwen/random-256-256 on h100 false
    90 vllm-eager/qwen/random-256-256 on h100 false
    ");
    insta::assert_snapshot!(serde_json::to_string_pretty(&cells[2]).unwrap(), @r#"
    {
      "id": "vllm-eager-qwen-smoke-h100-9392fdd6c3ca",
      "title": "vllm-eager/qwen/smoke on h100",
      "framework": "vllm",
      "model": "Qwen/Qwen2.5-7B",
      "profile": "smoke",
      "runner": "h100",
      "labels": [
        "self-hosted",
        "h100"
      ],
      "gpu": "NVIDIA H100",
      "args": "--framework=vllm\n--model=Qwen/Qwen2.5-7B\n--tokenizer=./tok\n--server-arg=--enforce-eager\n--profile=smoke\n--runs=3",
      "timeout_minutes": 90,
      "cost": 9.0,
      "canary": false
    }
    "#);
}

#[test]
fn the_canary_that_was_chosen_goes_first_and_the_order_is_as_asked() {
    let plan = format!("{PLAN}canary: {{framework: vllm-eager}}\norder: dearest-first\n");
    let costs: Vec<f64> = read(&plan).unwrap().iter().map(|cell| cell.cost).collect();
    assert_eq!(costs, [9.0, 90.0, 30.0, 15.0, 3.0, 1.5]);
}

#[test]
fn an_id_changes_with_its_cell_and_with_nothing_else() {
    let ids = |plan: &str| -> BTreeSet<String> {
        read(plan).unwrap().into_iter().map(|cell| cell.id).collect()
    };
    let before = ids(PLAN);
    assert_eq!(before.len(), 6);
    let costlier = PLAN.replace("cost: 10", "cost: 99").replace("timeout: 2h", "timeout: 3h");
    assert_eq!(ids(&costlier), before);
    let relabelled = ids(&PLAN.replace("[self-hosted, h100]", "[self-hosted, gpu-h100]"));
    assert_eq!(relabelled.intersection(&before).count(), 2, "those of the other runner stay");
    let longer = ids(&PLAN.replace("smoke, {", "{name: smoke, bench_args: [--seed=7]}, {"));
    assert_eq!(longer.intersection(&before).count(), 3, "those of the other profile stay");
}

#[test]
fn every_fault_is_told_at_once_with_its_line() {
    let plan = "\
version: 2
frameworks: [sim, sim, {name: fast, server_args: [\"a\\nb\"]}, openai]
models: [{name: a/b}, {name: m, frameworks: [vlm], cost: 0}]
profiles: [smok]
runner: [h100]
exclude:
  - {}
  - {runner: h200}
canary: {profile: smoke}
runs: 0
timeout: 90
order: cheap
";
    insta::assert_snapshot!(read(plan).unwrap_err(), @r#"
    fleet.yaml:1:1: version 2 is not known
        hint: write `version: 1`
    fleet.yaml:2:19: `sim` stands in `frameworks` twice
        hint: give one of them another `name`
    fleet.yaml:2:25: `fast` is no framework, and none is named
        hint: known are `sim`, `sglang`, `vllm`, `ollama`, `llama-cpp`, `transformers`, `openai`
    fleet.yaml:2:51: a text here has a line break or another control character
    fleet.yaml:2:61: framework `openai` cannot be started, only attached to
        hint: give the address of a running server with `url`
    fleet.yaml:3:11: `a/b` cannot be a name in a plan
        hint: write letters, digits, `-`, `_` and `.`, a letter or digit first; what it stands for has a key of its own
    fleet.yaml:3:33: the plan has no framework `vlm`
        hint: known are `sim`, `sim`, `fast`, `openai`
    fleet.yaml:3:52: `cost` is 0; it is above 0
    fleet.yaml:4:12: no skill has a profile `smok`
        hint: did you mean `smoke`? Known are `smoke`, `random-256-256`
    fleet.yaml:5:1: unknown key `runner`
        hint: did you mean `runners`? Known are `version`, `description`, `frameworks`, `models`, `profiles`, `runners`, `exclude`, `canary`, `order`, `runs`, `timeout`, `bench_args`
    fleet.yaml:6:1: no cell is left
    fleet.yaml:7:5: this selects every cell
        hint: name a `framework`, `model`, `profile` or `runner`
    fleet.yaml:8:5: this excludes no cell
        hint: leave it out
    fleet.yaml:8:6: the plan has no runner `h200`
        hint: did you mean `h100`?
    fleet.yaml:9:10: the plan has no profile `smoke`
        hint: did you mean `smok`?
    fleet.yaml:10:1: `runs` is 0; it lies between 1 and 100
    fleet.yaml:11:1: `90` is not a length of time
        hint: write for example `90s` or `10m`
    fleet.yaml:12:1: `cheap` is not a value of `order`
        hint: known are `cheapest-first`, `dearest-first`, `as-written`
    "#);
}

#[test]
fn an_exclude_that_excludes_nothing_or_everything_is_a_fault() {
    let plan = "\
version: 1
frameworks: [sim, vllm]
models: [{name: m, frameworks: [vllm]}]
profiles: [smoke]
runners: [a]
exclude: [{framework: sim, model: m}, {model: m}]
canary: {model: m}
";
    insta::assert_snapshot!(read(plan).unwrap_err(), @r#"
    fleet.yaml:6:1: no cell is left
    fleet.yaml:6:11: this excludes no cell
        hint: leave it out
    "#);
    let faults = read("- a\n").unwrap_err();
    assert!(faults.to_string().contains("a plan is a map of keys"), "{faults}");
}

#[test]
fn more_cells_than_matrices_hold_are_refused_before_any_is_made() {
    let list = |count: usize, letter: char| {
        let names = (0..count).map(|at| format!("{{name: {letter}{at}, framework: sim}}"));
        names.collect::<Vec<_>>().join(", ")
    };
    let plan = format!(
        "version: 1\nframeworks: [{}]\nmodels: [{}]\nprofiles: [smoke]\nrunners: [{}]\n",
        list(100, 'f'),
        list(100, 'm').replace(", framework: sim", ""),
        list(7, 'r').replace(", framework: sim", "")
    );
    let faults = read(&plan).unwrap_err().to_string();
    assert!(faults.contains("are more than 65536 cells"), "{faults}");
}
