//! Parameters of the steps of benchmark-runner.

use std::collections::BTreeMap;

use domain::framework::{Backend, Framework};
use domain::metric::Metric;
use domain::units::Span;
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
    /// What is said before it starts; `{framework}` and `{parameters}` are filled in.
    pub announce: String,
    /// Which backend of the load tool a framework is loaded through.
    pub backends: BTreeMap<Framework, Backend>,
    /// A request that hears nothing for this long has stalled.
    pub request_idle: Span,
    /// After this much silence from the whole load, the run is investigated, not ended.
    pub investigate_after: Span,
    /// A run is ended only after this long.
    pub deadline: Span,
}

/// `after-run`: save the raw output, read the VRAM peak, extract the key metrics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AfterRun {
    /// Metrics that every run must have; one that is missing is an error.
    pub key_metrics: Vec<Metric>,
    /// The report printed after each run: its heading, then one `label: {value}` a line.
    pub report: Vec<String>,
}

/// `compare`: one table across frameworks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// Metrics that are its rows.
    pub metrics: Vec<Metric>,
}

/// `judge`: compare with the baselines, where asked to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Metrics that are judged.
    pub metrics: Vec<Metric>,
}

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
