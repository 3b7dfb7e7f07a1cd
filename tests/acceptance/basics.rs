//! The main job on the embedded simulated server, and what it leaves on disk.

use std::fs;

use serde_json::Value;

use crate::world::{TINY, World, event};

#[test]
fn bench_without_arguments_prints_the_report_and_leaves_everything() {
    let world = World::new();
    let ended = world.run(&["bench"]).expect(0);
    assert!(ended.stdout.starts_with("Benchmark Results:\n- Framework: "), "{}", ended.stdout);
    for line in ["- Profile: smoke", "- Num Prompts: 32", "- VRAM Peak: n/a"] {
        assert!(ended.stdout.contains(line), "{line}\n{}", ended.stdout);
    }
    assert_eq!(world.files("sim", "smoke-", ".txt").len(), 1);
    assert_eq!(world.files("summary", "comparison-", ".json").len(), 1);
    let summary = world.files("sim", "smoke-", ".json");
    let summary: Value = serde_json::from_slice(&fs::read(&summary[0]).unwrap()).unwrap();
    assert_eq!(summary["requests"]["completed"], 32);
    assert_eq!(summary["tokens"]["output"], summary["tokens"]["output_asked"]);
    let session = world.sessions().pop().unwrap();
    for file in ["journal.jsonl", "junit.xml", "summary.md"] {
        assert!(session.join(file).is_file(), "{file}");
    }
    let records = summary["records"].as_str().expect("per-request records");
    assert!(world.results().join(records).is_file());
    assert_eq!(event(world.journal().last().unwrap()), "session-closed");
    assert_eq!(world.processes(), Vec::<u32>::new());
}

#[test]
fn every_run_has_the_twelve_key_metrics() {
    let world = World::new();
    let args = [&["bench", "--runs", "2", "--json"], TINY].concat();
    let result: Value = serde_json::from_str(&world.run(&args).expect(0).stdout).unwrap();
    let keys = [
        "request_throughput",
        "output_throughput",
        "input_throughput",
        "mean_ttft_ms",
        "median_ttft_ms",
        "p99_ttft_ms",
        "mean_tpot_ms",
        "median_tpot_ms",
        "p99_tpot_ms",
        "mean_itl_ms",
        "median_itl_ms",
        "p99_itl_ms",
    ];
    let runs = result["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        for key in keys {
            assert!(run["metrics"][key].as_f64().is_some_and(|value| 0.0 < value), "{key}: {run}");
        }
    }
}

#[test]
fn every_report_can_be_remade_from_the_journal() {
    let world = World::new();
    world.run(&[&["bench"], TINY].concat()).expect(0);
    let session = world.sessions().pop().unwrap();
    let remade = world.run(&["report", "--format", "junit"]).expect(0).stdout;
    let written = fs::read_to_string(session.join("junit.xml")).unwrap();
    assert_eq!(testcases(&remade), testcases(&written));
    for format in ["text", "lines", "markdown", "json"] {
        assert!(
            !world.run(&["report", "--format", format]).expect(0).stdout.is_empty(),
            "{format}"
        );
    }
    assert!(world.run(&["compare"]).expect(0).stdout.contains("Output token throughput"));
}

fn testcases(xml: &str) -> Vec<&str> {
    xml.match_indices("<testcase").map(|(at, _)| xml[at..].split('>').next().unwrap()).collect()
}

#[test]
fn a_plan_touches_nothing() {
    let world = World::new();
    let plan = world.run(&["plan", "--profile", "smoke"]).expect(0).stdout;
    assert!(plan.contains("sim/smoke#1/measure"), "{plan}");
    assert!(world.is_untouched());
}

#[test]
fn a_wrong_command_line_exits_with_64_and_touches_nothing() {
    let world = World::new();
    let wrong: [&[&str]; 7] = [
        &["bench", "--profile", "smok"],
        &["bench", "--framework", "vlm"],
        &["bench", "--framework", "llama-cpp"],
        &["bench", "--framework", "openai"],
        &["bench", "--num-prompts", "0"],
        &["bench", "--random-range-ratio", "1.5"],
        &["bench", "--lease-wait", "10"],
    ];
    let transcripts = wrong.map(|args| {
        format!("$ servegate {}\n{}", args.join(" "), world.run(args).expect(64).transcript())
    });
    insta::assert_snapshot!(transcripts.join("\n"));
    assert!(world.is_untouched());
}

#[test]
fn an_accepted_baseline_is_compared_with() {
    let world = World::new();
    let bench = [&["bench", "--gate"], TINY].concat();
    let first = world.run(&bench).expect(0);
    assert!(first.stdout.contains("missing-baseline"), "{}", first.transcript());
    world.run(&[&["bench", "--gate", "--require-baseline"], TINY].concat()).expect(3);
    world.run(&["baseline", "accept"]).expect(0);
    let second = world.run(&bench).expect(0);
    // One run a side cannot decide anything, and the gate says so.
    assert!(second.stdout.contains("inconclusive"), "{}", second.transcript());
    world.run(&[&["bench", "--gate", "--strict"], TINY].concat()).expect(2);
}
