//! Steps: one typed action each, with what it needs proved and what it proves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::health::CheckGpu;
use crate::runner::{AfterRun, BeforeRun, Compare, Judge, Measure, WriteReports};
use crate::setup::{Launch, Stop, Verify};

/// A fact's name in skills and journals.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FactName {
    /// The device is fit to measure on.
    GpuHealthy,
    /// A server runs, or one was attached to.
    ServerStarted,
    /// The server generates what it is asked to.
    ServerVerified,
    /// The load ran to its end and its result counts.
    Measured,
}

/// One typed action with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Look at the driver, the GPUs and the host, and judge them by limits.
    CheckGpu(CheckGpu),
    /// Start the framework, or attach to a running server.
    Launch(Launch),
    /// Climb the readiness ladder.
    Verify(Verify),
    /// End everything that was started.
    Stop(Stop),
    /// See that the server is healthy and its cache empty; record VRAM and time.
    BeforeRun(BeforeRun),
    /// Send the load.
    Measure(Measure),
    /// Save the raw output, read the VRAM peak, extract the key metrics.
    AfterRun(AfterRun),
    /// One table across frameworks.
    Compare(Compare),
    /// Compare with the baselines.
    Judge(Judge),
    /// Write JUnit and Markdown.
    WriteReports(WriteReports),
}

impl Step {
    /// Its name in skills.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::CheckGpu(_) => "check-gpu",
            Self::Launch(_) => "launch",
            Self::Verify(_) => "verify",
            Self::Stop(_) => "stop",
            Self::BeforeRun(_) => "before-run",
            Self::Measure(_) => "measure",
            Self::AfterRun(_) => "after-run",
            Self::Compare(_) => "compare",
            Self::Judge(_) => "judge",
            Self::WriteReports(_) => "write-reports",
        }
    }

    /// The facts that must be proved before it may start. The one place that says so.
    pub const fn requires(&self) -> &'static [FactName] {
        match self {
            Self::CheckGpu(_) | Self::Stop(_) => &[],
            Self::Compare(_) | Self::Judge(_) | Self::WriteReports(_) => &[],
            Self::Launch(_) => &[FactName::GpuHealthy],
            Self::Verify(_) => &[FactName::ServerStarted],
            Self::BeforeRun(_) | Self::Measure(_) => &[FactName::ServerVerified],
            Self::AfterRun(_) => &[FactName::Measured],
        }
    }

    /// The fact that it proves when it succeeds.
    pub const fn proves(&self) -> Option<FactName> {
        match self {
            Self::CheckGpu(_) => Some(FactName::GpuHealthy),
            Self::Launch(_) => Some(FactName::ServerStarted),
            Self::Verify(_) => Some(FactName::ServerVerified),
            Self::Measure(_) => Some(FactName::Measured),
            Self::Stop(_) | Self::BeforeRun(_) | Self::AfterRun(_) => None,
            Self::Compare(_) | Self::Judge(_) | Self::WriteReports(_) => None,
        }
    }
}
