//! A real LLM server, loaded by both engines.

use std::path::Path;

use serde_json::Value;

use crate::world::{Ended, World, part};

/// A run as small as it can be and still be one: two cores serve it.
const LOAD: &[&str] =
    &["--num-prompts", "64", "--random-input-len", "128", "--random-output-len", "64"];

fn llama(world: &World, llama: &Path, engine: &[&str]) -> Ended {
    let file = |name: &str| llama.join(name).to_str().unwrap().to_owned();
    let (python, model, tokenizer) =
        (file("venv/bin/python"), file("tiny-qwen2.gguf"), file("tiny-qwen2"));
    let target = ["--framework", "llama-cpp", "--executable", &python, "--model", &model];
    let target = [&target[..], &["--tokenizer", &tokenizer, "--runs", "2", "--json"]].concat();
    world.run(&[&["bench"], &target[..], LOAD, engine].concat())
}

fn assert_measured(ended: &Ended, engine: &str) {
    let result: Value = serde_json::from_str(&ended.stdout).expect("JSON on stdout");
    let runs = result["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2, "{}", ended.transcript());
    for run in runs {
        assert_eq!(run["engine"], engine);
        assert_eq!(run["requests"]["completed"], 64);
        assert_eq!(run["requests"]["failed"], serde_json::json!({}));
        assert_eq!(run["tokens"]["output"], run["tokens"]["output_asked"], "{run:#}");
        let metrics = run["metrics"].as_object().unwrap();
        for key in ["request_throughput", "mean_ttft_ms", "p99_tpot_ms", "p99_itl_ms"] {
            assert!(metrics[key].as_f64().is_some_and(|value| 0.0 < value), "{key}");
        }
    }
}

#[test]
fn llama_cpp_is_started_measured_by_both_engines_and_stopped() {
    let name = "real::llama_cpp_is_started_measured_by_both_engines_and_stopped";
    let Some(folder) = part(name, "llama") else { return };
    let world = World::new();
    let native = llama(&world, &folder, &["--engine", "native"]).expect(0);
    assert_measured(&native, "native");
    assert_eq!(world.processes(), Vec::<u32>::new());
    let Some(tool) = part(name, "sglang-tool") else { return };
    let python = tool.join("bin/python").to_str().unwrap().to_owned();
    let sglang = llama(&world, &folder, &["--engine", "sglang", "--python", &python]).expect(0);
    assert_measured(&sglang, "sglang");
    assert_eq!(world.processes(), Vec::<u32>::new());
    let table = world.run(&["compare"]).expect(0).stdout;
    assert!(table.contains("native") && table.contains("sglang"), "{table}");
}
