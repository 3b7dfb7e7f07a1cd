//! The summary of a run: what was measured, put into its context, and written down.

use domain::contract::{Contract, Term};
use domain::event::{FailureClass, StepFailure};
use domain::facts::{Environment, ServerFacts};
use domain::framework::Engine;
use domain::summary::{RunSummary, TokenSource};
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
        cpu_use: record.cpu_use.clone(),
        kv_cache_tokens: serve::kv_cache_tokens(server),
        request_set: record.request_set.clone(),
        contract: Some(contract(live, server, environment, record)),
        cache_count: record.cache_count.clone(),
        client: measurement.client.clone(),
        accounting: measurement.accounting.clone(),
        error_bound,
        anomalies: measurement.anomalies,
        environment: environment.clone(),
        raw: record.raw.display().to_string(),
        records: record.records.as_ref().map(|path| path.display().to_string()),
    })
}

/// What the server said, with what was seen of this run and of the device.
fn contract(
    live: &Live,
    server: &ServerFacts,
    environment: &Environment,
    record: &RunRecord,
) -> Contract {
    let mut contract = server.contract.clone();
    let tokens = &record.measurement.tokens;
    contract.forced_length = match tokens.output_source {
        TokenSource::ServerUsage => Some(tokens.output == tokens.output_asked),
        TokenSource::Tool | TokenSource::FinishReason | TokenSource::Chunks => None,
    };
    contract.request_set = record.request_set.clone();
    let limits = environment.gpu_setups.iter().map(|gpu| gpu.power_limit_mw);
    contract.power_limit_mw = limits.collect::<Option<Vec<u64>>>().filter(|all| !all.is_empty());
    contract.start_temperature_c = live.start_temperature_c;
    let seen = [
        (Term::ForcedLength, "the answers' own token counts", "the answers count no tokens"),
        (Term::RequestSet, "the load engine", "this load engine does not tell"),
        (Term::PowerLimit, "the GPU's driver", "no GPU of this host tells"),
        (Term::StartTemperature, "the GPU's driver", "no GPU of this host tells"),
    ];
    for (term, source, why_not) in seen {
        let said = contract.shown(term).is_some();
        contract.note(term, if said { source } else { why_not });
    }
    contract
}
