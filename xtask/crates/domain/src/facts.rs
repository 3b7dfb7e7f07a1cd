//! What was seen of the world: gathered by `probe` and `serve`, judged by `sequencer`.
//!
//! Gathering never decides. A reading that could not be had says why; it is never zero and never
//! a pass by silence.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::Contract;
use crate::framework::Framework;
use crate::names::names;
use crate::units::Memory;

/// One value read from a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reading<T> {
    /// The value.
    Known(T),
    /// The device has no such thing.
    NotSupported,
    /// The device should have it, but reading failed.
    Unreadable(String),
}

impl<T> Reading<T> {
    /// The value, if there is one.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::NotSupported | Self::Unreadable(_) => None,
        }
    }
}

/// Everything that gpu-health-check looks at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthFacts {
    /// Where the GPU readings come from: `nvml`, `script` or `none`.
    pub source: String,
    /// State of the driver.
    pub driver: DriverState,
    /// The GPUs that the target may use, in PCI order.
    pub gpus: Vec<GpuFacts>,
    /// The host.
    pub host: HostFacts,
}

/// State of the NVIDIA driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DriverState {
    /// No driver library on this host.
    Absent {
        /// What was tried.
        reason: String,
    },
    /// There is a driver, but it does not work.
    Broken {
        /// What it answered.
        reason: String,
    },
    /// It answers.
    Loaded {
        /// Driver version.
        version: String,
        /// Newest CUDA version that it serves, as `major.minor`.
        cuda: String,
    },
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GpuFacts {
    /// Index in PCI order.
    pub index: u32,
    /// UUID, the name by which it is selected and leased.
    pub uuid: String,
    /// Product name.
    pub name: String,
    /// Memory in bytes: total.
    pub vram_total_bytes: Reading<u64>,
    /// Memory in bytes: in use, without what the driver reserves.
    pub vram_used_bytes: Reading<u64>,
    /// Processes that hold it.
    pub processes: Reading<Vec<GpuProcess>>,
    /// Whether a display is driven by it.
    pub display_active: Reading<bool>,
    /// `default`, `exclusive-process` or `prohibited`.
    pub compute_mode: Reading<String>,
    /// MIG: enabled now.
    pub mig_enabled: Reading<bool>,
    /// MIG: enabled after the next reset.
    pub mig_pending: Reading<bool>,
    /// ECC: enabled now.
    pub ecc_enabled: Reading<bool>,
    /// ECC: enabled after the next reset.
    pub ecc_pending: Reading<bool>,
    /// Uncorrected memory errors since the driver was loaded.
    pub ecc_uncorrected_volatile: Reading<u64>,
    /// Uncorrected memory errors in the card's life.
    pub ecc_uncorrected_aggregate: Reading<u64>,
    /// Corrected memory errors since the driver was loaded.
    pub ecc_corrected_volatile: Reading<u64>,
    /// Rows remapped after uncorrected errors.
    pub remapped_rows_uncorrected: Reading<u64>,
    /// A remapping waits for a reset.
    pub remapping_pending: Reading<bool>,
    /// A remapping failed.
    pub remapping_failed: Reading<bool>,
    /// Pages retired, on cards before Ampere.
    pub retired_pages: Reading<u64>,
    /// `none`, `reset`, `reboot`, `drain-p2p` or `drain-and-reset`.
    pub recovery_action: Reading<String>,
    /// Errors of this card in the kernel log, in its order.
    pub past_xids: Reading<Vec<PastXid>>,
    /// Processes that have the card open and are not among `processes`, as far as they can be
    /// seen from here: a server that is ending, a daemon, a context that was left.
    #[serde(default = "not_told::<Vec<GpuProcess>>")]
    pub openers: Reading<Vec<GpuProcess>>,
    /// PCIe lanes now and at most.
    pub pcie_width: Reading<Range>,
    /// PCIe generation now and at most; links drop to 1 when idle.
    pub pcie_generation: Reading<Range>,
    /// PCIe replays since the driver was loaded.
    pub pcie_replays: Reading<u64>,
    /// NVLinks that are up and that exist.
    pub nvlinks: Reading<Range>,
    /// Why clocks are reduced now: `hw-slowdown`, `sw-power-cap`, …
    pub throttle_reasons: Reading<Vec<String>>,
    /// The driver stays loaded while nobody uses the card.
    pub persistence: Reading<bool>,
    /// Power limit in force and by default, in mW.
    pub power_limit_mw: Reading<Range>,
    /// SM clock now and at most, in MHz.
    pub sm_clock_mhz: Reading<Range>,
    /// Temperature of the die, in degrees Celsius.
    pub temperature_c: Reading<u32>,
    /// Temperature at which the card slows down, in degrees Celsius.
    pub slowdown_c: Reading<u32>,
}

