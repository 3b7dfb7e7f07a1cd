//! A run by the engine built into servegate.

use std::time::Duration;

use domain::anomaly::Anomaly;
use domain::event::{FailureClass, StepFailure};
use domain::facts::RungOutcome;
use domain::framework::Engine;
use load::{Order, RequestSet};
use report::block::{BlockInput, Extras, block};
use stats::Observation;

use super::{Job, Raw, Yield};
use crate::drive::engine::tokenizer;
use crate::drive::{failed, failed_hinted, interrupted, unrecorded};
use crate::failure::Failure;
use crate::lag::Allowed;

/// A server empties its cache in milliseconds once nothing runs any more.
const FLUSH_WITHIN: Duration = Duration::from_secs(30);

/// Prepares the requests, warms up, sends the load and sums it up.
pub(super) async fn make(job: &Job<'_>) -> Result<Yield, StepFailure> {
    let mut stop = job.stop.clone();
    let requests = tokio::select! {
        prepared = prepare(job) => prepared?,
        // The drawing goes on in the background until the process ends, which is soon.
        _ = stop.wait_for(|stop| *stop) => return Err(interrupted("the preparation")),
    };
    let order = Order {
        base_url: job.endpoint.url(),
        model: &job.server.model,
        wire: job.backend.wire(),
        profile: &job.run.profile,
        requests: &requests,
        capabilities: job.server.capabilities,
        idle: job.measure.request_idle.0,
        deadline: job.measure.deadline.0,
        headers: Vec::new(),
    };
    warm_up(job, &order).await?;
    let drive = load::drive(&order, job.verified, job.progress, job.stop.clone()).await;
    let drive = drive.map_err(client_failure)?;
    let mut measurement = stats::summarise(&Observation {
        records: &drive.records,
        asked: requests.asked(),
        duration_ns: drive.duration_ns,
        cpu_ns: drive.cpu_ns,
        threads: drive.threads,
    });
    let allowed = Allowed::Within(job.measure.lag_budget);
    let over = allowed.exceeded(&measurement, &job.run.profile);
    measurement.anomalies.extend(over);
    let request_set = requests.fingerprint();
    let text = block(&BlockInput {
        backend: job.backend,
        profile: &job.run.profile,
        measurement: &measurement,
        request_set: Some(&request_set),
        max_itl_ms: stats::metrics::max_itl_ms(&drive.records),
        extras: Extras::NONE,
    });
    Ok(Yield {
        engine: Engine::Native,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: drive.started,
        finished: drive.finished,
        measurement,
        request_set: Some(request_set),
        records: drive.records,
        raw: Raw::Text(text),
    })
}

/// Drawing and decoding thousands of prompts takes seconds: not on a thread that serves others.
async fn prepare(job: &Job<'_>) -> Result<RequestSet, StepFailure> {
    let (profile, seed, target) = (job.run.profile.clone(), job.run.seed, job.target.clone());
    let prepared = tokio::task::spawn_blocking(move || {
        let tokenizer = tokenizer(&target).map_err(|failure| unusable(&failure))?;
        load::prepare(&profile, seed, &tokenizer)
            .map_err(|error| failed_hinted(FailureClass::Client, error))
    });
    prepared.await.map_err(|error| failed(FailureClass::Client, error))?
}

/// Warms up with the first prompt, as the Python tool does, and empties the cache again, so that
/// the first measured request is no cache hit.
async fn warm_up(job: &Job<'_>, order: &Order<'_>) -> Result<(), StepFailure> {
    let requests = job.run.profile.warmup_requests;
    if requests == 0 {
        return Ok(());
    }
    let warmed = load::warm_up(order, requests, job.verified, job.stop.clone()).await;
    warmed.map_err(client_failure)?;
    let mut stop = job.stop.clone();
    let flushed = tokio::select! {
        flushed = serve::flush(job.endpoint, &job.server.model, FLUSH_WITHIN) => flushed,
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
    };
    // Whether the server can do it at all was tried, and noted, before the run.
    if let RungOutcome::Failed(reason) = flushed.outcome {
        let noted = job.session.recorder.note(Anomaly::CacheNotFlushed { reason });
        noted.map_err(|failure| unrecorded(&failure))?;
    }
    Ok(())
}

fn unusable(failure: &Failure) -> StepFailure {
    StepFailure { class: FailureClass::Client, message: failure.one_line(), hint: None }
}

fn client_failure(error: load::DriveError) -> StepFailure {
    let class = match &error {
        load::DriveError::WarmUp { .. } => FailureClass::Requests,
        load::DriveError::Stopped => FailureClass::Interrupted,
        _ => FailureClass::Client,
    };
    failed_hinted(class, error)
}
