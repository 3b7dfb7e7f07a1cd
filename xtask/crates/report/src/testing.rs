//! Runs and journals for the tests of this crate.

use std::collections::BTreeMap;
use std::path::PathBuf;

use domain::anomaly::Anomaly;
use domain::client::ClientLag;
use domain::event::{Entry, Event, FailureClass, Judgement, MetricJudgement, Outcome, StepFailure};
use domain::facts::{
    Capabilities, Environment, Finding, ServerFacts, ServerProcess, Severity, Vram,
};
use domain::framework::{Backend, Engine, Framework};
use domain::gate::{Basis, Class, Estimate};
use domain::metric::{Latency, Metric, Stat};
use domain::profile::{Arrivals, Dataset, Profile, RequestRate};
use domain::summary::{RequestCounts, RunSummary, TokenCounts, TokenSource};
use domain::timestamp::Timestamp;
use domain::verdict::Verdict;

pub(crate) const TTFT: Metric = Metric::Latency(Latency::Ttft, Stat::Mean);

/// 2026-11-24T03:15:00Z, in ms since the epoch.
pub(crate) const START_MS: i64 = 1_795_490_100_000;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_unix_millis(START_MS + second * 1000)
}

pub(crate) fn profile() -> Profile {
    Profile {
        name: "smoke".to_owned(),
        dataset_name: Dataset::RandomIds,
        dataset_path: None,
        num_prompts: 6,
        random_input_len: 32,
        random_output_len: 16,
        random_range_ratio: 1.0,
        request_rate: RequestRate::INFINITE,
        arrivals: Arrivals::Poisson,
        max_concurrency: None,
        warmup_requests: 1,
        seed: 42,
        ignore_eos: true,
        workload: domain::profile::Workload::USUAL,
    }
}

/// Metrics and counts as SGLang's tool printed them in the fixture `oai`.
pub(crate) fn metrics() -> BTreeMap<Metric, f64> {
    let text = include_str!("../../../../tests/fixtures/bench_serving/oai.jsonl");
    let told: serde_json::Value = serde_json::from_str(&text.replace("Infinity", "null")).unwrap();
    Metric::all().filter_map(|metric| Some((metric, told[metric.key()].as_f64()?))).collect()
}

pub(crate) fn requests() -> RequestCounts {
    RequestCounts { asked: 6, completed: 6, failed: BTreeMap::new() }
}

pub(crate) fn tokens() -> TokenCounts {
    TokenCounts {
        input: 192,
        input_by_server: Some(192),
        output: 96,
        output_source: TokenSource::ServerUsage,
        output_asked: 96,
        cached: None,
    }
}

pub(crate) fn lag() -> ClientLag {
    ClientLag {
        send_lag_median_ms: 0.02,
        send_lag_p99_ms: 0.4,
        send_lag_max_ms: 0.45,
        cpu_share: 0.031,
        threads: None,
        reading: None,
        effect: None,
    }
}

/// A run of the simulated server.
pub(crate) fn run() -> RunSummary {
    RunSummary {
        schema: RunSummary::SCHEMA,
        counts: true,
        session: "20261124T031500Z-1".to_owned(),
        framework: Framework::Sim,
        framework_version: Some("0.1.0".to_owned()),
        model: "sim/tiny".to_owned(),
        profile: profile(),
        repeat: 1,
        arm: None,
        seed: 42,
        engine: Engine::Native,
        engine_version: "0.1.0".to_owned(),
        backend: Backend::Sglang,
        started: at(10),
        finished: at(12),
        requests: requests(),
        tokens: tokens(),
        metrics: metrics(),
        vram: Some(Vram { before_mib: 10, peak_mib: 2048, after_mib: 12 }),
        telemetry: None,
        cpu_use: None,
        kv_cache_tokens: None,
        request_set: Some("ab12".to_owned()),
        contract: None,
        cache_count: None,
        client: Some(lag()),
        accounting: None,
        error_bound: None,
        anomalies: vec![Anomaly::ShortAnswers { requests: 2 }],
        environment: Environment {
            servegate: "0.1.0".to_owned(),
            host: "runner".to_owned(),
            kernel: "6.1.0".to_owned(),
            cpu: "a CPU".to_owned(),
            cpus: 2,
            driver: Some("560.35".to_owned()),
            gpus: vec!["NVIDIA H100".to_owned()],
            gpu_setups: Vec::new(),
            load_1m: Some(0.2),
        },
        raw: "sim/smoke-20261124T031510Z.txt".to_owned(),
        records: None,
    }
}

