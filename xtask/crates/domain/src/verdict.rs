//! What a comparison says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::names::names;

/// The judgement on a metric, a key or a whole session.
///
/// The order is by how much it asks of the reader: the worst of many is their maximum.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No worse than the tolerance allows.
    Pass,
    /// Better than before.
    Improved,
    /// There is nothing to compare with.
    MissingBaseline,
    /// The data do not allow a decision.
    Inconclusive,
    /// Worse than the tolerance allows.
    Regressed,
    /// The two sides are not the same experiment.
    Incomparable,
    /// The measurement failed.
    Broken,
}

names!(Verdict, "verdict", {
    Pass => "pass",
    Improved => "improved",
    MissingBaseline => "missing-baseline",
    Inconclusive => "inconclusive",
    Regressed => "regressed",
    Incomparable => "incomparable",
    Broken => "broken",
});

/// How strictly a verdict is turned into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strictness {
    /// Inconclusive is an error.
    pub inconclusive_fails: bool,
    /// A missing baseline is an error.
    pub baseline_required: bool,
}

impl Verdict {
    /// The exit code that it asks for.
    pub const fn exit(self, strictness: Strictness) -> Exit {
        match self {
            Self::Pass | Self::Improved => Exit::Done,
            Self::MissingBaseline if strictness.baseline_required => Exit::Incomparable,
            Self::Inconclusive if strictness.inconclusive_fails => Exit::Inconclusive,
            Self::MissingBaseline | Self::Inconclusive => Exit::Done,
            Self::Regressed => Exit::Regressed,
            Self::Incomparable => Exit::Incomparable,
            Self::Broken => Exit::NotMeasured,
        }
    }
}
