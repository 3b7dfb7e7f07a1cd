//! From skills and a request to a plan, or to the faults of the request.

use domain::framework::{EngineChoice, Framework};
use domain::profile::LoadOverrides;
use domain::target::{Device, Target};

use super::{root, skills_in, source};
use crate::{Phase, Place, Plan, Request, Source, check, resolve};

const HEALTH: &str = "
version: 1
id: health
description: Small.
announce: Looking at {device} for {framework}.
scope: target
steps:
  - check-gpu: { settle: 1s, unreadable: warn, checks: {} }
";

const SETUP: &str = "
version: 1
id: setup
description: Small.
scope: target
requires: [health]
steps:
  - launch:
      announce: Starting {framework} with {model}.
      log_tail_lines: 10
      conditions:
        max_running_requests: 64
        context_tokens: 8192
        prefill_chunk_tokens: 8192
        memory_share: 85 %
        seed: 42
        prefix_cache: disabled
  - verify:
      rungs: [{ rung: health, within: 1m }]
      poll_every: 100ms
      request_within: 1s
      generation_tokens: 8
      warm_up_requests: 1
      quiet_for: 1s
finally:
  - stop:
      patience: 30s
      gone_within: 10s
      port_free_within: 10s
      vram_free_within: 60s
      vram_slack: 256 MiB
";

fn small() -> Vec<Source> {
    let runner = skills_in(&root().join("skills"))
        .into_iter()
        .find(|source| source.path.starts_with("benchmark-runner"))
        .unwrap();
    let runner = runner.text.replace("[gpu-health-check, framework-setup]", "[setup]");
    // Given in the wrong order: who requires whom decides.
    vec![source("runner", &runner), source("setup", SETUP), source("health", HEALTH)]
}

fn target(framework: Framework) -> Target {
    Target {
        framework,
        model: None,
        served_model_name: None,
        tokenizer: None,
        url: None,
        port: None,
        device: Device::Cpu,
        executable: None,
        server_args: Vec::new(),
    }
}

fn request() -> Request {
    Request {
        skills: small(),
        targets: vec![target(Framework::Sim)],
        profiles: vec!["smoke".to_owned()],
        runs: 1,
        engine: EngineChoice::Native,
        overrides: LoadOverrides::default(),
        experiment: None,
    }
}

fn names(plan: &Plan) -> Vec<&str> {
    plan.steps().iter().map(|step| step.name.as_str()).collect()
}

#[test]
fn the_shipped_skills_have_no_fault_and_make_a_plan() {
    let skills = skills_in(&root().join("skills"));
    assert_eq!(skills.len(), 3);
    check(&skills).unwrap();
    let plan = resolve(&Request { skills, ..request() }).unwrap();
    let expected = [
        "sim/check-gpu",
        "sim/launch",
        "sim/verify",
        "sim/smoke#1/before-run",
        "sim/smoke#1/measure",
        "sim/smoke#1/after-run",
        "sim/stop",
        "session/compare",
        "session/judge",
        "session/write-reports",
    ];
    assert_eq!(names(&plan), expected);
}

/// The file that the standard profiles need.
fn sharegpt() -> LoadOverrides {
    LoadOverrides { dataset_path: Some("sharegpt.json".into()), ..LoadOverrides::default() }
}