pub(crate) fn server() -> ServerFacts {
    ServerFacts {
        framework: Framework::Sim,
        url: "http://127.0.0.1:30000".to_owned(),
        model: "sim/tiny".to_owned(),
        version: Some("0.1.0".to_owned()),
        pid: Some(4711),
        rungs: Vec::new(),
        capabilities: Capabilities {
            forces_length: true,
            reports_usage: true,
            flushes_cache: true,
        },
        resolved: BTreeMap::new(),
        contract: domain::contract::Contract::unsaid(),
    }
}

pub(crate) fn finding() -> Finding {
    Finding {
        check: "persistence".to_owned(),
        gpu: Some(0),
        severity: Severity::Warn,
        message: "persistence mode is off.".to_owned(),
        advice: "Run `nvidia-smi -pm 1`.".to_owned(),
    }
}

/// A judgement of `run()`'s key with one metric that decides and one that is shown.
pub(crate) fn judgement(verdict: Verdict) -> Judgement {
    let measured = match verdict {
        Verdict::Pass | Verdict::Improved | Verdict::Regressed | Verdict::Inconclusive => true,
        Verdict::MissingBaseline | Verdict::Incomparable | Verdict::Broken => false,
    };
    let tpot = Metric::Latency(Latency::Tpot, Stat::P99);
    let of = |metric, verdict| MetricJudgement {
        metric,
        verdict,
        baseline: vec![30.0, 31.0, 32.0],
        candidate: vec![34.0, 35.0, 36.0],
        change: Some(4.0 / 31.0),
        estimate: measured.then(|| estimate(metric, verdict)),
    };
    Judgement {
        key: "sim/sim/tiny/smoke/native".to_owned(),
        verdict,
        reason: format!("the reason why it is {verdict}"),
        metrics: vec![of(TTFT, verdict)],
        reported: if measured { vec![of(tpot, Verdict::Inconclusive)] } else { Vec::new() },
        basis: Some(Basis::Interleaved),
        pairs: 3,
        looks: Vec::new(),
        next_look: None,
        notes: vec!["not the standard rule: alpha: 0.05 instead of 0.01".to_owned()],
    }
}

fn estimate(metric: Metric, verdict: Verdict) -> Estimate {
    Estimate {
        metric: metric.key().to_owned(),
        class: Class::of(metric),
        estimate: 0.121,
        se: 0.012,
        df: 10,
        p: 2.1e-7,
        p_better: 1.0 - 2.1e-7,
        alpha: if verdict == Verdict::Regressed { 1.2e-4 } else { 0.0 },
        lower: 0.1,
        upper: 0.143,
        history_sd: Some(0.0155),
        clamped: Vec::new(),
        regressed: verdict == Verdict::Regressed,
        improved: false,
        equivalent: false,
    }
}

pub(crate) fn failed(class: FailureClass, message: &str) -> StepFailure {
    StepFailure { class, message: message.to_owned(), hint: Some("look at its log".to_owned()) }
}

/// Entries a second apart.
pub(crate) fn journal(events: Vec<Event>) -> Vec<Entry> {
    let seconds = 0..;
    events.into_iter().zip(seconds).map(|(event, second)| Entry { at: at(second), event }).collect()
}

pub(crate) fn opened() -> Event {
    Event::SessionOpened {
        journal: Event::JOURNAL,
        session: "20261124T031500Z-1".to_owned(),
        servegate: "0.1.0".to_owned(),
        pid: 99,
        request: serde_json::Value::Null,
        plan: "cd34".to_owned(),
    }
}

