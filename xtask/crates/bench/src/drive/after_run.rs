//! `after-run`: save the summary and print the report.

use std::path::PathBuf;

use domain::event::{FailureClass, Outcome, StepFailure};
use domain::summary::RunSummary;
use sequencer::{Evidence, Measured};
use skill::runner::AfterRun;
use skill::{FactName, PlannedStep};

use super::live::{Live, MeasuredRun};
use super::{failed, summary};
use crate::output::print;
use crate::session::Session;

/// Saves a run that counts. Its evidence is used up: a result is saved once.
pub(super) async fn perform(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
    after: &AfterRun,
) -> Result<Outcome, StepFailure> {
    let Some(MeasuredRun { evidence, record }) = live.run.take() else {
        return Err(super::unproved(FactName::Measured));
    };
    let saved = summary::save(session, live, planned, &record, true)?;
    // The result of an experiment is its verdict, not its runs one by one.
    if !session.order.options.json && session.plan.experiment().is_none() {
        let text = report::run_report::render(&after.report, &saved);
        let text = text.map_err(|error| failed(FailureClass::Client, error))?;
        // The run is saved: a full or closed stdout does not make it a bad one.
        if let Err(failure) = print(&text) {
            session.recorder.with_ui(|ui| ui.line(failure.render().trim_end()));
        }
    }
    Ok(counted(&evidence, saved, record.summary))
}

/// Only a run that was proved to count becomes one of the session's results.
fn counted(_: &Evidence<Measured>, summary: RunSummary, file: PathBuf) -> Outcome {
    Outcome::Saved { summary: Box::new(summary), file }
}
