//! `judge`: compare the session's runs with their baselines, where asked to.

use domain::event::{FailureClass, Outcome, StepFailure};
use report::SessionView;
use skill::runner::Judge;

use super::failed;
use crate::baselines;
use crate::session::Session;

/// Judges each key of the session.
pub(super) fn perform(session: &Session, judge: &Judge) -> Result<Outcome, StepFailure> {
    let options = &session.order.options;
    if !options.gate && options.baseline.is_none() {
        return Ok(Outcome::Judged { judgements: Vec::new() });
    }
    let view = SessionView::fold(&session.recorder.entries());
    let runs: Vec<_> = view.runs.iter().map(|run| &run.summary).collect();
    let judgements = baselines::by_key(&runs)
        .into_iter()
        .map(|(key, candidate)| {
            let baseline = baselines::load(&session.results, options.baseline.as_deref(), &key)?;
            let baseline: Vec<_> = baseline.iter().collect();
            Ok(stats::baseline::judge(&baseline, &candidate, &judge.metrics))
        })
        .collect::<anyhow::Result<Vec<_>>>();
    let judgements = judgements.map_err(|error| failed(FailureClass::Storage, error))?;
    Ok(Outcome::Judged { judgements })
}
