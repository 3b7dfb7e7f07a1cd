//! What the journal holds of an experiment's pairs.

use domain::event::{Entry, Event, Outcome, StepFailure};
use domain::gate::Arm;
use domain::summary::RunSummary;
use sequencer::experiment::FailedRun;
use skill::{Phase, Plan, PlannedRun};

/// The runs of the first pairs, in the order of the plan.
#[derive(Debug)]
pub(super) struct Recorded {
    /// Those that gave a result.
    pub(super) runs: Vec<RunSummary>,
    /// Those that did not.
    pub(super) failed: Vec<FailedRun>,
}

impl Recorded {
    /// Reads them from a journal.
    pub(super) fn up_to(plan: &Plan, entries: &[Entry], pair: u32) -> Self {
        let mut recorded = Self { runs: Vec::new(), failed: Vec::new() };
        for (index, run) in (1..=pair).flat_map(|pair| plan.pair(pair)) {
            match saved(plan, entries, index) {
                Some(summary) => recorded.runs.push(summary.clone()),
                None => recorded.failed.extend(failure(plan, entries, run)),
            }
        }
        recorded
    }
}

/// The summary of a run; of one that was done again, the last.
fn saved<'a>(plan: &Plan, entries: &'a [Entry], run: usize) -> Option<&'a RunSummary> {
    entries.iter().rev().find_map(|entry| match &entry.event {
        Event::StepSucceeded { step, outcome: Outcome::Saved { summary, .. } } => {
            let at = plan.step(*step)?.at;
            (at.run() == Some(run)).then_some(&**summary)
        }
        _ => None,
    })
}

/// The first failure at a run's target, which has no other run.
fn failure(plan: &Plan, entries: &[Entry], run: &PlannedRun) -> Option<FailedRun> {
    let Arm { side, pair } = run.arm?;
    let failure = |step: usize, failure: &StepFailure| {
        let planned = plan.step(step)?;
        let here = planned.at.target() == Some(run.target) && planned.phase == Phase::Main;
        here.then(|| FailedRun { pair, side, step: planned.name.clone(), failure: failure.clone() })
    };
    entries.iter().find_map(|entry| match &entry.event {
        Event::StepFailed { step, failure: why } => failure(*step, why),
        _ => None,
    })
}
