//! What is asked of a session: skills, targets, profiles and how often.

use domain::framework::EngineChoice;
use domain::profile::LoadOverrides;
use domain::target::Target;
use serde::{Deserialize, Serialize};

use crate::experiment::Experiment;

/// The text of a skill file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its path, as it is to be shown in faults.
    pub path: String,
    /// What stands in it.
    pub text: String,
}

/// What is asked for: everything that a plan is made from.
///
/// The journal stores it, and resuming resolves it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The skills to do, in any order; all of them are done.
    pub skills: Vec<Source>,
    /// The frameworks to measure, in order.
    pub targets: Vec<Target>,
    /// Names of the load profiles, in order; empty only where no skill has scope `run`.
    pub profiles: Vec<String>,
    /// How often each profile is run, from 1.
    pub runs: u32,
    /// Who makes the load.
    pub engine: EngineChoice,
    /// What the command line changes in every profile.
    pub overrides: LoadOverrides,
    /// If the two targets are to be measured in turns: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
}
