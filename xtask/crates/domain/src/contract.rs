//! The like-for-like contract: what is held equal when servers are compared.
//!
//! It is filled from what the server says of itself and from what was seen, never from what was
//! asked for. An item that nobody said is absent, and why stands beside it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::names;

/// One item of the contract.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Term {
    /// The weights.
    Weights,
    /// The type that they are computed in.
    Dtype,
    /// Longest prompt and answer of one request together.
    Context,
    /// Size of the KV cache over all requests.
    KvCache,
    /// Requests that the server works on at once.
    Concurrency,
    /// Whether prompts may be answered from the prefix cache.
    PrefixCache,
    /// How tokens are chosen.
    Sampling,
    /// Whether every answer had exactly the length asked for.
    ForcedLength,
    /// Which requests were sent.
    RequestSet,
    /// Power limit of the GPUs.
    PowerLimit,
    /// Temperature of the warmest GPU before the load.
    StartTemperature,
}

names!(Term, "term of the contract", {
    Weights => "weights",
    Dtype => "dtype",
    Context => "context",
    KvCache => "kv-cache",
    Concurrency => "concurrency",
    PrefixCache => "prefix-cache",
    Sampling => "sampling",
    ForcedLength => "forced-length",
    RequestSet => "request-set",
    PowerLimit => "power-limit",
    StartTemperature => "start-temperature",
});

impl Term {
    /// The term in words.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Dtype => "dtype",
            Self::Context => "context (tokens)",
            Self::KvCache => "KV cache (tokens)",
            Self::Concurrency => "concurrency limit",
            Self::PrefixCache => "prefix cache",
            Self::Sampling => "sampling",
            Self::ForcedLength => "length forced",
            Self::RequestSet => "request set",
            Self::PowerLimit => "power limit (W)",
            Self::StartTemperature => "start temperature (C)",
        }
    }

    /// Whether the term says which work is done, rather than on what it is done: a change of it
    /// is another experiment even where the server's settings are the thing under test.
    pub const fn is_work(self) -> bool {
        match self {
            Self::Weights
            | Self::Dtype
            | Self::PrefixCache
            | Self::Sampling
            | Self::ForcedLength
            | Self::RequestSet => true,
            Self::Context
            | Self::KvCache
            | Self::Concurrency
            | Self::PowerLimit
            | Self::StartTemperature => false,
        }
    }
}

/// Whether a server's prefix cache is in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CacheState {
    /// Prompts may be answered from it.
    On,
    /// Every prompt token is computed.
    Off,
}

names!(CacheState, "state of a cache", { On => "on", Off => "off" });

/// What was held, item by item; an absent one was not said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Contract {
    /// The weights: the last part of their path, and whether they are dummies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
    /// The type that they are computed in: `bfloat16`, `float16`, `Q4_K_M`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Longest prompt and answer of one request together, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// Size of the KV cache over all requests, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_cache_tokens: Option<u64>,
    /// Requests that the server works on at once; more wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running_requests: Option<u64>,
    /// Whether prompts may be answered from the prefix cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_cache: Option<CacheState>,
    /// How tokens are chosen; every request asks for temperature 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampling: Option<String>,
    /// Whether every answer had exactly the length asked for, by the server's own count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced_length: Option<bool>,
    /// Hash of the request set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_set: Option<String>,
    /// Power limit in force of each GPU, in mW.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_mw: Option<Vec<u64>>,
    /// Temperature of the warmest GPU just before the load, in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_temperature_c: Option<u32>,
    /// Where each item was read; for an absent one, why nobody says it.
    #[serde(default)]
    pub sources: BTreeMap<Term, String>,
}

impl Contract {
    /// Nothing was said.
    pub const fn unsaid() -> Self {
        Self {
            weights: None,
            dtype: None,
            context_tokens: None,
            kv_cache_tokens: None,
            max_running_requests: None,
            prefix_cache: None,
            sampling: None,
            forced_length: None,
            request_set: None,
            power_limit_mw: None,
            start_temperature_c: None,
            sources: BTreeMap::new(),
        }
    }

    /// An item as people read it, if it was said.
    pub fn shown(&self, term: Term) -> Option<String> {
        let count = |count: Option<u64>| Some(count?.to_string());
        match term {
            Term::Weights => self.weights.clone(),
            Term::Dtype => self.dtype.clone(),
            Term::Context => count(self.context_tokens),
            Term::KvCache => count(self.kv_cache_tokens),
            Term::Concurrency => count(self.max_running_requests),
            Term::PrefixCache => Some(self.prefix_cache?.to_string()),
            Term::Sampling => self.sampling.clone(),
            Term::ForcedLength => Some(if self.forced_length? { "yes" } else { "no" }.to_owned()),
            Term::RequestSet => self.request_set.clone(),
            Term::PowerLimit => {
                let watts = self.power_limit_mw.as_ref()?.iter().map(|mw| mw / 1000);
                Some(watts.map(|watts| watts.to_string()).collect::<Vec<_>>().join(", "))
            }
            Term::StartTemperature => Some(self.start_temperature_c?.to_string()),
        }
    }

    /// Notes where a term was read, or why nobody says it.
    pub fn note(&mut self, term: Term, source: impl Into<String>) {
        self.sources.insert(term, source.into());
    }
}

/// Prompt tokens that a server had cached, by its own counters over a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CacheCount {
    /// Prompt tokens found in the prefix cache.
    pub cached: u64,
    /// Prompt tokens looked up there, if the server counts them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompts: Option<u64>,
    /// The counter's name.
    pub source: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_is_shown_as_nothing_and_costs_no_line_in_a_file() {
        let unsaid = Contract::unsaid();
        assert!(Term::ALL.iter().all(|term| unsaid.shown(*term).is_none()));
        assert_eq!(serde_json::to_string(&unsaid).unwrap(), r#"{"sources":{}}"#);
        assert_eq!(serde_json::from_str::<Contract>("{}").unwrap(), unsaid);
    }

    #[test]
    fn items_are_shown_in_their_units() {
        let contract = Contract {
            power_limit_mw: Some(vec![700_000, 350_000]),
            prefix_cache: Some(CacheState::Off),
            forced_length: Some(true),
            ..Contract::unsaid()
        };
        assert_eq!(contract.shown(Term::PowerLimit).as_deref(), Some("700, 350"));
        assert_eq!(contract.shown(Term::PrefixCache).as_deref(), Some("off"));
        assert_eq!(contract.shown(Term::ForcedLength).as_deref(), Some("yes"));
    }

    #[test]
    fn file_names_and_serde_names_agree() {
        for term in Term::ALL {
            assert_eq!(serde_json::to_value(term).unwrap(), term.as_str());
        }
    }
}
