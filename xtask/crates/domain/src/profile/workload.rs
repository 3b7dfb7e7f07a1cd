//! What only some datasets need. Names and defaults are those of the Python tool's flags.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compat::Compat;
use crate::names::names;

/// Settings of single datasets, and the release that decides how they are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Release of the Python tool whose prompts and bodies are sent.
    #[serde(default = "newest")]
    pub compat: Compat,
    /// How prompts are sent.
    #[serde(default = "text")]
    pub prompts: PromptForm,
    /// Settings of `generated-shared-prefix`.
    #[serde(default = "shared_prefix")]
    pub gsp: SharedPrefix,
    /// Settings of `sharegpt` and `custom`.
    #[serde(default = "conversations")]
    pub sharegpt: Conversations,
}

impl Workload {
    /// The defaults of the newest release.
    pub const USUAL: Self = Self {
        compat: Compat::NEWEST,
        prompts: PromptForm::Text,
        gsp: SharedPrefix::USUAL,
        sharegpt: Conversations::USUAL,
    };

    /// Whether nothing differs from the defaults.
    pub fn is_usual(&self) -> bool {
        *self == Self::USUAL
    }
}

/// How prompts are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PromptForm {
    /// As text, which the server turns into tokens itself.
    Text,
    /// As token ids, so that the length is exact.
    Ids,
}

names!(PromptForm, "prompt form", { Text => "text", Ids => "ids" });

/// How the requests of `generated-shared-prefix` are spread over its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GroupDistribution {
    /// Every group gets as many.
    Uniform,
    /// By rank: the share of group k is proportional to 1 / k^alpha.
    Zipf,
}

names!(GroupDistribution, "group distribution", { Uniform => "uniform", Zipf => "zipf" });

/// Settings of `generated-shared-prefix`. The number of requests is groups times prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SharedPrefix {
    /// Groups, each with a system prompt of its own.
    pub num_groups: u32,
    /// Requests of a group.
    pub prompts_per_group: u32,
    /// Length of a system prompt, in tokens.
    pub system_prompt_len: u32,
    /// Length of a question, in tokens.
    pub question_len: u32,
    /// Longest answer, in tokens.
    pub output_len: u32,
    /// Shortest of each length as a fraction of the longest.
    pub range_ratio: f64,
    /// Report every prompt as one token long, which saves tokenising it.
    pub fast_prepare: bool,
    /// Keep the requests of a group together.
    pub ordered: bool,
    /// How requests are spread over groups.
    pub group_distribution: GroupDistribution,
    /// Exponent of `zipf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zipf_alpha: Option<f64>,
}

impl SharedPrefix {
    /// The defaults of the Python tool.
    pub const USUAL: Self = Self {
        num_groups: 64,
        prompts_per_group: 16,
        system_prompt_len: 2048,
        question_len: 128,
        output_len: 256,
        range_ratio: 1.0,
        fast_prepare: false,
        ordered: false,
        group_distribution: GroupDistribution::Uniform,
        zipf_alpha: None,
    };
}

/// Settings of `sharegpt` and `custom`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conversations {
    /// Length of every answer, in tokens, instead of the recorded answer's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_len: Option<u32>,
    /// Longer conversations are left out, in tokens of prompt and answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_len: Option<u32>,
    /// Text put behind every prompt.
    #[serde(default)]
    pub prompt_suffix: String,
}

impl Conversations {
    /// The defaults of the Python tool.
    pub const USUAL: Self =
        Self { output_len: None, context_len: None, prompt_suffix: String::new() };
}

const fn newest() -> Compat {
    Compat::NEWEST
}
const fn text() -> PromptForm {
    PromptForm::Text
}
const fn shared_prefix() -> SharedPrefix {
    SharedPrefix::USUAL
}
const fn conversations() -> Conversations {
    Conversations::USUAL
}
