//! gpu-health-check against a scripted GPU, and without any.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::{Ended, TINY, World, event};

fn scripted(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/gpu");
    let file: PathBuf = folder.join(format!("{name}.json"));
    assert!(file.is_file(), "no scripted GPU {}", file.display());
    file.to_str().unwrap().to_owned()
}

#[test]
fn no_driver_is_a_pass_for_a_cpu_target_and_an_error_for_a_gpu_target() {
    let world = World::new();
    let cpu = world.run(&["health", "--gpu-source", "none", "--device", "cpu", "--json"]).expect(0);
    let report: Value = serde_json::from_str(&cpu.stdout).unwrap();
    assert_eq!(report["fit"], true);
    let gpu = world.run(&["health", "--gpu-source", "none", "--device", "gpu"]).expect(4);
    assert!(gpu.stdout.contains("no NVIDIA driver"), "{}", gpu.transcript());
}

#[test]
fn an_unhealthy_gpu_means_that_nothing_is_launched() {
    let world = World::new();
    let script = scripted("foreign-process");
    let ended = world
        .run(&[&["bench", "--device", "gpu", "--gpu-source", &script], TINY].concat())
        .expect(4);
    let journal = world.journal();
    assert!(
        !journal.iter().any(|entry| event(entry) == "server-started"),
        "{}",
        ended.transcript()
    );
    let failed: Vec<_> = journal.iter().filter(|entry| event(entry) == "step-failed").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["failure"]["class"], "unhealthy");
    let failed = ended.stderr.lines().find(|line| line.contains("FAILED")).unwrap();
    insta::assert_snapshot!(failed, @"sim/check-gpu: FAILED: the health check failed: GPU 0 is not fit to measure on: held by processes of others: 4242 `/usr/bin/python3 -m vllm.entrypoints.openai.api_server --model demo` with 70000 MiB, 4243 (not visible from here) with 120 MiB (1 more check failed) (hint: end these processes, or choose another GPU)");
}

#[test]
fn a_healthy_scripted_gpu_is_measured_on_and_its_vram_reported() {
    let world = World::new();
    let script = scripted("h100-idle");
    let ended = world
        .run(&[&["bench", "--device", "gpu", "--gpu-source", &script], TINY].concat())
        .expect(0);
    assert!(ended.stdout.contains("- VRAM Peak: "), "{}", ended.stdout);
    assert!(!ended.stdout.contains("- VRAM Peak: n/a"), "{}", ended.stdout);
}

/// `health` on a scripted GPU.
fn look(world: &World, script: &str, args: &[&str]) -> Ended {
    let script = scripted(script);
    world.run(&[&["health", "--device", "gpu", "--gpu-source", &script], args].concat())
}

#[test]
fn what_was_recorded_on_an_h100_is_judged_as_it_was_there() {
    let world = World::new();
    let idle = look(&world, "h100-recorded", &[]).expect(0);
    insta::assert_snapshot!(idle.stdout);
    let held = look(&world, "holder-leaves", &[]).expect(4);
    let invisible = look(&world, "invisible-holder", &[]).expect(4);
    for (ended, said) in [
        (&held, "held by processes of others: 859 `python3 hold.py 4096 18` with 4614 MiB\n"),
        (&held, "→ End these processes, or choose another GPU.\n"),
        (&held, "fatal  GPU 0   vram_used: 4623 MiB of VRAM in use, at most 1631 MiB allowed\n"),
        (&invisible, "ghost_vram: 4623 MiB of VRAM in use by no visible process, "),
        (&invisible, "processes outside of this PID namespace cannot be seen from here\n"),
        (&invisible, "from the host, or start the container with `--pid=host`.\n"),
    ] {
        assert!(ended.stdout.contains(said), "{said}: {}", ended.transcript());
    }
    let gone = look(&world, "holder-gone", &[]).expect(0);
    assert!(gone.stdout.ends_with("fit to measure on\n"), "{}", gone.transcript());
    assert!(!gone.stdout.contains("fatal "), "{}", gone.transcript());
}

#[test]
fn a_holder_that_leaves_is_waited_for() {
    let world = World::new();
    let script = scripted("holder-leaves");
    world.run(&[&["bench", "--device", "gpu", "--gpu-source", &script], TINY].concat()).expect(0);
}