pub(crate) fn started(step: usize, name: &str) -> Event {
    Event::StepStarted { step, name: name.to_owned() }
}

pub(crate) fn succeeded(step: usize, outcome: Outcome) -> Event {
    Event::StepSucceeded { step, outcome }
}

/// Everything that happens in a session that goes well, with one judgement of each given verdict.
pub(crate) fn good_session(verdicts: &[Verdict]) -> Vec<Entry> {
    let launched = Outcome::Launched {
        url: "http://127.0.0.1:30000".to_owned(),
        command: vec!["servegate".to_owned(), "sim".to_owned()],
    };
    let process =
        ServerProcess { pid: 4711, start_ticks: 1, port: 30000, log: PathBuf::from("server.log") };
    let measured = Outcome::Measured {
        engine: Engine::Native,
        completed: 6,
        failed: 0,
        raw: PathBuf::from("sim/smoke-20261124T031510Z.txt"),
    };
    let saved = Outcome::Saved {
        summary: Box::new(run()),
        file: PathBuf::from("sim/smoke-20261124T031510Z.json"),
    };
    let healthy = Outcome::GpuHealthy { subject: "GPU-1".to_owned(), findings: vec![finding()] };
    let judgements = verdicts.iter().copied().map(judgement).collect();
    journal(vec![
        opened(),
        started(0, "sim/check-gpu"),
        succeeded(0, healthy),
        started(1, "sim/launch"),
        Event::ServerStarted { process },
        succeeded(1, launched),
        started(2, "sim/verify"),
        succeeded(2, Outcome::ServerVerified { server: Box::new(server()) }),
        started(3, "sim/smoke#1/before-run"),
        succeeded(3, Outcome::Prepared { vram_mib: None, rungs: Vec::new(), temperature_c: None }),
        started(4, "sim/smoke#1/measure"),
        Event::AnomalyNoted { step: Some(4), anomaly: Anomaly::ShortAnswers { requests: 2 } },
        succeeded(4, measured),
        started(5, "sim/smoke#1/after-run"),
        succeeded(5, saved),
        started(6, "sim/stop"),
        Event::ServerStopped { pid: 4711 },
        succeeded(6, Outcome::Stopped),
        started(7, "session/compare"),
        succeeded(7, Outcome::Compared { file: PathBuf::from("summary/comparison-1.json") }),
        started(8, "session/judge"),
        succeeded(8, Outcome::Judged { judgements }),
        started(9, "session/write-reports"),
        succeeded(9, Outcome::Reported { files: vec![PathBuf::from("runs/1/junit.xml")] }),
        Event::SessionClosed { exit: 0 },
    ])
}

/// A session whose server does not start, ended and resumed on the way.
pub(crate) fn bad_session() -> Vec<Entry> {
    let skipped = |step, name: &str, reason: &str| Event::StepSkipped {
        step,
        name: name.to_owned(),
        reason: reason.to_owned(),
    };
    journal(vec![
        opened(),
        started(0, "vllm/check-gpu"),
        Event::SessionResumed { pid: 100 },
        Event::CleanupStarted,
        Event::CleanupFinished,
        Event::AnomalyNoted {
            step: None,
            anomaly: Anomaly::Resumed { step: "check-gpu".to_owned() },
        },
        started(0, "vllm/check-gpu"),
        succeeded(0, Outcome::GpuHealthy { subject: "GPU-1".to_owned(), findings: Vec::new() }),
        started(1, "vllm/launch"),
        Event::StepFailed {
            step: 1,
            failure: failed(
                FailureClass::Server,
                "`vllm` ended with exit code 1\n\u{1B}[31mCUDA | <oom>",
            ),
        },
        skipped(2, "vllm/verify", "`vllm/launch` failed"),
        Event::StopRequested { by: domain::event::StopRequest::Terminated },
        Event::CleanupFailed { pids: vec![4711, 4712] },
        Event::SessionClosed { exit: 75 },
    ])
}
