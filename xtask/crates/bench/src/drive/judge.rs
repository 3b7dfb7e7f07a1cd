//! `judge`: compare the session's runs with their baselines, where asked to.

use domain::event::{FailureClass, Outcome, StepFailure};
use domain::gate::Basis;
use report::SessionView;
use skill::runner::Judge;

use crate::baselines::{Judging, mark_lost};
use crate::session::Session;

/// Judges each key of the session.
pub(super) fn perform(session: &Session, judge: &Judge) -> Result<Outcome, StepFailure> {
    let options = &session.order.options;
    if !options.gate && options.baseline.is_none() {
        return Ok(Outcome::Judged { judgements: Vec::new() });
    }
    let view = SessionView::fold(&session.recorder.entries());
    let runs: Vec<_> = view.runs.iter().map(|run| &run.summary).collect();
    let shelf = session.shelf().map_err(|failure| StepFailure {
        class: FailureClass::Storage,
        message: failure.one_line(),
        hint: None,
    })?;
    let judging = Judging {
        shelf: &shelf,
        rule: judge,
        file: options.baseline.as_deref(),
        stored: options.stored_may(),
        interleaved: Basis::Interleaved,
    };
    let mut judgements = judging.judge(&runs);
    mark_lost(&view, &mut judgements);
    Ok(Outcome::Judged { judgements })
}
