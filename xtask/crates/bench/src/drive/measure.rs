//! `measure`: send the load, keep everything that it gave, and judge whether it counts.

mod gpu;
mod native;
mod tool;

pub(crate) use gpu::sampler;

use std::path::{Path, PathBuf};

use domain::anomaly::Anomaly;
use domain::contract::CacheCount;
use domain::event::{FailureClass, Outcome, StepFailure, StopRequest};
use domain::facts::ServerFacts;
use domain::framework::{self, Backend};
use domain::host::CpuUse;
use domain::request::RequestRecord;
use domain::summary::Measurement;
use domain::timestamp::Timestamp;
use load::Progress;
use probe::CpuWatch;
use sequencer::run::NotCounted;
use sequencer::{Evidence, ServerVerified};
use serve::{Alive, CacheReading, Endpoint};
use skill::runner::Measure;
use skill::{FactName, PlannedRun, PlannedStep};
use stats::cache::CacheView;
use tokio::sync::watch;

use super::engine::Engine;
use super::live::{Live, MeasuredRun, RunRecord};
use super::{failed, summary, unrecorded};
use crate::session::Session;

/// How long the health endpoint may take when it is to tell a dead server from failed requests.
const HEALTH_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);

/// What an engine is given.
struct Job<'a> {
    session: &'a Session,
    run: &'a PlannedRun,
    target: &'a domain::target::Target,
    measure: &'a Measure,
    backend: Backend,
    server: &'a ServerFacts,
    endpoint: &'a Endpoint,
    verified: &'a Evidence<ServerVerified>,
    /// Folder of this run in the session's folder.
    folder: &'a Path,
    progress: &'a Progress,
    /// Becomes true when the load is to end early.
    stop: watch::Receiver<bool>,
}

/// What an engine gave.
struct Yield {
    engine: framework::Engine,
    version: String,
    started: Timestamp,
    finished: Timestamp,
    measurement: Measurement,
    request_set: Option<String>,
    records: Vec<RequestRecord>,
    raw: Raw,
}

/// The raw output of a load tool.
enum Raw {
    /// To be written.
    Text(String),
    /// In a file of the run's folder already.
    File(PathBuf),
}

/// Measures one run. Proves `measured` if every request completed.
pub(super) async fn perform(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
    measure: &Measure,
) -> Result<Outcome, StepFailure> {
    let Some(run) = session.run_of(planned) else {
        return Err(super::unproved(FactName::ServerVerified));
    };
    let folder = session.new_folder(&run_name(session, run));
    let folder = folder.map_err(|error| failed(FailureClass::Storage, error))?;
    let watching = gpu::Watching::start(session, &live.gpu_uuids, &measure.telemetry, &folder)?;
    let counted = read_cache(live).await;
    let cpus = CpuWatch::start();
    let made = make_load(session, live, run, measure, &folder).await;
    let cpu_use = cpus.stop();
    // What was measured is on disk before anything else is asked of the world.
    let kept = made.map(|made| keep(session, run, made, &folder));
    let seen = watching.stop();
    let cache_count = cache_count(live, counted).await;
    note_server_trouble(session, live, kept.is_err())?;
    match kept {
        Ok(record) => {
            let record = RunRecord { cache_count, ..with_telemetry(record?, seen, measure) };
            let record = with_cpu_use(record, cpu_use, measure);
            let record = with_cache_judged(live, run, record);
            judge(session, live, planned, record).await
        }
        Err(failure) => {
            note_all(session, &seen.anomalies)?;
            keep_raw_of_failed(session, run, &folder)?;
            Err(failure)
        }
    }
}

/// Adds what the GPUs did.
fn with_telemetry(record: RunRecord, seen: gpu::Seen, measure: &Measure) -> RunRecord {
    let (from, to) = (record.started, record.finished);
    let telemetry = seen.telemetry(&record.measurement, from, to);
    let limits = gpu::limits(&measure.telemetry);
    let notable = telemetry.iter().flat_map(|told| stats::telemetry::notable(told, &limits));
    let mut measurement = record.measurement;
    measurement.anomalies.extend(notable);
    measurement.metrics.extend(telemetry.iter().flat_map(stats::telemetry::metrics));
    let vram = seen.vram();
    measurement.anomalies.extend(seen.anomalies);
    RunRecord { vram, telemetry, measurement, ..record }
}

