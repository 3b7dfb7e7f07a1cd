//! `compare`: one table across frameworks.

use std::path::PathBuf;

use domain::event::{FailureClass, Outcome, StepFailure};
use domain::summary::RunSummary;
use report::SessionView;
use skill::runner::Compare;

use super::failed;
use crate::clock::now;
use crate::session::Session;
use crate::store::write_new_json;

/// Writes `summary/comparison-<timestamp>.json`.
pub(super) fn perform(session: &Session, compare: &Compare) -> Result<Outcome, StepFailure> {
    let view = SessionView::fold(&session.recorder.entries());
    let runs: Vec<&RunSummary> = view.runs.iter().map(|run| &run.summary).collect();
    let created = now();
    let comparison = stats::compare::compare(&runs, &compare.metrics, created);
    let file: PathBuf = session.results.comparison_file(created);
    write_new_json(&session.results.path(&file), &comparison)
        .map_err(|error| failed(FailureClass::Storage, error))?;
    Ok(Outcome::Compared { file })
}
