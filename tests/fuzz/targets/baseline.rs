//! Stored baselines: summaries of runs, judged by each other.
#![no_main]

use domain::event::Judgement;
use domain::gate::Basis;
use domain::summary::RunSummary;
use fuzz::RULE;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use stats::gate::{History, StoredMay, judge_interleaved, judge_stored};

/// The file, as the binary stores it.
#[derive(Deserialize)]
struct Baseline {
    sessions: Vec<Session>,
}

#[derive(Deserialize)]
struct Session {
    runs: Vec<RunSummary>,
}

fuzz_target!(|text: &str| {
    let runs = match serde_json::from_str::<RunSummary>(text) {
        Ok(run) => vec![run],
        Err(_) => match serde_json::from_str::<Baseline>(text) {
            Ok(baseline) => baseline.sessions.into_iter().flat_map(|one| one.runs).collect(),
            Err(_) => return,
        },
    };
    for run in &runs {
        let stored = serde_json::to_string(run).expect("a summary can be stored");
        let read: RunSummary = serde_json::from_str(&stored).expect("a stored summary can be read");
        assert_eq!(read, *run, "a summary changes by being stored");
    }
    let all: Vec<&RunSummary> = runs.iter().collect();
    for split in [0, all.len() / 2, all.len()] {
        let (baseline, candidate) = all.split_at(split);
        can_be_told(&judge_stored(&RULE, baseline, candidate, StoredMay::Clear));
    }
    let history = all.last().map_or_else(History::none, |now| History::of(&all, now));
    can_be_told(&judge_interleaved(&RULE, &all, &history, Basis::Interleaved));
});

/// A judgement has a reason, and no number in it is none.
fn can_be_told(judgement: &Judgement) {
    assert!(!judgement.reason.is_empty(), "a verdict without a reason");
    let stored = serde_json::to_string(judgement).expect("a judgement can be stored");
    let read = serde_json::from_str::<Judgement>(&stored);
    assert_eq!(read.ok().as_ref(), Some(judgement));
}