/// Adds what the host's CPUs did.
fn with_cpu_use(mut record: RunRecord, cpu_use: Option<CpuUse>, measure: &Measure) -> RunRecord {
    let most = measure.telemetry.cpu_stolen.fraction();
    let stolen = cpu_use.iter().filter(|used| used.is_stolen(most));
    let noted = stolen.map(|used| Anomaly::CpuStolen { share: used.stolen });
    record.measurement.anomalies.extend(noted);
    RunRecord { cpu_use, ..record }
}

fn note_all(session: &Session, anomalies: &[Anomaly]) -> Result<(), StepFailure> {
    let noted = anomalies.iter().try_for_each(|anomaly| session.recorder.note(anomaly.clone()));
    noted.map_err(|failure| unrecorded(&failure))
}

/// The raw output of a load tool that gave no result is kept all the same.
fn keep_raw_of_failed(
    session: &Session,
    run: &PlannedRun,
    folder: &Path,
) -> Result<(), StepFailure> {
    let raw = tool::raw_file(folder);
    if !raw.is_file() {
        return Ok(());
    }
    let kept = publish(session, run, crate::clock::now(), &Raw::File(raw));
    kept.map(|_| ()).map_err(|error| failed(FailureClass::Storage, error))
}

fn run_name(session: &Session, run: &PlannedRun) -> String {
    let framework = session.plan.targets()[run.target].framework;
    format!("{framework}-{}-{}", run.profile.name, run.repeat)
}

/// Has the engine make the load, and watches over it.
async fn make_load(
    session: &Session,
    live: &Live,
    run: &PlannedRun,
    measure: &Measure,
    folder: &Path,
) -> Result<Yield, StepFailure> {
    let (Some((verified, server)), Some(endpoint)) = (&live.verified, &live.endpoint) else {
        return Err(super::unproved(FactName::ServerVerified));
    };
    let Some(backend) = run.backend else {
        let error = anyhow::anyhow!("the skill maps no backend to the target's framework");
        return Err(failed(FailureClass::Client, error));
    };
    let (end, stop) = watch::channel(false);
    let progress = Progress::new(run.profile.num_prompts);
    let target = &session.plan.targets()[run.target];
    let job = Job {
        session,
        run,
        target,
        measure,
        backend,
        server,
        endpoint,
        verified,
        folder,
        stop,
        progress: &progress,
    };
    let announced = engine_name(&live.engines[run.target]);
    session.recorder.with_ui(|ui| ui.line(&format!("The load is made by {announced}.")));
    let engine = async {
        match &live.engines[run.target] {
            Engine::Native => native::make(&job).await,
            Engine::Sglang(tool) => tool::make(&job, tool).await,
        }
    };
    let watched = super::watch::Watched { session, live, measure, folder, progress: &progress };
    let made = tokio::select! {
        made = engine => made,
        never = super::watch::over(&watched, &end) => match never {},
    };
    session.recorder.with_ui(crate::ui::Ui::progress_done);
    made
}

fn engine_name(engine: &Engine) -> String {
    match engine {
        Engine::Native => format!("the native engine, servegate {}", env!("CARGO_PKG_VERSION")),
        Engine::Sglang(tool) => format!("SGLang's load tool {}", tool.version),
    }
}

/// Writes down what the run gave, whether it counts or not. Nothing is ever lost.
fn keep(
    session: &Session,
    run: &PlannedRun,
    made: Yield,
    folder: &Path,
) -> Result<RunRecord, StepFailure> {
    let records = folder.join("requests.jsonl.gz");
    if !made.records.is_empty() {
        load::records::write(&records, &made.records)
            .map_err(|error| failed(FailureClass::Storage, error))?;
    }
    let published = publish(session, run, made.started, &made.raw);
    let (raw, summary) = published.map_err(|error| failed(FailureClass::Storage, error))?;
    Ok(RunRecord {
        engine: made.engine,
        engine_version: made.version,
        started: made.started,
        finished: made.finished,
        measurement: made.measurement,
        vram: None,
        telemetry: None,
        cpu_use: None,
        cache_count: None,
        request_set: made.request_set,
        raw,
        summary,
        records: Some(session.relative(&records)).filter(|_| !made.records.is_empty()),
    })
}

