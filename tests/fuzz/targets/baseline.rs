//! A stored baseline: summaries of runs, judged by each other.
#![no_main]

use domain::metric::Metric;
use domain::summary::RunSummary;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;

/// The file, as the binary stores it.
#[derive(Deserialize)]
struct Baseline {
    runs: Vec<RunSummary>,
}

fuzz_target!(|text: &str| {
    let runs = match serde_json::from_str::<RunSummary>(text) {
        Ok(run) => vec![run],
        Err(_) => match serde_json::from_str::<Baseline>(text) {
            Ok(baseline) => baseline.runs,
            Err(_) => return,
        },
    };
    for run in &runs {
        let stored = serde_json::to_string(run).expect("a summary can be stored");
        let read: RunSummary = serde_json::from_str(&stored).expect("a stored summary can be read");
        assert_eq!(read, *run, "a summary changes by being stored");
    }
    let metrics: Vec<Metric> = Metric::all().collect();
    let all: Vec<&RunSummary> = runs.iter().collect();
    for split in [0, all.len() / 2, all.len()] {
        let (baseline, candidate) = all.split_at(split);
        let judgement = stats::baseline::judge(baseline, candidate, &metrics);
        assert!(!judgement.reason.is_empty(), "a verdict without a reason");
        for judged in &judgement.metrics {
            assert!(judged.change.is_none_or(|change| !change.is_nan()), "{judged:?}");
        }
    }
});
