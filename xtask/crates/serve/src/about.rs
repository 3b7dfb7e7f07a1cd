//! What a server tells of itself: its version and its resolved arguments.
//!
//! For the record only. A server that tells nothing is no worse for it.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::contract::Contract;
use domain::facts::ServerFacts;
use domain::framework::Framework;
use serde_json::Value;

use crate::control::Endpoint;
use crate::frameworks::traits;
use crate::log::LINE_BYTES;

/// At most so many values are kept: SGLang tells some four hundred.
const MOST_VALUES: usize = 1000;

/// How deep nested settings are followed: vLLM's stand two levels down.
const DEEPEST: usize = 3;

/// What a server tells of itself.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) version: Option<String>,
    /// Its resolved arguments, by their dotted names.
    pub(crate) resolved: BTreeMap<String, Value>,
    pub(crate) contract: Contract,
}

impl Told {
    pub(crate) const NOTHING: Self =
        Self { version: None, resolved: BTreeMap::new(), contract: Contract::unsaid() };
}

/// The version, the resolved arguments and the contract, as far as the server tells them.
pub(crate) async fn about(endpoint: &Endpoint, within: Duration) -> Told {
    let Told { mut version, mut resolved, mut contract } = Told::NOTHING;
    let reads = traits(endpoint.framework()).terms;
    for about in traits(endpoint.framework()).about {
        let Ok(answer) = endpoint.get(about.path, within).await else { continue };
        let Some(told) = answer.is_ok().then(|| answer.json()).flatten() else { continue };
        let key = about.version.and_then(|key| told.get(key)?.as_str());
        // A build that was not made from a repository calls itself `b0-unknown`.
        let known = key.filter(|version| !version.contains("unknown"));
        version = version.or_else(|| known.map(str::to_owned));
        crate::terms::enter(reads, about.path, &told, &mut contract);
        flatten("", &told, DEEPEST, &mut resolved);
    }
    Told { version, resolved, contract }
}

/// What the server answers at a path, if it is JSON and comes within the time.
pub async fn told(endpoint: &Endpoint, path: &str, within: Duration) -> Option<Value> {
    let answer = endpoint.get(path, within).await.ok()?;
    answer.is_ok().then(|| answer.json()).flatten()
}

/// Tokens that the server's KV cache holds, if its resolved arguments tell.
pub fn kv_cache_tokens(server: &ServerFacts) -> Option<u64> {
    let of = |name: &str| {
        let named = |key: &str| key.rsplit('.').next() == Some(name);
        let told = server.resolved.iter().find(|(key, _)| named(key));
        told.and_then(|(_, value)| value.as_u64())
    };
    match server.framework {
        Framework::Sglang => of("max_total_num_tokens"),
        Framework::Vllm => of("num_gpu_blocks")?.checked_mul(of("block_size")?),
        Framework::LlamaCpp => of("n_ctx")?.checked_mul(of("total_slots")?),
        Framework::Ollama | Framework::Transformers | Framework::Openai | Framework::Sim => None,
    }
}

/// Enters numbers, flags and short texts under their dotted names. Lists and long texts, such as
/// chat templates, are left out.
fn flatten(name: &str, value: &Value, depth: usize, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if 0 < depth => {
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(&name, value, depth - 1, into);
            }
        }
        Value::String(text) if LINE_BYTES < text.len() => {}
        Value::Bool(_) | Value::Number(_) | Value::String(_) if into.len() < MOST_VALUES => {
            into.insert(name.to_owned(), value.clone());
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        Value::Array(_) | Value::Object(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_are_named_by_their_path_and_bulk_is_left_out() {
        let told = json!({
            "max_running_requests": 64,
            "trust_remote_code": false,
            "seed": null,
            "default_generation_settings": {"n_ctx": 8192, "params": {"seed": 1, "x": {"y": 1}}},
            "chat_template": "x".repeat(LINE_BYTES + 1),
            "internal_states": [{"a": 1}],
        });
        let mut into = BTreeMap::new();
        flatten("", &told, DEEPEST, &mut into);
        let text: Vec<_> = into.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        default_generation_settings.n_ctx = 8192
        default_generation_settings.params.seed = 1
        max_running_requests = 64
        trust_remote_code = false
        ");
    }
}
