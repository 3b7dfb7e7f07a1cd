//! What is held equal, what came from a cache, and why a framework did not start.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;

use crate::world::{Ended, RunningSim, World};

/// A small real vocabulary, so that every server is sent the same.
fn tokenizer() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let folder = root.join("tests/fixtures/bench_serving/tok_nobos").canonicalize().unwrap();
    folder.to_str().unwrap().to_owned()
}

/// Measures a server as one of this framework.
fn bench(sim: &RunningSim, world: &World, framework: &str, flags: &[&str]) -> Ended {
    let (url, tokenizer) = (&sim.url, tokenizer());
    let target = ["bench", "--framework", framework, "--url", url, "--tokenizer", &tokenizer];
    let load = ["--engine", "native", "--num-prompts", "8", "--random-output-len", "8"];
    let load = [&load[..], &["--random-input-len", "256"]].concat();
    world.run(&[&target[..], &load[..], flags].concat()).expect(0)
}

#[test]
fn what_was_not_held_equal_is_named_with_both_values() {
    let world = World::new();
    let off = RunningSim::start(&world, &["--prefix-cache", "off"]);
    let on = RunningSim::start(&world, &["--prefix-cache", "on", "--max-running", "7"]);
    bench(&off, &world, "sglang", &[]);
    bench(&on, &world, "sim", &[]);
    let table = world.run(&["compare"]).expect(0).stdout;
    // In the order of the newest session first.
    assert!(table.contains("prefix cache differs: sim: on, sglang: off"), "{table}");
    assert!(table.contains("concurrency limit differs: sim: 7, sglang:"), "{table}");
    assert!(!table.contains("* best"), "{table}");
    assert!(table.contains("Held equal, as the servers say"), "{table}");
    let json = world.run(&["compare", "--json"]).expect(0).stdout;
    let compared: Value = serde_json::from_str(&json).unwrap();
    let terms = compared["profiles"][0]["contract"].as_array().unwrap();
    let held = |term: &str| terms.iter().find(|row| row["term"] == term).unwrap()["held"].clone();
    assert_eq!(held("weights"), "equal");
    assert_eq!(held("dtype"), "not-said");
    assert_eq!(held("kv-cache"), "equal");
    assert_eq!(held("forced-length"), "equal");
}

/// Kinds of the anomalies on record, in order.
fn anomalies(world: &World) -> Vec<String> {
    let kind = |entry: &Value| Some(entry.pointer("/anomaly/kind")?.as_str()?.to_owned());
    world.journal().iter().filter_map(kind).collect()
}

#[test]
fn a_repeat_that_hit_the_cache_is_an_anomaly_and_not_a_faster_run() {
    let world = World::new();
    let server = RunningSim::start(&world, &["--prefix-cache", "on"]);
    // A server of this kind has no path that empties its cache.
    bench(&server, &world, "openai", &["--runs", "2"]);
    assert!(!anomalies(&world).iter().any(|kind| kind == "repeat-from-cache"));
    bench(&server, &world, "openai", &["--runs", "2"]);
    let found = anomalies(&world);
    assert!(found.iter().any(|kind| kind == "prefix-cache-hits"), "{found:?}");
    assert!(found.iter().any(|kind| kind == "repeat-from-cache"), "{found:?}");
}

/// A program that passes for vLLM and fails as it does.
fn failing(world: &World, script: &str) -> Ended {
    let program = world.path().join("vllm");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_str().unwrap();
    let target = ["bench", "--framework", "vllm", "--model", "m", "--executable", program];
    let tokenizer = tokenizer();
    let others = ["--device", "cpu", "--engine", "native", "--tokenizer", &tokenizer];
    world.run(&[&target[..], &others].concat()).expect(4)
}

#[test]
fn a_framework_that_does_not_start_is_explained_by_its_log() {
    let causes = [
        ("vllm: error: unrecognized arguments: --no-such", "correct the target's `server_args`"),
        (
            "ValueError: No available memory for the cache blocks.",
            "raise `memory_share` or `kv_cache_tokens`",
        ),
        (
            "Value error, User-specified max_model_len (9) is greater than the derived max_model_len",
            "lower `context_tokens` to what the model allows",
        ),
        (
            "Value error, Invalid repository ID or local directory specified: m",
            "name a folder or a file that is there",
        ),
        ("OSError: [Errno 98] Address already in use", "start again without `--port`"),
    ];
    for (line, advice) in causes {
        let world = World::new();
        let ended = failing(&world, &format!("echo \"{line}\"; exit 1"));
        let shown = ended.transcript();
        assert!(shown.contains("the server ended: exit code 1"), "{shown}");
        assert!(shown.contains(advice), "{shown}");
    }
}

#[test]
fn a_front_end_that_outlives_its_engine_is_ended() {
    let world = World::new();
    let script = "echo '(EngineCore pid=2) ERROR ValueError: No available memory for the cache \
                  blocks.'; echo '(EngineCore pid=2) ERROR EngineCore failed to start.'; \
                  trap '' TERM; while :; do sleep 1; done";
    let ended = failing(&world, script);
    assert!(ended.stderr.contains("the server's engine failed"), "{}", ended.transcript());
    assert!(ended.stderr.contains("kv-cache-too-small"), "{}", ended.transcript());
    assert_eq!(world.processes(), Vec::<u32>::new());
}
