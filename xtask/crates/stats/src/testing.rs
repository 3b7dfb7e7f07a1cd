//! Records and runs for the tests of this crate.

use std::collections::BTreeMap;

use domain::facts::Environment;
use domain::failure::{FailureKind, RequestFailure};
use domain::framework::{Backend, Engine, Framework};
use domain::metric::Metric;
use domain::profile::{Arrivals, Dataset, Profile, RequestRate};
use domain::request::{Chunk, RequestRecord};
use domain::summary::{RequestCounts, RunSummary, TokenCounts, TokenSource};
use domain::timestamp::Timestamp;

/// Nanoseconds in a millisecond.
pub(crate) const MS: u64 = 1_000_000;

/// A completed request whose chunks arrived at `chunks_ms` and whose answer ended with the last.
pub(crate) fn completed(index: u32, sent_ms: u64, chunks_ms: &[u64], tokens: u32) -> RequestRecord {
    let chunk = |at: &u64| Chunk { at_ns: at * MS, late_ns: None, tokens: None };
    RequestRecord {
        index,
        due_ns: Some(sent_ms * MS),
        sent_ns: Some(sent_ms * MS),
        write_ns: None,
        connect_ns: None,
        chunks: chunks_ms.iter().map(chunk).collect(),
        done_ns: chunks_ms.last().map(|at| at * MS),
        prompt_tokens: 10,
        server_prompt_tokens: Some(11),
        cached_tokens: None,
        asked_tokens: tokens,
        server_output_tokens: Some(tokens),
        reported_output_tokens: None,
        reached_length: false,
        server_times: None,
        status: Some(200),
        pings: 0,
        failure: None,
    }
}

/// A request that failed after its first chunk.
pub(crate) fn failed(index: u32, kind: FailureKind, detail: &str) -> RequestRecord {
    let failure = Some(RequestFailure::new(kind, detail));
    RequestRecord { done_ns: None, failure, ..completed(index, 0, &[1], 9) }
}

/// A run of the profile `smoke` on the simulated server.
pub(crate) fn run(metrics: &[(Metric, f64)]) -> RunSummary {
    let at = Timestamp::from_unix_millis(1_795_490_100_000);
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
        started: at,
        finished: at,
        requests: RequestCounts { asked: 32, completed: 32, failed: BTreeMap::new() },
        tokens: TokenCounts {
            input: 3000,
            input_by_server: Some(3000),
            output: 2000,
            output_source: TokenSource::ServerUsage,
            output_asked: 2000,
            cached: None,
        },
        metrics: metrics.iter().copied().collect(),
        vram: None,
        telemetry: None,
        cpu_use: None,
        kv_cache_tokens: None,
        request_set: Some("aa11".to_owned()),
        contract: None,
        cache_count: None,
        client: None,
        accounting: None,
        error_bound: None,
        anomalies: Vec::new(),
        environment: Environment {
            servegate: "0.1.0".to_owned(),
            host: "runner".to_owned(),
            kernel: "6.1.0".to_owned(),
            cpu: "a CPU".to_owned(),
            cpus: 2,
            driver: None,
            gpus: Vec::new(),
            gpu_setups: Vec::new(),
            load_1m: None,
        },
        raw: "sim/smoke-20261124T031500Z.txt".to_owned(),
        records: None,
    }
}

/// The load of [`run`].
pub(crate) fn profile() -> Profile {
    Profile {
        name: "smoke".to_owned(),
        dataset_name: Dataset::RandomIds,
        dataset_path: None,
        num_prompts: 32,
        random_input_len: 128,
        random_output_len: 64,
        random_range_ratio: 0.5,
        request_rate: RequestRate::INFINITE,
        arrivals: Arrivals::Poisson,
        max_concurrency: Some(8),
        warmup_requests: 1,
        seed: 42,
        ignore_eos: true,
        workload: domain::profile::Workload::USUAL,
    }
}
