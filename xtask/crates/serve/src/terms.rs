//! What a server says of the like-for-like contract, read from its own answers.
//!
//! Which framework says what, and where, stands in its traits. What was asked for is never
//! entered: a server may round, lower or ignore it.

use std::time::Duration;

use domain::contract::{CacheCount, CacheState, Contract, Term};
use serde_json::Value;

use crate::control::Endpoint;
use crate::frameworks::{CacheCounter, How, Read, traits};
use crate::rungs::gauge_sum;

/// What greedy tokens are chosen by where nothing of the server's or the model's is in the way.
const NEUTRAL: &str = "greedy, no penalties";

/// Enters what one answer says and no earlier one did.
pub(crate) fn enter(reads: &[Read], path: &str, told: &Value, contract: &mut Contract) {
    for read in reads.iter().filter(|read| read.path == path) {
        if contract.shown(read.term).is_some() {
            continue;
        }
        if read.enter(told, contract).is_some() {
            let path = path.split('?').next().unwrap_or(path);
            contract.note(read.term, format!("{path}{}", read.at));
        }
    }
}

impl Read {
    fn enter(&self, told: &Value, contract: &mut Contract) -> Option<()> {
        let value = told.pointer(self.at).filter(|value| !value.is_null())?;
        let number = || value.as_u64();
        match self.term {
            Term::Weights => contract.weights = Some(self.text(told, value)?),
            Term::Dtype => contract.dtype = Some(self.text(told, value)?),
            Term::Sampling => contract.sampling = Some(self.text(told, value)?),
            Term::Context => contract.context_tokens = Some(number()?),
            Term::Concurrency => contract.max_running_requests = Some(number()?),
            Term::KvCache => {
                let each = match self.how {
                    How::Times(other) => told.pointer(other)?.as_u64()?,
                    How::Plain
                    | How::Weights { .. }
                    | How::Dtype
                    | How::On
                    | How::Off
                    | How::NeutralIf(_)
                    | How::Penalties => 1,
                };
                contract.kv_cache_tokens = Some(number()?.checked_mul(each)?);
            }
            Term::PrefixCache => {
                let on = value.as_bool()? != matches!(self.how, How::Off);
                contract.prefix_cache = Some(if on { CacheState::On } else { CacheState::Off });
            }
            // Seen in the run or on the device, not said by the server.
            Term::ForcedLength | Term::RequestSet | Term::PowerLimit | Term::StartTemperature => {
                return None;
            }
        }
        Some(())
    }

    fn text(&self, told: &Value, value: &Value) -> Option<String> {
        match self.how {
            How::Plain | How::Times(_) | How::On | How::Off => {
                let text = value.as_str().filter(|text| !matches!(*text, "" | "auto"))?;
                Some(text.to_owned())
            }
            How::Weights { load_format } => {
                let path = value.as_str()?.trim_end_matches('/');
                let name = path.rsplit('/').next().filter(|name| !name.is_empty())?;
                let dummy = told.pointer(load_format).and_then(Value::as_str) == Some("dummy");
                Some(if dummy { format!("dummies of {name}") } else { name.to_owned() })
            }
            How::Dtype => dtype(value.as_str()?),
            How::NeutralIf(neutral) => Some(match value.as_str()? == neutral {
                true => NEUTRAL.to_owned(),
                false => format!("greedy, with defaults from `{}`", value.as_str()?),
            }),
            How::Penalties => penalties(value),
        }
    }
}

/// The type in one spelling; `auto` is what was asked for and not what it became.
pub(crate) fn dtype(said: &str) -> Option<String> {
    let name = said.strip_prefix("torch.").unwrap_or(said);
    match name {
        "" | "auto" => None,
        "F32" | "float" | "float32" => Some("float32".to_owned()),
        "F16" | "half" | "float16" => Some("float16".to_owned()),
        "BF16" | "bfloat16" => Some("bfloat16".to_owned()),
        other => Some(other.to_owned()),
    }
}

