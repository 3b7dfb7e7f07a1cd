//! Parameters of the steps of framework-setup.

use std::collections::BTreeMap;

use domain::facts::Rung;
use domain::framework::Framework;
use domain::units::{Memory, Percent, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `launch`: start the framework, or attach to a running server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// What is said before it starts; `{framework}` and `{model}` are filled in.
    pub announce: String,
    /// Lines of the server's log that are shown when it fails.
    pub log_tail_lines: usize,
    /// What every framework is told alike.
    pub conditions: Conditions,
}

/// What every framework is told alike, each in its own flags. The target's `server_args` come
/// after these, so that one framework can be told otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conditions {
    /// Requests that the server works on at once; more wait.
    pub max_running_requests: u32,
    /// Prompt and answer of one request together, in tokens.
    pub context_tokens: u32,
    /// Prompt tokens that SGLang and vLLM compute in one step; longer prompts are split. llama.cpp
    /// and Ollama work in smaller steps of their own.
    pub prefill_chunk_tokens: u32,
    /// Size of the KV cache in tokens, over all requests. Absent: SGLang and vLLM take what
    /// `memory_share` leaves, and llama.cpp makes room for `max_running_requests` full contexts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_tokens: Option<u64>,
    /// Share of the GPU's memory. SGLang and vLLM mean different things by it: set
    /// `kv_cache_tokens` where they are to be compared.
    pub memory_share: Percent,
    /// Seed of the server's own sampling.
    pub seed: u64,
    /// Whether prompts may be answered from the prefix cache.
    pub prefix_cache: PrefixCache,
}

/// Whether prompts may be answered from the prefix cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PrefixCache {
    /// They may: for loads whose prompts share prefixes by design.
    Enabled,
    /// They may not: every prompt token is computed. Ollama cannot be told so.
    Disabled,
}

/// `verify`: climb the readiness ladder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The rungs, from cheap to sure, each with its limit. All of them must be passed.
    pub rungs: Vec<RungLimit>,
    /// Pause between two looks at a rung that is not passed yet.
    pub poll_every: Span,
    /// How long one control request (health, models, version) may take.
    pub request_within: Span,
    /// Tokens that the generation rung asks for.
    pub generation_tokens: u32,
    /// Requests of the warm-up, one after the other, each of `generation_tokens`.
    pub warm_up_requests: u32,
    /// How long nothing may run and nothing may wait before the server counts as idle.
    pub quiet_for: Span,
}

/// One rung and how long it may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RungLimit {
    /// The rung.
    pub rung: Rung,
    /// How long it may take from the moment the rung before it was passed.
    pub within: Span,
}

impl Verify {
    /// The rungs that must be passed, in order.
    pub fn wanted(&self) -> Vec<Rung> {
        self.rungs.iter().map(|limit| limit.rung).collect()
    }
}

/// `stop`: end everything that was started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// How long the server may take to leave after SIGTERM.
    pub patience: Span,
    /// The same for frameworks that need another time.
    #[serde(default)]
    pub patience_of: BTreeMap<Framework, Span>,
    /// How long its processes may take to be gone after SIGKILL.
    pub gone_within: Span,
    /// How long its port may take to be free again after that.
    pub port_free_within: Span,
    /// How long its VRAM may take to be given back after that.
    pub vram_free_within: Span,
    /// How much more VRAM than before the launch may still be in use then.
    pub vram_slack: Memory,
}

impl Stop {
    /// How long `framework` may take to leave after SIGTERM.
    pub fn patience_for(&self, framework: Framework) -> Span {
        self.patience_of.get(&framework).copied().unwrap_or(self.patience)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_framework_with_its_own_patience_gets_it_and_the_others_the_common_one() {
        let stop: Stop = serde_yaml::from_str(
            "{patience: 30s, patience_of: {sglang: 90s}, gone_within: 10s, \
             port_free_within: 10s, vram_free_within: 60s, vram_slack: 256 MiB}",
        )
        .unwrap();
        assert_eq!(stop.patience_for(Framework::Sglang).0, Duration::from_secs(90));
        assert_eq!(stop.patience_for(Framework::Vllm).0, Duration::from_secs(30));
    }

    #[test]
    fn the_shipped_skill_has_every_field_and_no_other() {
        #[derive(Deserialize)]
        struct Document {
            steps: Vec<crate::Step>,
            finally: Vec<crate::Step>,
        }
        let text = include_str!("../../../../skills/framework-setup/skill.yaml");
        // Through JSON, where a step is a mapping with its kind as the key.
        let value: serde_json::Value = serde_yaml::from_str(text).unwrap();
        let document: Document = serde_json::from_value(value).unwrap();
        let kinds: Vec<_> =
            document.steps.iter().chain(&document.finally).map(crate::Step::kind).collect();
        assert_eq!(kinds, ["launch", "verify", "stop"]);
        let crate::Step::Verify(verify) = &document.steps[1] else { panic!("no verify") };
        assert_eq!(verify.wanted(), Rung::ALL);
    }
}
