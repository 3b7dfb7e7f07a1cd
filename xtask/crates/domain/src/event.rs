//! What a session records: the lines of `journal.jsonl`.
//!
//! The journal is the product; state, reports and resume are folds over it. An event says what
//! happened, never what to do about it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::anomaly::Anomaly;
use crate::facts::{Finding, RungReport, ServerFacts, ServerProcess};
use crate::framework::Engine;
use crate::gate::{Basis, Estimate, Look};
use crate::metric::Metric;
use crate::names::names;
use crate::summary::RunSummary;
use crate::timestamp::Timestamp;
use crate::verdict::Verdict;

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// When it was written.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// Position of a step in the plan.
pub type StepIndex = usize;

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first line: what is to be done.
    SessionOpened {
        /// Version of the journal format; see [`Event::JOURNAL`].
        journal: u32,
        /// The session's id: the name of its folder.
        session: String,
        /// Version of servegate.
        servegate: String,
        /// Process that drives the session.
        pid: u32,
        /// What the plan is made from; [`crate::event`] keeps it opaque, `skill` reads it.
        request: serde_json::Value,
        /// Digest of the plan, to notice when a later servegate would plan something else.
        plan: String,
    },
    /// Another process went on with the session.
    SessionResumed {
        /// Process that drives it from here on.
        pid: u32,
    },
    /// A step's effect is about to start.
    StepStarted {
        /// Which.
        step: StepIndex,
        /// Its name, for people who read the journal.
        name: String,
    },
    /// A process of ours is running; it is stopped before the session ends, whatever happens.
    ServerStarted {
        /// The process.
        process: ServerProcess,
    },
    /// No process of the server is left.
    ServerStopped {
        /// Process id of what was started.
        pid: u32,
    },
    /// A step did what it should.
    StepSucceeded {
        /// Which.
        step: StepIndex,
        /// What came out of it.
        outcome: Outcome,
    },
    /// A step failed.
    StepFailed {
        /// Which.
        step: StepIndex,
        /// Why.
        failure: StepFailure,
    },
    /// A step is not done, because one that it needs failed or the session is ending.
    StepSkipped {
        /// Which.
        step: StepIndex,
        /// Its name, for people who read the journal.
        name: String,
        /// Why.
        reason: String,
    },
    /// Something unusual.
    AnomalyNoted {
        /// The step that was running, if any.
        step: Option<StepIndex>,
        /// What.
        anomaly: Anomaly,
    },
    /// A person or the system asked to stop.
    StopRequested {
        /// How.
        by: StopRequest,
    },
    /// What a crash left is being cleared away.
    CleanupStarted,
    /// Nothing of ours is left.
    CleanupFinished,
    /// Something of ours is left.
    CleanupFailed {
        /// Process ids that would not go.
        pids: Vec<u32>,
    },
    /// The last line.
    SessionClosed {
        /// The exit code.
        exit: u8,
    },
}

impl Event {
    /// Version of the journal format.
    pub const JOURNAL: u32 = 1;

    /// Its kind, without what it carries.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::SessionOpened { .. } => EventKind::SessionOpened,
            Self::SessionResumed { .. } => EventKind::SessionResumed,
            Self::StepStarted { .. } => EventKind::StepStarted,
            Self::ServerStarted { .. } => EventKind::ServerStarted,
            Self::ServerStopped { .. } => EventKind::ServerStopped,
            Self::StepSucceeded { .. } => EventKind::StepSucceeded,
            Self::StepFailed { .. } => EventKind::StepFailed,
            Self::StepSkipped { .. } => EventKind::StepSkipped,
            Self::AnomalyNoted { .. } => EventKind::AnomalyNoted,
            Self::StopRequested { .. } => EventKind::StopRequested,
            Self::CleanupStarted => EventKind::CleanupStarted,
            Self::CleanupFinished => EventKind::CleanupFinished,
            Self::CleanupFailed { .. } => EventKind::CleanupFailed,
            Self::SessionClosed { .. } => EventKind::SessionClosed,
        }
    }
}

/// The kinds of [`Event`]: the columns of the transition table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// See [`Event::SessionOpened`].
    SessionOpened,
    /// See [`Event::SessionResumed`].
    SessionResumed,
    /// See [`Event::StepStarted`].
    StepStarted,
    /// See [`Event::ServerStarted`].
    ServerStarted,
    /// See [`Event::ServerStopped`].
    ServerStopped,
    /// See [`Event::StepSucceeded`].
    StepSucceeded,
    /// See [`Event::StepFailed`].
    StepFailed,
    /// See [`Event::StepSkipped`].
    StepSkipped,
    /// See [`Event::AnomalyNoted`].
    AnomalyNoted,
    /// See [`Event::StopRequested`].
    StopRequested,
    /// See [`Event::CleanupStarted`].
    CleanupStarted,
    /// See [`Event::CleanupFinished`].
    CleanupFinished,
    /// See [`Event::CleanupFailed`].
    CleanupFailed,
    /// See [`Event::SessionClosed`].
    SessionClosed,
}