fn penalties(samplers: &Value) -> Option<String> {
    let one = |name: &str| samplers.get(name)?.as_f64();
    let set: Vec<String> =
        [("repeat_penalty", 1.0), ("presence_penalty", 0.0), ("frequency_penalty", 0.0)]
            .into_iter()
            .filter_map(|(name, neutral)| Some((name, one(name)?, neutral)))
            .filter(|(_, value, neutral)| value != neutral)
            .map(|(name, value, _)| format!("{name} {value}"))
            .collect();
    one("repeat_penalty")?;
    Some(if set.is_empty() { NEUTRAL.to_owned() } else { format!("greedy, {}", set.join(", ")) })
}

/// What follows in a log after the word is the type that weights were loaded in.
pub(crate) fn dtype_in_log(log: &str) -> Option<String> {
    let after = log.split("dtype=torch.").nth(1)?;
    let name: String = after.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
    dtype(&name)
}

/// Reasons why a term of the server's is absent, where a framework is known not to say it.
pub(crate) fn note_unsaid(endpoint: &Endpoint, contract: &mut Contract) {
    let reads = traits(endpoint.framework()).terms;
    for &term in Term::ALL {
        if contract.shown(term).is_some() || contract.sources.contains_key(&term) {
            continue;
        }
        let mut places = reads.iter().filter(|read| read.term == term);
        let why = match places.next() {
            Some(read) => format!("`{}` did not say it", read.path),
            None => format!("{} has no place where it says it", endpoint.framework().title()),
        };
        contract.note(term, why);
    }
}

/// A server's own count of cached prompt tokens since its start, where it has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CacheReading {
    cached: f64,
    prompts: Option<f64>,
}

/// Reads the counters once; not while a load runs.
pub async fn cache_reading(endpoint: &Endpoint, within: Duration) -> Option<CacheReading> {
    let counter = traits(endpoint.framework()).cache_counter;
    let (cached, prompts) = match counter {
        CacheCounter::Untold => return None,
        CacheCounter::Hits { cached, prompts } => (cached, prompts),
    };
    let answer = endpoint.get("/metrics", within).await.ok()?;
    let text = answer.is_ok().then_some(answer.body)?;
    reading(&text, cached, prompts)
}

fn reading(text: &str, cached: &str, prompts: &str) -> Option<CacheReading> {
    let prompts = gauge_sum(text, &[prompts]);
    // A counter with labels appears with the first thing that it counts.
    let cached = gauge_sum(text, &[cached]).or_else(|| prompts.map(|_| 0.0))?;
    Some(CacheReading { cached, prompts })
}

/// What was counted between two readings.
pub fn cache_count(
    endpoint: &Endpoint,
    before: CacheReading,
    after: CacheReading,
) -> Option<CacheCount> {
    let CacheCounter::Hits { cached: source, .. } = traits(endpoint.framework()).cache_counter
    else {
        return None;
    };
    let cached = counted(before.cached, after.cached)?;
    let prompts = after.prompts.and_then(|after| counted(before.prompts.unwrap_or(0.0), after));
    Some(CacheCount { cached, prompts, source: source.to_owned() })
}

/// Nothing where a counter went back: then another server answered.
fn counted(before: f64, after: f64) -> Option<u64> {
    let counted = Some(after - before).filter(|counted| 0.0 <= *counted)?;
    // Token counters stay far below 2^53.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
    let whole = counted.round() as u64;
    Some(whole)
}

#[cfg(test)]
mod tests {
    use domain::framework::Framework;
    use serde_json::json;

    use super::*;

    fn said(framework: Framework, path: &str, told: &Value) -> String {
        let mut contract = Contract::unsaid();
        enter(traits(framework).terms, path, told, &mut contract);
        let line = |term: &Term| {
            let source = contract.sources.get(term)?;
            Some(format!("{term} = {} from {source}\n", contract.shown(*term)?))
        };
        Term::ALL.iter().filter_map(line).collect()
    }

