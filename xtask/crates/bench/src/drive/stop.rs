//! `stop`: end everything that was started, and prove that it is gone.

use std::time::Duration;

use domain::anomaly::Anomaly;
use domain::event::{Event, FailureClass, Outcome, StepFailure, StopRequest};
use domain::facts::ServerProcess;
use serve::{StopLimits, StopReport};
use skill::PlannedStep;
use skill::setup::Stop;

use super::{Live, unrecorded};
use crate::failure::Failure;
use crate::session::Session;

/// A cancelled CI job is killed about ten seconds after SIGTERM; the server gets this much of it.
const PATIENCE_WHEN_TERMINATED: Duration = Duration::from_secs(3);

/// A server whose parent died serves nobody: it is asked once and then ended.
const AFTER_A_CRASH: StopLimits = StopLimits {
    patience: Duration::from_secs(10),
    gone_within: Duration::from_secs(20),
    port_free_within: Duration::from_secs(20),
};

/// Pause between two looks at VRAM that is being given back.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Stops the server of a place, if one was started.
pub(super) async fn perform(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
    stop: &Stop,
) -> Result<Outcome, StepFailure> {
    live.verified = None;
    live.endpoint = None;
    let Some(process) = session.recorder.server() else {
        return Ok(Outcome::Stopped);
    };
    let limits = limits(session, planned, stop);
    let report = match live.server.take() {
        Some(mut server) => server.stop(&limits).await,
        // The handle was lost with a step that was abandoned; the journal still knows the process.
        None => serve::end_leftover(&process, &session.tag(), &limits).await,
    };
    settle(session, &process, &report).map_err(|failure| unrecorded(&failure))?;
    if let Some(failure) = left_behind(&report) {
        return Err(failure);
    }
    check_vram(session, live.vram_before_launch_mib, stop).await?;
    Ok(Outcome::Stopped)
}

/// Ends what an earlier process of this session left running; returns what would not go.
pub async fn clean_up(session: &Session) -> Result<Vec<u32>, Failure> {
    session.recorder.record(Event::CleanupStarted)?;
    let survivors = match session.recorder.server() {
        Some(process) => {
            let report = serve::end_leftover(&process, &session.tag(), &AFTER_A_CRASH).await;
            settle(session, &process, &report)?;
            report.survivors
        }
        // No server, but perhaps a load tool that outlived us.
        None => serve::end_tagged(&session.tag(), &AFTER_A_CRASH).await.survivors,
    };
    session.recorder.record(match survivors.is_empty() {
        true => Event::CleanupFinished,
        false => Event::CleanupFailed { pids: survivors.clone() },
    })?;
    Ok(survivors)
}

fn limits(session: &Session, planned: &PlannedStep, stop: &Stop) -> StopLimits {
    let limits = StopLimits::of(stop, session.target_of(planned).framework);
    let terminated = session.recorder.stop() == Some(StopRequest::Terminated);
    let patience = if terminated { PATIENCE_WHEN_TERMINATED } else { limits.patience };
    StopLimits { patience: limits.patience.min(patience), ..limits }
}

/// Records how the server went.
fn settle(session: &Session, process: &ServerProcess, report: &StopReport) -> Result<(), Failure> {
    for anomaly in report.anomalies() {
        session.recorder.note(anomaly)?;
    }
    if report.survivors.is_empty() {
        session.recorder.record(Event::ServerStopped { pid: process.pid })?;
    }
    Ok(())
}

fn left_behind(report: &StopReport) -> Option<StepFailure> {
    let message = match (report.survivors.as_slice(), report.port_free) {
        ([], true) => return None,
        ([], false) => "the server's port is still in use after it ended".to_owned(),
        (pids, _) => format!("processes of the server are still running: {pids:?}"),
    };
    Some(StepFailure { class: FailureClass::LeftBehind, message, hint: None })
}

/// Waits until VRAM is about what it was before the launch.
async fn check_vram(
    session: &Session,
    before_mib: Option<u64>,
    stop: &Stop,
) -> Result<(), StepFailure> {
    let Some(before_mib) = before_mib else { return Ok(()) };
    let deadline = tokio::time::Instant::now() + stop.vram_free_within.0;
    loop {
        let Some(after_mib) = session.vram_used_mib() else { return Ok(()) };
        if after_mib <= before_mib + stop.vram_slack.mib() {
            return Ok(());
        }
        if deadline <= tokio::time::Instant::now() {
            let anomaly = Anomaly::VramNotFreed { before_mib, after_mib };
            let message = anomaly.to_string();
            session.recorder.note(anomaly).map_err(|failure| unrecorded(&failure))?;
            return Err(StepFailure { class: FailureClass::LeftBehind, message, hint: None });
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}
