//! What a certificate and a lag budget do to a run.

use std::fs;

use serde_json::{Value, json};

use crate::world::{TINY, World};

/// The arguments of a tiny session.
fn tiny<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["bench", "--engine", "native"]
        .into_iter()
        .chain(TINY.iter().copied())
        .chain(more.iter().copied())
        .collect()
}

/// The newest summary of the simulated server.
fn summary(world: &World) -> Value {
    let file = world.files("sim", "smoke-", ".json").pop().expect("a summary");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn a_run_whose_client_was_later_than_its_budget_is_kept_and_does_not_count() {
    let world = World::new();
    let skill = world.path().join("skills/benchmark-runner/skill.yaml");
    let text = fs::read_to_string(&skill).unwrap();
    let strict = text.replace("{ share: 1 %, at_least: 1m }", "{ share: 0 %, at_least: 0ms }");
    assert_ne!(text, strict);
    fs::write(&skill, strict).unwrap();

    // Nobody sends at the very nanosecond.
    let ended = world.run(&tiny(&["--request-rate", "100"]));

    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("the load client was late in sending"), "{}", ended.stderr);
    assert!(!ended.stdout.contains("Benchmark Results"), "{}", ended.stdout);
    let kinds = summary(&world)["anomalies"].clone();
    let kinds: Vec<_> = kinds.as_array().unwrap().iter().map(|one| one["kind"].clone()).collect();
    assert!(kinds.contains(&json!("client-over-budget")), "{kinds:?}");
    assert_eq!(world.run(&["baseline", "accept"]).code.map(|code| code != 0), Some(true));
}

#[test]
fn a_run_that_a_certificate_covers_says_how_far_it_may_be_off() {
    let world = World::new();
    let ended = world.run(&tiny(&[]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stdout.contains("Client Error"), "{}", ended.stdout);
    let host = summary(&world)["environment"]["host"].as_str().unwrap().to_owned();

    let folder = world.results().join("certificates");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join(format!("{host}-20261124T060000Z.json"));
    fs::write(file, certificate(&host).to_string()).unwrap();
    let ended = world.run(&tiny(&[]));

    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let line = "- Client Error (p99): TTFT 0.25 ms, ITL 0.25 ms, TPOT 0.25 ms; throughput 0.10 %";
    assert!(ended.stdout.contains(line), "{}", ended.stdout);
    assert_eq!(summary(&world)["error_bound"]["streams"], 64);
}

fn certificate(host: &str) -> Value {
    let error = json!({ "median_ms": 0.0, "p99_ms": 0.25, "max_ms": 2.0 });
    let compared = json!({
        "error": error,
        "client_mean_ms": 1.0,
        "true_mean_ms": 1.0,
        "client_p99_ms": 1.0,
        "true_p99_ms": 1.0,
    });
    json!({
        "schema": 1,
        "host": host,
        "made": "2026-11-24T06:00:00.000Z",
        "servegate_version": "0.1.0",
        "kernel": null,
        "server_cpu": 0,
        "client_cpu": 1,
        "load_1m": null,
        "cells": [{
            "streams": 64,
            "events_per_s": 1_000_000,
            "requests": 100,
            "accuracy": {
                "matched": 100,
                "unmatched": 0,
                "ttft": compared,
                "itl": compared,
                "tpot": compared,
                "throughput_share": 0.001,
            },
            "recorded_events_per_s": 1.0,
            "client_cpu_share": 0.1,
            "client_memory_mib": 10.0,
            "server_cpu_share": 0.1,
            "lag": null,
        }],
    })
}
