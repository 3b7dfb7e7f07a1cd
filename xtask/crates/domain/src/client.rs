//! The load client of a run: how well it kept up, and how far from the truth its numbers may be.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::anomaly::Lag;
use crate::metric::Metric;
use crate::names::names;

/// How well the load generator kept up with its own schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClientLag {
    /// Median lateness of sending, in ms.
    pub send_lag_median_ms: f64,
    /// 99th percentile of the lateness of sending, in ms.
    pub send_lag_p99_ms: f64,
    /// Largest lateness of sending, in ms.
    pub send_lag_max_ms: f64,
    /// CPU time of the client as a share of one core over the run.
    pub cpu_share: f64,
    /// Threads that made the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// How well it kept up with what came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<ReadLag>,
    /// What all of that does to the numbers of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<LagEffect>,
}

/// By how much the generator's lag may have moved the numbers of a run: the distance, in ms,
/// between a number as reported and as it would be had the generator not lagged. A number that
/// was not moved is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LagEffect {
    /// By sending later than due: latencies from when requests were due against those from
    /// sending.
    pub sending: BTreeMap<Metric, f64>,
    /// By the time that first writes took: latencies as if requests had left at their very end.
    pub writing: BTreeMap<Metric, f64>,
    /// By reading several events at once, so that the kernel's time of all but the last is lost:
    /// the larger distance to the numbers with those events spread evenly, and with those events
    /// as early as they can have come. An event that was read alone keeps its time however late
    /// it was read, and moves nothing.
    pub reading: BTreeMap<Metric, f64>,
}

impl LagEffect {
    /// What one kind of lag does.
    pub const fn of(&self, lag: Lag) -> &BTreeMap<Metric, f64> {
        match lag {
            Lag::Sending => &self.sending,
            Lag::Writing => &self.writing,
            Lag::Reading => &self.reading,
        }
    }
}

/// How well the load generator kept up with the answers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReadLag {
    /// Whose clock says when chunks arrived.
    pub clock: ClockSource,
    /// Reads that brought chunks.
    pub reads: u64,
    /// Median time from a chunk's arrival to its reading, in ms; the client's own clock does not
    /// tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_median_ms: Option<f64>,
    /// 99th percentile of it, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_p99_ms: Option<f64>,
    /// The largest, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_max_ms: Option<f64>,
    /// Chunks that came in one read with a later one, so that their own time is not known.
    pub merged_chunks: u64,
    /// The 99th percentile, over all chunks, of how much too late a time may be for being merged,
    /// in ms. Zero for a chunk that was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_bound_p99_ms: Option<f64>,
    /// The largest such bound, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_bound_max_ms: Option<f64>,
    /// The longest that the kernel took for the first write of a request, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_max_ms: Option<f64>,
}

/// Whose clock gives the time of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClockSource {
    /// The kernel's, at the arrival of the segment: it does not matter when it is read.
    Kernel,
    /// The client's own, when it came to read: its lateness is in every time.
    Client,
    /// The kernel's for some reads, the client's for others.
    Mixed,
}

names!(ClockSource, "clock source", {
    Kernel => "kernel",
    Client => "client",
    Mixed => "mixed",
});

/// Distances from the truth, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorMs {
    /// Median.
    pub median_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The largest.
    pub max_ms: f64,
}

/// How far a run's numbers may be from the truth, by the cell of a certificate that covers it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorBound {
    /// The certificate's file, relative to the results folder.
    pub certificate: String,
    /// Streams of the cell.
    pub streams: u32,
    /// Events a second of the cell.
    pub events_per_s: u32,
    /// Error of a time to first token.
    pub ttft: ErrorMs,
    /// Error of a time between events.
    pub itl: ErrorMs,
    /// Error of a time per token.
    pub tpot: ErrorMs,
    /// Error of the throughput, as a share.
    pub throughput_share: f64,
}
