//! The closed list of metrics. Each has a card; tables, schema, reports and gate read the card.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One number of a run's summary.
///
/// In files a metric is its key, which is the key of the Python tool's JSONL where it has one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Metric {
    /// Length of the measurement.
    Duration,
    /// Completed requests a second.
    RequestThroughput,
    /// Prompt tokens a second.
    InputThroughput,
    /// Generated tokens a second.
    OutputThroughput,
    /// Prompt and generated tokens a second.
    TotalThroughput,
    /// Mean number of requests in flight.
    Concurrency,
    /// Most tokens that arrived in one second.
    MaxOutputTokensPerS,
    /// Most requests in flight at once.
    MaxConcurrentRequests,
    /// Energy for each generated token.
    EnergyPerOutputToken,
    /// Energy for each completed request.
    EnergyPerRequest,
    /// A statistic of one latency over all completed requests.
    Latency(Latency, Stat),
}

/// A latency that every completed request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Latency {
    /// From sending to the end of the answer.
    E2e,
    /// From sending to the first token.
    Ttft,
    /// Mean time per token after the first.
    Tpot,
    /// Time between tokens, pooled over requests.
    Itl,
}

/// A statistic over samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stat {
    /// Arithmetic mean.
    Mean,
    /// 50th percentile.
    Median,
    /// Standard deviation of the population.
    Std,
    /// 90th percentile.
    P90,
    /// 95th percentile.
    P95,
    /// 99th percentile.
    P99,
}

/// Which direction is an improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// Neither: it describes the run.
    Neutral,
}

/// What there is to know of a metric.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    /// Key in summaries and JSONL.
    pub key: &'static str,
    /// Name in tables and in the result block, without the unit.
    pub title: &'static str,
    /// Unit, in the spelling of the result block.
    pub unit: &'static str,
    /// Which direction is an improvement.
    pub better: Better,
    /// What it is and where it comes from.
    pub meaning: &'static str,
}

impl Latency {
    /// Every latency, in the order of the result block.
    pub const ALL: [Self; 4] = [Self::E2e, Self::Ttft, Self::Tpot, Self::Itl];

    /// The short name used in tables: `TTFT`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::E2e => "E2E Latency",
            Self::Ttft => "TTFT",
            Self::Tpot => "TPOT",
            Self::Itl => "ITL",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::E2e => "from sending a request to the end of its answer, over completed requests",
            Self::Ttft => "from sending a request to its first token, over completed requests",
            Self::Tpot => {
                "(end to end - TTFT) / (output tokens - 1) of a request, over completed requests of at least two tokens"
            }
            Self::Itl => {
                "time between tokens, pooled over completed requests; a chunk of n tokens counts as n equal gaps"
            }
        }
    }
}

impl Stat {
    /// Every statistic, in the order of the result block.
    pub const ALL: [Self; 6] =
        [Self::Mean, Self::Median, Self::Std, Self::P90, Self::P95, Self::P99];

    /// The name in the result block: `Mean`.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Mean => "Mean",
            Self::Median => "Median",
            Self::Std => "Std",
            Self::P90 => "P90",
            Self::P95 => "P95",
            Self::P99 => "P99",
        }
    }
}

/// `[latency][statistic]`, in the order of [`Latency::ALL`] and [`Stat::ALL`]: key and title.
const LATENCY_NAMES: [[(&str, &str); 6]; 4] = [
    [
        ("mean_e2e_latency_ms", "Mean E2E Latency"),
        ("median_e2e_latency_ms", "Median E2E Latency"),
        ("std_e2e_latency_ms", "Std E2E Latency"),
        ("p90_e2e_latency_ms", "P90 E2E Latency"),
        ("p95_e2e_latency_ms", "P95 E2E Latency"),
        ("p99_e2e_latency_ms", "P99 E2E Latency"),
    ],
    [
        ("mean_ttft_ms", "Mean TTFT"),
        ("median_ttft_ms", "Median TTFT"),
        ("std_ttft_ms", "Std TTFT"),
        ("p90_ttft_ms", "P90 TTFT"),
        ("p95_ttft_ms", "P95 TTFT"),
        ("p99_ttft_ms", "P99 TTFT"),
    ],
    [
        ("mean_tpot_ms", "Mean TPOT"),
        ("median_tpot_ms", "Median TPOT"),
        ("std_tpot_ms", "Std TPOT"),
        ("p90_tpot_ms", "P90 TPOT"),
        ("p95_tpot_ms", "P95 TPOT"),
        ("p99_tpot_ms", "P99 TPOT"),
    ],
    [
        ("mean_itl_ms", "Mean ITL"),
        ("median_itl_ms", "Median ITL"),
        ("std_itl_ms", "Std ITL"),
        ("p90_itl_ms", "P90 ITL"),
        ("p95_itl_ms", "P95 ITL"),
        ("p99_itl_ms", "P99 ITL"),
    ],
];

