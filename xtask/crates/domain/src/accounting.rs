//! What a run's numbers leave out, beside them: waiting for the load generator, the ramps at both
//! ends, percentiles of too few samples, and the server's own account.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::Metric;

/// Everything that is told beside the metrics of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Accounting {
    /// Latencies from when the schedule wanted requests sent; absent where nobody knows when that
    /// was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_due: Option<FromDue>,
    /// The middle of the run; absent where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steady: Option<Steady>,
    /// Percentiles that rest on few requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub few_samples: Vec<FewSamples>,
    /// What the server says of its own times.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_side: Option<ServerSide>,
}

/// Latencies from when requests were due, over completed requests, in ms.
///
/// Where a server cannot hold the rate and requests wait for a place, these grow and those from
/// sending do not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FromDue {
    /// Mean time to first token.
    pub mean_ttft_ms: f64,
    /// Median of it.
    pub median_ttft_ms: f64,
    /// 99th percentile of it.
    pub p99_ttft_ms: f64,
    /// Mean time to the end of the answer.
    pub mean_e2e_latency_ms: f64,
    /// Median of it.
    pub median_e2e_latency_ms: f64,
    /// 99th percentile of it.
    pub p99_e2e_latency_ms: f64,
}

/// The part of a run from the first to the last moment in which nearly as many requests were in
/// flight as ever.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Steady {
    /// When it began, in ms from the run's start.
    pub from_ms: f64,
    /// When it ended, in ms from the run's start.
    pub to_ms: f64,
    /// Completed requests that were sent in it.
    pub requests: u32,
    /// Latencies of those requests, and throughputs of what arrived in it.
    pub metrics: BTreeMap<Metric, f64>,
}

/// A percentile of latencies that have one value a request, and what it rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FewSamples {
    /// The percentile.
    pub percentile: u8,
    /// Requests.
    pub samples: u32,
    /// Requests that lie beyond it: with 3, one slow request more or less moves it.
    pub beyond: u32,
}

/// The server's own times beside the client's, as means over the requests that have both, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServerSide {
    /// Requests that have both.
    pub requests: u32,
    /// Reading the prompt, by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_prompt_ms: Option<f64>,
    /// Generating, by the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_generation_ms: Option<f64>,
    /// Time to first token, by the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_ttft_ms: Option<f64>,
    /// From the first token to the end of the answer, by the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_after_first_ms: Option<f64>,
}