#[test]
fn a_file_that_is_needed_is_named_and_one_that_is_named_is_needed() {
    let text = |request: &Request| resolve(request).unwrap_err().to_string();
    let profiles = vec!["random-256-256".to_owned()];
    insta::assert_snapshot!(text(&Request { profiles, ..request() }), @r"
    profile `random-256-256` takes its text from a ShareGPT-format file, and none is named
        hint: give one with `--dataset-path`, or use `--dataset-name random-ids`
    ");
    insta::assert_snapshot!(text(&Request { overrides: sharegpt(), ..request() }), @r"
    no profile reads a file, but `sharegpt.json` is named
        hint: leave out `--dataset-path`, or use `--dataset-name random`
    ");
}

#[test]
fn the_standard_profiles_are_those_of_the_specification() {
    let profiles = ["random-1024-1024", "random-256-256", "random-4096-1024"];
    let wanted = Request {
        profiles: profiles.map(str::to_owned).into(),
        overrides: sharegpt(),
        ..request()
    };
    let plan = resolve(&wanted).unwrap();
    let loads: Vec<_> = plan
        .runs()
        .iter()
        .map(|run| {
            let load = &run.profile;
            format!(
                "{} {} {} {} {} {}",
                load.name,
                load.num_prompts,
                load.dataset_name,
                load.random_input_len,
                load.random_output_len,
                load.random_range_ratio
            )
        })
        .collect();
    insta::assert_snapshot!(loads.join("\n"), @"
    random-1024-1024 3000 random 1024 1024 0.5
    random-256-256 3000 random 256 256 0.5
    random-4096-1024 1000 random 4096 1024 0.5
    ");
}

#[test]
fn a_plan_explains_itself() {
    let wanted = Request {
        targets: vec![target(Framework::Sglang), target(Framework::Sim)],
        profiles: vec!["smoke".to_owned(), "random-256-256".to_owned()],
        runs: 2,
        overrides: sharegpt(),
        ..request()
    };
    insta::assert_snapshot!("plan", resolve(&wanted).unwrap());
}

#[test]
fn every_need_is_proved_before_at_a_place_around() {
    let targets = vec![target(Framework::Vllm), target(Framework::Ollama), target(Framework::Vllm)];
    let plan = resolve(&Request { targets, runs: 3, ..request() }).unwrap();
    for step in plan.steps() {
        assert_eq!(step.needs.len(), step.step.requires().len(), "{}", step.name);
        for need in &step.needs {
            assert!(!need.proved_by.is_empty());
            for prover in need.proved_by.iter().map(|index| plan.step(*index).unwrap()) {
                assert!(prover.index < step.index);
                assert_eq!(prover.step.proves(), Some(need.fact));
                let holds = prover.at.contains(step.at) || step.phase == Phase::Conclude;
                assert!(holds, "{} for {}", prover.name, step.name);
            }
        }
        for before in &step.after {
            assert!(*before < step.index);
        }
    }
    let mut unique = names(&plan);
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), plan.steps().len());
    assert!(unique.contains(&"vllm-2/smoke#3/measure"));
}

#[test]
fn what_is_started_is_cleaned_up_after() {
    let plan = resolve(&request()).unwrap();
    let launch = plan.steps().iter().find(|step| step.name == "sim/launch").unwrap();
    let finally: Vec<_> = plan.finally_of(launch).collect();
    assert_eq!(finally.len(), 1);
    assert_eq!(finally[0].phase, Phase::Finally);
    assert_eq!(finally[0].at, Place::Target { target: 0 });
    let covered: Vec<_> = plan.cleans_up_after(finally[0]).map(|step| &step.name).collect();
    assert_eq!(covered, ["sim/launch", "sim/verify"]);
    let measure = plan.steps().iter().find(|step| step.name.ends_with("measure")).unwrap();
    assert_eq!(plan.finally_of(measure).count(), 0);
}

#[test]
fn repeats_have_seeds_of_their_own_and_overrides_reach_every_run() {
    let overrides =
        LoadOverrides { seed: Some(7), num_prompts: Some(5), ..LoadOverrides::default() };
    let plan = resolve(&Request { runs: 3, overrides, ..request() }).unwrap();
    let seeds: Vec<_> = plan.runs().iter().map(|run| (run.repeat, run.seed)).collect();
    assert_eq!(seeds, [(1, 7), (2, 8), (3, 9)]);
    assert!(plan.runs().iter().all(|run| run.profile.seed == 7 && run.profile.num_prompts == 5));
}

#[test]
fn the_same_request_read_back_gives_the_same_plan_and_another_one_does_not() {
    let plan = resolve(&request()).unwrap();
    let written = serde_json::to_string(&request()).unwrap();
    let again: Request = serde_json::from_str(&written).unwrap();
    assert_eq!(resolve(&again).unwrap().digest(), plan.digest());
    let other = Request { runs: 2, ..request() };
    assert_ne!(resolve(&other).unwrap().digest(), plan.digest());
    assert_eq!(plan.digest().len(), 64);
}

#[test]
fn one_skill_alone_makes_a_plan_without_runs() {
    let skills = vec![source("health", HEALTH)];
    let plan = resolve(&Request { skills, profiles: Vec::new(), ..request() }).unwrap();
    assert_eq!(names(&plan), ["sim/check-gpu"]);
    assert!(plan.runs().is_empty());
    let said = plan.steps()[0].announce.as_deref();
    assert_eq!(said, Some("Looking at cpu for Simulated server."));
}

#[test]
fn every_fault_of_a_request_is_told_at_once() {
    let overrides = LoadOverrides {
        random_range_ratio: Some(1.5),
        num_prompts: Some(0),
        seed: Some(u32::MAX),
        ..LoadOverrides::default()
    };
    let wanted = Request {
        targets: vec![target(Framework::Openai)],
        profiles: ["smoke", "smoke", "smke", "random-1024"].map(str::to_owned).into(),
        runs: 4000,
        overrides,
        ..request()
    };
    insta::assert_snapshot!(resolve(&wanted).unwrap_err(), @"
    profile `smoke` is chosen twice
        hint: ask for more runs instead, with `--runs`
    there is no profile `smke`
        hint: did you mean `smoke`? Known are `random-1024-1024`, `random-256-256`, `random-4096-1024`, `gate`, `smoke`
    there is no profile `random-1024`
        hint: known are `random-1024-1024`, `random-256-256`, `random-4096-1024`, `gate`, `smoke`
    `num_prompts` is 0; it is at least 1
    `random_range_ratio` is 1.5; it lies between 0 and 1
    1 targets, 4 profiles and 4000 runs of each are more than 1000 runs
    seed 4294967295 leaves no seeds for 4000 runs; seeds end at 4294967295
    framework `openai` cannot be started, only attached to
        hint: give the address of a running server with `--url`
    ");
}

#[test]
fn an_empty_request_is_refused() {
    let nothing = Request {
        skills: Vec::new(),
        targets: Vec::new(),
        profiles: Vec::new(),
        runs: 0,
        ..request()
    };
    insta::assert_snapshot!(resolve(&nothing).unwrap_err(), @"
    there is no skill to do
    0 runs are asked for; at least 1 is needed
    no framework is chosen
    ");
    let no_profile = Request { profiles: Vec::new(), ..request() };
    insta::assert_snapshot!(resolve(&no_profile).unwrap_err(), @"
    no load profile is chosen
        hint: known are `random-1024-1024`, `random-256-256`, `random-4096-1024`, `gate`, `smoke`
    ");
}

#[test]
fn a_framework_without_a_backend_is_refused_at_the_table() {
    let mut skills = small();
    skills[0].text = skills[0].text.replace("        sim: sglang\n", "");
    let faults = resolve(&Request { skills, ..request() }).unwrap_err();
    insta::assert_snapshot!(faults, @"
    runner:30:7: `backends` says no backend for framework `sim`
        hint: add `sim: openai`, or the backend that it speaks
    ");
}

#[test]
fn the_schema_describes_every_kind_of_step_and_every_profile_field() {
    let schema = crate::schema().to_string();
    for word in ["check-gpu", "before-run", "write-reports", "random_range_ratio", "conclude"] {
        assert!(schema.contains(&format!("\"{word}\"")), "{word}");
    }
    let described = "After this much silence from the whole load";
    assert!(schema.contains(described), "doc comments are descriptions");
}