names!(EventKind, "event", {
    SessionOpened => "session-opened",
    SessionResumed => "session-resumed",
    StepStarted => "step-started",
    ServerStarted => "server-started",
    ServerStopped => "server-stopped",
    StepSucceeded => "step-succeeded",
    StepFailed => "step-failed",
    StepSkipped => "step-skipped",
    AnomalyNoted => "anomaly-noted",
    StopRequested => "stop-requested",
    CleanupStarted => "cleanup-started",
    CleanupFinished => "cleanup-finished",
    CleanupFailed => "cleanup-failed",
    SessionClosed => "session-closed",
});

/// How stopping was asked for. Ordered: a later one overrides an earlier one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum StopRequest {
    /// First Ctrl-C: said what is running, and went on.
    Asked,
    /// Second Ctrl-C: the running step is ended.
    Insisted,
    /// SIGTERM: the running step is ended.
    Terminated,
}

/// What came out of a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Outcome {
    /// `check-gpu`: the device is fit to measure on.
    GpuHealthy {
        /// What the evidence is about: the GPUs' UUIDs, or the host for a CPU target.
        subject: String,
        /// Findings that do not forbid measuring.
        findings: Vec<Finding>,
    },
    /// `launch`: the server was started or attached to.
    Launched {
        /// Base URL.
        url: String,
        /// The command line, for people; empty when attached.
        command: Vec<String>,
    },
    /// `verify`: the server serves.
    ServerVerified {
        /// What it said of itself.
        server: Box<ServerFacts>,
    },
    /// `before-run`: the server is still healthy and its cache is empty.
    Prepared {
        /// VRAM in use, in MiB, where there is any.
        vram_mib: Option<u64>,
        /// Whether the prefix cache was emptied.
        rungs: Vec<RungReport>,
        /// Temperature of the warmest GPU, in degrees Celsius, where a run of an experiment
        /// waits for the device to cool down and the GPU tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        temperature_c: Option<u32>,
    },
    /// `measure`: the load ran to its end.
    Measured {
        /// Who made it.
        engine: Engine,
        /// Completed requests.
        completed: u32,
        /// Failed requests.
        failed: u32,
        /// Raw output, relative to the results folder.
        raw: PathBuf,
    },
    /// `after-run`: everything is saved.
    Saved {
        /// The run's summary.
        summary: Box<RunSummary>,
        /// Its file, relative to the results folder.
        file: PathBuf,
    },
    /// `stop`: nothing of the server is left.
    Stopped,
    /// `compare`: the table across frameworks is written.
    Compared {
        /// Its file, relative to the results folder.
        file: PathBuf,
    },
    /// `judge`: the runs were compared with their baselines.
    Judged {
        /// One judgement a key.
        judgements: Vec<Judgement>,
    },
    /// `judge` after a pair of an experiment: what the runs so far say.
    Looked {
        /// The pair, from 1.
        pair: u32,
        /// Whether the experiment ends here, with the judgement's verdict as its own.
        decided: bool,
        /// The judgement; while undecided its verdict is inconclusive.
        judgement: Box<Judgement>,
    },
    /// `write-reports`: reports are written.
    Reported {
        /// Their files, relative to the results folder.
        files: Vec<PathBuf>,
    },
}

/// Why a step failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepFailure {
    /// Class of the failure, stable, for machines: `unhealthy`, `server`, `requests`, …
    pub class: FailureClass,
    /// What failed and to what.
    pub message: String,
    /// What to do, if that is sure.
    pub hint: Option<String>,
}

/// Whose failure it is.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// The GPU or host is not fit.
    Unhealthy,
    /// The server did not start, did not verify or died.
    Server,
    /// Requests failed.
    Requests,
    /// The load generator could not do its work.
    Client,
    /// The step was ended because the session was asked to stop.
    Interrupted,
    /// Files could not be written or read.
    Storage,
    /// Something of ours could not be ended.
    LeftBehind,
}

/// The comparison of one key's runs with a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The key: `framework/model/profile/engine@digest of what else must be equal`.
    pub key: String,
    /// The verdict on the key.
    pub verdict: Verdict,
    /// Why, in one line.
    pub reason: String,
    /// The metrics that decide.
    pub metrics: Vec<MetricJudgement>,
    /// Further metrics, shown and not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reported: Vec<MetricJudgement>,
    /// How the sides were measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// Pairs that were used.
    #[serde(default)]
    pub pairs: u32,
    /// What each look computed, the last one last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub looks: Vec<Look>,
    /// Pairs of the next look, while more of them could decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_look: Option<u32>,
    /// What a reader must know to weigh it: changed parameters, clamped pairs, costs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The comparison of one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricJudgement {
    /// Metric key.
    pub metric: Metric,
    /// The verdict.
    pub verdict: Verdict,
    /// The baseline's values, one a run.
    pub baseline: Vec<f64>,
    /// The candidate's values, one a run.
    pub candidate: Vec<f64>,
    /// Change as a fraction of the baseline; positive is more. Of the pairs as used where there is
    /// an estimate, else of the means.
    pub change: Option<f64>,
    /// What the deciding look computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}
