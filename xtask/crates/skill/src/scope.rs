//! How often a skill's steps are done.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How often a skill's steps are done. Ordered from the widest to the narrowest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Once a session.
    Session,
    /// Once for each framework that is measured.
    Target,
    /// Once for each repeat of each profile.
    Run,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Session => "session",
            Self::Target => "target",
            Self::Run => "run",
        })
    }
}
