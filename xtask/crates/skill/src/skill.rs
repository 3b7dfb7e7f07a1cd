//! The document frame of a skill file.

use std::fmt;

use domain::profile::Profile;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scope::Scope;
use crate::step::{List, Step};

/// The name of a skill: lowercase words joined by hyphens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SkillId(String);

/// A text that cannot name a skill.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` cannot name a skill; write lowercase words joined by hyphens")]
pub struct NotASkillId(String);

impl SkillId {
    const PATTERN: &str = "^[a-z][a-z0-9]*(-[a-z0-9]+)*$";

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for SkillId {
    type Error = NotASkillId;

    fn try_from(text: String) -> Result<Self, NotASkillId> {
        let is_word = |word: &str| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        };
        let begins_well = text.starts_with(|first: char| first.is_ascii_lowercase());
        let valid = begins_well && text.split('-').all(is_word);
        if valid { Ok(Self(text)) } else { Err(NotASkillId(text)) }
    }
}

impl From<SkillId> for String {
    fn from(id: SkillId) -> Self {
        id.0
    }
}

impl fmt::Display for SkillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl JsonSchema for SkillId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SkillId".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "name of a skill: lowercase words joined by hyphens",
            "type": "string",
            "pattern": Self::PATTERN,
        })
    }
}

/// The version of the format of skill files that this servegate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct FormatVersion;

/// A version of the format that this servegate does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("version {0} of the skill format is not known; write `version: 1`")]
pub struct UnknownVersion(u64);

impl TryFrom<u64> for FormatVersion {
    type Error = UnknownVersion;

    fn try_from(version: u64) -> Result<Self, UnknownVersion> {
        if version == 1 { Ok(Self) } else { Err(UnknownVersion(version)) }
    }
}

impl From<FormatVersion> for u64 {
    fn from(_: FormatVersion) -> Self {
        1
    }
}

impl JsonSchema for FormatVersion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FormatVersion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "version of the format", "const": 1 })
    }
}

/// A skill: typed steps, with what they require and how often they are done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Skill {
    /// Version of the format of this file: 1.
    pub version: FormatVersion,
    /// Name by which other skills require it.
    pub id: SkillId,
    /// When to use it, for people.
    pub description: String,
    /// Said before its first step. `{framework}`, `{model}` and `{device}` are filled in unless
    /// the scope is `session`, and where it is `run` also `{profile}`, `{parameters}` and
    /// `{repeat}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announce: Option<String>,
    /// Principles that its results rest on, shown by `servegate plan`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principles: Vec<String>,
    /// How often its steps are done.
    pub scope: Scope,
    /// Skills whose steps come before its own. Each has the same scope or a wider one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<SkillId>,
    /// Its steps, in order. One that fails ends the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Steps done when its scope ends, whatever happened, if one of `steps` was started. Skills
    /// are cleaned up in the reverse of the order in which they were done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finally: Vec<Step>,
    /// Steps done once, at the end of the session.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conclude: Vec<Step>,
    /// Load profiles that can be chosen by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub profiles: Vec<Profile>,
}

impl Skill {
    /// The steps of a list.
    pub(crate) fn listed(&self, list: List) -> &[Step] {
        match list {
            List::Steps => &self.steps,
            List::Finally => &self.finally,
            List::Conclude => &self.conclude,
        }
    }
}
