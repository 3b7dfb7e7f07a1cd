//! How long a judgement takes with a history that nobody has.

use std::time::{Duration, Instant};

use domain::gate::{Arm, Basis, Class, Rule, Side};
use domain::summary::RunSummary;
use serde_json::json;
use stats::gate::{
    History, Past, Series, StoredMay, decide, judge_interleaved, judge_stored, noise,
};

use super::noise::Random;

/// Earlier pairs, or earlier runs.
const ENTRIES: usize = 10_000;

/// Runs of an earlier session.
const RUNS: usize = 10;

/// One line a way to judge, with the time.
pub(crate) fn report() -> String {
    let mut random = Random::new(4);
    let rule = Rule::standard();
    let told = |what: &str, verdict: String, took: Duration| {
        format!("{ENTRIES} history entries, {what}: {verdict} in {took:.1?}\n")
    };
    let (verdict, took) = by_series(&rule, &mut random);
    let mut text = told("4 metrics as series of pairs", verdict, took);
    let stored: Vec<RunSummary> =
        (0..ENTRIES).map(|entry| run(entry / RUNS, None, &mut random)).collect();
    let stored: Vec<&RunSummary> = stored.iter().collect();
    let mut new = |arm| run(usize::MAX, arm, &mut random);
    let single: Vec<RunSummary> = (0..5).map(|_| new(None)).collect();
    let sides = |pair| [Side::Baseline, Side::Candidate].map(|side| Some(Arm { side, pair }));
    let paired: Vec<RunSummary> = (1..=10).flat_map(sides).map(&mut new).collect();
    let (single, paired): (Vec<_>, Vec<_>) = (single.iter().collect(), paired.iter().collect());
    for (what, may) in [
        ("runs by a stored baseline", StoredMay::Clear),
        ("runs by a stored baseline that may fail them", StoredMay::ClearOrFail),
    ] {
        let started = Instant::now();
        let judgement = judge_stored(&rule, &stored, &single, may);
        text += &told(what, judgement.verdict.to_string(), started.elapsed());
    }
    let started = Instant::now();
    let history = History::of(&stored, paired[0]);
    let judgement = judge_interleaved(&rule, &paired, &history, Basis::Interleaved);
    text + &told("10 pairs of runs", judgement.verdict.to_string(), started.elapsed())
}

fn by_series(rule: &Rule, random: &mut Random) -> (String, Duration) {
    let mut pairs =
        |count: usize| -> Vec<f64> { (0..count).map(|_| random.normal() * 0.015).collect() };
    let past: Vec<Past> = (0..10).map(|_| Past::Pairs(pairs(ENTRIES / 10))).collect();
    let changes: Vec<Vec<f64>> = (0..4).map(|_| pairs(10)).collect();
    let started = Instant::now();
    let series: Vec<Series> = changes
        .into_iter()
        .enumerate()
        .map(|(at, changes)| Series {
            name: at.to_string(),
            class: Class::Mean,
            changes,
            floor: noise::floor(&rule.history, &past),
        })
        .collect();
    let decision = decide(rule, &series);
    let verdict =
        decision.map_or_else(|error| error.to_string(), |found| found.verdict.to_string());
    (verdict, started.elapsed())
}

/// A run with the metrics that decide, in a session of that number.
#[expect(clippy::expect_used, reason = "the value stands right here and has every field")]
fn run(session: usize, arm: Option<Arm>, random: &mut Random) -> RunSummary {
    let mut value = |usual: f64| usual * (random.normal() * 0.01).exp();
    let summary = json!({
        "schema": RunSummary::SCHEMA, "counts": true, "session": session.to_string(),
        "framework": "sim", "framework_version": "0.1.0", "model": "sim",
        "profile": {
            "name": "smoke", "dataset_name": "random-ids", "num_prompts": 32,
            "random_input_len": 128, "random_output_len": 64, "random_range_ratio": 0.5,
            "request_rate": "inf", "arrivals": "poisson", "warmup_requests": 1, "seed": 42,
            "ignore_eos": true
        },
        "repeat": 1, "arm": arm, "seed": 42, "engine": "native", "engine_version": "0.1.0",
        "backend": "sglang",
        "started": "2026-01-01T00:00:00.000Z", "finished": "2026-01-01T00:01:00.000Z",
        "requests": {"asked": 32, "completed": 32, "failed": {}},
        "tokens": {
            "input": 3000, "input_by_server": 3000, "output": 2000,
            "output_source": "server-usage", "output_asked": 2000, "cached": null
        },
        "metrics": {
            "output_throughput": value(700.0), "mean_ttft_ms": value(30.0),
            "mean_tpot_ms": value(6.0), "p99_ttft_ms": value(45.0)
        },
        "vram": null, "request_set": "aa11", "client": null, "anomalies": [],
        "environment": {
            "servegate": "0.1.0", "host": "a host", "kernel": "6.1.0", "cpu": "a CPU", "cpus": 2,
            "driver": null, "gpus": [], "load_1m": null
        },
        "raw": "sim/run.txt", "records": null
    });
    serde_json::from_value(summary).expect("every field that a summary must have")
}