/// What a field says that a record does not have, because it is older than the field.
const fn not_told<T>() -> Reading<T> {
    Reading::NotSupported
}

/// An error in the kernel log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "PastXidForm")]
#[schemars(with = "PastXidForm")]
pub struct PastXid {
    /// Its number.
    pub xid: u32,
    /// How long ago it was, in s; absent where the log does not tell.
    pub age_s: Option<u64>,
}

/// The two forms of an error: with its age, and the number alone.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum PastXidForm {
    Number(u32),
    Aged { xid: u32, age_s: Option<u64> },
}

impl From<PastXidForm> for PastXid {
    fn from(form: PastXidForm) -> Self {
        match form {
            PastXidForm::Number(xid) => Self { xid, age_s: None },
            PastXidForm::Aged { xid, age_s } => Self { xid, age_s },
        }
    }
}

/// A value and what it is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Range {
    /// As it is.
    pub now: u64,
    /// As it could be, or is by default.
    pub full: u64,
}

/// A process on a GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuProcess {
    /// Process id as the driver sees it, which is the host's.
    pub pid: u32,
    /// Command line, if it can be seen from here.
    pub command: Option<String>,
    /// Memory that it holds, in bytes, if the driver tells.
    pub used_bytes: Option<u64>,
    /// Whether servegate started it.
    pub ours: bool,
}

/// This much of a command line tells whose process it is.
const COMMAND_CHARS: usize = 80;

impl fmt::Display for GpuProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.pid)?;
        match self.command.as_deref() {
            Some(line) => match line.char_indices().nth(COMMAND_CHARS) {
                Some((at, _)) => write!(f, "`{}…`", &line[..at])?,
                None => write!(f, "`{line}`")?,
            },
            None => f.write_str("(not visible from here)")?,
        }
        match self.used_bytes {
            Some(bytes) => write!(f, " with {} MiB", Memory::from_bytes(bytes).mib()),
            None => Ok(()),
        }
    }
}

/// The host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// Host name.
    pub name: String,
    /// Kernel release.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// CPUs that this process may use.
    pub cpus: u32,
    /// Load average over one minute.
    pub load_1m: Reading<f64>,
    /// CPU frequency governor, where all CPUs have one.
    pub governor: Reading<String>,
    /// Memory in bytes.
    pub memory_total_bytes: Reading<u64>,
    /// Memory in bytes that can be had without swapping.
    pub memory_available_bytes: Reading<u64>,
    /// Swap in use, in bytes.
    pub swap_used_bytes: Reading<u64>,
    /// Free space of `/dev/shm` in bytes.
    pub shm_free_bytes: Reading<u64>,
    /// Free space where results go, in bytes.
    pub disk_free_bytes: Reading<u64>,
    /// Environment variables that slow GPU programs down, and their values.
    pub harmful_env: BTreeMap<String, String>,
    /// Processes of NVIDIA's multi-process service, which puts itself between programs and GPUs.
    #[serde(default = "not_told::<Vec<GpuProcess>>")]
    pub mps: Reading<Vec<GpuProcess>>,
    /// Switches between the GPUs, and whether what they need runs; not there without switches.
    #[serde(default = "not_told::<Fabric>")]
    pub fabric: Reading<Fabric>,
    /// Whether only some processes of the host can be seen from here, as in a container.
    #[serde(default = "not_told::<bool>")]
    pub own_pid_namespace: Reading<bool>,
}

/// NVLink switches of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fabric {
    /// How many there are.
    pub switches: u32,
    /// Whether the fabric manager runs; CUDA does not start on such a host without it.
    pub manager_runs: bool,
}

/// How much a finding matters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// For the record.
    Info,
    /// Measured all the same, and noted.
    Warn,
    /// Nothing is measured.
    Fatal,
}

