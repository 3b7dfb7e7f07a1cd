//! Watching over a load: progress, and silence.
//!
//! Silence starts an investigation and ends nothing; only the engines' hard deadline does.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use domain::anomaly::Anomaly;
use load::{Progress, Snapshot};
use skill::runner::Measure;
use tokio::sync::watch;

use super::Live;
use crate::failure::Failure;
use crate::session::Session;
use crate::store::write_new;
use crate::ui::LoadProgress;

/// Pause between two looks: short for a person at a bar, long beside what a look costs.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long the server may take to say whether it is healthy during an investigation.
const HEALTH_WITHIN: Duration = Duration::from_secs(10);

/// Lines of the server's log that an investigation keeps.
const LOG_LINES: usize = 200;

/// What is watched.
pub(super) struct Watched<'a> {
    pub session: &'a Session,
    pub live: &'a Live,
    pub measure: &'a Measure,
    /// Folder of the run.
    pub folder: &'a Path,
    pub progress: &'a Progress,
}

/// Watches until dropped. Sets `end` when the session is to stop; the hard deadline is the
/// engines' own.
pub(super) async fn over(watched: &Watched<'_>, end: &watch::Sender<bool>) -> Infallible {
    let mut insisted = watched.session.stops.insisted();
    tokio::select! {
        never = look_on(watched) => match never {},
        _ = insisted.wait_for(|insisted| *insisted) => {}
    }
    end.send_replace(true);
    std::future::pending().await
}

/// Shows progress, and looks into silence.
async fn look_on(watched: &Watched<'_>) -> Infallible {
    let mut investigations = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let seen = watched.progress.snapshot();
        show(watched.session, seen);
        // The longer the silence lasts, the less often it is looked into again.
        let due = watched.measure.investigate_after.0 * 2_u32.saturating_pow(investigations);
        if due <= seen.silent_for {
            investigations += 1;
            investigate(watched, seen, investigations).await;
        } else if seen.silent_for < watched.measure.investigate_after.0 {
            investigations = 0;
        }
    }
}

fn show(session: &Session, seen: Snapshot) {
    let load = LoadProgress {
        asked: seen.asked.into(),
        sent: seen.sent.into(),
        completed: seen.completed.into(),
        failed: seen.failed.into(),
    };
    session.recorder.with_ui(|ui| ui.progress(load));
}

/// Saves what can be seen from outside, and notes it.
async fn investigate(watched: &Watched<'_>, seen: Snapshot, number: u32) {
    let server_healthy = match &watched.live.endpoint {
        Some(endpoint) => serve::healthy(endpoint, HEALTH_WITHIN).await.is_ok(),
        None => false,
    };
    let evidence = save_evidence(watched, seen, number, server_healthy);
    let evidence = evidence.map_or_else(
        |error| format!("nothing: {error:#}"),
        |file| watched.session.relative(&file).display().to_string(),
    );
    let seconds = seen.silent_for.as_secs();
    let noted: Result<(), Failure> =
        watched.session.recorder.note(Anomaly::Silence { seconds, server_healthy, evidence });
    if let Err(failure) = noted {
        // The load goes on; the next event of the step fails to be recorded as well.
        watched.session.recorder.with_ui(|ui| ui.line(&failure.render()));
    }
}

fn save_evidence(
    watched: &Watched<'_>,
    seen: Snapshot,
    number: u32,
    server_healthy: bool,
) -> Result<PathBuf> {
    let mut text = String::new();
    let Snapshot { asked, sent, completed, failed, tokens, silent_for } = seen;
    writeln!(text, "silent for: {} s", silent_for.as_secs())?;
    writeln!(
        text,
        "requests: {asked} asked for, {sent} sent, {completed} completed, {failed} failed"
    )?;
    writeln!(text, "tokens received: {tokens}")?;
    writeln!(text, "server health endpoint answers: {server_healthy}")?;
    match watched.session.vram_used_mib() {
        Some(mib) => writeln!(text, "VRAM in use: {mib} MiB")?,
        None => writeln!(text, "VRAM in use: not known")?,
    }
    if let Some(server) = &watched.live.server {
        writeln!(text, "\nthreads of the server:\n{}", serve::thread_states(server.process()))?;
        writeln!(text, "end of the server's log:")?;
        for line in server.log_tail(LOG_LINES) {
            writeln!(text, "{line}")?;
        }
    }
    let file =
        watched.folder.join(format!("silence-{number}-{}.txt", crate::clock::now().compact()));
    write_new(&file, text.as_bytes())?;
    Ok(file)
}
