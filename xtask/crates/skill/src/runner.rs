//! Parameters of the steps of benchmark-runner.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use domain::framework::{Backend, Framework};
use domain::metric::Metric;
use domain::units::{Percent, Span, WrongUnit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `before-run`: the server is still healthy, its cache is empty, VRAM and time are on record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeforeRun {
    /// How long the health endpoint may take.
    pub health_within: Span,
    /// Empty the prefix cache, where the server can.
    pub flush_cache: bool,
}

/// `measure`: send the load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// Which backend of the load tool a framework is loaded through.
    pub backends: BTreeMap<Framework, Backend>,
    /// A request that hears nothing for this long has stalled.
    pub request_idle: Span,
    /// After this much silence from the whole load, the run is investigated, not ended.
    pub investigate_after: Span,
    /// A run is ended only after this long.
    pub deadline: Span,
    /// A run whose numbers the load client's own lag moved by more than this does not count.
    #[serde(default = "usual_lag")]
    pub lag_budget: LagBudget,
    /// What is watched of the GPUs while the load runs.
    #[serde(default = "usual_telemetry")]
    pub telemetry: Telemetry,
    /// Runs of a profile that it takes to see whether results agree; fewer are done if fewer are
    /// asked for, and `servegate plan` says so.
    pub runs_for_consistency: u32,
}

/// By how much the load client's own lag may move a number of its run: a share of that number, or a
/// time, whichever is larger. It is judged for the mean, the median and the percentiles of every
/// latency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LagBudget {
    /// The share of the number.
    pub share: Percent,
    /// What is allowed in any case.
    pub at_least: Span,
}

/// What is meant where nothing is said, which was all there was before it could be said.
const fn usual_lag() -> LagBudget {
    LagBudget { share: Percent::ONE, at_least: Span(Duration::from_millis(1)) }
}

/// What is watched of the GPUs and of the host while a load runs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Whether power, energy, memory, clocks and temperature are sampled. Off, the peak of VRAM is
    /// not known either. Errors that a GPU reports are always watched for.
    pub sampler: Switch,
    /// Time from one sample to the next; drivers renew their readings every 100 ms. Counters are
    /// read every five seconds.
    pub every: SamplingSpan,
    /// More of the run than this with clocks lowered for heat, or for want of power from outside,
    /// is noted.
    pub throttled: Percent,
    /// More PCIe packets sent again in a minute than this are noted.
    pub pcie_replays_per_minute: u64,
    /// More of the CPU time that was wanted than this, given to other machines by the hypervisor,
    /// is noted.
    pub cpu_stolen: Percent,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// On.
    On,
    /// Off.
    Off,
}

/// A time between samples: from 20 ms, so that the sampler does not disturb what it watches, to
/// 10 s, so that something is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Span", into = "Span")]
#[schemars(with = "Span")]
pub struct SamplingSpan(Span);

impl SamplingSpan {
    /// The driver's own.
    pub const USUAL: Self = Self(Span(Duration::from_millis(100)));

    /// As a length of time.
    pub const fn duration(self) -> Duration {
        self.0.0
    }
}

/// A time between samples that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` between samples is not from 20ms to 10s")]
pub struct OddSamplingSpan(Span);

impl TryFrom<Span> for SamplingSpan {
    type Error = OddSamplingSpan;

    fn try_from(span: Span) -> Result<Self, OddSamplingSpan> {
        let sane = Duration::from_millis(20)..=Duration::from_secs(10);
        if sane.contains(&span.0) { Ok(Self(span)) } else { Err(OddSamplingSpan(span)) }
    }
}

impl FromStr for SamplingSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span: Span = text.parse().map_err(|error: WrongUnit| error.to_string())?;
        Self::try_from(span).map_err(|error| error.to_string())
    }
}

impl From<SamplingSpan> for Span {
    fn from(span: SamplingSpan) -> Self {
        span.0
    }
}

/// What is meant where nothing is said. A Gen5 link of 16 lanes may send 31 packets a minute again.
const fn usual_telemetry() -> Telemetry {
    Telemetry {
        sampler: Switch::On,
        every: SamplingSpan::USUAL,
        throttled: Percent::ONE,
        pcie_replays_per_minute: 31,
        cpu_stolen: Percent::ONE,
    }
}

/// `after-run`: save the raw output, read the VRAM peak, extract the key metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AfterRun {
    /// Metrics that every run must have; one that is missing is an error.
    pub key_metrics: Vec<Metric>,
    /// The report printed after each run, line by line. Placeholders are `{framework}`,
    /// `{profile}`, `{model}`, `{num_prompts}`, `{vram_peak}`, `{repeat}`, `{engine}` and the key
    /// of any metric, for example `{mean_ttft_ms}`.
    pub report: Vec<String>,
}

/// `compare`: one table across frameworks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// Metrics that are its rows.
    pub metrics: Vec<Metric>,
}

/// `judge`: compare with the baselines, where asked to. All its parameters are the gate's rule.
pub use domain::gate::Rule as Judge;

/// `write-reports`: JUnit and Markdown into the session's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteReports {
    /// Which.
    pub formats: Vec<ReportFormat>,
}

/// A report that is made of a session's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReportFormat {
    /// `junit.xml`.
    Junit,
    /// `summary.md`.
    Markdown,
}

/// A placeholder in the report after a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportField {
    /// The framework's name as its makers write it.
    Framework,
    /// The profile's name.
    Profile,
    /// The model, as the server calls it.
    Model,
    /// Number of requests asked for.
    NumPrompts,
    /// Most VRAM in use while the load ran, in MiB.
    VramPeak,
    /// Which repeat of the profile it is, from 1.
    Repeat,
    /// Who made the load.
    Engine,
    /// A metric, in the unit of its card.
    Metric(Metric),
}

impl ReportField {
    /// Those that are not metrics.
    pub const CONTEXT: [Self; 7] = [
        Self::Framework,
        Self::Profile,
        Self::Model,
        Self::NumPrompts,
        Self::VramPeak,
        Self::Repeat,
        Self::Engine,
    ];

    /// Every placeholder.
    pub fn all() -> impl Iterator<Item = Self> + Clone {
        let metrics: Vec<_> = Metric::all().map(Self::Metric).collect();
        Self::CONTEXT.into_iter().chain(metrics)
    }

    /// The name between the braces.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Framework => "framework",
            Self::Profile => "profile",
            Self::Model => "model",
            Self::NumPrompts => "num_prompts",
            Self::VramPeak => "vram_peak",
            Self::Repeat => "repeat",
            Self::Engine => "engine",
            Self::Metric(metric) => metric.key(),
        }
    }
}

impl fmt::Display for ReportField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A name that is no placeholder of the report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{{{0}}}` is no placeholder of the report")]
pub struct UnknownField(String);

impl FromStr for ReportField {
    type Err = UnknownField;

    fn from_str(name: &str) -> Result<Self, UnknownField> {
        Self::all()
            .find(|field| field.as_str() == name)
            .ok_or_else(|| UnknownField(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholder_names_are_unique_and_read_back() {
        for field in ReportField::all() {
            assert_eq!(field.as_str().parse(), Ok(field));
        }
    }
}