/// Puts the raw output into the results tree; returns its name and the one for its summary.
fn publish(
    session: &Session,
    run: &PlannedRun,
    started: Timestamp,
    raw: &Raw,
) -> anyhow::Result<(PathBuf, PathBuf)> {
    let framework = session.plan.targets()[run.target].framework;
    session.results.claim_run_files(framework, &run.profile.name, started, |path| match raw {
        Raw::Text(text) => crate::store::write_new(path, text.as_bytes()),
        Raw::File(file) => crate::store::link_new(file, path),
    })
}

/// The server's own count of cached prompt tokens, where it has one.
async fn read_cache(live: &Live) -> Option<CacheReading> {
    serve::cache_reading(live.endpoint.as_ref()?, HEALTH_WITHIN).await
}

/// What it counted since `before`.
async fn cache_count(live: &Live, before: Option<CacheReading>) -> Option<CacheCount> {
    let (before, after) = (before?, read_cache(live).await?);
    serve::cache_count(live.endpoint.as_ref()?, before, after)
}

/// What came from the prefix cache is judged once, by all that is known of it.
fn with_cache_judged(live: &Live, run: &PlannedRun, mut record: RunRecord) -> RunRecord {
    let state = live.verified.as_ref().and_then(|(_, server)| server.contract.prefix_cache);
    let unusual = stats::cache::unusual(&CacheView {
        profile: &run.profile,
        repeat: run.repeat,
        tokens: &record.measurement.tokens,
        count: record.cache_count.as_ref(),
        state,
    });
    let anomalies = &mut record.measurement.anomalies;
    anomalies.retain(|anomaly| !matches!(anomaly, Anomaly::PrefixCacheHits { .. }));
    anomalies.extend(unusual);
    record
}

/// Proves `measured`, or says why the run does not count; its summary is saved either way.
async fn judge(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
    record: RunRecord,
) -> Result<Outcome, StepFailure> {
    note_all(session, &record.measurement.anomalies)?;
    let key_metrics = session.key_metrics();
    match sequencer::run::judge(&planned.name, &record.measurement, key_metrics) {
        Ok(evidence) => {
            let requests = &record.measurement.requests;
            let outcome = Outcome::Measured {
                engine: record.engine,
                completed: requests.completed,
                failed: requests.failed_total(),
                raw: record.raw.clone(),
            };
            live.run = Some(MeasuredRun { evidence, record });
            Ok(outcome)
        }
        Err(refused) => {
            summary::save(session, live, planned, &record, false)?;
            let class = match &refused {
                NotCounted::ClientLate(_) => FailureClass::Client,
                NotCounted::GpuFailed(_) => FailureClass::Unhealthy,
                NotCounted::RequestsFailed { .. }
                | NotCounted::Incomplete { .. }
                | NotCounted::MetricsMissing { .. } => class(session, live).await,
            };
            Err(failed(class, refused))
        }
    }
}

/// Whose failure it is that requests failed.
async fn class(session: &Session, live: &mut Live) -> FailureClass {
    if Some(StopRequest::Insisted) <= session.recorder.stop() {
        return FailureClass::Interrupted;
    }
    let ended = live.server.as_mut().is_some_and(|server| server.alive() != Alive::Running);
    let answers = match &live.endpoint {
        Some(endpoint) => serve::healthy(endpoint, HEALTH_WITHIN).await.is_ok(),
        None => false,
    };
    if ended || !answers { FailureClass::Server } else { FailureClass::Requests }
}

/// A server that ended during the run, or whose log explains a failure, is on record before the
/// failure itself.
fn note_server_trouble(
    session: &Session,
    live: &mut Live,
    load_failed: bool,
) -> Result<(), StepFailure> {
    let Some(server) = &mut live.server else { return Ok(()) };
    let mut anomalies = Vec::new();
    let ended = match server.alive() {
        Alive::Running => false,
        Alive::Ended { how } => {
            anomalies.push(Anomaly::ServerDied { how });
            true
        }
    };
    if ended || load_failed {
        anomalies.extend(server.log_cause().map(|cause| cause.anomaly()));
    }
    let noted = anomalies.into_iter().try_for_each(|anomaly| session.recorder.note(anomaly));
    noted.map_err(|failure| unrecorded(&failure))
}
