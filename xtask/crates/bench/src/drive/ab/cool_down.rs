//! Cooling down: every run of an experiment starts on a GPU that is no warmer than before the
//! first pair, so that the order inside a pair decides nothing.

use std::time::Duration;

use domain::anomaly::Anomaly;
use domain::event::{Entry, Event, FailureClass, Outcome, StepFailure};
use skill::{Plan, PlannedStep};
use tokio::time::Instant;

use super::super::{Live, failed, unrecorded};
use crate::session::Session;

/// Pause between two looks at the temperature: a GPU loses about a degree in this time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A GPU under no load wavers by this much; less cannot be waited for.
const SLACK_C: u32 = 2;

/// Waits, in an experiment, until the GPU is as cool as before the first pair; returns its
/// temperature, where a GPU gives one. One that stays warm is noted, and measured.
pub(in crate::drive) async fn cool_down(
    session: &Session,
    live: &Live,
    planned: &PlannedStep,
) -> Result<Option<u32>, StepFailure> {
    let Some(experiment) = session.plan.experiment() else { return warmest(session, live) };
    let Some(mut now) = warmest(session, live)? else { return Ok(None) };
    let paired = |step: &PlannedStep| is_of_a_pair(&session.plan, step);
    let first = start(&session.plan, &session.recorder.entries());
    let Some(first) = first.filter(|_| paired(planned)) else { return Ok(Some(now)) };
    let deadline = Instant::now() + experiment.cool_down_within.0;
    while first + SLACK_C < now && Instant::now() < deadline {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(then) = warmest(session, live)? else { return Ok(None) };
        now = then;
    }
    if first + SLACK_C < now {
        let anomaly = Anomaly::StillWarm { temperature_c: now, start_c: first };
        session.recorder.note(anomaly).map_err(|failure| unrecorded(&failure))?;
    }
    Ok(Some(now))
}

/// Temperature of the warmest GPU in use, in degrees Celsius.
fn warmest(session: &Session, live: &Live) -> Result<Option<u32>, StepFailure> {
    if live.gpu_uuids.is_empty() {
        return Ok(None);
    }
    let facts = session.gather(&[]).map_err(|error| failed(FailureClass::Unhealthy, error))?;
    let used = facts.gpus.iter().filter(|gpu| live.gpu_uuids.contains(&gpu.uuid));
    Ok(used.filter_map(|gpu| gpu.temperature_c.known().copied()).max())
}

/// The temperature before the first run of a pair, if it is on record.
fn start(plan: &Plan, entries: &[Entry]) -> Option<u32> {
    entries.iter().find_map(|entry| match &entry.event {
        Event::StepSucceeded { step, outcome: Outcome::Prepared { temperature_c, .. } } => {
            plan.step(*step).filter(|step| is_of_a_pair(plan, step)).and(*temperature_c)
        }
        _ => None,
    })
}

fn is_of_a_pair(plan: &Plan, step: &PlannedStep) -> bool {
    plan.run(step.at).and_then(|run| run.arm).is_some_and(|arm| 0 < arm.pair)
}
