//! `check-gpu`: gather, judge, and wait a little for troubles that pass by themselves.

use std::time::{Duration, Instant};

use domain::anomaly::Anomaly;
use domain::event::{FailureClass, Outcome, StepFailure};
use domain::facts::{HealthFacts, Severity};
use probe::NoSuchGpu;
use sequencer::health::{self, Healthy, Unfit, Wanted};
use skill::PlannedStep;
use skill::health::CheckGpu;

use super::{Live, failed, failed_hinted, unrecorded};
use crate::session::Session;

/// Pause between two looks at a device that is not fit yet.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Proves that the device is fit to measure on.
pub(super) async fn perform(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
    limits: &CheckGpu,
) -> Result<Outcome, StepFailure> {
    let looked = look_until_fit(session, planned, limits).await;
    let (facts, judged) = looked.map_err(|error| failed(FailureClass::Unhealthy, error))?;
    let Healthy { evidence, findings, .. } =
        judged.map_err(|unfit| failed_hinted(FailureClass::Unhealthy, unfit))?;
    for finding in findings.iter().filter(|finding| finding.severity == Severity::Warn) {
        let anomaly = Anomaly::Health { finding: finding.clone() };
        session.recorder.note(anomaly).map_err(|failure| unrecorded(&failure))?;
    }
    let subject = evidence.subject().to_owned();
    let used = match wanted(session, planned, &facts) {
        Wanted::Gpu => facts.gpus.as_slice(),
        Wanted::Cpu => &[],
    };
    let environment = probe::environment(&facts, used);
    live.gpu_uuids = used.iter().map(|gpu| gpu.uuid.clone()).collect();
    live.others_before_launch_mib = super::others::held_mib(session, &facts);
    live.healthy = Some((evidence, environment));
    Ok(Outcome::GpuHealthy { subject, findings })
}

async fn look_until_fit(
    session: &Session,
    planned: &PlannedStep,
    limits: &CheckGpu,
) -> Result<(HealthFacts, Result<Healthy, Unfit>), NoSuchGpu> {
    let began = Instant::now();
    loop {
        let facts = session.gather(limits.variables())?;
        let judged = health::judge(&facts, limits, wanted(session, planned, &facts));
        let patience = health::worth_waiting(&judged, limits);
        let stopping = session.stops.requested().is_some();
        if stopping || patience.is_none_or(|patience| patience <= began.elapsed()) {
            return Ok((facts, judged));
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

fn wanted(session: &Session, planned: &PlannedStep, facts: &HealthFacts) -> Wanted {
    Wanted::of(session.target_of(planned), facts)
}
