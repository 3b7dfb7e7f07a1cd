//! Load clients side by side: what each reported, what was true, and what it cost.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::names;
use crate::timestamp::Timestamp;

/// A load client that others use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Peer {
    /// This one.
    Servegate,
    /// `sglang.benchmark.serving`.
    SglangPython,
    /// `sglang.benchmark.rust_client`.
    SglangRust,
    /// `vllm bench serve`.
    Vllm,
    /// GuideLLM.
    Guidellm,
    /// NVIDIA's AIPerf.
    Aiperf,
}

names!(Peer, "load client", {
    Servegate => "servegate",
    SglangPython => "sglang-python",
    SglangRust => "sglang-rust",
    Vllm => "vllm",
    Guidellm => "guidellm",
    Aiperf => "aiperf",
});

impl Peer {
    /// As its makers call it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Servegate => "servegate load",
            Self::SglangPython => "sglang.benchmark.serving",
            Self::SglangRust => "SGLang's Rust client",
            Self::Vllm => "vllm bench serve",
            Self::Guidellm => "GuideLLM",
            Self::Aiperf => "AIPerf",
        }
    }
}

/// A load that clients are compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PeerLoad {
    /// When requests are sent and answered.
    #[serde(flatten)]
    pub pace: PeerPace,
    /// Requests in all.
    pub requests: u32,
    /// Events of each answer.
    pub events: u32,
}

/// When the requests of a load are sent, and how fast they are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PeerPace {
    /// Spread by chance, paced streams.
    Rate {
        /// Requests a second asked for.
        requests_per_s: u32,
    },
    /// All at once, paced streams.
    Burst,
    /// As fast as the socket takes it.
    Saturated {
        /// Streams at once.
        streams: u32,
    },
}

impl PeerLoad {
    /// A name for files.
    pub fn slug(self) -> String {
        let Self { pace, requests, events } = self;
        match pace {
            PeerPace::Rate { requests_per_s } => format!("rate-{requests_per_s}"),
            PeerPace::Burst => format!("burst-{requests}"),
            PeerPace::Saturated { .. } => format!("saturated-{requests}-{events}"),
        }
    }
}

impl fmt::Display for PeerLoad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pace, requests, events } = self;
        match pace {
            PeerPace::Rate { requests_per_s } => write!(f, "{requests_per_s} requests/s"),
            PeerPace::Burst => write!(f, "burst of {requests}"),
            PeerPace::Saturated { streams } => {
                write!(f, "{streams} streams at full speed, {requests} requests of {events} events")
            }
        }
    }
}

/// What a client reported and what was true.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerNumbers {
    /// Requests a second that arrived at the server, from the first to the last.
    pub delivered_per_s: Option<f64>,
    /// Time to first token, in ms: mean.
    pub mean_ttft_ms: Told,
    /// Time to first token, in ms: 99th percentile.
    pub p99_ttft_ms: Told,
    /// Time between events, in ms: mean.
    pub mean_itl_ms: Told,
    /// Time between events, in ms: 99th percentile.
    pub p99_itl_ms: Told,
    /// Events that the server sent.
    pub events: u64,
    /// CPU time of the client's process, its start included, in s.
    pub cpu_s: f64,
    /// Largest memory of the client's process, in MiB.
    pub memory_mib: f64,
}

/// A number as it was reported and as it was.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// By the client, if it tells.
    pub reported: Option<f64>,
    /// By the server.
    pub truth: f64,
}

/// One client with one load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerRun {
    /// The client.
    pub peer: Peer,
    /// The load.
    pub load: PeerLoad,
    /// Its numbers, if it could be run.
    pub numbers: Option<PeerNumbers>,
    /// Why it could not.
    pub failed: Option<String>,
}

/// Clients side by side: `results/published/peers-<timestamp>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeerReport {
    /// Version of this format.
    pub schema: u32,
    /// Name of the machine.
    pub host: String,
    /// When it was made.
    pub made: Timestamp,
    /// Load average over one minute at the end, the clients' own load included.
    pub load_1m: Option<f64>,
    /// All clients with all loads.
    pub runs: Vec<PeerRun>,
}

impl PeerReport {
    /// Version of the format, raised when a reader of the old one would misread the new one.
    pub const SCHEMA: u32 = 2;
}