#[test]
fn a_gpu_is_chosen_by_its_index_and_a_missing_one_is_an_error() {
    let world = World::new();
    look(&world, "h100-recorded", &["--gpus", "0"]).expect(0);
    let missing = look(&world, "h100-recorded", &["--gpus", "1"]).expect(4);
    assert!(missing.stderr.contains("there is no GPU `1`"), "{}", missing.transcript());
}

#[test]
fn what_the_gpus_did_stands_in_the_summary_and_in_the_reports() {
    let world = World::new();
    let script = scripted("at-work");
    let args = [&["bench", "--device", "gpu", "--gpu-source", &script], TINY].concat();
    let ended = world.run(&args).expect(0);
    for line in ["- Energy: ", "- GPU 0: power ", "- GPU Sampler: ", "- Host CPUs: "] {
        assert!(ended.stdout.contains(line), "{line} in {}", ended.stdout);
    }
    let summary = world.files("sim", "smoke-", ".json").pop().expect("a summary");
    let summary: Value = serde_json::from_str(&std::fs::read_to_string(summary).unwrap()).unwrap();
    let telemetry = &summary["telemetry"];
    assert!(telemetry["sampling"]["samples"].as_u64().is_some_and(|samples| 2 <= samples));
    assert_eq!(telemetry["gpus"][0]["memory_temperature_c"], "not-supported");
    // So short a run has no valid energy, and no metric of it.
    let doubts = &telemetry["energy"]["known"]["doubts"];
    assert_eq!(doubts[0]["kind"], "short-window", "{telemetry:#}");
    assert!(summary["metrics"].get("energy_per_output_token_j").is_none());
    let run = world.sessions().pop().unwrap().join("sim-smoke-1");
    let samples = std::fs::read_to_string(run.join("gpu.jsonl")).unwrap();
    assert!(samples.lines().next().unwrap().contains("\"energy_mj\":"), "{samples}");
    let markdown = world.run(&["report", "--format", "markdown"]).expect(0);
    assert!(markdown.stdout.contains("GPU Sampler"), "{}", markdown.stdout);
}

#[test]
fn the_sampler_can_be_turned_off_and_then_the_peak_is_not_known() {
    let world = World::new();
    let skill = world.path().join("skills/benchmark-runner/skill.yaml");
    let text = std::fs::read_to_string(&skill).unwrap();
    std::fs::write(&skill, text.replace("sampler: on", "sampler: off")).unwrap();
    let script = scripted("at-work");
    let args = [&["bench", "--device", "gpu", "--gpu-source", &script], TINY].concat();
    let ended = world.run(&args).expect(0);
    assert!(ended.stdout.contains("- VRAM Peak: n/a"), "{}", ended.stdout);
    assert!(!world.sessions().pop().unwrap().join("sim-smoke-1/gpu.jsonl").exists());
}

#[test]
fn a_run_in_which_a_gpu_reports_an_error_does_not_count() {
    let world = World::new();
    let script = scripted("xid-in-a-run");
    let args = [&["bench", "--device", "gpu", "--gpu-source", &script], TINY].concat();
    let ended = world.run(&args).expect(4);
    let said = "GPU 0 reported Xid 31 during the run";
    assert!(ended.stderr.contains(said), "{}", ended.transcript());
    let summary = world.files("sim", "smoke-", ".json").pop().expect("it is kept");
    let summary: Value = serde_json::from_str(&std::fs::read_to_string(summary).unwrap()).unwrap();
    assert_eq!(summary["counts"], false);
}

#[test]
fn a_card_can_be_watched_without_a_load() {
    let world = World::new();
    let script = scripted("at-work");
    let watch = ["telemetry", "--for", "350ms", "--gpu-source", &script];
    let told = world.run(&[&watch[..], &["--samples", "gpu.jsonl"]].concat()).expect(0);
    assert!(told.stdout.contains("- GPU Errors: none"), "{}", told.transcript());
    assert!(world.path().join("gpu.jsonl").is_file());
    let json = world.run(&[&watch[..], &["--json"]].concat()).expect(0);
    let report: Value = serde_json::from_str(&json.stdout).unwrap();
    assert!(report["telemetry"]["energy"]["known"]["joules"].as_f64().is_some());
    world.run(&["telemetry", "--gpu-source", "none"]).expect(4);
    world.run(&["telemetry", "--every", "1ms"]).expect(64);
}
