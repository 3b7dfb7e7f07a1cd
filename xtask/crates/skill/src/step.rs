//! Steps: one typed action each, with what it needs proved and what it proves.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::health::CheckGpu;
use crate::runner::{AfterRun, BeforeRun, Compare, Judge, Measure, WriteReports};
use crate::scope::Scope;
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

impl FactName {
    /// The name as in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GpuHealthy => "gpu-healthy",
            Self::ServerStarted => "server-started",
            Self::ServerVerified => "server-verified",
            Self::Measured => "measured",
        }
    }

    /// The kind of step that proves it; the inverse of [`Step::proves`].
    pub const fn proved_by(self) -> &'static str {
        match self {
            Self::GpuHealthy => "check-gpu",
            Self::ServerStarted => "launch",
            Self::ServerVerified => "verify",
            Self::Measured => "measure",
        }
    }
}

impl fmt::Display for FactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One of the three lists of steps in a skill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    /// `steps`: in order, until one fails.
    Steps,
    /// `finally`: when the skill's scope ends, whatever happened.
    Finally,
    /// `conclude`: once, at the end of the session.
    Conclude,
}

impl List {
    /// Every list, in the order in which its steps are done.
    pub const ALL: [Self; 3] = [Self::Steps, Self::Finally, Self::Conclude];

    /// Its key in a skill.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Finally => "finally",
            Self::Conclude => "conclude",
        }
    }
}

/// Where in skills a kind of step may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The list.
    pub list: List,
    /// Scopes of skills that may have it.
    pub scopes: &'static [Scope],
}

/// One typed action with its parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "a plan has some dozens of steps, each read once")]
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

/// A method for each kind that is looked for: its parameters, if the step is of it.
macro_rules! parameters {
    ($($method:ident: $variant:ident),+ $(,)?) => {
        impl Step {
            $(
                #[doc = concat!("The parameters of `", stringify!($variant), "`, if it is that.")]
                pub const fn $method(&self) -> Option<&$variant> {
                    if let Self::$variant(parameters) = self { Some(parameters) } else { None }
                }
            )+
        }
    };
}

parameters! {
    as_check_gpu: CheckGpu,
    as_verify: Verify,
    as_measure: Measure,
    as_after_run: AfterRun,
    as_compare: Compare,
    as_judge: Judge,
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
            Self::CheckGpu(_) | Self::Stop(_) | Self::WriteReports(_) => &[],
            Self::Launch(_) => &[FactName::GpuHealthy],
            Self::Verify(_) => &[FactName::ServerStarted],
            Self::BeforeRun(_) | Self::Measure(_) => &[FactName::ServerVerified],
            Self::AfterRun(_) | Self::Compare(_) | Self::Judge(_) => &[FactName::Measured],
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

    /// Where it may stand: a server belongs to a target, a load to a run, a table to the session.
    pub const fn home(&self) -> Home {
        let (list, scopes): (List, &'static [Scope]) = match self {
            Self::CheckGpu(_) | Self::Verify(_) => (List::Steps, &[Scope::Target, Scope::Run]),
            Self::Launch(_) => (List::Steps, &[Scope::Target]),
            Self::Stop(_) => (List::Finally, &[Scope::Target]),
            Self::BeforeRun(_) | Self::Measure(_) | Self::AfterRun(_) => {
                (List::Steps, &[Scope::Run])
            }
            Self::Compare(_) | Self::Judge(_) | Self::WriteReports(_) => {
                (List::Conclude, &[Scope::Session, Scope::Target, Scope::Run])
            }
        };
        Home { list, scopes }
    }

    /// What is said before it starts, with placeholders, if it says something of its own.
    pub fn announce(&self) -> Option<&str> {
        match self {
            Self::CheckGpu(check) => check.announce.as_deref(),
            Self::Launch(launch) => Some(&launch.announce),
            Self::Verify(_) | Self::Stop(_) => None,
            Self::BeforeRun(_) | Self::Measure(_) | Self::AfterRun(_) => None,
            Self::Compare(_) | Self::Judge(_) | Self::WriteReports(_) => None,
        }
    }
}
