//! `before-run`: the server is still healthy, its cache is empty, VRAM and time are on record.

use domain::anomaly::Anomaly;
use domain::event::{FailureClass, Outcome, StepFailure};
use domain::facts::RungOutcome;
use skill::runner::BeforeRun;
use skill::{FactName, PlannedStep};

use super::{Live, failed, unrecorded};
use crate::session::Session;

/// Prepares a run. The time is the journal entry's own.
pub(super) async fn perform(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
    before: &BeforeRun,
) -> Result<Outcome, StepFailure> {
    let temperature_c = super::ab::cool_down(session, live, planned).await?;
    let (Some((_, server)), Some(endpoint)) = (&live.verified, &live.endpoint) else {
        return Err(super::unproved(FactName::ServerVerified));
    };
    let healthy = serve::healthy(endpoint, before.health_within.0).await;
    healthy.map_err(|error| failed(FailureClass::Server, error))?;
    let mut rungs = Vec::new();
    if before.flush_cache {
        let flushed = serve::flush(endpoint, &server.model, before.health_within.0).await;
        if let RungOutcome::NotAvailable(reason) | RungOutcome::Failed(reason) = &flushed.outcome {
            let anomaly = Anomaly::CacheNotFlushed { reason: reason.clone() };
            session.recorder.note(anomaly).map_err(|failure| unrecorded(&failure))?;
        }
        rungs.push(flushed);
    }
    live.start_temperature_c = temperature_c;
    Ok(Outcome::Prepared { vram_mib: session.vram_used_mib(), rungs, temperature_c })
}
