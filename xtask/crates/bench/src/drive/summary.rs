//! The summary of a run: what was measured, put into its context, and written down.

use domain::event::{FailureClass, StepFailure};
use domain::framework::Engine;
use domain::summary::RunSummary;
use skill::{FactName, PlannedStep};

use super::failed;
use super::live::{Live, RunRecord};
use crate::certificates;
use crate::session::Session;
use crate::store::write_new_json;

/// Makes the summary of a run and writes its file.
pub(super) fn save(
    session: &Session,
    live: &Live,
    planned: &PlannedStep,
    record: &RunRecord,
    counts: bool,
) -> Result<RunSummary, StepFailure> {
    let summary = RunSummary { counts, ..make(session, live, planned, record)? };
    write_new_json(&session.results.path(&record.summary), &summary)
        .map_err(|error| failed(FailureClass::Storage, error))?;
    Ok(summary)
}

fn make(
    session: &Session,
    live: &Live,
    planned: &PlannedStep,
    record: &RunRecord,
) -> Result<RunSummary, StepFailure> {
    let (Some(run), Some((_, server)), Some((_, environment))) =
        (session.run_of(planned), &live.verified, &live.healthy)
    else {
        return Err(super::unproved(FactName::ServerVerified));
    };
    let Some(backend) = run.backend else {
        return Err(super::unproved(FactName::Measured));
    };
    let measurement = record.measurement.clone();
    // Certificates are of our own client.
    let error_bound = match record.engine {
        Engine::Native => certificates::bound(&session.results, &environment.host, &measurement),
        Engine::Sglang => None,
    };
    Ok(RunSummary {
        schema: RunSummary::SCHEMA,
        counts: false,
        session: session.folder.id().to_owned(),
        framework: server.framework,
        framework_version: server.version.clone(),
        model: server.model.clone(),
        profile: run.profile.clone(),
        repeat: run.repeat,
        arm: run.arm,
        seed: run.seed,
        engine: record.engine,
        engine_version: record.engine_version.clone(),
        backend,
        started: record.started,
        finished: record.finished,
        requests: measurement.requests,
        tokens: measurement.tokens,
        metrics: measurement.metrics,
        vram: record.vram,
        telemetry: record.telemetry.clone(),
        kv_cache_tokens: serve::kv_cache_tokens(server),
        request_set: record.request_set.clone(),
        client: measurement.client.clone(),
        accounting: measurement.accounting.clone(),
        error_bound,
        anomalies: measurement.anomalies,
        environment: environment.clone(),
        raw: record.raw.display().to_string(),
        records: record.records.as_ref().map(|path| path.display().to_string()),
    })
}
