//! `stop`: end everything that was started, and prove that it is gone.

use std::time::Duration;

use domain::anomaly::Anomaly;
use domain::event::{Event, FailureClass, Outcome, StepFailure, StopRequest};
use domain::facts::ServerProcess;
use serve::{PortLeft, StopLimits, StopReport};
use skill::PlannedStep;
use skill::setup::Stop;

use super::{Live, others, unrecorded};
use crate::failure::Failure;
use crate::session::Session;

/// A cancelled CI job is killed about ten seconds after SIGTERM; the server gets this much of it,
/// so that the reports can still be written.
const WHEN_TERMINATED: StopLimits = StopLimits {
    patience: Duration::from_secs(3),
    gone_within: Duration::from_secs(2),
    port_free_within: Duration::from_secs(1),
};

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
    let report = end(session, live, planned, stop, &process).await;
    settle(session, &process, &report).map_err(|failure| unrecorded(&failure))?;
    if let Some(failure) = left_behind(&report) {
        return Err(failure);
    }
    live.server = None;
    check_vram(session, live.vram_before_launch_mib, live.others_before_launch_mib, stop).await?;
    Ok(Outcome::Stopped)
}

/// Ends the server within the limits of the skill, or, once the session is told to terminate,
/// within what a cancelled CI job is left with.
async fn end(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
    stop: &Stop,
    process: &ServerProcess,
) -> StopReport {
    let patient = StopLimits::of(stop, session.target_of(planned).framework);
    tokio::select! {
        biased;
        () = session.stops.wait_until_terminated() => {}
        report = end_within(session, live, process, &patient) => return report,
    }
    end_within(session, live, process, &WHEN_TERMINATED).await
}

async fn end_within(
    session: &Session,
    live: &mut Live,
    process: &ServerProcess,
    limits: &StopLimits,
) -> StopReport {
    match &mut live.server {
        Some(server) => server.stop(limits).await,
        // The handle was lost with a step that was abandoned; the journal still knows the process.
        None => serve::end_leftover(process, &session.tag(), limits).await,
    }
}

/// Ends what an earlier process of this session left running; returns what would not go.
pub async fn clean_up(session: &Session) -> Result<Vec<u32>, Failure> {
    session.recorder.record(Event::CleanupStarted)?;
    if let Some(step) = session.recorder.interrupted_step() {
        let step = session.plan.steps()[step].name.clone();
        session.recorder.note(Anomaly::Resumed { step })?;
    }
    let process = session.recorder.server();
    let report = end_left(process.as_ref(), &session.tag()).await;
    if let Some(process) = process {
        settle(session, &process, &report)?;
    }
    session.recorder.record(match report.survivors.is_empty() {
        true => Event::CleanupFinished,
        false => Event::CleanupFailed { pids: report.survivors.clone() },
    })?;
    Ok(report.survivors)
}

/// Ends a server whose parent died, and whatever else carries the session's tag, such as a load
/// tool.
pub async fn end_left(process: Option<&ServerProcess>, tag: &str) -> StopReport {
    match process {
        Some(process) => serve::end_leftover(process, tag, &AFTER_A_CRASH).await,
        None => serve::end_tagged(tag, &AFTER_A_CRASH).await,
    }
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
    let message = match (report.survivors.as_slice(), &report.port) {
        ([], PortLeft::Free | PortLeft::Strangers(_)) => return None,
        ([], PortLeft::Held) => "the server's port is still in use after it ended".to_owned(),
        (pids, _) => format!("processes of the server are still running: {pids:?}"),
    };
    Some(StepFailure { class: FailureClass::LeftBehind, message, hint: None })
}

/// Waits until VRAM is about what it was before the launch.
async fn check_vram(
    session: &Session,
    before_mib: Option<u64>,
    others_before_mib: u64,
    stop: &Stop,
) -> Result<(), StepFailure> {
    let Some(before_mib) = before_mib else { return Ok(()) };
    let deadline = tokio::time::Instant::now() + stop.vram_free_within.0;
    loop {
        let Some(after_mib) = session.vram_used_mib() else { return Ok(()) };
        if after_mib <= before_mib + stop.vram_slack.mib() {
            return Ok(());
        }
        // Whoever came while the server ran holds memory that is not the server's.
        let theirs_mib = session.gather(&[]).map_or(0, |facts| others::held_mib(session, &facts));
        let theirs_mib = theirs_mib.saturating_sub(others_before_mib);
        if after_mib <= before_mib + theirs_mib + stop.vram_slack.mib() {
            return Ok(());
        }
        // Whoever cancels a job does not wait a minute for this; what is known is on record.
        let terminated = session.stops.requested() == Some(StopRequest::Terminated);
        if terminated || deadline <= tokio::time::Instant::now() {
            let anomaly = Anomaly::VramNotFreed { before_mib, after_mib };
            let message = anomaly.to_string();
            session.recorder.note(anomaly).map_err(|failure| unrecorded(&failure))?;
            return Err(StepFailure { class: FailureClass::LeftBehind, message, hint: None });
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}
