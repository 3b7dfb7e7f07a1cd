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
