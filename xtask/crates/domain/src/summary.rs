//! The summary of one run: what `results/<framework>/<profile>-<timestamp>.json` holds.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::accounting::Accounting;
use crate::anomaly::Anomaly;
use crate::client::{ClientLag, ErrorBound};
use crate::contract::{CacheCount, Contract};
use crate::facts::{Environment, Vram};
use crate::failure::FailureKind;
use crate::framework::{Backend, Engine, Framework};
use crate::gate::Arm;
use crate::host::CpuUse;
use crate::metric::Metric;
use crate::names::names;
use crate::profile::Profile;
use crate::telemetry::Telemetry;
use crate::timestamp::Timestamp;

/// One execution of one profile against one server start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunSummary {
    /// Version of this format; see [`RunSummary::SCHEMA`].
    pub schema: u32,
    /// Whether it counts: every request completed and every key metric is known. A run that does
    /// not is kept for whoever looks for the reason, and is compared with nothing.
    pub counts: bool,
    /// The session that it belongs to: the name of a folder in `results/runs/`.
    pub session: String,
    /// The framework.
    pub framework: Framework,
    /// The framework's version, if it tells.
    pub framework_version: Option<String>,
    /// The model, as the server calls it.
    pub model: String,
    /// The load. Its seed is the session's; `seed` below is this run's.
    pub profile: Profile,
    /// Which repeat of the profile this is, from 1.
    pub repeat: u32,
    /// Its place, if it belongs to an interleaved experiment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// The seed that this run used.
    pub seed: u32,
    /// Who made the load.
    pub engine: Engine,
    /// Version of the load tool.
    pub engine_version: String,
    /// The backend that it spoke.
    pub backend: Backend,
    /// When the measurement began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Requests, counted.
    pub requests: RequestCounts,
    /// Tokens, counted.
    pub tokens: TokenCounts,
    /// The numbers, by key. A number that could not be known is absent.
    pub metrics: BTreeMap<Metric, f64>,
    /// VRAM, where there is any.
    pub vram: Option<Vram>,
    /// What the GPUs did while it ran, where there are any and the skill wants it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub telemetry: Option<Telemetry>,
    /// What the host's CPUs did meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_use: Option<CpuUse>,
    /// Tokens that the server's KV cache holds, if it tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_tokens: Option<u64>,
    /// Hash of the request set: equal hashes mean equal work. The Python tool does not tell.
    pub request_set: Option<String>,
    /// What was held equal, as far as it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<Contract>,
    /// Prompt tokens that the server had cached, by its own counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_count: Option<CacheCount>,
    /// How well the load generator kept up; the Python tool does not tell.
    pub client: Option<ClientLag>,
    /// How far the numbers may be from the truth, where a certificate of this machine covers such
    /// a load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_bound: Option<ErrorBound>,
    /// What the numbers leave out; nothing if nothing completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounting: Option<Accounting>,
    /// Everything unusual.
    pub anomalies: Vec<Anomaly>,
    /// Where and with what it was made.
    pub environment: Environment,
    /// Raw output of the load tool, relative to the results folder.
    pub raw: String,
    /// Per-request records, relative to the results folder.
    pub records: Option<String>,
}

impl RunSummary {
    /// Version of the format, raised when a reader of the old one would misread the new one.
    pub const SCHEMA: u32 = 1;

    /// A metric's value, if it could be known.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        self.metrics.get(&metric).copied()
    }
}

/// What an engine measured in one run, before it is put into its context.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Requests, counted.
    pub requests: RequestCounts,
    /// Tokens, counted.
    pub tokens: TokenCounts,
    /// The numbers, by key. A number that could not be known is absent.
    pub metrics: BTreeMap<Metric, f64>,
    /// How well the load generator kept up, if it tells.
    pub client: Option<ClientLag>,
    /// What the numbers leave out; nothing if nothing completed.
    pub accounting: Option<Accounting>,
    /// Everything unusual.
    pub anomalies: Vec<Anomaly>,
}

/// Requests of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequestCounts {
    /// Asked for.
    pub asked: u32,
    /// Completed.
    pub completed: u32,
    /// Failed, by kind; their sum and `completed` give what was sent.
    pub failed: BTreeMap<FailureKind, u32>,
}

impl RequestCounts {
    /// All that failed; in a file that somebody changed the counts may add up to more than there
    /// can be.
    pub fn failed_total(&self) -> u32 {
        self.failed.values().copied().fold(0, u32::saturating_add)
    }
}

/// Tokens of the completed requests of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TokenCounts {
    /// Prompt tokens by the client's tokenizer.
    pub input: u64,
    /// Prompt tokens by the server's usage, if every request had one.
    pub input_by_server: Option<u64>,
    /// Generated tokens.
    pub output: u64,
    /// Who counted `output`.
    pub output_source: TokenSource,
    /// Generated tokens that were asked for.
    pub output_asked: u64,
    /// Prompt tokens found in the prefix cache, if the server tells.
    pub cached: Option<u64>,
}

/// Who counted generated tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TokenSource {
    /// The server's usage, for every request.
    ServerUsage,
    /// SGLang's tool, which on some backends repeats the length that was asked for.
    Tool,
    /// The length that was asked for, which the server named as its reason to stop. One that runs
    /// out of context names it, too.
    FinishReason,
    /// Chunks of the stream, a lower bound.
    Chunks,
}

names!(TokenSource, "token source", {
    ServerUsage => "server-usage",
    Tool => "tool",
    FinishReason => "finish-reason",
    Chunks => "chunks",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_beyond_what_there_can_be_do_not_overflow() {
        let failed = [(FailureKind::NoTokens, u32::MAX), (FailureKind::BadHttp, 1)].into();
        let counts = RequestCounts { asked: 1, completed: 0, failed };
        assert_eq!(counts.failed_total(), u32::MAX);
    }
}
