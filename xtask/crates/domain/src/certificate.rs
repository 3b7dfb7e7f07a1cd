//! Certificates: how wrong the load client is on a machine, measured against a server that knows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::client::{ClientLag, ErrorMs};
use crate::timestamp::Timestamp;

/// What `certify` found on one machine: `results/certificates/<host>-<timestamp>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Certificate {
    /// Version of this format; see [`Certificate::SCHEMA`].
    pub schema: u32,
    /// Name of the machine.
    pub host: String,
    /// When it was made.
    pub made: Timestamp,
    /// Version of servegate, which is the client.
    pub servegate_version: String,
    /// Release of the kernel, whose clock is used.
    pub kernel: Option<String>,
    /// CPU of the truth server.
    pub server_cpu: u32,
    /// CPU of the client.
    pub client_cpu: u32,
    /// Load average over one minute just before.
    pub load_1m: Option<f64>,
    /// The loads that were tried, from small to large.
    pub cells: Vec<Cell>,
}

impl Certificate {
    /// Version of the format, raised when a reader of the old one would misread the new one.
    pub const SCHEMA: u32 = 1;
}

/// One load of a certificate: so many streams at once, so many events a second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// Streams in flight that the arrival rate makes on average.
    pub streams: u32,
    /// Events a second that those streams make together.
    pub events_per_s: u32,
    /// Requests sent.
    pub requests: u32,
    /// How the client's numbers compare with the server's.
    pub accuracy: Accuracy,
    /// Events a second that the client recorded, from the first request to the last answer.
    pub recorded_events_per_s: f64,
    /// CPU time of the client's process, its start included, as a share of one core.
    pub client_cpu_share: f64,
    /// Largest memory of the client's process, in MiB.
    pub client_memory_mib: f64,
    /// CPU time of the server as a share of one core.
    pub server_cpu_share: f64,
    /// How well the client kept up by its own account.
    pub lag: Option<ClientLag>,
}

/// The client's numbers against the truth, request by request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accuracy {
    /// Requests that both sides know.
    pub matched: u32,
    /// Requests that only one side knows, or that were cut off, or whose events were lost.
    pub unmatched: u32,
    /// Time to first token: from the request's arrival in the server's kernel to the first write.
    pub ttft: Compared,
    /// Time between two events.
    pub itl: Compared,
    /// Mean time per event after the first.
    pub tpot: Compared,
    /// Error of the output throughput, as a share of the true one; positive is too much.
    pub throughput_share: f64,
}

/// One metric as the client has it and as it was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Compared {
    /// Distance of the client's value from the truth, sample by sample.
    pub error: ErrorMs,
    /// Mean by the client, in ms.
    pub client_mean_ms: f64,
    /// True mean, in ms.
    pub true_mean_ms: f64,
    /// 99th percentile by the client, in ms.
    pub client_p99_ms: f64,
    /// True 99th percentile, in ms.
    pub true_p99_ms: f64,
}
