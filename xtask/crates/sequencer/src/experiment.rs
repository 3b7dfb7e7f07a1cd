//! What the failures of a pair's runs mean for their experiment.

use std::collections::BTreeSet;

use domain::event::{FailureClass, StepFailure};
use domain::gate::Side;
use domain::verdict::Verdict;

/// A run of a pair that gave no result.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedRun {
    /// Its pair, from 1.
    pub pair: u32,
    /// Which side.
    pub side: Side,
    /// The name of the step that failed.
    pub step: String,
    /// Why.
    pub failure: StepFailure,
}

/// Pairs that say nothing of either side, because the load client failed in one of their runs.
/// They are left out, and the experiment goes on with its spare pairs.
pub fn left_out(failed: &[FailedRun]) -> BTreeSet<u32> {
    let by_client = failed.iter().filter(|run| run.failure.class == FailureClass::Client);
    by_client.map(|run| run.pair).collect()
}

/// What ends an experiment, if a run of a pair gave no result: the verdict and why.
///
/// Requests that fail on one side only make the sides two different experiments, however fast the
/// rest was. What else fails is no difference between the sides that could be judged.
pub fn refusal(failed: &[FailedRun]) -> Option<(Verdict, String)> {
    let left_out = left_out(failed);
    let failed: Vec<_> = failed.iter().filter(|run| !left_out.contains(&run.pair)).collect();
    let first = *failed.first()?;
    let told: Vec<_> =
        failed.iter().map(|run| format!("`{}`: {}", run.step, run.failure.message)).collect();
    let told = told.join("; ");
    let requests = |run: &&FailedRun| match run.failure.class {
        FailureClass::Requests => true,
        FailureClass::Unhealthy
        | FailureClass::Server
        | FailureClass::Client
        | FailureClass::Interrupted
        | FailureClass::Storage
        | FailureClass::LeftBehind => false,
    };
    let one_side = failed.iter().all(|run| run.side == first.side);
    Some(match (failed.iter().all(requests), one_side) {
        (true, true) => {
            (Verdict::Incomparable, format!("requests failed on the {} only: {told}", first.side))
        }
        (true, false) => (Verdict::Broken, format!("requests failed on both sides: {told}")),
        (false, _) => (Verdict::Broken, format!("a run gave no result: {told}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(side: Side, class: FailureClass) -> FailedRun {
        let failure = StepFailure { class, message: "3 of 100 failed".to_owned(), hint: None };
        FailedRun { pair: 2, side, step: format!("{side}-2/smoke#2/measure"), failure }
    }

    #[test]
    fn what_fails_on_one_side_only_is_another_experiment_and_anything_else_is_broken() {
        use FailureClass::{Requests, Server};
        use Side::{Baseline, Candidate};
        assert_eq!(refusal(&[]), None);
        let cases = [
            vec![run(Candidate, Requests)],
            vec![run(Baseline, Requests), run(Candidate, Requests)],
            vec![run(Candidate, Server)],
            vec![run(Baseline, Server), run(Candidate, Requests)],
        ];
        let told: Vec<_> = cases
            .iter()
            .filter_map(|failed| refusal(failed))
            .map(|(verdict, reason)| format!("{verdict}: {reason}"))
            .collect();
        insta::assert_snapshot!(told.join("\n"));
    }

    #[test]
    fn a_pair_in_which_the_client_failed_is_left_out_whatever_else_failed_in_it() {
        let late = run(Side::Baseline, FailureClass::Client);
        let both = [late.clone(), run(Side::Candidate, FailureClass::Requests)];
        assert_eq!(refusal(&both), None);
        assert_eq!(left_out(&both), [2].into());
        let later = FailedRun { pair: 3, ..run(Side::Candidate, FailureClass::Requests) };
        assert!(refusal(&[late, later]).is_some());
    }
}