    #[test]
    fn vllm_says_it_in_its_configuration() {
        // The values that vLLM 0.24.0 gave on an H100.
        let told = json!({"vllm_config": {
            "model_config": {"model": "/tmp/model", "dtype": "torch.bfloat16",
                "max_model_len": 8192, "generation_config": "vllm"},
            "load_config": {"load_format": "dummy"},
            "cache_config": {"block_size": 16, "num_gpu_blocks": 60286,
                "kv_cache_size_tokens": 964_576, "enable_prefix_caching": false},
            "scheduler_config": {"max_num_seqs": 64},
        }});
        let path = "/server_info?config_format=json";
        insta::assert_snapshot!(said(Framework::Vllm, path, &told), @r"
        weights = dummies of model from /server_info/vllm_config/model_config/model
        dtype = bfloat16 from /server_info/vllm_config/model_config/dtype
        context = 8192 from /server_info/vllm_config/model_config/max_model_len
        kv-cache = 964576 from /server_info/vllm_config/cache_config/kv_cache_size_tokens
        concurrency = 64 from /server_info/vllm_config/scheduler_config/max_num_seqs
        prefix-cache = off from /server_info/vllm_config/cache_config/enable_prefix_caching
        sampling = greedy, no penalties from /server_info/vllm_config/model_config/generation_config
        ");
    }

    #[test]
    fn an_older_vllm_says_its_cache_in_blocks() {
        let told =
            json!({"vllm_config": {"cache_config": {"block_size": 16, "num_gpu_blocks": 100}}});
        let path = "/server_info?config_format=json";
        insta::assert_snapshot!(said(Framework::Vllm, path, &told), @"kv-cache = 1600 from /server_info/vllm_config/cache_config/num_gpu_blocks");
    }

    #[test]
    fn sglang_says_what_it_lowered_and_not_what_was_asked() {
        let told = json!({
            "model_path": "/models/qwen/", "load_format": "auto", "dtype": "auto",
            "context_length": 8192, "max_total_num_tokens": 981_554, "max_running_requests": 64,
            "disable_radix_cache": true, "sampling_defaults": "model",
            "internal_states": [{"effective_max_running_requests_per_dp": 52}],
        });
        insta::assert_snapshot!(said(Framework::Sglang, "/server_info", &told), @r"
        weights = qwen from /server_info/model_path
        context = 8192 from /server_info/context_length
        kv-cache = 981554 from /server_info/max_total_num_tokens
        concurrency = 52 from /server_info/internal_states/0/effective_max_running_requests_per_dp
        prefix-cache = off from /server_info/disable_radix_cache
        sampling = greedy, with defaults from `model` from /server_info/sampling_defaults
        ");
    }

    #[test]
    fn llama_cpp_divides_its_context_among_slots() {
        let told = json!({
            "model_path": "/m/tiny.gguf", "model_ftype": "F16", "total_slots": 64,
            "default_generation_settings": {"n_ctx": 8192, "params": {"repeat_penalty": 1.1,
                "presence_penalty": 0.0, "frequency_penalty": 0.0, "top_k": 40}},
        });
        insta::assert_snapshot!(said(Framework::LlamaCpp, "/props", &told), @r"
        weights = tiny.gguf from /props/model_path
        dtype = float16 from /props/model_ftype
        context = 8192 from /props/default_generation_settings/n_ctx
        kv-cache = 524288 from /props/default_generation_settings/n_ctx
        concurrency = 64 from /props/total_slots
        sampling = greedy, repeat_penalty 1.1 from /props/default_generation_settings/params
        ");
    }

    #[test]
    fn the_type_that_sglang_leaves_to_auto_stands_in_its_log() {
        let line = "Load weight end. type=Qwen2ForCausalLM, dtype=torch.bfloat16, avail mem=63 GB";
        assert_eq!(dtype_in_log(line).as_deref(), Some("bfloat16"));
        // The type of the KV cache is another matter.
        assert_eq!(dtype_in_log("KV Cache is allocated. dtype: torch.float8_e5m2"), None);
    }

    #[test]
    fn a_counter_that_has_not_counted_yet_is_zero_only_beside_one_that_has() {
        let text = "p_total{a=\"b\"} 100\n";
        let read = reading(text, "c_total", "p_total").unwrap();
        assert_eq!((read.cached, read.prompts), (0.0, Some(100.0)));
        assert_eq!(reading("x 1\n", "c_total", "p_total"), None);
        assert_eq!((counted(5.0, 25.0), counted(5.0, 4.0)), (Some(20), None));
    }
}