names!(Severity, "severity", { Info => "info", Warn => "warn", Fatal => "fatal" });

/// What one health check says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Which check, by its key in the skill.
    pub check: String,
    /// Index of the GPU, or none for the host.
    pub gpu: Option<u32>,
    /// How much it matters.
    pub severity: Severity,
    /// What was seen and what is allowed.
    pub message: String,
    /// What to do, as one imperative sentence.
    pub advice: String,
}

/// Memory of a device in MiB at three moments of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Vram {
    /// Before the load began.
    pub before_mib: u64,
    /// The most seen while it ran.
    pub peak_mib: u64,
    /// After it ended.
    pub after_mib: u64,
}

/// A rung of the readiness ladder, from cheap to sure.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Rung {
    /// The process that was started is alive.
    Process,
    /// The port accepts connections.
    Port,
    /// The cheap health endpoint says yes.
    Health,
    /// The model is the one asked for.
    Model,
    /// A real generation gives the asked number of tokens.
    Generation,
    /// A few requests to settle caches and graphs.
    WarmUp,
    /// The prefix cache is emptied, where the server can.
    Flush,
    /// Nothing runs and nothing waits.
    Idle,
}

names!(Rung, "rung", {
    Process => "process",
    Port => "port",
    Health => "health",
    Model => "model",
    Generation => "generation",
    WarmUp => "warm-up",
    Flush => "flush",
    Idle => "idle",
});

/// How one rung went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RungReport {
    /// The rung.
    pub rung: Rung,
    /// Milliseconds from the launch (or from attaching) until it was passed.
    pub after_ms: u64,
    /// How it went.
    pub outcome: RungOutcome,
}

/// How a rung ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RungOutcome {
    /// Passed; what was seen.
    Passed(String),
    /// The framework has no such thing; why that is no danger, or what it means for the numbers.
    NotAvailable(String),
    /// Failed; what was seen.
    Failed(String),
}

/// What a server can do, found out by trying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capabilities {
    /// It generates exactly as many tokens as it is made to (`ignore_eos` or the like works).
    pub forces_length: bool,
    /// Its stream ends with its own token count.
    pub reports_usage: bool,
    /// Its prefix cache can be emptied.
    pub flushes_cache: bool,
}

/// A server that was started or attached to, and what it said of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerFacts {
    /// The framework.
    pub framework: Framework,
    /// Base URL, without a slash at the end.
    pub url: String,
    /// Model id to put into requests.
    pub model: String,
    /// The framework's version, if it tells.
    pub version: Option<String>,
    /// Process id of what was started; absent when attached.
    pub pid: Option<u32>,
    /// The rungs climbed, in order.
    pub rungs: Vec<RungReport>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Its resolved arguments as it tells them, by name.
    pub resolved: BTreeMap<String, serde_json::Value>,
    /// What of the like-for-like contract it says.
    #[serde(default = "Contract::unsaid")]
    pub contract: Contract,
}

/// Where and with what a run was made: what a reader needs to believe and repeat it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Version of servegate.
    pub servegate: String,
    /// Host name.
    pub host: String,
    /// Kernel release.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// CPUs that the process may use.
    pub cpus: u32,
    /// Driver version, if there is a driver.
    pub driver: Option<String>,
    /// Product names of the GPUs used, in PCI order.
    pub gpus: Vec<String>,
    /// How those GPUs were set up, in the same order; empty in records that do not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu_setups: Vec<GpuSetup>,
    /// Load average over one minute just before the run.
    pub load_1m: Option<f64>,
}

/// How a GPU was set up: what makes two cards of one name differ in speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuSetup {
    /// Power limit in force, in mW, if the card tells.
    pub power_limit_mw: Option<u64>,
    /// Memory, in bytes, if the card tells.
    pub vram_total_bytes: Option<u64>,
    /// Whether it is split into instances, if the card tells.
    pub mig_enabled: Option<bool>,
}

/// A process group that servegate started, with what is needed to end it after a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerProcess {
    /// Process id, which is also its session and group id.
    pub pid: u32,
    /// Start time of the process in clock ticks since boot, so that a reused id is not taken for it.
    pub start_ticks: u64,
    /// Port that it was told to listen on.
    pub port: u16,
    /// Where its output goes.
    pub log: PathBuf,
}
