//! What a session holds in its hands between steps: evidence, the server, the run under way.
//!
//! None of it survives the process: a resumed session earns everything anew.

use std::path::PathBuf;

use domain::contract::CacheCount;
use domain::facts::{Environment, ServerFacts, Vram};
use domain::framework;
use domain::host::CpuUse;
use domain::summary::Measurement;
use domain::telemetry::Telemetry;
use domain::timestamp::Timestamp;
use sequencer::{Evidence, GpuHealthy, Measured, ServerVerified};
use serve::{Endpoint, Server};

use super::engine::Engine;

/// What is held now.
#[derive(Debug)]
pub struct Live {
    /// Who makes the load of each target.
    pub engines: Vec<Engine>,
    /// The device is fit, and what was seen of it.
    pub healthy: Option<(Evidence<GpuHealthy>, Environment)>,
    /// UUIDs of the GPUs that were found fit; none for a target on the CPU.
    pub gpu_uuids: Vec<String>,
    /// Lines of the server's log that are shown when it does not serve.
    pub log_tail_lines: usize,
    /// The server that was started; none when attached.
    pub server: Option<Server>,
    /// Where the server is talked to, started or attached to.
    pub endpoint: Option<Endpoint>,
    /// The server serves, and what it said of itself.
    pub verified: Option<(Evidence<ServerVerified>, ServerFacts)>,
    /// VRAM in use before the server started, in MiB.
    pub vram_before_launch_mib: Option<u64>,
    /// How much of it others held then, as far as they could be seen, in MiB.
    pub others_before_launch_mib: u64,
    /// Temperature of the warmest GPU before the run, in degrees Celsius.
    pub start_temperature_c: Option<u32>,
    /// The run that was measured and is not saved yet.
    pub run: Option<MeasuredRun>,
}

impl Live {
    /// Nothing is held yet.
    pub const fn new(engines: Vec<Engine>) -> Self {
        Self {
            engines,
            healthy: None,
            gpu_uuids: Vec::new(),
            log_tail_lines: 0,
            server: None,
            endpoint: None,
            verified: None,
            vram_before_launch_mib: None,
            others_before_launch_mib: 0,
            start_temperature_c: None,
            run: None,
        }
    }
}

/// A run between `measure` and `after-run`.
#[derive(Debug)]
pub struct MeasuredRun {
    /// Proof that its result counts.
    pub evidence: Evidence<Measured>,
    /// What it measured.
    pub record: RunRecord,
}

/// What a run gave, whether it counts or not.
#[derive(Debug)]
pub struct RunRecord {
    /// Who made the load.
    pub engine: framework::Engine,
    /// Version of the load tool.
    pub engine_version: String,
    /// When the measurement began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// What was measured.
    pub measurement: Measurement,
    /// VRAM, where there is any.
    pub vram: Option<Vram>,
    /// What the GPUs did, where there are any.
    pub telemetry: Option<Telemetry>,
    /// What the host's CPUs did meanwhile.
    pub cpu_use: Option<CpuUse>,
    /// Prompt tokens that the server had cached, by its own counters.
    pub cache_count: Option<CacheCount>,
    /// Hash of the request set, if the engine tells.
    pub request_set: Option<String>,
    /// Raw output, relative to the results folder.
    pub raw: PathBuf,
    /// The summary's file, relative to the results folder.
    pub summary: PathBuf,
    /// Per-request records, relative to the results folder.
    pub records: Option<PathBuf>,
}
