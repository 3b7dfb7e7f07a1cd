//! gpu-health-check against a scripted GPU, and without any.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::world::{TINY, World, event};

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
    assert!(failed[0]["failure"]["message"].as_str().unwrap().contains("not fit to measure on"));
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

#[test]
fn a_holder_is_named_is_waited_for_and_is_gone_and_an_invisible_one_is_said_to_be() {
    let world = World::new();
    let look = |args: &[&str], script: &str| {
        let script = scripted(script);
        let common = ["health", "--device", "gpu", "--gpu-source", &script];
        world.run(&[&common, args].concat())
    };
    let held = look(&[], "holder-leaves").expect(4);
    let named = "held by processes of others: 4711 `python3 hold.py 4096` with 4464 MiB";
    assert!(held.stdout.contains(named), "{}", held.transcript());
    let invisible = look(&[], "invisible-holder").expect(4);
    let said = "processes outside of this PID namespace cannot be seen from here";
    assert!(invisible.stdout.contains(said), "{}", invisible.transcript());
    look(&["--gpus", "0"], "h100-recorded").expect(0);
    let missing = look(&["--gpus", "1"], "h100-recorded").expect(4);
    assert!(missing.stderr.contains("there is no GPU `1`"), "{}", missing.transcript());
    // `bench` looks again.
    let script = scripted("holder-leaves");
    world.run(&[&["bench", "--device", "gpu", "--gpu-source", &script], TINY].concat()).expect(0);
}

#[test]
fn what_the_gpus_did_stands_in_the_summary_and_in_the_reports() {
    let world = World::new();
    let script = scripted("at-work");
    let args = [&["bench", "--device", "gpu", "--gpu-source", &script], TINY].concat();
    let ended = world.run(&args).expect(0);
    for line in ["- Energy: ", "- GPU 0: power ", "- GPU Sampler: "] {
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