impl Metric {
    /// The twelve that the benchmark-runner skill asks for, in its order.
    pub const KEY: [Self; 12] = [
        Self::RequestThroughput,
        Self::OutputThroughput,
        Self::InputThroughput,
        Self::Latency(Latency::Ttft, Stat::Mean),
        Self::Latency(Latency::Ttft, Stat::Median),
        Self::Latency(Latency::Ttft, Stat::P99),
        Self::Latency(Latency::Tpot, Stat::Mean),
        Self::Latency(Latency::Tpot, Stat::Median),
        Self::Latency(Latency::Tpot, Stat::P99),
        Self::Latency(Latency::Itl, Stat::Mean),
        Self::Latency(Latency::Itl, Stat::Median),
        Self::Latency(Latency::Itl, Stat::P99),
    ];

    /// Those that only a GPU gives.
    pub const OF_GPUS: [Self; 2] = [Self::EnergyPerOutputToken, Self::EnergyPerRequest];

    /// Every metric, in the order of the result block.
    pub fn all() -> impl Iterator<Item = Self> {
        let scalars = [
            Self::Duration,
            Self::RequestThroughput,
            Self::InputThroughput,
            Self::OutputThroughput,
            Self::TotalThroughput,
            Self::Concurrency,
            Self::MaxOutputTokensPerS,
            Self::MaxConcurrentRequests,
            Self::EnergyPerOutputToken,
            Self::EnergyPerRequest,
        ];
        let latencies = Latency::ALL
            .into_iter()
            .flat_map(|of| Stat::ALL.into_iter().map(move |stat| Self::Latency(of, stat)));
        scalars.into_iter().chain(latencies)
    }

    /// What there is to know of it.
    pub const fn card(self) -> Card {
        use Better::{Higher, Lower, Neutral};
        let (key, title, unit, better, meaning) = match self {
            Self::Duration => (
                "duration",
                "Benchmark duration",
                "s",
                Neutral,
                "from the first request's start to the last answer's end",
            ),
            Self::RequestThroughput => (
                "request_throughput",
                "Request throughput",
                "req/s",
                Higher,
                "completed requests / duration",
            ),
            Self::InputThroughput => (
                "input_throughput",
                "Input token throughput",
                "tok/s",
                Higher,
                "prompt tokens of completed requests / duration",
            ),
            Self::OutputThroughput => (
                "output_throughput",
                "Output token throughput",
                "tok/s",
                Higher,
                "generated tokens of completed requests, by the server's own count / duration",
            ),
            Self::TotalThroughput => (
                "total_throughput",
                "Total token throughput",
                "tok/s",
                Higher,
                "prompt and generated tokens of completed requests / duration",
            ),
            Self::Concurrency => (
                "concurrency",
                "Concurrency",
                "req",
                Neutral,
                "sum of end-to-end latencies / duration",
            ),
            Self::MaxOutputTokensPerS => (
                "max_output_tokens_per_s",
                "Peak output token throughput",
                "tok/s",
                Neutral,
                "most tokens that arrived in one of the run's seconds",
            ),
            Self::MaxConcurrentRequests => (
                "max_concurrent_requests",
                "Peak concurrent requests",
                "req",
                Neutral,
                "most requests in flight: native, at one moment; Python tool, touching one second",
            ),
            Self::EnergyPerOutputToken => (
                "energy_per_output_token_j",
                "Energy per output token",
                "J",
                Lower,
                "energy of the GPUs from start to end of the measurement / generated tokens; only where it is valid",
            ),
            Self::EnergyPerRequest => (
                "energy_per_request_j",
                "Energy per request",
                "J",
                Lower,
                "energy of the GPUs from start to end of the measurement / completed requests; only where it is valid",
            ),
            Self::Latency(of, stat) => {
                let (key, title) = LATENCY_NAMES[of as usize][stat as usize];
                let better = if matches!(stat, Stat::Std) { Neutral } else { Lower };
                (key, title, "ms", better, of.meaning())
            }
        };
        Card { key, title, unit, better, meaning }
    }

    /// Key in summaries and JSONL.
    pub const fn key(self) -> &'static str {
        self.card().key
    }
}

/// A key that names no metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no metric of servegate")]
pub struct UnknownMetric(String);

impl FromStr for Metric {
    type Err = UnknownMetric;

    fn from_str(key: &str) -> Result<Self, UnknownMetric> {
        Self::all().find(|metric| metric.key() == key).ok_or_else(|| UnknownMetric(key.to_owned()))
    }
}

impl TryFrom<String> for Metric {
    type Error = UnknownMetric;

    fn try_from(key: String) -> Result<Self, UnknownMetric> {
        key.parse()
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.key().to_owned()
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.card().title)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_read_back() {
        for metric in Metric::all() {
            assert_eq!(metric.key().parse(), Ok(metric));
        }
        assert_eq!(Metric::all().count(), 10 + 24);
    }

    #[test]
    fn the_table_of_names_stands_in_the_order_of_the_enums() {
        for metric in Metric::all() {
            let Metric::Latency(of, stat) = metric else { continue };
            assert_eq!(metric.card().title, format!("{} {}", stat.title(), of.title()));
        }
    }

    #[test]
    fn a_value_is_the_same_after_being_stored_and_read() {
        // A reader that is one bit off here makes two runs of one.
        let value = 9.261_768_689_895_835;
        let stored = serde_json::to_string(&value).unwrap();
        assert_eq!(serde_json::from_str::<f64>(&stored).unwrap(), value);
    }
}
